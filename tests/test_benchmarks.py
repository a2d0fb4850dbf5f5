"""The benchmarks' own parts: worlds, measures, the prior's generative model, and the judging of bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from surrogates import Prior, fit
from surrogates.gp import tensor
from surrogates.mechanisms import log_pressure

from .benchmarks.bounds import judge
from .benchmarks.peers import OURS, SCIKIT_LEARN, Normal, cell_cdf, training, without_censored
from .benchmarks.scoring import Plan, measure, measure_world, median_error, summary
from .benchmarks.simulation import draw_world, rank_world, uniformity
from .benchmarks.structure import VARIANTS
from .benchmarks.tables import pivot, plain, table
from .benchmarks.worlds import CONDITION, FAMILIES, GRID, MOST, SOURCES, draw_case
from .worlds import true_log_life


@pytest.mark.parametrize("family", FAMILIES)
def test_a_world_is_the_same_every_time_and_grows_by_cells(family: str) -> None:
    few, many, another = draw_case(family, 0, 3), draw_case(family, 0, 10), draw_case(family, 1, 3)
    assert draw_case(family, 0, 3) == few
    assert few.cells == many.cells[:3]
    assert few.held_out == many.held_out
    assert few.truth == many.truth != another.truth


def test_families_are_what_they_are_called() -> None:
    def truths(family: str) -> list[np.ndarray]:
        return [draw_case(family, number, 0).truth.log_life(GRID) for number in range(20)]

    assert all(np.ptp(curve) == 0 for curve in truths("flat"))
    assert all(curve.argmax() > len(GRID) - 10 for curve in truths("edge"))
    peaks = [((curve[1:-1] > curve[:-2]) & (curve[1:-1] > curve[2:])).sum() for curve in truths("two peaks")]
    assert np.mean(np.array(peaks) >= 2) > 0.5
    assert min(curve.max() for curve in truths("off-scale")) > max(curve.max() for curve in truths("shifted"))


def test_a_wrong_prior_is_wrong_by_ten_on_either_side() -> None:
    cases = [draw_case("wrong prior", number, 0) for number in range(4)]
    factors = [case.prior.best_pressure.median / case.truth.best_kpa for case in cases]
    assert factors == pytest.approx([0.1, 10, 0.1, 10])


def test_opposite_sources_prefer_the_other_end() -> None:
    case = draw_case("opposite sources", 2, 5)
    assert len({cell.electrode_pair for cell in case.sources}) == len(SOURCES)
    longest = max(case.sources, key=lambda cell: cell.cycle_life_h or 0).pressure_kpa
    assert (longest > 140) != (case.truth.best_kpa > 300)


def test_a_budget_stops_the_longest_lived_cells_at_one_time() -> None:
    full, cut = draw_case("well-specified", 3, 10), draw_case("well-specified", 3, 10, censored=0.4)
    alive = [cell for cell in cut.cells if cell.status == "stopped"]
    assert len(alive) == 4
    assert len({cell.cycle_life_h for cell in alive}) == 1
    assert without_censored(cut.cells) == [cell for cell in full.cells if cell in cut.cells]
    assert max(cell.cycle_life_h or 0 for cell in without_censored(cut.cells)) == alive[0].cycle_life_h


def test_measures_of_a_model_that_knows_the_truth() -> None:
    case = draw_case("well-specified", 0, 0)
    found = measure(Normal(lambda p: (case.truth.log_life(p), np.full(len(p), 0.3))), case)
    assert found["error"] == 0
    assert found["regret"] == pytest.approx(0)
    assert found["50%"] <= found["80%"] <= found["90%"] <= found["95%"]
    assert math.isnan(found["best"])


def test_the_cdf_agrees_with_the_interval() -> None:
    surrogate = fit(draw_case("well-specified", 1, 3).cells)
    ends = surrogate.curve(CONDITION, [200.0])
    assert cell_cdf(surrogate, 200.0, math.log(ends["cell_lower"][0])) == pytest.approx(0.05, abs=1e-3)
    assert cell_cdf(surrogate, 200.0, math.log(ends["cell_upper"][0])) == pytest.approx(0.95, abs=1e-3)


def test_the_target_is_task_zero() -> None:
    case = draw_case("like sources", 0, 2)
    x, task, y = training([*case.cells, *case.sources])
    assert x.shape == task.shape == y.shape == (2 + len(case.sources), 1)
    assert task.flatten().tolist()[:3] == [0, 0, 1]


def test_contenders_are_run_where_they_can_be() -> None:
    plan = Plan((OURS, SCIKIT_LEARN), ("flat",), (1, 2))
    found = measure_world((plan, "flat", 0))
    assert list(found) == [("flat", 1, "ours"), ("flat", 2, "ours"), ("flat", 2, "scikit-learn GPR")]
    key = ("flat", 2, "scikit-learn GPR")
    row = summary(key, {0: found[key]}, {0: found["flat", 2, "ours"]})
    assert row["lead"] == found["flat", 2, "ours"]["log score"] - found[key]["log score"]


def test_standard_error_of_a_median() -> None:
    draws = np.random.default_rng(0).standard_normal((400, 200))
    assert np.mean([median_error(values) for values in draws]) == pytest.approx(np.median(draws, axis=1).std(), rel=0.1)


@pytest.mark.parametrize(("mode", "slope"), [("falling mode only", 1), ("rising mode only", -1)])
def test_one_mode_is_a_line(mode: str, slope: float) -> None:
    prior = VARIANTS[mode](Prior.default())
    level = prior.levels["cycle_life_h"].median
    a, b = prior.slope_contact.median, prior.slope_short.median
    curve = true_log_life(GRID, prior.best_pressure.median, level, a, b)
    assert np.polyfit(log_pressure(GRID), curve, 1)[0] == pytest.approx(slope, abs=0.15)
    assert np.exp(np.interp(math.log(150), np.log(GRID), curve)) == pytest.approx(100, rel=0.05)


def test_simulated_worlds_follow_the_prior() -> None:
    """Without data the model's own prior curve has the mean and the spread of the worlds drawn by hand."""
    pressures = np.array([20.0, 300.0, 1500.0])
    one = np.ones(3)
    generators = (np.random.default_rng(seed) for seed in range(2000))
    drawn = np.array([draw_world(Prior.default(), pressures, g).log_life(pressures, one) for g in generators])
    posterior = fit([]).posterior(CONDITION)
    x, u = tensor(log_pressure(pressures)), tensor(0.0)
    mean = posterior.weights @ posterior.mean(x, u)
    spread = posterior.weights @ (posterior.variance(x, u) + (posterior.mean(x, u) - mean) ** 2)
    assert drawn.mean(0) == pytest.approx(mean.numpy(), abs=0.25)
    assert drawn.std(0) == pytest.approx(spread.sqrt().numpy(), rel=0.1)


