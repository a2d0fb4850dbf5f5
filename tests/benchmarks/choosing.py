"""How much life the recommended pressure loses, by number of cells: our optimiser against peers on the same worlds.

A row a family, variant, player and number of cells: mean regret (tests.benchmarks.games) with its standard error, worlds,
median seconds of one suggestion with its fit, the share of worlds where our optimiser says what SHARES names, and what the
games belong to. Peers' games are taken from tests.benchmarks.stored; those that are missing there are played, up to
STACKPRESS_BENCH_PEERS worlds a family. Times are of games as they were played, whatever else the machine did;
tests.benchmarks.speed measures them by themselves.

    python -m tests.benchmarks.choosing [PLAYER ...]     play and keep peers' games, nothing else
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from .games import CELLS, Record, World, draw_world, play
from .ours import OURS, SHARES, WITHOUT_HISTORY, Ours
from .players import ENTRANTS, Entrant, LogGrid
from .running import PEER_WORLDS, SLOW_WORLDS, WORLDS, commit, in_parallel
from .scoring import standard_error
from .stored import Game, Key, fingerprint, keep, stored, versions
from .transfer import TAUGHT

INFORMED = ("well-specified", "shifted", "off-scale")
FAMILIES = (*INFORMED, "flat", "edge", "two peaks", "wrong prior")

Row = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """How a game is played: share of cells that outlive the longest test, and cells asked for at a time."""

    censored: float = 0.0
    batch: int = 1


ONE_BY_ONE, CENSORED, BATCHES = "one by one", "40 % censored", "batches of 4"
VARIANTS = {ONE_BY_ONE: Variant(), CENSORED: Variant(censored=0.4), BATCHES: Variant(batch=4)}


@dataclass(frozen=True)
class Plan:
    """Who plays what."""

    entrants: tuple[Entrant, ...]
    families: tuple[str, ...]
    variant: str = ONE_BY_ONE
    cells: int = CELLS

    def keys(self, worlds: int) -> list[Key]:
        """The games of one player, world by world, so that a run cut short has the same worlds of each family."""
        return [(family, self.variant, number) for number in range(worlds) for family in self.families]


@dataclass(frozen=True)
class Task:
    """One game to play."""

    entrant: str
    key: Key
    cells: int
    commit: str


PLANS = (
    Plan((OURS, *ENTRANTS), FAMILIES),
    Plan((OURS,), INFORMED, CENSORED, cells=6),
    Plan((OURS,), INFORMED, BATCHES, cells=8),
    Plan((OURS, WITHOUT_HISTORY), ("like sources", "opposite sources"), cells=4),
    Plan(TAUGHT, ("like sources",), cells=2),
)
BY_NAME = {entrant.name: entrant for plan in PLANS for entrant in plan.entrants}


def run() -> list[Row]:
    """Every plan: games not played yet, then the rows."""
    rows = []
    for plan in PLANS:
        for entrant in plan.entrants:
            rows += rows_of(entrant.name, games(plan, entrant))
    return rows


def games(plan: Plan, entrant: Entrant) -> dict[Key, Game]:
    """The player's games of a plan: a peer's as far as they are stored and still hold, the rest played now."""
    wanted = set(plan.keys(WORLDS))
    found = {key: game for key, game in stored(entrant).items() if key in wanted and holds(key, game, plan.cells)}
    most = min(WORLDS, SLOW_WORLDS if entrant.slow else PEER_WORLDS if entrant.peer else WORLDS)
    missing = [key for key in plan.keys(most) if key not in found]
    if missing and versions(entrant) is None:
        why = f"{entrant.packages[0]} is not installed"
        print(f"{entrant.name}: {len(missing)} games not played, {why}", file=sys.stderr)
        return found
    now = commit()
    new = in_parallel(play_task, [Task(entrant.name, key, plan.cells, now) for key in missing], entrant.name)
    return {**found, **dict(zip(missing, new, strict=True))}


def holds(key: Key, game: Game, cells: int) -> bool:
    """Whether a stored game is long enough, and was played on what is today's world of that number."""
    length = len(game["regrets"])
    return bool(length >= cells and game["world"] == fingerprint(world_of(key), length))


@cache
def world_of(key: Key) -> World:
    """The world of a game."""
    family, variant, number = key
    return draw_world(family, number, VARIANTS[variant].censored)


def play_task(task: Task) -> Game:
    """Play one game; a peer's is kept."""
    entrant, world = BY_NAME[task.entrant], world_of(task.key)
    game = asdict(played(entrant, world, task.cells, VARIANTS[task.key[1]].batch))
    return keep(entrant, task.key, fingerprint(world, task.cells), game, task.commit) if entrant.peer else game


def played(entrant: Entrant, world: World, cells: int, batch: int) -> Record:
    """The game of a player on a world."""
    player = entrant.make(world.case)
    if isinstance(player, Ours):
        player.max_test_h = world.budget_h
    if isinstance(player, LogGrid):
        return play_grids(world, player, cells)
    return play(world, player, cells, batch)


def play_grids(world: World, player: LogGrid, cells: int) -> Record:
    """Grids of 1, 2, ... cells, each a design of its own: what it finds after all of its cells are measured."""
    record = Record()
    for count in range(1, cells + 1):
        pressures = player.pressures(count)
        built = [world.build(number, pressure) for number, pressure in enumerate(pressures)]
        record.regrets.append(world.regret(player.recommend(built)))
        record.pressures = pressures
    return record


def rows_of(name: str, found: Mapping[Key, Game]) -> list[Row]:
    """A row a family, variant and number of cells."""
    grouped = defaultdict(list)
    for (family, variant, _), game in found.items():
        grouped[family, variant].append(game)
    return [
        {"family": family, "variant": variant, "player": name, **summary(some, turn, VARIANTS[variant].batch)}
        for (family, variant), some in grouped.items()
        for turn in range(min(len(game["regrets"]) for game in some))
    ]


def summary(some: Sequence[Game], turn: int, batch: int = 1) -> Row:
    """Games of one player after a turn (0: the first), each of `batch` cells."""
    regrets = np.array([game["regrets"][turn] for game in some])
    seconds = [second for game in some for second in game["seconds"]]
    said = [game["said"][turn] or {} for game in some] if some[0]["said"] else []
    return {
        "cells": (turn + 1) * batch,
        "worlds": len(some),
        "regret": float(regrets.mean()),
        "regret se": standard_error(regrets),
        "seconds": float(np.median(seconds)) if seconds else None,
        **{name: float(np.mean([one[name] for one in said])) if said and said[0] else None for name in SHARES},
        "played": played_at(some),
    }


def played_at(some: Sequence[Game]) -> str:
    """Packages and commits of stored games; nothing where they were played just now, as the rest of the results says."""
    texts = {
        f"{', '.join(f'{name} {number}' for name, number in game['versions'].items()) or 'numpy'}: {game['setup']}; "
        f"commit {game['commit']}, {game['on']}"
        for game in some
        if "commit" in game
    }
    return " and ".join(sorted(texts))


if __name__ == "__main__":
    for plan in PLANS:
        for entrant in plan.entrants:
            if entrant.peer and (not sys.argv[1:] or entrant.name in sys.argv[1:]):
                games(plan, entrant)
