"""The surrogate behind scikit-learn's interface: scikit-learn's own checks, its tools, and what a user may get wrong."""

from __future__ import annotations

import math
import re
from importlib.resources import files
from io import BytesIO
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    parametrize_with_checks,
)

from surrogates import Cell, Condition, PressureRegressor, Prior, UserError, fit
from surrogates.cells import to_frame

from .worlds import cells_from, true_log_life, world

COLUMNS = ["pressure_kpa", "electrode_pair", "electrolyte", "current_density", "current_density_unit"]
PRESSURES = np.array([[20.0], [60.0], [200.0], [600.0], [1500.0]])
LIVES = np.array([30.0, 70.0, 100.0, 60.0, 25.0])

MANY = "the check draws three or more columns without names: only pressure, or pressure and current density, have a meaning"
ZERO = "the check draws a pressure of 0 kPa, which has no logarithm"
TO_BE_REFUSED = {
    MANY: (
        "check_fit_score_takes_y",
        "check_dont_overwrite_parameters",
        "check_n_features_in_after_fitting",
        "check_estimators_dtypes",
        "check_dtype_object",
        "check_pipeline_consistency",
        "check_estimators_nan_inf",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_regressors_train",
        "check_regressor_data_not_an_array",
        "check_regressors_no_decision_function",
        "check_supervised_y_2d",
        "check_regressors_int",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_fit2d_1sample",
        "check_dict_unchanged",
        "check_fit2d_predict1d",
    ),
    ZERO: (
        "check_estimators_overwrite_params",
        "check_estimators_fit_returns_self",
        "check_readonly_memmap_input",
        "check_fit2d_1feature",
        "check_fit_idempotent",
        "check_fit_check_is_fitted",
        "check_n_features_in",
    ),
}


class OfAnyNumbers(PressureRegressor):
    """Reads the first column as ln(P / 100 kPa) whatever else there is, so that every check reaches the estimator."""

    def _rows(self, X: np.ndarray) -> list[dict[str, Any]]:
        return [{"pressure_kpa": 100 * math.exp(x)} for x in X[:, 0]]


@parametrize_with_checks([OfAnyNumbers()])
def test_scikit_learns_checks(estimator: PressureRegressor, check: Any) -> None:
    check(estimator)


def test_scikit_learns_checks_fail_only_on_what_is_to_be_refused() -> None:
    expected = {check: reason for reason, checks in TO_BE_REFUSED.items() for check in checks}
    results = check_estimator(PressureRegressor(), expected_failed_checks=expected, on_fail=None, on_skip=None)
    assert len(results) > 50
    assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(expected)
    assert [result for result in results if result["status"] == "failed"] == []


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_names_of_columns_are_remembered_as_scikit_learn_does() -> None:
    check_dataframe_column_names_consistency("OfAnyNumbers", OfAnyNumbers())


def table(cells: tuple[Cell, ...]) -> tuple[pd.DataFrame, np.ndarray]:
    frame = to_frame(cells)
    return frame[COLUMNS], frame["cycle_life_h"].to_numpy()


def three_pairs(scatter: float = 0.2) -> tuple[pd.DataFrame, np.ndarray]:
    """Six cells of each of three pairs that share zinc, their best pressure (100 kPa) and their life there."""
    pressures = [10.0, 30.0, 100.0, 300.0, 800.0, 2000.0]
    noise = scatter * np.random.default_rng(3).standard_normal((3, 6))
    lives = true_log_life(pressures, best_kpa=100) + noise
    tables = [
        to_frame(cells_from(pressures, list(row), electrode_pair=pair))
        for row, pair in zip(lives, ("Zn||Ti", "Zn||Cu", "Zn||C"), strict=True)
    ]
    frame = pd.concat(tables, ignore_index=True)
    return frame[COLUMNS], frame["cycle_life_h"].to_numpy()


def test_it_is_fit_and_predict(zn_ti: Condition) -> None:
    cells = world(6, seed=2)
    regressor = PressureRegressor(random_state=5).fit(*table(cells))
    asked = pd.DataFrame({**zn_ti.model_dump(include=set(COLUMNS)), "pressure_kpa": [20.0, 300.0, 1000.0]})[COLUMNS]
    expected = fit(cells, seed=5).predict(zn_ti, [20, 300, 1000])
    assert regressor.predict(asked) == pytest.approx(expected["median"].to_numpy(), rel=1e-9)
    assert regressor.surrogate_.optimum(zn_ti) == fit(cells, seed=5).optimum(zn_ti)


