"""A simulated test written as each maker's software exports it, with the habits that make reading hard."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl

from campaigns.instruments import series

Rows = Iterable[dict[str, Any]]
CHINESE = {"charge": "恒流充电", "discharge": "恒流放电", "rest": "静置"}
ENGLISH = {"charge": "CC Chg", "discharge": "CC DChg", "rest": "Rest"}


def clock(seconds: float) -> str:
    return f"{int(seconds // 3600):02d}:{int(seconds % 3600 // 60):02d}:{seconds % 60:06.3f}"


def moment(row: dict[str, Any], style: str = "%Y-%m-%d %H:%M:%S") -> str:
    return datetime.fromtimestamp(row[series.UNIX_TIME], timezone.utc).strftime(style)


def rows_of(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The records, with the capacity counted from the start of each step beside them (mAh)."""
    rows, start, last = [], (0.0, 0.0), None
    for number, row in enumerate(frame.to_dicts(), 1):
        here = (row[series.CYCLE], row[series.STEP])
        if here != last:
            start = (row[series.CHARGED], row[series.DISCHARGED])
            last, began = here, row[series.TIME]
        charged, discharged = row[series.CHARGED] - start[0], row[series.DISCHARGED] - start[1]
        row |= {"n": number, "charged": charged * 1e3, "discharged": discharged * 1e3}
        rows.append(row | {"step_s": row[series.TIME] - began, "mah": (charged + discharged) * 1e3})
    return rows


def write(path: Path, header: list[str], lines: Iterable[list[Any]], **style: Any) -> Path:
    encoding = style.pop("encoding", "utf-8")
    before = style.pop("before", "")
    with path.open("w", encoding=encoding, newline="") as stream:
        stream.write(before)
        writer = csv.writer(stream, **style)
        writer.writerow(header)
        writer.writerows(lines)
    return path


def neware_csv(frame: pl.DataFrame, folder: Path) -> Path:
    header = ["DataPoint", "Cycle Index", "Step Index", "Step Type", "Time", "Total Time", "Current(mA)", "Voltage(V)"]
    header += ["Capacity(mAh)", "Date", "T1(?)"]
    lines = [
        [
            r["n"],
            r[series.CYCLE],
            r[series.STEP],
            ENGLISH[r[series.STEP_TYPE]],
            clock(r["step_s"]),
            clock(r[series.TIME]),
        ]
        + [f"{r[series.CURRENT] * 1e3:.6f}", f"{r[series.VOLTAGE]:.6f}", f"{r['mah']:.7f}", moment(r), "25.1"]
        for r in rows_of(frame)
    ]
    return write(folder / "neware.csv", header, lines)


def neware_chinese_csv(frame: pl.DataFrame, folder: Path) -> Path:
    """GB18030, current without its sign, capacities in two columns, no total time."""
    header = [
        "记录序号",
        "循环序号",
        "工步序号",
        "工步类型",
        "时间(h:min:s.ms)",
        "电流/mA",
        "电压/V",
        "充电容量/mAh",
        "放电容量/mAh",
        "绝对时间",
    ]
    lines = [
        [r["n"], r[series.CYCLE], r[series.STEP], CHINESE[r[series.STEP_TYPE]], clock(r["step_s"])]
        + [
            f"{abs(r[series.CURRENT]) * 1e3:.6f}",
            f"{r[series.VOLTAGE]:.6f}",
            f"{r['charged']:.7f}",
            f"{r['discharged']:.7f}",
        ]
        + [moment(r)]
        for r in rows_of(frame)
    ]
    return write(folder / "新威.csv", header, lines, encoding="gb18030")


def neware_report(frame: pl.DataFrame, folder: Path) -> Path:
    """Three levels: a cycle's row begins at the left, a step's one field in, a record's two."""
    path, last = folder / "report.csv", (0, 0)
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Cycle Index", "Chg. Cap.(mAh)", "DChg. Cap.(mAh)"])
        writer.writerow(["", "Step Index", "Step Number", "Step Type", "Step Time", "Capacity(mAh)"])
        writer.writerow(
            ["", "", "DataPoint", "Time", "Total Time", "Current(mA)", "Voltage(V)", "Capacity(mAh)", "Date"]
        )
        for r in rows_of(frame):
            here = (r[series.CYCLE], r[series.STEP])
            step = [r[series.STEP], r[series.STEP], ENGLISH[r[series.STEP_TYPE]], "00:00:00", 0]
            if here[0] != last[0]:
                writer.writerow([here[0], 1, 1, *step])  # a cycle's first step stands in its own row
            elif here != last:
                writer.writerow(["", *step])
            last = here
            record = [r["n"], clock(r["step_s"]), clock(r[series.TIME]), f"{r[series.CURRENT] * 1e3:.6f}"]
            writer.writerow(["", "", *record, f"{r[series.VOLTAGE]:.6f}", f"{r['mah']:.7f}", moment(r)])
    return path


