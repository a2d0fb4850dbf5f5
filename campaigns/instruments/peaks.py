"""The fit of peaks: areas, positions and widths of known reflections, all at once, with their covariance.

Each peak is a pseudo-Voigt of full width w at half its height,

    A ((1 - eta) 2/w sqrt(ln 2 / pi) exp(-4 ln 2 u^2 / w^2) + eta 2/(pi w) / (1 + 4 u^2 / w^2)),   u = x - place

(Wertheim et al., Rev. Sci. Instrum. 45, 1369 (1974)), with K alpha 2 one of half its area where the source has it. Around
the peaks a straight line is fitted for what the background missed. An offset of the axis, w and eta are common to all
peaks; a single place may differ by some 0.03 degrees (strain, height of the specimen), a single width by some 20 %
(crystallite size): these are normal priors in the fit. Weights are the variance that the fit expects, not the one that was
counted, which would bias few counts low.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares
from scipy.signal import find_peaks

from campaigns.instruments.pattern import Pattern

PLACE_SD, WIDTH_SD = 0.03, 0.2  # degrees; of the logarithm
MAX_PLACE = 0.15  # degrees: what is further off is another peak
WINDOW, LEAST_WINDOW = 10.0, 1.2  # half of it: in widths, and in degrees
WIDTHS = (0.06, 0.1, 0.16, 0.25, 0.4, 0.63, 1.0)  # degrees, where the search begins
KA2_PART = 1 / 3  # of the doublet's area
ROUNDS = 3  # of weights
LEAST_PART = 0.002  # of the strongest peak: less is its tail


@dataclass(frozen=True)
class Peak:
    """A reflection looked for: of which phase ("" for a peak that nothing explains), its indices, where (degrees)."""

    phase: str
    hkl: str
    angle: float

    def __str__(self) -> str:
        return f"{self.phase} ({self.hkl})" if self.phase else f"a peak at {self.angle:.2f} degrees"


@dataclass(frozen=True)
class Fit:
    """Of m peaks: `area` (m,) in counts, `covariance` (m, m), `place` and `width` (m,) in degrees.

    `curve`, `lift` (n,): the peaks, and the lines beneath them, above the background at every angle of the pattern.
    `misfit`: chi squared per degree of freedom.
    """

    peaks: tuple[Peak, ...]
    area: np.ndarray
    covariance: np.ndarray
    place: np.ndarray
    width: np.ndarray
    shift: float
    shift_sd: float
    eta: float
    curve: np.ndarray
    lift: np.ndarray
    misfit: float

    @property
    def area_sd(self) -> np.ndarray:
        """Standard deviation of the areas (m,)."""
        return np.sqrt(np.diag(self.covariance))


def fit(
    pattern: Pattern,
    level: np.ndarray,
    peaks: Sequence[Peak],
    max_shift: float,
    doublet: float | None = None,
    start: Fit | None = None,
) -> Fit:
    """Fits `peaks` to the pattern above `level` (n,); `doublet`: wavelength of K alpha 2 over that of K alpha 1."""
    shift, width = (
        (start.shift, float(np.exp(np.mean(np.log(start.width)))))
        if start
        else search(pattern, level, peaks, max_shift)
    )
    task = _task(pattern, level, peaks, width, doublet)
    values = np.zeros(3 + 3 * len(peaks) + 2 * task.groups)
    values[:3] = shift, np.log(width), 0.4
    values[3 : 3 + len(peaks)] = _areas(pattern, level, peaks, shift, width)
    low, high = np.full((2, len(values)), [[-np.inf], [np.inf]])
    low[:3], high[:3] = (-max_shift, np.log(pattern.step), 0.0), (max_shift, np.log(3.0), 1.0)
    places = slice(3 + len(peaks), 3 + 2 * len(peaks))
    low[places], high[places] = -MAX_PLACE, MAX_PLACE
    values[:3] = np.clip(values[:3], low[:3] + 1e-6, high[:3] - 1e-6)
    expected = np.maximum(task.model(values)[0], 0) + np.maximum(task.level, 0)
    for _ in range(ROUNDS):
        sd = np.sqrt(task.variance(expected))
        solved = least_squares(task.residual, values, task.slopes, bounds=(low, high), x_scale="jac", args=(sd,))
        values, expected = solved.x, np.maximum(task.model(solved.x)[0] + task.level, 0)
    return _solved(pattern, peaks, task, values, sd, solved.jac)


def search(pattern: Pattern, level: np.ndarray, peaks: Sequence[Peak], max_shift: float) -> tuple[float, float]:
    """The offset and width (degrees) at which the places of the peaks are filled best.

    The logarithm lets many reflections in their places count for more than one strong peak of something else.
    """
    shifts = np.arange(-max_shift, max_shift + 1e-9, 0.01)
    best = (-1.0, 0.0, WIDTHS[2])
    for width in (width for width in WIDTHS if width > 1.5 * pattern.step):
        signal = matched(pattern, level, np.zeros_like(level), width)
        seen = [np.maximum(np.interp(peak.angle + shifts, pattern.two_theta, signal), 0) for peak in peaks]
        total = np.sum(np.log1p(np.square(seen)), axis=0)
        place = int(np.argmax(total))
        best = max(best, (float(total[place]), float(shifts[place]), width))
    return best[1], best[2]


def matched(pattern: Pattern, level: np.ndarray, curve: np.ndarray, width: float) -> np.ndarray:
    """Signal over noise (n,) of a Gaussian peak of `width` degrees at every angle, above `level` and `curve` (n,)."""
    reach = max(int(2 * width / pattern.step), 2)
    shape = np.exp(-4 * np.log(2) * (np.arange(-reach, reach + 1) * pattern.step / width) ** 2)
    shape -= shape.mean()  # a background that is off by a constant is no peak
    noise = pattern.variance(np.maximum(level + curve, 0))
    over = np.convolve(pattern.counts - level - curve, shape, "same")
    return np.asarray(over / np.sqrt(np.convolve(noise, shape**2, "same")))


def unexplained(pattern: Pattern, level: np.ndarray, fit: Fit, limit: float, part: float) -> list[Peak]:
    """Peaks left over: above `limit` standard deviations, and above `part` of any peak within some widths of them."""
    width = float(np.exp(np.mean(np.log(fit.width))))
    rest = pattern.counts - level - fit.curve - fit.lift
    signal = matched(pattern, level, fit.curve + fit.lift, width)
    reach = max(int(width / pattern.step), 1)
    places, _ = find_peaks(signal, height=limit, distance=max(reach, 1))
    found = []
    for place in places:
        angle = float(pattern.two_theta[place])
        area = float(rest[max(place - reach, 0) : place + reach + 1].sum())
        near = fit.area[np.abs(fit.place - angle) < 5 * width]
        if area > max(part * max(near, default=0.0), LEAST_PART * fit.area.max()):
            found.append(Peak("", "", angle - fit.shift))
    return found


def _areas(pattern: Pattern, level: np.ndarray, peaks: Sequence[Peak], shift: float, width: float) -> np.ndarray:
    """Areas (m,) to begin with: what is within one width of the place."""
    net = pattern.counts - level
    inside = [np.abs(pattern.two_theta - peak.angle - shift) < width for peak in peaks]
    return np.array([max(float(net[mask].sum()), 1.0) for mask in inside])


class Shape(NamedTuple):
    """A profile (n,) of area 1 and its derivatives by place, by the width's logarithm and by eta."""

    value: np.ndarray
    by_place: np.ndarray
    by_width: np.ndarray
    by_eta: np.ndarray


