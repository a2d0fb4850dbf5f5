"""Peers as players of the search for the best pressure, each set up as its own documentation advises.

All search ln(kPa) and maximise ln(life in h); none knows censoring, so a cell still alive counts at its reading. `setup`
says what stands besides defaults; it is a part of what a stored game is known by (tests.benchmarks.stored).

LogGrid       n pressures evenly spaced in ln(kPa), ends included; the best measured is recommended
RandomSearch  uniform in ln(kPa): what Optuna's GPSampler does too for its first ten trials by default
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from surrogates import Cell

from .games import FIRST_KPA, Player
from .worlds import GRID, HIGH, LOW, Case

BOUNDS = (math.log(LOW), math.log(HIGH))
NAME, TARGET = "ln_kpa", "ln_life"


@dataclass(frozen=True)
class Entrant:
    """A player by name: how it is made for a world, its packages, what is set besides defaults, and for how many worlds
    there is time (`slow`: over 5 s a suggestion)."""

    name: str
    make: Callable[[Case], Player]
    packages: tuple[str, ...] = ()
    setup: str = "defaults"
    slow: bool = False
    peer: bool = True


def log_lives(cells: Sequence[Cell]) -> np.ndarray:
    """ln(life in h) as read, shape (n,)."""
    return np.log([cell.cycle_life_h or math.nan for cell in cells])


def best_measured(cells: Sequence[Cell]) -> float:
    """The pressure of the cell that read highest, in kPa."""
    return cells[int(log_lives(cells).argmax())].pressure_kpa


def candidates_after(cells: Sequence[Cell]) -> list[float]:
    """Pressures among which a highest posterior mean is looked for, in kPa: the tested ones first, which win where the mean
    is level, then a grid over the range."""
    return [*(cell.pressure_kpa for cell in cells), *GRID.tolist()]


@dataclass
class Peer:
    """What the players share: the world as far as they may see it, and telling them of cells, where a player keeps them."""

    case: Case

    def tell(self, cells: Sequence[Cell]) -> None:
        """Take in those of the cells that are new."""


@dataclass
class LogGrid(Peer):
    """A design of fixed size: `pressures(n)` are the n cells to build; it never looks at a life before the end."""

    def pressures(self, n: int) -> list[float]:
        """The grid of n cells; one cell stands in the middle."""
        return [FIRST_KPA] if n == 1 else np.geomspace(LOW, HIGH, n).tolist()

    def ask(self, cells: Sequence[Cell], n: int) -> list[float]:
        return self.pressures(len(cells) + n)[-n:]

    def recommend(self, cells: Sequence[Cell]) -> float:
        return best_measured(cells)


@dataclass
class RandomSearch(Peer):
    """Pressures drawn at random; the best measured is recommended."""

    @cached_property
    def _generator(self) -> np.random.Generator:
        return np.random.default_rng(self.case.seed)

    def ask(self, cells: Sequence[Cell], n: int) -> list[float]:
        return np.exp(self._generator.uniform(*BOUNDS, n)).tolist()

    def recommend(self, cells: Sequence[Cell]) -> float:
        return best_measured(cells)


@dataclass
class Optuna(Peer):
    """GPSampler, asked and told as in "Ask-and-Tell Interface"
    (https://optuna.readthedocs.io/en/stable/tutorial/20_recipes/009_ask_and_tell.html).

    Its `n_startup_trials` (https://optuna.readthedocs.io/en/stable/reference/samplers/generated/optuna.samplers.GPSampler.html)
    is 10 by default: ten random cells, a whole game here. It is set to 1, so that the Gaussian process chooses from the
    second cell on. `study.best_params`, the best measured, is all that Optuna recommends.
    """

    @cached_property
    def _study(self) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.GPSampler(seed=self.case.seed, n_startup_trials=1)
        return optuna.create_study(direction="maximize", sampler=sampler)

    @cached_property
    def _space(self) -> dict[str, Any]:
        from optuna.distributions import FloatDistribution

        return {"pressure_kpa": FloatDistribution(LOW, HIGH, log=True)}

    def tell(self, cells: Sequence[Cell]) -> None:
        from optuna.trial import TrialState, create_trial

        asked = self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        known = len(self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))
        waiting = [trial.number for trial in asked]
        for cell, life in list(zip(cells, log_lives(cells), strict=True))[known:]:
            if waiting:
                self._study.tell(waiting.pop(0), life)
            else:
                built = {"pressure_kpa": cell.pressure_kpa}
                self._study.add_trial(create_trial(params=built, distributions=self._space, value=life))

    def ask(self, cells: Sequence[Cell], n: int) -> list[float]:
        self.tell(cells)
        return [self._study.ask(self._space).params["pressure_kpa"] for _ in range(n)]

    def recommend(self, cells: Sequence[Cell]) -> float:
        self.tell(cells)
        return float(self._study.best_params["pressure_kpa"])


@dataclass
class BoTorch(Peer):
    """SingleTaskGP and qLogNoisyExpectedImprovement in the loop of "Closed-loop batch, constrained BO in BoTorch"
    (https://botorch.org/docs/tutorials/closed_loop_botorch_only): 256 quasi-random draws, 10 restarts of 512 raw points.

    Departures: the noise is inferred, as it is not known; inputs are on the unit interval of the range rather than of the
    cells so far; one cell to begin with, not ten; restarts at once rather than by fives, which took 3 times as long for the
    same answer. Recommended is the highest posterior mean.
    """

    def _unfitted(self, cells: Sequence[Cell]) -> Any:
        from botorch.models import SingleTaskGP

        return SingleTaskGP(unit_interval([cell.pressure_kpa for cell in cells]), column(log_lives(cells)))

    def _model(self, cells: Sequence[Cell]) -> Any:
        import torch
        from botorch.fit import fit_gpytorch_mll
        from gpytorch.mlls import ExactMarginalLogLikelihood

        torch.manual_seed(1000 * self.case.seed + len(cells))
        model = self._unfitted(cells)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        return model

    def ask(self, cells: Sequence[Cell], n: int) -> list[float]:
        import torch
        from botorch.acquisition import qLogNoisyExpectedImprovement
        from botorch.optim import optimize_acqf
        from botorch.sampling import SobolQMCNormalSampler

        acquisition = qLogNoisyExpectedImprovement(
            self._model(cells),
            X_baseline=unit_interval([cell.pressure_kpa for cell in cells]),
            sampler=SobolQMCNormalSampler(torch.Size([256])),
        )
        bounds = column([0.0, 1.0])
        options = {"maxiter": 200}
        found, _ = optimize_acqf(acquisition, bounds, q=n, num_restarts=10, raw_samples=512, options=options)
        return [LOW * (HIGH / LOW) ** x for x in found.flatten().tolist()]

    def recommend(self, cells: Sequence[Cell]) -> float:
        candidates = candidates_after(cells)
        return candidates[int(self._model(cells).posterior(unit_interval(candidates)).mean.argmax())]


@dataclass
class BayBE(Peer):
    """A Campaign with its default recommender (TwoPhaseMetaRecommender: BotorchRecommender once there is a cell;
    https://emdgroup.github.io/baybe/stable/components/recommenders.html) over one NumericalContinuousParameter, ln(kPa)
    (https://emdgroup.github.io/baybe/stable/components/parameters.html: any value within bounds).

    Recommended is the highest mean of `Campaign.posterior_stats` ("Predictive Statistics" of
    the user guide's page on campaigns, https://emdgroup.github.io/baybe/stable/userguide/userguide.html).
    """

    _told: int = field(default=0, init=False)

    def _parameters(self) -> list[Any]:
        from baybe.parameters import NumericalContinuousParameter

        return [NumericalContinuousParameter(NAME, BOUNDS)]

    @cached_property
    def _campaign(self) -> Any:
        return self._new_campaign()

    def _new_campaign(self) -> Any:
        from baybe import Campaign
        from baybe.objectives import SingleTargetObjective
        from baybe.searchspace import SearchSpace
        from baybe.settings import Settings
        from baybe.targets import NumericalTarget

        Settings(random_seed=self.case.seed).activate()
        return Campaign(SearchSpace.from_product(self._parameters()), SingleTargetObjective(NumericalTarget(TARGET)))

    def _rows(self, cells: Sequence[Cell]) -> dict[str, Any]:
        return {NAME: np.log([cell.pressure_kpa for cell in cells]), TARGET: log_lives(cells)}

    def _candidates(self, pressures: Sequence[float]) -> dict[str, Any]:
        return {NAME: np.log(pressures)}

    def tell(self, cells: Sequence[Cell]) -> None:
        import pandas as pd

        if new := cells[self._told :]:
            self._campaign.add_measurements(pd.DataFrame(self._rows(new)))
            self._told = len(cells)

    def ask(self, cells: Sequence[Cell], n: int) -> list[float]:
        self.tell(cells)
        return np.exp(self._campaign.recommend(n)[NAME]).tolist()

    def recommend(self, cells: Sequence[Cell]) -> float:
        import pandas as pd

        self.tell(cells)
        candidates = candidates_after(cells)
        # A copy, as the campaign keeps its fit: the next suggestion is to be timed with its own.
        stats = deepcopy(self._campaign).posterior_stats(pd.DataFrame(self._candidates(candidates)), ["mean"])
        return candidates[int(stats[f"{TARGET}_mean"].to_numpy().argmax())]


@dataclass
class Ax(Peer):
    """The Client of Ax's "Quickstart" and "Getting Started" (https://ax.dev/docs/tutorials/quickstart): a range
    parameter with log scaling and the default generation strategy (the centre, quasi-random points up to the fifth cell,
    then BoTorch). Recommended is `Client.get_best_parameterization`, with the model's predictions once there is a model.

    The first cell, which Ax would place at the centre too, is attached (https://ax.dev/docs/recipes/attach-trial).
    """

    _trials: list[int] = field(default_factory=list, init=False)
    _told: int = field(default=0, init=False)

    @cached_property
    def _client(self) -> Any:
        from ax.api.client import Client
        from ax.api.configs import RangeParameterConfig
        from ax.utils.common.logger import set_ax_logger_levels

        set_ax_logger_levels(logging.CRITICAL)
        client = Client(random_seed=self.case.seed)
        client.configure_experiment(
            [RangeParameterConfig("pressure_kpa", (LOW, HIGH), parameter_type="float", scaling="log")]
        )
        client.configure_optimization(objective=TARGET)
        return client

    def tell(self, cells: Sequence[Cell]) -> None:
        for cell, life in list(zip(cells, log_lives(cells), strict=True))[self._told :]:
            if self._told == len(self._trials):
                self._trials.append(self._client.attach_trial({"pressure_kpa": cell.pressure_kpa}))
            self._client.complete_trial(self._trials[self._told], {TARGET: float(life)})
            self._told += 1

    def ask(self, cells: Sequence[Cell], n: int) -> list[float]:
        self.tell(cells)
        trials = self._client.get_next_trials(max_trials=n)
        self._trials += trials
        return [parameters["pressure_kpa"] for parameters in trials.values()]

    def recommend(self, cells: Sequence[Cell]) -> float:
        self.tell(cells)
        parameters, *_ = self._client.get_best_parameterization()
        return float(parameters["pressure_kpa"])


def unit_interval(pressure_kpa: Any) -> Any:
    """ln(kPa) on 0 to 1 over the range, shape (n, 1)."""
    return column((np.log(pressure_kpa) - BOUNDS[0]) / (BOUNDS[1] - BOUNDS[0]))


def column(values: Any) -> Any:
    import torch

    return torch.as_tensor(np.asarray(values, dtype=float))[:, None]


TORCH = ("torch", "gpytorch", "botorch")
ENTRANTS = (
    Entrant("log grid", LogGrid, setup="ends included, best measured"),
    Entrant("random search", RandomSearch, setup="best measured"),
    Entrant("Optuna GPSampler", Optuna, ("optuna", "torch"), "log=True, n_startup_trials=1, best_params"),
    Entrant("BoTorch qLogNEI", BoTorch, TORCH, "SingleTaskGP, unit interval of ln(kPa), highest posterior mean"),
    Entrant("BayBE", BayBE, ("baybe", *TORCH), "continuous ln(kPa), highest posterior mean"),
    Entrant("Ax", Ax, ("ax-platform", *TORCH), "log scaling, get_best_parameterization"),
)
"""Peers, the cheapest first."""
