"""Outcomes and early readouts inform each other: with the paper's numbers, and in worlds whose truth is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from campaigns.demo import published_cells
from surrogates import Cell, Condition, Prior, UserError, fit
from surrogates.diagnostics import leave_one_out
from surrogates.gp import Parameters, tensor
from surrogates.mechanisms import log_pressure
from surrogates.outcomes import OUTCOMES, READOUTS, Outcome, check_witnesses

from .conftest import ZN_TI, ZN_VO2
from .worlds import cells_from, true_log_life, world


def paper(*without: str, status: str | None = None) -> list[Cell]:
    """The paper's Zn||Ti cells without some columns."""
    change: dict[str, Any] = dict.fromkeys(without)
    if status:
        change["status"] = status
    return [cell.model_copy(update=change) for cell in published_cells() if cell.electrode_pair == "Zn||Ti"]


def twin(best_kpa: float, seed: int, count: int, **columns: Any) -> list[Cell]:
    """Cells with a coulombic efficiency that follows the same two modes, and a life only where `columns` leave it."""
    generator = np.random.default_rng(seed)
    pressures = np.exp(generator.uniform(math.log(10), math.log(2000), count))
    y = true_log_life(pressures, best_kpa, 50.0) + 0.15 * generator.standard_normal(count)
    efficiency = Outcome("coulombic_efficiency").from_y(y)
    cells = cells_from(list(pressures), list(true_log_life(pressures, best_kpa)))
    more = [{"coulombic_efficiency": float(value), "ce_protocol": "per_cycle_mean", **columns} for value in efficiency]
    return [cell.model_copy(update=update) for cell, update in zip(cells, more, strict=True)]


def test_readouts_alone_lean_to_the_middle() -> None:
    """No lives, no efficiencies: the paper's XRD ratios, densities and thicknesses at 20, 300 and 1000 kPa."""
    cells = paper("cycle_life_h", "coulombic_efficiency", "ce_protocol", status="stopped")
    before, after = fit([]).optimum(ZN_TI), fit(cells).optimum(ZN_TI)
    assert 200 < after.pressure_kpa < 400 < before.pressure_kpa
    assert after.expected_loss < 0.93 * before.expected_loss


def test_readouts_and_efficiency_sharpen_life() -> None:
    alone = fit(paper(), informed_by=["cycle_life_h"]).optimum(ZN_TI).interval_kpa
    together = fit(paper()).optimum(ZN_TI).interval_kpa
    assert math.log(together[1] / together[0]) < 0.9 * math.log(alone[1] / alone[0])
    assert together[0] < 168 < 335 < together[1]


@pytest.mark.parametrize(("best_kpa", "low", "high"), [(60.0, 40.0, 170.0), (900.0, 550.0, 1200.0)])
def test_an_outcome_without_a_reading_is_foretold_by_another(best_kpa: float, low: float, high: float) -> None:
    cells = twin(best_kpa, 3, 10, cycle_life_h=None)
    assert not fit(cells).readings(ZN_TI)
    assert low < fit(cells).optimum(ZN_TI).pressure_kpa < high


def test_any_outcome_may_be_missing_in_any_row() -> None:
    cells = [
        cell.model_copy(update={"cycle_life_h": None} if i % 2 else {"coulombic_efficiency": None, "ce_protocol": None})
        for i, cell in enumerate(twin(120, 5, 12))
    ]
    surrogate = fit(cells, outcome=["cycle_life_h", "coulombic_efficiency"])
    assert len(surrogate.readings(ZN_TI)) == 6
    assert len(surrogate.of("coulombic_efficiency").readings(ZN_TI)) == 6
    for name in ("cycle_life_h", "coulombic_efficiency"):
        assert surrogate.of(name).optimum(ZN_TI).pressure_kpa == pytest.approx(120, rel=0.6)
    assert surrogate.of("coulombic_efficiency").predict(ZN_TI, [120.0])["upper"][0] < 1


def test_turning_to_another_outcome_infers_nothing_twice() -> None:
    surrogate = fit(twin(120, 5, 6))
    other = surrogate.of("coulombic_efficiency")
    assert other.of("cycle_life_h").posterior(ZN_TI) is surrogate.posterior(ZN_TI)
    assert other.posterior(ZN_TI) is not surrogate.posterior(ZN_TI)


def test_one_table_one_answer_whichever_outcome_is_asked_first() -> None:
    cells = twin(120, 5, 6)
    one, other = fit(cells), fit(cells)
    other.of("coulombic_efficiency").optimum(ZN_TI)
    assert one.optimum(ZN_TI) == other.optimum(ZN_TI)


