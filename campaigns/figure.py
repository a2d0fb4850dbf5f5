"""The picture of a suggestion: outcome over pressure, the cells, the curve, and which pressure comes next.

The prior spans decades and is clipped: limits follow cells and curve. Importing matplotlib takes about half a second,
so other modules import this one inside functions only. It needs no torch, MLflow or pandas.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import RLock
from typing import Any, Literal
from uuid import uuid4

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from campaigns.state import CampaignState
from optimizer.advice import Advice
from surrogates.cells import Cell, Condition
from surrogates.outcomes import Outcome, check_outcome, reading

ImageKind = Literal["png", "svg"]
KINDS_OF_IMAGE: tuple[ImageKind, ...] = ("png", "svg")
WIDTH, HEIGHT, DPI = 7.2, 4.6, 200  # inches, inches, dots per inch
COMPRESSION = 2  # of PNG: a fifth of the time less than by default (6), 7 % larger
NARROW, LEGEND = 3.6, 1.3  # inches: the width for a phone, and the legend below it
LEFT, RIGHT, MARGIN, BOTTOM, LABELS = 0.68, 1.8, 0.08, 0.5, 0.3  # inches; the legend stands in RIGHT
NAME_LENGTH, FOOT = 60, 0.022  # letters; height of planned cells as a fraction of the axes
STYLE: Any = {"font.size": 8, "axes.labelsize": 9, "axes.linewidth": 0.7, "hatch.linewidth": 0.4}
STYLE |= {"hatch.color": "#d6d6d6", "svg.fonttype": "none", "svg.hashsalt": "stackpress"}
SETTINGS = RLock()  # matplotlib's settings belong to the process: one drawing at a time may change them
DARK, GREY, PALE, BLUE, ORANGE, GREEN, RED = "#1a1a1a", "#666666", "#cccccc", "#0b559f", "#f5b731", "#0f7a5a", "#c0268a"
STEM, HEAD = [(0, 1), (0, 3.4)], [(-0.9, 3.4), (0, 5), (0.9, 3.4), (-0.9, 3.4)]
ARROW = Outline.make_compound_path(Outline.unit_circle(), Outline(STEM), Outline(HEAD))
HOLLOW: Any = {"mfc": "white", "mec": DARK, "mew": 1}
KINDS: dict[str, tuple[str, Any]] = {
    "measured": ("cell", {"marker": "o", "ms": 7, "mfc": DARK, "mec": "white"}),
    "stopped": ("cell, stopped alive", {**HOLLOW, "mfc": DARK, "marker": ARROW, "ms": 28}),
    "running": ("cell, running", {**HOLLOW, "marker": ARROW, "ms": 28}),
    "invalid": ("cell, invalid", {"marker": "x", "ms": 6, "mec": GREY, "mew": 1.4}),
    "planned": ("cell, planned", {**HOLLOW, "marker": "^", "ms": 6.5}),
}
NEXT: Any = {"marker": "D", "ms": 6.5, "mfc": ORANGE, "mec": DARK, "color": DARK, "zorder": 3.5}
WINDOW: Any = {"facecolor": (ORANGE, 0.28), "edgecolor": ("#8a6100", 0.6), "lw": 0.6, "zorder": 1.1}
DOTTED: Any = {"color": BLUE, "lw": 1, "linestyle": (0, (1, 1.6)), "zorder": 1.6}
LINES: dict[str, tuple[str, Any]] = {
    "median": ("median curve", {"color": BLUE, "lw": 2, "zorder": 2}),
    "cell_lower": ("one new cell, 90 %", DOTTED),
    "cell_upper": ("_", DOTTED),
    "contact_mode": ("contact mode alone", {"color": GREEN, "lw": 1.1, "dashes": (5, 2.5), "zorder": 1.7}),
    "short_mode": ("short mode alone", {"color": RED, "lw": 1.1, "dashes": (7, 2, 1.2, 2), "zorder": 1.7}),
}
BANDS: dict[str, tuple[str, Any]] = {
    "": ("median, 90 %", {"facecolor": "#c3d5e8", "lw": 0, "zorder": 1}),
    "prior_": ("prior, 90 %", {"facecolor": "none", "edgecolor": PALE, "hatch": "//", "lw": 0.5, "zorder": 0.4}),
}
Groups = dict[tuple[str, bool], list[tuple[float, float]]]


def draw(state: CampaignState, advice: Advice, narrow: bool = False) -> Figure:
    """The figure of what `advice` says about its condition, with the campaign's cells of that pair and electrolyte;
    `narrow`: for a phone, as wide as it is, the legend below."""
    outcome, at = Outcome(check_outcome(advice.outcome), advice.retention_cycles), advice.condition
    cells = [c for c in state.cells if (c.electrode_pair, c.electrolyte) == (at.electrode_pair, at.electrolyte)]
    groups = _groups(cells, at, outcome)
    with house_style():
        right, below = (2 * MARGIN, LEGEND) if narrow else (RIGHT, 0.0)
        width, height = NARROW if narrow else WIDTH, HEIGHT + below
        figure = FigureCanvasAgg(Figure(figsize=(width, height), dpi=DPI)).figure
        top = _header(figure, advice, outcome) + LABELS
        bottom = BOTTOM + below + _footer(figure, state, outcome, len(cells), groups)
        size = (1 - (LEFT + right) / width, 1 - (top + bottom) / height)
        axes = figure.add_axes((LEFT / width, bottom / height, *size))
        _set_axes(axes, state, advice, outcome, groups)
        _draw_cells(axes, groups)
        _draw_curves(axes, advice, outcome)
        _draw_choices(axes, advice, outcome)
        beside: Any = {"bbox_to_anchor": (1.02, 1.02)}
        under: Any = {
            "bbox_to_anchor": (0, (bottom - BOTTOM) / height),
            "bbox_transform": figure.transFigure,
            "ncols": 2,
        }
        legend = axes.legend(loc="upper left", frameon=False, handleheight=1.3, **(under if narrow else beside))
        for line in legend.get_lines():
            line.set_markersize(min(line.get_markersize(), 15))
    return figure


def write_figures(state: CampaignState, folder: Path) -> list[Path]:
    """Writes NAME.png and .svg of the latest suggestion (NAME-2 ... for more conditions), each whole or not at all, and
    NAME-tradeoff.png and .svg where several outcomes are sought."""
    from campaigns.tradeoff_figure import draw_tradeoff

    written: list[Path] = []
    for number, advice in enumerate(state.latest.advice if state.latest else (), start=1):
        name = state.name if number == 1 else f"{state.name}-{number}"
        written += save(draw(state, advice), folder, name)
        if beside := draw_tradeoff(advice):
            written += save(beside, folder, f"{name}-tradeoff")
    return written


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes NAME.png and .svg, each whole or not at all."""
    written: list[Path] = []
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS_OF_IMAGE:
        part, path = folder / f".{uuid4().hex}.part", folder / f"{name}.{kind}"
        try:
            part.write_bytes(image(figure, kind))
            written.append(part.replace(path))
        finally:
            part.unlink(missing_ok=True)
    return written


