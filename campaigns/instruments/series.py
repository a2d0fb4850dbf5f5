"""The time series of one test, whatever instrument wrote it: columns of the Battery Data Format, SI units inside.

Column names are those of the Battery Data Format ontology 1.3 (battery-data-alliance/battery-data-format): current is
positive on charge, pressure in pascal. Columns a file does not have are absent, cycle numbers are the file's own.
`check` is the one gate: whatever a reader makes of a file passes it or is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from surrogates.errors import UserError

TIME, VOLTAGE, CURRENT = "test_time_second", "voltage_volt", "current_ampere"
UNIX_TIME, CYCLE, STEP, STEP_TYPE = "unix_time_second", "cycle_count", "step_id", "step_type"
CHARGED, DISCHARGED = "charging_capacity_ah", "discharging_capacity_ah"
MAGNITUDE = "step_capacity_ah"  # one counter for both directions: a reader may leave it to `check` to part it
APPLIED, SURFACE, TEMPERATURE = "applied_pressure_pa", "surface_pressure_pa", "ambient_temperature_celsius"

REQUIRED = (TIME, VOLTAGE, CURRENT)
SCHEMA: dict[str, type[pl.DataType]] = {
    TIME: pl.Float64,
    VOLTAGE: pl.Float64,
    CURRENT: pl.Float64,
    UNIX_TIME: pl.Float64,
    CYCLE: pl.Int64,
    STEP: pl.Int64,
    STEP_TYPE: pl.String,
    CHARGED: pl.Float64,  # since the start of the test, as the instrument counted it
    DISCHARGED: pl.Float64,
    TEMPERATURE: pl.Float64,
    APPLIED: pl.Float64,
    SURFACE: pl.Float64,
}
RAW = "raw_"  # prefix of channels kept as the file gives them: raw_pressure_psi, raw_force_n ...

CHARGE, DISCHARGE, REST, END = "charge", "discharge", "rest", "end"

MAX_VOLT = 20.0  # a cell, not a pack: more is a damaged number or another unit
MAX_AMPERE = 10_000.0
COUNTER_TOLERANCE = 0.05  # of the charge: between the instrument's counter and the current times time
CLOCK_TOLERANCE_S, CLOCK_TOLERANCE = 120.0, 0.02
ANOTHER_UNIT, LEAST_AH = 10.0, 1e-3  # a factor that no rounding explains, once more than this has passed
JUMP, JUMP_PART = 1.5, 1e-3  # times the largest current; of all charge: a counter that jumps by more is damaged
STILL = 0.6  # of the records at the time of the one before
GAP_S, GAP_FACTOR = 3600.0, 60.0  # a pause without records worth telling: longer than both


@dataclass(frozen=True)
class Series:
    """One test as read: `frame` has columns of `SCHEMA` (and `raw_...`), a row a record, in order of time.

    `format`: the reader's name. `source`: the file or files. `digest`: SHA-256 of their content. `notes`: what the user
    should know of the reading.
    """

    frame: pl.DataFrame
    format: str
    source: str
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def has_end(self) -> bool:
        """Whether the instrument itself wrote that the test is over."""
        return STEP_TYPE in self.frame.columns and self.frame[STEP_TYPE][-1] == END

    def noting(self, *notes: str) -> Series:
        """The same series with more to tell."""
        return replace(self, notes=(*self.notes, *notes))


def refusal(source: str, expected: str, found: str, remedy: str) -> UserError:
    """The error for a file that cannot be taken; one sentence each for what was expected, found and to do."""
    return UserError(f"{source}: expected {expected}; found {found}. {remedy}".rstrip())


def check(frame: pl.DataFrame, source: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """`frame` cast to the schema, in its order, with what should be told; raises `UserError` where it is not a test."""
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        found = ", ".join(frame.columns) or "no columns"
        raise refusal(source, f"columns {', '.join(missing)}", found, "stackpress map FILE names the columns.")
    _check_counts(frame, source)
    frame, notes = _whole(_cast(frame), source)
    _check_ranges(frame, source)
    frame = frame.with_columns(pl.col(TIME) - pl.col(TIME).first())
    frame, signs = _signed(frame, source)
    frame = _parted(frame)
    frame = frame.select(*(name for name in SCHEMA if name in frame.columns), pl.col(f"^{RAW}.*$"))
    return frame, (*notes, *signs, *_check_time(frame, source), *_check_charge(frame, source))


def _cast(frame: pl.DataFrame) -> pl.DataFrame:
    known = [name for name in SCHEMA if name in frame.columns]
    extra = [name for name in frame.columns if name.startswith(RAW) or name == MAGNITUDE]
    return frame.select(*(pl.col(name).cast(SCHEMA[name], strict=False) for name in known), *extra)


def _check_counts(frame: pl.DataFrame, source: str) -> None:
    """Cycle and step numbers are whole: where they are not, another column stands under their name."""
    for name in (CYCLE, STEP):
        if name in frame.columns and frame[name].dtype.is_float():
            broken = (frame[name] - frame[name].round()).abs() > 1e-6
            if broken.any():
                row = int(broken.arg_max() or 0)
                found = f"{frame[name][row]:g} in record {row + 1}"
                raise refusal(source, f"whole numbers as {name}", found, "Two columns are swapped: export it again.")


def _whole(frame: pl.DataFrame, source: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Rows that have time, voltage and current; more than a few without them are refused."""
    if frame.is_empty():
        raise refusal(source, "records", "none", "The test was not started, or the export is empty: export it again.")
    is_whole = pl.all_horizontal(pl.col(name).is_not_null() & pl.col(name).is_not_nan() for name in REQUIRED)
    mask = frame.select(is_whole.alias("whole"))["whole"]
    lost = len(frame) - int(mask.sum())
    whole = frame.filter(mask) if lost else frame
    if lost > max(1, len(frame) // 100):
        found = f"{lost} of {len(frame)} records without one of them"
        raise refusal(source, "time, voltage and current in every record", found, "Export the file again.")
    return whole, (f"{lost} records without time, voltage or current were left out",) if lost else ()


def _check_ranges(frame: pl.DataFrame, source: str) -> None:
    for name, limit, unit in ((VOLTAGE, MAX_VOLT, "V"), (CURRENT, MAX_AMPERE, "A"), (TIME, 1e10, "s")):
        row = frame[name].abs().arg_max() or 0
        value = frame[name][row]
        if not abs(value) <= limit:
            expected = f"{name} within {limit:g} {unit}"
            raise refusal(
                f"{source}, record {row + 1}", expected, f"{value:g}", "The unit or the file is wrong: export it again."
            )


def _signed(frame: pl.DataFrame, source: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Current positive on charge: exports that give magnitudes, or discharge as positive, say so in their step types."""
    current = frame[CURRENT]
    if STEP_TYPE not in frame.columns:
        one_sided = bool((current > 0).any()) and not bool((current < 0).any()) and _has_two_counters(frame)
        if one_sided:
            raise refusal(
                source,
                "a current with a sign, or a column of step types",
                "a current that is never negative, in a test with charge and discharge",
                "Export the step type too, or the current with its sign.",
            )
        return frame, ()
    charging = current.filter(frame[STEP_TYPE] == CHARGE).drop_nulls().median()
    discharging = current.filter(frame[STEP_TYPE] == DISCHARGE).drop_nulls().median()
    if not isinstance(discharging, float) or discharging <= 0:
        return frame, ()
    if isinstance(charging, float) and charging < 0:
        return frame.with_columns(-pl.col(CURRENT)), (
            "the file counts discharge current as positive; the sign was turned",
        )
    signed = pl.when(pl.col(STEP_TYPE) == DISCHARGE).then(-pl.col(CURRENT)).otherwise(pl.col(CURRENT))
    return frame.with_columns(signed.alias(CURRENT)), (
        "the file gives current without its sign; it was taken from the step type",
    )


def _parted(frame: pl.DataFrame) -> pl.DataFrame:
    """A counter for both directions as two that only rise: an increment belongs to the direction of its current."""
    if MAGNITUDE not in frame.columns:
        return frame
    rise = unwound(MAGNITUDE).diff().fill_null(0.0)
    parts = {CHARGED: pl.col(CURRENT) > 0, DISCHARGED: pl.col(CURRENT) < 0}
    split = [pl.when(when).then(rise).otherwise(0.0).cum_sum().alias(name) for name, when in parts.items()]
    return frame.with_columns(split).drop(MAGNITUDE)


def _has_two_counters(frame: pl.DataFrame) -> bool:
    return all(name in frame.columns and bool((frame[name] > 0).any()) for name in (CHARGED, DISCHARGED))


def _check_time(frame: pl.DataFrame, source: str) -> list[str]:
    """Refuses a clock that runs back; tells gaps, and a wall clock that disagrees."""
    time = frame[TIME]
    step = time.diff().fill_null(0.0)
    back = int(step.arg_min() or 0)
    if step[back] < 0:
        place, found = f"{source}, record {back + 1}", f"{time[back]:g} s after {time[back - 1]:g} s"
        raise refusal(place, "a test time that never goes back", found, "Export the file again, or split it there.")
    notes = []
    still = float((step[1:] == 0).sum()) / max(len(step) - 1, 1)
    if still > STILL:
        notes.append(f"the clock stands still in {still:.0%} of the records: is this column the test time?")
    gap = int(step.arg_max() or 0)
    if step[gap] > max(GAP_S, GAP_FACTOR * float(step.quantile(0.9) or 0.0)):
        notes.append(f"no record for {step[gap] / 3600:.3g} h after {time[gap - 1] / 3600:.4g} h")
    if UNIX_TIME in frame.columns and frame[UNIX_TIME].null_count() == 0:
        wall, elapsed = frame[UNIX_TIME][-1] - frame[UNIX_TIME][0], time[-1]
        if abs(wall - elapsed) > max(CLOCK_TOLERANCE_S, CLOCK_TOLERANCE * elapsed):
            notes.append(
                f"test time says {elapsed / 3600:.4g} h, the wall clock {wall / 3600:.4g} h: a pause, or a fault"
            )
    return notes


def _check_charge(frame: pl.DataFrame, source: str) -> Iterable[str]:
    """Compares the instrument's counters with current times time: a wrong unit or swapped columns show here."""
    if CHARGED not in frame.columns or DISCHARGED not in frame.columns:
        return _odd_currents(frame)
    _check_jumps(frame, source)
    slip = _resolution(frame[CURRENT]) / 2 * frame[TIME][-1] / 3600
    notes = []
    for name, sign in ((CHARGED, 1), (DISCHARGED, -1)):
        counted = float(frame[name][-1] - frame[name][0])
        passed = integral_ah(frame, sign)
        astray = float(frame.select(pl.col(name).diff().filter(pl.col(CURRENT) * sign < 0).sum().alias("ah"))["ah"][0])
        if astray > 0.5 * counted + 3 * _resolution(frame[name]):
            remedy = "The columns of charge and discharge are swapped, or the sign of the current is wrong."
            raise refusal(source, f"{name} to rise with its current", "one that rises with the other", remedy)
        allowed = COUNTER_TOLERANCE * max(counted, passed) + slip + 3 * _resolution(frame[name])
        is_far = max(counted, passed) > max(ANOTHER_UNIT * min(counted, passed), LEAST_AH)
        if abs(counted - passed) <= allowed and not is_far:
            continue
        found = f"{counted:.5g} Ah counted and {passed:.5g} Ah by current and time"
        if is_far or abs(counted - passed) > 0.5 * max(counted, passed) + slip:
            remedy = "Two columns are swapped, or a unit in the header is wrong: stackpress map FILE shows them."
            raise refusal(source, f"{name} to agree with the current", found, remedy)
        notes.append(f"{name}: {found}; the instrument's counter was used")
    return notes


def _check_jumps(frame: pl.DataFrame, source: str) -> None:
    """Refuses a counter that rises in one record by more than the largest current could have brought."""
    largest = float(frame[CURRENT].abs().quantile(0.999) or 0.0)
    for name in (CHARGED, DISCHARGED):
        rise = frame.select((pl.col(name).diff() - JUMP * largest * pl.col(TIME).diff() / 3600).alias("rise"))["rise"]
        row = int(rise.arg_max() or 0)
        excess = float(rise[row] or 0.0)
        if excess > JUMP_PART * float(frame[name][-1]) and excess > 3 * _resolution(frame[name]):
            found = f"{excess * 1000:.4g} mAh more than the current brings between two records"
            raise refusal(
                f"{source}, record {row + 1}", f"{name} that rises with the current", found, "Export it again."
            )


def _odd_currents(frame: pl.DataFrame) -> list[str]:
    """Single records whose current stands out between equal neighbours: without a counter they change the charge."""
    size, before, after = pl.col(CURRENT), pl.col(CURRENT).shift(1), pl.col(CURRENT).shift(-1)
    alike = (before - after).abs() < 0.05 * before.abs()
    odd = frame.select((alike & ((size - before).abs() > 0.5 * before.abs())).alias("odd"))["odd"].fill_null(False)
    rows = odd.arg_true()
    return (
        [f"the current of record {rows[0] + 1} stands out between its neighbours ({len(rows)} such)"]
        if len(rows)
        else []
    )


def integral_ah(frame: pl.DataFrame, sign: int) -> float:
    """Charge (Ah) that passed in one direction: the current's positive (`sign` 1) or negative part over time, by trapezes."""
    part = (pl.col(CURRENT) * sign).clip(lower_bound=0.0)
    area = (part + part.shift(1)) / 2 * pl.col(TIME).diff()
    return float(frame.select((area.sum() / 3600).alias("ah"))["ah"][0])


def _resolution(column: pl.Series) -> float:
    """The step in which a column is written (0.0001 for 0.0002, 0.0003 ...): its smallest change, 0 where it has none."""
    head = column.head(200_000).unique().sort().diff().drop_nulls()
    steps = head.filter(head > 1e-15)
    return float(steps.min()) if len(steps) else 0.0  # type: ignore[arg-type]


def unwound(column: str) -> pl.Expr:
    """A counter that starts again at 0 (each step, each cycle) as one that only rises.

    An increment is the difference to the record before, or the counter itself where it has started again.
    """
    counter = pl.col(column).cast(pl.Float64).abs().fill_null(strategy="forward").fill_null(0.0)
    rise = counter.diff().fill_null(counter.first())
    return pl.when(rise < 0).then(counter).otherwise(rise).cum_sum()


def joined(several: Sequence[Series]) -> Series:
    """One test from the files it was written to, in order of their wall clock, else of their names as given.

    Test time runs on over the pauses that the wall clock shows; counters and cycle numbers run on too.
    Raises `UserError` where two files overlap in time.
    """
    if len(several) == 1:
        return several[0]
    clocked = all(UNIX_TIME in one.frame.columns and one.frame[UNIX_TIME].null_count() == 0 for one in several)
    ordered = sorted(several, key=lambda one: float(one.frame[UNIX_TIME][0])) if clocked else list(several)
    whole, notes = ordered[0].frame, [f"{one.source}: {note}" for one in ordered for note in one.notes]
    for one in ordered[1:]:
        whole = pl.concat([whole, _continued(whole, one, clocked)], how="diagonal")
    if not clocked:
        notes.append("the files have no wall clock: they were joined in the order given, without pauses")
    digest = "+".join(one.digest for one in ordered)
    return Series(whole, ordered[0].format, ", ".join(one.source for one in ordered), digest, tuple(notes))


def _continued(whole: pl.DataFrame, one: Series, clocked: bool) -> pl.DataFrame:
    frame = one.frame
    start = whole[TIME][-1]
    if clocked:
        pause = frame[UNIX_TIME][0] - whole[UNIX_TIME][-1]
        if pause < 0:
            found = f"a start {-pause:.0f} s before the file before it ends"
            raise refusal(one.source, "files that follow each other in time", found, "Give each part of a test once.")
        start += pause
    shifts = {TIME: start}
    shifts |= {
        name: whole[name][-1] for name in (CHARGED, DISCHARGED) if name in whole.columns and name in frame.columns
    }
    if CYCLE in whole.columns and CYCLE in frame.columns and frame[CYCLE].min() <= whole[CYCLE].max():  # type: ignore[operator]
        shifts[CYCLE] = whole[CYCLE].max()
    return frame.with_columns(pl.col(name) + shift for name, shift in shifts.items())
