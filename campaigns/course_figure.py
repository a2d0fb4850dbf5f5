"""The picture of a campaign's course: the best pressure closing in, what its choice may still cost, the cells in time.

Importing matplotlib takes about half a second, so other modules import this one inside functions only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib.dates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from campaigns.course import Bar, Step, bars, steps
from campaigns.events import Event
from campaigns.figure import BLUE, DARK, DPI, GREEN, GREY, PALE, RED, house_style, save, set_ticks
from campaigns.state import CampaignState, fold

WIDTH, LEFT, RIGHT, TOP, BOTTOM, GAP = 7.2, 0.75, 1.75, 0.42, 0.55, 0.55  # inches
BEST, LOSS, CHANNEL, MOST_CHANNELS, MOST_TICKS = 1.7, 1.0, 0.2, 40, 14  # inches; inches a channel
COLOURS = (BLUE, "#8a4b00", GREEN, RED, "#5b3e99", GREY)
dates: Any = matplotlib.dates  # its types are not all told
STATUS = {"running": BLUE, "ended": DARK, "stopped": GREY, "invalid": RED}
WORDS = {"running": "running", "ended": "ended", "stopped": "stopped alive", "invalid": "invalid"}


def draw(events: Sequence[Event]) -> Figure | None:
    """The figure of a campaign's events; None where there is no answer yet and no cell whose time is known."""
    state, spans = fold(events), bars(events)
    told = [steps(state, number) for number in range(len(state.conditions))]
    channels = min(1 + max((bar.channel for bar in spans), default=-1), MOST_CHANNELS)
    heights = [*([BEST, LOSS] if state.suggestions else []), *([0.35 + CHANNEL * channels] if spans else [])]
    if not heights:
        return None
    with house_style():
        height = TOP + sum(heights) + GAP * (len(heights) - 1) + BOTTOM
        figure = FigureCanvasAgg(Figure(figsize=(WIDTH, height), dpi=DPI)).figure
        figure.text(LEFT / WIDTH, 1 - 0.1 / height, f"The course of {state.name}", va="top", fontsize=10, weight="bold")
        panels = _panels(figure, heights)
        if state.suggestions:
            _draw_best(panels[0], told, state)
            _draw_loss(panels[1], told)
        if spans:
            _draw_bars(panels[-1], spans, datetime.fromisoformat(state.changed), channels)
            _note(figure, len(state.cells) - len(spans), sum(bar.channel >= channels for bar in spans))
    return figure


def write_course(events: Sequence[Event], folder: Path) -> list[Path]:
    """Writes NAME-course.png and .svg, each whole or not at all; nothing where there is nothing to draw."""
    figure = draw(events)
    return save(figure, folder, f"{events[0].campaign}-course") if figure is not None else []


def _panels(figure: Figure, heights: Sequence[float]) -> list[Axes]:
    """One below the other, from the top."""
    whole = float(figure.get_figheight())
    panels, top = [], whole - TOP
    for height in heights:
        box = (LEFT / WIDTH, (top - height) / whole, 1 - (LEFT + RIGHT) / WIDTH, height / whole)
        panels.append(figure.add_axes(box))
        panels[-1].spines[["top", "right"]].set_visible(False)
        top -= height + GAP
    return panels


def _draw_best(axes: Axes, told: Sequence[Sequence[Step]], state: CampaignState) -> None:
    """The best pressure with its 90 % interval, answer by answer."""
    for number, answers in enumerate(told):
        at = [step.revision for step in answers]
        lower, upper = zip(*(step.interval_kpa for step in answers), strict=True)
        name = f"{state.conditions[number]}" if len(told) > 1 else "best pressure"
        look: Any = {"color": COLOURS[number % len(COLOURS)]}
        axes.fill_between(at, lower, upper, alpha=0.18, lw=0, gid="interval", **look)
        axes.vlines(at, lower, upper, lw=1, alpha=0.7, **look)
        axes.plot(at, [step.best_kpa for step in answers], marker="o", ms=4.5, lw=1.4, label=name, gid="best", **look)
    ends = [kpa for answers in told for step in answers for kpa in (*step.interval_kpa, step.best_kpa)]
    axes.set(yscale="log", ylim=(min(ends) / 1.15, max(ends) * 1.15), ylabel="best pressure (kPa)")
    set_ticks(axes.yaxis, *axes.get_ylim(), log=True)
    handles = [*axes.get_legend_handles_labels()[0], Patch(color=PALE, label="90 % interval")]
    _legend(axes, handles)
    _set_revisions(axes, told)


