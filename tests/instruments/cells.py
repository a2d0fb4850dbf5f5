"""Simulated tests with known truth: Zn||Ti plating and stripping, Zn||VO2 cycling; what kills them, and when.

Voltages are those of the published cells in kind: a nucleation tip, a plateau that drifts, a strip that climbs to its
cut-off when nothing is left; shorts are a resistance in parallel, so current leaks and voltage drops together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from campaigns.instruments import series
from campaigns.instruments.series import Series, check

DT_S = 30.0


@dataclass
class Truth:
    """What the simulation put in: everything a metric should find."""

    efficiency: list[float] = field(default_factory=list)
    in_ah: list[float] = field(default_factory=list)
    out_ah: list[float] = field(default_factory=list)
    tip_mv: float = 0.0
    plateau_mv: float = 0.0
    mode: str | None = None
    failed_h: float = np.inf
    half_s: float = 3600.0
    whole_cycles: int = 0


class Recorder:
    """Writes records as an instrument does: one at the start of each step, then every DT_S, and one at its end."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, float, int, int, str, float, float]] = []
        self.time_s = 0.0
        self.charged_ah = self.discharged_ah = 0.0

    def step(self, current_a: float, voltage: np.ndarray, at_s: np.ndarray, cycle: int, step: int) -> None:
        kind = "charge" if current_a > 0 else "discharge" if current_a < 0 else "rest"
        for seconds, volt in zip(at_s, voltage, strict=True):
            passed = abs(current_a) * seconds / 3600
            charged = self.charged_ah + (passed if current_a > 0 else 0)
            discharged = self.discharged_ah + (passed if current_a < 0 else 0)
            self.rows.append((self.time_s + seconds, float(volt), current_a, cycle, step, kind, charged, discharged))
        self.time_s += float(at_s[-1])
        self.charged_ah, self.discharged_ah = self.rows[-1][6], self.rows[-1][7]

    def frame(self) -> pl.DataFrame:
        names = (series.TIME, series.VOLTAGE, series.CURRENT, series.CYCLE, series.STEP, series.STEP_TYPE)
        return pl.DataFrame(self.rows, schema=[*names, series.CHARGED, series.DISCHARGED], orient="row").with_columns(
            (pl.col(series.TIME) + 1_700_000_000).alias(series.UNIX_TIME)
        )


def times(duration_s: float, dt_s: float = DT_S) -> np.ndarray:
    return np.unique(np.append(np.arange(0.0, duration_s, dt_s), duration_s))


