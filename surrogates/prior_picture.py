"""A picture of a prior: where the best pressure may lie, and what curves it holds possible, before any cell is built.

The curves are draws of the model itself (`fit` without cells), each divided by its own best, so that the outcome's
level drops out. Importing matplotlib takes about half a second and torch more: other modules import this one inside functions
only.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from threading import RLock
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from surrogates.cells import Condition
from surrogates.errors import UserError
from surrogates.gp import DOMAIN_KPA, one_thread, tensor
from surrogates.inference import HYPOTHESES
from surrogates.mechanisms import log_pressure
from surrogates.outcomes import OUTCOMES
from surrogates.prior import LogNormal, Prior
from surrogates.prior_table import LOWER, UPPER
from surrogates.surrogate import fit, pressure_grid

KINDS = (".png", ".svg", ".pdf")
WIDTH, HEIGHT, DPI = 7.2, 5.6, 200  # inches, inches, dots per inch
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.72, 1.9, 0.64, 0.5, 0.3  # inches; the legends stand in RIGHT
SHOWN, DRAWS, SEEDS, POINTS = 30, 800, 8, 161  # curves to look at; curves in the band, a seed; seeds; pressures
REFERENCE = Condition(electrode_pair="any||any", electrolyte="any", current_density=1, current_density_unit="mA/cm2")
MOST_TICKS = 6
SETTINGS = RLock()  # matplotlib's settings belong to the process
STYLE: Any = {"font.size": 8, "axes.labelsize": 9, "axes.linewidth": 0.7}
STYLE |= {"svg.fonttype": "none", "svg.hashsalt": "stackpress"}
DARK, GREY, BLUE, BAND, RED = "#1a1a1a", "#666666", "#0b559f", "#c3d5e8", "#c0268a"
LOOKS: dict[str, tuple[str, Any]] = {
    "physics": ("two competing\ndegradation modes", {"color": BLUE, "alpha": 0.45}),
    "no effect": ("no effect\nof pressure", {"color": DARK, "linestyle": (0, (4, 2)), "alpha": 0.9}),
    "free": ("a free curve\nwithout physics", {"color": RED, "alpha": 0.6}),
}


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawn prior. A notebook displays it; `save` writes it. `figure` is matplotlib's."""

    figure: Figure = field(compare=False)
    title: str

    @classmethod
    def of(cls, prior: Prior) -> Picture:
        """The picture of `prior`, the same every time."""
        return cls(draw(prior), f"Prior {prior.name}, version {prior.version}")

    def save(self, path: str | Path) -> None:
        """Write the picture; the ending says how: .png, .svg or .pdf."""
        path = Path(path)
        if path.suffix.lower() not in KINDS:
            raise UserError(f"{path}: expected a picture to end in {', '.join(KINDS)}; found {path.suffix!r}.")
        with SETTINGS, matplotlib.rc_context(STYLE):
            try:
                self.figure.savefig(path, dpi=DPI)
            except OSError as error:
                raise UserError(f"{path}: expected a file that can be written; found {error.strerror}.") from None

    def _repr_png_(self) -> bytes:
        png = BytesIO()
        self.figure.savefig(png, format="png", dpi=DPI / 2)
        return png.getvalue()

    def __repr__(self) -> str:
        return f"<Picture of {self.title}>"


def draw(prior: Prior, seed: int = 0) -> Figure:
    """The figure: the density of the best pressure above, curves relative to their best below, on one axis in kPa."""
    pressures = _pressures(prior.best_pressure)
    with SETTINGS, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = FigureCanvasAgg(Figure(figsize=(WIDTH, HEIGHT), dpi=DPI)).figure
        _write_header(figure, prior)
        height = HEIGHT - TOP - BOTTOM - GAP
        upper, lower = (
            figure.add_axes(
                (LEFT / WIDTH, bottom / HEIGHT, 1 - (LEFT + RIGHT) / WIDTH, share * height / HEIGHT), xscale="log"
            )
            for bottom, share in ((BOTTOM + 0.66 * height + GAP, 0.34), (BOTTOM, 0.66))
        )
        _draw_best_pressure(upper, prior.best_pressure, pressures)
        _draw_curves(lower, prior, pressures, seed)
        for axes in (upper, lower):
            _set_pressure_axis(axes, pressures)
        upper.tick_params(labelbottom=False)
        lower.set_xlabel("stacking pressure (kPa)")
    return figure


