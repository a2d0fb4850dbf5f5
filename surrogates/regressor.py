"""The surrogate as a scikit-learn regressor: cross-validation, permutation importance, pipelines.

Columns of X are those of the table of cells (surrogates.cells); y is an outcome in its unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from surrogates.cells import Cell, Condition, check_cells, check_condition
from surrogates.errors import UserError
from surrogates.outcomes import DEFAULT_RETENTION_CYCLES, check_outcome
from surrogates.prior import Prior
from surrogates.surrogate import fit

NAMED = ("pressure_kpa", "electrode_pair", "electrolyte", "current_density", "current_density_unit")
UNNAMED = ("pressure_kpa", "current_density")
UNSTATED = {
    "electrode_pair": "anode||cathode",
    "electrolyte": "electrolyte",
    "current_density": 1.0,
    "current_density_unit": "mA/cm2",
    "retention_cycles": DEFAULT_RETENTION_CYCLES,
}


class PressureRegressor(RegressorMixin, BaseEstimator):
    """An outcome over stacking pressure: `surrogates.fit` behind scikit-learn's interface.

    X (n, k)        a DataFrame with a column pressure_kpa and any of electrode_pair, electrolyte, current_density and
                    current_density_unit; or numbers without names: pressure in kPa, then, if given, current density
    y (n,)          the outcome in its unit: h, cycles or a fraction

    outcome         "cycle_life_h", "cycle_life_cycles", "coulombic_efficiency" (all of one protocol) or
                    "capacity_retention" (at or above 1 it says nothing)
    prior           None means `Prior.default()`
    condition       what X leaves out: a `Condition`, or some of its fields as a mapping. Unless stated there, all cells
                    are of one pair in one electrolyte at 1 mA cm-2, and a retention is that after 100 cycles
    random_state    the seed: an integer gives the same answer every time

    surrogate_      after `fit`, the `Surrogate`: `surrogate_.optimum(condition_)` is the best pressure
    condition_      what X leaves out, complete
    n_features_in_, feature_names_in_    columns of X in `fit`; names only where it had them

    `score` is R^2 of y in its unit, so that it compares with any other regressor's. Lives scatter by a factor, so long
    ones dominate it: scoring="neg_root_mean_squared_log_error" weighs all alike. A score takes every y for a full life;
    sample_weight 0 leaves censored cells out.
    """

    def __init__(
        self,
        outcome: str = "cycle_life_h",
        prior: Prior | None = None,
        condition: Condition | Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.outcome = outcome
        self.prior = prior
        self.condition = condition
        self.random_state = random_state

    def fit(self, X: Any, y: Any, censored: Any = None) -> Self:
        """Learn from n cells, in any order.

        `censored` (n,), booleans: True where the cell is alive at y, a lower bound of its life.
        Raises `ValueError` for columns and values that cannot be taken; every row that is wrong is named.
        """
        X, y = validate_data(self, X, y, y_numeric=True, **_rules(named=_has_names(X)))
        self.condition_ = _complete(self.condition)
        cells = self._cells(X, self._results(y, censored), "X and y")
        self.surrogate_ = fit(cells, self.outcome, self.prior, _seed(self.random_state))
        for condition in _rows_by_condition(cells):
            self.surrogate_.posterior(condition)
        return self

    def predict(self, X: Any, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The median outcome of each row of X in its unit (n,); a pair or electrolyte not in `fit` is foretold from the
        others.

        `return_std` adds the standard deviation (n,) of one new cell on the model scale, where scatter is additive: of
        ln y for a life (0.1 is about 10 %), of -ln(-ln y) for a coulombic efficiency or a capacity retention. It holds
        what is not known of the curve, the scatter from cell to cell and the odd cell that dies early.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **_rules(named=hasattr(self, "feature_names_in_")))
        cells = self._cells(X, [{"status": "planned"}] * len(X), "X")
        median, sd = np.empty((2, len(cells)))
        for condition, rows in _rows_by_condition(cells).items():
            at = condition.model_copy(update={"retention_cycles": self.condition_.retention_cycles})
            pressures, each = np.unique([cells[row].pressure_kpa for row in rows], return_inverse=True)
            median[rows] = self.surrogate_.curve(at, pressures)["median"][each]
            if return_std:
                sd[rows] = self.surrogate_.new_cell(at, pressures)[1][each]
        return (median, sd) if return_std else median

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = tags.target_tags.positive_only = True
        tags.regressor_tags.poor_score = True  # on scikit-learn's ten columns: only pressure and current are seen
        return tags

    def _cells(self, X: np.ndarray, results: Iterable[Mapping[str, Any]], source: str) -> tuple[Cell, ...]:
        """One cell a row of X: the condition held, what the row says, its result."""
        held = self.condition_.model_dump(exclude={"retention_cycles"})
        if not hasattr(self, "feature_names_in_"):
            check_non_negative(X, type(self).__name__)
        rows = [
            {**held, **row, **result, "cell_id": str(number)}
            for number, (row, result) in enumerate(zip(self._rows(X), results, strict=True))
        ]
        return check_cells(rows, f"{source}, rows counted from 0", [f"row {number}" for number in range(len(rows))])

    def _rows(self, X: np.ndarray) -> list[dict[str, Any]]:
        """Each row of X by the names of its columns."""
        names = self._names()
        return [dict(zip(names, values, strict=True)) for values in X.tolist()]

    def _names(self) -> Sequence[str]:
        """What each column of X is."""
        names = getattr(self, "feature_names_in_", UNNAMED[: self.n_features_in_])
        if len(set(names)) == self.n_features_in_ and "pressure_kpa" in names and set(names) <= set(NAMED):
            return names
        found = ", ".join(names) if hasattr(self, "feature_names_in_") else f"{self.n_features_in_} without names"
        raise UserError(
            f"columns of X: expected pressure_kpa and any of {', '.join(NAMED[1:])}, or one or two without names "
            f"({', '.join(UNNAMED)}); found {found}. Rename or drop the others; `condition` holds what X leaves out."
        )

    def _results(self, y: np.ndarray, censored: Any) -> list[dict[str, Any]]:
        """Status and outcome of each cell, as columns of the table."""
        outcome = check_outcome(self.outcome)
        stated: dict[str, dict[str, Any]] = {
            "coulombic_efficiency": {"ce_protocol": "per_cycle_mean"},  # any one protocol: the fit only forbids two
            "capacity_retention": {"retention_cycles": self.condition_.retention_cycles},
        }
        alive = _check_censored(censored, outcome, len(y))
        return [
            {"status": "running" if running else "ended", outcome: value, **stated.get(outcome, {})}
            for value, running in zip(y.tolist(), alive, strict=True)
        ]


def _has_names(X: Any) -> bool:
    return any(isinstance(name, str) for name in getattr(X, "columns", ()))


def _rules(*, named: bool) -> dict[str, Any]:
    """How scikit-learn checks X; what stands in a named table is checked as a table of cells."""
    return {"dtype": None if named else float, "ensure_all_finite": not named}


def _complete(condition: Condition | Mapping[str, Any] | None) -> Condition:
    stated = {name: value for name, value in dict(condition or {}).items() if value is not None}
    return check_condition({**UNSTATED, **stated})


def _seed(random_state: int | np.random.RandomState | None) -> int:
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _check_censored(censored: Any, outcome: str, count: int) -> np.ndarray:
    """`censored` as booleans (count,); raises `UserError` for anything else, and where the outcome is no life."""
    alive = np.zeros(count, dtype=bool) if censored is None else np.asarray(censored)
    if alive.dtype != bool or alive.shape != (count,):
        raise UserError(
            f"censored: expected {count} booleans, one a row of X; found {alive.dtype} of shape {alive.shape}. "
            "True where the cell is alive at y."
        )
    if alive.any() and not outcome.startswith("cycle_life"):
        raise UserError(
            f"censored: expected a cycle life where a cell is still alive; found {outcome}. "
            "Leave those cells out: they have no value yet."
        )
    return alive


def _rows_by_condition(cells: Sequence[Cell]) -> dict[Condition, list[int]]:
    rows: dict[Condition, list[int]] = {}
    for row, cell in enumerate(cells):
        rows.setdefault(cell.condition, []).append(row)
    return rows
