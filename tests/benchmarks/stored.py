"""Games that peers have played, kept so that they need not be played again when only our own code has changed.

build/bench/games/PLAYER.jsonl, a line a game. A game counts while the world is the same (its truth, scatter, budget and
history), and the player: its setup, and the versions of its packages where they are installed. Neither the rules of the game
nor a player's code are looked at: whoever changes them changes the `setup` of the players concerned, or deletes their files.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .games import World
from .players import Entrant
from .worlds import GRID

GAMES = Path("build/bench/games")
DIGITS = 6

Game = dict[str, Any]
Key = tuple[str, str, int]


def versions(entrant: Entrant) -> dict[str, str] | None:
    """Versions of the player's packages; None where one is not installed."""
    try:
        return {package: version(package) for package in entrant.packages}
    except PackageNotFoundError:
        return None


def fingerprint(world: World, cells: int) -> str:
    """What the outcome of a game of `cells` cells depends on besides the player, as a short hash."""
    history = [(cell.electrode_pair, cell.pressure_kpa, cell.cycle_life_h) for cell in world.case.sources]
    numbers = [*world.case.truth.log_life(GRID), *world.scatter[:cells], world.budget_h or math.inf]
    text = json.dumps([history, np.round(numbers, DIGITS).tolist()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def keep(entrant: Entrant, key: Key, world: str, game: Mapping[str, Any], commit: str) -> Game:
    """Append a game to the player's file."""
    family, variant, number = key
    line = {
        "player": entrant.name,
        "setup": entrant.setup,
        "versions": versions(entrant),
        "family": family,
        "variant": variant,
        "number": number,
        "world": world,
        "commit": commit,
        "on": datetime.now(UTC).date().isoformat(),
        **game,
    }
    GAMES.mkdir(parents=True, exist_ok=True)
    with _path(entrant).open("a") as file:
        file.write(json.dumps(line) + "\n")
    return line


def stored(entrant: Entrant) -> dict[Key, Game]:
    """The player's games with today's setup and versions (any versions where its packages are not installed)."""
    path, installed = _path(entrant), versions(entrant)
    if not path.exists():
        return {}
    games = map(json.loads, path.read_text().splitlines())
    return {
        (game["family"], game["variant"], game["number"]): game
        for game in games
        if game["setup"] == entrant.setup and installed in (None, game["versions"])
    }


def _path(entrant: Entrant) -> Path:
    return GAMES / f"{entrant.name.replace(' ', '-').lower()}.jsonl"
