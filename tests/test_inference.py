"""Inference: right for any number of cells, deterministic, censored cells and odd cells as documented."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from surrogates import Condition, fit
from surrogates.gp import tensor
from surrogates.inference import systematic
from surrogates.mixture import mixture_mean_sd, mixture_quantiles
from surrogates.propagation import ODD_SD, ODD_SHIFT, expectation_propagation

from .worlds import cells_from, true_log_life, world


def cell_density(y: float, f: float, scatter: float, odd: float, *, censored: bool) -> float:
    """The documented likelihood of one cell, by scipy."""
    parts = [(1 - odd, f, scatter), (odd, f + ODD_SHIFT, math.hypot(scatter, ODD_SD))]
    law = stats.norm.sf if censored else stats.norm.pdf
    return float(sum(p * law(y, centre, sd) for p, centre, sd in parts))


@pytest.mark.parametrize("censored", [False, True])
@pytest.mark.parametrize("y", [-2.0, 0.3, 1.5])
def test_one_cell_by_quadrature(y: float, censored: bool) -> None:
    """With one cell the propagation is exact: evidence, mean and variance against numerical integration."""
    scatter, odd, prior_sd = 0.4, 0.1, 1.2
    sites = expectation_propagation(
        tensor([[y]]), torch.tensor([censored]), tensor([[scatter**2]]), odd, tensor([[1.0]]), tensor([[prior_sd**2]])
    )

    def moment(power: int) -> float:
        def density(f: float) -> float:
            return f**power * stats.norm.pdf(f, 0, prior_sd) * cell_density(y, f, scatter, odd, censored=censored)

        return integrate.quad(density, -12, 12, points=[y, 0], limit=200)[0]

    evidence = moment(0)
    mean = moment(1) / evidence
    assert float(sites.log_evidence) == pytest.approx(math.log(evidence), abs=2e-3)
    assert float(sites.weight_mean) == pytest.approx(mean, abs=5e-3)
    assert float(sites.weight_cov) == pytest.approx(moment(2) / evidence - mean**2, rel=0.02)


def test_several_cells_by_quadrature() -> None:
    y, censored = np.array([0.5, 0.6, 0.7, 0.4]), np.array([True, True, False, False])
    sites = expectation_propagation(
        tensor(y)[None], torch.tensor(censored), tensor([[0.09] * 4]), 0.08, tensor([[1.0]] * 4), tensor([[4.0]])
    )
    grid = np.linspace(-8, 8, 20001)
    density = stats.norm.pdf(grid, 0, 2.0)
    for value, alive in zip(y, censored, strict=True):
        law = stats.norm.sf if alive else stats.norm.pdf
        density *= 0.92 * law(value, grid, 0.3) + 0.08 * law(value, grid + ODD_SHIFT, math.hypot(0.3, ODD_SD))
    evidence = integrate.simpson(density, x=grid)
    mean = integrate.simpson(grid * density, x=grid) / evidence
    assert float(sites.log_evidence) == pytest.approx(math.log(evidence), abs=0.01)
    assert float(sites.weight_mean) == pytest.approx(mean, abs=0.01)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 30])
def test_any_number_of_cells_gives_ordered_finite_answers(count: int, zn_ti: Condition) -> None:
    surrogate = fit(world(count, seed=3), seed=1)
    table = surrogate.predict(zn_ti, [10, 50, 250, 1000, 2000])
    assert np.isfinite(table.to_numpy()).all()
    assert (table["cell_lower"] <= table["lower"]).all()
    assert (table["lower"] < table["median"]).all()
    assert (table["median"] < table["upper"]).all()
    # A new cell may be an odd, short-lived one, so its interval can end a little below the curve's.
    assert (table["upper"] <= table["cell_upper"] * 1.1).all()
    low, high = surrogate.optimum(zn_ti).interval_kpa
    assert 10 <= low <= high <= 2000


def test_same_seed_same_answer_another_seed_nearly_so(zn_ti: Condition) -> None:
    cells = world(6, seed=5)
    first, again, other = (fit(cells, seed=seed).predict(zn_ti, [20, 300, 1000]) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)
    assert np.log(other["median"]).to_numpy() == pytest.approx(np.log(first["median"]).to_numpy(), abs=0.12)


def test_the_order_of_cells_does_not_matter(zn_ti: Condition) -> None:
    cells = world(7, seed=8)
    one = fit(cells).predict(zn_ti, [20, 300, 1000])
    other = fit(cells[::-1]).predict(zn_ti, [20, 300, 1000])
    assert np.log(one["median"]).to_numpy() == pytest.approx(np.log(other["median"]).to_numpy(), abs=1e-6)


def test_many_cells_find_the_truth(zn_ti: Condition) -> None:
    pressures = np.array([30.0, 100.0, 250.0, 600.0, 1500.0])
    surrogates = [fit(world(60, seed=seed)) for seed in range(20, 28)]
    errors = [np.log(s.predict(zn_ti, pressures)["median"]) - true_log_life(pressures) for s in surrogates]
    assert np.mean(errors, axis=0) == pytest.approx(np.zeros(5), abs=0.1)
    assert np.sqrt(np.mean(np.square(errors))) < 0.15
    assert np.median([s.optimum(zn_ti).pressure_kpa for s in surrogates]) == pytest.approx(250, rel=0.2)


def test_a_level_far_from_the_prior_is_found(zn_ti: Condition) -> None:
    """Lives 100 times longer than the prior's: the curve is the same but for its level."""
    near, far = fit(world(10, seed=4)), fit(world(10, seed=4, best_life_h=10_000.0))
    ratio = far.predict(zn_ti, [100, 300, 900])["median"] / near.predict(zn_ti, [100, 300, 900])["median"]
    assert ratio.to_numpy() == pytest.approx([100.0] * 3, rel=0.35)


