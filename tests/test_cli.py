"""The command line as its users meet it: the loop, JSON, exit codes, messages, and what is imported when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from campaigns import cli

HEAVY = (
    "alembic",
    "numpy",
    "pyarrow",
    "torch",
    "mlflow",
    "botorch",
    "gpytorch",
    "sklearn",
    "matplotlib",
    "pandas",
    "polars",
)
NEW = ["--pair", "Zn||MnO2", "--electrolyte", "2 M ZnSO4", "--current", "1", "--current-unit", "mA/cm2"]
TABLE = "cell_id,pressure_kpa,status,cycle_life_h\na-1,30,ended,22\na-2,140,ended,71\na-3,400,running,120\n"


class Shell:
    """Runs commands in this process, in a folder and store of their own."""

    def __init__(self, capsys: pytest.CaptureFixture[str], store: Path) -> None:
        self._capsys = capsys
        self._store = store

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        where = [] if arguments and arguments[0] == "--help" else ["--store", str(self._store)]
        code = 0
        try:
            cli.main([*arguments, *where])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *arguments: str) -> Any:
        code, out, err = self(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], store: Path) -> Shell:
    return Shell(capsys, store)


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "cells.csv"
    path.write_text(TABLE)
    return str(path)


def test_three_commands_to_an_answer(shell: Shell, table: str) -> None:
    assert shell("new", "mno2", *NEW, "--max-kpa", "1200")[0] == 0
    code, out, _ = shell("add", "mno2", table)
    assert code == 0
    assert "Added 3 cells to mno2" in out
    code, out, _ = shell("suggest", "mno2")
    assert code == 0
    for label in ("Next", "Expected", "Why", "Best so far", "Agreement", "Would change", "Caution", "Cells"):
        assert f"\n  {label}" in out
    assert "as cell mno2-004" in out
    assert "3 cells without replicates cannot fix an optimum" in out
    code, out, _ = shell("record", "mno2", "mno2-004", "--status", "ended", "--life-h", "80", "--end-reason", "short")
    assert code == 0
    assert "Outdated" in shell("show", "mno2")[1]
    assert shell("suggest", "mno2", "-n", "2")[0] == 0
    code, out, _ = shell("show", "mno2")
    assert "Outdated" not in out
    assert "> 120 h" in out
    assert "ended (short)" in out
    assert "mno2: Zn||MnO2 in 2 M ZnSO4" in shell("show")[1]


def test_json_of_every_verb(shell: Shell, table: str) -> None:
    assert shell.json("new", "a", *NEW)["suggestion"] is None
    assert shell.json("add", "a", table)["added"] == ["a-1", "a-2", "a-3"]
    document = shell.json("suggest", "a")
    answer = document["suggestion"]["answers"][0]
    assert answer["cell_ids"] == ["a-004"]
    assert answer["proposals"][0]["verdict"] in ("measure", "repeat", "stop", "edge: higher")
    assert document["suggestion"]["data_hash"]
    assert shell.json("record", "a", "a-004", "--status", "running")["cell"]["status"] == "running"
    shown = shell.json("show", "a")
    assert shown["suggestion_is_current"] is False
    assert len(shown["cells"]) == 4
    assert shell.json("show") == [{"campaign": "a", "programme": "default", "cells": 4}]


def test_figures_on_request(shell: Shell, table: str, store: Path) -> None:
    shell("new", "a", *NEW)
    shell("add", "a", table)
    shell("suggest", "a")
    code, out, _ = shell("show", "a", "--figure")
    assert code == 0
    assert f"Figure: {store / 'artifacts' / 'figures' / 'a.png'}" in out
    assert (store / "artifacts" / "figures" / "a.svg").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["suggest", "nope"], "campaign nope: expected a campaign of the store"),
        (["new", "a", *NEW], "expected a new name"),
        (["new", "b", "--pair", "Zn", *NEW[2:]], "electrode_pair: expected two electrodes"),
        (["new", "b", *NEW, "--allowed-kpa", "50;100"], "--allowed-kpa: expected numbers with commas between"),
        (["record", "a", "x", "--set", "lot"], "--set: expected column=value"),
        (["record", "a", "a-1", "--ce", "98.4", "--ce-protocol", "reservoir"], "percentage"),
        (["record", "a", "x", "--set", "cell_id=q"], "--set: expected column=value"),
        (["record", "a", "a-1", "--life-h", "nan"], "expected a finite number"),
        (
            ["new", "b", *NEW, "--prior", "copper"],
            "prior: expected default, zinc, lithium-metal, pouch-cell, or the path",
        ),
        (["add", "a", "missing.csv"], "missing.csv: expected a file that can be read"),
        (["suggest", "a", "-n", "0"], "expected 1 to 50 cells; found 0"),
        (["correct", "a", "a-9", "--life-h", "3"], "cell a-9: expected a cell of campaign a; found a-1, a-2, a-3"),
        (["correct", "a", "a-1", "--life-h", "22"], "found every value as it is already"),
        (["correct", "a", "a-1", "--life-h", "3", "--seen-revision", "1"], "found it changed since by event 2"),
        (["withdraw", "a", "a-1", "--reason", " "], "withdraw a-1: expected a reason"),
        (["undo", "a", "7"], "undo: expected an event from 1 to 2; found 7"),
        (["history", "a", "--cell", "z"], "cell z: expected a cell that campaign a has or had"),
        (["export", "a", "a.docx"], "a.docx: expected a name that ends in .csv, .xlsx, .parquet"),
        (["import", "a", "missing.jsonl"], "missing.jsonl: expected a file that can be read"),
    ],
)
def test_the_users_mistakes_are_exit_2_and_one_message(
    shell: Shell, table: str, arguments: list[str], words: str
) -> None:
    shell("new", "a", *NEW)
    shell("add", "a", table)
    code, out, err = shell(*arguments)
    assert code == 2
    assert out == ""
    assert words in err
    assert "Traceback" not in err


def test_usage_is_exit_2(shell: Shell) -> None:
    assert shell("new")[0] == 2
    assert shell("no-such-verb")[0] == 2
    assert shell("suggest", "a", "-n", "many")[0] == 2


def test_our_faults_are_exit_1_without_a_traceback(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(cli, "_list", broken)
    code, _, err = shell("show")
    assert code == 1
    assert "a fault of stackpress, not of yours: ZeroDivisionError" in err
    assert "--debug" in err
    with pytest.raises(ZeroDivisionError):
        shell("show", "--debug")


def test_every_command_explains_itself(shell: Shell) -> None:
    code, out, _ = shell("--help")
    assert code == 0
    for verb in (
        "demo",
        "new",
        "add",
        "inspect",
        "map",
        "suggest",
        "record",
        "correct",
        "withdraw",
        "undo",
        "history",
        "export",
        "import",
        "show",
        "prior",
        "compare",
        "report",
        "verify",
        "sync",
        "ui",
        "serve",
        "token",
    ):
        assert f"  {verb} " in out
        assert subprocess.run([sys.executable, "-m", "campaigns.cli", verb, "--help"], check=True, capture_output=True)


def test_demo_cards_and_what_mlflow_had_against_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKPRESS_MLFLOW", "http://127.0.0.1:9")  # where nobody listens
    code, out, err = shell("demo")
    assert code == 0
    assert "stackpress: MLflow server http://127.0.0.1:9: expected an answer" in err
    assert "Zn||Ti in 1 M ZnSO4 at 1 mA/cm2: cycle life (h)" in out
    assert "Zn||VO2 in 1 M ZnSO4 at 1 A/g: capacity retention after 100 cycles" in out
    assert out.count("3 cells without replicates cannot fix an optimum") == 2
    assert "doi:10.1002/sml.202501242" in out
    assert "wen2025-zn-ti.png" in out


def loaded_by(store: Path, *arguments: str) -> set[str]:
    """Which heavy packages a fresh interpreter has imported once the command is done (none given: at import)."""
    script = (
        "import sys\nfrom campaigns.cli import main\n"
        "try:\n    main(sys.argv[1:]) if sys.argv[1:] else None\nexcept SystemExit as stop:\n    assert not stop.code\n"
        f"print('loaded:', *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "STACKPRESS_STORE": str(store)}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return set(done.stderr.split("loaded:")[1].split())


def test_what_is_imported_when(shell: Shell, table: str, store: Path) -> None:
    shell("new", "a", *NEW)
    shell("add", "a", table)
    shell("new", "b", *NEW)
    assert loaded_by(store) == set()
    assert loaded_by(store, "suggest", "a") == {"numpy", "torch"}
    assert loaded_by(store, "record", "a", "a-3", "--life-h", "130") == set()
    assert loaded_by(store, "show", "a") == set()
    assert loaded_by(store, "history", "a") == set()
    assert loaded_by(store, "compare", "a", "b") == {"numpy"}
    assert loaded_by(store, "correct", "a", "a-3", "--life-h", "125") == set()
    assert loaded_by(store, "undo", "a") == set()


def test_mlflow_is_updated_after_the_answer(
    shell: Shell, table: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sync a command, started when everything has been printed."""
    from campaigns import background

    printed: list[str] = []
    monkeypatch.setattr(background, "sync_in_background", lambda store: printed.append(capsys.readouterr().out))
    shell("new", "a", *NEW)
    shell("add", "a", table)
    shell("suggest", "a")
    assert [text.split()[0] for text in printed] == ["Opened", "Note:", "Zn||MnO2"]
    assert "inform this answer" in printed[-1]