def image(figure: Figure, kind: ImageKind) -> bytes:
    """A figure as a PNG or SVG; the same figure gives the same bytes."""
    content = BytesIO()
    with house_style():
        how: Any = {"metadata": {"Date": None}} if kind == "svg" else {"pil_kwargs": {"compress_level": COMPRESSION}}
        figure.savefig(content, format=kind, dpi=DPI, **how)
    return content.getvalue()


@contextmanager
def house_style() -> Iterator[None]:
    """The defaults of matplotlib with STYLE, whatever style the caller has set; the caller's come back afterwards."""
    with SETTINGS, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def _groups(cells: Sequence[Cell], at: Condition, outcome: Outcome) -> Groups:
    """Pressure and axis value of the cells with this outcome, by kind and whether the current density differs."""
    groups: Groups = {}
    for cell in cells:
        other = (cell.current_density, cell.current_density_unit) != (at.current_density, at.current_density_unit)
        read = reading(cell.model_copy(update={"status": "ended"}) if cell.status == "invalid" else cell, outcome)
        if cell.status == "planned":
            groups.setdefault(("planned", other), []).append((cell.pressure_kpa, FOOT))
        elif read is not None:
            kind = cell.status if read.censored or cell.status == "invalid" else "measured"
            groups.setdefault((kind, other), []).append((cell.pressure_kpa, scaled(outcome.from_y(read.y), outcome)))
    return groups


def scaled(values: Any, outcome: Outcome) -> Any:
    """Values as the axis shows them: fractions in percent."""
    return np.multiply(values, 100 if outcome.is_loss else 1)


