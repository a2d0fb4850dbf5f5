"""The picture of a trade-off: one outcome against another along the pressure, what is unbeaten, and the compromise."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from campaigns.figure import BLUE, DARK, DPI, GREY, ORANGE, house_style
from optimizer.advice import Advice, Tradeoff
from surrogates.outcomes import Outcome, check_outcome

PANEL, HEIGHT = 4.4, 3.9  # inches
UNBEATEN = 0.5
NAMED_KPA = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
POINTS: Any = {"marker": "o", "ls": "", "mec": "white", "mew": 0.5}


def draw_tradeoff(advice: Advice) -> Figure | None:
    """A panel for each outcome beside the first, pressures along the line; None where one outcome is sought."""
    found = advice.tradeoff
    if found is None:
        return None
    others = range(1, len(found.outcomes))
    with house_style():
        figure = FigureCanvasAgg(Figure(figsize=(PANEL * len(others), HEIGHT), dpi=DPI, layout="constrained")).figure
        figure.suptitle(
            f"{advice.condition.electrode_pair} in {advice.condition.electrolyte}: what each pressure gives"
        )
        for number, axes in zip(others, figure.subplots(1, len(others), squeeze=False)[0], strict=True):
            _panel(axes, found, advice, number)
    return figure


def _panel(axes: Axes, found: Tradeoff, advice: Advice, number: int) -> None:
    first, other = (Outcome(check_outcome(found.outcomes[i]), advice.retention_cycles) for i in (0, number))
    x, y = (_scaled(outcome, found.median[i]) for outcome, i in ((first, 0), (other, number)))
    axes.plot(x, y, color=GREY, lw=1, zorder=1, label="median curves, along the pressure")
    kept = [i for i, share in enumerate(found.unbeaten) if share >= UNBEATEN]
    axes.plot(
        [x[i] for i in kept], [y[i] for i in kept], **POINTS, ms=6, color=BLUE, label="no pressure is better in all"
    )
    best = found.pressure_kpa.index(found.compromise_kpa)
    look: Any = {"marker": "D", "ms": 8, "mec": DARK, "color": ORANGE, "ls": "", "zorder": 4}
    axes.plot(x[best], y[best], **look, label=f"compromise: {found.compromise_kpa:g} kPa")
    for kpa in NAMED_KPA:
        if found.pressure_kpa[0] <= kpa <= found.pressure_kpa[-1]:
            i = min(range(len(x)), key=lambda at, kpa=kpa: abs(found.pressure_kpa[at] / kpa - 1))  # type: ignore[misc]
            axes.plot(x[i], y[i], marker="o", ms=3, color=DARK, zorder=3)
            axes.annotate(f"{kpa} kPa", (x[i], y[i]), (5, -9), textcoords="offset points", fontsize=7, color=DARK)
    axes.set(xlabel=_label(first), ylabel=_label(other))
    axes.margins(0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", frameon=False, fontsize=7)


def _scaled(outcome: Outcome, values: tuple[float, ...]) -> list[float]:
    return [100 * value if outcome.is_loss else value for value in values]


def _label(outcome: Outcome) -> str:
    return f"{outcome.label} (%)" if outcome.is_loss else outcome.label
