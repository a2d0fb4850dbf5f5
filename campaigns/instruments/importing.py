"""From files to cells of a campaign: measure each, record the row, keep the curves.

    STORE/artifacts/cells/CAMPAIGN/CELL.parquet          voltage, current, time, pressure of every record
    STORE/artifacts/cells/CAMPAIGN/CELL-cycles.parquet   charge and efficiency of every cycle
    STORE/artifacts/cells/CAMPAIGN/CELL.json             metrics with settings, evidence, sources with their SHA-256

A file imported again updates its cell: a running one reaches further, nothing is doubled. What the user has said of
a cell (ended, stopped, invalid) stays.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.campaign import Campaign
from campaigns.instruments.measure import Measurement, Words, measure
from campaigns.instruments.pressure import with_log
from campaigns.instruments.reader import Reader, read_joined
from surrogates.cells import Cell
from surrogates.errors import UserError

PARALLEL_FROM = 8  # tests: fewer are measured before other processes have started
FINAL = ("ended", "stopped", "invalid")
UNSAFE = re.compile(r'[/\\:*?"<>|%\x00-\x1f]')
Writer = Callable[[Path], object]


@dataclass(frozen=True)
class Job:
    """One cell to import: its id, its files (a test may be continued in others), and its facts as columns."""

    cell_id: str
    paths: tuple[Path, ...]
    words: Words
    facts: dict[str, Any] = field(default_factory=dict)
    log: Path | None = None
    reader: Reader | None = None


@dataclass(frozen=True)
class Imported:
    """What became of a cell: added, updated or unchanged; its row, and what to know."""

    cell_id: str
    what: str
    cell: Cell
    notes: tuple[str, ...]


def measured(job: Job) -> Measurement:
    """The test of a job, read, joined and measured; raises `UserError`."""
    test = read_joined(job.paths, job.reader)
    return measure(with_log(test, job.log, job.words.electrode_mm) if job.log else test, job.words)


def import_cells(
    campaign: Campaign, jobs: Sequence[Job], done: Callable[[], None] = lambda: None, key: str | None = None
) -> list[Imported]:
    """Measures every job, then records them; all or none: nothing is stored where one file cannot be read.

    `done` is called after each test that was measured; `key` (see `Campaign.correct`) is that of a single job. Raises `UserError` that names every file that failed.
    """
    twice = {job.cell_id for job in jobs if sum(other.cell_id == job.cell_id for other in jobs) > 1}
    if twice:
        raise UserError(f"cell_id: expected every cell once; found {', '.join(sorted(twice))} in several rows.")
    known = {cell.cell_id: cell for cell in campaign.state.cells}
    fresh = [job for job in jobs if job.cell_id not in known or not _is_kept(campaign, job)]
    results, problems = _all_measured(fresh, done)
    if problems:
        raise UserError("\n".join([f"{len(problems)} of {len(jobs)} tests failed; nothing was stored.", *problems]))
    rows = {job.cell_id: row_of(job, known.get(job.cell_id), results[job.cell_id]) for job in fresh}
    for job in fresh:
        _check_pressure(job, rows[job.cell_id], known)
    imported = []
    for job in jobs:
        if job.cell_id not in rows:
            imported.append(Imported(job.cell_id, "unchanged", known[job.cell_id], ()))
            continue
        cell = campaign.record(job.cell_id, key=key if len(jobs) == 1 else None, **rows[job.cell_id])
        keep(campaign, job, results[job.cell_id])
        what = "updated" if job.cell_id in known else "added"
        imported.append(Imported(job.cell_id, what, cell, results[job.cell_id].notes))
    return imported


def keep(campaign: Campaign, job: Job, result: Measurement) -> None:
    """Writes curves, cycles and the document of a measurement beside the campaign."""
    document = {**result.document(), "facts": _plain(job), "request": _request(job)}
    text = json.dumps(document, indent=1, ensure_ascii=False, default=str)
    stem = stem_of(job.cell_id)
    writers: dict[str, Writer] = {
        f"{stem}.parquet": result.test.frame.write_parquet,
        f"{stem}-cycles.parquet": result.cycles.write_parquet,
        f"{stem}.json": lambda path: path.write_text(text + "\n", encoding="utf-8"),
    }
    write_whole(folder_of(campaign), writers)


def write_whole(folder: Path, writers: Mapping[str, Writer]) -> None:
    """Writes files of a folder by name, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in writers.items():
        part = folder / f".{name}.{os.getpid()}.part"
        try:
            write(part)
            part.replace(folder / name)
        finally:
            part.unlink(missing_ok=True)