def neware_chinese_xlsx(frame: pl.DataFrame, folder: Path) -> Path:
    """Records over two sheets, a sheet of cycles beside them."""
    book, rows = openpyxl.Workbook(), rows_of(frame)
    header = [
        "数据序号",
        "循环序号",
        "工步号",
        "工步类型",
        "总时间(s)",
        "电流(mA)",
        "电压(V)",
        "充电容量(mAh)",
        "放电容量(mAh)",
    ]
    half = len(rows) // 2
    cycles = book.active
    cycles.title = "循环"
    cycles.append(["循环序号", "充电容量/mAh", "放电容量/mAh"])
    cycles.append([1, 1.0, 0.98])
    for title, part in (("记录", rows[:half]), ("记录(2)", rows[half:])):
        sheet = book.create_sheet(title)
        sheet.append(header)
        for r in part:
            sheet.append(
                [r["n"], r[series.CYCLE], r[series.STEP], CHINESE[r[series.STEP_TYPE]], r[series.TIME]]
                + [r[series.CURRENT] * 1e3, r[series.VOLTAGE], r["charged"], r["discharged"]]
            )
    book.save(folder / "neware.xlsx")
    return folder / "neware.xlsx"


def landt_csv(frame: pl.DataFrame, folder: Path) -> Path:
    header = [
        "channel_index",
        "cycle_index",
        "step_index",
        "date_time_iso_string",
        "test_time_s",
        "step_time_s",
        "current_A",
    ]
    header += ["voltage_V", "discharge_capacity_Ah", "charge_capacity_Ah", "Pressure_Psi", "step_name"]
    lines = [
        [
            r["n"],
            r[series.CYCLE],
            r[series.STEP],
            moment(r, "%m/%d/%Y %H:%M:%S"),
            f"{r[series.TIME]:.3f}",
            f"{r['step_s']:.3f}",
        ]
        + [
            f"{r[series.CURRENT]:.7f}",
            f"{r[series.VOLTAGE]:.6f}",
            f"{r['discharged'] / 1e3:.10f}",
            f"{r['charged'] / 1e3:.10f}",
        ]
        + ["43.5", f"{r[series.STEP_TYPE]} CC", ""]
        for r in rows_of(frame)
    ]
    return write(folder / "landt.csv", header, lines, before="cell model:,,,\ntest: ,,,\nNominal capacity: Ah,,,\n")


def landt_chinese_xlsx(frame: pl.DataFrame, folder: Path) -> Path:
    book = openpyxl.Workbook()
    book.active.title = "记录"
    book.active.append(["测试名称", "Zn-Ti"])
    book.active.append(
        ["记录", "循环序号", "工步序号", "工作模式", "测试时间/Sec", "电压/V", "电流/uA", "容量/uAh", "系统时间"]
    )
    for r in rows_of(frame):
        book.active.append(
            [r["n"], r[series.CYCLE], r[series.STEP], CHINESE[r[series.STEP_TYPE]], r[series.TIME], r[series.VOLTAGE]]
            + [
                r[series.CURRENT] * 1e6,
                r["mah"] * 1e3,
                datetime.fromtimestamp(r[series.UNIX_TIME], timezone.utc).replace(tzinfo=None),
            ]
        )
    book.save(folder / "landt.xlsx")
    return folder / "landt.xlsx"


def biologic_mpt(frame: pl.DataFrame, folder: Path) -> Path:
    """Latin-1, decimal commas, settings before the table; charge counted per half-cycle with a sign."""
    settings = [
        "EC-Lab ASCII FILE",
        "Nb header lines : 7",
        "",
        "Device : VMP3",
        "Temperature max = 70,00 °C",
        "Electrode surface area : 1,131 cm²",
        "",
    ]
    header = [
        "mode",
        "ox/red",
        "Ns",
        "time/s",
        "Ewe/V",
        "I/mA",
        "Q charge/discharge/mA.h",
        "cycle number",
        "Temperature/°C",
    ]
    lines = [
        [1, int(r[series.CURRENT] > 0), r[series.STEP]]
        + [f"{x:.9E}".replace(".", ",") for x in (r[series.TIME], r[series.VOLTAGE], r[series.CURRENT] * 1e3)]
        + [f"{r['charged'] - r['discharged']:.9E}".replace(".", ","), f"{r[series.CYCLE]},0", "25,0"]
        for r in rows_of(frame)
    ]
    before = "\r\n".join(settings)
    return write(folder / "biologic.mpt", header, lines, before=before, delimiter="\t", encoding="latin-1")


