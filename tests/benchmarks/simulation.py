"""Simulation-based calibration: on worlds drawn from the prior document itself, truths rank uniformly in the posterior.

The default prior's own generative model is written out here anew: hypothesis, parameters, level, the effect of current
density, a residual drawn from the exact squared exponential kernel, scatter, odd cells. Half the cells are tested at another
current density, so the shift of the best pressure is asked for too; half the worlds have a test budget that 30 % of the
cells outlive. Method: Talts et al., arXiv:1804.06788 (2018).

A rank is the posterior probability below the truth. Parameters are ranked among the particles of the true hypothesis, the
best pressure among those in which pressure acts at all, a new cell in the whole posterior.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.stats import chisquare, norm

from surrogates import Cell, Prior, fit
from surrogates.gp import CURVATURE_SD, tensor
from surrogates.inference import ACTIVE, HYPOTHESES, NAMES, Posterior
from surrogates.mechanisms import log_pressure
from surrogates.propagation import ODD_SD, ODD_SHIFT

from ..worlds import cells_from, true_log_life
from .peers import cell_cdf
from .running import FIRST_SEED, WORLDS, in_parallel
from .scoring import standard_error
from .worlds import GRID, HIGH, LOW, within_budget

SIMULATIONS = 5 * WORLDS
COUNTS = (3, 10)
OTHER_CURRENT = 3.0
CENSORED = 0.3
BINS = 10
QUANTITIES = (*NAMES, "level", "best pressure", "a new cell")
CURVE = GRID[::3]
DRAWS = 1000


@dataclass(frozen=True)
class World:
    """A draw from the prior: parameters as standard normals, and the curve ln T(pressure, current density)."""

    hypothesis: str
    z: dict[str, float]
    level: float
    log_life: Callable[[np.ndarray, np.ndarray], np.ndarray]
    scatter: float


def draw_world(prior: Prior, pressures: np.ndarray, generator: np.random.Generator) -> World:
    """A world whose residual is drawn at `pressures`, where alone its curve may be asked for."""
    none, free = prior.no_effect.probability, prior.no_physics.probability
    hypothesis = str(generator.choice(HYPOTHESES, p=[1 - none - free, none, free]))
    z = dict(zip(NAMES, generator.standard_normal(len(NAMES)).tolist(), strict=True))

    def positive(document: str, parameter: str) -> float:
        quantity = getattr(prior, document)
        return float(quantity.median * math.exp(quantity.sd_ln * z[parameter]))

    height = prior.levels["cycle_life_h"]
    level = math.log(height.median) + height.sd_y * generator.standard_normal()
    kind = {"physics": "residual", "free": "free"}.get(hypothesis)
    residual = np.zeros(len(pressures))
    if kind is not None:
        sd, length = positive(f"{kind}_sd", "residual_sd"), positive(f"{kind}_length", "residual_length")
        residual = sd * _smooth(log_pressure(pressures) / length, generator)
    best, shift = positive("best_pressure", "x_best"), prior.current_shift.mean + prior.current_shift.sd * z["shift"]
    slopes = positive("slope_contact", "slope_contact"), positive("slope_short", "slope_short")
    linear, bend = prior.current_effect.sd * generator.standard_normal(), CURVATURE_SD * generator.standard_normal()

    def log_life(pressure_kpa: np.ndarray, current: np.ndarray) -> np.ndarray:
        u = np.log(current)
        modes = level + 0 * u
        if hypothesis == "physics":
            modes = true_log_life(pressure_kpa * np.exp(-shift * u), best, math.exp(level), *slopes)
        return modes + linear * u + bend * u**2 + residual[np.searchsorted(pressures, pressure_kpa)]

    return World(hypothesis, z, level, log_life, positive("scatter_sd", "scatter"))


def rank_world(task: tuple[int, int]) -> dict[str, float]:
    """Ranks on simulation `number` with `count` cells, and the posterior weight of each hypothesis less its truth."""
    count, number = task
    generator = np.random.default_rng([FIRST_SEED + number, count, 99])
    prior = Prior.default()
    places = np.exp(generator.uniform(math.log(LOW), math.log(HIGH), count + 1))
    world = draw_world(prior, np.sort(np.concatenate([places, CURVE])), generator)
    current = np.append(np.where(generator.uniform(size=count) < 0.5, 1.0, OTHER_CURRENT), 1.0)
    y = world.log_life(places, current) + _scatter(world.scatter, prior.odd_cell.probability, count + 1, generator)
    cells = _cells(places[:-1], y[:-1], current[:-1], CENSORED * (number % 2))
    surrogate = fit(cells, prior=prior, seed=number)
    posterior = surrogate.posterior(cells[0].condition.model_copy(update={"current_density": 1.0}))
    return {
        **parameter_ranks(posterior, world),
        **best_rank(posterior, world, number),
        "a new cell": cell_cdf(surrogate, float(places[-1]), float(y[-1])),
        **{f"weight of {name}": posterior.hypothesis_weight(name) for name in HYPOTHESES},
        **{f"truth of {name}": float(world.hypothesis == name) for name in HYPOTHESES},
    }


def parameter_ranks(posterior: Posterior, world: World) -> dict[str, float]:
    """Rank of each parameter that the true hypothesis has, and of its level. The only place that looks inside."""
    among = posterior.hypothesis == HYPOTHESES.index(world.hypothesis)
    weights = (posterior.weights[among] / posterior.weights[among].sum()).numpy()
    z = posterior.z[among].numpy()
    ranks = {NAMES[column]: weights @ (z[:, column] < world.z[NAMES[column]]) for column in ACTIVE[world.hypothesis]}
    centre = (posterior.theta.level + posterior.sites.weight_mean[:, 0])[among].numpy()
    spread = posterior.sites.weight_cov[among, 0, 0].sqrt().numpy()
    return {
        **{k: float(rank) for k, rank in ranks.items()},
        "level": float(weights @ norm.cdf(world.level, centre, spread)),
    }


def best_rank(posterior: Posterior, world: World, seed: int) -> dict[str, float]:
    """Rank of the best pressure on a grid, ties broken at random; none where pressure has no effect."""
    if world.hypothesis == "no effect":
        return {}
    acts = torch.where(posterior.hypothesis == HYPOTHESES.index("no effect"), 0.0, posterior.weights)
    posterior = replace(posterior, weights=acts / acts.sum())
    x, u = tensor(log_pressure(CURVE)), tensor(0.0)
    found = posterior.draws(x, u, DRAWS, torch.Generator().manual_seed(seed)).argmax(1).numpy()
    truth = world.log_life(CURVE, np.ones_like(CURVE)).argmax()
    ties = np.random.default_rng([FIRST_SEED, seed]).uniform() * (found == truth).mean()
    return {"best pressure": float((found < truth).mean() + ties)}


def run() -> list[dict[str, Any]]:
    """A row a number of cells and quantity: chi-square test of uniform ranks, and how many lie in the middle 90 %."""
    rows: list[dict[str, Any]] = []
    for count in COUNTS:
        found = in_parallel(rank_world, [(count, number) for number in range(SIMULATIONS)], f"simulation, n = {count}")
        ranks = {name: [world[name] for world in found if name in world] for name in QUANTITIES}
        rows += [{"cells": count, **uniformity(name, values)} for name, values in ranks.items()]
        rows += [{"cells": count, **frequency(name, found)} for name in HYPOTHESES]
    return rows


def uniformity(name: str, ranks: list[float]) -> dict[str, Any]:
    """Chi-square test of ranks in equal bins."""
    values = np.clip(ranks, 0, 1 - 1e-12)
    counts = np.bincount((values * BINS).astype(int), minlength=BINS)
    inside = (np.abs(values - 0.5) <= 0.45).astype(float)
    return {
        "quantity": name,
        "worlds": len(values),
        "p": float(chisquare(counts).pvalue),
        "in 90%": float(inside.mean()),
        "se": standard_error(inside),
        "mean rank": float(values.mean()),
        "bins": " ".join(map(str, counts)),
    }


def frequency(name: str, found: list[dict[str, float]]) -> dict[str, Any]:
    """Whether a hypothesis is true as often as its posterior weights say: p by the normal approximation."""
    weight, truth = (np.array([ranks[f"{what} of {name}"] for ranks in found]) for what in ("weight", "truth"))
    z = (truth - weight).sum() / math.sqrt((weight * (1 - weight)).sum())
    bins = f"weight {weight.mean():.3f}, true {truth.mean():.3f}"
    p = float(2 * norm.sf(abs(z)))
    return {
        "quantity": f'"{name}"',
        "worlds": len(weight),
        "p": p,
        "in 90%": None,
        "se": None,
        "mean rank": None,
        "bins": bins,
    }


def _smooth(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A draw of the Gaussian process with kernel exp(-d^2 / 2) at x, by its eigenvectors: its matrix is near singular."""
    values, vectors = np.linalg.eigh(np.exp(-0.5 * (x[:, None] - x[None]) ** 2))
    return vectors @ (np.sqrt(np.clip(values, 0, None)) * generator.standard_normal(len(x)))


def _scatter(sd: float, odd: float, count: int, generator: np.random.Generator) -> np.ndarray:
    """Deviations of cells from the curve, odd ones among them."""
    is_odd = generator.uniform(size=count) < odd
    spread = np.where(is_odd, math.hypot(sd, ODD_SD), sd)
    return np.where(is_odd, ODD_SHIFT, 0.0) + spread * generator.standard_normal(count)


def _cells(pressures: np.ndarray, y: np.ndarray, current: np.ndarray, censored: float) -> tuple[Cell, ...]:
    cells = cells_from(list(pressures), list(y))
    tested = [cell.model_copy(update={"current_density": j}) for cell, j in zip(cells, current.tolist(), strict=True)]
    return within_budget(tested, censored)
