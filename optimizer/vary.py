"""More than pressure to choose: current density between two ends, the electrolyte among names.

Here the final choice is no grid, so BoTorch's acquisition functions are used on the same posteriors: the noisy expected
improvement in logarithms (qLogNoisyExpectedImprovement; Ament et al., NeurIPS 36 (2023)), and its hypervolume for several
outcomes (qLogNoisyExpectedHypervolumeImprovement), maximised by optimize_acqf_mixed, one cell after another with those
before it pending. `gain` is the expected improvement of y over the best of what has been measured and what would be chosen
now (several outcomes: of the hypervolume).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from optimizer.goal import Goal
from optimizer.pending import pending_cells
from optimizer.reasons import is_tested, varied
from optimizer.rig import Rig
from surrogates.cells import Condition
from surrogates.errors import UserError
from surrogates.gp import one_thread, tensor
from surrogates.mechanisms import log_pressure, pressure_of
from surrogates.surrogate import Surrogate, log_current

if TYPE_CHECKING:
    import pandas as pd

VARIABLE = ("pressure_kpa", "current_density", "electrolyte")
RESTARTS, RAW, DRAWS = 4, 64, 64


def suggest_varied(
    surrogate: Surrogate,
    condition: Condition,
    rig: Rig,
    goal: Goal,
    n: int,
    seed: int,
    vary: Sequence[str],
    current_density: tuple[float, float] | None,
    electrolyte: Sequence[str] | None,
) -> pd.DataFrame:
    """`optimizer.suggest` where `vary` names more than the pressure; rows say the current density and electrolyte too."""
    import pandas as pd

    space = _space(surrogate, condition, rig, vary, current_density, electrolyte)
    if goal.subject_to or goal.per != "cell":
        raise UserError(
            "vary: expected subject_to and per to be left out; both are for a choice of the pressure alone."
        )
    with one_thread(), torch.enable_grad():
        found = _chosen(surrogate, space, goal, n, seed)
    rows = [_row(surrogate, space, goal, point, gain) for point, gain in found]
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Space:
    """What may be chosen: a condition for each electrolyte, ends of x and of u, and the settings of the press."""

    conditions: tuple[Condition, ...]
    x: tuple[float, float]
    u: tuple[float, float]
    grid: tuple[float, ...]

    def condition(self, point: Tensor) -> Condition:
        """The condition at a point (x, u, number of the electrolyte)."""
        current = float(f"{math.exp(float(point[1])):.3g}")
        return self.conditions[round(float(point[2]))].model_copy(update={"current_density": current})

    def setting(self, point: Tensor) -> float:
        """The setting of the press nearest to a point."""
        at = float(pressure_of(float(point[0])))
        return min(self.grid, key=lambda kpa: abs(math.log(kpa / at)))


def _space(
    surrogate: Surrogate,
    condition: Condition,
    rig: Rig,
    vary: Sequence[str],
    current_density: tuple[float, float] | None,
    electrolyte: Sequence[str] | None,
) -> Space:
    unknown = [name for name in vary if name not in VARIABLE]
    if unknown or "pressure_kpa" not in vary:
        raise UserError(f"vary: expected pressure_kpa and any of {', '.join(VARIABLE[1:])}; found {', '.join(vary)}.")
    alike = [
        cell
        for cell in surrogate.cells
        if (cell.electrode_pair, cell.current_density_unit)
        == (condition.electrode_pair, condition.current_density_unit)
    ]
    names, currents = [condition.electrolyte], (condition.current_density, condition.current_density)
    if "electrolyte" in vary:
        names = list(dict.fromkeys(electrolyte or [condition.electrolyte, *(cell.electrolyte for cell in alike)]))
        _expect(len(names) > 1, "electrolyte", 'two or more names, as in electrolyte=["1 M ZnSO4", "3 M ZnSO4"]', names)
    if "current_density" in vary:
        known = [condition.current_density, *(cell.current_density for cell in alike)]
        currents = current_density or (min(known), max(known))
        _expect(0 < currents[0] < currents[1], "current_density", "(lowest, highest), above 0", currents)
    grid = rig.grid()
    conditions = tuple(condition.model_copy(update={"electrolyte": name}) for name in names)
    ends = float(log_pressure(grid[0])), float(log_pressure(grid[-1]))
    return Space(conditions, ends, (math.log(currents[0]), math.log(currents[1])), grid)


def _expect(holds: bool, what: str, expected: str, found: object) -> None:
    if not holds:
        raise UserError(f"vary, {what}: expected {expected}; found {found}.")


def _chosen(surrogate: Surrogate, space: Space, goal: Goal, n: int, seed: int) -> list[tuple[Tensor, float]]:
    """The next `n` points (3,) with their gains."""
    from botorch.optim.optimize import optimize_acqf, optimize_acqf_mixed

    from surrogates.ensemble import ConditionsModel

    models = [ConditionsModel.of(surrogate.of(name), space.conditions, seed) for name in goal.outcomes]
    pending = _pending(surrogate, space)
    baseline = _baseline(surrogate, space, goal)
    bounds = tensor([[space.x[0], space.u[0], 0.0], [space.x[1], space.u[1], float(len(space.conditions) - 1)]])
    fixed = [{2: float(i), **_fixed_current(space)} for i in range(len(space.conditions))]
    found: list[tuple[Tensor, float]] = []
    torch.manual_seed(seed)
    for _ in range(n):
        acquisition = _acquisition(models, baseline, torch.cat([pending, *(point[None] for point, _ in found)]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a restart that ends early: others go on
            if len(fixed) == 1:
                point, value = optimize_acqf(acquisition, bounds, 1, RESTARTS, RAW, fixed_features=fixed[0])
            else:
                point, value = optimize_acqf_mixed(acquisition, bounds, 1, RESTARTS, fixed, raw_samples=RAW)
        found.append((point[0].detach(), math.exp(float(cast(Tensor, value)))))
    return found


def _fixed_current(space: Space) -> dict[int, float]:
    return {1: space.u[0]} if space.u[0] == space.u[1] else {}


def _acquisition(models: Sequence[Any], baseline: Tensor, pending: Tensor) -> Any:
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement
    from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
    from botorch.models.model import ModelList
    from botorch.sampling.list_sampler import ListSampler
    from botorch.sampling.normal import SobolQMCNormalSampler

    shape = torch.Size([DRAWS])
    waiting = pending if len(pending) else None
    if len(models) == 1:
        sampler = SobolQMCNormalSampler(shape, seed=0)
        return qLogNoisyExpectedImprovement(
            models[0], baseline, sampler=sampler, X_pending=waiting, prune_baseline=False, cache_root=False
        )
    samplers = ListSampler(*(SobolQMCNormalSampler(shape, seed=i) for i in range(len(models))))
    means = torch.stack([model.posterior(baseline).mixture_mean[:, 0] for model in models])
    return qLogNoisyExpectedHypervolumeImprovement(
        ModelList(*models),
        ref_point=(means.amin(1) - 0.1 * (means.amax(1) - means.amin(1))).tolist(),
        X_baseline=baseline,
        sampler=samplers,
        X_pending=waiting,
        prune_baseline=False,
        cache_root=False,
    )


def _pending(surrogate: Surrogate, space: Space) -> Tensor:
    points = [
        [cell.x, cell.u, float(number)]
        for number, condition in enumerate(space.conditions)
        for cell in pending_cells(surrogate, condition, Rig(pressure_kpa=(space.grid[0], space.grid[-1])))
    ]
    return tensor(points).reshape(-1, 3)


def _baseline(surrogate: Surrogate, space: Space, goal: Goal) -> Tensor:
    """Points that have been measured, and what would be chosen now in each electrolyte for each outcome."""
    points = [
        [float(log_pressure(item.cell.pressure_kpa)), log_current(item.cell), float(number)]
        for number, condition in enumerate(space.conditions)
        for item in surrogate.readings(condition)
    ]
    for number, condition in enumerate(space.conditions):
        for name in goal.outcomes:
            best = surrogate.of(name).optimum(condition, allowed_kpa=space.grid).pressure_kpa
            current = min(max(math.log(condition.current_density), space.u[0]), space.u[1])
            points.append([float(log_pressure(best)), current, float(number)])
    return tensor(points)


def _row(surrogate: Surrogate, space: Space, goal: Goal, point: Tensor, gain: float) -> dict[str, Any]:
    """One row of the answer."""
    condition, pressure_kpa = space.condition(point), space.setting(point)
    curve = {name: float(value[0]) for name, value in surrogate.curve(condition, [pressure_kpa]).items()}
    tested = [
        item.cell.pressure_kpa
        for item in surrogate.readings(condition)
        if np.isclose(item.cell.current_density, condition.current_density, rtol=0.05)
    ]
    stop = gain < goal.stop_gain and bool(surrogate.readings(condition))
    verdict = "stop" if stop else "repeat" if is_tested(pressure_kpa, tested) else "measure"
    return {
        "electrolyte": condition.electrolyte,
        "current_density": condition.current_density,
        **curve,
        "gain": gain,
        "verdict": verdict,
        "reason": varied(condition, pressure_kpa, gain, len(goal.outcomes)),
    }
