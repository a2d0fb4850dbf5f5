"""From files to cells: pressure, joining, re-import, folders, maps, and the commands."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from campaigns import cli
from campaigns.campaign import Campaign
from campaigns.instruments import pressure, series
from campaigns.instruments.importing import Job, import_cells
from campaigns.instruments.measure import Words, measure
from campaigns.instruments.picture import write
from campaigns.instruments.reader import read, read_joined
from surrogates import Condition
from surrogates.errors import UserError

from .cells import Truth, as_series, zn_ti, zn_vo2
from .exports import landt_csv, neware_csv, plain_csv

PLATING = Words(kind="plating", formation=2)


@pytest.fixture
def campaign(zn_ti: Condition, store: Path) -> Campaign:
    return Campaign.create("zn", zn_ti, store=store)


@pytest.fixture(scope="module")
def shorted() -> tuple[pl.DataFrame, Truth]:
    return zn_ti(5, cycles=14, mode="short", fail_cycle=10, dt_s=60)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = 0
    try:
        cli.main(list(arguments))
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, *capsys.readouterr()


def test_one_force_is_two_pressures_on_two_discs() -> None:
    small, large = pressure.kpa_per("n", 12, "force"), pressure.kpa_per("n", 16, "force")
    assert small / large == pytest.approx((16 / 12) ** 2)
    assert 100 * small == pytest.approx(100 / (math.pi * 36) * 1000)
    assert pressure.kpa_per("kg", 12, "weight") == pytest.approx(9.80665 * small)
    with pytest.raises(UserError, match=r"expected the electrode's diameter in mm.*1\.78"):
        pressure.kpa_per("n", None, "force")


def test_the_files_channel_is_believed_only_by_the_users_word(
    shorted: tuple[pl.DataFrame, Truth], tmp_path: Path
) -> None:
    test = read(landt_csv(shorted[0], tmp_path))
    found = measure(test, PLATING)
    assert found.pressure is None
    assert [(one.name, one.unit, one.first) for one in found.channels] == [("raw_pressure_psi", "psi", 43.5)]
    said = measure(test, Words(kind="plating", channel="raw_pressure_psi"))
    assert said.row()["pressure_kpa"] == pytest.approx(43.5 * 6.894757)


@pytest.mark.parametrize("dated", [True, False])
def test_a_sensors_log_is_joined_by_time_and_its_drift_told(
    shorted: tuple[pl.DataFrame, Truth], tmp_path: Path, dated: bool
) -> None:
    test, log = read(neware_csv(shorted[0], tmp_path)), tmp_path / "log.csv"
    lines = []
    for minutes in range(0, 40 * 60, 5):
        when = datetime.fromtimestamp(1_700_000_000 + minutes * 60, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        lines.append(f"{when if dated else minutes / 60},{100 - minutes / 100}")
    log.write_text("\n".join([f"{'Date' if dated else 'time_h'},force_N", *lines]) + "\n")
    with pytest.raises(UserError, match="electrode's diameter"):
        pressure.with_log(test, log)
    found = measure(pressure.with_log(test, log, electrode_mm=12), PLATING)
    assert found.pressure is not None
    assert found.pressure.initial_kpa == pytest.approx(pressure.kpa_per("n", 12, "") * 100, rel=2e-3)
    assert found.pressure.least_kpa < 0.95 * found.pressure.initial_kpa
    assert "pressure drifts" in found.pressure.warning
    assert found.row()["pressure_kpa"] == found.pressure.initial_kpa


def test_a_log_of_another_time_is_refused(shorted: tuple[pl.DataFrame, Truth], tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("Date,kPa (kPa)\n2020-01-01 00:00:00,300\n2020-01-02 00:00:00,300\n")
    with pytest.raises(UserError, match="expected a log of the time of the test"):
        pressure.with_log(read(neware_csv(shorted[0], tmp_path)), tmp_path / "log.csv")


def test_a_test_over_several_files_is_one(tmp_path: Path) -> None:
    frame, truth = zn_ti(7, cycles=8, dt_s=60)
    parts = []
    for number, when in enumerate((pl.col(series.CYCLE) > 5, pl.col(series.CYCLE) <= 5)):  # given in the wrong order
        part = frame.filter(when).with_columns(pl.col(series.TIME) - pl.col(series.TIME).min())
        (tmp_path / str(number)).mkdir()
        parts.append(neware_csv(part, tmp_path / str(number)))
    found = measure(read_joined(parts), PLATING)
    assert found.cycles["efficiency"].to_list() == pytest.approx(truth.efficiency, abs=1e-4)
    assert found.life.life_h == pytest.approx(truth.failed_h, abs=1e-3)
    with pytest.raises(UserError, match="expected files that follow each other"):
        read_joined([parts[0], parts[0]])


def test_a_running_cell_is_updated_and_nothing_is_doubled(campaign: Campaign, tmp_path: Path) -> None:
    frame, truth = zn_ti(5, cycles=14, mode="short", fail_cycle=10, dt_s=60)
    facts = {"pressure_kpa": 250.0}
    path = neware_csv(frame.filter(pl.col(series.TIME) < 30_000), tmp_path)
    [first] = import_cells(campaign, [Job("a", (path,), PLATING, facts)])
    assert (first.what, first.cell.status) == ("added", "running")
    neware_csv(frame, tmp_path)
    [second] = import_cells(campaign, [Job("a", (path,), PLATING, facts)])
    assert (second.what, second.cell.status, second.cell.end_reason) == ("updated", "ended", "short")
    assert second.cell.cycle_life_h == pytest.approx(truth.failed_h, abs=1)
    revision = campaign.state.revision
    [third] = import_cells(campaign, [Job("a", (path,), PLATING, facts)])
    assert third.what == "unchanged"
    assert campaign.state.revision == revision
    assert len(campaign.state.cells) == 1


def test_the_users_verdict_outlives_an_import(campaign: Campaign, tmp_path: Path) -> None:
    frame, _ = zn_ti(5, cycles=14, mode="short", fail_cycle=10, dt_s=60)
    path = neware_csv(frame.filter(pl.col(series.TIME) < 30_000), tmp_path)
    import_cells(campaign, [Job("a", (path,), PLATING, {"pressure_kpa": 250.0})])
    campaign.record("a", status="stopped", end_reason="operator")
    neware_csv(frame, tmp_path)
    [again] = import_cells(campaign, [Job("a", (path,), PLATING, {"pressure_kpa": 250.0})])
    assert (again.cell.status, again.cell.end_reason) == ("stopped", "operator")


def test_curves_and_settings_are_kept(campaign: Campaign, shorted: tuple[pl.DataFrame, Truth], tmp_path: Path) -> None:
    path = neware_csv(shorted[0], tmp_path)
    import_cells(campaign, [Job("a", (path,), PLATING, {"pressure_kpa": 250.0})])
    folder = campaign.folder / "artifacts" / "cells" / "zn"
    assert pl.read_parquet(folder / "a.parquet").equals(read(path).frame)
    assert len(pl.read_parquet(folder / "a-cycles.parquet")) == 12
    document = json.loads((folder / "a.json").read_text(encoding="utf-8"))
    assert document["metrics"]["coulombic_efficiency"]["settings"]["formation_cycles_left_out"] == 2
    assert document["metrics"]["coulombic_efficiency"]["settings"]["plating_direction"] == "discharge"
    assert len(document["sha256"]) == 64
    assert sorted(one.name for one in folder.iterdir()) == ["a-cycles.parquet", "a.json", "a.parquet"]


def test_one_bad_file_and_nothing_is_stored(
    campaign: Campaign, shorted: tuple[pl.DataFrame, Truth], tmp_path: Path
) -> None:
    good, bad = neware_csv(shorted[0], tmp_path), tmp_path / "bad.ndax"
    bad.write_bytes(b"PK\x03\x04 not an archive")
    jobs = [Job("a", (good,), PLATING, {"pressure_kpa": 100.0}), Job("b", (bad,), PLATING, {"pressure_kpa": 100.0})]
    with pytest.raises(UserError, match=r"1 of 2 tests failed; nothing was stored.\n  b: .*bad.ndax: expected a whole"):
        import_cells(campaign, jobs)
    assert campaign.state.cells == ()


def test_a_full_cells_row(tmp_path: Path) -> None:
    frame, truth = zn_vo2(3, cycles=20, fade=0.02)
    words = Words(kind="full", reference_cycle=2, retention_cycles=20, active_mass_mg=3.0, end_of_life=0.8)
    row = measure(as_series(frame), words).row()
    assert (row["status"], row["end_reason"], row["ce_protocol"]) == ("ended", "fade", "per_cycle_mean")
    assert row["capacity_retention"] == pytest.approx(truth.out_ah[19] / truth.out_ah[1])
    assert row["retention_cycles"] == 20
    assert row["initial_capacity_mah_g"] == pytest.approx(truth.out_ah[1] * 1e6 / 3)
    assert row["cycle_life_cycles"] == next(n for n, q in enumerate(truth.out_ah, 1) if q < 0.8 * truth.out_ah[1])


def test_words_overrule_the_data(shorted: tuple[pl.DataFrame, Truth]) -> None:
    test = as_series(shorted[0])
    assert measure(test, PLATING).status == ("ended", "short")
    assert measure(test, Words(kind="plating", status="stopped", end_reason="operator")).status == (
        "stopped",
        "operator",
    )
    with pytest.raises(UserError, match="kind: expected full, plating, symmetric"):
        measure(test, Words())


def test_the_figure_says_what_was_detected(shorted: tuple[pl.DataFrame, Truth], tmp_path: Path) -> None:
    path = write(measure(as_series(shorted[0], "zn-05.ndax"), PLATING), tmp_path / "figure.svg")
    text = path.read_text(encoding="utf-8")
    assert "hard short at" in text
    assert "voltage fell to" in text
    assert path.stat().st_size < 1_000_000


def test_commands(
    campaign: Campaign, shorted: tuple[pl.DataFrame, Truth], tmp_path: Path, store: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    path, where = str(neware_csv(shorted[0], tmp_path)), ("--store", str(store))
    code, out, _ = run(capsys, "inspect", path)
    assert code == 0
    assert "Neware table" in out
    assert "--kind full, plating or symmetric" in out
    code, out, _ = run(capsys, "inspect", path, "--kind", "plating", "--formation", "2")
    assert code == 0
    assert "status  ended (short)" in out
    assert (tmp_path / "neware-inspect.png").stat().st_size > 10_000
    code, _, err = run(capsys, "add", "zn", path, *where)
    assert code == 2
    assert "found a test (Neware table). Say what the cell is" in err
    code, out, _ = run(capsys, "add", "zn", path, "--kind", "plating", "--cell", "a", "--pressure", "300", *where)
    assert code == 0
    assert "Added a: 300 kPa, ended (short)" in out
    code, out, _ = run(
        capsys, "add", "zn", path, "--kind", "plating", "--cell", "a", "--pressure", "300", "--json", *where
    )
    document: Any = json.loads(out)
    assert [one["what"] for one in document["imported"]] == ["unchanged"]


def test_a_folder_with_a_sheet(
    campaign: Campaign, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["cell_id,file,pressure_psi"]
    for seed in range(3):
        frame, _ = zn_ti(seed, cycles=6, dt_s=120)
        neware_csv(frame, tmp_path).rename(tmp_path / f"t{seed}.csv")
        lines.append(f"c{seed},t{seed}.csv,{10 * (seed + 1)}")
    (tmp_path / "cells.csv").write_text("\n".join(lines) + "\n")
    code, out, err = run(capsys, "add", "zn", str(tmp_path), "--kind", "plating", "--store", str(store))
    assert code == 0, err
    assert "zn: 3 added" in out
    assert [round(cell.pressure_kpa, 1) for cell in campaign.state.cells] == [68.9, 137.9, 206.8]


def test_an_unknown_table_by_a_saved_map(
    campaign: Campaign,
    shorted: tuple[pl.DataFrame, Truth],
    tmp_path: Path,
    store: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, where = plain_csv(shorted[0], tmp_path), ("--store", str(store))
    text = (
        path.read_text()
        .replace("Time (h)", "Zeit")
        .replace("Voltage (mV)", "Spannung")
        .replace("Current (mA)", "Strom")
    )
    path.write_text(text)
    assert "stackpress map FILE" in run(capsys, "inspect", str(path))[2]
    columns = ["test_time_second=Zeit=h", "voltage_volt=Spannung=mV", "current_ampere=Strom=mA"]
    sets = [part for column in columns for part in ("--set", column)]
    code, out, err = run(capsys, "map", str(path), *sets, "--save", "lab", *where)
    assert code == 0, err
    assert "Saved as lab" in out
    code, out, err = run(capsys, "inspect", str(path), "--map", "lab", "--json", *where)
    assert code == 0, err
    assert json.loads(out)["records"] == len(shorted[0])
    assert (
        "expected HEADER=UNIT"
        in run(capsys, "map", str(path), "--set", "voltage_volt=Spannung=kg", "--save", "x", *where)[2]
    )
    assert "map: expected a saved one (lab)" in run(capsys, "inspect", str(path), "--map", "nope", *where)[2]


def test_limits_of_failure_are_the_users(
    shorted: tuple[pl.DataFrame, Truth],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(neware_csv(shorted[0], tmp_path))
    found = []
    for limits in (
        (),
        ("--limit", "memory=6"),
        ("--limit", "collapse=0.001", "--limit", "dip=0.001", "--limit", "efficiency=99"),
    ):
        code, out, err = run(capsys, "inspect", path, "--kind", "plating", *limits, "--json")
        assert code == 0, err
        document = json.loads(out)
        found.append((document["words"]["limits"]["memory"], document["life"]["mode"]))
    assert found[:2] == [(12, "short"), (6, "short")]
    assert found[2][1] != "short"
    for wrong in ("dipp=0.9", "dip", "dip=low", "dip=-1"):
        code, _, err = run(capsys, "inspect", path, "--kind", "plating", "--limit", wrong)
        assert code == 2
        assert "limit" in err


def test_the_pressure_of_a_test_is_told(
    shorted: tuple[pl.DataFrame, Truth],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(landt_csv(shorted[0], tmp_path))
    code, out, err = run(capsys, "inspect", path, "--kind", "plating", "--channel", "raw_pressure_psi")
    assert code == 0, err
    assert "pressure  299.9 kPa at the start, mean" in out