@pytest.mark.parametrize(
    ("outcome", "values", "column"),
    [
        ("cycle_life_cycles", [50, 120, 80], {}),
        ("coulombic_efficiency", [0.95, 0.985, 0.97], {"ce_protocol": "reservoir"}),
        ("capacity_retention", [0.6, 0.8, 1.02], {"retention_cycles": 50}),
    ],
)
def test_every_outcome_in_its_unit(outcome: str, values: list[float], column: dict[str, Any], zn_ti: Condition) -> None:
    pressures = [20.0, 200.0, 900.0]
    cells = [
        {**cell.row(), "cycle_life_h": None, outcome: value, **column}
        for cell, value in zip(cells_from(pressures, [0, 0, 0]), values, strict=True)
    ]
    condition = zn_ti.model_copy(update={"retention_cycles": column.get("retention_cycles")})
    found = PressureRegressor(outcome, condition=condition).fit(np.c_[pressures], values).predict(np.c_[pressures])
    assert found == pytest.approx(fit(cells, outcome).predict(zn_ti, pressures)["median"].to_numpy(), rel=1e-9)


def test_a_retention_is_stated_at_the_same_cycle_for_a_pair_never_built() -> None:
    regressor = PressureRegressor("capacity_retention", condition={"retention_cycles": 500})
    table = pd.DataFrame({"pressure_kpa": [50.0, 200.0, 900.0], "electrode_pair": "Zn||Ti"})
    new = table.assign(electrode_pair="Zn||Cu")
    regressor.fit(table, [0.5, 0.8, 0.6])
    condition = Condition(**{**dict(regressor.condition_), "electrode_pair": "Zn||Cu"})
    assert condition.retention_cycles == 500
    expected = regressor.surrogate_.curve(condition, table["pressure_kpa"])["median"]
    assert regressor.predict(new) == pytest.approx(expected)


def test_numbers_are_pressure_then_current_density() -> None:
    generator = np.random.default_rng(0)
    numbers = np.c_[generator.uniform(20, 900, 8), generator.choice([0.5, 2.0], 8)]
    lives = generator.uniform(50, 150, 8)
    named = pd.DataFrame(numbers[:, ::-1], columns=["current_density", "pressure_kpa"])
    assert PressureRegressor().fit(numbers, lives).predict(numbers) == pytest.approx(
        PressureRegressor().fit(named, lives).predict(named), rel=1e-12
    )


def test_condition_is_what_the_table_leaves_out(zn_ti: Condition) -> None:
    X, lives = table(world(5, seed=1))
    stated = PressureRegressor(condition=zn_ti).fit(X[["pressure_kpa"]], lives)
    assert stated.condition_ == zn_ti.model_copy(update={"retention_cycles": 100})
    assert stated.predict(X[["pressure_kpa"]]) == pytest.approx(PressureRegressor().fit(X, lives).predict(X), rel=1e-12)
    overridden = PressureRegressor(condition={"current_density": 7.0, "current_density_unit": "A/g"})
    assert {cell.current_density for cell in overridden.fit(X, lives).surrogate_.cells} == {1.0}
    assert {cell.current_density for cell in overridden.fit(X[["pressure_kpa"]], lives).surrogate_.cells} == {7.0}


def test_rows_come_in_any_order() -> None:
    X, lives = three_pairs()
    order = np.random.default_rng(1).permutation(len(X))
    straight, mixed = PressureRegressor().fit(X, lives), PressureRegressor().fit(X.iloc[order], lives[order])
    assert mixed.predict(X) == pytest.approx(straight.predict(X), rel=1e-5)
    assert straight.predict(X.iloc[order]) == pytest.approx(straight.predict(X)[order], rel=1e-9)


def test_censored_cells_are_lower_bounds(zn_ti: Condition) -> None:
    pressures, lives = [20.0, 100.0, 300.0, 900.0], np.array([40.0, 90.0, 60.0, 30.0])
    alive = np.array([False, False, True, False])
    cells = cells_from(pressures, np.log(lives).tolist(), ["running" if one else "ended" for one in alive])
    found = PressureRegressor().fit(np.c_[pressures], lives, censored=alive).predict(np.c_[pressures])
    assert found == pytest.approx(fit(cells).predict(zn_ti, pressures)["median"].to_numpy(), rel=1e-9)
    assert found[2] > 1.05 * PressureRegressor().fit(np.c_[pressures], lives).predict([[300.0]])[0]


def test_std_is_that_of_ln_life_of_one_new_cell(zn_ti: Condition) -> None:
    """Against the moments of the predicted density, integrated over ln life."""
    regressor = PressureRegressor(condition=zn_ti).fit(PRESSURES, LIVES)
    median, sd = regressor.predict([[100.0], [4000.0]], return_std=True)
    assert median.tolist() == regressor.predict([[100.0], [4000.0]]).tolist()
    ln_life = np.linspace(-6, 12, 181)
    for pressure, found in zip((100.0, 4000.0), sd, strict=True):
        density = np.exp([regressor.surrogate_.log_density(zn_ti, pressure, y)[0] for y in ln_life])
        mean = np.average(ln_life, weights=density)
        assert found == pytest.approx(math.sqrt(np.average((ln_life - mean) ** 2, weights=density)), rel=1e-3)
    assert 0.3 < sd[0] < sd[1]