def arbin_csv(frame: pl.DataFrame, folder: Path) -> Path:
    header = ["Data Point", "Date Time", "Test Time (s)", "Step Time (s)", "Cycle Index", "Step Index", "Current (A)"]
    header += ["Voltage (V)", "Charge Capacity (Ah)", "Discharge Capacity (Ah)", "Aux_Temperature_1 (C)"]
    lines = [
        [
            r["n"],
            "\t" + moment(r, "%m/%d/%Y %H:%M:%S.000"),
            f"{r[series.TIME]:.4f}",
            f"{r['step_s']:.4f}",
            r[series.CYCLE],
        ]
        + [r[series.STEP], f"{r[series.CURRENT]:.9f}", f"{r[series.VOLTAGE]:.6f}"]
        + [f"{r[series.CHARGED]:.11f}", f"{r[series.DISCHARGED]:.11f}", 24.7]
        for r in rows_of(frame)
    ]
    return write(folder / "arbin.csv", header, lines)


def arbin_xlsx(frame: pl.DataFrame, folder: Path) -> Path:
    book = openpyxl.Workbook()
    book.active.title = "Global_Info"
    book.active.append(["TEST REPORT"])
    sheet = book.create_sheet("Channel_1-008_1")
    sheet.append(
        [
            "Data_Point",
            "Test_Time(s)",
            "Step_Time(s)",
            "Step_Index",
            "Cycle_Index",
            "Current(A)",
            "Voltage(V)",
            "Charge_Capacity(Ah)",
            "Discharge_Capacity(Ah)",
        ]
    )
    for r in rows_of(frame):
        sheet.append(
            [r["n"], r[series.TIME], r["step_s"], r[series.STEP], r[series.CYCLE], r[series.CURRENT], r[series.VOLTAGE]]
            + [r[series.CHARGED], r[series.DISCHARGED]]
        )
    book.save(folder / "arbin.xlsx")
    return folder / "arbin.xlsx"


BDF = {
    series.TIME: "Test Time / s",
    series.VOLTAGE: "Voltage / V",
    series.CURRENT: "Current / A",
    series.CYCLE: "Cycle Count / 1",
    series.STEP: "Step ID",
}


def bdf_csv(frame: pl.DataFrame, folder: Path) -> Path:
    frame.select(*series.REQUIRED, series.CYCLE, series.CHARGED, series.DISCHARGED).write_csv(folder / "test.bdf.csv")
    return folder / "test.bdf.csv"


def bdf_labels_csv(frame: pl.DataFrame, folder: Path) -> Path:
    """Preferred labels, and no counter: charge is the integral of current."""
    frame.select(*BDF).rename(BDF).write_csv(folder / "labels.bdf.csv")
    return folder / "labels.bdf.csv"


def bdf_parquet(frame: pl.DataFrame, folder: Path) -> Path:
    frame.drop(series.STEP_TYPE).write_parquet(folder / "test.bdf.parquet")
    return folder / "test.bdf.parquet"


def plain_csv(frame: pl.DataFrame, folder: Path) -> Path:
    """A lab's own table: semicolons, decimal commas, hours and millivolts."""
    header = ["Time (h)", "Voltage (mV)", "Current (mA)", "Cycle"]
    lines = [
        [
            f"{x:.9f}".replace(".", ",")
            for x in (r[series.TIME] / 3600, r[series.VOLTAGE] * 1e3, r[series.CURRENT] * 1e3)
        ]
        + [r[series.CYCLE]]
        for r in rows_of(frame)
    ]
    return write(folder / "own.txt", header, lines, delimiter=";")


Writer = Callable[[pl.DataFrame, Path], Path]
EXPORTS: dict[Writer, str] = {
    neware_csv: "Neware table",
    neware_chinese_csv: "Neware table",
    neware_report: "Neware table",
    neware_chinese_xlsx: "Neware table",
    landt_csv: "LANDT table",
    landt_chinese_xlsx: "LANDT table",
    biologic_mpt: "BioLogic text",
    arbin_csv: "Arbin table",
    arbin_xlsx: "Arbin table",
    bdf_csv: "Battery Data Format",
    bdf_labels_csv: "Battery Data Format",
    bdf_parquet: "Battery Data Format",
    plain_csv: "plain table",
}
