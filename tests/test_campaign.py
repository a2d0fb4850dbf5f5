"""The verbs in Python: create, add, suggest, record, optimum, history; what they refuse; what they remember."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from campaigns import Campaign
from campaigns.demo import open_demo
from campaigns.state import data_hash
from surrogates import Cell, Condition, Prior, TableError, UserError, fit

from .worlds import world


@pytest.fixture
def campaign(store: Path, zn_ti: Condition, paper: tuple[Cell, ...]) -> Campaign:
    campaign = Campaign.create("ti", zn_ti, (10, 2000), store=store)
    campaign.add([cell for cell in paper if cell.electrode_pair == "Zn||Ti"])
    return campaign


def test_the_loop(campaign: Campaign, store: Path) -> None:
    first = campaign.suggest()
    assert first["cell_id"].tolist() == ["ti-004"]
    cell = campaign.record("ti-004", status="running", cycle_life_h=20)
    assert cell.pressure_kpa == first["pressure_kpa"][0]
    second = campaign.suggest()
    assert second["cell_id"].tolist() == ["ti-005"]
    assert second["pressure_kpa"][0] != first["pressure_kpa"][0]
    campaign.record("ti-004", status="ended", cycle_life_h=88, end_reason="short")
    again = Campaign.open("ti", store=store)
    assert again.cells.set_index("cell_id").loc["ti-004", "cycle_life_h"] == 88
    assert again.history["kind"].tolist() == [
        "campaign_opened", "cells_added", "suggested", "recorded", "suggested", "recorded",
    ]  # fmt: skip
    assert again.history["what"][3] == f"recorded ti-004, new: running at {cell.pressure_kpa:g} kPa"
    assert again.history["what"][5] == (
        "recorded ti-004: status running -> ended, cycle_life_h 20 -> 88, end_reason short"
    )


def test_suggestion_says_what_it_was_computed_from(campaign: Campaign) -> None:
    suggestion = campaign.advise(seed=3)
    assert suggestion.seed == 3
    assert suggestion.data_hash == data_hash(campaign.state.cells)
    assert suggestion.prior_hash == Prior.default().content_hash
    assert {"stackpress", "torch"} <= set(suggestion.versions)
    assert suggestion.data_revision == 2


def test_the_same_question_has_one_answer(campaign: Campaign) -> None:
    first = campaign.advise()
    assert campaign.advise() == first
    assert campaign.state.revision == 3
    assert campaign.advise(seed=1).revision == 4
    assert campaign.advise(n=2, seed=1).revision == 5
    campaign.record("ti-007", pressure_kpa=150)
    assert not campaign.state.is_current
    assert campaign.advise(n=2, seed=1).revision == 7


def test_the_answer_is_that_of_the_library(campaign: Campaign, zn_ti: Condition) -> None:
    best = campaign.optimum()
    grid = campaign.state.rig.grid()
    assert best == fit(campaign.state.cells).optimum(zn_ti, allowed_kpa=grid)
    assert campaign.advise().advice[0].best.pressure_kpa == best.pressure_kpa


def test_add_takes_all_or_none(campaign: Campaign) -> None:
    good, _ = world(2, seed=1)
    taken = good.model_copy(update={"cell_id": "wen2025-ti-20"})
    with pytest.raises(
        TableError, match="cell wen2025-ti-20: expected pressure_kpa 20, cycle_life_h 14, as campaign ti has it"
    ):
        campaign.add([good, taken])
    other_unit = good.model_copy(update={"current_density_unit": "A/g"})
    with pytest.raises(TableError, match="one unit for an electrode pair"):
        campaign.add([other_unit])
    with pytest.raises(UserError, match="expected one cell or more; found none"):
        campaign.add([])
    assert campaign.state.revision == 2


@pytest.mark.parametrize(
    ("cell_id", "changes", "words"),
    [
        ("wen2025-ti-20", {"status": "dead"}, "status: expected"),
        ("wen2025-ti-20", {"life": 3}, "expected columns of the table of cells; found life"),
        ("new", {"status": "running"}, "Give pressure_kpa to add it"),
        ("new", {"pressure_kpa": 100, "cycle_life_h": 5}, "no results on a planned cell"),
        ("wen2025-ti-20", {"current_density_unit": "A/g"}, "one unit for an electrode pair"),
    ],
)
def test_record_refuses_and_keeps_the_row(
    campaign: Campaign, cell_id: str, changes: dict[str, Any], words: str
) -> None:
    before = campaign.state
    with pytest.raises(UserError, match=words):
        campaign.record(cell_id, **changes)
    assert campaign.state == before


def test_record_clears_and_corrects(campaign: Campaign) -> None:
    campaign.record("wen2025-ti-20", note=None, pressure_kpa=22.5)
    cell = campaign.state.cell("wen2025-ti-20")
    assert cell is not None
    assert (cell.note, cell.pressure_kpa, cell.cycle_life_h) == (None, 22.5, 14)


def test_names_and_stores(store: Path, zn_ti: Condition, campaign: Campaign) -> None:
    with pytest.raises(UserError, match="expected a new name"):
        Campaign.create("ti", zn_ti, store=store)
    with pytest.raises(UserError, match="expected a campaign of the store .*; found ti"):
        Campaign.open("nope", store=store)
    with pytest.raises(UserError, match="expected a folder with a ledger; found none"):
        Campaign.open("ti", store=store / "elsewhere")
    for name in ("", "../x", "a/b", "x" * 65, ".hidden"):
        with pytest.raises(UserError, match="campaign name: expected letters"):
            Campaign.create(name, zn_ti, store=store)


def test_what_create_refuses(store: Path, zn_ti: Condition) -> None:
    for settings, words in [
        ({"objective": "life"}, "outcome: expected one of"),
        ({"pressure_kpa": (100, 10)}, "lowest pressure"),
        ({"prior": "copper"}, "prior: expected default, zinc, lithium-metal, pouch-cell, or the path"),
        ({"condition": []}, "one or several different conditions"),
        ({"programme": "a/b"}, "programme name"),
    ]:
        with pytest.raises(UserError, match=words):
            Campaign.create("x", **{"condition": zn_ti, "store": store, **settings})
    assert not (store / "ledger.db").exists() or not Campaign("x", store)._ledger.campaigns()


def test_a_prior_by_name_and_by_path(store: Path, zn_ti: Condition, tmp_path: Path) -> None:
    Prior.zinc().save(tmp_path / "zinc.json")
    by_path = Campaign.create("a", zn_ti, prior=str(tmp_path / "zinc.json"), store=store)
    by_name = Campaign.create("b", zn_ti, prior="zinc", store=store)
    assert by_path.state.prior == by_name.state.prior == Prior.zinc()


def test_several_conditions_get_a_suggestion_each(store: Path, zn_ti: Condition) -> None:
    other = zn_ti.model_copy(update={"electrolyte": "2 M ZnSO4"})
    campaign = Campaign.create("two", [zn_ti, other], store=store)
    table = campaign.suggest(n=2)
    assert table["electrolyte"].tolist() == ["1 M ZnSO4"] * 2 + ["2 M ZnSO4"] * 2
    assert table["cell_id"].tolist() == ["two-001", "two-002", "two-003", "two-004"]
    cell = campaign.record("two-003", status="running")
    assert cell.electrolyte == "2 M ZnSO4"
    with pytest.raises(UserError, match="it has several"):
        campaign.optimum()
    assert campaign.optimum(other).pressure_kpa > 0


def test_cells_of_the_programme_inform(store: Path, zn_ti: Condition) -> None:
    old = Campaign.create("old", zn_ti, programme="zinc", store=store)
    old.add(world(12, seed=3))
    settings: dict[str, Any] = {"condition": zn_ti, "programme": "zinc", "store": store}
    informed = Campaign.create("new", **settings)
    alone = Campaign.create("alone", history="none", **settings)
    named = Campaign.create("named", history=["old"], **settings)
    elsewhere = Campaign.create("elsewhere", condition=zn_ti, programme="other", store=store)
    used = [c.advise().advice[0].cells_used for c in (informed, alone, named, elsewhere)]
    assert used == [12, 0, 12, 0]
    assert len(informed.cells) == 0


def test_demo_opens_once(store: Path) -> None:
    first = open_demo(str(store))
    assert [len(campaign.cells) for campaign in first] == [3, 4]
    assert [campaign.state.revision for campaign in open_demo(str(store))] == [2, 2]
    assert "doi:10.1002/sml.202501242" in (first[0].state.citation or "")


def test_notebook_card_escapes_user_text(store: Path, zn_ti: Condition) -> None:
    campaign = Campaign.create("x", zn_ti.model_copy(update={"electrolyte": "<b>1 M"}), store=store)
    assert "suggest" in campaign._repr_html_()
    campaign.advise()
    card = campaign._repr_html_()
    assert "&lt;b&gt;1 M" in card
    assert "<b>1 M" not in card
    assert "kPa" in card


def test_cells_are_a_frame(campaign: Campaign) -> None:
    assert isinstance(campaign.cells, pd.DataFrame)
    assert campaign.cells["cycle_life_h"].tolist() == [14, 104, 36]
    assert repr(campaign).startswith("<Campaign ti: 3 cells")


def test_one_table_in_two_campaigns_counts_once(store: Path, zn_ti: Condition) -> None:
    table = world(5, seed=3)
    for name in ("one", "two"):
        Campaign.create(name, zn_ti, store=store).add(table)
    assert Campaign.open("two", store=store).advise().advice[0].cells_used == 5


def test_a_cell_that_ends_says_at_which_life(campaign: Campaign) -> None:
    campaign.record("x", pressure_kpa=100, status="running", cycle_life_h=20)
    with pytest.raises(UserError, match="expected the life at which it ended; found only 20"):
        campaign.record("x", status="ended")
    assert campaign.record("x", status="ended", cycle_life_h=25).cycle_life_h == 25


def test_not_a_number_erases_nothing(campaign: Campaign) -> None:
    with pytest.raises(UserError, match="cycle_life_h: expected a finite number; found nan"):
        campaign.record("wen2025-ti-20", cycle_life_h=float("nan"))