def test_ranks_are_probabilities() -> None:
    ranks = rank_world((3, 0))
    assert all(0 <= value <= 1 for value in ranks.values())
    assert sum(value for name, value in ranks.items() if name.startswith("truth")) == 1


def test_uniformity_is_rejected_where_ranks_pile_up() -> None:
    assert uniformity("even", list(np.linspace(0, 1, 200)))["p"] > 0.9
    assert uniformity("ends", [0.01] * 100 + [1.0] * 100)["p"] < 1e-6


def test_a_bound_names_where_it_does_not_hold() -> None:
    def row(model: str, count: int, share: float, lead: float) -> dict[str, Any]:
        same = {"family": "well-specified", "model": model, "cells": count}
        return {**same, "90%": share, "best 90%": 0.9, "lead": lead}

    rows = [
        row("ours", 2, 0.7, 0.0),
        row("ours", MOST, 0.9, 0.0),
        row("peer", 2, 0.5, -0.3),
        row("peer", MOST, 0.5, 0.1),
    ]
    found = {bound.what: bound for bound in judge({"calibration": rows})}
    cell = found["90 % interval of a new cell, well-specified"]
    assert (cell.holds, cell.fails) == (False, "n = 2: 70.0%")
    assert found["90 % interval of a new cell, flat"].holds is None
    assert found["lead in log score, n = 20"].holds
    assert found["lead in log score, n = 2, 3, 5, every family and peer"].fails == "well-specified n = 2 peer: -0.30"


def test_tables() -> None:
    rows = plain([{"family": "a", "cells": 2, "x": 0.12345}, {"family": "a", "cells": 5, "x": math.nan}])
    assert table(rows).splitlines()[2:] == ["| a | 2 | 0.123 |", "| a | 5 |  |"]
    assert pivot(rows, lambda row: str(row["x"])).splitlines() == [
        "| family | n = 2 | n = 5 |",
        "|---|---|---|",
        "| a | 0.12345 | None |",
    ]
