"""Column maps of the user's: which header is which quantity, saved by name in the store and used with --map NAME."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from campaigns.instruments import plain
from campaigns.instruments.columns import KINDS, UNITLESS, UNITS, Source, is_complete, resolve
from campaigns.instruments.flat import SEPARATORS, opened
from campaigns.instruments.series import REQUIRED, refusal
from campaigns.instruments.tabular import TableFormat
from campaigns.store import mlflow_folder
from surrogates.errors import UserError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def guesses(path: Path) -> tuple[list[str], list[str], dict[str, Source]]:
    """The header of a file, its first row of values, and what each quantity seems to be.

    The header is the row with the most quantities, or else the widest. Raises `UserError` where there is no table.
    """
    with opened(path) as (_, tables):
        rows = [
            (len(found := resolve(fields, plain.NAMES)), len(fields), -line, fields, below, found)
            for table in tables
            for separator in SEPARATORS
            for (line, fields), (_, below) in pairwise([*table.rows(separator), (0, [])])
            if len(fields) >= 2 and any(letter.isalpha() for field in fields for letter in field)
        ]
    if not rows:
        raise refusal(str(path), "a table with a header", "none", "Export the test as CSV or XLSX.")
    *_, fields, below, found = max(rows, key=lambda row: row[:3])
    first = {source.position: quantity for quantity, source in reversed(found.items())}
    return fields, below, {quantity: found[quantity] for quantity in found if quantity in first.values()}


def save(name: str, chosen: Mapping[str, str], store: str | Path) -> Path:
    """Saves quantity -> "header=unit" (units only where a quantity has one) under `name`; returns the file."""
    if not NAME.fullmatch(name):
        raise UserError(f"map name: expected letters, digits, dots, dashes, 64 at most; found {name!r}.")
    for quantity, text in chosen.items():
        _check(quantity, text)
    if not is_complete(dict.fromkeys(chosen, Source(0, "", "count"))):
        raise UserError(
            f"map {name}: expected {', '.join(REQUIRED)} (or step_time_second, unix_time_second for the time); "
            f"found {', '.join(chosen) or 'nothing'}."
        )
    path = _folder(store) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(chosen), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def spelled(source: Source) -> str:
    """A guess as it is saved: the header, and the unit that stands for its factor."""
    if source.kind in UNITLESS:
        return source.header
    unit = next(unit for unit, factor in UNITS[source.kind].items() if factor == source.factor)
    return f"{source.header}={unit}"


def header_of(text: str) -> str:
    """The header in "header=unit"."""
    return text.rpartition("=")[0] or text


def load(name: str, store: str | Path) -> TableFormat:
    """The saved map as a reader; raises `UserError` with the names there are."""
    path = _folder(store) / f"{name}.json"
    if not NAME.fullmatch(name) or not path.is_file():
        known = ", ".join(sorted(one.stem for one in _folder(store).glob("*.json"))) or "none yet"
        raise UserError(
            f"map: expected a saved one ({known}); found {name!r}. stackpress map FILE --save NAME makes one."
        )
    chosen = json.loads(path.read_text(encoding="utf-8"))
    return TableFormat(name=f"map {name}", names={quantity: (text,) for quantity, text in chosen.items()})


def _folder(store: str | Path) -> Path:
    return mlflow_folder(store) / "column-maps"


def _check(quantity: str, text: str) -> None:
    if quantity not in KINDS:
        raise UserError(f"map: expected one of {', '.join(KINDS)}; found {quantity!r}.")
    kind = KINDS[quantity]
    unit = text.rpartition("=")[2].strip().lower()
    if kind not in UNITLESS and ("=" not in text or unit not in UNITS[kind]):
        units = ", ".join(UNITS[kind])
        raise UserError(f"map {quantity}: expected HEADER=UNIT with a unit of {units}; found {text!r}.")