def _draw_loss(axes: Axes, told: Sequence[Sequence[Step]]) -> None:
    """The share of the outcome expected to be lost by the choice of the best pressure, answer by answer."""
    for number, answers in enumerate(told):
        at, percent = [step.revision for step in answers], [100 * step.expected_loss for step in answers]
        axes.plot(at, percent, marker="o", ms=3.5, lw=1.4, color=COLOURS[number % len(COLOURS)], gid="loss")
    axes.set(ylabel="expected\nregret (%)", xlabel="answer (revision of the ledger)")
    axes.set_ylim(0, 1.12 * max(100 * step.expected_loss for answers in told for step in answers) + 0.1)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    _set_revisions(axes, told)


def _set_revisions(axes: Axes, told: Sequence[Sequence[Step]]) -> None:
    at = [step.revision for step in told[0]]
    pad = 0.6 + 0.02 * (max(at) - min(at))
    axes.set_xlim(min(at) - pad, max(at) + pad)
    axes.xaxis.set_major_locator(FixedLocator(at) if len(at) <= MOST_TICKS else MaxNLocator(MOST_TICKS, integer=True))


def _draw_bars(axes: Axes, spans: Sequence[Bar], now: datetime, channels: int) -> None:
    """The cells on their channels; an open end is an arrow, hours that were run before the ledger knew are pale."""
    shown = [bar for bar in spans if bar.channel < channels]
    first, last = _day(min(bar.start for bar in shown)), _day(now)
    room = max((last - first) / 12, 1 / 24)
    for bar in shown:
        start, told, end = _day(bar.start), _day(bar.told), _day(bar.end or now)
        look: Any = {"color": STATUS[bar.status], "height": 0.7, "edgecolor": "white", "lw": 0.6}
        axes.barh(bar.channel, told - start, left=start, alpha=0.35, **look)
        axes.barh(bar.channel, end - told, left=told, alpha=0.9, gid="bar", **look)
        if bar.end is None:
            tip: Any = {"arrowstyle": "-|>", "color": STATUS[bar.status], "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (end + room / 2, bar.channel), (end, bar.channel), arrowprops=tip, gid="open end")
    axes.set(ylim=(channels - 0.4, -0.6), xlim=(first - room / 3, last + room), yticks=range(channels))
    for bar in shown:
        _name(axes, bar, now)
    axes.set(yticklabels=range(1, channels + 1), ylabel="channels", xlabel="time (UTC)")
    locator = dates.AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    _legend(axes, list(_keys(shown)))


def _name(axes: Axes, bar: Bar, now: datetime) -> None:
    """Writes cell and pressure into a bar, the pressure alone where both have no room, else nothing."""
    start, told, end = _day(bar.start), _day(bar.told), _day(bar.end or now)
    pixels = float(np.ptp(axes.transData.transform([(start, 0), (end, 0)])[:, 0]))
    colour = "white" if told < (start + end) / 2 else DARK  # the hours before it was told are pale
    text = axes.text((start + end) / 2, bar.channel, "", ha="center", va="center", fontsize=6, color=colour)
    text.set_parse_math(False)
    name = "".join(letter for letter in bar.cell_id if letter.isprintable())
    for words in (f"{name}, {bar.pressure_kpa:g} kPa", f"{bar.pressure_kpa:g} kPa", f"{bar.pressure_kpa:g}", ""):
        text.set_text(words)
        if not words or text.get_window_extent().width < pixels - 8:
            break


def _day(time: datetime) -> float:
    """Days as matplotlib counts them."""
    return float(dates.date2num(time))


def _keys(shown: Sequence[Bar]) -> Iterator[Any]:
    for status, colour in STATUS.items():
        if any(bar.status == status for bar in shown):
            yield Patch(color=colour, alpha=0.85, label=WORDS[status])
    if any(bar.told > bar.start for bar in shown):
        yield Patch(color=PALE, label="before it was told")
    if any(bar.end is None for bar in shown):
        yield Line2D([], [], marker=">", lw=0, color=BLUE, label="goes on")


def _legend(axes: Axes, handles: Sequence[Any]) -> None:
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=7)


def _note(figure: Figure, silent: int, further: int) -> None:
    """Says which cells are not drawn."""
    notes = (
        [f"{silent} cell{'s' * (silent > 1)} without a bar: planned, or told of only when finished"] if silent else []
    )
    notes += [f"{further} on channels above {MOST_CHANNELS}, not drawn"] if further else []
    figure.text(LEFT / WIDTH, 0.05 / figure.get_figheight(), "; ".join(notes), color=GREY, fontsize=7)
