"""A population prior learned from finished campaigns: one task a campaign, then one reduction.

Notation
--------
z        a curve's shared parameters as standard normals under the base prior, (5,); surrogates.population.SHARED
mu, tau  mean and sd of z over the population, learned

`lessons` says what one campaign teaches (a `Lesson` a curve); `reduce` turns all lessons into a new `Prior`:
mu and tau by expectation maximisation for z_i ~ N(mu, diag tau^2) seen through each lesson's Gaussian evidence. Before,
half of the base's variance is doubt about mu and half is tau^2, worth BASE_WEIGHT campaigns (Gelman et al., Bayesian Data
Analysis (2013), chapter 5), so that nothing learned leaves the base as it was. The
curves with most cells are remembered one by one, so that a later fit learns more from conditions that share an
electrode or electrolyte with its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from surrogates.cells import Cell, check_cells
from surrogates.errors import UserError
from surrogates.gp import tensor
from surrogates.memory import Lesson, level_y, remember, remembered
from surrogates.outcomes import DEFAULT_RETENTION_CYCLES, OUTCOMES, READOUTS, Outcome
from surrogates.population import Curve
from surrogates.prior import Level, LogNormal, Normal, Prior, Probability, Remembered
from surrogates.surrogate import Surrogate

BASE_WEIGHT = 4.0
MEAN_VARIANCE = 0.5
RATE_WEIGHT = 10.0
MOST_REMEMBERED = 200
FEWEST_CELLS = 2
STEPS = 60
SHARED_FIELDS = ("best_pressure", "slope_contact", "slope_short", "current_shift", "scatter_sd")
"""The prior's fields behind z, in order."""


def learn(
    tables: Mapping[str, Any] | Iterable[Any],
    base: Prior | None = None,
    *,
    name: str = "learned",
    seed: int = 0,
    mapper: Callable[..., Iterable[list[Lesson]]] = map,
) -> Prior:
    """The prior that finished campaigns teach, starting from `base` (default: `Prior.default()`).

    `tables`: a table of cells for each campaign, by name or in order. `mapper` runs one task a campaign: the built-in
    map, `concurrent.futures.Executor.map`, or `dask_map(client)`; all give the same document bit for bit.
    Raises `TableError` for a table that cannot be taken and `UserError` where no campaign has results.
    """
    base = base or Prior.default()
    named = dict(tables) if isinstance(tables, Mapping) else {f"campaign {i}": t for i, t in enumerate(tables, 1)}
    checked = {key: check_cells(table, f"campaign {key}") for key, table in sorted(named.items())}
    found = mapper(partial(lessons, base=base, seed=seed), list(checked), list(checked.values()))
    return reduce([lesson for part in found for lesson in part], base, name)


def dask_map(client: Any) -> Callable[..., Iterable[list[Lesson]]]:
    """A `mapper` that runs on the workers of a dask.distributed `Client`."""

    def mapper(task: Callable[..., list[Lesson]], *arguments: Sequence[Any]) -> Iterable[list[Lesson]]:
        return cast(Iterable[list[Lesson]], client.gather(client.map(task, *arguments, pure=False)))

    return mapper


def lessons(campaign: str, cells: Sequence[Cell], base: Prior, seed: int) -> list[Lesson]:
    """What the cells of one campaign teach, a lesson for each curve with results."""
    found = Surrogate(tuple(cells), OUTCOMES[0], base, seed).lessons()
    return [replace(lesson, campaign=campaign) for lesson in found if lesson.cells >= FEWEST_CELLS]


def reduce(found: Sequence[Lesson], base: Prior, name: str) -> Prior:
    """The population prior behind all lessons."""
    if not found:
        raise UserError(f"learn: expected campaigns with {FEWEST_CELLS} results or more; found none")
    votes = _one_vote_each(found)
    campaigns = sorted({lesson.campaign for lesson in found})
    cells = sum(vote.cells for vote in votes)
    source = f"learned from {len(campaigns)} campaigns, {cells} cells; before: prior {base.name!r}"
    evidence = [vote.evidence for vote in votes]
    mean, sd = _population(torch.stack([e.precision for e in evidence]), torch.stack([e.pull for e in evidence]))
    update = {
        **{
            field: _moved(getattr(base, field), float(mean[i]), float(sd[i]), source)
            for i, field in enumerate(SHARED_FIELDS)
        },
        "no_effect": _rate(base.no_effect, [vote.no_effect for vote in votes], source),
        "no_physics": _rate(base.no_physics, [vote.free for vote in votes], source),
        "name": name,
        "version": 1,
        "summary": f"{base.summary} Learned from {len(campaigns)} campaigns.",
        "levels": {**base.levels, **_levels(found, base, source)},
        "learned_from": tuple(campaigns[:MOST_REMEMBERED]),
        "remembered": _remembered(found, base),
    }
    return base.model_copy(update=update)


