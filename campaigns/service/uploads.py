"""Files that are sent in: tables of cells and cyclers' exports, as previews and as cells of a campaign.

What is sent was written to a temporary file while it came; it is read, never run or unpickled, and gone afterwards.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

from campaigns.campaign import Campaign
from campaigns.instruments.importing import Imported, Job, import_cells, measured, row_of
from campaigns.instruments.measure import Words, facts_of
from campaigns.instruments.reader import read
from campaigns.service.shapes import ExportPreview, ExportWords
from campaigns.state import CampaignState
from campaigns.tables import Table, read_bytes
from surrogates.errors import UserError

UNSAFE = re.compile(r"[^\w. ()+-]")
LONGEST_NAME = 100
WORDS = tuple(item.name for item in fields(Words) if item.name in ExportWords.model_fields)


def table_of(state: CampaignState, file: BinaryIO, name: str | None) -> Table:
    """The cells of a table; what a campaign of one condition holds fixed need not stand in it."""
    return read_bytes(file.read(), file_name(name), state.fixed)


def preview_export(state: CampaignState, file: BinaryIO, name: str | None, job: Job) -> ExportPreview:
    """What was detected in a cycler's export; the columns that would be recorded where the words say its kind."""
    with _kept(file, name) as path:
        facts = facts_of(read(path))
        told = measured(_with(job, path)) if job.words.kind else None
        return ExportPreview(
            file=path.name,
            **{
                what: facts[what] for what in ("format", "records", "duration_h", "voltage_v", "half_cycles", "columns")
            },
            row=row_of(job, state.cell(job.cell_id), told) if told else None,
            evidence=[f"half-cycle {sign.half}, {sign.time_s / 3600:.4g} h: {sign.text}" for sign in told.life.evidence]
            if told
            else [],
            notes=list(told.notes if told else facts["notes"]),
        )


def add_export(campaign: Campaign, file: BinaryIO, name: str | None, job: Job, key: str | None = None) -> Imported:
    """Measure a cycler's export and record its cell."""
    job.words.checked()
    with _kept(file, name) as path:
        return import_cells(campaign, [_with(job, path)], key=key)[0]


def job_of(state: CampaignState, said: ExportWords) -> Job:
    """What is to be read of a file that is still to come."""
    words = {word: getattr(said, word) for word in WORDS}
    words["retention_cycles"] = said.retention_cycles or state.conditions[0].retention_cycles
    return Job(said.cell_id, (), Words(**words), {"pressure_kpa": said.pressure_kpa})


def file_name(given: str | None) -> str:
    """The name of a file as it may stand in messages and on this machine: no folders, no odd characters."""
    name = UNSAFE.sub("_", re.split(r"[/\\]", given or "")[-1])[-LONGEST_NAME:].lstrip(". ")
    return name or "file"


def _with(job: Job, path: Path) -> Job:
    return Job(job.cell_id, (path,), job.words, job.facts)


@contextmanager
def _kept(file: BinaryIO, name: str | None) -> Iterator[Path]:
    """The file under its own name in a folder of its own; messages call it by its name alone."""
    with tempfile.TemporaryDirectory(prefix="stackpress-") as folder:
        path = Path(folder) / file_name(name)
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        try:
            yield path
        except UserError as error:
            raise UserError(str(error).replace(f"{folder}/", "")) from None
