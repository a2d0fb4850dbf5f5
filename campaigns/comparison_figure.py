"""The picture of a comparison: the curves of the campaigns over each other, and their best pressures.

Importing matplotlib takes about half a second, so other modules import this one inside functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from campaigns.comparison import Comparison, Entry
from campaigns.figure import DARK, DPI, GREY, axis_limits, house_style, save, scaled, set_ticks
from surrogates.errors import UserError
from surrogates.outcomes import Outcome

WIDTH, LEFT, RIGHT, TOP, BOTTOM, GAP = 7.2, 0.75, 1.95, 0.42, 0.6, 0.16  # inches; the legend stands in RIGHT
CURVES, ROW, NAME_LENGTH = 2.6, 0.26, 28  # inches; inches a campaign in the strip of best pressures; letters
COLOURS = ("#0b559f", "#b3500f", "#0f7a5a", "#c0268a", "#8a6d00", "#5b3e99", "#00748a", "#7a3b2e")
LINES = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (6, 2, 1, 2)))
Drawn = Sequence[tuple[int, Entry]]


def draw(comparison: Comparison) -> Figure:
    """A panel of curves for each outcome, and below a strip of best pressures with interval and window.

    Raises `UserError` where no campaign has an answer.
    """
    drawn = [(number, entry) for number, entry in enumerate(comparison.entries) if entry.advice]
    if not drawn:
        names = " ".join(dict.fromkeys(entry.campaign for entry in comparison.entries))
        raise UserError(f"figure: expected an answer to draw; found none in {names}. Ask: stackpress suggest NAME")
    outcomes = list(dict.fromkeys(entry.outcome for _, entry in drawn))
    heights = [*(CURVES for _ in outcomes), ROW * len(drawn) + 0.1]
    whole = TOP + sum(heights) + GAP * len(outcomes) + BOTTOM
    with house_style():
        figure = FigureCanvasAgg(Figure(figsize=(WIDTH, whole), dpi=DPI)).figure
        top = whole - TOP
        panels: list[Axes] = []
        for height in heights:
            box = (LEFT / WIDTH, (top - height) / whole, 1 - (LEFT + RIGHT) / WIDTH, height / whole)
            panels.append(figure.add_axes(box, sharex=panels[0] if panels else None))
            top -= height + GAP
        for axes, outcome in zip(panels, outcomes, strict=False):
            _draw_curves(axes, outcome, [item for item in drawn if item[1].outcome == outcome])
        _draw_best(panels[-1], drawn)
        _set_pressures(panels, drawn)
        names = ", ".join(dict.fromkeys(_short(entry.campaign) for _, entry in drawn))
        words = "strip: best pressure, its 90 % interval (line) and its window (bar)"
        figure.text(LEFT / WIDTH, 0.05 / whole, words, color=GREY, fontsize=7)
        figure.text(LEFT / WIDTH, 1 - 0.1 / whole, f"Compared: {names}", va="top", fontsize=10, weight="bold")
    return figure


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes compare-A-B-....png and .svg, each whole or not at all."""
    names = list(dict.fromkeys(entry.campaign for entry in comparison.entries))
    return save(draw(comparison), folder, "-".join(["compare", *names])[:120])


def _look(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)]}


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def _draw_curves(axes: Axes, outcome: Outcome, drawn: Drawn) -> None:
    core: list[float] = []
    band: list[float] = []
    for number, entry in drawn:
        assert entry.advice is not None
        curve = entry.advice.curve
        median, lower, upper = (scaled(getattr(curve, name), outcome) for name in ("median", "lower", "upper"))
        name = _short(entry.label) + " (outdated)" * bool(entry.moved)
        axes.fill_between(curve.pressure_kpa, lower, upper, alpha=0.16, lw=0, gid="band", **_look(number))
        line = LINES[number % len(LINES)]
        axes.plot(curve.pressure_kpa, median, lw=1.8, linestyle=line, label=name, gid="median", **_look(number))
        core, band = [*core, *median], [*band, *lower, *upper]
    log = not outcome.is_loss
    axes.set(xscale="log", yscale="log" if log else "linear", ylabel=outcome.label if log else f"{outcome.label} (%)")
    axes.set_ylim(axis_limits(core, np.array(band), log))
    set_ticks(axes.yaxis, *axes.get_ylim(), log=log)
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, title="median, 90 %", alignment="left")
    axes.tick_params(labelbottom=False)


def _draw_best(axes: Axes, drawn: Drawn) -> None:
    """One row a campaign: the best pressure, its 90 % interval (line), its window (bar)."""
    for row, (number, entry) in enumerate(drawn):
        assert entry.advice is not None
        best = entry.advice.best
        if best.verdict == "no effect":
            axes.text(0.5, row, "no pressure stands out", transform=axes.get_yaxis_transform(), ha="center", va="center",
                      fontsize=7, color=GREY)  # fmt: skip
            continue
        axes.plot(best.interval_kpa, (row, row), lw=1.6, gid="interval", **_look(number))
        if best.window_kpa is not None:
            axes.plot(
                best.window_kpa, (row, row), lw=7, alpha=0.4, solid_capstyle="butt", gid="window", **_look(number)
            )
        axes.plot(best.pressure_kpa, row, marker="o", ms=5, mec="white", mew=0.7, gid="best", **_look(number))
    axes.set(ylim=(len(drawn) - 0.4, -0.6), yticks=[], ylabel="best", xscale="log", xlabel="stacking pressure (kPa)")
    for row, (_, entry) in enumerate(drawn):
        axes.text(1.03, row, _short(entry.label), transform=axes.get_yaxis_transform(), va="center", color=DARK,
                  parse_math=False)  # fmt: skip


def _set_pressures(panels: Sequence[Axes], drawn: Drawn) -> None:
    places = [kpa for _, entry in drawn if entry.advice for kpa in entry.advice.curve.pressure_kpa]
    panels[0].set_xlim(min(places) / 1.06, max(places) * 1.06)
    for axes in panels:
        set_ticks(axes.xaxis, *axes.get_xlim(), log=True)
        axes.spines[["top", "right"]].set_visible(False)
