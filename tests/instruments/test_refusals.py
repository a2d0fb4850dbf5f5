"""What is wrong is refused with one message: damaged, swapped and dangerous files."""

from __future__ import annotations

import zipfile
from pathlib import Path
from random import Random

import polars as pl
import pytest

from campaigns.instruments import series
from campaigns.instruments.measure import Words, measure
from campaigns.instruments.reader import read
from surrogates.errors import UserError

from .cells import as_series, zn_ti
from .exports import arbin_csv, bdf_csv, biologic_mpt, landt_csv, neware_csv, plain_csv
from .mutations import mutated

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return zn_ti(5, cycles=4, dt_s=120, rest_s=300)[0]


def rewritten(path: Path, *changes: tuple[str, str]) -> Path:
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("Voltage(V)", "Foo(V)")], "expected one of Neware binary"),
        ([("Current(mA)", "Current(A)")], "to agree with the current"),
        ([("Current(mA)", "X"), ("Voltage(V)", "Current(mA)"), ("X", "Voltage(V)")], "expected"),
        ([("Capacity(mAh)", "Capacity(Ah)")], "expected charging_capacity_ah to agree with the current"),
        ([("00:20:00.000,00:20:00.000", "00:20:00.000,90:20:00.000")], "expected a test time that never goes back"),
        ([("\n12,", "\nx12,")], ""),
        ([("CC DChg,00:20:00.000,00:20:00.000,-1.000000", "CC DChg,00:20:00.000,00:20:00.000,-1.0x")], "column Current(mA): expected a number; found '-1.0x'"),
    ],
)  # fmt: skip
def test_damage_is_named(frame: pl.DataFrame, tmp_path: Path, changes: list[tuple[str, str]], words: str) -> None:
    path = rewritten(neware_csv(frame, tmp_path), *changes)
    if not words:
        read(path)  # a column that is not used may hold anything
        return
    with pytest.raises(UserError) as error:
        read(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_swapped_capacities_are_refused(frame: pl.DataFrame, tmp_path: Path) -> None:
    path = bdf_csv(frame, tmp_path)
    swap = [("charging_capacity_ah,discharging_capacity_ah", "discharging_capacity_ah,charging_capacity_ah")]
    with pytest.raises(UserError, match="to rise with its current"):
        read(rewritten(path, *swap))


def test_time_under_the_name_of_cycles_is_refused(frame: pl.DataFrame, tmp_path: Path) -> None:
    path = rewritten(plain_csv(frame, tmp_path), ("Time (h)", "X"), (";Cycle", ";Time (h)"), ("X", "Cycle"))
    with pytest.raises(UserError, match="expected whole numbers as cycle_count"):
        read(path)


def test_a_file_cut_in_a_line_loses_that_line_and_says_so(frame: pl.DataFrame, tmp_path: Path) -> None:
    path = neware_csv(frame, tmp_path)
    path.write_bytes(path.read_bytes()[:-25])
    test = read(path)
    assert len(test.frame) == len(frame) - 1
    assert "ends within a line" in test.notes[0]


def test_a_current_without_a_sign_and_without_step_types_is_refused(frame: pl.DataFrame) -> None:
    with pytest.raises(UserError, match="expected a current with a sign"):
        as_series(frame.drop(series.STEP_TYPE).with_columns(pl.col(series.CURRENT).abs()))


def test_a_pause_is_told(frame: pl.DataFrame) -> None:
    late = pl.when(pl.col(series.CYCLE) > 2).then(pl.col(series.TIME) + 40_000).otherwise(pl.col(series.TIME))
    notes = as_series(frame.with_columns(late)).notes
    assert any("no record for 11.1 h" in note for note in notes)
    assert any("the wall clock" in note for note in notes)


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name.replace("__", "/"), content)
    return path


def test_archives_with_tricks_are_refused_unread(tmp_path: Path) -> None:
    out = archive(tmp_path / "out.ndax", **{"data.ndc": b"", "..__..__evil": b"x"})
    with pytest.raises(UserError, match="a path that leaves the archive"):
        read(out)
    absolute = archive(tmp_path / "root.xlsx", **{"__etc__passwd": b"x"})
    with pytest.raises(UserError, match="a path that leaves the archive"):
        read(absolute)
    bomb = tmp_path / "bomb.ndax"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
        target.open("data.ndc", "w", force_zip64=True) as member,
    ):
        for _ in range(1100):
            member.write(bytes(1_000_000))
    assert bomb.stat().st_size < 2_000_000
    with pytest.raises(UserError, match="1,100 MB once unpacked"):
        read(bomb)
    link = zipfile.ZipInfo("data.ndc")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.ndax", "w") as target:
        target.writestr(link, "elsewhere")
    with pytest.raises(UserError, match="a link"):
        read(tmp_path / "link.ndax")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty one"),
        (b"\x00" * 100, "an empty one"),
        (b"BIO-LOGIC MODULAR FILE\x1a", "export it as text (.mpt)"),
        (b"\xd0\xcf\x11\xe0" + b"x" * 100, "an old .xls workbook"),
        (b"PAR1 this is none", "expected a whole Parquet file"),
        (b"NEWARE but no more", "expected a whole Neware .nda file"),
        (b"# notes\n\nnothing here\n", "text that begins '# notes'"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "binary content"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file.dat"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read(path)
    assert words in str(error.value)


def test_mutated_files_end_in_a_message_or_a_measurement(frame: pl.DataFrame, tmp_path: Path) -> None:
    """A hundred here; `python -m tests.benchmarks instruments` does a thousand, and compares what comes out."""
    writers = (neware_csv, landt_csv, biologic_mpt, arbin_csv, bdf_csv)
    files = [writer(frame, tmp_path) for writer in writers] + [DATA / "neware_bts16_short.ndax"]
    content, rng = {path: path.read_bytes() for path in files}, Random(1)
    messages = []
    for _ in range(100):
        path = rng.choice(files)
        damaged = tmp_path / f"mutated-{path.name}"
        damaged.write_bytes(mutated(rng, content[path], path.name))
        try:
            measure(read(damaged), Words(kind="plating"))
        except UserError as error:
            messages.append(str(error))
    assert 20 < len(messages) < 90
    assert max(map(len, messages)) < 1000
