"""Peaks of a diffraction pattern: where a metal's reflections are, what they hold, and what that says of texture.

The background is taken off by arPLS (Baek et al., Analyst 140, 250 (2015), by pybaselines), the rest fitted in
`campaigns.instruments.peaks`. Of every reflection is said:

    found        its area is above 3 standard deviations, and it stands apart
    missing      its area is less than that
    overlapped   it is within 0.75 widths of a reflection of something else, or of a peak that nothing explains
    displaced    a peak is there, but 0.06 degrees or more from where the others put it: it may be of something else

Texture is told by the ratio of two areas, and by the coefficients of Harris (Phil. Mag. 43, 113 (1952))

    TC(hkl) = (I / I0) / mean of (I / I0)

over the reflections that are found or missing, I0 those of a powder: 1 throughout without texture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from campaigns.instruments import peaks
from campaigns.instruments.crystal import CU_KA1, CU_KA2, Metal, powder_at
from campaigns.instruments.pattern import Pattern
from campaigns.instruments.peaks import Fit, Peak
from campaigns.instruments.series import refusal
from surrogates.errors import UserError

DETECTED = 3.0  # standard deviations
APART = 0.75  # widths: closer reflections cannot be told apart
MAX_SHIFT = 0.3  # degrees: more is another cell, wavelength or axis
SMOOTH = 10.0  # degrees over which the background may bend
UNEXPLAINED = 6.0  # standard deviations
MISFIT = 0.05  # of a peak's area: what the shape of the peak cannot follow is no peak of its own
DISPLACED = 0.06  # degrees, beside the common offset
UNSURE = ("overlapped", "displaced")
State = Literal["found", "missing", "overlapped", "displaced"]


@dataclass(frozen=True)
class Line:
    """A reflection: where it should be and was found (degrees), its area in counts with sd, its width, what it is.

    `disturbed_by`: what it overlaps, or how far it is from where the others put it.
    """

    phase: str
    hkl: str
    expected_deg: float
    found_deg: float
    counts: float
    counts_sd: float
    width_deg: float
    state: State
    disturbed_by: str = ""

    def __str__(self) -> str:
        return f"{self.phase} ({self.hkl})"


@dataclass(frozen=True)
class Value:
    """A number with its standard deviation."""

    value: float
    sd: float


@dataclass(frozen=True)
class Words:
    """How a pattern is read: the metal, other metals in it, the two reflections of the ratio, the doublet.

    `has_ka2`: whether Cu K alpha 2 is in it; None asks the pattern. `powder`: intensities of a powder without texture,
    measured in the same way; else those of the metal's card.
    """

    metal: Metal
    others: tuple[Metal, ...] = ()
    ratio: tuple[str, str] = ("002", "100")
    has_ka2: bool | None = None
    powder: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Diffraction:
    """A pattern measured: its lines, offset (degrees), ratio and texture coefficients, the curves behind them.

    `background`, `fitted` (n,): counts at every angle; `fitted` includes the background.
    """

    pattern: Pattern
    words: Words
    lines: tuple[Line, ...]
    shift: Value
    has_ka2: bool
    ratio: Value | None
    texture: Mapping[str, Value]
    background: np.ndarray
    fitted: np.ndarray
    notes: tuple[str, ...]

    def line(self, hkl: str) -> Line | None:
        """The metal's reflection of these indices, None where the pattern does not reach it."""
        return next((one for one in self.lines if (one.phase, one.hkl) == (self.words.metal.name, hkl)), None)

    def document(self) -> dict[str, Any]:
        """Everything but the curves, for machines and for the record."""
        words = self.words
        return {
            "source": self.pattern.source,
            "sha256": self.pattern.digest,
            "wavelength_angstrom": self.pattern.wavelength,
            "metal": asdict(words.metal),
            "others": [metal.name for metal in words.others],
            "ratio_of": list(words.ratio),
            "powder": dict(words.powder) or words.metal.powder,
            "has_ka2": self.has_ka2,
            "shift_deg": asdict(self.shift),
            "ratio": None if self.ratio is None else asdict(self.ratio),
            "texture_coefficients": {hkl: asdict(value) for hkl, value in self.texture.items()},
            "lines": [asdict(line) for line in self.lines],
            "settings": {"detected_sd": DETECTED, "apart_widths": APART, "background_deg": SMOOTH},
            "notes": list(self.notes),
        }


