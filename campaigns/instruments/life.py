"""When a cell died and why, from its curves: evidence first, a verdict from it, the user's word above both.

    hard short     |V| collapses to a small, ohmic value and does not come back
    soft short     part of the current leaks: |V| dips for a while, more is stripped than was plated, CE scatters
    contact loss   |V| rises far above what it was, or a half-cycle ends long before its time

Sources: failure modes of plating/stripping tests and their signs, domain E3 (soft shorts give an illusion of stability,
Ji & Nazar 2023, 10.1038/s41893-023-01257-8); the thresholds are judgement, and every one can be set in `Limits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import polars as pl

from campaigns.instruments.cycles import Kind
from campaigns.instruments.series import TIME, VOLTAGE, Series
from surrogates.errors import UserError

Mode = Literal["short", "soft_short", "contact_loss"]
RECORDS = 2000  # of a half-cycle are looked at, evenly: more records show no more


@dataclass(frozen=True)
class Limits:
    """Where evidence begins. Levels are fractions of the usual |V| of the half-cycles before in the same direction."""

    collapse: float = 0.5  # |V| below this, to the end of the half-cycle and in the next: hard short
    dip: float = 0.82  # |V| below this for `dip_part` of a half-cycle: soft short
    dip_part: float = 0.06
    dip_noise: float = 1.5  # and lower than that by this many times the noise of the half-cycle before
    settle_part: float = 0.03  # the beginning of a half-cycle, in which voltage settles, is not looked at
    efficiency: float = 1.01  # more than this stripped of what was plated: soft short
    efficiency_jump: float = 8.0  # of the usual scatter of CE: a cycle that stands out
    least_jump: float = 0.03  # and by this much at least
    cut_off: float = 0.6  # a strip that ends below this part of the usual last voltage did not reach its cut-off
    rise: float = 3.0  # |V| above this in two half-cycles in a row: contact loss
    charge: float = 0.5  # a plating with less than this part of the usual charge ended before its time: contact loss
    noise: float = 0.1  # residual scatter of |V| over its level: a noisy contact, told but no end
    memory: int = 12  # half-cycles that make what is usual


def limits_of(texts: Sequence[str]) -> Limits:
    """The limits with those changed that "name=value" says; raises `UserError`."""
    usual, changed = asdict(Limits()), {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            changed[name.strip()] = type(usual[name.strip()])(value)
        except (KeyError, ValueError):
            known = ", ".join(f"{name}={value:g}" for name, value in usual.items())
            raise UserError(f"limit: expected a name and a number, of {known}; found {text!r}.") from None
    if low := [name for name, value in changed.items() if not 0 < value < 1000]:
        raise UserError(f"limit {low[0]}: expected a number above 0; found {changed[low[0]]:g}.")
    return Limits(**changed)


@dataclass(frozen=True)
class Evidence:
    """One sign of failure: which mode, in which half-cycle, when (s of test time), and in words."""

    mode: Mode
    half: int
    time_s: float
    text: str


@dataclass(frozen=True)
class Life:
    """How far the test went, and its failure if there is one.

    `life_h`, `life_cycles`: at the failure, else reached so far; cycles are whole ones before it. `mode`: None while
    the cell lives. `evidence`: every sign up to the verdict; `remarks`: what is no end but should be known.
    """

    life_h: float
    life_cycles: int
    mode: Mode | None
    evidence: tuple[Evidence, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Half:
    """A half-cycle at work: times (s) and |V| of its records without the settling ones; smoothed, and their median."""

    number: int
    direction: int
    charge_ah: float
    last_v: float
    time_s: np.ndarray
    size_v: np.ndarray
    smooth_v: np.ndarray
    level_v: float


def judge(test: Series, halves: pl.DataFrame, cycles: pl.DataFrame, kind: Kind, limits: Limits = Limits()) -> Life:
    """The life of a plating, symmetric or full cell. Fade of a full cell is `efficiency.end_of_life`, not judged here."""
    runs = list(_halves(test, halves, limits))
    # Within a half-cycle the voltage tells when, its charge only that: voltage comes first (sorting keeps the order).
    signs = [*_voltage_signs(runs, kind, limits), *_charge_signs(runs, cycles, kind, limits)]
    signs = sorted(signs, key=lambda sign: sign.half)
    remarks = tuple(_noisy(runs, limits)) if kind != "full" else ()
    if not signs:
        return Life(float(test.frame[TIME][-1]) / 3600, _whole_before(cycles, np.inf), None, (), remarks)
    first = signs[0]
    near = [sign for sign in signs if sign.half <= first.half + 2]
    # A soft short that is a hard one within the next cycle was its beginning.
    verdict = next((sign for sign in near if sign.mode == "short"), first)
    return Life(first.time_s / 3600, _whole_before(cycles, first.time_s), verdict.mode, tuple(near), remarks)


def _halves(test: Series, halves: pl.DataFrame, limits: Limits) -> Iterator[_Half]:
    time, voltage = test.frame[TIME].to_numpy(), test.frame[VOLTAGE].to_numpy()
    for row in halves.iter_rows(named=True):
        part = slice(row["first"], row["last"] + 1)
        at = time[part]
        settled = at - at[0] >= limits.settle_part * (at[-1] - at[0])
        settled[: min(2, len(at) - 1)] = False
        thin = slice(None, None, max(1, int(np.sum(settled)) // RECORDS))
        size, at = np.abs(voltage[part][settled])[thin], at[settled][thin]
        level = float(np.median(size)) if len(size) else 0.0
        last = abs(row["voltage_last_v"])
        yield _Half(row["half"], row["direction"], row["charge_ah"], last, at, size, _smoothed(size), level)


def _whole_before(cycles: pl.DataFrame, time_s: float) -> int:
    """Cycles with both halves that ended by `time_s`."""
    done = cycles.filter(
        pl.col("in_half").is_not_null() & pl.col("out_half").is_not_null() & (pl.col("end_s") <= time_s)
    )
    return len(done)


def _voltage_signs(runs: list[_Half], kind: Kind, limits: Limits) -> Iterator[Evidence]:
    """Collapse, dips and rise of |V| against the usual level, half-cycle by half-cycle."""
    for place, run in enumerate(runs):
        usual = _usual(runs, place, limits)
        if usual is None or len(run.size_v) < 5 or (kind == "full" and run.direction < 0):
            continue  # a full cell's discharge ends low: only a charge that falls is a short
        low = run.smooth_v < limits.collapse * usual
        start = _tail(low)
        after = runs[place + 1].level_v if place + 1 < len(runs) else None
        fell_s = float(run.time_s[min(start, len(low) - 1)])
        if start < len(low) - 2 and (after is None or after < limits.collapse * usual):
            fallen = float(np.median(run.size_v[start:]))
            text = f"voltage fell to {fallen * 1e3:.3g} mV, {fallen / usual:.0%} of the {usual * 1e3:.3g} mV before"
            yield Evidence("short", run.number, fell_s, text)
            return
        if kind == "full":
            continue
        if sign := _dip(run, usual, _like(runs, place), limits):
            yield sign
        if run.level_v > limits.rise * usual and place + 1 < len(runs) and (after or 0) > limits.rise * usual:
            text = (
                f"voltage rose to {run.level_v * 1e3:.3g} mV, {run.level_v / usual:.1f} times what it was, and stayed"
            )
            yield Evidence("contact_loss", run.number, float(run.time_s[0]), text)
            return


def _usual(runs: list[_Half], place: int, limits: Limits) -> float | None:
    """The level of the half-cycles before in the same direction; of the first its own, below its nucleation tip."""
    before = [run.level_v for run in runs[:place] if run.direction == runs[place].direction and len(run.size_v) >= 5]
    if before:
        return float(np.median(before[-limits.memory :]))
    own = runs[place].size_v
    return float(min(np.median(own), np.median(own[: len(own) // 3]))) if len(own) >= 9 else None


def _like(runs: list[_Half], place: int) -> list[_Half]:
    """The last three half-cycles before in the same direction: what this one should look like."""
    return [run for run in runs[:place] if run.direction == runs[place].direction and len(run.size_v) >= 5][-3:]


def _dip(run: _Half, usual: float, before: list[_Half], limits: Limits) -> Evidence | None:
    """A part of the half-cycle in which |V| lies below its like in the half-cycles before: current takes another way."""
    elapsed = run.time_s - run.time_s[0]
    curves = [np.interp(elapsed, one.time_s - one.time_s[0], one.smooth_v) for one in before]
    expected = np.min([np.full(len(elapsed), usual), *curves], axis=0)
    noise = _roughness(before[-1].size_v) if before else _roughness(run.size_v)
    # The part that still carries current on its own sets the level where all of it lies a little lower.
    own = float(np.quantile(run.size_v, 0.8))
    level = expected * min(1.0, own / usual) if own > limits.collapse * usual else expected
    smooth = run.smooth_v
    low = smooth < limits.dip * level - limits.dip_noise * noise
    if np.mean(low) < limits.dip_part or np.sum(low) < 3:
        return None
    at = int(np.argmax(low))
    text = (
        f"voltage dipped to {np.min(smooth) * 1e3:.3g} mV, {np.min(smooth / np.maximum(level, 1e-9)):.0%} of what it was "
        f"at that point before, for {np.mean(low):.0%} of a half-cycle"
    )
    return Evidence("soft_short", run.number, float(run.time_s[at]), text)


def _charge_signs(runs: list[_Half], cycles: pl.DataFrame, kind: Kind, limits: Limits) -> Iterator[Evidence]:
    """More out than in, CE that jumps, strips without their cut-off, platings that end before their time."""
    if kind == "symmetric":
        return
    by_number = {run.number: run for run in runs}
    known: list[float] = []
    ends: list[float] = []
    for row in cycles.iter_rows(named=True):
        out, efficiency = by_number.get(row["out_half"]), row["efficiency"]
        if out is None or not len(out.time_s):
            continue
        if kind == "plating":
            yield from _strip_signs(out, efficiency, ends, limits)
        if efficiency is not None:
            if (sign := _jump(out, efficiency, known, kind, limits)) is not None:
                yield sign
            known.append(efficiency)
        ends.append(out.last_v)


def _strip_signs(out: _Half, efficiency: float | None, ends: list[float], limits: Limits) -> Iterator[Evidence]:
    start_s = float(out.time_s[0])
    if efficiency is not None and efficiency > limits.efficiency:
        yield Evidence("soft_short", out.number, start_s, f"{efficiency:.1%} of what was plated was stripped")
    if efficiency is not None and ends and out.last_v < limits.cut_off * float(np.median(ends[-limits.memory :])):
        usual = float(np.median(ends[-limits.memory :]))
        text = f"the strip ended at {out.last_v:.3g} V, its cut-off is near {usual:.3g} V"
        yield Evidence("soft_short", out.number, start_s, text)


def _jump(out: _Half, efficiency: float, known: list[float], kind: Kind, limits: Limits) -> Evidence | None:
    """A CE that stands out of the usual ones: too much came out of a plating cell, too little out of a full one."""
    recent = np.array(known[-limits.memory :])
    if len(recent) < 4:
        return None
    usual = float(np.median(recent))
    scatter = max(1.4826 * float(np.median(np.abs(recent - usual))), 1e-4)
    off = efficiency - usual if kind == "plating" else usual - efficiency
    if off <= max(limits.efficiency_jump * scatter, limits.least_jump):
        return None
    text = f"CE {efficiency:.1%} in a row of {usual:.1%} with a scatter of {scatter:.2%}"
    return Evidence("soft_short", out.number, float(out.time_s[0]), text)


def _noisy(runs: list[_Half], limits: Limits) -> Iterator[str]:
    """First half-cycles with a scattering voltage: a contact that low pressure does not hold."""
    noisy = [
        run.number for run in runs[:4] if len(run.size_v) > 20 and _roughness(run.size_v) > limits.noise * run.level_v
    ]
    if noisy:
        yield f"noisy voltage in half-cycle {', '.join(map(str, noisy))}: a poor contact, as at low pressure"


def _roughness(values: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(np.diff(values, 2))) / np.sqrt(6))


def _tail(low: np.ndarray) -> int:
    """Where the last unbroken stretch of True begins; its length if it does not end in True."""
    above = np.flatnonzero(~low)
    return int(above[-1]) + 1 if len(above) else 0


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Running median of five records."""
    if len(values) < 5:
        return values
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(np.pad(values, 2, mode="edge"), 5), axis=1))