def test_censored_is_not_ended_and_not_dropped(zn_ti: Condition) -> None:
    pressures, lives = [30.0, 250.0, 250.0, 1500.0], [3.0, 4.6, 4.4, 3.2]
    late = [*lives[:1], 5.5, 5.4, lives[3]]

    def at_250(log_lives: list[float], status: list[str]) -> float:
        cells = [
            cell for cell, keep in zip(cells_from(pressures, log_lives, status_of(status)), status, strict=True) if keep
        ]
        return float(fit(cells).predict(zn_ti, [250])["median"].iloc[0])

    def status_of(status: list[str]) -> list[str]:
        return [word or "ended" for word in status]

    alive = at_250(late, ["ended", "running", "running", "ended"])
    ended = at_250(late, ["ended", "ended", "ended", "ended"])
    dropped = at_250(late, ["ended", "", "", "ended"])
    assert alive > ended > dropped
    assert alive == pytest.approx(at_250(late, ["ended", "stopped", "stopped", "ended"]))


def test_a_cell_that_outlives_its_prediction_pulls_the_curve_up(zn_ti: Condition) -> None:
    base = world(6, seed=2)
    medians = []
    for hours in (1.0, 100.0, 200.0, 400.0):
        [alive] = cells_from([250.0], [math.log(hours)], "running")
        surrogate = fit([*base, alive.model_copy(update={"cell_id": "alive"})])
        medians.append(float(surrogate.predict(zn_ti, [250])["median"].iloc[0]))
    assert medians == sorted(medians)
    assert medians[0] == pytest.approx(float(fit(base).predict(zn_ti, [250])["median"].iloc[0]), rel=0.1)
    assert medians[-1] > 1.3 * medians[0]


def test_one_odd_cell_does_not_turn_the_answer(zn_ti: Condition) -> None:
    pressures = [20.0, 60.0, 150.0, 250.0, 400.0, 800.0, 1800.0, 250.0]
    lives = true_log_life(pressures)
    sane = fit(cells_from(pressures, list(lives))).predict(zn_ti, [250])["median"].iloc[0]
    lives[3] -= 3.0
    odd = fit(cells_from(pressures, list(lives))).predict(zn_ti, [250])["median"].iloc[0]
    assert odd > 0.75 * sane


def test_uncertain_pressure_widens(zn_ti: Condition) -> None:
    """On the steep flank a pressure known within 50 % says less about the curve than an exact one."""
    pressures, lives = [20.0, 20.0, 300.0, 1000.0], list(true_log_life([20.0, 20.0, 300.0, 1000.0]))
    exact = fit(cells_from(pressures, lives)).predict(zn_ti, [20]).iloc[0]
    vague = fit(cells_from(pressures, lives, pressure_sd_kpa=10.0)).predict(zn_ti, [20]).iloc[0]
    assert math.log(vague["upper"] / vague["lower"]) > math.log(exact["upper"] / exact["lower"])


