"""`stackpress prior`: list, show, edit, and the prior of a new campaign; messages, JSON, exit codes, imports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from campaigns import Campaign, cli
from surrogates import Prior

from .test_cli import NEW, loaded_by


class Shell:
    """Runs `stackpress` in this process; commands about priors need no store."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            cli.main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = self._capsys.readouterr()
        return code, out, err

    def json(self, *arguments: str) -> Any:
        code, out, err = self("prior", *arguments, "--json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


def test_list(shell: Shell) -> None:
    code, out, _ = shell("prior", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[:4]] == list(Prior.names())
    assert "250 kPa   67.1 to 932 kPa" in out
    assert [prior["name"] for prior in shell.json("list")] == list(Prior.names())


def test_show_by_name_and_by_file(shell: Shell) -> None:
    code, out, _ = shell("prior", "show", "Lithium metal")
    assert code == 0
    assert out == f"{Prior.lithium_metal()}\n"
    Prior.zinc().save("mine.json")
    assert shell("prior", "show", "mine.json")[1] == f"{Prior.zinc()}\n"
    document = shell.json("show", "zinc")
    assert Prior.from_document(document["document"]) == Prior.zinc()
    assert document["content_hash"] == Prior.zinc().content_hash
    assert document["table"][0]["parameter"] == "best_pressure"
    assert document["figure"] is None


def test_show_with_a_figure(shell: Shell) -> None:
    code, out, _ = shell("prior", "show", "zinc", "--figure", "zinc.png")
    assert code == 0
    assert out.endswith("Figure: zinc.png\n")
    assert Path("zinc.png").stat().st_size > 20_000


def test_edit_and_use(shell: Shell, tmp_path: Path) -> None:
    words = ["--set", "best_pressure=100 kPa, factor 2", "--set", "no_effect = 20 %", "--source", "our tests"]
    code, out, _ = shell("prior", "edit", "zinc", *words, "--out", "mine.json")
    assert code == 0
    assert out.splitlines() == [
        "best_pressure: 250 kPa (67.1 to 932 kPa, 90 %) -> 100 kPa (32 to 313 kPa, 90 %)",
        "no_effect: 10 % -> 20 %",
        "Saved mine, version 1, as mine.json. Use it: stackpress new ... --prior mine.json",
    ]
    assert Prior.load("mine.json").best_pressure.source == "our tests"
    assert (
        "Saved mine, version 2"
        in shell("prior", "edit", "mine.json", "--set", "scatter_sd=0.2", "--out", "mine.json")[1]
    )
    store = str(tmp_path / "mlruns")
    assert shell("new", "a", *NEW, "--prior", "mine.json", "--store", store)[0] == 0
    assert Campaign.open("a", store).state.prior == Prior.load("mine.json")
    assert shell("new", "b", *NEW, "--prior", "pouch-cell", "--store", store)[0] == 0
    assert Campaign.open("b", store).state.prior == Prior.pouch_cell()


def test_edit_as_json(shell: Shell) -> None:
    found = shell.json("edit", "zinc", "--set", "best_pressure=factor 3", "--out", "a.json", "--name", "ours")
    assert (found["name"], found["changed"], found["file"]) == ("ours", ["best_pressure"], "a.json")
    assert Prior.from_document(found["document"]) == Prior.load("a.json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "copper"], "prior: expected default, zinc, lithium-metal, pouch-cell, or the path of a saved prior"),
        (["show", "taken.json"], "taken.json: expected a prior saved as JSON"),
        (["show", "zinc", "--figure", "a.gif"], "a.gif: expected a picture to end in .png, .svg, .pdf"),
        (["edit", "zinc", "--set", "best_pressure", "--out", "a.json"], "--set: expected parameter=words, as in"),
        (["edit", "zinc", "--set", "best_pressure=100", "--out", "a.json"], "best_pressure: expected a value in kPa"),
        (["edit", "zinc", "--set", "bestpressure=1 kPa", "--out", "a.json"], "Did you mean best_pressure?"),
        (["edit", "zinc", "--set", "name=x", "--out", "a.json"], "expected a parameter"),
        (
            ["edit", "zinc", "--set", "odd_cell=1 %", "--set", "odd_cell=2 %", "--out", "a.json"],
            "--set: expected each parameter once; found odd_cell several times",
        ),
        (["edit", "zinc", "--set", "odd_cell=1 %", "--out", "taken.json"], "taken.json: expected a new file"),
        (["edit", "zinc", "--set", "odd_cell=1 %", "--out", "no/a.json"], "expected a file that can be written"),
        (["edit", "zinc", "--out", "a.json"], "Missing option '--set'"),
    ],
)
def test_mistakes_are_exit_2_and_one_message(shell: Shell, arguments: list[str], words: str) -> None:
    Path("taken.json").write_text("not a prior")
    code, out, err = shell("prior", *arguments)
    assert code == 2
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert not Path("a.json").exists()


def test_what_a_file_holds_beyond_a_prior_is_told(shell: Shell) -> None:
    Path("p.json").write_text(json.dumps(Prior.zinc().to_document() | {"best_presure": 3}))
    code, out, err = shell("prior", "show", "p.json")
    assert code == 0
    assert out == f"{Prior.zinc()}\n"
    assert err == "Note: p.json: not known to this version, left out: best_presure\n"


def test_help(shell: Shell) -> None:
    code, out, _ = shell("prior", "--help")
    assert code == 0
    for verb in ("list", "show", "edit"):
        assert f"  {verb} " in out
        assert shell("prior", verb, "--help")[0] == 0
    assert "  prior " in shell("--help")[1]


def test_nothing_heavy_is_imported_but_for_a_figure(tmp_path: Path) -> None:
    assert loaded_by(tmp_path, "prior", "list") == set()
    out = str(tmp_path / "a.json")
    assert loaded_by(tmp_path, "prior", "edit", "zinc", "--set", "no_effect=20 %", "--out", out) == set()
    assert loaded_by(tmp_path, "prior", "show", out) == set()
