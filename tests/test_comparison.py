"""Campaigns side by side: each documented formula by another way, what is said to differ, and the picture."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns import Campaign, cli
from campaigns.comparison import best_agreement, compare, curve_agreement, gain_per_cell
from campaigns.comparison_figure import draw
from campaigns.comparison_text import sentences
from optimizer.advice import Curve
from surrogates import Condition, UserError

from .test_figure import VO2, advice, lives, state
from .worlds import world

pressures = st.floats(1.0, 5000.0)
intervals = st.tuples(pressures, pressures).map(lambda ends: (min(ends), max(ends)))


@given(intervals, intervals)
def test_agreement_of_the_best_is_the_share_of_the_narrower(one: tuple[float, float], two: tuple[float, float]) -> None:
    found = best_agreement(one, two)
    assert found == best_agreement(two, one)
    assert 0 <= found <= 1
    narrow, wide = sorted((one, two), key=lambda ends: math.log(ends[1] / ends[0]))
    if math.log(narrow[1] / narrow[0]) > 1e-3:
        inside = np.linspace(*np.log(narrow), 4001)
        counted = float(np.mean((inside >= math.log(wide[0])) & (inside <= math.log(wide[1]))))
        assert found == pytest.approx(counted, abs=1e-3)


def test_agreement_of_single_pressures() -> None:
    assert best_agreement((100.0, 100.0), (50.0, 200.0)) == 1
    assert best_agreement((100.0, 100.0), (150.0, 200.0)) == 0
    assert best_agreement((100.0, 200.0), (100.0, 200.0)) == 1


def straight(low_kpa: float, high_kpa: float, rise: float, level: float) -> Curve:
    """A band of half-width 1 around a line in ln P (around ln 100)."""
    grid = np.geomspace(low_kpa, high_kpa, 61)
    y = level + rise * np.log(grid / 100)
    names = [name for name in Curve.model_fields if name != "pressure_kpa"]
    columns = {name: tuple(y + {"lower": -1, "upper": 1}.get(name, 0)) for name in names}
    return Curve(pressure_kpa=tuple(grid), **columns)


def test_agreement_of_curves_is_the_share_of_the_pressures_both_cover() -> None:
    flat, rising = straight(10, 1000, 0.0, 0.0), straight(100, 5000, 1.0, 0.0)
    met = math.log(1000 / 100)  # the bands meet while |ln(P / 100)| <= 2, of ln 100 to ln 1000
    assert curve_agreement(flat, rising) == pytest.approx(2 / met, abs=0.01)
    assert curve_agreement(rising, flat) == curve_agreement(flat, rising)
    assert curve_agreement(flat, straight(10, 1000, 0.0, 1.9)) == 1
    assert curve_agreement(flat, straight(10, 1000, 0.0, 2.1)) == 0
    assert curve_agreement(flat, straight(1000, 5000, 0.0, 0.0)) is None


def test_gain_per_cell_is_what_the_best_gives_over_a_blind_choice() -> None:
    said = advice(window=None).model_copy(update={"cells_used": 4})
    grid = np.geomspace(10, 2000, 400)
    y = np.log(np.minimum(grid / 100, 100 / grid))  # a roof in ln P with its ridge at 100 kPa
    curve = said.curve.model_copy(update={"pressure_kpa": tuple(grid), "median": tuple(np.exp(y))})
    best = said.best.model_copy(update={"pressure_kpa": 100.0})
    told = said.model_copy(update={"curve": curve, "best": best})
    for low, high in ((10.0, 1000.0), (10.0, 100.0), (50.0, 2000.0)):
        down, up = math.log(100 / low), math.log(high / 100)
        blindly = -(down**2 + up**2) / (2 * (down + up))
        assert gain_per_cell(told, (low, high)) == pytest.approx(-blindly / 4, rel=0.01)
    flat = told.model_copy(update={"curve": curve.model_copy(update={"median": (50.0,) * 400})})
    assert gain_per_cell(flat, (10.0, 2000.0)) == pytest.approx(0, abs=1e-12)
    assert gain_per_cell(told.model_copy(update={"cells_used": 0}), (10.0, 1000.0)) is None


def test_what_it_says_of_the_same_work() -> None:
    one, two = state(lives(), advice(), name="one"), state(lives(), advice(), name="two")
    found = compare([one, two], {})
    assert found.same_work
    [pairing] = found.pairings
    assert pairing.shared == ("c0", "c1", "c2")
    assert (pairing.best_agreement, pairing.curve_agreement) == (1, 1)
    entry = found.entries[0]
    assert (entry.built, entry.hours, entry.silent, entry.cells) == (3, 154.0, 0, {"ended": 3})
    assert "3 cells are in both (c0, c1, c2)" in " ".join(sentences(found))


def test_what_differs_is_said_and_what_cannot_be_compared_is_not() -> None:
    one = state(lives(), advice(), name="one")
    warm = tuple(cell.model_copy(update={"temperature_c": 40.0}) for cell in lives())
    two = state(warm, advice(), name="two")
    assert compare([one, two], {}).pairings[0].differences == ("temperature (C): not stated against 40",)
    other = state((), advice("capacity_retention", condition=VO2), name="three", objective="capacity_retention")
    [pairing] = compare([one, other], {}).pairings
    assert [text.split(":")[0] for text in pairing.differences] == ["electrode pair", "current density", "outcome"]
    assert pairing.best_agreement == 1
    assert pairing.curve_agreement is None
    said = " ".join(sentences(compare([one, other], {})))
    assert "the curves are of different outcomes and not compared" in said
    assert said.startswith("Same work: no")
    flat = advice().model_copy(update={"best": advice().best.model_copy(update={"verdict": "no effect"})})
    assert compare([one, state((), flat, name="flat")], {}).pairings[0].best_agreement is None


def test_what_compare_refuses() -> None:
    one = state(lives(), advice(), name="one")
    for few in ([], [one], [one, one]):
        with pytest.raises(UserError, match="compare: expected two or more different campaigns"):
            compare(few, {})


def test_the_figure_shows_every_answer() -> None:
    far = advice().best.model_copy(update={"interval_kpa": (700.0, 900.0)})
    states = [
        state(lives(), advice(), name="one"),
        state(lives(), advice().model_copy(update={"best": far}), name="two"),
        state((), advice("capacity_retention", condition=VO2, top=2.0), name="three", objective="capacity_retention"),
    ]
    figure = draw(compare(states, {"two": ("two",)}))
    life, retention, strip = figure.axes
    assert [len([i for i in axes.get_lines() if i.get_gid() == "median"]) for axes in (life, retention)] == [2, 1]
    assert [text.get_text() for text in life.get_legend().get_texts()] == ["one", "two (outdated)"]
    drawn = [tuple(line.get_xdata()) for line in strip.get_lines() if line.get_gid() == "interval"]
    assert drawn == [(110, 530), (700, 900), (110, 530)]


def test_the_command(store: Path, zn_ti: Condition, capsys: pytest.CaptureFixture[str]) -> None:
    for name, prior in (("one", None), ("two", "zinc")):
        Campaign.create(name, zn_ti, prior=prior, history="none", store=store).add(world(4, seed=1))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.main(["compare", *arguments, "--store", str(store)])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    assert "none yet: stackpress suggest one" in run("one", "two")[1]
    code, _, err = run("one", "two", "--figure")
    assert (code, "expected an answer to draw; found none in one two" in err) == (2, True)
    for name in ("one", "two"):
        Campaign.open(name, store).advise()
    Campaign.open("two", store).record("late", pressure_kpa=60.0)
    code, out, _ = run("one", "two", "--figure")
    assert code == 0
    for words in ("Same work: yes", "4 cells are in both", "outdated, cells of two", "compare-one-two.png"):
        assert words in out
    told: Any = json.loads(run("one", "two", "--json")[1])
    assert told["same_work"] is True
    assert [entry["prior"] for entry in told["campaigns"]] == ["default", "zinc"]
    assert [entry["answer_is_current"] for entry in told["campaigns"]] == [True, False]
    assert told["pairs"][0]["shared_cells"] == ["w-0", "w-1", "w-2", "w-3"]
    two = Campaign.open("two", store)
    two.advise()
    assert two.moved() == ()
    Campaign.create("three", zn_ti, store=store).advise()
    Campaign.open("two", store).record("later", pressure_kpa=70.0)
    assert Campaign.open("three", store).moved() == ("two",)
    assert "outdated, cells of two" in run("one", "three")[1]
    assert run("one")[0] == 2
    assert run("one", "nope")[0] == 2
