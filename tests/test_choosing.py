"""The parts of the benchmark of the search: players, stored games, rows and their judging. No peer need be installed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .benchmarks import choosing, stored
from .benchmarks.asking import among_pairs, answer, peak_mb
from .benchmarks.bounds import judge
from .benchmarks.choosing import BATCHES, FAMILIES, ONE_BY_ONE, Plan, played, rows_of, summary
from .benchmarks.games import FIRST_KPA, World, draw_world, play
from .benchmarks.ours import OURS, SHARES, said
from .benchmarks.players import (
    ENTRANTS,
    BoTorch,
    Entrant,
    LogGrid,
    Optuna,
    RandomSearch,
    best_measured,
    candidates_after,
)
from .benchmarks.regret import draw
from .benchmarks.stored import fingerprint, keep
from .benchmarks.worlds import CONDITION, HIGH, LOW

RANDOM = Entrant("random search", RandomSearch)
KEY = ("flat", ONE_BY_ONE, 0)


def quiet(world: World) -> World:
    """The world without scatter."""
    return replace(world, scatter=(0.0,) * len(world.scatter))


def test_a_grid_of_n_is_what_it_is_worth_after_n_cells() -> None:
    world = quiet(draw_world("edge", 0))
    record = played(Entrant("log grid", LogGrid), world, 5, 1)
    assert record.pressures == pytest.approx(np.geomspace(LOW, HIGH, 5))
    assert record.regrets[0] == pytest.approx(world.regret(FIRST_KPA))
    assert record.regrets[1:] == pytest.approx([0] * 4), (
        "the best of an edge world is the highest pressure, in every grid"
    )


def test_players_begin_alike_and_play_the_same_game_twice() -> None:
    world = draw_world("well-specified", 1)
    first, second = (played(RANDOM, world, 6, 1) for _ in range(2))
    assert (first.pressures, first.regrets) == (second.pressures, second.regrets)
    assert first.pressures[0] == FIRST_KPA
    assert all(LOW <= pressure <= HIGH for pressure in first.pressures)


def test_the_best_measured_is_the_cell_that_read_highest() -> None:
    world = draw_world("well-specified", 2)
    cells = [world.build(number, pressure) for number, pressure in enumerate((20.0, 200.0, 1500.0))]
    assert best_measured(cells) == max(cells, key=lambda cell: cell.cycle_life_h or 0).pressure_kpa


def test_where_a_mean_is_level_a_tested_pressure_is_recommended() -> None:
    world = draw_world("well-specified", 3)
    assert BoTorch(world.case).recommend([world.build(0, 300.0)]) == pytest.approx(300)
    assert candidates_after([world.build(0, 300.0), world.build(1, 30.0)])[:2] == [300, 30]


def test_optuna_is_told_every_cell_once_whoever_chose_it() -> None:
    world = draw_world("well-specified", 4)
    player = Optuna(world.case)
    cells = [world.build(0, 30.0), world.build(1, 900.0)]
    [asked] = player.ask(cells, 1)
    cells.append(world.build(2, asked))
    player.recommend(cells)
    trials = player._study.trials
    assert [trial.params["pressure_kpa"] for trial in trials] == pytest.approx([30, 900, asked])
    assert [trial.value for trial in trials] == pytest.approx([math.log(cell.cycle_life_h or 0) for cell in cells])


def test_a_world_is_known_by_all_that_a_game_depends_on() -> None:
    world = draw_world("like sources", 0)
    other_scatter = replace(world, scatter=(*world.scatter[:4], world.scatter[4] + 0.1, *world.scatter[5:]))
    same = fingerprint(world, 4)
    assert same == fingerprint(draw_world("like sources", 0), 4) == fingerprint(other_scatter, 4)
    assert same != fingerprint(other_scatter, 5)
    assert same != fingerprint(draw_world("like sources", 1), 4)
    assert same != fingerprint(draw_world("like sources", 0, censored=0.4), 4)
    assert same != fingerprint(replace(world, case=replace(world.case, sources=())), 4)


@pytest.fixture
def games(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A folder of its own for games, and the tasks that are played."""
    tasks: list[Any] = []

    def in_turn(work: Any, new: Any, what: str) -> list[Any]:
        tasks.extend(new)
        return [work(task) for task in new]

    monkeypatch.setattr(stored, "GAMES", tmp_path)
    monkeypatch.setattr(choosing, "in_parallel", in_turn)
    monkeypatch.setattr(choosing, "WORLDS", 2)
    monkeypatch.setattr(choosing, "PEER_WORLDS", 2)
    monkeypatch.setitem(choosing.BY_NAME, RANDOM.name, RANDOM)
    return tasks


def test_a_peers_games_are_played_once(games: list[Any]) -> None:
    plan = Plan((RANDOM,), ("flat", "edge"), cells=3)
    first = choosing.games(plan, RANDOM)
    assert [task.key for task in games] == [(f, ONE_BY_ONE, n) for n in (0, 1) for f in ("flat", "edge")]
    assert choosing.games(plan, RANDOM) == first
    assert len(games) == 4
    longer = replace(plan, cells=4)
    assert {len(game["regrets"]) for game in choosing.games(longer, RANDOM).values()} == {4}
    assert len(games) == 8


