"""The physics surrogate behind Optuna's ask and tell: any study with a `pressure_kpa` parameter can be driven by it.

    study = optuna.create_study(direction="maximize", sampler=StackPressureSampler(condition))
    study.optimize(lambda trial: run_cell(trial.suggest_float("pressure_kpa", 10, 2000, log=True)), n_trials=8)

The trial's value is the outcome in its unit (a life in h, say); of several outcomes a study has as many directions, all
"maximize". A study may also let `electrolyte` (categorical) and `current_density` (float) be chosen; every other parameter is
drawn at random.

Trials still RUNNING are pending cells, whichever worker runs them. User attributes of a trial say more about its cell, under
the names of the table of cells: "status" (ended, stopped, running, invalid; default ended) marks a value as a lower bound of
a life, "cycle_life_h" of a RUNNING trial is the life reached so far. FAIL and PRUNED trials are left out. Workers that ask at
the same moment, before either has said its pressure, get the first and the second cell of one batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optimizer.goal import check_goal
from optimizer.rig import MOST_CELLS, Rig, check_rig
from optimizer.suggestion import propose
from surrogates.cells import COLUMNS, Condition, check_condition
from surrogates.errors import UserError
from surrogates.outcomes import DEFAULT_RETENTION_CYCLES
from surrogates.prior import Prior
from surrogates.surrogate import Surrogate, fit

PARAMETER = "pressure_kpa"
CHOSEN = (PARAMETER, "current_density", "electrolyte")


class StackPressureSampler(BaseSampler):
    """Suggests `pressure_kpa` (and, where a study has them, `current_density` and `electrolyte`) for an electrode pair by
    the expected gain of the final choice.

    `outcome`: the trial's value, or a list of outcomes where a study has several. `bench`: tolerance_kpa,
    tolerance_percent and max_test_h of optimizer.Rig; range and step are the parameter's own. `subject_to`: requirements
    (optimizer.goal) on outcomes that trials carry as user attributes. `history`: cells of other pairs, which inform the
    curve. Raises `UserError` for a study that minimises.
    """

    def __init__(
        self,
        condition: Condition | Mapping[str, Any],
        outcome: str | Sequence[str] = "cycle_life_h",
        prior: Prior | None = None,
        seed: int = 0,
        *,
        subject_to: str | Sequence[str] = (),
        history: Iterable[Mapping[str, Any]] = (),
        **bench: Any,
    ) -> None:
        self._condition = check_condition(condition)
        self._goal = check_goal(outcome, subject_to)
        self._prior = prior
        self._seed = seed
        self._history = list(history)
        self._bench = bench
        self._others = RandomSampler(seed=seed)

    def reseed_rng(self) -> None:
        """Reseed the sampler of the other parameters, as Optuna asks in parallel runs."""
        self._others.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """What is chosen together, as the study's trials state it; empty for the first trial, which has stated none."""
        for other in reversed(study.get_trials(deepcopy=False)):
            if PARAMETER in other.distributions:
                found = {name: other.distributions[name] for name in CHOSEN if name in other.distributions}
                return {name: distribution for name, distribution in found.items() if not distribution.single()}
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next pressure with what is chosen beside it, or nothing where the study has no pressure yet."""
        if PARAMETER not in search_space:
            return {}
        if set(search_space) == {PARAMETER}:
            return {PARAMETER: self._next_pressure(study, trial, search_space[PARAMETER])}
        return self._next_choice(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The first pressure of a study by the prior; any other parameter at random."""
        if param_name == PARAMETER:
            return self._next_pressure(study, trial, param_distribution)
        return self._others.sample_independent(study, trial, param_name, param_distribution)

    def _next_pressure(self, study: Study, trial: FrozenTrial, distribution: BaseDistribution) -> float:
        surrogate, place = self._surrogate(study, trial)
        rig = _rig(distribution, self._bench)
        proposals, _ = propose(surrogate, self._condition, rig, place, self._seed, goal=self._goal)
        return proposals[-1].pressure_kpa

    def _next_choice(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        from optimizer.vary import suggest_varied

        surrogate, place = self._surrogate(study, trial)
        current, electrolyte = search_space.get("current_density"), search_space.get("electrolyte")
        ends = (current.low, current.high) if isinstance(current, FloatDistribution) else None
        names = (
            [str(name) for name in electrolyte.choices] if isinstance(electrolyte, CategoricalDistribution) else None
        )
        rig = _rig(search_space[PARAMETER], self._bench)
        rows = suggest_varied(
            surrogate, self._condition, rig, self._goal, place, self._seed, tuple(search_space), ends, names
        )
        return {name: rows[name].iloc[-1] for name in search_space}

    def _surrogate(self, study: Study, trial: FrozenTrial) -> tuple[Surrogate, int]:
        """The surrogate of the study's trials, and this trial's place among those that ask at this moment."""
        if study.directions != [StudyDirection.MAXIMIZE] * len(self._goal.outcomes):
            raise UserError(
                f"study: expected {len(self._goal.outcomes)} direction(s), all maximize, one an outcome that is better "
                f"when larger; found {', '.join(direction.name.lower() for direction in study.directions)}"
            )
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))
        others = [other for other in trials if other.number != trial.number]
        asking = sum(other.number < trial.number and PARAMETER not in other.params for other in others)
        cells = [*self._cells(iter(others)), *self._history]
        return fit(cells, self._goal.outcomes, self._prior, self._seed), min(asking + 1, MOST_CELLS)

    def _cells(self, trials: Iterator[FrozenTrial]) -> Iterator[dict[str, Any]]:
        """A row of the table of cells for each trial that has a pressure."""
        condition = self._condition.model_dump(exclude={"retention_cycles"})
        for trial in trials:
            if PARAMETER not in trial.params:
                continue
            chosen = {name: trial.params[name] for name in CHOSEN if name in trial.params}
            told = {name: value for name, value in trial.user_attrs.items() if name in COLUMNS}
            row = {**condition, **chosen, **told, "cell_id": str(trial.number)}
            if trial.state is TrialState.RUNNING:
                reached = any(name.startswith("cycle_life") for name in told)
                yield {**row, "status": "running" if reached else "planned"}
            else:
                yield {**row, "status": told.get("status", "ended"), **self._result(trial)}

    def _result(self, trial: FrozenTrial) -> dict[str, Any]:
        result: dict[str, Any] = dict(zip(self._goal.outcomes, trial.values, strict=True))
        if "capacity_retention" in result:
            result["retention_cycles"] = self._condition.retention_cycles or DEFAULT_RETENTION_CYCLES
        if "coulombic_efficiency" in result:
            result["ce_protocol"] = trial.user_attrs.get("ce_protocol", "per_cycle_mean")
        return result


def _rig(distribution: BaseDistribution, bench: Mapping[str, Any]) -> Rig:
    if isinstance(distribution, FloatDistribution | IntDistribution):
        ends: Sequence[float] = (distribution.low, distribution.high)
        step = distribution.step if distribution.step and not distribution.log else None
        return check_rig(pressure_kpa=tuple(ends), step_kpa=step, **bench)
    if isinstance(distribution, CategoricalDistribution):
        settings = sorted(float(choice) for choice in distribution.choices)  # type: ignore[arg-type]
        return check_rig(pressure_kpa=(settings[0], settings[-1]), allowed_kpa=tuple(settings), **bench)
    raise UserError(f"{PARAMETER}: expected suggest_float or suggest_int; found {type(distribution).__name__}")
