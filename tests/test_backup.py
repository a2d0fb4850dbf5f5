"""All campaigns in one file and a store made of it again: whole or not at all, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import threading
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns import Campaign
from campaigns.backup import back_up, restore
from campaigns.cli import main
from campaigns.ledger import Ledger
from surrogates import Condition, UserError

from .worlds import world


def filled(store: str | Path, condition: Condition) -> None:
    """Two campaigns with a history that has everything in it."""
    first = Campaign.create("zn-ti", condition, store=store)
    first.add([cell.row() for cell in world(4, seed=1)])
    first.record("new", pressure_kpa=120, note="Übergröße, “quoted”\nand broken")
    first.withdraw("new", "typed twice")
    first.undo()
    second = Campaign.create("second", condition, (10, 1000), store=store)
    second.close("enough")


def test_round_trip(any_store: str, tmp_path: Path, zn_ti: Condition) -> None:
    filled(any_store, zn_ti)
    before = back_up(any_store, tmp_path / "all.zip")
    made = tmp_path / "made"
    assert restore(tmp_path / "all.zip", made) == before
    ledger = Ledger.open(made)
    assert ledger.histories() == before == Ledger.open(any_store).histories()
    assert ledger.campaigns() == ("zn-ti", "second")
    assert Campaign.open("zn-ti", made).cells.equals(Campaign.open("zn-ti", any_store).cells)
    with pytest.raises(UserError, match="expected a store without campaigns; found campaign"):
        restore(tmp_path / "all.zip", made)
    assert ledger.histories() == before


def test_while_somebody_writes(store: Path, tmp_path: Path, zn_ti: Condition) -> None:
    filled(store, zn_ti)
    ended = threading.Event()

    def write() -> None:
        campaign = Campaign.open("zn-ti", store)
        for number in range(30):
            campaign.record(f"w{number}", pressure_kpa=100 + number)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not ended.is_set():
        told = back_up(store, tmp_path / "busy.zip")["zn-ti"]
        assert told == Ledger.open(store).events("zn-ti")[: len(told)]
    writer.join()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    condition = Condition(
        electrode_pair="Zn||Ti", electrolyte="1 M ZnSO4", current_density=1.0, current_density_unit="mA/cm2"
    )
    filled(folder / "store", condition)
    back_up(folder / "store", folder / "all.zip")
    return (folder / "all.zip").read_bytes()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), cut=st.booleans())
def test_a_damaged_file_is_refused_or_unharmed(whole: bytes, at: float, cut: bool, tmp_path: Path) -> None:
    place = int(at * len(whole))
    damaged = whole[:place] if cut else whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
    (tmp_path / "damaged.zip").write_bytes(damaged)
    (tmp_path / "whole.zip").write_bytes(whole)
    try:
        found = restore(tmp_path / "damaged.zip", tmp_path / "new")
    except UserError:
        assert not (tmp_path / "new").exists()
        return
    assert found == restore(tmp_path / "whole.zip", f"sqlite:///{tmp_path}/other.db")
    for made in [*(tmp_path / "new").iterdir(), *tmp_path.glob("other.db*")]:
        made.unlink()
    (tmp_path / "new").rmdir()


def test_what_is_no_backup_is_told(tmp_path: Path, whole: bytes) -> None:
    for content, expected in ((b"", "a whole file of stackpress backup"), (b"PK" + b"0" * 50, "a whole file")):
        (tmp_path / "bad.zip").write_bytes(content)
        with pytest.raises(UserError, match=expected):
            restore(tmp_path / "bad.zip", tmp_path / "made")
    with pytest.raises(UserError, match="a file that can be read"):
        restore(tmp_path / "none.zip", tmp_path / "made")
    with zipfile.ZipFile(tmp_path / "newer.zip", "w") as archive:
        archive.writestr("contents.json", json.dumps({"format": "stackpress backup 9", "sha256": {}}))
    with pytest.raises(UserError, match="Update stackpress"):
        restore(tmp_path / "newer.zip", tmp_path / "made")
    with pytest.raises(UserError, match="expected a folder with a ledger"):
        back_up(tmp_path / "made", tmp_path / "out.zip")
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "out.zip").exists()


def test_commands(tmp_path: Path, whole: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "all.zip").write_bytes(whole)
    for words in (["restore", "all.zip"], ["backup", "again.zip"]):
        with pytest.raises(SystemExit) as stop:
            main([words[0], str(tmp_path / words[1]), "--store", str(tmp_path / "made")])
        assert not stop.value.code
    told = capsys.readouterr().out
    assert "2 campaigns, 8 events" in told
    assert (tmp_path / "again.zip").exists()
