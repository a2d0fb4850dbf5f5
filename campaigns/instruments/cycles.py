"""From records to half-cycles and cycles.

    half-cycle   records in one direction of current, with the rests after them; CC and CV steps are one half-cycle
    in, out      full cell: charge, discharge. Plating: plate, strip. What goes in first and comes out after
    cycle        an "in" and the "out" after it: CE = out / in (domain: per-cycle coulombic efficiency)

What a cell is (`Kind`) is said by the user; the sign of the current alone does not tell it.
"""

from __future__ import annotations

from typing import Literal, get_args

import polars as pl

from campaigns.instruments import series
from campaigns.instruments.series import (
    CHARGE,
    CHARGED,
    CURRENT,
    DISCHARGE,
    DISCHARGED,
    STEP_TYPE,
    TIME,
    VOLTAGE,
    Series,
)
from surrogates.errors import UserError

Kind = Literal["full", "plating", "symmetric"]
Plating = Literal["first", "charge", "discharge"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PLATING: tuple[Plating, ...] = get_args(Plating)
WORDS: dict[Kind, tuple[str, str]] = {
    "full": ("charge", "discharge"),
    "plating": ("plate", "strip"),
    "symmetric": ("first direction", "second direction"),
}

REST_FRACTION = 1e-3  # of the test's current: less is a rest with an offset
REACHED_V, REACHED_AH = 0.02, 0.999  # of the voltage window, of the usual charge: a half-cycle that came to its end
CLIMB = 3.0  # times its usual voltage: where a strip ends at its cut-off
MIDWAY = 0.5  # a first half-cycle with less charge than this part of the next ones began in another file


def half_cycles(test: Series) -> pl.DataFrame:
    """One row a half-cycle.

    Columns: half (1, 2, ...), direction (1 charge, -1 discharge), file_cycle (of its first record, if the file has
    cycles), first, last (rows of its first and last record with current), start_s, end_s, charge_ah (> 0, counted by
    the instrument in that direction only, else the integral of current), current_a (median), voltage_median_v,
    voltage_last_v, rested (a rest follows).
    """
    frame = test.frame.with_columns(_direction(test.frame).alias("direction"), _passed_ah(test.frame).alias("ah"))
    frame = frame.with_row_index("row").with_columns(
        pl.col("direction").replace(0, None).forward_fill().alias("way"),
    )
    run = (pl.col("way") != pl.col("way").shift(1)).fill_null(False).cum_sum().alias("run")
    active = frame.filter(pl.col("way").is_not_null()).with_columns(run)
    cycle = pl.col(series.CYCLE).first() if series.CYCLE in frame.columns else pl.lit(None, pl.Int64)
    flowing = pl.col("direction") != 0
    halves = active.group_by("run", maintain_order=True).agg(
        pl.col("way").first().cast(pl.Int8).alias("direction"),
        cycle.alias("file_cycle"),
        pl.col("row").filter(flowing).first().alias("first"),
        pl.col("row").filter(flowing).last().alias("last"),
        pl.col(TIME).filter(flowing).first().alias("start_s"),
        pl.col(TIME).filter(flowing).last().alias("end_s"),
        pl.col("ah").sum().alias("charge_ah"),
        pl.col(CURRENT).filter(flowing).median().alias("current_a"),
        pl.col(VOLTAGE).filter(flowing).median().alias("voltage_median_v"),
        pl.col(VOLTAGE).filter(flowing).last().alias("voltage_last_v"),
        (pl.col("row").last() > pl.col("row").filter(flowing).last()).alias("rested"),
    )
    return halves.filter(pl.col("charge_ah") > 0).drop("run").with_row_index("half", 1)


def _direction(frame: pl.DataFrame) -> pl.Expr:
    """1, -1 or 0: by the step type where the file has it (a CV step may swing about zero), else by the current."""
    size = frame[CURRENT].abs().quantile(0.99) or 0.0
    sign = pl.when(pl.col(CURRENT).abs() > REST_FRACTION * size).then(pl.col(CURRENT).sign()).otherwise(0.0)
    if STEP_TYPE not in frame.columns:
        return sign.cast(pl.Int8)
    words = {CHARGE: 1.0, DISCHARGE: -1.0, series.REST: 0.0, series.END: 0.0}
    by_step = pl.col(STEP_TYPE).replace_strict(words, default=None, return_dtype=pl.Float64)
    return pl.coalesce(by_step, sign).cast(pl.Int8)


def _passed_ah(frame: pl.DataFrame) -> pl.Expr:
    """Charge (Ah, > 0) between the record before and this one, in this record's direction."""
    way = pl.col("direction").replace(0, None).forward_fill() if "direction" in frame.columns else _direction(frame)
    if CHARGED in frame.columns and DISCHARGED in frame.columns:
        counter = pl.when(way > 0).then(pl.col(CHARGED).diff()).otherwise(pl.col(DISCHARGED).diff())
        return counter.fill_null(0.0)
    size = pl.col(CURRENT).abs()
    # The first record of a step: its current flowed since the step began, not half of it.
    same = way == way.shift(1)
    mean = pl.when(same).then((size + size.shift(1)) / 2).otherwise(size)
    return pl.when(way != 0).then(mean * pl.col(TIME).diff() / 3600).otherwise(0.0).fill_null(0.0)


def cycles(halves: pl.DataFrame, kind: Kind, plating: Plating = "first") -> tuple[pl.DataFrame, tuple[str, ...]]:
    """One row a cycle, and what was noticed.

    Columns: cycle, in_half, out_half, in_ah, out_ah, efficiency (out / in; null where either is missing or not
    whole), end_s. A full cell that begins with a discharge has no "in" in its first row. Numbers are the file's where
    it gives each cycle one of its own, else 1, 2, ...
    Raises `UserError` where `kind` and the data contradict each other.
    """
    _check_words(kind, plating)
    into, notes = _into(halves, kind, plating)
    rows = _paired(halves.to_dicts(), into, kind)
    frame = pl.DataFrame(rows, schema=_CYCLE_SCHEMA, orient="row").with_columns(
        (pl.col("out_ah") / pl.col("in_ah")).alias("efficiency")
    )
    frame, told = _without_parts(frame, halves)
    numbers = frame["file_cycle"].drop_nulls()
    own = len(numbers) == len(frame) and bool((numbers.diff().drop_nulls() > 0).all())
    number = pl.col("file_cycle") if own else pl.int_range(1, pl.len() + 1)
    return frame.with_columns(number.cast(pl.Int64).alias("cycle")), (*notes, *told)


_CYCLE_SCHEMA = {
    "cycle": pl.Int64,
    "file_cycle": pl.Int64,
    "in_half": pl.Int64,
    "out_half": pl.Int64,
    "in_ah": pl.Float64,
    "out_ah": pl.Float64,
    "end_s": pl.Float64,
}


def _check_words(kind: str, plating: str) -> None:
    for name, word, words in (("kind", kind, KINDS), ("plating", plating, PLATING)):
        if word not in words:
            raise UserError(f"{name}: expected {', '.join(words)}; found {word!r}.")


def _into(halves: pl.DataFrame, kind: Kind, plating: Plating) -> tuple[int, list[str]]:
    """The direction that puts charge in: of a fresh plating cell that of its first half-cycle, there is nothing to strip."""
    if halves.is_empty():
        return 1, ["no charge passed: the test has rests only"]
    if kind == "full":
        return 1, []
    if plating != "first":
        return (1 if plating == "charge" else -1), []
    into = int(halves["direction"][0])
    word = CHARGE if into > 0 else DISCHARGE
    climbs = halves.select(
        pl.col("direction"), (pl.col("voltage_last_v").abs() > CLIMB * pl.col("voltage_median_v").abs()).alias("climbs")
    )
    often = dict(climbs.group_by("direction").agg(pl.col("climbs").mean()).iter_rows())
    if kind == "plating" and len(halves) >= 4 and often.get(into, 0.0) > 0.5 > often.get(-into, 0.0):
        raise UserError(
            f"plating: expected the first half-cycle ({word}) to be the plating one; found that it, not the other, "
            "climbs to a cut-off, as a strip does. Say which plates: --plating charge or --plating discharge."
        )
    return into, []


def _paired(halves: list[dict[str, object]], into: int, kind: Kind) -> list[tuple[object, ...]]:
    """Each "in" with the "out" after it; numbered by the half-cycle that names the cycle (full: out, else in)."""
    rows: list[tuple[object, ...]] = []
    open_in: dict[str, object] | None = None
    for half in halves:
        if half["direction"] == into:
            if open_in is not None:
                rows.append(_row(open_in, None, kind))
            open_in = half
        else:
            rows.append(_row(open_in, half, kind))
            open_in = None
    # A charge whose discharge has not come is no cycle yet; a plating is one that has begun.
    return [*rows, _row(open_in, None, kind)] if open_in is not None and kind != "full" else rows


def _row(first: dict[str, object] | None, second: dict[str, object] | None, kind: Kind) -> tuple[object, ...]:
    named = (second or first) if kind == "full" else (first or second)
    one, two = first or {}, second or {}
    halves = (one.get("half"), two.get("half"), one.get("charge_ah"), two.get("charge_ah"))
    return (None, (named or {}).get("file_cycle"), *halves, (second or first or {}).get("end_s"))


def _without_parts(frame: pl.DataFrame, halves: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Efficiency is taken off cycles that are not whole: a first one begun in another file, a last one under way."""
    notes: list[str] = []
    begun, reason = starts_midway(frame)
    if begun:
        frame = frame.with_columns(pl.when(pl.int_range(pl.len()) > 0).then("efficiency").alias("efficiency"))
        notes.append(reason)
    if len(frame) and frame["out_half"][-1] == len(halves) and not _came_to_its_end(halves):
        frame = frame.with_columns(
            pl.when(pl.int_range(pl.len()) < pl.len() - 1).then("efficiency").alias("efficiency")
        )
        notes.append("the last half-cycle is under way: its cycle has no efficiency yet")
    return frame, notes


def starts_midway(frame: pl.DataFrame) -> tuple[bool, str]:
    """Whether the file continues another: its first "in" holds far less than those after it, and more came out."""
    later = frame["in_ah"][1:6].drop_nulls().median()
    first, out = (frame["in_ah"][0], frame["out_ah"][0]) if len(frame) else (None, None)
    if first is None or out is None or not isinstance(later, float) or first >= MIDWAY * later or out <= first:
        return False, ""
    reason = (
        f"the file starts in the middle of a test: {first * 1000:.4g} mAh went in before the first {out * 1000:.4g} mAh "
        f"came out ({out / first:.0%}), later cycles take {later * 1000:.4g} mAh; its first cycle is not used"
    )
    return True, reason


def _came_to_its_end(halves: pl.DataFrame) -> bool:
    """Whether the last half-cycle is followed by a rest, ends where those before it ended, or holds their charge."""
    last, way = halves[-1], halves["direction"][-1]
    usual = halves[:-1].group_by("direction").agg(pl.col("charge_ah", "voltage_last_v").tail(5).median())
    ends = {row["direction"]: row for row in usual.to_dicts()}
    if bool(last["rested"][0]) or way not in ends:
        return bool(last["rested"][0])
    window = abs(ends[way]["voltage_last_v"] - ends.get(-way, ends[way])["voltage_last_v"])
    near = abs(last["voltage_last_v"][0] - ends[way]["voltage_last_v"]) <= REACHED_V * window
    return bool(near or last["charge_ah"][0] >= REACHED_AH * ends[way]["charge_ah"])