def diffraction(pattern: Pattern, words: Words) -> Diffraction:
    """What a pattern says of a metal; raises `UserError` where none of the metal's reflections is in it."""
    low, high = float(pattern.two_theta[0]) + MAX_SHIFT, float(pattern.two_theta[-1]) - MAX_SHIFT
    wanted = [
        Peak(metal.name, hkl, angle)
        for metal in (words.metal, *words.others)
        for hkl, angle in metal.reflections(pattern.wavelength, low, high).items()
    ]
    _check(pattern, words, [peak for peak in wanted if peak.phase == words.metal.name])
    level, fit, has_ka2 = _fit(pattern, wanted, words)
    lines = _lines(fit)
    own = [line for line in lines if line.phase == words.metal.name]
    if not any(line.counts > DETECTED * line.counts_sd for line in own):
        found = (
            f"none above the noise within {MAX_SHIFT:g} degrees of {', '.join(f'{x.expected_deg:.2f}' for x in own)}"
        )
        remedy = "Check --wavelength and --metal."
        raise refusal(pattern.source, f"reflections of {words.metal.name}", found, remedy)
    ratio, why = _ratio(fit, lines, words)
    texture, left = _texture(fit, lines, words, pattern)
    notes = (*pattern.notes, *_remarks(fit, lines, words), *why, *left)
    shift = Value(fit.shift, fit.shift_sd)
    return Diffraction(
        pattern, words, lines, shift, has_ka2, ratio, texture, level, level + fit.curve + fit.lift, notes
    )


def background(pattern: Pattern, curve: np.ndarray | float = 0.0) -> np.ndarray:
    """The smooth part of a pattern (n,) beneath `curve` by arPLS, which bends over `SMOOTH` degrees and no faster."""
    from pybaselines import Baseline

    # A penalty lam on second differences passes half of a wave whose period is 2 pi lam^(1/4) points.
    stiffness = (SMOOTH / pattern.step / (2 * np.pi)) ** 4
    level, _ = Baseline(pattern.two_theta).arpls(pattern.counts - curve, lam=stiffness, max_iter=100)
    return np.asarray(level)


def _check(pattern: Pattern, words: Words, own: Sequence[Peak]) -> None:
    span = f"{pattern.two_theta[0]:.2f} to {pattern.two_theta[-1]:.2f} degrees"
    if not own:
        raise refusal(
            pattern.source, f"a pattern that reaches reflections of {words.metal.name}", span, "Check --wavelength."
        )
    known = words.metal.reflections(pattern.wavelength, 0.0, 180.0)
    if unknown := [hkl for hkl in words.ratio if hkl not in known]:
        raise UserError(
            f"ratio: expected reflections of {words.metal.name}, such as {', '.join(list(known)[:6])}; found {unknown[0]!r}."
        )


def _fit(pattern: Pattern, wanted: list[Peak], words: Words) -> tuple[np.ndarray, Fit, bool]:
    """Background and peaks: with K alpha 2 where that explains the pattern better, and what nothing explains.

    A background that was drawn under the peaks follows their tails: it is drawn again without them.
    """
    level = background(pattern)
    choices = [words.has_ka2] if words.has_ka2 is not None else [False, True] if _is_cu_ka1(pattern) else [False]
    fits = [peaks.fit(pattern, level, wanted, MAX_SHIFT, CU_KA2 / CU_KA1 if ka2 else None) for ka2 in choices]
    best = min(range(len(fits)), key=lambda n: fits[n].misfit)
    doublet, fit = CU_KA2 / CU_KA1 if choices[best] else None, fits[best]
    strangers = peaks.unexplained(pattern, level, fit, UNEXPLAINED, MISFIT)
    if strangers:
        fit = peaks.fit(pattern, level, [*wanted, *strangers], MAX_SHIFT, doublet, fit)
    level = background(pattern, fit.curve)
    return level, peaks.fit(pattern, level, [*wanted, *strangers], MAX_SHIFT, doublet, fit), bool(choices[best])


def _is_cu_ka1(pattern: Pattern) -> bool:
    return abs(pattern.wavelength - CU_KA1) < 3e-4


def _lines(fit: Fit) -> tuple[Line, ...]:
    seen = fit.area > DETECTED * fit.area_sd
    expected = np.array([peak.angle for peak in fit.peaks])
    off = fit.place - expected
    known = seen & np.array([peak.phase != "" for peak in fit.peaks])
    off -= np.median(off[known]) if known.any() else fit.shift
    lines = []
    for n, peak in enumerate(fit.peaks):
        apart = np.minimum(abs(fit.place - fit.place[n]), abs(expected - expected[n])) / (fit.width + fit.width[n]) * 2
        near = [
            str(other) for m, other in enumerate(fit.peaks) if m != n and apart[m] < APART and (seen[m] or other.phase)
        ]
        is_off = peak.phase and abs(off[n]) > DISPLACED
        state: State = "overlapped" if near else "missing" if not seen[n] else "displaced" if is_off else "found"
        where = (peak.angle, float(fit.place[n]), float(fit.area[n]), float(fit.area_sd[n]), float(fit.width[n]))
        by = " and ".join(near) if near else f"{abs(off[n]):.2f} degrees" if state == "displaced" else ""
        lines.append(Line(peak.phase, peak.hkl, *where, state, by))
    return tuple(lines)