def test_current_density_informs_and_widens() -> None:
    at_1 = Condition(electrode_pair="Zn||Ti", electrolyte="1 M ZnSO4", current_density=1, current_density_unit="mA/cm2")
    at_10 = at_1.model_copy(update={"current_density": 10.0})
    surrogate = fit(world(8, seed=6))
    near, far = (surrogate.predict(c, [250]).iloc[0] for c in (at_1, at_10))
    assert math.log(far["upper"] / far["lower"]) > 2 * math.log(near["upper"] / near["lower"])
    fast = [
        c.model_copy(update={"cell_id": f"f{c.cell_id}", "current_density": 10.0, "cycle_life_h": c.cycle_life_h / 5})
        for c in world(8, seed=7)
    ]  # type: ignore[operator]
    both = fit([*world(8, seed=6), *fast])
    assert both.predict(at_10, [250])["median"].iloc[0] == pytest.approx(true_life(250) / 5, rel=0.4)
    assert both.predict(at_1, [250])["median"].iloc[0] == pytest.approx(true_life(250), rel=0.4)


def true_life(pressure_kpa: float) -> float:
    return float(np.exp(true_log_life(pressure_kpa)))


def test_the_prior_can_lose(zn_ti: Condition) -> None:
    """Two peaks: the free curve takes weight from the physics; on a two-mode world it does not."""
    pressures = list(np.exp(np.linspace(math.log(10), math.log(2000), 24)))
    x = np.log(np.array(pressures) / 300)
    two_peaks = 4 + 1.2 * np.cos(2 * x) + 0.2 * np.random.default_rng(0).standard_normal(24)
    wrong = fit(cells_from(pressures, list(two_peaks))).agreement(zn_ti)
    right = fit(cells_from(pressures, list(true_log_life(pressures)))).agreement(zn_ti)
    assert wrong.times_better < 0.1 < 1 < right.times_better
    assert "a free curve explains" in wrong.sentence
    assert "the two-mode curve explains" in right.sentence


def test_flat_worlds_are_called_flat(zn_ti: Condition) -> None:
    generator = np.random.default_rng(0)
    pressures = np.exp(generator.uniform(math.log(10), math.log(2000), 16))
    flat = fit(cells_from(list(pressures), list(4.5 + 0.2 * generator.standard_normal(16)))).optimum(zn_ti)
    assert flat.verdict == "no effect"
    assert flat.window_kpa is None


@pytest.mark.parametrize(("best", "verdict"), [(30_000.0, "edge: higher"), (1.5, "edge: lower")])
def test_edges_are_called(best: float, verdict: str, zn_ti: Condition) -> None:
    assert fit(world(10, seed=1, scatter=0.2, best_kpa=best)).optimum(zn_ti).verdict == verdict


@given(st.integers(1, 40), st.integers(0, 10))
def test_systematic_resampling_keeps_proportions(count: int, seed: int) -> None:
    weights = tensor(np.random.default_rng(seed).dirichlet(np.ones(7)))
    index = systematic(weights, count, torch.Generator().manual_seed(seed))
    drawn = torch.bincount(index, minlength=7)
    assert (drawn - weights * count).abs().max() < 1 + 1e-9


@given(st.integers(0, 50))
def test_mixture_quantiles_invert_the_distribution(seed: int) -> None:
    levels = (0.05, 0.5, 0.95)
    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.ones(5))
    mean, sd = generator.normal(0, 3, (5, 4)), generator.uniform(0.01, 2, (5, 4))
    found = mixture_quantiles(tensor(weights), tensor(mean), tensor(sd), levels).numpy()
    for y, level in zip(found, levels, strict=True):
        assert (weights[:, None] * stats.norm.cdf(y, mean, sd)).sum(0) == pytest.approx(np.full(4, level), abs=1e-4)
    centre, spread = mixture_mean_sd(tensor(weights), tensor(mean), tensor(sd))
    assert centre.numpy() == pytest.approx(weights @ mean)
    assert spread.numpy() ** 2 == pytest.approx(weights @ (sd**2 + mean**2) - (weights @ mean) ** 2)
