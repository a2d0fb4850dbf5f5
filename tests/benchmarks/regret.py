"""What the search for the best pressure found: its bounds, its section of the report, and the picture of regret over cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .choosing import FAMILIES, ONE_BY_ONE
from .scoring import select
from .tables import pivot, table

Row = dict[str, Any]
Found = list[tuple[str, float]]

OURS, ALONE = "ours", "ours, without history"
HARD = ("two peaks", "edge", "flat", "wrong prior")
SHOWN = (1, 2, 3, 4, 6, 8, 10)
COLOURS = {
    OURS: "tab:blue",
    "Ax": "tab:red",
    "BayBE": "tab:purple",
    "BoTorch qLogNEI": "tab:brown",
    "Optuna GPSampler": "tab:orange",
    "log grid": "0.45",
    "random search": "0.72",
}
LOWEST = 0.003
LEAST = 1e-4
"""A regret under which none counts, where one is divided by it."""


def regrets(rows: Sequence[Row], cells: int, families: Sequence[str], variant: str = ONE_BY_ONE) -> Found:
    """Our regret after so many cells, family by family."""
    ours = select(rows, player=OURS, cells=cells, variant=variant)
    return [(f"{row['family']} n = {cells}", row["regret"]) for row in ours if row["family"] in families]


def best_peer(rows: Sequence[Row], family: str, cells: int) -> Row | None:
    """The peer with the lowest regret; None where none has been played."""
    some = [
        row
        for row in select(rows, family=family, cells=cells, variant=ONE_BY_ONE)
        if row["player"] not in (OURS, ALONE)
    ]
    return min(some, key=lambda row: row["regret"], default=None)


def over_best(rows: Sequence[Row], families: Sequence[str], ours_after: int, peers_after: int) -> Found:
    """Our regret less that of the best peer, each after its number of cells."""
    found = []
    for family in families:
        best = best_peer(rows, family, peers_after)
        for _, regret in regrets(rows, ours_after, [family]):
            if best is not None:
                where = f"{family} n = {ours_after} ({best['player']} {best['regret']:.3f})"
                found.append((where, regret - best["regret"]))
    return found


def over_one_by_one(rows: Sequence[Row], variant: str, cells: int) -> Found:
    """Our regret in a variant over that of games played cell by cell on cells run to their ends."""
    usual = {row["family"]: row["regret"] for row in select(rows, player=OURS, cells=cells, variant=ONE_BY_ONE)}
    return [
        (row["family"], row["regret"] / max(usual[row["family"]], LEAST))
        for row in select(rows, player=OURS, cells=cells, variant=variant)
        if row["family"] in usual
    ]


def over_without_history(rows: Sequence[Row], family: str, cells: int) -> Found:
    """Our regret with a history less that without."""
    with_history, without = (select(rows, player=name, family=family, cells=cells) for name in (OURS, ALONE))
    return [
        (f"n = {cells}", ours["regret"] - alone["regret"]) for ours, alone in zip(with_history, without, strict=True)
    ]


def shares(rows: Sequence[Row], family: str, what: str, counts: Sequence[int]) -> Found:
    """Share of worlds where ours says something."""
    ours = select(rows, player=OURS, family=family, variant=ONE_BY_ONE)
    return [(f"n = {row['cells']}", row[what]) for row in ours if row["cells"] in counts]


def section(rows: Sequence[Row]) -> list[str]:
    """Tables: ours beside the best peer, every player by family, what is said, and what the peers' games belong to."""
    alone = select(rows, variant=ONE_BY_ONE)
    main = [row for row in alone if row["family"] in FAMILIES and row["cells"] in SHOWN]
    ours = select(main, player=OURS)
    others = [row for row in rows if row["variant"] != ONE_BY_ONE or row["family"] not in FAMILIES]
    said = [row for row in ours if row["family"] in ("flat", "edge", "well-specified")]
    parts = ["![regret over cells](regret.png)"]
    if ours:
        parts += [
            "Share of life lost at the recommended pressure, mean over worlds, in %; in brackets the best peer's:"
        ]
        parts += [pivot(ours, lambda row: beside(row, rows))]
    for family in dict.fromkeys(row["family"] for row in main):
        parts += [f"{family}, in %, +- standard error:", pivot(select(main, family=family), percent, "player")]
    if others:
        parts += ["Other games, in %:", pivot([{**row, "game": game(row)} for row in others], percent, "game")]
    if said:
        parts += ["Share of worlds, in %, where ours says: no effect; edge; claims an optimum:", pivot(said, claims)]
    return [*parts, "What the games belong to:", table(belongings(rows))]