def zn_ti(
    seed: int,
    cycles: int = 40,
    mode: str | None = None,
    fail_cycle: int | None = None,
    noise_mv: float | None = None,
    dt_s: float = DT_S,
    noisy_contact: bool = False,
    current_a: float = 1e-3,
    half_s: float = 3600.0,
    rest_s: float = 0.0,
    leaks: tuple[float, float] = (0.25, 0.65),
) -> tuple[pl.DataFrame, Truth]:
    """Zn||Ti: plate on Ti (negative current) for `half_s`, strip to 0.5 V. `mode`: None, short, soft_short."""
    rng = np.random.default_rng(seed)
    noise = 1e-3 * (rng.uniform(0.1, 1.0) if noise_mv is None else noise_mv)
    plateau, extra = rng.uniform(0.015, 0.06), rng.uniform(0.006, 0.04)
    drift = rng.uniform(-0.4, 0.6) / max(cycles, 1)
    mean, scatter = rng.uniform(0.93, 0.995), rng.uniform(0.0005, 0.004)
    decay_s = rng.uniform(180, 600)
    fail = fail_cycle if fail_cycle is not None else int(rng.integers(2, cycles - 1)) if mode else cycles + 1
    fail_at = rng.uniform(0.15, 0.8) * half_s
    # An ideal strip would pass the charge of its plating, so a leak of a part g of the current stretches it by 1/(1-g).
    leak = {"short": rng.uniform(0.85, 0.99), "soft_short": rng.uniform(*leaks)}.get(mode or "", 0.0)
    in_strip = bool(rng.random() < 0.5)
    truth = Truth(mode=mode, half_s=half_s, tip_mv=1e3 * (plateau + extra), plateau_mv=1e3 * plateau)
    out, short = Recorder(), False
    for cycle in range(1, cycles + 1):
        level = plateau * (1 + drift * (cycle - 1))
        efficiency = float(np.clip(mean - 0.08 * np.exp(-(cycle - 1) / 1.5) + scatter * rng.normal(), 0.5, 0.9995))
        for direction in (-1, 1):
            is_plate = direction < 0
            length = half_s if is_plate else half_s * efficiency
            starts = mode is not None and cycle == fail and is_plate != in_strip
            part = np.ones(1)
            if starts:
                truth.failed_h = (out.time_s + fail_at) / 3600
                truth.whole_cycles = cycle - 1
                if mode == "short":
                    short = True
            if not is_plate and (short or (starts and mode == "soft_short")):
                length = (
                    half_s * 1.1 if short else fail_at + (length - fail_at) / (1 - leak) if length > fail_at else length
                )
                length = min(length, 1.2 * half_s)
            at = times(length, dt_s)
            x = at / length
            size = level + (extra if is_plate else 0.3 * extra) * np.exp(-at / decay_s)
            if not is_plate and not (short and not starts):
                size = size + (0.5 - size) * np.exp(-(length - at) / (0.01 * half_s))
            part = np.ones_like(at)
            if starts:
                part[at >= fail_at] = 1 - leak
                if mode == "soft_short":
                    flicker = 1 + 0.25 * rng.normal(size=len(at))
                    heals = rng.random() < 0.4
                    until = fail_at + rng.uniform(0.2, 0.5) * half_s if heals and is_plate else np.inf
                    dips = (at >= fail_at) & (at < until)
                    part = np.where(dips, np.clip(1 - leak * flicker, 0.05, 1), 1.0)
                    if not is_plate:
                        part = np.where(x > 0.985, 1.0, part)
            elif short:
                part = np.full_like(at, 1 - leak)
            rough = noise * rng.normal(size=len(at))
            if noisy_contact and cycle <= 2:
                rough = rough + 0.15 * level * rng.normal(size=len(at))
            volt = direction * size * part + rough
            if cycle > 1 or not is_plate:
                volt[0] = volt[0] * 0.3
            out.step(direction * current_a, volt, at, cycle, 1 if is_plate else 2)
            amount = current_a * length / 3600
            (truth.in_ah if is_plate else truth.out_ah).append(amount)
            if rest_s:
                out.step(0.0, np.zeros(2), np.array([0.0, rest_s]), cycle, 3)
        truth.efficiency.append(truth.out_ah[-1] / truth.in_ah[-1])
        if mode is not None and cycle >= fail + 2:
            break
    if mode is None:
        truth.whole_cycles, truth.failed_h = cycles, out.time_s / 3600
    return out.frame(), truth


def zn_vo2(
    seed: int,
    cycles: int = 30,
    fade: float = 0.0026,
    knee: int | None = None,
    noise_mv: float = 0.5,
    dt_s: float = DT_S,
) -> tuple[pl.DataFrame, Truth]:
    """Zn||VO2: discharge first, then charge, 0.3 to 1.3 V; capacity Q exp(-fade n), three times the fade after `knee`."""
    rng = np.random.default_rng(seed)
    truth, out = Truth(), Recorder()
    capacity_s, current_a = 1200.0, 2e-3
    efficiency = rng.uniform(0.985, 0.999)
    before = capacity_s
    for cycle in range(1, cycles + 1):
        n = cycle - 1
        worn = fade * n if knee is None or n <= knee else fade * knee + 4 * fade * (n - knee)
        wanted = capacity_s * np.exp(-worn)
        for direction, length in ((-1, wanted if cycle > 1 else capacity_s), (1, wanted / efficiency)):
            if direction < 0 and cycle > 1:
                length = wanted
                truth.efficiency.append(length / before)
            at = times(length, dt_s)
            x = at / length
            mid = 0.9 - 0.35 * (x - 0.5) * 2
            volt = mid if direction < 0 else 0.75 + 0.45 * (x - 0.5) * 2
            volt = (
                volt
                + np.where(x > 0.97, direction * (x - 0.97) / 0.03 * 0.2, 0)
                + 1e-3 * noise_mv * rng.normal(size=len(x))
            )
            out.step(direction * current_a, volt, at, cycle, 1 if direction < 0 else 2)
            amount = current_a * length / 3600
            (truth.out_ah if direction < 0 else truth.in_ah).append(amount)
            if direction > 0:
                before = length
    return out.frame(), truth


def as_series(frame: pl.DataFrame, name: str = "simulated") -> Series:
    frame, notes = check(frame, name)
    return Series(frame, "simulated", name, "0" * 64, notes)