def folder_of(campaign: Campaign) -> Path:
    """Where the curves of a campaign's cells are kept."""
    return campaign.folder / "artifacts" / "cells" / campaign.name


def stem_of(cell_id: str) -> str:
    """A cell's id as the beginning of a file's name: what a name cannot hold, or would leave the folder, as %XX."""
    return UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", cell_id)


def _is_kept(campaign: Campaign, job: Job) -> bool:
    """Whether the same files were imported with the same words before: their content is compared, not their names."""
    from campaigns.instruments.flat import looked_at

    path = folder_of(campaign) / f"{stem_of(job.cell_id)}.json"
    if not path.is_file():
        return False
    before = json.loads(path.read_text(encoding="utf-8"))
    digests = sorted(looked_at(one).digest for one in job.paths)
    return sorted(before["sha256"].split("+")) == digests and before["request"] == _request(job)


def _request(job: Job) -> str:
    """The words and facts of a job as text, to tell whether it asks for the same as before."""
    return json.dumps([repr(job.words), _plain(job), str(job.log or "")], sort_keys=True, default=str)


def _plain(job: Job) -> dict[str, Any]:
    return {name: value for name, value in job.facts.items() if value is not None}


def row_of(job: Job, before: Cell | None, result: Measurement) -> dict[str, Any]:
    """The columns to record: the facts as given go before what was measured."""
    row = {**result.row(), **_plain(job)}
    if before is not None and before.status in FINAL and job.words.status is None:
        # The cell's end was settled, perhaps by hand; a file does not overrule that.
        row = {name: value for name, value in row.items() if name not in ("status", "end_reason")}
        if before.status != "ended" or result.life.mode is None:
            row = {name: value for name, value in row.items() if not name.startswith("cycle_life")}
    if row.get("status") == "invalid" and "end_reason" not in row:
        row.setdefault("note", "said to be invalid when its test was imported")
    return row


def _check_pressure(job: Job, row: dict[str, Any], known: dict[str, Cell]) -> None:
    # A suggested id brings its pressure; `Campaign.record` says so where there is none at all.
    if "pressure_kpa" in row or job.cell_id in known:
        return
    if job.words.channel:
        raise UserError(f"cell {job.cell_id}: expected a pressure above 0 kPa; found none in {job.words.channel}.")


def _all_measured(jobs: Sequence[Job], done: Callable[[], None]) -> tuple[dict[str, Measurement], list[str]]:
    results: dict[str, Measurement] = {}
    problems: list[str] = []

    def settle(job: Job, compute: Callable[[], Measurement]) -> None:
        try:
            results[job.cell_id] = compute()
        except UserError as error:
            problems.append(f"  {job.cell_id}: {error}")
        done()

    if len(jobs) < PARALLEL_FROM:
        for job in jobs:
            settle(job, lambda job=job: measured(job))  # type: ignore[misc]
        return results, problems
    # A fork would copy the threads' locks of polars; new interpreters don't.
    context = multiprocessing.get_context(
        "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    )
    context.set_forkserver_preload([__name__]) if context.get_start_method() == "forkserver" else None
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 8), mp_context=context) as pool:
        futures = {pool.submit(measured, job): job for job in jobs}
        for future in as_completed(futures):
            settle(futures[future], future.result)
    return results, problems
