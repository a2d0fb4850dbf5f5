"""A campaign's bench and goal, kept with it; decisions weighed, played again and ahead, in Python and as commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from campaigns import Campaign
from campaigns.cli import main
from campaigns.figure import write_figures
from campaigns.state import fold
from campaigns.tradeoff_figure import draw_tradeoff
from optimizer.rig import MOST_CELLS
from surrogates import Condition, UserError

from .worlds import world


@pytest.fixture
def campaign(zn_ti: Condition, store: Path) -> Campaign:
    made = Campaign.create(
        "zn",
        zn_ti,
        (10, 1000),
        subject_to="P(cycle_life_h < 5) <= 20 %",
        per="channel-day",
        stop_gain=0.02,
        channels=3,
        max_test_h=300,
        tolerance_percent=10,
        store=store,
    )
    cells = [cell.row() for cell in world(3, seed=8)]
    made.add(
        [*cells, {**cells[0], "cell_id": "late", "status": "running", "cycle_life_h": 20.0, "pressure_kpa": 400.0}]
    )
    return made


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert not stop.value.code
    return capsys.readouterr().out


def test_more_channels_than_can_be_asked_for_at_once(zn_ti: Condition, store: Path) -> None:
    assert Campaign.create("many", zn_ti, channels=200, store=store).state.free_channels == MOST_CELLS


def test_bench_and_goal_stay_with_the_campaign(campaign: Campaign, store: Path) -> None:
    state = Campaign.open("zn", store).state
    assert (state.rig.channels, state.rig.max_test_h, state.rig.tolerance_percent) == (3, 300, 10)
    assert (state.goal.per, state.goal.stop_gain, str(state.goal.subject_to[0])) == (
        "channel-day",
        0.02,
        "P(cycle_life_h < 5) <= 0.2",
    )
    table = campaign.suggest()
    assert len(table) == 2  # three channels, one of them taken
    assert table["days"].notna().all()
    assert table["feasible"].between(0, 1.001).all()
    assert [check.same for check in campaign.verify()] == [True]


def test_campaigns_from_before_goals_have_that_of_their_objective(campaign: Campaign) -> None:
    events = campaign._ledger.events("zn")
    old = {name: value for name, value in events[0].payload.items() if name != "goal"}
    goal = fold([type(events[0])(**{**vars(events[0]), "payload": old})]).goal
    assert goal.outcomes == ("cycle_life_h",)
    assert goal.subject_to == ()


def test_what_cannot_be_asked_for_stores_nothing(zn_ti: Condition, store: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"subject_to": "life > 3"}, {"channels": 0}, {"max_test_h": -1}, {"per": "week"}, {"tolerance": 3},
    ]  # fmt: skip
    for settings in wrong:
        with pytest.raises(UserError, match="expected|greater|channels|tolerance"):
            Campaign.create("zn", zn_ti, store=store, **settings)
    assert not (store / "ledger.db").exists() or Campaign.create("zn", zn_ti, store=store).state.revision == 1


def test_should_stop_replay_and_plan(campaign: Campaign, zn_ti: Condition) -> None:
    assert campaign.should_stop("late").cell_id == "late"
    steps = campaign.replay(prior="zinc", subject_to=(), per="cell")[zn_ti]
    assert [step.cells for step in steps] == [0, 1, 2, 3, 4]
    assert steps[-1].built_kpa is None
    revision = campaign.state.revision
    with pytest.raises(UserError, match="one outcome without requirements"):
        campaign.plan(2, 2)
    assert campaign.state.revision == revision


def test_commands(campaign: Campaign, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--store", str(store))
    assert "late" in run(capsys, "should-stop", "zn", *place)
    [said] = json.loads(run(capsys, "should-stop", "zn", "late", "--json", *place))
    assert said["days_to_come"] > 0
    text = run(capsys, "replay", "zn", "--per", "cell", *place)
    assert text.splitlines()[1].split()[:3] == ["cells", "would", "test"]
    assert "stopped" in text.splitlines()[-1]
    given = ("--electrolyte", "1 M ZnSO4", "--current", "1", "--current-unit", "mA/cm2", *place)
    run(capsys, "new", "plain", "--pair", "Zn||Cu", *given)
    [planned] = json.loads(run(capsys, "plan", "plain", "--cells", "2", "--campaigns", "3", "--json", *place))
    assert len(planned["loss"]) == 2
    assert "within 5 % of the best" in run(capsys, "plan", "plain", "--cells", "2", "--campaigns", "3", *place)
    run(capsys, "new", "two", "--pair", "Zn||Cu", "--objective", "cycle_life_h,coulombic_efficiency", *given)
    assert "Trade-off" in run(capsys, "suggest", "two", *place)


def test_the_picture_of_a_tradeoff(zn_ti: Condition, store: Path) -> None:
    outcomes = ["cycle_life_h", "coulombic_efficiency", "capacity_retention"]
    for name, count in (("one", 1), ("two", 2), ("three", 3)):
        made = Campaign.create(name, zn_ti, objective=outcomes[:count], history="none", store=store)
        advice = made.advise().advice[0]
        figure = draw_tradeoff(advice)
        assert (figure is None) is (count == 1)
        if figure is not None:
            assert len(figure.axes) == count - 1
            labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]  # type: ignore[union-attr]
            assert any(label.startswith("compromise: ") for label in labels)
    written = write_figures(Campaign.open("two", store).state, store / "figures")
    assert [path.name for path in written] == ["two.png", "two.svg", "two-tradeoff.png", "two-tradeoff.svg"]
