"""The picture of `xrd`: a pattern with what was integrated and what not, or a series with its ratio over the patterns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from campaigns.figure import BLUE, DARK, GREEN, GREY, ORANGE, PALE, RED, house_style
from campaigns.instruments.diffraction import UNSURE, Diffraction, Line
from campaigns.instruments.picture import DPI, save

WIDTH, HEIGHT = 7.2, 5.6
SHOWN = 2.0  # widths to each side of a peak that are filled
MOST_NOTES, LETTERS = 4, 112
EACH = 40  # patterns at most in the waterfall


def write(found: Sequence[Diffraction], path: Path) -> Path:
    """Writes the figure of one pattern, or of a series; the ending of `path` says the format (.png, .svg, .pdf)."""
    with house_style():
        figure = FigureCanvasAgg(Figure(figsize=(WIDTH, HEIGHT), dpi=DPI)).figure
        _single(figure, found[0]) if len(found) == 1 else _series(figure, found)
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(length=3, width=0.6)
        save(figure, path)
    return path


def _single(figure: Figure, one: Diffraction) -> None:
    top = _head(figure, Path(one.pattern.source).name, [_ratio_text(one), *one.notes])
    ratios = [2.6, 1.0] if one.texture else [1.0]
    grid = figure.add_gridspec(
        len(ratios), 1, height_ratios=ratios, left=0.1, right=0.97, top=top, bottom=0.09, hspace=0.42
    )
    _pattern(figure.add_subplot(grid[0]), one)
    if one.texture:
        _texture(figure.add_subplot(grid[1]), one)


def _pattern(axes: Axes, one: Diffraction) -> None:
    angle, counts = one.pattern.two_theta, one.pattern.counts
    axes.plot(angle, counts, ".", ms=1.6, color=GREY, alpha=0.7, zorder=1)
    axes.plot(angle, one.background, color=ORANGE, lw=1.2, zorder=2, label="background")
    axes.plot(angle, one.fitted, color=DARK, lw=0.7, zorder=3, label="fit")
    high = float(np.max(counts))
    low = min(float(np.min(one.background)), float(np.min(counts)))
    labels: list[tuple[float, float, str, Any]] = []
    for line in sorted(one.lines, key=lambda line: line.found_deg):
        inside = np.abs(angle - line.found_deg) < SHOWN * line.width_deg
        if not inside.any():
            continue
        color, text = _look(line, one.words.metal.name)
        if line.state != "missing":
            hatch: Any = "////" if line.state in UNSURE else None
            face = "none" if hatch else (color, 0.35)
            axes.fill_between(
                angle[inside], one.background[inside], one.fitted[inside], facecolor=face, edgecolor=color, hatch=hatch,
                lw=0.5, zorder=2.5,
            )  # fmt: skip
        labels.append((line.found_deg, float(max(one.fitted[inside].max(), counts[inside].max())), text, color))
    _label(axes, labels, high - low)
    axes.set(
        xlabel=f"2 theta (degrees), wavelength {one.pattern.wavelength:g} angstrom", ylabel="counts",
        xlim=(angle[0], angle[-1]), ylim=(low - 0.03 * (high - low), high + 0.2 * (high - low)),
    )  # fmt: skip
    axes.legend(frameon=False, fontsize=7.5, loc="upper right", ncols=2)


def _look(line: Line, metal: str) -> tuple[str, str]:
    """Colour and text of a line: the metal's own, another metal's, unexplained."""
    if not line.phase:
        return RED, "?" if line.state != "missing" else ""
    name = f"({line.hkl})" if line.phase == metal else str(line)
    if line.state == "missing":
        return GREY, f"{name}\nmissing"
    if line.state in UNSURE:
        return (RED if line.phase == metal else GREEN), f"{name}\n{line.state}"
    return (BLUE if line.phase == metal else GREEN), name


def _label(axes: Axes, labels: list[tuple[float, float, str, Any]], span: float) -> None:
    """Names above the peaks; one close to the last and as high is lifted over it."""
    low, high = axes.get_xlim()
    last, lines = (-np.inf, -np.inf), 1
    for at, top, text, color in labels:
        lifted = top + 0.02 * span
        if at - last[0] < 0.06 * (high - low) and abs(lifted - last[1]) < 0.13 * span:
            lifted = last[1] + (0.03 + 0.055 * lines) * span
        axes.text(
            at, lifted, text, color=color, fontsize=7.5, ha="center", va="bottom", linespacing=0.95, clip_on=False
        )
        last, lines = (at, lifted), text.count("\n") + 1


def _texture(axes: Axes, one: Diffraction) -> None:
    names, values = list(one.texture), list(one.texture.values())
    axes.bar(names, [value.value for value in values], yerr=[value.sd for value in values], color=(BLUE, 0.55), width=0.6,
             error_kw={"lw": 1, "ecolor": DARK, "capsize": 2})  # fmt: skip
    axes.axhline(1, color=PALE, lw=0.8, zorder=0)
    axes.set(ylabel="texture\ncoefficient", xlabel="reflection; 1 throughout is a powder without texture")


def _series(figure: Figure, found: Sequence[Diffraction]) -> None:
    known = [(n, one.ratio) for n, one in enumerate(found, 1) if one.ratio is not None]
    notes = [f"{len(found)} patterns, the ratio is known of {len(known)}"]
    notes += [f"{Path(one.pattern.source).name}: {note}" for one in found for note in one.notes if "not given" in note]
    names = f"{Path(found[0].pattern.source).name} to {Path(found[-1].pattern.source).name}"
    top = _head(figure, names, notes)
    grid = figure.add_gridspec(1, 2, width_ratios=[1.5, 1], left=0.06, right=0.97, top=top, bottom=0.11, wspace=0.22)
    _waterfall(figure.add_subplot(grid[0]), found)
    axes = figure.add_subplot(grid[1])
    if known:
        number, ratio = [n for n, _ in known], [value for _, value in known]
        axes.errorbar(number, [value.value for value in ratio], [value.sd for value in ratio], fmt="o", ms=4, color=BLUE,
                      capsize=2, lw=1)  # fmt: skip
        mean = float(np.mean([value.value for value in ratio]))
        axes.axhline(mean, color=ORANGE, lw=1.4, zorder=0.5, label=f"mean {mean:.3g}")
        axes.legend(frameon=False, fontsize=7.5)
    else:
        axes.text(0.5, 0.5, "no ratio", transform=axes.transAxes, ha="center", color=GREY)
    first, second = found[0].words.ratio
    axes.set(xlabel="pattern", ylabel=f"({first}) / ({second})", xlim=(0.4, len(found) + 0.6))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _waterfall(axes: Axes, found: Sequence[Diffraction]) -> None:
    chosen = found[:: -(-len(found) // EACH)]
    gap = 0.6 * float(np.median([np.max(one.fitted - one.background) for one in chosen]))
    for n, one in enumerate(chosen):
        base = n * gap
        axes.fill_between(one.pattern.two_theta, base, base + one.fitted - one.background, color=(BLUE, 0.2), lw=0,
                          zorder=len(chosen) - n)  # fmt: skip
        axes.plot(one.pattern.two_theta, base + one.pattern.counts - one.background, color=DARK, lw=0.4,
                  zorder=len(chosen) - n)  # fmt: skip
    for line in chosen[0].lines:
        if line.phase:
            color, text = _look(line, chosen[0].words.metal.name)
            axes.axvline(line.found_deg, color=color, lw=0.5, linestyle=(0, (1, 2)), zorder=0)
            axes.text(line.found_deg, 1.0, text.split("\n")[0], transform=axes.get_xaxis_transform(), fontsize=7, rotation=90,
                      color=color, ha="right", va="top")  # fmt: skip
    axes.set(xlabel="2 theta (degrees)", ylabel="counts above background, first pattern lowest", yticks=[])
    axes.set_xlim(chosen[0].pattern.two_theta[0], chosen[0].pattern.two_theta[-1])


def _ratio_text(one: Diffraction) -> str:
    name = f"({one.words.ratio[0]})/({one.words.ratio[1]})"
    offset = f"offset of the axis {one.shift.value:+.3f} degrees{', with K alpha 2' if one.has_ka2 else ''}"
    value = "not given" if one.ratio is None else f"{one.ratio.value:.3g} (sd {one.ratio.sd:.2g})"
    return f"{one.words.metal.name} {name}: {value}; {offset}"


def _head(figure: Figure, title: str, lines: Sequence[str]) -> float:
    """Title and lines of text; returns the fraction of the height at which panels begin."""
    figure.text(0.06, 0.975, title, va="top", fontsize=10, fontweight="bold", color=DARK, parse_math=False)
    wrapped = [part for line in lines[:MOST_NOTES] for part in textwrap.wrap(line, LETTERS, subsequent_indent="   ")][
        :6
    ]
    figure.text(0.06, 0.938, "\n".join(wrapped), va="top", fontsize=8, color=GREY, linespacing=1.45, parse_math=False)
    return 0.9 - 0.0285 * len(wrapped)