def _footer(figure: Figure, state: CampaignState, outcome: Outcome, cells: int, groups: Groups) -> float:
    """Writes what the figure leaves out; returns the inches it takes."""
    silent, name = cells - sum(map(len, groups.values())), outcome.label.split(" (")[0]
    notes = [f"{silent} cell{'s' * (silent > 1)} without {name} not drawn"] if silent else []
    notes += ["* at another current density"] if any(other for _, other in groups) else []
    notes += [] if state.is_current else ["cells changed after the curve was computed"]
    figure.text(
        LEFT / figure.get_figwidth(), MARGIN / figure.get_figheight(), "; ".join(notes), color=GREY, gid="notes"
    )
    return 0.17 if notes else 0.0


def _number(value: float) -> str:
    return f"{float(f'{value:.3g}'):.10g}"


def _header(figure: Figure, advice: Advice, outcome: Outcome) -> float:
    """Writes title, best pressure and caution; returns their lower edge in inches from the top."""
    at, best, text = advice.condition, advice.best, outcome.text
    names = ("".join(c if c.isprintable() else " " for c in name) for name in (at.electrode_pair, at.electrolyte))
    what = " in ".join(name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…" for name in names)
    current = f"{at.current_density:g} {at.current_density_unit}".replace("cm2", "cm²")
    title = f"{what} at {current}: {outcome.label.split(' (')[0]}"
    spans = (" to ".join(map(_number, best.interval_kpa)), f"{text(best.lower, unit=False)} to {text(best.upper)}")
    line = f"Best pressure {_number(best.pressure_kpa)} kPa (90 %: {spans[0]} kPa); median there {text(best.median)} "
    line += f"(90 %: {spans[1]})."
    if best.verdict == "no effect":
        line = f"No pressure stands out: it does not matter here with probability {100 * best.no_effect:.0f} %."
    top = _write_below(figure, title, MARGIN, fontsize=10, fontweight="bold", color=DARK, gid="title")
    top = _write_below(figure, line, top, fontsize=8.5, color=DARK, gid="best")
    return _write_below(figure, f"Caution: {advice.caution}." if advice.caution else "", top, color=GREY, gid="caution")


def _write_below(figure: Figure, words: str, top: float, **style: Any) -> float:
    """Writes `words`, never read as mathtext, in three lines or less; `top` and the lower edge: inches from the top."""
    width, height = figure.get_size_inches()
    text = figure.text(LEFT / width, 1 - top / height, "", va="top", parse_math=False, **style)
    for columns in range(130, 10, -5):
        text.set_text("\n".join(textwrap.wrap(words, columns, max_lines=3, placeholder=" …")))
        if text.get_window_extent().width <= (width - LEFT - MARGIN) * figure.dpi:
            break
    return float(top + text.get_window_extent().height / figure.dpi + 0.06)


def _set_axes(axes: Axes, state: CampaignState, advice: Advice, outcome: Outcome, groups: Groups) -> None:
    curve, log = advice.curve, not outcome.is_loss
    places = [*state.rig.pressure_kpa, *curve.pressure_kpa, *(x for points in groups.values() for x, _ in points)]
    values = [y for (kind, _), points in groups.items() if kind != "planned" for _, y in points]
    axes.set(xscale="log", xlim=(min(places) / 1.06, max(places) * 1.06), xlabel="stacking pressure (kPa)")
    axes.set(yscale="log" if log else "linear", ylabel=outcome.label if log else f"{outcome.label} (%)")
    axes.set_ylim(
        axis_limits([*values, *scaled(curve.median, outcome)], scaled(curve.lower + curve.upper, outcome), log)
    )
    set_ticks(axes.xaxis, *axes.get_xlim(), log=True)
    set_ticks(axes.yaxis, *axes.get_ylim(), log=log)
    axes.spines[["top", "right"]].set_visible(False)


def axis_limits(core: Sequence[float], band: Any, log: bool) -> tuple[float, float]:
    """Axis ends that hold `core`, widened towards `band` by no more than a decade (log) or the span of `core`."""
    inner, outer = (np.log10(core), np.log10(band)) if log else (np.array(core), band)
    room = 1.0 if log else max(float(np.ptp(inner)), 1.0)
    low = float(max(min(inner.min(), outer.min()), inner.min() - room))
    high = float(min(max(inner.max(), outer.max()), inner.max() + room))
    pad = 0.06 * (high - low) + 0.01
    if log:
        return 10 ** (low - pad), 10 ** (high + 1.6 * pad)
    return 0.0 if low < 25 else low - pad, min(high + pad, 100 + 0.02 * (100 - low))


def set_ticks(axis: Axis, low: float, high: float, log: bool) -> None:
    """Plain numbers: 1, 2, 5, 10 ... on a log axis, only decades on a very long one, even steps on a short one."""
    end = high if log else min(high, 100)
    tens: Any = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1) if log else np.array([])
    even: Any = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, end)
    inside: Any = [ticks[(low <= ticks) & (ticks <= end)] for ticks in (np.outer(tens, (1, 2, 5)).ravel(), tens, even)]
    axis.set_major_locator(FixedLocator(next((some for some in inside if 3 <= len(some) <= 10), inside[-1])))
    axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{round(tick, 9):.10g}"))
    axis.set_minor_locator(LogLocator(subs=range(1, 10)) if log else NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _draw_cells(axes: Axes, groups: Groups) -> None:
    for kind, other in sorted(groups, key=lambda group: (list(KINDS).index(group[0]), group[1])):
        label, style = KINDS[kind]
        gid, label = f"cells-{kind}{'-other' * other}", label + "*" * other
        look = {**style, "alpha": 0.4 if other else 1, "zorder": 4 - other, "clip_on": False, "linestyle": ""}
        look |= {"transform": axes.get_xaxis_transform()} if kind == "planned" else {}
        axes.plot(*zip(*groups[kind, other], strict=True), gid=gid, label=label, **look)


def _draw_curves(axes: Axes, advice: Advice, outcome: Outcome) -> None:
    curve = advice.curve.model_dump()
    for name, (label, style) in LINES.items():
        axes.plot(curve["pressure_kpa"], scaled(curve[name], outcome), gid=name, label=label, **style)
    for name, (label, style) in BANDS.items():
        lower, upper = (scaled(curve[f"{name}{end}"], outcome) for end in ("lower", "upper"))
        axes.fill_between(curve["pressure_kpa"], lower, upper, gid=f"{name}band", label=label, **style)


def _draw_choices(axes: Axes, advice: Advice, outcome: Outcome) -> None:
    """The window with the best pressure, and each next pressure: a line, a marker on the curve, a label above."""
    best, first, named = advice.best, advice.proposals[0].pressure_kpa if advice.proposals else 0, []
    if best.window_kpa is not None:
        axes.axvspan(*best.window_kpa, gid="window", label="window, within 5 %", **WINDOW)
        named.append((best.pressure_kpa, f"best: {_number(best.pressure_kpa)} kPa"))
    for (pressure, median), count in Counter((p.pressure_kpa, p.median) for p in advice.proposals).items():
        axes.axvline(pressure, color=DARK, lw=1, zorder=1.9, gid="next-line")
        axes.plot(pressure, scaled(median, outcome), gid="next", label="_" * (pressure != first) + "next cell", **NEXT)
        word = "optional: " if all(p.verdict == "stop" for p in advice.proposals) else "next: "
        prefix = word if len(advice.proposals) < 4 else ""
        named.append((pressure, f"{prefix}{_number(pressure)} kPa" + f" ({count} cells)" * (count > 1)))
    _draw_labels(axes, sorted(named))


def _draw_labels(axes: Axes, named: Sequence[tuple[float, str]]) -> None:
    """Labels above the axes in order of pressure, tied to it, moved apart where they would meet."""
    tie = {"arrowstyle": "-", "lw": 0.8, "shrinkA": 0, "shrinkB": 0, "relpos": (0.5, 0), "color": DARK}
    at: Any = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "annotation_clip": False}
    texts = [axes.annotate(text, (x, 1), (0, 9), gid="label", ha="center", arrowprops=tie, **at) for x, text in named]
    starts = np.array([text.get_window_extent().x0 for text in texts])
    wide = np.array([text.get_window_extent().width + 20 for text in texts])
    left, right = starts.copy(), starts.copy()
    for i in range(1, len(texts)):
        right[i] = max(right[i], right[i - 1] + wide[i - 1])
        left[-1 - i] = min(left[-1 - i], left[-i] - wide[-1 - i])
    for text, pixels in zip(texts, (left + right) / 2 - starts, strict=True):
        text.set_position((pixels * 72 / DPI, 9))