def pseudo_voigt(u: np.ndarray, width: float, eta: float) -> Shape:
    """The profile at `u` (n,) degrees from its place."""
    square = (u / width) ** 2
    gauss = 2 / width * np.sqrt(np.log(2) / np.pi) * np.exp(-4 * np.log(2) * square)
    lorentz = 2 / (np.pi * width) / (1 + 4 * square)
    steep = 8 * square / (1 + 4 * square)
    return Shape(
        (1 - eta) * gauss + eta * lorentz,
        (1 - eta) * gauss * 8 * np.log(2) * u / width**2 + eta * lorentz * 8 * u / width**2 / (1 + 4 * square),
        (1 - eta) * gauss * (8 * np.log(2) * square - 1) + eta * lorentz * (steep - 1),
        lorentz - gauss,
    )


def profile(angle: np.ndarray, place: float, width: float, eta: float, doublet: float | None) -> Shape:
    """A peak of area 1 at `angle` (n,), with K alpha 2 beside K alpha 1 where there is a doublet."""
    first = pseudo_voigt(angle - place, width, eta)
    if doublet is None:
        return first
    second = pseudo_voigt(angle - _second(place, doublet), width, eta)
    return Shape(*((1 - KA2_PART) * one + KA2_PART * two for one, two in zip(first, second, strict=True)))


def _second(place: float, doublet: float) -> float:
    """Where K alpha 2 is, of a K alpha 1 at `place`."""
    return 2 * math.degrees(math.asin(min(math.sin(math.radians(place / 2)) * doublet, 1.0)))


