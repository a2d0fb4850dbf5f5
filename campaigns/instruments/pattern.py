"""Diffraction patterns from files of two or three columns: 2 theta or q, counts, and their standard deviation.

.xy, .xye, .dat, .txt, .csv and sheets of .xlsx are known by their content: lines before the numbers are a header. The
wavelength is always said by the user; which axis it is, by the header or the user.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from campaigns.instruments.flat import Table, opened
from campaigns.instruments.series import refusal
from surrogates.errors import UserError

Axis = Literal["2theta", "q", "q_nm"]
"""2 theta in degrees; q = 4 pi sin(theta) / lambda in 1/angstrom or 1/nm."""

LEAST_POINTS, MOST_POINTS = 50, 500_000
LEAST_SPLIT = 10  # rows before the pattern that are no header any more
EXPORT = "Export the pattern as two columns of text (.xy): 2 theta and counts."
_Q = re.compile(r"(?:^|[^a-z0-9])q(?:$|[^a-z0-9])|q_|(?:å|a|nm) ?\^? ?[-−]1|1/(?:å|a|nm)", re.IGNORECASE)
_NM = re.compile(r"nm", re.IGNORECASE)
_ANGLE = re.compile(r"2 ?-?_?(?:th|θ)|two_?-? ?theta|tth|angle|deg", re.IGNORECASE)


@dataclass(frozen=True)
class Pattern:
    """A pattern as read, by rising 2 theta (degrees).

    `counts` (n,): intensity. `gain`, `floor`: its variance is gain * intensity, and not below floor; the gain of counted
    photons is 1. `stated` (n,): the variance by the file, where it is another. `wavelength`: angstrom.
    """

    two_theta: np.ndarray
    counts: np.ndarray
    wavelength: float
    gain: float
    floor: float
    stated: np.ndarray | None
    source: str
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def step(self) -> float:
        """Usual distance of the points (degrees)."""
        return float(np.median(np.diff(self.two_theta)))

    def variance(self, expected: np.ndarray) -> np.ndarray:
        """The variance of every point (n,), where `expected` (n,) counts are: of what was counted it would be biased."""
        return self.stated if self.stated is not None else np.asarray(np.maximum(self.gain * expected, self.floor))


def read_pattern(path: Path, wavelength: float, axis: Axis | None = None) -> Pattern:
    """The pattern in a file; raises `UserError` with one message where there is none, or more than one."""
    if not 0.05 < wavelength < 5:
        raise UserError(f"wavelength: expected one in angstrom, as in 1.5406 for Cu K alpha 1; found {wavelength:g}.")
    with opened(path) as (sample, tables):
        if not tables:
            raise refusal(str(path), "a diffraction pattern as text", "another kind of file", EXPORT)
        head, rows = max((_block(table, path) for table in tables), key=lambda found: len(found[1]))
        digest = sample.digest
    if len(rows) < LEAST_POINTS:
        found = f"{len(rows)} lines of numbers" if rows else "no lines of two numbers"
        raise refusal(str(path), f"a pattern of {LEAST_POINTS} points or more", found, EXPORT)
    columns = np.array(rows).T
    if len(columns) > 3:
        found = f"{len(columns)} columns"
        raise refusal(str(path), "an axis, counts and perhaps their deviation", found, "One pattern a file. " + EXPORT)
    angle, notes = _angles(columns[0], wavelength, axis or _axis(head, columns[0], path), path)
    order = np.argsort(angle, kind="stable")
    angle, counts = angle[order], columns[1][order]
    if (np.diff(angle) <= 0).any():
        where = angle[int(np.argmin(np.diff(angle)))]
        found = f"two points at {where:g} degrees"
        raise refusal(str(path), "every angle once", found, "One pattern a file: sum or split the scans. " + EXPORT)
    if not np.isfinite(counts).all() or not (counts > 0).any():
        raise refusal(str(path), "counts", "none above 0, or ones that are no numbers", EXPORT)
    stated = _stated(columns[2][order], path) if len(columns) == 3 else None
    gain, floor, told = _noise(counts) if stated is None else _noise_of(counts, stated)
    stated = None if gain else stated
    return Pattern(angle, counts, wavelength, gain, floor, stated, str(path), digest, (*notes, *told))


def looks_like_one(path: Path) -> bool:
    """Whether a file that is no test may be a pattern: two or three columns of numbers, the first an even axis."""
    try:
        with opened(path) as (_, tables):
            _, rows = max((_block(table, path) for table in tables), key=lambda found: len(found[1]), default=("", []))
    except UserError:
        return False
    if len(rows) < LEAST_POINTS or len(rows[0]) > 3:
        return False
    steps = np.diff([row[0] for row in rows])
    return bool(steps.min() > 0 and steps.max() < 3 * np.median(steps))


def _block(table: Table, path: Path) -> tuple[str, list[list[float]]]:
    """The longest run of lines of numbers, all as wide as the first; and the lines before it.

    Raises `UserError` where something else interrupts the numbers: half a pattern is none.
    """
    with table.path.open(encoding="utf-8-sig", errors="replace") as stream:
        lines = [line.strip() for line, _ in zip(stream, range(MOST_POINTS), strict=False)]
    parsed = [_numbers(line) for line in lines]
    edges = [0, *(n for n, (one, other) in enumerate(pairwise(parsed), 1) if len(one) != len(other)), len(parsed)]
    runs = [(start, end) for start, end in pairwise(edges) if parsed[start : start + 1] and len(parsed[start]) >= 2]
    if not runs:
        return "\n".join(lines[:20]), []
    start, end = max(runs, key=lambda run: run[1] - run[0])
    others = [run for run in runs if len(parsed[run[0]]) == len(parsed[start]) and run != (start, end)]
    if any(one >= end or other - one >= LEAST_SPLIT for one, other in others):
        broken = end if any(one >= end for one, _ in others) else start - 1
        place = f"{path}, line {broken + 1}"
        raise refusal(place, "rows of numbers one after the other", repr(lines[broken][:60]), "Repair it. " + EXPORT)
    return "\n".join(lines[:start]), parsed[start:end]


def _numbers(line: str) -> list[float]:
    """The numbers of a line, with decimal points or decimal commas; [] where anything else stands in it."""
    for separators, comma in ((r"[;\t]\s*|\s+", True), (r"[,;]\s*|\s+", False)):
        fields = [field for field in re.split(separators, line) if field]
        if len(fields) < 2:
            continue
        try:
            return [float(field.replace(",", ".") if comma else field) for field in fields]
        except ValueError:
            continue
    return []


def _axis(head: str, values: np.ndarray, path: Path) -> Axis:
    """What the first column is, by the header; without one, degrees where they cannot be q."""
    last = next((line for line in reversed(head.splitlines()) if line), "")
    for text in (last, head):
        if _ANGLE.search(text):
            return "2theta"
        if _Q.search(text):
            return "q_nm" if _NM.search(text) else "q"
    if values.max() > 20:
        return "2theta"
    found = f"values from {values.min():g} to {values.max():g} without a header that names them"
    raise refusal(str(path), "2 theta or q", found, "Say which: --axis 2theta, --axis q (1/angstrom) or --axis q_nm.")


def _angles(values: np.ndarray, wavelength: float, axis: Axis, path: Path) -> tuple[np.ndarray, list[str]]:
    """The first column as 2 theta (degrees)."""
    if not np.isfinite(values).all():
        raise refusal(str(path), "numbers as the axis", "one that is none", EXPORT)
    if axis == "2theta":
        if values.min() <= -5 or values.max() >= 180:
            found = f"values from {values.min():g} to {values.max():g}"
            raise refusal(str(path), "2 theta from 0 to 180 degrees", found, "Is it q, or are columns swapped?")
        return values, []
    sine = values * (0.1 if axis == "q_nm" else 1.0) * wavelength / (4 * np.pi)
    if values.min() < 0 or sine.max() >= 1:
        found = f"{values.max():g}, beyond 4 pi / lambda"
        raise refusal(str(path), "q that this wavelength can reach", found, "Check --wavelength and --axis.")
    return 2 * np.degrees(np.arcsin(sine)), [f"q in 1/{'nm' if axis == 'q_nm' else 'angstrom'} was turned into 2 theta"]


def _stated(sd: np.ndarray, path: Path) -> np.ndarray:
    """The variance (n,) by the file's standard deviations."""
    if not (np.isfinite(sd).all() and (sd >= 0).all() and (sd > 0).any()):
        raise refusal(str(path), "standard deviations above 0 in column 3", "others", "Leave the column out.")
    return np.asarray(np.maximum(sd, sd[sd > 0].min()) ** 2)