def test_initial_capacity_falls_with_lost_contact_only() -> None:
    surrogate = fit(published_cells(), outcome="initial_capacity_mah_g")
    table = surrogate.predict(ZN_VO2, [20.0, 300.0, 1000.0])
    assert table["median"].tolist() == pytest.approx([138, 225, 220], rel=0.15)
    theta = surrogate.posterior(ZN_VO2).theta
    grid = tensor(log_pressure(np.geomspace(5, 5000, 40)))
    assert bool((theta.penalty(grid, torch.zeros_like(grid)).diff(dim=1) <= 1e-12).all())


def test_contact_curve_is_the_documented_one() -> None:
    one = torch.ones(1).double()
    values = dict.fromkeys(Parameters.__dataclass_fields__, one) | {
        "shift": 0 * one,
        "x_best": one * math.log(40 / 300),
    }
    theta = Parameters(**{**values, "slope_contact": 1.3 * one, "contact_only": True})  # type: ignore[arg-type]
    pressures = np.array([10.0, 40.0, 700.0])
    found = theta.penalty(tensor(log_pressure(pressures)), torch.zeros(3).double())[0]
    assert found.numpy() == pytest.approx(np.log1p((pressures / 40) ** -1.3))


def test_two_protocols_of_efficiency_do_not_inform_a_life() -> None:
    cells = twin(120, 5, 4)
    mixed = [cells[0].model_copy(update={"ce_protocol": "reservoir"}), *cells[1:]]
    assert not fit(mixed).teachers(ZN_TI)
    assert fit(cells).teachers(ZN_TI)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match="informed_by: expected names out of cycle_life_h.*found 'life'"):
        fit([], informed_by=["life"])
    with pytest.raises(UserError, match="expected one or more of"):
        fit([], outcome=[])
    assert check_witnesses(["xrd_002_100_ratio", "cycle_life_h"]) == ("cycle_life_h", "xrd_002_100_ratio")


def test_readouts_of_the_prior_are_known_columns() -> None:
    assert set(Prior.default().readouts) <= {*OUTCOMES, *READOUTS}
    assert set(READOUTS) <= set(Prior.default().readouts)


def test_mode_shares_follow_pressure() -> None:
    share = fit(world(20, seed=3)).contact_share(ZN_TI, [20.0, 250.0, 2000.0])
    assert share[0] > 0.85 > share[1] > 0.15 > share[2]


def test_scatter_that_grows_with_life_is_seen() -> None:
    """Cells at good pressures scatter by 45 %, the others by 10 %."""
    generator = np.random.default_rng(4)
    pressures = np.tile([15.0, 40.0, 250.0, 300.0, 1500.0], 8)
    sd = np.where(abs(np.log(pressures / 270)) < 0.3, 0.45, 0.1)
    lives = true_log_life(pressures, 270) + sd * generator.standard_normal(len(pressures))
    surrogate = fit(cells_from(list(pressures), list(lives)))
    _, spread = surrogate.new_cell(ZN_TI, [15.0, 270.0])
    assert spread[1] > 1.15 * spread[0]
    _, even = fit(world(40, seed=4)).new_cell(ZN_TI, [15.0, 270.0])
    assert spread[1] / spread[0] > even[1] / even[0]


def test_leaving_out_within_one_fit_agrees_with_refitting() -> None:
    """The score behind "left out in turn" against n fits without the cell."""
    surrogate = fit(world(12, seed=6))
    quick = float(surrogate.posterior(ZN_TI).log_left_out("physics").mean())
    [refitted, _] = leave_one_out(surrogate, ZN_TI)
    assert quick == pytest.approx(refitted.log_score, abs=0.1)


def test_the_best_pressure_moves_with_current_density() -> None:
    """Its shift is learned at several currents and carried to another pair."""
    condition = Condition(
        electrode_pair="Zn||Cu", electrolyte="1 M ZnSO4", current_density=8, current_density_unit="mA/cm2"
    )
    generator = np.random.default_rng(2)
    cells = []
    for current, best_kpa in ((0.5, 125.0), (2.0, 280.0), (8.0, 640.0)):
        pressures = np.exp(generator.uniform(math.log(20), math.log(2000), 12))
        lives = true_log_life(pressures, best_kpa) + 0.1 * generator.standard_normal(12)
        found = cells_from(list(pressures), list(lives), current_density=current)
        cells += [cell.model_copy(update={"cell_id": f"{current}-{cell.cell_id}"}) for cell in found]
    surrogate = fit(cells)
    found = [
        surrogate.optimum(ZN_TI.model_copy(update={"current_density": current})).pressure_kpa for current in (0.5, 8.0)
    ]
    assert found == pytest.approx([125, 640], rel=0.35)
    calm = condition.model_copy(update={"current_density": 0.5})
    carried = surrogate.optimum(condition).pressure_kpa / surrogate.optimum(calm).pressure_kpa
    assert carried > 1.8
    assert fit([]).optimum(condition).pressure_kpa == pytest.approx(fit([]).optimum(calm).pressure_kpa, rel=0.15)