def _ratio(fit: Fit, lines: Sequence[Line], words: Words) -> tuple[Value | None, list[str]]:
    """Area of the first reflection over that of the second; None, and why, where one of them is not found."""
    name = f"ratio ({words.ratio[0]})/({words.ratio[1]})"
    own = {line.hkl: n for n, line in enumerate(lines) if line.phase == words.metal.name}
    for hkl in words.ratio:
        if hkl not in own:
            return None, [f"{name} not given: the pattern does not reach ({hkl})"]
        if lines[own[hkl]].state in UNSURE:
            return None, [f"{name} not given: ({hkl}) {told(lines[own[hkl]])}"]
    places = [own[hkl] for hkl in words.ratio]
    over, under = (lines[place] for place in places)
    if "missing" in (over.state, under.state):
        return None, [f"{name} not given: {_bound(over, under)}"]
    value = over.counts / under.counts
    # d ln(ratio) = d over / over - d under / under
    slopes = np.array([1 / over.counts, -1 / under.counts])
    return Value(value, value * float(np.sqrt(slopes @ fit.covariance[np.ix_(places, places)] @ slopes))), []


def _bound(over: Line, under: Line) -> str:
    """What a missing reflection leaves to say of the ratio."""
    gone = [line for line in (over, under) if line.state == "missing"]
    if len(gone) == 2:
        return f"neither ({over.hkl}) nor ({under.hkl}) is above the noise"
    line = gone[0]
    most = max(line.counts, 0.0) + 2 * line.counts_sd
    limit = f"above {over.counts / most:.3g}" if line is under else f"below {most / under.counts:.3g}"
    return f"({line.hkl}) is not above the noise (below {most:.3g} counts), so the ratio is {limit}"


def _texture(fit: Fit, lines: Sequence[Line], words: Words, pattern: Pattern) -> tuple[dict[str, Value], list[str]]:
    """Texture coefficients with their sd, of every reflection that powder intensities are known of."""
    powder = dict(words.powder) or powder_at(words.metal, pattern.wavelength)
    chosen = [
        n for n, one in enumerate(lines)
        if one.phase == words.metal.name and one.hkl in powder and one.state not in UNSURE
    ]  # fmt: skip
    if not powder:
        return {}, [
            f"no texture coefficients: no powder card of {words.metal.name} is known; --powder FILE measures one"
        ]
    if len(chosen) < 2:
        return {}, ["no texture coefficients: they need two reflections that stand apart"]
    scale = np.array([powder[lines[n].hkl] for n in chosen])
    relative = np.array([lines[n].counts for n in chosen]) / scale
    mean = float(relative.mean())
    # d TC_i / d I_j = (delta_ij - TC_i / n) / (mean I0_j)
    slopes = (np.eye(len(chosen)) - np.outer(relative / mean, np.full(len(chosen), 1 / len(chosen)))) / (mean * scale)
    sd = np.sqrt(np.diag(slopes @ fit.covariance[np.ix_(chosen, chosen)] @ slopes.T))
    left = [f"({one.hkl})" for one in lines if one.phase == words.metal.name and one.state in UNSURE]
    notes = [f"texture coefficients without {', '.join(left)}"] if left else []
    if not words.powder and not _is_cu_ka1(pattern) and abs(pattern.wavelength - 1.5418) > 1e-3:
        notes.append(
            "the powder card was measured with Cu K alpha; its factor of Lorentz and polarisation was exchanged"
        )
    return {lines[n].hkl: Value(float(r / mean), float(s)) for n, r, s in zip(chosen, relative, sd, strict=True)}, notes


def told(line: Line) -> str:
    """The state of a line in words."""
    if line.state == "overlapped":
        return f"overlaps {line.disturbed_by}: its area is not its own"
    if line.state == "displaced":
        return (
            f"is {line.disturbed_by} from where the others put it: a phase to name with --also, or a strained cell to give "
            "with --metal"
        )
    return line.state


def _remarks(fit: Fit, lines: Sequence[Line], words: Words) -> list[str]:
    """Overlaps, missing reflections, peaks that nothing explains, and a pattern that the peaks' shape does not follow."""
    own = [line for line in lines if line.phase == words.metal.name]
    notes = [f"{line} {told(line)}" for line in own if line.state in UNSURE]
    if gone := [f"({line.hkl})" for line in own if line.state == "missing"]:
        notes.append(f"missing, not above {DETECTED:g} standard deviations: {', '.join(gone)}")
    if strange := [f"{line.found_deg:.2f}" for line in lines if not line.phase and line.state != "missing"]:
        notes.append(f"peaks that nothing explains: {', '.join(strange)} degrees. A substrate? Name it with --also")
    if sum(line.state == "found" for line in own) == 1:
        notes.append("only one reflection was found: the offset of the axis rests on it alone")
    if fit.misfit > 2:
        notes.append(
            f"the peaks' shape does not follow the pattern (chi squared {fit.misfit:.1f}); uncertainties are widened"
        )
    return notes
