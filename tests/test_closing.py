"""A campaign is closed, says so to whoever wants more of it, and is opened again by undoing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from campaigns import Campaign
from surrogates.cells import Cell, Condition
from surrogates.errors import UserError


@pytest.fixture
def campaign(store: Path, zn_ti: Condition) -> Campaign:
    campaign = Campaign.create("ti", zn_ti, history="none", store=store)
    campaign.record("ti-1", status="ended", cycle_life_h=30, pressure_kpa=50)
    return campaign


def test_closing_keeps_the_last_answer_and_says_why(campaign: Campaign) -> None:
    event = campaign.close("paper is out", key="close")
    state = campaign.state
    assert (event.kind, event.payload["reason"], state.closed) == ("closed", "paper is out", event)
    assert state.is_current
    assert [line.what for line in campaign.lines()][-1] == "closed (paper is out)"
    assert campaign.close("paper is out", key="close") == event
    assert campaign.state.revision == event.revision == 4


REFUSED: list[Callable[[Campaign], object]] = [
    lambda campaign: campaign.record("ti-1", note="late"),
    lambda campaign: campaign.record("ti-2", pressure_kpa=70),
    lambda campaign: campaign.correct("ti-1", cycle_life_h=31),
    lambda campaign: campaign.withdraw("ti-1", "leaked"),
    lambda campaign: campaign.add([Cell(**{**campaign.state.cells[0].row(), "cell_id": "x"})]),
    lambda campaign: campaign.advise(),
    lambda campaign: campaign.close(),
    lambda campaign: campaign.undo(),
    lambda campaign: campaign.undo(2),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_a_closed_campaign_takes_nothing_more(campaign: Campaign, number: int) -> None:
    campaign.close("paper is out")
    with pytest.raises(UserError, match=r"found it closed by .* \(paper is out\).*stackpress undo ti 4 opens it again"):
        REFUSED[number](campaign)
    assert campaign.state.revision == 4


def test_undoing_opens_it_again_with_its_answer(campaign: Campaign) -> None:
    campaign.close()
    undoing = campaign.undo(4)
    state = campaign.state
    assert (state.closed, state.is_current) == (None, True)
    campaign.undo(undoing.revision)
    assert campaign.state.closed is not None
    campaign.undo(4)
    campaign.record("ti-1", note="late")
    assert not campaign.state.is_current


def test_a_request_of_before_is_answered_as_then(campaign: Campaign) -> None:
    campaign.record("ti-1", key="once", note="early")
    campaign.close()
    assert campaign.record("ti-1", key="once", note="early").row()["note"] == "early"


def test_a_closed_campaign_travels_as_it_is(campaign: Campaign, tmp_path: Path) -> None:
    campaign.close("done")
    campaign.export(tmp_path / "ti.jsonl")
    restored = Campaign.restore(tmp_path / "ti.jsonl", store=tmp_path / "other")
    assert restored.state == campaign.state
