"""Every reader on one test, written as each maker exports it, and on real files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from campaigns.instruments import series
from campaigns.instruments.cycles import cycles, half_cycles
from campaigns.instruments.reader import READERS, Reader, read
from campaigns.instruments.series import Series
from surrogates.errors import UserError

from .cells import Truth, zn_ti
from .exports import EXPORTS, Writer

DATA = Path(__file__).parent / "data"
MORE = Path(os.environ.get("STACKPRESS_CYCLER_FILES", "none"))
REAL = sorted(DATA.glob("*.ndax")) + sorted(DATA.glob("*.csv"))
REAL += sorted(path for path in MORE.glob("*.*") if path.suffix in (".csv", ".ndax")) if MORE.is_dir() else []
REFUSED = {"neware_empty.ndax": "expected records; found none"}


@pytest.fixture(scope="module")
def simulated() -> tuple[pl.DataFrame, Truth]:
    return zn_ti(seed=5, cycles=6, dt_s=60, rest_s=300)


class Conformance:
    """What every reader must hold; a new one is added to `EXPORTS` or `REAL`, and inherits all of it."""

    reader: Reader
    test: Series
    path: Path

    def test_it_is_recognised_by_content_alone(self, tmp_path: Path) -> None:
        renamed = tmp_path / "renamed.dat"
        renamed.write_bytes(self.path.read_bytes())
        again = read(renamed)
        assert again.format == self.test.format == self.reader.name
        assert again.frame.equals(self.test.frame)
        assert again.digest == self.test.digest

    def test_columns_are_the_schemas(self) -> None:
        frame = self.test.frame
        known = [name for name in frame.columns if not name.startswith(series.RAW)]
        assert known == [name for name in series.SCHEMA if name in known]
        assert set(series.REQUIRED) <= set(known)
        assert all(frame[name].dtype == series.SCHEMA[name] for name in known)

    def test_time_begins_at_zero_and_never_goes_back(self) -> None:
        time = self.test.frame[series.TIME]
        assert time[0] == 0
        assert bool((time.diff().drop_nulls() >= 0).all())

    def test_counters_only_rise_and_agree_with_the_current(self) -> None:
        frame = self.test.frame
        for name, sign in ((series.CHARGED, 1), (series.DISCHARGED, -1)):
            if name in frame.columns:
                assert bool((frame[name].diff().drop_nulls() >= 0).all())
                passed = series.integral_ah(frame, sign)
                slip = 1e-4 + 5e-5 * frame[series.TIME][-1] / 3600  # real files round to 0.1 mAh and 0.1 mA
                assert frame[name][-1] - frame[name][0] == pytest.approx(passed, rel=0.05, abs=slip)


class TestExports(Conformance):
    @pytest.fixture(autouse=True, params=EXPORTS, ids=lambda writer: writer.__name__)
    def _file(self, request: pytest.FixtureRequest, simulated: tuple[pl.DataFrame, Truth], tmp_path: Path) -> None:
        writer: Writer = request.param
        self.frame, self.truth = simulated
        self.path = writer(self.frame, tmp_path)
        self.test = read(self.path)
        self.reader = next(one for one in READERS if one.name == EXPORTS[writer])

    def test_values_are_those_written(self) -> None:
        frame = self.test.frame
        assert len(frame) == len(self.frame)
        for name, tolerance in ((series.TIME, 2e-3), (series.VOLTAGE, 1e-6), (series.CURRENT, 1e-8)):
            assert np.max(np.abs((frame[name] - self.frame[name]).to_numpy())) <= tolerance, name
        if series.CYCLE in frame.columns:
            assert frame[series.CYCLE].to_list() == self.frame[series.CYCLE].to_list()

    def test_efficiency_is_the_one_put_in(self) -> None:
        found, _ = cycles(half_cycles(self.test), "plating")
        assert found["efficiency"].to_list() == pytest.approx(self.truth.efficiency, abs=1e-4)


class TestRealFiles(Conformance):
    @pytest.fixture(
        autouse=True, params=[path for path in REAL if path.name not in REFUSED], ids=lambda path: path.name
    )
    def _file(self, request: pytest.FixtureRequest) -> None:
        self.path = request.param
        self.test = read(self.path)
        self.reader = next(one for one in READERS if one.name == self.test.format)


def test_every_reader_passes_the_conformance_tests() -> None:
    tested = set(EXPORTS.values()) | {read(path).format for path in REAL if path.name not in REFUSED}
    by_choice = {"BioLogic binary"}  # its reader is under the GPL: test_biologic_binary.py
    assert tested | by_choice == {reader.name for reader in READERS}


@pytest.mark.parametrize(("name", "words"), REFUSED.items())
def test_an_empty_file_is_refused_with_one_message(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(DATA / name)


def test_a_damaged_part_is_told() -> None:
    assert any("could not read TestInfo.xml" in note for note in read(DATA / "neware_corrupt.ndax").notes)


def test_landt_and_its_twin_in_battery_data_format_are_one_series() -> None:
    pairs = [(DATA / "landt_excerpt.csv", DATA / "landt_excerpt.bdf.csv")]
    if MORE.is_dir():
        pairs.append((MORE / "landt_with_pressure.csv", MORE / "bdf_landt.bdf.csv"))
    for one, other in pairs:
        landt, bdf = read(one).frame, read(other).frame
        shared = [name for name in bdf.columns if name in landt.columns]
        assert len(shared) == 7
        assert landt.select(shared).equals(bdf.select(shared))
        assert "raw_pressure_psi" in landt.columns


def test_a_continuation_file_is_recognised() -> None:
    found, notes = cycles(half_cycles(read(DATA / "neware_aurora_continuation.ndax")), "full")
    assert found["efficiency"][0] is None
    assert found["out_ah"][0] / found["in_ah"][0] == pytest.approx(8.18, abs=0.01)
    assert "starts in the middle" in notes[0]
    assert "818%" in notes[0]
