"""The course of a campaign: when cells ran, on how many channels, and what each answer knew; and its picture."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.dates import date2num

from campaigns.course import Bar, bars, steps
from campaigns.course_figure import MOST_CHANNELS, draw, write_course
from campaigns.events import Draft, Event
from campaigns.state import fold

from .test_edits import CONDITION, START, event_of
from .test_figure import advice

T0 = datetime(2026, 1, 1, 10, tzinfo=timezone.utc)
ROW = {"pressure_kpa": 100.0, **CONDITION}


def at(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


def story(*told: tuple[float, str, dict[str, Any]]) -> list[Event]:
    """Events at these hours after the opening."""
    events = list(START)
    for hours, kind, payload in told:
        event = event_of(Draft(kind, payload), len(events) + 1)
        events.append(Event(**{**vars(event), "time": at(hours).isoformat(timespec="milliseconds")}))
    return events


def built(cell_id: str, status: str, **columns: Any) -> dict[str, Any]:
    return {"changes": [{"cell_id": cell_id, "before": None, "after": {**ROW, "status": status, **columns}}]}


def became(cell_id: str, status: str, **columns: Any) -> dict[str, Any]:
    return {"changes": [{"cell_id": cell_id, "before": {}, "after": {"status": status, **columns}}]}


def answered(interval_kpa: tuple[float, float], loss: float) -> dict[str, Any]:
    said = advice()
    best = said.best.model_copy(update={"interval_kpa": interval_kpa, "expected_loss": loss})
    basis = {"data_revision": 1, "seed": 0, "data_hash": "", "prior_hash": "", "versions": {}, "informed_by": {}}
    advised = said.model_copy(update={"best": best}).model_dump(mode="json")
    return {**basis, "advice": [advised], "cell_ids": [["x-001"]]}


def only(events: list[Event]) -> Bar:
    [bar] = bars(events)
    return bar


def test_a_cell_runs_from_its_event_to_its_end() -> None:
    events = story((1, "recorded", built("a", "planned")), (5, "recorded", became("a", "running")))
    assert only(events) == Bar("a", 100.0, "running", at(5), at(5), None)
    events = story(
        (5, "recorded", built("a", "running", cycle_life_h=3.0)), (30, "recorded", became("a", "ended", cycle_life_h=28.0))
    )  # fmt: skip
    assert only(events) == Bar("a", 100.0, "ended", at(2), at(5), at(30))


def test_what_nobody_told_has_no_bar() -> None:
    rows = [
        {"cell_id": "a", **ROW, "status": "ended", "cycle_life_h": 9.0},
        {"cell_id": "b", **ROW, "status": "planned"},
    ]
    assert bars(story((1, "cells_added", {"source": "t", "rows": rows}))) == []


def test_a_planned_cell_told_of_when_ended_ran_after_it_was_planned() -> None:
    plan = (10, "recorded", built("a", "planned"))
    assert only(story(plan, (30, "recorded", became("a", "ended", cycle_life_h=12.0)))).start == at(18)
    assert only(story(plan, (30, "recorded", became("a", "ended", cycle_life_h=99.0)))).start == at(10)


def test_corrections_and_undoing_count() -> None:
    run, end = (1, "recorded", built("a", "running")), (9, "recorded", became("a", "ended", cycle_life_h=8.0))
    assert only(story(run, end, (12, "corrected", {**became("a", "running"), "reason": None}))).end is None
    assert only(story(run, end, (12, "corrected", {**became("a", "invalid"), "reason": None}))).end == at(9)
    assert only(story(run, end, (12, "undone", {"revision": 3}))).end is None
    assert bars(story(run, (2, "withdrawn", {"cell_id": "a", "reason": "leaked"}))) == []


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30), st.booleans()), min_size=1, max_size=12)


@given(spans)
def test_channels_are_as_few_as_ran_at_once(given: list[tuple[int, int, bool]]) -> None:
    told = []
    for number, (start, hours, ends) in enumerate(given):
        told.append((float(start), "recorded", built(f"c{number}", "running")))
        if ends:
            told.append((float(start + hours), "recorded", became(f"c{number}", "ended", cycle_life_h=float(hours))))
    found = bars(story(*sorted(told, key=lambda item: item[0])))
    assert len(found) == len(given)
    for one, two in itertools.combinations(found, 2):
        if one.channel == two.channel:
            first, second = sorted((one, two), key=lambda bar: bar.start)
            assert first.end is not None
            assert first.end <= second.start
    at_once = max(sum(b.start <= bar.start and (b.end is None or b.end > bar.start) for b in found) for bar in found)
    assert 1 + max(bar.channel for bar in found) == at_once


def lived() -> list[Event]:
    return story(
        (0, "suggested", answered((20.0, 900.0), 0.3)),
        (1, "recorded", built("a", "running")),
        (30, "recorded", became("a", "ended", cycle_life_h=29.0)),
        (31, "suggested", answered((90.0, 400.0), 0.1)),
        (32, "recorded", built("b", "running", cycle_life_h=2.0)),
        (99, "recorded", built("c", "planned")),
    )


def test_steps_are_the_stored_answers() -> None:
    told = steps(fold(lived()))
    assert [step.revision for step in told] == [2, 5]
    assert [step.interval_kpa for step in told] == [(20.0, 900.0), (90.0, 400.0)]


def test_the_figure_shows_them(tmp_path: Path) -> None:
    figure = draw(lived())
    assert figure is not None
    best, loss, channels = figure.axes
    [line] = [item for item in best.get_lines() if item.get_gid() == "best"]
    assert list(line.get_xdata()) == [2, 5]
    [regret] = [item for item in loss.get_lines() if item.get_gid() == "loss"]
    assert list(regret.get_ydata()) == pytest.approx([100 * step.expected_loss for step in steps(fold(lived()))])
    drawn = sorted(
        end for p in channels.patches if p.get_gid() == "bar" for end in (p.get_x(), p.get_x() + p.get_width())
    )
    assert drawn == pytest.approx([date2num(at(hours)) for hours in (1, 30, 32, 99)])
    assert len([item for item in channels.texts if item.get_gid() == "open end"]) == 1
    assert any("1 cell without a bar" in text.get_text() for text in figure.texts)
    written = write_course(lived(), tmp_path)
    assert [path.name for path in written] == ["x-course.png", "x-course.svg"]
    assert ElementTree.parse(written[1]).getroot().tag.endswith("svg")


def test_more_channels_than_there_is_room_for_are_told() -> None:
    figure = draw(story(*((1.0 + n, "recorded", built(f"c{n}", "running")) for n in range(MOST_CHANNELS + 3))))
    assert figure is not None
    [channels] = figure.axes
    assert len([p for p in channels.patches if p.get_gid() == "bar"]) == MOST_CHANNELS
    assert any("3 on channels above 40, not drawn" in text.get_text() for text in figure.texts)


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert draw(START) is None
    assert write_course(START, tmp_path) == []
    figure = draw(story((1, "recorded", built("a", "running"))))
    assert figure is not None
    assert len(figure.axes) == 1
