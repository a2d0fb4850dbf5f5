"""What a learned prior remembers of finished campaigns, curve by curve: evidence in lab terms and back.

Notation
--------
z        a curve's shared parameters as standard normals under a prior, (5,); surrogates.population.SHARED
theta    the same in lab terms: ln(best pressure / kPa), ln a, ln b, shift with ln(current density), ln(scatter)
m, s     prior mean and sd of theta, so that theta = m + s z
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from surrogates.cells import Condition
from surrogates.gp import tensor
from surrogates.outcomes import READOUTS, Outcome, OutcomeName, ReadoutName
from surrogates.population import OUTCOME_LOADING, SHARED, Curve, Evidence
from surrogates.prior import Level, LogNormal, Prior, Remembered


@dataclass(frozen=True)
class Lesson:
    """What one campaign teaches about one curve: evidence on z and the level, and how the rivals of physics fared."""

    curve: Curve
    cells: int
    evidence: Evidence
    no_effect: float
    free: float
    campaign: str = ""


def curve_of(condition: Condition, outcome: OutcomeName | ReadoutName, prior: Prior, origin: str = "table") -> Curve:
    """The curve of an outcome of a condition, whatever the current density and the cycles of a retention."""
    bare = condition.model_copy(update={"current_density": 1.0, "retention_cycles": None})
    readout = prior.readouts.get(outcome)
    loading = OUTCOME_LOADING if readout is None else readout.carries_over
    return Curve(bare, outcome, loading, outcome in READOUTS, origin)


def remembered(prior: Prior) -> dict[Curve, Remembered]:
    """The curves that a learned prior remembers one by one."""
    return {_curve(item, prior): item for item in prior.remembered}


def evidence_in(prior: Prior, item: Remembered) -> Evidence:
    """A remembered curve's evidence in the units of `prior`: with theta = m + s z, exp(-theta' L theta / 2 + eta' theta)
    has precision s L s and pull s (eta - L m) in z."""
    mean, sd = _units(prior.of_outcome(item.outcome))
    level = prior.levels[item.outcome]
    precision, pull = tensor(item.precision), tensor(item.pull)
    centre = level_y(item.outcome, level)
    return Evidence(
        sd[:, None] * precision * sd,
        sd * (pull - precision @ mean),
        level.sd_y**2 * item.level_precision,
        level.sd_y * (item.level_pull - item.level_precision * centre),
    )


def remember(curve: Curve, parts: Sequence[Lesson], base: Prior, before: Remembered | None = None) -> Remembered:
    """All that campaigns say about one curve together, from evidence in the units of `base`, and what was remembered."""
    mean, sd = _units(base.of_outcome(curve.outcome))
    level = base.levels[curve.outcome]
    said = [part.evidence for part in parts] + ([evidence_in(base, before)] if before else [])
    own, pulled = torch.stack([e.precision for e in said]).sum(0), torch.stack([e.pull for e in said]).sum(0)
    precision = own / sd[:, None] / sd
    level_precision = math.fsum(e.level_precision for e in said) / level.sd_y**2
    level_pull = math.fsum(e.level_pull for e in said) / level.sd_y + level_precision * level_y(curve.outcome, level)
    cov = torch.linalg.inv(own + torch.eye(len(SHARED)).double())
    best, best_sd = float(mean[0] + sd[0] * (cov @ pulled)[0]), float(sd[0] * cov[0, 0].sqrt())
    return Remembered(
        electrode_pair=curve.condition.electrode_pair,
        electrolyte=curve.condition.electrolyte,
        current_density_unit=curve.condition.current_density_unit,
        outcome=curve.outcome,
        campaigns=len({part.campaign for part in parts}) + (before.campaigns if before else 0),
        cells=sum(part.cells for part in parts) + (before.cells if before else 0),
        best_pressure=LogNormal(
            median=math.exp(best), sd_ln=best_sd, unit="kPa", source="its cells and the base prior"
        ),
        precision=tuple(map(tuple, precision.tolist())),
        pull=tuple((pulled / sd + precision @ mean).tolist()),
        level_precision=level_precision,
        level_pull=level_pull,
    )


def _units(prior: Prior) -> tuple[Tensor, Tensor]:
    """m and s of theta: (5,), (5,)."""
    logs = [prior.best_pressure, prior.slope_contact, prior.slope_short]
    mean = [*(math.log(q.median) for q in logs), prior.current_shift.mean, math.log(prior.scatter_sd.median)]
    sd = [*(q.sd_ln for q in logs), prior.current_shift.sd, prior.scatter_sd.sd_ln]
    return tensor(mean), tensor(sd)


def level_y(name: str, level: Level) -> float:
    """The level's median on the model scale."""
    return Outcome(cast(OutcomeName | ReadoutName, name)).to_y(level.median, level.retention_cycles)


def _curve(item: Remembered, prior: Prior) -> Curve:
    condition = Condition(
        electrode_pair=item.electrode_pair,
        electrolyte=item.electrolyte,
        current_density=1.0,
        current_density_unit=item.current_density_unit,
    )
    return curve_of(condition, item.outcome, prior, origin="prior")
