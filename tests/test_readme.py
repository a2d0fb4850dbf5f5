"""What the README shows is what happens: its transcript and its Python are run, in a folder of their own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not in the wheel")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
TOLERANCE = 0.35  # another processor or version of torch may settle on a neighbouring pressure


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def run(command: str, folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def words(text: str) -> list[str]:
    return NUMBER.sub("#", " ".join(text.split())).split()


def numbers(text: str) -> list[float]:
    return [float(number) for number in NUMBER.findall(" ".join(text.split()))]


def test_transcript(tmp_path: Path) -> None:
    [table] = blocks("csv")
    (tmp_path / "cells.csv").write_text(table)
    shown = [part for block in blocks("console") for part in block.split("$ ")[1:]]
    assert len(shown) >= 6
    for part in shown:
        command, _, expected = part.partition("\n")
        assert shlex.split(command)[0] == "stackpress"
        found = run(command, tmp_path)
        assert words(found) == words(expected), command
        assert numbers(found) == pytest.approx(numbers(expected), rel=TOLERANCE), command


def test_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [code] = blocks("python")
    names: dict[str, object] = {}
    exec(compile(code, str(README), "exec"), names)
    assert len(names["next_cells"]) == 2  # type: ignore[arg-type]
    assert (tmp_path / "mlruns" / "ledger.db").exists()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target