@dataclass(frozen=True)
class _Task:
    """The points near peaks, and the model over them.

    Values: offset, log width, eta; m areas, m places, m log widths beside the common ones; a constant and a slope a group.
    """

    angle: np.ndarray
    net: np.ndarray
    level: np.ndarray
    variance: Callable[[np.ndarray], np.ndarray]
    expected: np.ndarray
    prior_sd: np.ndarray
    group_of_point: np.ndarray
    group_of_peak: np.ndarray
    step: float
    doublet: float | None

    @property
    def groups(self) -> int:
        """How many stretches of the pattern there are."""
        return int(self.group_of_peak.max()) + 1

    def model(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counts above the background (k,), and their derivatives (k, v)."""
        m = len(self.expected)
        shift, log_width, eta = values[:3]
        total, slopes = np.zeros(len(self.angle)), np.zeros((len(self.angle), len(values)))
        for n in range(m):
            here = self.group_of_point == self.group_of_peak[n]
            area, place, wider = values[3 + n], values[3 + m + n], values[3 + 2 * m + n]
            center, width = self.expected[n] + shift + place, float(np.exp(log_width + wider))
            shape = Shape(*(self.step * part for part in profile(self.angle[here], center, width, eta, self.doublet)))
            total[here] += area * shape.value
            slopes[here, 3 + n] = shape.value
            for column, by in ((0, shape.by_place), (3 + m + n, shape.by_place), (1, shape.by_width),
                               (3 + 2 * m + n, shape.by_width), (2, shape.by_eta)):  # fmt: skip
                slopes[here, column] += area * by
        for group in range(self.groups):
            here, column = self.group_of_point == group, 3 + 3 * m + 2 * group
            slopes[here, column], slopes[here, column + 1] = 1.0, self.angle[here] - self.angle[here].mean()
        lines = slice(3 + 3 * m, None)
        return total + slopes[:, lines] @ values[lines], slopes

    def residual(self, values: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Differences over their sd, then those of the priors (k + 2 m,)."""
        m = len(self.expected)
        priors = values[3 + m : 3 + 3 * m] / self.prior_sd
        return np.concatenate([(self.model(values)[0] - self.net) / sd, priors])

    def slopes(self, values: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Derivatives of `residual` (k + 2 m, v)."""
        m = len(self.expected)
        priors = np.zeros((2 * m, len(values)))
        priors[np.arange(2 * m), 3 + m + np.arange(2 * m)] = 1 / self.prior_sd
        return np.vstack([self.model(values)[1] / sd[:, None], priors])


def _task(pattern: Pattern, level: np.ndarray, peaks: Sequence[Peak], width: float, doublet: float | None) -> _Task:
    """The windows around the peaks; those that touch are one group."""
    expected = np.array([peak.angle for peak in peaks])
    reach = max(WINDOW * width, LEAST_WINDOW)
    near = np.abs(pattern.two_theta[:, None] - expected).min(axis=1) < reach
    group = np.cumsum(np.diff(near.astype(int), prepend=0) == 1) - 1
    place = np.searchsorted(pattern.two_theta, expected).clip(0, len(near) - 1)
    variance = pattern.variance if pattern.stated is None else lambda _: pattern.stated[near]
    # A peak that nothing explains says nothing of the offset.
    places = [PLACE_SD if peak.phase else MAX_PLACE for peak in peaks]
    prior_sd = np.array([*places, *(WIDTH_SD for _ in peaks)])
    return _Task(
        pattern.two_theta[near], (pattern.counts - level)[near], level[near], variance, expected, prior_sd,
        group[near], group[place], pattern.step, doublet,
    )  # fmt: skip


def _solved(
    pattern: Pattern, peaks: Sequence[Peak], task: _Task, values: np.ndarray, sd: np.ndarray, slopes: np.ndarray
) -> Fit:
    m = len(peaks)
    residual = task.residual(values, sd)
    misfit = float(residual @ residual) / max(len(task.angle) - (3 + m + 2 * task.groups), 1)
    size = np.linalg.norm(slopes, axis=0)  # areas of millions beside degrees would be lost in rounding
    size[size == 0] = 1.0
    covariance = np.linalg.pinv((slopes / size).T @ (slopes / size)) / np.outer(size, size) * max(misfit, 1.0)
    shift, log_width, eta = (float(value) for value in values[:3])
    place = task.expected + shift + values[3 + m : 3 + 2 * m]
    width = np.exp(log_width + values[3 + 2 * m : 3 + 3 * m])
    curve, lift = np.zeros((2, len(pattern.two_theta)))
    for at, wide, area in zip(place, width, values[3 : 3 + m], strict=True):
        curve += area * pattern.step * profile(pattern.two_theta, at, wide, eta, task.doublet).value
    lift[np.isin(pattern.two_theta, task.angle)] = task.model(values)[1][:, 3 + 3 * m :] @ values[3 + 3 * m :]
    areas = slice(3, 3 + m)
    return Fit(
        tuple(peaks), values[areas], covariance[areas, areas], place, width, shift, float(np.sqrt(covariance[0, 0])),
        eta, curve, lift, misfit,
    )  # fmt: skip
