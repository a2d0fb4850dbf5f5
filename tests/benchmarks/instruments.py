"""What reading instruments claims, measured: failures found, accuracy, speed, memory, and what damaged files do."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl

from campaigns.instruments.cycles import cycles, half_cycles
from campaigns.instruments.importing import Job, _all_measured
from campaigns.instruments.life import judge
from campaigns.instruments.measure import Measurement, Words, measure
from campaigns.instruments.overpotential import nucleation
from campaigns.instruments.reader import read
from surrogates.errors import UserError

from ..instruments.cells import as_series, zn_ti
from ..instruments.exports import EXPORTS
from ..instruments.mutations import mutated

DATA = Path(__file__).parents[1] / "instruments" / "data"
TESTS, MUTATIONS, FOLDER, ROWS = 500, 1000, 200, 5_000_000


def run() -> list[dict[str, Any]]:
    """One row a claim: what, measured, of how many, and the limit asked for."""
    rows = [*failures((0.25, 0.65)), *failures((0.10, 0.25), "subtle "), overpotential(), *damage(), folder(), *month()]
    return [{"claim": claim, "measured": found, "limit": limit} for claim, found, limit in rows]


def failures(leaks: tuple[float, float], word: str = "") -> Iterator[tuple[str, str, str]]:
    """Random tests: a third lives, a third shorts hard, a third softly, by a leak within `leaks` of the current."""
    called: dict[str | None, list[tuple[str | None, float, float]]] = {None: [], "short": [], "soft_short": []}
    for seed in range(TESTS):
        mode = (None, "short", "soft_short")[seed % 3]
        rng = np.random.default_rng(seed)
        frame, truth = zn_ti(
            seed + 1000,
            mode=mode,
            cycles=int(rng.integers(8, 60)),
            dt_s=float(rng.choice([10, 30, 60, 120])),
            noisy_contact=bool(rng.random() < 0.15),
            half_s=float(rng.choice([1800, 3600, 7200])),
            rest_s=float(rng.choice([0, 300])),
            leaks=leaks,
        )
        test = as_series(frame)
        halves = half_cycles(test)
        table, _ = cycles(halves, "plating")
        life = judge(test, halves, table, "plating")
        off = abs(life.life_h - truth.failed_h) * 3600 / truth.half_s
        worst = float(np.max(np.abs(table["efficiency"].to_numpy() - np.array(truth.efficiency))))
        called[mode].append((life.mode, off, worst))
    for mode, limit in (("short", "98 %"), ("soft_short", "90 %"), (None, "at most 1 % alarms")):
        found = called[mode]
        right = sum(one == mode for one, _, _ in found)
        yield f"{word}{mode or 'alive'} called right", f"{right} of {len(found)}", limit
        if mode:
            yield (
                f"{word}{mode}: largest error of life",
                f"{max(off for one, off, _ in found if one):.2f} half-cycles",
                "1",
            )
    worst = max(worst for some in called.values() for *_, worst in some)
    yield f"{word}CE: largest error", f"{worst:.1e}", "1e-4"


def overpotential() -> tuple[str, str, str]:
    """Tip of 300 platings with 0.5 mV noise, a record every 10 s."""
    errors = []
    for seed in range(300):
        frame, truth = zn_ti(seed, cycles=2, noise_mv=0.5, dt_s=10)
        test = as_series(frame)
        errors.append(abs(nucleation(test, half_cycles(test), -1).tip_mv - truth.tip_mv))
    return "overpotential: largest error of 300 (0.5 mV noise)", f"{max(errors):.2f} mV", "1 mV"


def damage() -> Iterator[tuple[str, str, str]]:
    """Mutated files: refused with a message, or measured the same, or measured differently with a note; nothing else."""
    counts: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frame, _ = zn_ti(5, cycles=6, dt_s=120, rest_s=300)
        files = {path.name: path for path in (writer(frame, folder) for writer in EXPORTS)}
        files |= {path.name: path for path in DATA.glob("neware_[ab]*.ndax")}
        content = {name: path.read_bytes() for name, path in files.items()}
        words = {name: Words(kind="full" if name.endswith("ndax") else "plating") for name in files}
        sound = {name: measure(read(path), words[name]) for name, path in files.items()}
        rng = Random(0)
        for _ in range(MUTATIONS):
            name = rng.choice(sorted(files))
            path = folder / f"mutated-{name}"
            path.write_bytes(mutated(rng, content[name], name))
            start = time.perf_counter()
            counts[_outcome(path, words[name], sound[name])] += 1
            slowest = max(slowest, time.perf_counter() - start)
    yield (
        f"{MUTATIONS} mutated files",
        ", ".join(f"{count} {what}" for what, count in sorted(counts.items())),
        "0 crashes",
    )
    yield "slowest of them", f"{slowest:.2f} s", "10 s"


def _outcome(path: Path, words: Words, sound: Measurement) -> str:
    try:
        found = measure(read(path), words)
    except UserError:
        return "refused"
    except BaseException:
        traceback.print_exc()
        return "crashed"
    if _alike(found, sound):
        return "the same"
    told = set(found.notes) - set(sound.notes) or set(found.life.evidence) - set(sound.life.evidence)
    # A file cut at the end of a line is the export of a younger test: nothing can tell it.
    younger = len(found.test.frame) < len(sound.test.frame) and found.life.life_h < sound.life.life_h
    return "told" if told else "younger" if younger else "silently different"


def _alike(one: Measurement, other: Measurement) -> bool:
    values = [[m.life.life_h, *(metric.value for metric in m.metrics.values())] for m in (one, other)]
    same = one.life.mode == other.life.mode and one.life.life_cycles == other.life.life_cycles
    return same and len(values[0]) == len(values[1]) and bool(np.allclose(*values, rtol=2e-3))


def folder() -> tuple[str, str, str]:
    """A folder of .ndax files of 80 KB, measured in parallel from a fresh start of the workers."""
    path = DATA / "neware_aurora_continuation.ndax"
    jobs = [Job(f"c{number}", (path,), Words(kind="full")) for number in range(FOLDER)]
    start = time.perf_counter()
    results, problems = _all_measured(jobs, lambda: None)
    assert len(results) == FOLDER, problems
    return f"{FOLDER} .ndax of 80 KB, measured", f"{time.perf_counter() - start:.1f} s", "20 s"


MONTH = """
import sys, time, resource
start = time.perf_counter()
from campaigns.instruments.reader import read
from campaigns.instruments.measure import Words, measure
test = read(sys.argv[1])
middle = time.perf_counter()
found = measure(test, Words(kind="plating"))
print(len(test.frame), middle - start, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


def month() -> Iterator[tuple[str, str, str]]:
    """A month-long test in a CSV of 5 million rows, in an interpreter of its own."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "month.csv"
        _month(path)
        command = [sys.executable, "-c", MONTH, str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows, read_s, all_s, gigabytes = done.stdout.split()
    yield f"{rows} rows: read", f"{float(read_s):.1f} s", "10 s"
    yield f"{rows} rows: read and measured", f"{float(all_s):.1f} s", ""
    yield f"{rows} rows: memory", f"{float(gigabytes):.2f} GB", "1.5 GB"


def _month(path: Path) -> None:
    time_s = np.arange(ROWS) * 0.5184
    half = (time_s // 3600).astype(int)
    way = np.where(half % 2 == 0, -1.0, 1.0)
    frame = pl.DataFrame(
        {
            "DataPoint": np.arange(1, ROWS + 1),
            "Cycle Index": half // 2 + 1,
            "Step Index": half % 2 + 1,
            "Step Type": np.where(way < 0, "CC DChg", "CC Chg"),
            "Total Time(s)": time_s.round(3),
            "Current(mA)": way,
            "Voltage(V)": (0.03 * way + 5e-4 * np.random.default_rng(0).normal(size=ROWS)).round(5),
            "Capacity(mAh)": ((time_s - half * 3600) / 3600).round(7),
        }
    )
    date = pl.from_epoch(pl.col("Total Time(s)").cast(pl.Int64) + 1_700_000_000).dt.strftime("%Y-%m-%d %H:%M:%S")
    frame.with_columns(date.alias("Date")).write_csv(path)
