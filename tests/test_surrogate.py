"""The contract of `fit`, `predict` and `optimum`; agreement, modes, leave-one-out; the BoTorch face."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor

from surrogates import Cell, Condition, Prior, UserError, fit
from surrogates.baselines import fit_baseline
from surrogates.diagnostics import leave_one_out
from surrogates.mechanisms import log_pressure
from surrogates.outcomes import Outcome, readings

from .worlds import cells_from, world


def test_predict_of_the_contract(paper: tuple[Cell, ...], zn_ti: Condition) -> None:
    surrogate = fit(pd.DataFrame([cell.row() for cell in paper]), outcome="cycle_life_h", prior=Prior.default(), seed=0)
    table = surrogate.predict(zn_ti, pressure_kpa=[20, 300, 1000])
    assert list(table.columns) == ["pressure_kpa", "median", "lower", "upper", "cell_lower", "cell_upper"]
    assert table["pressure_kpa"].tolist() == [20, 300, 1000]
    assert table["median"].to_numpy() == pytest.approx([14, 104, 36], rel=0.2)


def test_the_papers_best_pressure_is_not_fixed_by_three_cells(paper: tuple[Cell, ...], zn_ti: Condition) -> None:
    """Two-mode curves through all three lives peak anywhere from 168 to 335 kPa: the posterior must say so."""
    for seed in range(5):
        low, high = fit(paper, seed=seed).optimum(zn_ti, pressure_kpa=(10, 2000)).interval_kpa
        assert low < 168
        assert high > 335
        assert low > 60
        assert high < 900


def test_optimum_of_the_contract(paper: tuple[Cell, ...], zn_ti: Condition) -> None:
    surrogate = fit(paper)
    best = surrogate.optimum(zn_ti)
    there = surrogate.predict(zn_ti, [best.pressure_kpa]).iloc[0]
    assert (best.median, best.lower, best.upper) == pytest.approx((there["median"], there["lower"], there["upper"]))
    assert best.window_kpa is not None
    assert best.window_kpa[0] < best.pressure_kpa < best.window_kpa[1]
    assert best.verdict == "measure"
    assert 0.9 < best.prior_weight < 1
    assert 0.05 < best.expected_loss < 0.3
    allowed = surrogate.optimum(zn_ti, allowed_kpa=[50, 400, 900])
    assert allowed.pressure_kpa == 400
    assert set(allowed.interval_kpa) <= {50.0, 400.0, 900.0} | set(allowed.interval_kpa)


def test_optimum_agrees_with_predict_on_a_finer_grid(paper: tuple[Cell, ...], zn_ti: Condition) -> None:
    surrogate = fit(paper)
    pressures = np.exp(np.linspace(math.log(10), math.log(2000), 400))
    median = surrogate.predict(zn_ti, pressures)["median"].to_numpy()
    assert surrogate.optimum(zn_ti).pressure_kpa == pytest.approx(pressures[median.argmax()], rel=0.25)


@pytest.mark.parametrize("outcome", ["coulombic_efficiency", "capacity_retention"])
def test_fractions_stay_fractions(outcome: str, paper: tuple[Cell, ...], zn_ti: Condition, zn_vo2: Condition) -> None:
    condition = zn_ti if outcome == "coulombic_efficiency" else zn_vo2
    table = fit(paper, outcome=outcome).predict(condition, [20, 300, 1000])
    values = table.drop(columns="pressure_kpa").to_numpy()
    assert ((values > 0) & (values < 1)).all()
    measured = [0.944, 0.984, 0.966] if outcome == "coulombic_efficiency" else [0.435, 0.773, 0.713]
    assert table["median"].to_numpy() == pytest.approx(measured, abs=0.02)


def test_empty_table_gives_the_prior(zn_ti: Condition) -> None:
    surrogate = fit(pd.DataFrame(), outcome="cycle_life_h")
    best = surrogate.optimum(zn_ti, pressure_kpa=(1, 30_000))
    assert best.pressure_kpa == pytest.approx(500, rel=0.5)
    assert best.interval_kpa[0] < 150 < 1700 < best.interval_kpa[1]
    assert surrogate.agreement(zn_ti).times_better == pytest.approx(1, rel=0.01)


def test_the_named_prior_matters_before_data_and_little_after(zn_ti: Condition) -> None:
    default, zinc = fit([], prior=Prior.default()), fit([], prior=Prior.zinc())
    assert zinc.optimum(zn_ti).pressure_kpa < default.optimum(zn_ti).pressure_kpa
    cells = world(30, seed=3)
    after = [fit(cells, prior=prior).optimum(zn_ti).pressure_kpa for prior in (Prior.default(), Prior.zinc())]
    assert after[0] == pytest.approx(after[1], rel=0.15)


def test_modes_bound_the_curve(paper: tuple[Cell, ...], zn_ti: Condition) -> None:
    """Each mode alone would let the cell live longer; contact rules at low pressure, shorts at high."""
    surrogate = fit(paper)
    pressures = [20.0, 300.0, 1000.0]
    modes, median = surrogate.modes(zn_ti, pressures), surrogate.predict(zn_ti, pressures)["median"].to_numpy()
    assert (modes["contact"] > 0.95 * median).all()
    assert (modes["short"] > 0.95 * median).all()
    assert modes["contact"][0] < modes["short"][0]
    assert modes["contact"][2] > modes["short"][2]


def test_messages() -> None:
    condition = {"electrode_pair": "a||b", "electrolyte": "c", "current_density": 1, "current_density_unit": "A/g"}
    with pytest.raises(UserError, match="outcome: expected one of"):
        fit([], outcome="life")
    with pytest.raises(UserError, match="pressures above 0 kPa"):
        fit([]).predict(condition, [0, 10])
    with pytest.raises(UserError, match=r"expected \(lowest, highest\)"):
        fit([]).optimum(condition, pressure_kpa=(100, 10))
    prior = Prior.default().model_copy(update={"levels": {}})
    with pytest.raises(UserError, match="expected a level for cycle_life_h"):
        fit([], prior=prior)


def test_retention_at_the_conditions_cycle(paper: tuple[Cell, ...], zn_vo2: Condition) -> None:
    surrogate = fit(paper, outcome="capacity_retention")
    at_50 = surrogate.predict(zn_vo2.model_copy(update={"retention_cycles": 50}), [300])["median"].iloc[0]
    assert at_50 == pytest.approx(math.sqrt(surrogate.predict(zn_vo2, [300])["median"].iloc[0]), rel=1e-3)


def test_html_escapes_user_text() -> None:
    [cell] = cells_from([300], [4.0])
    surrogate = fit([cell.model_copy(update={"electrolyte": "<script>1 M"})])
    assert "<script>" not in surrogate._repr_html_()
    assert "&lt;script&gt;1 M" in surrogate._repr_html_()
    assert "kPa" in surrogate._repr_html_()


def test_leave_one_out_beats_the_baseline_on_a_two_mode_world(zn_ti: Condition) -> None:
    ours, theirs = leave_one_out(fit(world(8, seed=1)), zn_ti)
    assert (ours.cells, theirs.cells) == (8, 8)
    assert ours.log_score > theirs.log_score
    assert 0 < ours.error < 1
    with pytest.raises(UserError, match="expected 2 cells or more with a result; found 1"):
        leave_one_out(fit(world(1, seed=1)), zn_ti)


def test_leave_one_out_scores_a_censored_cell_by_its_survival(zn_ti: Condition) -> None:
    cells = [
        *world(6, seed=1),
        *(c.model_copy(update={"cell_id": "alive"}) for c in cells_from([250], [2.0], "running")),
    ]
    surrogate = fit(cells)
    others = fit(cells[:-1])
    log, _ = others.log_density(zn_ti, 250.0, 2.0, censored=True)
    assert -0.2 < log < 0
    assert math.isfinite(leave_one_out(surrogate, zn_ti)[0].log_score)


def test_log_density_integrates_to_one(zn_ti: Condition) -> None:
    surrogate = fit(world(5, seed=1))
    y = np.linspace(-8, 12, 2001)
    density = [math.exp(surrogate.log_density(zn_ti, 250.0, float(value))[0]) for value in y[::4]]
    assert np.trapezoid(density, y[::4]) == pytest.approx(1, abs=1e-3)


def test_baseline_is_scikit_learns_regressor() -> None:
    informed_by = readings(world(8, seed=2), Outcome("cycle_life_h"))
    baseline = fit_baseline(informed_by)
    assert isinstance(baseline.regressor, GaussianProcessRegressor)
    mean, sd = baseline.predict([30, 250, 1500])
    assert mean[1] > max(mean[0], mean[2])
    assert (sd > 0).all()


def test_botorch_model_is_the_surrogate(paper: tuple[Cell, ...], zn_ti: Condition) -> None:
    """An independent path to the same curve, with gradients, and through BoTorch's own acquisition function."""
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement
    from botorch.optim import optimize_acqf

    surrogate = fit(paper)
    model = surrogate.botorch_model(zn_ti)
    points = torch.tensor([[float(log_pressure(p)), 0.0] for p in (20, 300, 1000)], dtype=torch.float64)
    mixture = model.posterior(points)
    medians = np.log(surrogate.predict(zn_ti, [20, 300, 1000])["median"].to_numpy())
    assert mixture.mixture_mean.flatten().numpy() == pytest.approx(medians, abs=0.2)
    noisy = model.posterior(points, observation_noise=True)
    assert (noisy.mixture_variance > mixture.mixture_variance).all()
    x = points[:1].clone().requires_grad_()
    model.posterior(x).mixture_mean.sum().backward()
    assert x.grad is not None
    assert float(x.grad[0, 0]) > 0
    bounds = torch.tensor([[-3.4, 0.0], [1.9, 1e-9]], dtype=torch.float64)
    best, _ = optimize_acqf(qLogNoisyExpectedImprovement(model, points), bounds, q=1, num_restarts=2, raw_samples=16)
    assert -3.4 <= float(best[0, 0]) <= 1.9
