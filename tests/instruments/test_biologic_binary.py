"""BioLogic .mpr by galvani, where it is installed (it is under the GPL, so no extra of the tests brings it), and without it."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from campaigns.instruments import series
from campaigns.instruments.cycles import cycles, half_cycles
from campaigns.instruments.reader import read
from surrogates.errors import UserError

from .cells import zn_ti

MAGIC = b"BIO-LOGIC MODULAR FILE\x1a                         \x00\x00\x00\x00"
REAL = Path(os.environ.get("STACKPRESS_CYCLER_FILES", "none")) / "biologic_gcpl.mpr"
IDS = {"Ns": (131, "<u2"), "time/s": (4, "<f8"), "Ewe/V": (6, "<f4"), "dq/mA.h": (7, "<f8"), "I/mA": (8, "<f4")}


def module(name: bytes, content: bytes, version: int) -> bytes:
    head = struct.pack("<10s25sII8s", name, name, len(content), version, b"09/02/24")
    return b"MODULE" + head + content


def write_mpr(frame: pl.DataFrame, path: Path, with_current: bool) -> Path:
    """A test as EC-Lab writes it: modules of settings and of data, of version 2."""
    names = [name for name in IDS if name != "I/mA" or with_current]
    records = np.zeros(len(frame), dtype=[(name, IDS[name][1]) for name in names])
    net = (frame[series.CHARGED] - frame[series.DISCHARGED]).to_numpy() * 1000
    records["Ns"], records["time/s"] = frame[series.STEP], frame[series.TIME]
    records["Ewe/V"], records["dq/mA.h"] = frame[series.VOLTAGE], np.diff(net, prepend=net[0])
    if with_current:
        records["I/mA"] = frame[series.CURRENT] * 1000
    ids = struct.pack(f"<{len(names)}H", *(IDS[name][0] for name in names))
    head = (struct.pack("<IB", len(frame), len(names)) + ids).ljust(405, b"\x00")
    path.write_bytes(MAGIC + module(b"VMP Set   ", b"", 0) + module(b"VMP data  ", head + records.tobytes(), 2))
    return path


def test_without_a_reader_the_choice_and_its_licence_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "galvani", None)  # as if it were not installed
    path = write_mpr(zn_ti(5, cycles=2, dt_s=60)[0], tmp_path / "a.mpr", with_current=True)
    with pytest.raises(UserError, match=r"export it as text \(.mpt\).*stackpress\[biologic\].*GPL-3.0-or-later"):
        read(path)


@pytest.mark.parametrize("with_current", [True, False])
def test_a_test_comes_back(tmp_path: Path, with_current: bool) -> None:
    pytest.importorskip("galvani", reason="a reader under the GPL, by choice: pip install galvani")
    frame, truth = zn_ti(5, cycles=6, dt_s=60, rest_s=300)
    test = read(write_mpr(frame, tmp_path / "a.mpr", with_current))
    assert test.format == "BioLogic binary"
    assert len(test.frame) == len(frame)
    assert np.abs((test.frame[series.VOLTAGE] - frame[series.VOLTAGE]).to_numpy()).max() < 1e-6
    found, _ = cycles(half_cycles(test), "plating")
    assert found["efficiency"].to_list() == pytest.approx(truth.efficiency, abs=2e-3)
    assert any("no current" in note for note in test.notes) == (not with_current)


def test_damage_is_one_message(tmp_path: Path) -> None:
    pytest.importorskip("galvani")
    path = write_mpr(zn_ti(5, cycles=2, dt_s=60)[0], tmp_path / "a.mpr", with_current=True)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"expected a whole \.mpr file; found one that galvani cannot read"):
        read(path)


@pytest.mark.skipif(not REAL.is_file(), reason="STACKPRESS_CYCLER_FILES names no folder of real files")
def test_a_real_file() -> None:
    pytest.importorskip("galvani")
    test = read(REAL)
    assert test.frame[series.TIME].to_list() == pytest.approx([0, 1, 2, 2.813], abs=1e-3)
    assert test.frame[series.VOLTAGE][0] == pytest.approx(3.51509, abs=1e-5)
