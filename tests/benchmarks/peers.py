"""Our surrogate and its peers behind one protocol: a `Contender` takes a `Case` and gives a `Predictor` of new cells.

Everything is on the model scale, y = ln(life in h). Peers follow their documentation: inputs on the unit cube, outcomes
standardised, hyper-parameters by their library's own fit. They know no censoring and take each reading at its value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from scipy.stats import norm

from surrogates import Cell, Prior, Surrogate, fit
from surrogates.baselines import fit_baseline
from surrogates.mechanisms import log_pressure
from surrogates.outcomes import Outcome, readings

from .worlds import CONDITION, GRID, HIGH, LOW, Case

OUTCOME = Outcome("cycle_life_h")


class Predictor(Protocol):
    """What a fitted model foresees; arrays (n,) over pressures in kPa."""

    def median(self, pressure_kpa: np.ndarray) -> np.ndarray:
        """The median curve."""

    def cdf(self, pressure_kpa: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Probability that a new cell lies below y."""

    def log_density(self, pressure_kpa: np.ndarray, y: np.ndarray) -> np.ndarray:
        """ln of the density of a new cell at y."""

    def best(self) -> tuple[float, tuple[float, float] | None]:
        """The pressure to choose, and the 90 % interval of the best one where the model gives it."""


@dataclass(frozen=True)
class Contender:
    """A model by name; `fewest` cells it can be fitted to; `peer`: by others; `slow`: over 5 s a fit, so run on fewer
    worlds."""

    name: str
    fit: Callable[[Case], Predictor]
    fewest: int = 0
    peer: bool = False
    slow: bool = False


@dataclass(frozen=True)
class Ours:
    """Our surrogate, asked through its public methods."""

    surrogate: Surrogate

    def median(self, pressure_kpa: np.ndarray) -> np.ndarray:
        return np.log(self.surrogate.curve(CONDITION, pressure_kpa)["median"])

    def cdf(self, pressure_kpa: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.array([cell_cdf(self.surrogate, p, value) for p, value in zip(pressure_kpa, y, strict=True)])

    def log_density(self, pressure_kpa: np.ndarray, y: np.ndarray) -> np.ndarray:
        pairs = zip(pressure_kpa, y, strict=True)
        return np.array([self.surrogate.log_density(CONDITION, p, value)[0] for p, value in pairs])

    def best(self) -> tuple[float, tuple[float, float] | None]:
        optimum = self.surrogate.optimum(CONDITION, (LOW, HIGH))
        return optimum.pressure_kpa, optimum.interval_kpa


@dataclass(frozen=True)
class Normal:
    """A peer's prediction: one normal distribution a point."""

    predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    def median(self, pressure_kpa: np.ndarray) -> np.ndarray:
        return self.predict(pressure_kpa)[0]

    def cdf(self, pressure_kpa: np.ndarray, y: np.ndarray) -> np.ndarray:
        return norm.cdf(y, *self.predict(pressure_kpa))

    def log_density(self, pressure_kpa: np.ndarray, y: np.ndarray) -> np.ndarray:
        return norm.logpdf(y, *self.predict(pressure_kpa))

    def best(self) -> tuple[float, tuple[float, float] | None]:
        return float(GRID[self.median(GRID).argmax()]), None


def cell_cdf(surrogate: Surrogate, pressure_kpa: float, y: float) -> float:
    """Predicted probability that a new cell of the condition lies below y: 1 less that it outlives y."""
    log_survival, _ = surrogate.log_density(CONDITION, pressure_kpa, y, censored=True)
    return -math.expm1(log_survival)


def fit_ours(
    case: Case,
    treat: Callable[[Sequence[Cell]], Sequence[Cell]] = tuple,
    history: bool = True,
    edit: Callable[[Prior], Prior] | None = None,
) -> Ours:
    """Our surrogate on the case's cells as `treat` gives them, with its sources if `history`, its prior as edited."""
    prior = edit(case.prior) if edit else case.prior
    surrogate = fit([*treat(case.cells), *(case.sources if history else ())], prior=prior, seed=case.seed)
    surrogate.posterior(CONDITION)
    return Ours(surrogate)


def without_censored(cells: Sequence[Cell]) -> list[Cell]:
    """A naive treatment: cells still alive are left out."""
    return [cell for cell in cells if cell.status == "ended"]


def censored_as_ends(cells: Sequence[Cell]) -> list[Cell]:
    """A naive treatment: the time that a cell has been alive is taken as its life."""
    return [cell.model_copy(update={"status": "ended"}) for cell in cells]


def fit_scikit_learn(case: Case) -> Normal:
    """GaussianProcessRegressor as in surrogates.baselines."""
    return Normal(fit_baseline(readings(case.cells, OUTCOME), seed=case.seed).predict)


def fit_single_task(case: Case) -> Normal:
    """BoTorch's SingleTaskGP with its defaults, on inputs normalised as its documentation advises."""
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Normalize

    x, _, y = training(case.cells)
    model = fitted(SingleTaskGP(x, y, input_transform=Normalize(d=1)), case.seed)
    return Normal(lambda pressure_kpa: _new_cells(model, _column(log_pressure(pressure_kpa))))


def fit_multi_task(case: Case) -> Normal:
    """BoTorch's MultiTaskGP with its defaults, a task a pair, on normalised inputs; the target is task 0."""
    from botorch.models import MultiTaskGP
    from botorch.models.transforms import Normalize

    x, task, y = training([*case.cells, *case.sources])
    inputs = torch.cat([x, task], dim=1)
    model = fitted(MultiTaskGP(inputs, y, task_feature=-1, input_transform=Normalize(d=2, indices=[0])), case.seed)

    def predict(pressure_kpa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = _column(log_pressure(pressure_kpa))
        return _new_cells(model, torch.cat([at, torch.zeros_like(at)], dim=1))

    return Normal(predict)


def training(cells: Sequence[Cell]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, the number of the pair in order of appearance, and y, each (n, 1)."""
    found = readings(cells, OUTCOME)
    pairs = list(dict.fromkeys(item.cell.electrode_pair for item in found))
    return (
        _column([float(log_pressure(item.cell.pressure_kpa)) for item in found]),
        _column([pairs.index(item.cell.electrode_pair) for item in found]),
        _column([item.y for item in found]),
    )


def fitted(model: Any, seed: int) -> Any:
    """The BoTorch model with hyper-parameters by BoTorch's own fit."""
    from botorch.fit import fit_gpytorch_mll
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.manual_seed(seed)
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    return model


def _new_cells(model: Any, inputs: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        posterior = model.posterior(inputs, observation_noise=True)
        return posterior.mean[:, 0].numpy(), posterior.variance[:, 0].sqrt().numpy()


def _column(values: Any) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, dtype=float))[:, None]


OURS = Contender("ours", fit_ours)
ALONE = Contender("ours, without history", partial(fit_ours, history=False))
DROPPED = Contender("ours, censored rows dropped", partial(fit_ours, treat=without_censored))
AS_ENDS = Contender("ours, censored rows as ends", partial(fit_ours, treat=censored_as_ends))
SCIKIT_LEARN = Contender("scikit-learn GPR", fit_scikit_learn, fewest=2, peer=True)
SINGLE_TASK = Contender("BoTorch SingleTaskGP", fit_single_task, fewest=2, peer=True)
MULTI_TASK = Contender("BoTorch MultiTaskGP", fit_multi_task, fewest=1, peer=True, slow=True)
