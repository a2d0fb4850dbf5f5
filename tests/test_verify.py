"""Answers computed again: the same from the same, and a reason where one differs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from campaigns import Campaign, cli
from campaigns.events import Event
from campaigns.ledger import Ledger
from surrogates import UserError

from .conftest import ZN_TI
from .worlds import world


@pytest.fixture(scope="module")
def informed(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """A campaign with two answers; the second knows cells of another campaign, which went on afterwards."""
    store, zn_ti = tmp_path_factory.mktemp("verify") / "mlruns", ZN_TI
    campaign = Campaign.create("new", zn_ti, store=store)
    campaign.add(world(3, seed=1))
    campaign.advise(seed=4)
    old = Campaign.create("old", zn_ti, store=store)
    old.add([cell.model_copy(update={"cell_id": f"o{cell.cell_id}"}) for cell in world(4, seed=2)])
    campaign.advise(n=2)
    first = old.state.cells[0]
    old.correct(first.cell_id, cycle_life_h=(first.cycle_life_h or 1.0) * 3, reason="clock was off")
    campaign.record("later", pressure_kpa=70.0)
    return campaign


def retold(campaign: Campaign, to: Path, change: Callable[[dict[str, Any]], None]) -> Campaign:
    """The same campaign in another store, alone, the payload of its answers changed."""

    def changed(event: Event) -> Event:
        payload = copy.deepcopy(event.payload)
        if event.kind == "suggested":
            change(payload)
        return replace(event, payload=payload)

    with Ledger.open(to).writing(campaign.name) as transaction:
        transaction.restore([changed(event) for event in Ledger.open(campaign.store).events(campaign.name)])
    return Campaign.open(campaign.name, to)


def test_an_answer_stores_what_it_was_computed_from(informed: Campaign) -> None:
    first, second = (e.payload for e in Ledger.open(informed.store).events("new") if e.kind == "suggested")
    assert first["informed_by"] == {}
    assert second["informed_by"] == {"old": 2}
    assert {"data_revision", "data_hash", "prior_hash", "seed", "versions"} <= set(second)
    ranked = second["advice"][0]["candidates"]
    assert ranked[0]["pressure_kpa"] == second["advice"][0]["proposals"][0]["pressure_kpa"]
    assert [c["gain"] for c in ranked] == sorted((c["gain"] for c in ranked), reverse=True)


def test_answers_come_out_the_same_whatever_happened_since(informed: Campaign) -> None:
    first, second = informed.verify()
    assert (first.same, second.same) == (True, True)
    assert (first.why, second.why) == ((), ())
    assert first.mended == ()
    assert second.mended == (f"old/{Campaign.open('old', informed.store).state.cells[0].cell_id}",)
    assert len(second.next_kpa) == 2


def test_on_every_kind_of_store(any_store: str) -> None:
    for name, seed in (("first", 1), ("second", 2)):
        cells = [cell.model_copy(update={"cell_id": f"{name}{cell.cell_id}"}) for cell in world(2, seed=seed)]
        Campaign.create(name, ZN_TI, store=any_store).add(cells)
    campaign = Campaign.create("new", ZN_TI, store=any_store)
    campaign.advise()
    Campaign.open("first", any_store).record("late", pressure_kpa=50.0)
    [check] = campaign.verify()
    assert list(campaign.advise().informed_by or {}) == ["first", "second"]
    assert (check.same, check.why) == (True, ())


def test_answers_that_do_not_say_what_they_read_go_by_the_clock(informed: Campaign, tmp_path: Path) -> None:
    other = tmp_path / "other"
    old = Ledger.open(informed.store).events("old")
    with Ledger.open(other).writing("old") as transaction:
        transaction.restore(old)
    silent = retold(informed, other, lambda payload: payload.pop("informed_by"))
    assert [check.same for check in silent.verify()] == [True, True]


def test_another_campaign_that_is_not_there_is_named(informed: Campaign, tmp_path: Path) -> None:
    first, second = retold(informed, tmp_path / "alone", lambda payload: None).verify()
    assert first.same
    assert not second.same
    assert second.is_explained
    assert second.why == ("cells of other campaigns were read that this store has not: old, revision 2",)
    assert second.differences


def test_other_versions_and_another_prior_are_named(informed: Campaign, tmp_path: Path) -> None:
    def older(payload: dict[str, Any]) -> None:
        payload["versions"]["torch"] = "0.4"
        payload["prior_hash"] = "0123"
        payload["advice"][0]["proposals"][0]["gain"] += 0.01

    [check] = retold(informed, tmp_path / "older", older).verify(3)
    assert not check.same
    assert check.is_explained
    assert [reason.split(" was ")[0] for reason in check.why[:1]] == ["torch"]
    assert check.why[1].startswith("prior default had the hash 0123, reads as ")
    [named] = check.differences.values()
    then, now = named["gain"]
    assert then - now == pytest.approx(0.01)
    assert list(named) == ["gain"]
    assert check.numbers == 1
    assert check.largest == pytest.approx(0.01 / then)


def test_a_number_that_nothing_explains_is_a_fault(
    informed: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def bent(payload: dict[str, Any]) -> None:
        payload["advice"][0]["curve"]["median"][7] *= 1 + 1e-9

    store = tmp_path / "bent"
    [check] = retold(informed, store, bent).verify(3)
    assert not check.same
    assert not check.is_explained
    assert check.differences == {}
    assert 0 < check.largest < 2e-9
    with pytest.raises(SystemExit) as stop:
        cli.main(["verify", "new", "--revision", "3", "--store", str(store)])
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert "1 numbers differ, by 1e-07 % at most" in out
    assert "Nothing is known that explains it" in out
    assert out.endswith("0 of 1 answers come out the same.\n")


def test_what_verify_refuses_and_says(informed: Campaign, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"expected an event that is an answer \(3, 4\); found 2"):
        informed.verify(2)
    Campaign.create("empty", informed.state.conditions[0], store=informed.store)
    assert Campaign.open("empty", informed.store).verify() == []
    with pytest.raises(SystemExit) as stop:
        cli.main(["verify", "empty", "--store", str(informed.store)])
    assert stop.value.code == 0
    assert "No answer yet" in capsys.readouterr().out