def _one_vote_each(found: Sequence[Lesson]) -> list[Lesson]:
    """For each condition of each campaign the outcome with most cells, the first of OUTCOMES where several have."""
    best: dict[Any, Lesson] = {}
    for lesson in found:
        key = (lesson.campaign, lesson.curve.group)
        if lesson.curve.outcome in OUTCOMES and (key not in best or lesson.cells > best[key].cells):
            best[key] = lesson
    return list(best.values())


def _population(precision: Tensor, pull: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sd of z for one more member of the population, given evidence (N, d, d), (N, d): (d,), (d,)."""
    count, size = pull.shape
    mean, variance = torch.zeros(size).double(), torch.full((size,), 1 - MEAN_VARIANCE).double()
    for _ in range(STEPS):
        cov = cast(Tensor, torch.linalg.inv(precision + torch.diag(1 / variance)))
        centre = (cov @ (pull + mean / variance)[:, :, None])[:, :, 0]
        mean = centre.sum(0) / (count + variance / MEAN_VARIANCE)
        second = ((centre - mean) ** 2 + cov.diagonal(dim1=1, dim2=2)).sum(0)
        variance = (BASE_WEIGHT * (1 - MEAN_VARIANCE) + second) / (BASE_WEIGHT + count)
    seen = 1 / (1 / precision.diagonal(dim1=1, dim2=2).clamp_min(1e-12) + variance)
    return mean, (variance + 1 / (1 / MEAN_VARIANCE + seen.sum(0))).sqrt()


def _moved(quantity: LogNormal | Normal, mean: float, sd: float, source: str) -> LogNormal | Normal:
    """The base quantity after the population moved by `mean` and changed its width by `sd`, in units of its own sd."""
    if isinstance(quantity, Normal):
        update: dict[str, Any] = {"mean": quantity.mean + quantity.sd * mean, "sd": quantity.sd * sd}
    else:
        update = {"median": quantity.median * math.exp(quantity.sd_ln * mean), "sd_ln": quantity.sd_ln * sd}
    return quantity.model_copy(update={**update, "source": source})


def _rate(base: Probability, seen: Sequence[float], source: str) -> Probability:
    """How often something was so, the base counting as RATE_WEIGHT conditions."""
    rate = (RATE_WEIGHT * base.probability + math.fsum(seen)) / (RATE_WEIGHT + len(seen))
    return Probability(probability=rate, source=source)


def _levels(found: Sequence[Lesson], base: Prior, source: str) -> dict[str, Level]:
    """The level of every outcome and readout that the campaigns measured."""
    levels: dict[str, Level] = {}
    for name in (*OUTCOMES, *READOUTS):
        mine = [lesson.evidence for lesson in found if lesson.curve.outcome == name]
        if mine:
            precision = tensor([e.level_precision for e in mine])[:, None, None]
            mean, sd = _population(precision, tensor([e.level_pull for e in mine])[:, None])
            level = base.levels[name]
            outcome = Outcome(name, level.retention_cycles or DEFAULT_RETENTION_CYCLES)
            median = float(outcome.from_y(level_y(name, level) + level.sd_y * float(mean)))
            update = {"median": median, "sd_y": level.sd_y * float(sd), "source": source}
            levels[name] = level.model_copy(update=update)
    return levels


def _remembered(found: Sequence[Lesson], base: Prior) -> tuple[Remembered, ...]:
    """The curves with most cells, each with all that its campaigns and the base say together, in lab terms."""
    together: dict[Curve, list[Lesson]] = {}
    for lesson in found:
        together.setdefault(lesson.curve, []).append(lesson)
    before = {replace(curve, origin="table"): item for curve, item in remembered(base).items()}
    items = [remember(curve, parts, base, before.get(curve)) for curve, parts in together.items()]
    items += [item for curve, item in before.items() if curve not in together]
    order = sorted(items, key=lambda item: (-item.cells, item.electrode_pair, item.electrolyte, item.outcome))
    return tuple(order[:MOST_REMEMBERED])
