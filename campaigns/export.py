"""A campaign in files: its whole history as JSON lines, its table of cells as CSV, XLSX or Parquet.

What is written is read back first and compared; a file that would say something else is not written. A file is there
whole or not at all.

JSON lines: the first line names the format, the campaign, and the number and SHA-256 of the lines after it; each of
these is an event as the ledger keeps it, oldest first.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from campaigns.events import Event
from campaigns.grid import CONTROL, refusal, unreadable
from campaigns.tables import read_bytes
from surrogates.cells import COLUMNS, REQUIRED, Cell
from surrogates.errors import UserError

FORMAT = "stackpress events 1"
EVENT_FIELDS = ("revision", "kind", "schema_version", "payload", "actor", "time", "key")


def write_events(events: Sequence[Event], path: Path | str) -> None:
    """Write a campaign's events to a .jsonl that `read_events` reads back as equal events."""
    put(path, content_of(events, str(path)))


def content_of(events: Sequence[Event], source: str) -> bytes:
    """A campaign's events as a .jsonl holds them, read back and compared."""
    lines = _lines(events)
    head = {"format": FORMAT, "campaign": events[0].campaign, "events": len(events), "sha256": _digest(lines)}
    content = "".join(f"{line}\n" for line in (json.dumps(head, ensure_ascii=False), *lines)).encode()
    if events_of(content, source) != tuple(events):
        raise refusal(source, "events that read back as they are", "others", "Report this fault.")
    return content


def fingerprint(events: Iterable[Event]) -> str:
    """The SHA-256 of a campaign's history, as the first line of its .jsonl tells it."""
    return _digest(_lines(events))


def _lines(events: Iterable[Event]) -> list[str]:
    return [json.dumps({name: getattr(event, name) for name in EVENT_FIELDS}, ensure_ascii=False) for event in events]


def read_events(path: Path | str) -> tuple[Event, ...]:
    """The events in a .jsonl; raises `UserError` where it is not whole, or not as it was written."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise unreadable(str(path), error) from None
    return events_of(content, str(path))


def events_of(content: bytes, source: str) -> tuple[Event, ...]:
    """The events in the content of a .jsonl; raises `UserError` as `read_events`."""
    try:
        head, *lines = content.decode("utf-8").removesuffix("\n").split("\n")
        about = json.loads(head)
        known = about["format"] == FORMAT
        count, digest, campaign = int(about["events"]), about["sha256"], str(about["campaign"])
    except (ValueError, KeyError, TypeError):
        found = "something else"
        raise refusal(source, "what stackpress export NAME FILE.jsonl writes", found, "Name such a file.") from None
    if not known:
        raise refusal(source, f"the format {FORMAT!r}", repr(about["format"]), "Update stackpress.")
    if len(lines) != count or _digest(lines) != digest or not count:
        found = f"{len(lines)} lines that are not those"
        raise refusal(source, f"the {count} events it was written with", found, "Export the campaign again.")
    return tuple(Event(campaign=campaign, **json.loads(line)) for line in lines)


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def continuation(known: Sequence[Event], told: Sequence[Event], name: str) -> tuple[Event, ...]:
    """What events of a file add to those that campaign `name` has; raises `UserError` where the two went apart."""
    told = [replace(event, campaign=name) for event in told]
    for here, there in zip(known, told, strict=False):
        if here != there:
            raise UserError(
                f"campaign {name}: expected the history that the file tells; found another from event {here.revision} "
                f"on: {here.kind} by {here.actor} at {here.time}, in the file {there.kind} by {there.actor} at "
                f"{there.time}. Nothing was stored. Import the file under another name into a store of its own."
            )
    return tuple(told[len(known) :])


def write_table(cells: Iterable[Cell], path: Path | str) -> None:
    """Write `cells` to a .csv, .xlsx or .parquet that `read_table` reads back as equal cells; unknown columns come back
    as text."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in WRITERS:
        found = PurePath(path).name
        raise refusal(str(path), f"a name that ends in {', '.join(WRITERS)}", found, "Choose one of them.")
    rows = [{k: v if k in COLUMNS else str(v) for k, v in cell.row().items()} for cell in cells]
    if not rows:
        raise refusal(str(path), "one cell or more", "none", "Add cells first.")
    names = [name for name in COLUMNS if name in REQUIRED or any(name in row for row in rows)]
    names += dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    if control := CONTROL.search("".join(str(value) for row in rows for value in (*row, *row.values()))):
        raise refusal(str(path), "printable text", f"the control character {control[0]!r}", "Take it out of the cells.")
    content = WRITERS[suffix](names, rows)
    _check_back(content, rows, str(path))
    put(path, content)


def _csv(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, names)
    writer.writeheader()
    writer.writerows(rows)
    text = stream.getvalue()
    # Spreadsheet programs take UTF-8 for what it is only with the mark; plain ASCII stays plain.
    return text.encode("ascii" if text.isascii() else "utf-8-sig")


def _xlsx(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet("cells")

    def cell(value: Any) -> Any:
        made = WriteOnlyCell(sheet, value)
        if isinstance(value, str):
            made.data_type = "s"  # else a text that begins with = becomes a formula
        return made

    for row in ({name: name for name in names}, *rows):
        sheet.append([cell(row.get(name)) for name in names])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _parquet(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow as arrow
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(arrow.table({name: [row.get(name) for row in rows] for name in names}), stream)
    return stream.getvalue()


WRITERS: dict[str, Callable[[Sequence[str], Sequence[Mapping[str, Any]]], bytes]] = {
    ".csv": _csv,
    ".xlsx": _xlsx,
    ".parquet": _parquet,
}


def _check_back(content: bytes, rows: Sequence[Mapping[str, Any]], source: str) -> None:
    """The cells in a file must be those that were to be written."""
    remedy = "Mend the cell, or export to .jsonl, which keeps everything."
    try:
        back = [cell.row() for cell in read_bytes(content, source).cells]
    except UserError as error:
        raise refusal(source, "a table that reads back", str(error), remedy) from None
    for row, found in zip(rows, back, strict=True):
        for name in {**row, **found}:
            if not _is_same(row.get(name), found.get(name)):
                where = f"cell {row['cell_id']}, column {name}: {row.get(name)!r} that would be {found.get(name)!r}"
                raise refusal(source, "a table that reads back as it is", where, remedy)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal; of numbers a workbook keeps 16 digits, of line ends one kind."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-15)
    if isinstance(one, str) and isinstance(other, str):
        return one.replace("\r\n", "\n") == other.replace("\r\n", "\n")
    return bool(one == other)


def put(path: Path | str, content: bytes) -> None:
    """Write a file whole: aside first, then in its place."""
    part = Path(f"{path}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except (OSError, ValueError) as error:
        part.unlink(missing_ok=True)
        found = getattr(error, "strerror", None) or str(error)
        raise refusal(str(path), "a file that can be written", found, "Choose another folder or name.") from None