def test_std_of_a_fraction_is_on_the_model_scale(zn_ti: Condition) -> None:
    regressor = PressureRegressor("coulombic_efficiency", condition=zn_ti).fit(PRESSURES, 1 - 1 / LIVES)
    _, sd = regressor.predict([[100.0]], return_std=True)
    mean = regressor.surrogate_.log_density(zn_ti, 100.0, 0.0)[1]
    assert regressor.surrogate_.new_cell(zn_ti, [100.0]) == (pytest.approx([mean]), pytest.approx(sd))
    assert sd[0] > 0.2  # of -ln(-ln CE); of CE itself it would be near 0.005


def test_score_is_r2_in_the_outcomes_unit() -> None:
    regressor = PressureRegressor().fit(PRESSURES, LIVES)
    residual = LIVES - regressor.predict(PRESSURES)
    assert regressor.score(PRESSURES, LIVES) == pytest.approx(1 - (residual**2).sum() / 5 / LIVES.var())


def test_a_pair_left_out_is_foretold_from_the_others() -> None:
    X, lives = three_pairs()
    folds: dict[str, Any] = {"groups": X["electrode_pair"], "cv": GroupKFold(3)}
    scores = cross_val_score(PressureRegressor(), X, lives, **folds)
    assert scores.shape == (3,)
    assert (scores > 0.4 + cross_val_score(DummyRegressor(), X, lives, **folds)).all()


def test_censored_goes_through_cross_validation() -> None:
    X, lives = table(world(6, seed=4))
    alive = np.arange(6) == lives.argmin()
    plain, censored = (
        cross_val_score(PressureRegressor(), X, lives, cv=3, params=params) for params in (None, {"censored": alive})
    )
    assert np.isfinite(censored).all()
    assert (plain != censored).sum() == 2  # the fold that tests the censored cell is fitted without it


def test_importance_lies_with_pressure() -> None:
    generator = np.random.default_rng(0)
    X, lives = table(world(24, seed=3, scatter=0.2))
    X = X.assign(current_density=generator.choice([0.5, 1.0, 2.0], len(X)))
    regressor = PressureRegressor().fit(X, lives)
    found = permutation_importance(regressor, X, lives, n_repeats=5, random_state=0).importances_mean
    importance = dict(zip(COLUMNS, found, strict=True))
    assert importance["pressure_kpa"] > 0.5
    assert abs(importance["current_density"]) < 0.1 * importance["pressure_kpa"]
    assert importance["electrode_pair"] == importance["electrolyte"] == 0


def test_a_pipeline_may_bring_the_unit() -> None:
    in_mpa = make_pipeline(FunctionTransformer(lambda mpa: 1000 * mpa), PressureRegressor())
    in_mpa.fit(PRESSURES / 1000, LIVES, pressureregressor__censored=LIVES > 90)
    expected = PressureRegressor().fit(PRESSURES, LIVES, censored=LIVES > 90).predict(PRESSURES)
    assert in_mpa.predict(PRESSURES / 1000) == pytest.approx(expected, rel=1e-9)


def test_parameters_can_be_searched() -> None:
    priors = [Prior.default(), Prior.zinc()]
    search = GridSearchCV(PressureRegressor(), {"prior": priors}, cv=2).fit(PRESSURES, LIVES)
    assert search.best_params_["prior"] in priors
    assert len(set(search.cv_results_["mean_test_score"])) == 2


def test_parameters_are_kept_as_given(zn_ti: Condition) -> None:
    regressor = PressureRegressor("coulombic_efficiency", Prior.zinc(), zn_ti, 7)
    assert regressor.get_params() == {
        "outcome": "coulombic_efficiency",
        "prior": Prior.zinc(),
        "condition": zn_ti,
        "random_state": 7,
    }
    assert clone(regressor).get_params() == regressor.get_params()
    assert (
        clone(regressor).set_params(outcome="cycle_life_h").fit(PRESSURES, LIVES).surrogate_.outcome == "cycle_life_h"
    )


def test_random_state_is_the_seed() -> None:
    one, same, other, drawn = (
        PressureRegressor(random_state=state).fit(PRESSURES, LIVES).predict(PRESSURES)
        for state in (3, np.int64(3), 4, np.random.RandomState(3))
    )
    assert (one == same).all()
    assert (one != other).all()
    assert (one != drawn).all()
    assert PressureRegressor(random_state=None).fit(PRESSURES, LIVES).surrogate_.seed > 4