def test_looking_makes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shell = Shell(capsys, tmp_path / "nowhere")
    assert "No campaign in" in shell("show")[1]
    assert shell("ui", "--no-browser")[0] == 2
    assert shell("sync")[0] == 2
    assert not (tmp_path / "nowhere").exists()


def test_cells_of_another_condition_are_named(shell: Shell, tmp_path: Path) -> None:
    shell("new", "a", *NEW)
    path = tmp_path / "typo.csv"
    path.write_text("cell_id,pressure_kpa,status,electrolyte\nm-1,30,planned,2M ZnSO4\nm-2,40,planned,2 M ZnSO4\n")
    out = shell("add", "a", str(path))[1]
    assert "Note: m-1: Zn||MnO2 in 2M ZnSO4 is not this campaign's Zn||MnO2 in 2 M ZnSO4" in out


def test_large_pressures_are_written_out(shell: Shell, tmp_path: Path) -> None:
    shell("new", "a", *NEW, "--max-kpa", "9000")
    path = tmp_path / "high.csv"
    path.write_text("cell_id,pressure_kpa,status,cycle_life_h\na,500,ended,30\nb,2000,ended,99\nc,8000,ended,25\n")
    shell("add", "a", str(path))
    out = shell("suggest", "a")[1]
    assert "e+0" not in out