def _noise_of(counts: np.ndarray, stated: np.ndarray) -> tuple[float, float, list[str]]:
    """Gain and floor of a stated variance that is proportional to the counts, 0 where it is not."""
    ratio = stated[counts > 0] / counts[counts > 0]
    gain = float(np.median(ratio))
    is_gain = float(np.median(np.abs(ratio / gain - 1))) < 0.02
    return (gain, gain * float(counts[counts > 0].min()), []) if is_gain else (0.0, 0.0, [])


def _noise(counts: np.ndarray) -> tuple[float, float, list[str]]:
    """Gain and floor of what was counted; of other intensities by the scatter between the points."""
    if (counts >= 0).all() and (counts == counts.round()).all():
        return 1.0, 0.3, []
    # Second differences of neighbours leave noise: their variance is 6 times that of a point.
    noise = np.abs(np.convolve(counts, [1.0, -2.0, 1.0], "valid")) / (np.sqrt(6) * 0.6745)
    level = np.maximum(np.convolve(counts, np.full(3, 1 / 3), "valid"), 0)
    variance = float(np.median(noise)) ** 2
    gain = variance / float(np.median(level)) if (counts >= 0).all() else 0.0
    floor = max(variance * (0.1 if gain else 1.0), 1e-12 * float(counts.max()) ** 2)
    what = "not whole numbers" if gain else "below 0 in places (a background was taken off before)"
    return gain, floor, [f"intensities are {what}; their uncertainty was taken from the scatter between the points"]
