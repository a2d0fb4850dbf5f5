"""The physics surrogate behind Optuna's ask and tell: any study with a `pressure_kpa` parameter can be driven by it.

    study = optuna.create_study(direction="maximize", sampler=StackPressureSampler(condition))
    study.optimize(lambda trial: run_cell(trial.suggest_float("pressure_kpa", 10, 2000, log=True)), n_trials=8)

The trial's value is the outcome in its unit (a life in h, say). Trials still RUNNING are pending cells. The trial's user
attribute "status" (ended, stopped, running; default ended) marks a value as a lower bound of a life. FAIL and PRUNED
trials are left out. Every other parameter is sampled at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optimizer.rig import Rig, check_rig
from optimizer.suggestion import propose
from surrogates.cells import Condition, check_condition
from surrogates.errors import UserError
from surrogates.outcomes import DEFAULT_RETENTION_CYCLES
from surrogates.prior import Prior
from surrogates.surrogate import fit

PARAMETER = "pressure_kpa"


class StackPressureSampler(BaseSampler):
    """Suggests `pressure_kpa` for one condition by expected gain of the final choice."""

    def __init__(
        self,
        condition: Condition | Mapping[str, Any],
        outcome: str = "cycle_life_h",
        prior: Prior | None = None,
        seed: int = 0,
    ) -> None:
        self._condition = check_condition(condition)
        self._outcome = outcome
        self._prior = prior
        self._seed = seed
        self._others = RandomSampler(seed=seed)

    def reseed_rng(self) -> None:
        """Reseed the sampler of the other parameters, as Optuna asks in parallel runs."""
        self._others.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Pressure as the study's trials state it; empty for the first trial, which has stated none."""
        for other in reversed(study.get_trials(deepcopy=False)):
            if PARAMETER in other.distributions:
                return {PARAMETER: other.distributions[PARAMETER]}
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next pressure, or nothing where the study has no pressure yet."""
        if PARAMETER not in search_space:
            return {}
        return {PARAMETER: self._next_pressure(study, trial, search_space[PARAMETER])}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The first pressure of a study by the prior; any other parameter at random."""
        if param_name == PARAMETER:
            return self._next_pressure(study, trial, param_distribution)
        return self._others.sample_independent(study, trial, param_name, param_distribution)

    def _next_pressure(self, study: Study, trial: FrozenTrial, distribution: BaseDistribution) -> float:
        if study.directions != [StudyDirection.MAXIMIZE]:
            raise UserError('study: expected direction="maximize", one outcome that is better when larger')
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))
        cells = list(self._cells(other for other in trials if other.number != trial.number))
        surrogate = fit(cells, self._outcome, self._prior, self._seed)
        proposals, _ = propose(surrogate, self._condition, _rig(distribution), 1, self._seed)
        return proposals[0].pressure_kpa

    def _cells(self, trials: Iterator[FrozenTrial]) -> Iterator[dict[str, Any]]:
        condition = self._condition.model_dump(exclude={"retention_cycles"})
        for trial in trials:
            if PARAMETER not in trial.params:
                continue
            row = {"cell_id": str(trial.number), "pressure_kpa": trial.params[PARAMETER], **condition}
            if trial.state is TrialState.RUNNING:
                yield {**row, "status": "planned"}
            else:
                yield {**row, "status": trial.user_attrs.get("status", "ended"), **self._result(trial)}

    def _result(self, trial: FrozenTrial) -> dict[str, Any]:
        result: dict[str, Any] = {self._outcome: trial.value}
        if self._outcome == "capacity_retention":
            result["retention_cycles"] = self._condition.retention_cycles or DEFAULT_RETENTION_CYCLES
        if self._outcome == "coulombic_efficiency":
            result["ce_protocol"] = trial.user_attrs.get("ce_protocol", "per_cycle_mean")
        return result


def _rig(distribution: BaseDistribution) -> Rig:
    if isinstance(distribution, FloatDistribution | IntDistribution):
        ends: Sequence[float] = (distribution.low, distribution.high)
        return check_rig(pressure_kpa=tuple(ends), step_kpa=distribution.step)
    raise UserError(f"{PARAMETER}: expected suggest_float or suggest_int; found {type(distribution).__name__}")