def test_what_was_said_wrongly_is_mended(shell: Shell, table: str) -> None:
    shell("new", "a", *NEW)
    shell("add", "a", table)
    out = shell("correct", "a", "a-1", "--pressure-kpa", "33", "--set", "separator=glass", "--reason", "gauge")[1]
    assert out.startswith("Corrected a-1: pressure_kpa 30 -> 33, separator glass (gauge).\nTo take that back: ")
    assert out.endswith(" a 3\n")
    assert shell("withdraw", "a", "a-2", "--reason", "leaked")[1].startswith("Withdrew a-2 (leaked).")
    assert "a-2" not in shell("show", "a")[1]
    assert shell("undo", "a")[1].startswith("Undid 4: withdrew a-2 (leaked).")
    assert "a-2" in shell("show", "a")[1]
    lines = shell("history", "a")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["event", "1", "2", "3", "4", "5"]
    assert lines[4].endswith("withdrew a-2 (leaked) [undone by 5]")
    assert "added 3 cells from" in lines[2]
    assert [line["revision"] for line in shell.json("history", "a", "--cell", "a-1")] == [2, 3]
    assert shell.json("undo", "a", "3")["payload"] == {"revision": 3}
    assert shell.json("correct", "a", "a-1", "--life-h", "23")["payload"]["changes"] == [
        {"cell_id": "a-1", "before": {"cycle_life_h": 22.0}, "after": {"cycle_life_h": 23.0}}
    ]


def test_a_table_that_was_mended_is_added_again(shell: Shell, table: str) -> None:
    shell("new", "a", *NEW)
    shell("add", "a", table)
    out = shell("add", "a", table)[1]
    assert "Note: 3 cells passed over, there already and unchanged" in out
    assert "Added 0 cells to a, which now has 3" in out
    Path(table).write_text(TABLE.replace("71", "74") + "a-4,900,planned,\n")
    code, _, err = shell("add", "a", table)
    assert code == 2
    assert "cell a-2: expected cycle_life_h 71, as campaign a has it; found cycle_life_h 74" in err
    assert "--correct" in err
    document = shell.json("add", "a", table, "--correct")
    assert (document["added"], document["corrected"], document["unchanged"]) == (["a-4"], ["a-2"], ["a-1", "a-3"])


def test_requests_sent_twice_are_stored_once(shell: Shell, table: str) -> None:
    opening = ["new", "a", *NEW, "--key", "monday"]
    assert shell(*opening) == shell(*opening)
    assert "expected a key of its own" in shell(*opening, "--max-kpa", "700")[2]
    request = ["record", "a", "x", "--pressure-kpa", "50", "--key", "tuesday-1"]
    assert shell(*request) == shell(*request)
    assert shell.json("show", "a")["revision"] == 2
    assert "expected a key of its own" in shell(*request, "--status", "running")[2]


def test_out_into_a_file_and_in_again(
    shell: Shell, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell("new", "a", *NEW)
    shell("add", "a", table)
    shell("withdraw", "a", "a-2", "--reason", "leaked")
    file = str(tmp_path / "a.jsonl")
    assert "3 events of a, read back and compared" in shell("export", "a", file)[1]
    other = Shell(capsys, tmp_path / "other")
    assert "a is as " in other("import", "a", file)[1]
    assert "3 events, 2 cells" in other("import", "a", file)[1]
    assert other("history", "a")[1] == shell("history", "a")[1]
    other("record", "a", "a-3", "--life-h", "130")
    shell("record", "a", "a-3", "--life-h", "140")
    shell("export", "a", file)
    assert "found another from event 4 on: recorded by" in other("import", "a", file)[2]
    assert "found them in campaign a" in other("import", "b", file)[2]
    (tmp_path / "a.jsonl").write_text((tmp_path / "a.jsonl").read_text().replace("leaked", "fine"))
    assert "lines that are not those" in other("import", "a", file)[2]
    for suffix in ("csv", "xlsx", "parquet"):
        path = str(tmp_path / f"out.{suffix}")
        assert "2 cells of a, read back and compared" in shell("export", "a", path)[1]
        assert "2 cells passed over" in shell("add", "a", path)[1]
