"""The table of cells as a pure fold of events, and what the verbs may say: properties over histories of any kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.edits import correction, merge, recording, undoing, withdrawal
from campaigns.events import Draft, Event, cells_named, current, voided
from campaigns.history import lines_of, text_of
from campaigns.state import CampaignState, fold
from surrogates import Cell, Prior, TableError, UserError
from surrogates.cells import check_cells

CONDITION = {
    "electrode_pair": "Zn||Ti", "electrolyte": "1 M ZnSO4", "current_density": 1.0, "current_density_unit": "mA/cm2",
}  # fmt: skip
OPENED = {
    "uid": "u", "programme": "p", "objective": "cycle_life_h", "conditions": [CONDITION],
    "rig": {"pressure_kpa": [10.0, 1000.0]}, "prior": Prior.default().to_document(), "history": "none",
}  # fmt: skip
IDS = ("a", "b", "c")


def event_of(draft: Draft, revision: int) -> Event:
    """As the ledger keeps it: the payload has been JSON."""
    payload = json.loads(json.dumps(draft.payload))
    return Event("x", revision, draft.kind, 2, payload, "anna", "2026-01-01T10:00:00.000+00:00", f"k{revision}")


def told(events: Sequence[Event], draft: Draft) -> list[Event]:
    return [*events, event_of(draft, len(events) + 1)]


START = [event_of(Draft("campaign_opened", OPENED), 1)]


def cell(cell_id: str, **columns: Any) -> Cell:
    row = {"cell_id": cell_id, "pressure_kpa": 100.0, "status": "running", "cycle_life_h": 5.0, **CONDITION}
    [checked] = check_cells([{**row, **columns}])
    return checked


def step(events: list[Event], verb: str, cell_id: str, number: float) -> list[Event]:
    """One verb of an editor; a refused one leaves the events as they were."""
    state = fold(events)
    try:
        match verb:
            case "add":
                drafts = list(merge(state, [cell(cell_id, pressure_kpa=number)], "t", correct=False).drafts)
            case "mend":
                drafts = list(merge(state, [cell(i, pressure_kpa=number) for i in IDS], "t", correct=True).drafts)
            case "record":
                draft = recording(state, cell_id, {"pressure_kpa": number, "status": "running"})
                drafts = [draft] if draft else []
            case "correct":
                drafts = [correction(state, cell_id, {"cycle_life_h": number, "note": None}, "typed wrongly")]
            case "withdraw":
                drafts = [withdrawal(state, cell_id, "leaked")]
            case _:
                drafts = [undoing(events, int(number) if number > 2 else None)]
    except UserError:
        return events
    for draft in drafts:
        events = told(events, draft)
    return events


VERBS = ("add", "mend", "record", "correct", "withdraw", "undo")
steps = st.tuples(st.sampled_from(VERBS), st.sampled_from(IDS), st.integers(1, 12).map(float))


@st.composite
def histories(draw: st.DrawFn, verbs: Sequence[str] = VERBS) -> list[Event]:
    events = START
    for verb, cell_id, number in draw(st.lists(steps, max_size=12)):
        if verb in verbs:
            events = step(events, verb, cell_id, number)
    return events


def table(state: CampaignState) -> dict[str, Cell]:
    return {cell.cell_id: cell for cell in state.cells}


@given(histories())
def test_replay_gives_the_same(events: list[Event]) -> None:
    """Whatever verbs were accepted, every prefix folds, twice to the same, and through JSON to the same."""
    for end in range(1, len(events) + 1):
        state = fold(events[:end])
        assert fold([replace(e, payload=json.loads(json.dumps(e.payload))) for e in events[:end]]) == state
        assert state.revision == end
        assert len(table(state)) == len(state.cells)
        assert not set(table(state)) & set(state.withdrawn)


@given(histories())
def test_undo_takes_back_the_last_word(events: list[Event]) -> None:
    for end in range(2, len(events) + 1):
        before, told_of = fold(events[: end - 1]), events[:end]
        undone = told(told_of, undoing(told_of, end))
        assert fold(undone).cells == before.cells
        assert fold(undone).withdrawn == before.withdrawn


@given(histories(), st.integers(2, 20))
def test_undo_of_undo_is_as_before(events: list[Event], revision: int) -> None:
    try:
        undone = told(events, undoing(events, revision))
    except UserError:
        return
    again = told(undone, undoing(undone, len(undone)))
    assert fold(again).cells == fold(events).cells
    once_more = told(again, undoing(again, len(again)))
    assert fold(once_more).cells == fold(undone).cells


@given(histories(VERBS[:-1]), st.randoms())
def test_independent_events_in_any_order(events: list[Event], random: Any) -> None:
    """Events about different cells may come in any order: the table is the same."""
    first, rest = events[:1], list(events[1:])
    for _ in range(20 if len(rest) > 1 else 0):
        i = random.randrange(len(rest) - 1)
        one, two = rest[i], rest[i + 1]
        if not set(cells_named(one, events)) & set(cells_named(two, events)):
            rest[i], rest[i + 1] = two, one
    shuffled = [replace(event, revision=number) for number, event in enumerate([*first, *rest], 1)]
    assert table(fold(shuffled)) == table(fold(events))


@given(histories())
def test_history_tells_every_event(events: list[Event]) -> None:
    lines = lines_of(events)
    assert [line.revision for line in lines] == list(range(1, len(events) + 1))
    assert {line.revision: line.undone_by for line in lines if line.undone_by} == voided(events)
    assert len(text_of(lines).splitlines()) == len(events) + 1


def test_events_of_version_1_are_read() -> None:
    """As they were written before changes were kept: the whole row, and which columns were new."""
    row = {"cell_id": "a", "pressure_kpa": 99.0, "status": "running", "cycle_life_h": 20.0, **CONDITION}
    ended = {**row, "status": "ended", "cycle_life_h": 88.0}
    payloads = [
        ("recorded", {"row": row, "changed": ["status"]}),
        ("recorded", {"row": ended, "changed": ["cycle_life_h", "status"]}),
        ("recorded", {"row": {**ended, "note": "x"}, "changed": ["note"]}),
    ]
    events = [*START]
    for kind, payload in payloads:
        events.append(replace(event_of(Draft(kind, payload), len(events) + 1), schema_version=1))
    assert [c.row() for c in fold(events).cells] == [{**ended, "note": "x"}]
    assert [c.row() for c in fold(told(events, undoing(events, 3))).cells] == [{**row, "note": "x"}]
    assert [line.what for line in lines_of(events)][1:] == [
        "recorded a, new: running at 99 kPa",
        "recorded a: cycle_life_h 88, status ended",
        "recorded a: note x",
    ]
    assert all(event.schema_version == 2 for event in current(events))


def after(*verbs: tuple[str, str, float]) -> list[Event]:
    events = list(START)
    for verb, cell_id, number in verbs:
        events = step(events, verb, cell_id, number)
    return events


def test_undo_refuses_what_others_build_on() -> None:
    events = after(("add", "a", 5.0), ("record", "a", 7.0))
    with pytest.raises(UserError, match="undo 2: later events build on it.*Undo event 3 first"):
        undoing(events, 2)
    events = after(("add", "a", 5.0), ("undo", "", 2.0), ("add", "a", 6.0))
    with pytest.raises(UserError, match="cell a: expected to be new where event 4 builds it"):
        undoing(events, 3)
    assert undoing(events, None).payload == {"revision": 4}


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        (1, "found 1, campaign_opened, which changes none"),
        (0, "expected an event from 1 to 3; found 0"),
        (9, "expected an event from 1 to 3; found 9"),
        (2, "found 2, which event 3 has undone. Undo event 3 to have it again"),
        (None, "expected an event about cells; found none that is in force"),
    ],
)
def test_what_undo_refuses(revision: int | None, words: str) -> None:
    with pytest.raises(UserError, match=words):
        undoing(after(("add", "a", 5.0), ("undo", "", 2.0)), revision)


def test_a_withdrawn_cell_is_gone_and_keeps_its_id() -> None:
    state = fold(after(("add", "a", 5.0), ("withdraw", "a", 0.0)))
    assert state.cells == ()
    with pytest.raises(UserError, match=r"anna has withdrawn \(leaked\). stackpress undo x 3 brings it back"):
        recording(state, "a", {"pressure_kpa": 7.0})
    merged = merge(state, [cell("a"), cell("b")], "t", correct=False)
    assert (merged.added, merged.withdrawn) == (("b",), ("a",))


def test_a_table_added_again() -> None:
    state = fold(after(("add", "a", 5.0), ("add", "b", 5.0), ("correct", "b", 60.0)))
    rows = [cell("a", pressure_kpa=5.0), cell("b", pressure_kpa=5.0, cycle_life_h=None), cell("c")]
    merged = merge(state, rows, "t", correct=False)
    assert (merged.added, merged.unchanged, merged.corrected) == (("c",), ("a", "b"), ())
    assert merge(state, rows[:2], "t", correct=False).drafts == ()
    mended = [rows[0], cell("b", pressure_kpa=9.0)]
    with pytest.raises(TableError, match="cell b: expected pressure_kpa 5, cycle_life_h 60, as campaign x has it"):
        merge(state, mended, "t", correct=False)
    merged = merge(state, mended, "t", correct=True)
    assert (merged.added, merged.unchanged, merged.corrected) == ((), ("a",), ("b",))
    [draft] = merged.drafts
    assert draft.payload["changes"][0]["before"] == {"pressure_kpa": 5.0, "cycle_life_h": 60.0}


def test_a_correction_changes_something() -> None:
    state = fold(after(("add", "a", 5.0)))
    with pytest.raises(UserError, match="found every value as it is already"):
        correction(state, "a", {"pressure_kpa": 5}, None)
    with pytest.raises(UserError, match="expected a cell of campaign x; found a"):
        correction(state, "z", {"pressure_kpa": 5}, None)
    with pytest.raises(UserError, match="withdraw a: expected a reason"):
        withdrawal(state, "a", " ")
    assert recording(state, "a", {"pressure_kpa": 5.0}) is None