def percent(row: Row) -> str:
    """Regret in % with its standard error."""
    error = "" if row["regret se"] is None else f" +- {100 * row['regret se']:.1f}"
    return f"{100 * row['regret']:.1f}{error}"


def beside(row: Row, rows: Sequence[Row]) -> str:
    """Ours, and the best peer after as many cells."""
    best = best_peer(rows, row["family"], row["cells"])
    return percent(row) + (f" ({100 * best['regret']:.1f} {best['player']})" if best else "")


def claims(row: Row) -> str:
    """What is said, in %."""
    return "; ".join(f"{100 * row[name]:.0f}" for name in ("says no effect", "says edge", "claims an optimum"))


def game(row: Row) -> str:
    """Family, variant and player of a row."""
    return ", ".join((row["family"], row["variant"], row["player"]))


def belongings(rows: Sequence[Row]) -> list[Row]:
    """A line a player: worlds a family, median time of a suggestion in the games, packages, setup and commits."""
    lines = []
    for player in dict.fromkeys(row["player"] for row in rows):
        own = select(rows, player=player)
        times = [row["seconds"] for row in own if row["seconds"]]
        worlds = sorted({row["worlds"] for row in own})
        lines.append(
            {
                "player": player,
                "worlds": "-".join(str(count) for count in dict.fromkeys((worlds[0], worlds[-1]))),
                "ms a suggestion": f"{1000 * min(times):.0f}-{1000 * max(times):.0f}" if times else "",
                "played": " and ".join(dict.fromkeys(row["played"] for row in own if row["played"]))
                or "with these results",
            }
        )
    return lines


def draw(rows: Sequence[Row], path: Path) -> None:
    """Regret over cells, ours (with bars of two standard errors) against every peer; a panel a family but for "flat", where
    nothing can be lost."""
    from matplotlib.figure import Figure

    families = [family for family in FAMILIES if family != "flat"]
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True).flat
    for panel, family in zip(panels, families, strict=True):
        for player, colour in reversed(COLOURS.items()):
            draw_player(panel, select(rows, variant=ONE_BY_ONE, family=family, player=player), colour, player == OURS)
        panel.set(yscale="log", xlim=(0.7, 10.3), ylim=(LOWEST, 1))
        panel.set_title(family, fontsize=12)
        panel.set_xticks([1, 3, 6, 10])
        panel.set_yticks([0.01, 0.03, 0.1, 0.3, 1], labels=["1", "3", "10", "30", "100"])
        panel.minorticks_off()
        panel.grid(color="0.92")
    handles = [panel.plot([], [], color=colour, linewidth=2.5, label=name)[0] for name, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    for panel in figure.axes[-3:]:
        panel.set_xlabel("cells measured")
    figure.supylabel("life lost at the recommended pressure / %")
    figure.savefig(path, dpi=110)


def draw_player(panel: Any, rows: Sequence[Row], colour: str, bold: bool) -> None:
    """One line; what lies under the axis is drawn on it."""
    cells = [row["cells"] for row in rows]
    regret = [max(row["regret"], LOWEST) for row in rows]
    panel.plot(cells, regret, "o-", color=colour, markersize=4 if bold else 2.5, linewidth=2.2 if bold else 1.2)
    if bold:
        panel.errorbar(
            cells, regret, [2 * (row["regret se"] or 0) for row in rows], fmt="none", color=colour, capsize=2
        )
