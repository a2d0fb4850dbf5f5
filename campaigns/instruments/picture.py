"""The picture of `inspect`: voltage over time, charge and efficiency per cycle, and what was detected and why.

Of millions of records a column of pixels keeps the least and the largest voltage, so no spike is lost.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from campaigns.figure import BLUE, DARK, GREEN, GREY, ORANGE, PALE, RED, house_style
from campaigns.instruments.cycles import WORDS
from campaigns.instruments.life import Mode
from campaigns.instruments.measure import Measurement
from campaigns.instruments.series import SURFACE, TIME, VOLTAGE, refusal

WIDTH, HEIGHT, DPI = 7.2, 6.6, 200
COLUMNS = 1600  # of pixels, in which voltage is drawn
BEYOND = 3.0  # times the usual voltage: what is larger is left outside
FAILURES: dict[Mode, str] = {"short": "hard short", "soft_short": "soft short", "contact_loss": "contact lost"}


def draw(one: Measurement, title: str = "") -> Figure:
    """The figure of a measured test."""
    has_pressure = one.pressure is not None and SURFACE in one.test.frame.columns
    with house_style():
        figure = FigureCanvasAgg(Figure(figsize=(WIDTH, HEIGHT), dpi=DPI)).figure
        top = _head(figure, one, title)
        heights = [2.2, 1.2, 1.2] + [0.8] * has_pressure
        grid = figure.add_gridspec(
            len(heights), 1, height_ratios=heights, left=0.1, right=0.97, top=top, bottom=0.075, hspace=0.42
        )
        panels = [figure.add_subplot(grid[n]) for n in range(len(heights))]
        _voltage(panels[0], one)
        _charge(panels[1], one)
        _efficiency(panels[2], one)
        if has_pressure:
            _pressure(panels[3], one)
        for axes in panels:
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(length=3, width=0.6)
    return figure


def write(one: Measurement, path: Path, title: str = "") -> Path:
    """Writes the figure; the ending of `path` says the format (.png, .svg, .pdf)."""
    figure = draw(one, title)
    with house_style():
        save(figure, path)
    return path


def save(figure: Figure, path: Path) -> None:
    """Saves a figure; raises `UserError` for a name that it cannot have."""
    try:
        figure.savefig(path, dpi=DPI)
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error).split(" (")[0]
        raise refusal(
            f"figure {path}", "a name ending in .png, .svg or .pdf, in a folder there is", cause, ""
        ) from None


def _head(figure: Figure, one: Measurement, title: str) -> float:
    """Title, and what was found, in words; returns the fraction of the height at which panels begin."""
    figure.text(
        0.1,
        0.975,
        title or Path(one.test.source).name,
        va="top",
        fontsize=10,
        fontweight="bold",
        color=DARK,
        parse_math=False,
    )
    lines = [line for text in _findings(one) for line in textwrap.wrap(text, 112, subsequent_indent="   ")][:6]
    figure.text(0.1, 0.945, "\n".join(lines), va="top", fontsize=8, color=GREY, linespacing=1.45, parse_math=False)
    return 0.915 - 0.0245 * len(lines)


def _findings(one: Measurement) -> list[str]:
    status, reason = one.status
    hours = one.row().get("cycle_life_h", one.life.life_h)
    sure = "" if status == "ended" else " so far"
    found = [
        f"{status}{f' ({reason})'.replace('_', ' ') if reason else ''}: {hours:.4g} h, {one.life.life_cycles} whole cycles{sure}"
    ]
    found += [f"half-cycle {sign.half}: {sign.text}" for sign in one.life.evidence[:2]]
    if ce := one.metrics.get("coulombic_efficiency"):
        span = (
            f"cycles {ce.settings['first_cycle']} to {ce.settings['last_cycle']}"
            if "first_cycle" in ce.settings
            else "reservoir"
        )
        found.append(f"mean CE {ce.value:.2%} ({span})")
    if one.nucleation:
        tip = one.nucleation
        found[-1] += (
            f"; nucleation tip {tip.tip_mv:.1f} mV, plateau {tip.plateau_mv:.1f} mV, difference {tip.difference_mv:.1f} mV"
        )
    return [*found, *one.notes[:2]]


def _voltage(axes: Axes, one: Measurement) -> None:
    hours, volts = _thinned(one.test.frame)
    axes.plot(hours, volts, color=BLUE, lw=0.6, solid_joinstyle="round")
    usual, largest = (float(size) for size in np.nanquantile(np.abs(volts), [0.9, 1.0]))
    if one.words.kind != "full":
        axes.axhline(0, color=PALE, lw=0.6, zorder=0)
        if largest > BEYOND * usual > 0:  # a cut-off far above the plateau would flatten it
            axes.set_ylim(-BEYOND * usual, BEYOND * usual)
            text = f"cut-offs to {largest:.2g} V are beyond this axis"
            box = {"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1}
            axes.text(0.005, 0.03, text, transform=axes.transAxes, fontsize=7, color=GREY, bbox=box)
    axes.set(xlabel="time (h)", ylabel="voltage (V)", xlim=(0, max(hours[-1], 1e-6) * 1.01))
    if one.life.mode is not None:
        at = one.life.life_h
        axes.axvspan(at, hours[-1], color=RED, alpha=0.07, lw=0)
        axes.axvline(at, color=RED, lw=1)
        text = f"{FAILURES[one.life.mode]} at {at:.4g} h"
        axes.annotate(text, (at, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                      ha="center" if at < 0.6 * hours[-1] else "right", color=RED, fontsize=8)  # fmt: skip


def _charge(axes: Axes, one: Measurement) -> None:
    words = WORDS[one.words.kind or "full"]
    largest = 0.0
    for name, word, color, marker in (("in_ah", words[0], GREY, "o"), ("out_ah", words[1], BLUE, "D")):
        known = one.cycles.filter(pl.col(name).is_not_null())
        charge = known[name].to_numpy() * 1000
        axes.plot(known["cycle"], charge, marker, ms=3.2, color=color, mec="white", mew=0.3, label=word, clip_on=False)
        largest = max(largest, *charge, 0.0)
    axes.set(ylabel="charge (mAh)", ylim=(0, 1.1 * largest or 1))
    axes.legend(frameon=False, fontsize=7.5, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.97), handletextpad=0.1)
    _by_cycle(axes, one)


def _efficiency(axes: Axes, one: Measurement) -> None:
    known = one.cycles.filter(pl.col("efficiency").is_not_null())
    number, percent = known["cycle"].to_numpy(), known["efficiency"].to_numpy() * 100
    if not len(percent):
        axes.text(0.5, 0.5, "no whole cycle", transform=axes.transAxes, ha="center", color=GREY)
    else:
        low, high = _window(percent)
        failed = known["end_s"].to_numpy() > one.life.life_h * 3600 if one.life.mode else np.zeros(len(percent), bool)
        style: Any = {"ms": 3.4, "mec": GREEN, "mew": 0.7, "clip_on": False, "linestyle": ""}
        for mask, fill in ((~failed, GREEN), (failed, "white")):
            for part, marker in (
                (percent > high, "^"),
                (percent < low, "v"),
                ((percent >= low) & (percent <= high), "o"),
            ):
                shown = mask & part
                axes.plot(number[shown], np.clip(percent[shown], low, high), marker=marker, mfc=fill, **style)
        axes.set_ylim(low, high)
        if low < 100 < high:
            axes.axhline(100, color=PALE, lw=0.7, zorder=0)
    ce = one.metrics.get("coulombic_efficiency")
    if ce is not None and "first_cycle" in ce.settings:
        ends = [ce.settings["first_cycle"], ce.settings["last_cycle"]]
        axes.plot(ends, [100 * ce.value] * 2, color=ORANGE, lw=1.6, label=f"mean {ce.value:.2%}", zorder=1.5)
        axes.legend(frameon=False, fontsize=7.5, loc="lower right", bbox_to_anchor=(1, 0.97))
    axes.set(xlabel="cycle (open: after the failure)" if one.life.mode else "cycle", ylabel="CE (%)")
    _by_cycle(axes, one)


def _window(percent: np.ndarray) -> tuple[float, float]:
    """Limits that show the middle of the values; what lies outside stands at the edge."""
    low, high = (float(end) for end in np.quantile(percent, [0.05, 0.95]))
    room = max(high - low, 0.5)
    return max(low - room, 0.0), max(min(high + room, 112.0), 100.3)


def _by_cycle(axes: Axes, one: Measurement) -> None:
    if len(one.cycles):
        first, last = int(one.cycles["cycle"][0]), int(one.cycles["cycle"][-1])
        axes.set_xlim(first - 0.6, last + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _pressure(axes: Axes, one: Measurement) -> None:
    frame = one.test.frame.select(TIME, SURFACE).drop_nulls()
    step = max(1, len(frame) // COLUMNS)
    axes.plot(frame[TIME][::step] / 3600, frame[SURFACE][::step] / 1000, color=ORANGE, lw=1)
    axes.set(xlabel="time (h)", ylabel="pressure (kPa)", xlim=(0, max(one.test.frame[TIME][-1] / 3600, 1e-6) * 1.01))


def _thinned(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Hours and volts, of each stretch of the test the least and the largest, in the order they came."""
    if len(frame) <= 4 * COLUMNS:
        return frame[TIME].to_numpy() / 3600, frame[VOLTAGE].to_numpy()
    span = float(frame[TIME][-1]) or 1.0
    bins = (pl.col(TIME) * (COLUMNS / span)).cast(pl.Int64)
    rows = (
        frame.with_row_index("row")
        .group_by(bins.alias("bin"))
        .agg(
            pl.col("row").get(pl.col(VOLTAGE).arg_min()).alias("low"),
            pl.col("row").get(pl.col(VOLTAGE).arg_max()).alias("high"),
        )
    )
    chosen = frame[pl.concat([rows["low"], rows["high"]]).unique().sort()]
    return chosen[TIME].to_numpy() / 3600, chosen[VOLTAGE].to_numpy()
