"""Rows as Markdown tables and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .scoring import select

Row = dict[str, Any]


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(text(row[name]) for name in names) + " |" for row in rows)])


def text(value: Any) -> str:
    """A value in a table: three digits, and nothing where there is none."""
    if value is None or value != value:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def plain(value: Any) -> Any:
    """A document without nan, which JSON does not know: None instead."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if value != value else value


def pivot(rows: Sequence[Row], cell: Callable[[Row], str], down: str = "family", across: str = "cells") -> str:
    """A table with one line a value of `down` and one column a value of `across`."""
    columns = sorted({row[across] for row in rows})
    lines = []
    for name in dict.fromkeys(row[down] for row in rows):
        found = {row[across]: cell(row) for row in select(rows, **{down: name})}
        lines.append({down: name, **{f"n = {column}": found.get(column, "") for column in columns}})
    return table(lines)