def relative_curves(prior: Prior, pressure_kpa: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`count` curves drawn from the prior at P pressures, each as a share of its own best there, (count, P), and which
    of HYPOTHESES each belongs to, (count,)."""
    outcome = next(name for name in OUTCOMES if name in prior.levels)
    posterior = fit([], outcome, prior, seed).posterior(REFERENCE)
    x, u = tensor(log_pressure(pressure_kpa)), tensor(0.0)
    with one_thread():
        generator = torch.Generator().manual_seed(seed)
        few = posterior.thinned(count, generator)
        curves = few.draws(x, u, count, generator)
        return (curves - curves.amax(1, keepdim=True)).exp().numpy(), few.hypothesis.numpy()


def _pressures(best: LogNormal) -> np.ndarray:
    """Pressures that hold nearly all of the best pressure's density, but beyond the model's residual, which ends at
    DOMAIN_KPA, only its 90 %."""
    low, high = (min(best.quantile(0.003), best.median / 4), max(best.quantile(0.997), best.median * 4))
    lowest, highest = DOMAIN_KPA
    low, high = max(low, min(lowest, best.quantile(LOWER))), min(high, max(highest, best.quantile(UPPER)))
    return pressure_grid((low, high), POINTS)


def _write_header(figure: Figure, prior: Prior) -> None:
    title = f"Prior {prior.name}, version {prior.version}"
    style: Any = {"va": "top", "parse_math": False}
    figure.text(0.1 / WIDTH, 1 - 0.1 / HEIGHT, title, fontsize=10, fontweight="bold", color=DARK, **style)
    summary = "\n".join(textwrap.wrap(prior.summary, 115, max_lines=2, placeholder=" …"))
    figure.text(0.1 / WIDTH, 1 - 0.32 / HEIGHT, summary, fontsize=8.5, color=DARK, **style)


def _draw_best_pressure(axes: Axes, best: LogNormal, pressures: np.ndarray) -> None:
    def density(at: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-0.5 * (np.log(at / best.median) / best.sd_ln) ** 2))

    low, high = best.quantile(LOWER), best.quantile(UPPER)
    inside = np.geomspace(low, high, POINTS)
    axes.fill_between(inside, density(inside), color=BAND, lw=0, gid="best-range")
    axes.plot(pressures, density(pressures), color=BLUE, lw=1.6, gid="best-density")
    axes.plot([best.median] * 2, [0, 1], color=DARK, lw=1, gid="best-median")
    axes.set(ylim=(0, 1.08), yticks=[], ylabel="density of the\nbest pressure")
    axes.spines[["top", "right", "left"]].set_visible(False)
    handles: list[Any] = [
        Line2D([], [], color=DARK, lw=1, label=f"median {_kpa(best.median)} kPa"),
        Patch(facecolor=BAND, label=f"90 %: {_kpa(low)} to\n{_kpa(high)} kPa"),
    ]
    _write_legend(axes, "Best pressure", handles)


def _draw_curves(axes: Axes, prior: Prior, pressures: np.ndarray, seed: int) -> None:
    band = np.concatenate([relative_curves(prior, pressures, DRAWS, seed + 1 + i)[0] for i in range(SEEDS)])
    low, middle, high = 100 * np.quantile(band, [LOWER, 0.5, UPPER], axis=0)
    axes.fill_between(pressures, low, high, color=BAND, alpha=0.6, lw=0, zorder=0.5, gid="band")
    curves, hypothesis = relative_curves(prior, pressures, SHOWN, seed)
    for curve, index in zip(100 * curves, hypothesis, strict=True):
        name = HYPOTHESES[index]
        axes.plot(pressures, curve, lw=0.8, zorder=1 + (name != "physics"), gid=f"curve-{name}", **LOOKS[name][1])
    axes.plot(pressures, middle, color=DARK, lw=2, zorder=3, gid="median")
    axes.set(ylim=(0, 104), ylabel="median life, share of the best (%)")
    axes.spines[["top", "right"]].set_visible(False)
    _write_legend(axes, f"Curves it holds possible,\n{SHOWN} of them drawn", _curve_handles(prior))


def _curve_handles(prior: Prior) -> list[Any]:
    rivals = {"no effect": prior.no_effect.probability, "free": prior.no_physics.probability}
    shares = {"physics": 1 - sum(rivals.values()), **rivals}
    return [
        *(
            Line2D([], [], lw=1.2, label=f"{100 * shares[name]:.3g} %: {words}", **look)
            for name, (words, look) in LOOKS.items()
        ),
        Line2D([], [], color=DARK, lw=2, label="median of all"),
        Patch(facecolor=BAND, alpha=0.6, label="90 % of all"),
    ]


def _write_legend(axes: Axes, title: str, handles: list[Any]) -> None:
    place: Any = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.03), "borderaxespad": 0}
    legend = axes.legend(handles=handles, title=title, frameon=False, labelspacing=0.9, **place)
    legend.set_alignment("left")
    legend.get_title().set_fontweight("bold")


def _set_pressure_axis(axes: Axes, pressures: np.ndarray) -> None:
    low, high = float(pressures[0]), float(pressures[-1])
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1)
    choices = [np.outer(decades, steps).ravel() for steps in ((1, 2, 5), (1, 3), (1,))]
    inside = [ticks[(low <= ticks) & (ticks <= high)] for ticks in choices]
    ticks = next((some for some in inside if len(some) <= MOST_TICKS), inside[-1])
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{round(tick, 9):.10g}"))
    axes.xaxis.set_minor_locator(LogLocator(subs=range(1, 10)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", color="#e6e6e6", lw=0.6, zorder=0)
    axes.set_axisbelow(True)


def _kpa(value: float) -> str:
    return f"{float(f'{value:.2g}'):.10g}"