def test_a_game_of_another_world_or_player_does_not_count(games: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan((RANDOM,), ("flat",), cells=3)
    keep(RANDOM, KEY, "another world", {"regrets": [0.5] * 3, "seconds": [], "said": []}, "abc")
    assert choosing.games(plan, RANDOM)[KEY]["regrets"] == [0, 0, 0]
    other = replace(RANDOM, setup="another")
    monkeypatch.setitem(choosing.BY_NAME, RANDOM.name, other)
    assert choosing.games(plan, other)[KEY]["setup"] == "another"
    assert len(games) == 4


def test_without_a_peers_package_its_stored_games_stand(
    games: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = replace(RANDOM, packages=("numpy",))
    plan = Plan((peer,), ("flat",), cells=3)
    world = fingerprint(draw_world("flat", 0), 3)
    keep(peer, KEY, world, {"regrets": [0.5] * 3, "seconds": [], "said": []}, "abc")
    monkeypatch.setattr(stored, "versions", lambda entrant: None)
    monkeypatch.setattr(choosing, "versions", lambda entrant: None)
    assert [game["regrets"] for game in choosing.games(plan, peer).values()] == [[0.5] * 3]
    assert games == []
    assert "1 games not played, numpy is not installed" in capsys.readouterr().err


def test_a_row_is_the_mean_over_worlds() -> None:
    def game(regret: float, effect: bool) -> dict[str, Any]:
        verdict = dict.fromkeys(SHARES, False) | {SHARES[0]: effect}
        return {"regrets": [0.9, regret], "seconds": [0.1, 0.3], "said": [verdict, verdict]}

    found = summary([game(0.1, True), game(0.3, False)], turn=1)
    assert found["regret"] == pytest.approx(0.2)
    assert found["regret se"] == pytest.approx(0.1)
    assert (found["cells"], found["worlds"], found["seconds"], found["played"]) == (2, 2, pytest.approx(0.2), "")
    assert [found[name] for name in SHARES] == [0.5, 0, 0]
    rows = rows_of("ours", {("flat", BATCHES, 0): game(0.1, True)})
    assert [row["cells"] for row in rows] == [4, 8]


def test_our_player_says_what_it_claims() -> None:
    world = draw_world("well-specified", 5)
    record = play(world, OURS.make(world.case), 3)
    assert all(set(verdict) == set(SHARES) for verdict in record.said)
    best = OURS.make(world.case).surrogate([world.build(0, 300.0)]).optimum(CONDITION, (LOW, HIGH))
    narrow, whole = replace(best, window_kpa=(200, 400), verdict="measure"), replace(best, window_kpa=(LOW, HIGH))
    assert said(narrow)["claims an optimum"]
    assert not said(replace(narrow, verdict="no effect"))["claims an optimum"]
    assert not said(whole)["claims an optimum"]
    assert not said(replace(best, window_kpa=None))["claims an optimum"]
    assert said(replace(best, verdict="edge: lower"))["says edge"]


def rows_with(ours: float, peer: float) -> list[dict[str, Any]]:
    """Rows of ours and one peer, the same regret in every family and after every number of cells."""
    return [
        {
            "family": family,
            "variant": ONE_BY_ONE,
            "player": player,
            "cells": cells,
            "worlds": 9,
            "regret": regret + (0.1 if family == "shifted" and cells == 3 else 0),
            "regret se": 0.01,
            "seconds": 0.1,
            **dict.fromkeys(SHARES, 0.05),
            "played": "",
        }
        for family in FAMILIES
        for player, regret in (("ours", ours), ("Ax", peer))
        for cells in range(1, 11)
    ]


def test_bounds_of_the_search() -> None:
    found = {bound.what: bound for bound in judge({"choosing": rows_with(0.03, 0.025)})}
    assert found["regret after 3 cells"].fails == "shifted n = 3: 0.130"
    late = found["regret after 6, 10 cells less the best peer's"]
    assert (late.holds, late.found) == (True, "+0.005 to +0.005")
    early = found["regret after 3 cells less the best peer's after 10"]
    assert early.fails.split("; ")[0] == "well-specified n = 3 (Ax 0.025): +0.005"
    assert found["an optimum claimed on flat worlds"].holds
    assert found["edge said on edge worlds after 6"].holds is False
    assert found["regret after 8 in batches of 4 over that one by one"].holds is None


def test_bounds_of_the_search_hold_where_ours_is_as_good() -> None:
    found = {bound.what: bound for bound in judge({"choosing": rows_with(0.02, 0.15)})}
    assert found["regret after 3 cells less the best peer's after 10"].holds


def test_the_picture_is_drawn_from_the_players_there_are(tmp_path: Path) -> None:
    draw(rows_with(0.02, 0.05), tmp_path / "regret.png")
    assert (tmp_path / "regret.png").stat().st_size > 10_000


def test_many_pairs_and_the_time_of_one_answer() -> None:
    cells = among_pairs(pairs=9, cells=2)
    assert len({cell.electrode_pair for cell in cells}) == 9
    assert len({cell.cell_id for cell in cells}) == len(cells) == 18
    assert answer(ENTRANTS[1], cells[:3], seed=0) >= 0


def test_peak_memory_is_the_highest_so_far() -> None:
    before = peak_mb()
    block = np.ones(100 * 2**20 // 8)
    assert peak_mb() >= before
    assert peak_mb() > block.nbytes / 1e6
