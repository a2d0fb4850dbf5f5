"""Neware exports, CSV and XLSX (BTSDA), in English and Chinese; flat tables, and reports in three levels.

A report writes cycle, step and record rows among each other, told apart by the fields that stay empty at their left.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from campaigns.instruments import series
from campaigns.instruments.columns import STEP_TIME
from campaigns.instruments.flat import SEPARATORS, Table, rewritten
from campaigns.instruments.tabular import TableFormat

RECORD_NAMES = ("DataPoint", "Record ID", "Record Index", "数据序号", "记录序号")
CYCLE_NAMES = ("Cycle Index", "Cycle ID", "循环号", "循环序号")


def flattened(table: Table, folder: Path) -> Table | None:
    """A report in three levels as one table; None where `table` is none."""
    separator = next((mark for mark in SEPARATORS if _is_report(table, mark)), None)
    return rewritten(table, folder, _records, separator) if separator else None


def _is_report(table: Table, separator: str) -> bool:
    rows = [fields for _, fields in table.rows(separator)[:3]]
    if len(rows) < 3 or not all(len(row) >= 3 for row in rows):
        return False
    return rows[0][0] in CYCLE_NAMES and not rows[1][0] and not any(rows[2][:2]) and rows[2][2] in RECORD_NAMES


def _records(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Record rows with cycle and step type before them; a first step may stand in the row of its cycle."""
    cycles, steps, records = ([field.strip() for field in next(rows)] for _ in range(3))
    while cycles and not cycles[-1]:
        cycles.pop()
    kind_at = next((n for n, name in enumerate(steps) if name in ("Step Type", "工步类型")), 3)
    yield ["Cycle Index", "Step Number", "Step Type", *records[2:]]
    cycle = step = kind = ""
    for row in rows:
        if row and row[0].strip():
            cycle = row[0]
            row = ["", *row[len(cycles) :]]
        if len(row) > kind_at and row[1].strip():
            step, kind = row[1], row[kind_at]
        elif len(row) > 2 and row[2].strip():
            yield [cycle, step, kind, *row[2:]]


READER = TableFormat(
    name="Neware table",
    names={
        series.TIME: ("Total Time", "Test Time", "test_time", "总时间", "测试时间"),
        STEP_TIME: ("Time", "Relative Time", "Step Time", "时间", "相对时间", "工步时间"),
        series.VOLTAGE: ("Voltage", "电压"),
        series.CURRENT: ("Current", "Cur", "电流"),
        series.UNIX_TIME: ("Date", "Realtime", "Absolute Time", "Date Time", "绝对时间", "系统时间", "日期"),
        series.CYCLE: (*CYCLE_NAMES, "Cycle", "循环"),
        series.STEP: ("Step Number", "Step Index", "Step ID", "Step", "工步号", "工步序号"),
        series.STEP_TYPE: ("Step Type", "Step Name", "Status", "工步类型", "工步名称", "工步状态", "状态"),
        series.CHARGED: ("Chg. Cap.", "Capacitance_Chg", "Charge Capacity", "CapC", "充电容量"),
        series.DISCHARGED: ("DChg. Cap.", "Capacitance_DChg", "Discharge Capacity", "CapD", "放电容量"),
        series.MAGNITUDE: ("Capacity", "容量"),
        series.TEMPERATURE: ("T1", "Temperature", "温度"),
    },
    marks=(*RECORD_NAMES, *CYCLE_NAMES, "Step Type", "工步类型", "工步号", "总时间"),
    prepare=flattened,
)