def test_a_fitted_regressor_is_stored_with_its_posterior() -> None:
    regressor = PressureRegressor().fit(PRESSURES, LIVES)
    stored = BytesIO()
    joblib.dump(regressor, stored)
    stored.seek(0)
    again = joblib.load(stored)
    known = again.surrogate_.posterior(again.condition_)
    assert (again.predict(PRESSURES) == regressor.predict(PRESSURES)).all()
    assert again.surrogate_.posterior(again.condition_) is known


def test_fit_infers_so_that_predict_need_not(monkeypatch: pytest.MonkeyPatch) -> None:
    X, lives = three_pairs()
    regressor = PressureRegressor().fit(X, lives)
    monkeypatch.setattr("surrogates.surrogate.infer", lambda *_: pytest.fail("inferred again"))
    assert len(regressor.predict(X)) == len(X)


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"pressure_kpa": [20.0, 300.0], **columns})


@pytest.mark.parametrize(
    ("parameters", "X", "y", "message"),
    [
        (
            {},
            frame().rename(columns=str.upper),
            [1, 2],
            "expected pressure_kpa and any of .*; found PRESSURE_KPA. Rename",
        ),
        ({}, frame(temperature_c=25), [1, 2], "any of electrode_pair, .*; found pressure_kpa, temperature_c. Rename"),
        ({}, np.ones((2, 3)), [1, 2], "or one or two without names .*; found 3 without names"),
        ({}, [[20.0], [0.0]], [1, 2], "row 1, column pressure_kpa: expected a number above 0; found 0"),
        ({}, [[20.0], [-3.0]], [1, 2], "Negative values in data passed to PressureRegressor"),
        ({}, [20.0, 300.0], [1, 2], "Reshape your data"),
        ({}, [["Zn||Ti"], ["Zn||Cu"]], [1, 2], "could not convert string to float: 'Zn"),
        ({}, pd.DataFrame([["Zn||Ti"], ["Zn||Cu"]]), [1, 2], "could not convert string to float: 'Zn"),
        ({}, frame(electrode_pair=["Zn||Ti", "Zn"]), [1, 2], "row 1, column electrode_pair: expected two electrodes"),
        (
            {},
            frame(electrolyte=["1 M ZnSO4", None]),
            [1, 2],
            "row 1, column electrolyte: expected a value; found nothing",
        ),
        (
            {},
            frame(electrode_pair="a||b", current_density_unit=["A/g", "mA/cm2"]),
            [1, 2],
            "one unit for an electrode pair",
        ),
        ({}, frame(), [1, -2], "row 1, column cycle_life_h: expected a number above 0; found -2"),
        ({}, frame(), [1, math.nan], "Input y contains NaN"),
        ({}, frame(), [1], "inconsistent numbers of samples"),
        ({"outcome": "coulombic_efficiency"}, frame(), [0.9, 98.0], "row 1, .* That is a percentage"),
        ({"outcome": "life"}, frame(), [1, 2], "outcome: expected one of cycle_life_h, .*; found 'life'"),
        ({"condition": {"electrolite": "x"}}, frame(), [1, 2], "column electrolite: expected no such field"),
    ],
)
def test_what_is_wrong_is_said(parameters: dict[str, Any], X: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PressureRegressor(**parameters).fit(X, y)


@pytest.mark.parametrize(
    ("outcome", "censored", "message"),
    [
        ("cycle_life_h", [True], r"expected 2 booleans, one a row of X; found bool of shape \(1,\)"),
        ("cycle_life_h", [0, 1], r"expected 2 booleans, one a row of X; found int64 of shape \(2,\). True where"),
        ("capacity_retention", [True, False], "expected a cycle life where a cell is still alive; found capacity_ret"),
    ],
)
def test_what_is_wrong_with_censored_is_said(outcome: str, censored: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PressureRegressor(outcome).fit([[20.0], [300.0]], [0.5, 0.6], censored=censored)


def test_what_is_wrong_is_said_when_predicting() -> None:
    regressor = PressureRegressor().fit(frame(electrode_pair="Zn||Ti"), [50.0, 100.0])
    with pytest.raises(UserError, match="X, rows counted from 0: 1 problem.*\n.*row 0, column pressure_kpa"):
        regressor.predict(frame(electrode_pair="Zn||Ti").assign(pressure_kpa=[-1.0, 5.0]))
    with pytest.raises(ValueError, match="should match those that were passed during fit"):
        regressor.predict(frame())


def test_the_guide_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (files("surrogates") / "README.md").read_text(encoding="utf-8")
    [code] = [block for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "PressureRegressor" in block]
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["errors"]) == 3
    assert 0 < names["errors"].max() < 1
