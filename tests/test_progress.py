"""Progress bars: on a terminal and on stderr only, never for machines."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from campaigns.priors import counting
from campaigns.progress import progress

WORK = (
    "import sys, time\nfrom campaigns.progress import progress\n"
    "with progress('Working', 3, as_json=sys.argv[1] == 'json') as done:\n"
    "    for _ in range(3):\n        time.sleep(0.15)\n        done()\n"
    "print('finished')\n"
)


def on_a_terminal(code: str, *arguments: str) -> tuple[str, str]:
    """stdout, and what a terminal on stderr was sent."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux tells the end of a terminal so
                break
            if not part:
                break
            seen += part
        assert process.stdout is not None
        out = process.stdout.read().decode()
    os.close(ours)
    assert process.returncode == 0
    return out, seen.decode()


def test_a_terminal_sees_the_bar() -> None:
    out, seen = on_a_terminal(WORK, "text")
    assert out == "finished\n"
    assert "Working" in seen
    assert "/3" in seen


def test_machines_and_files_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert on_a_terminal(WORK, "json") == ("finished\n", "")
    with progress("Working", 3) as done:  # no terminal here
        done()
    assert capsys.readouterr() == ("", "")


def test_every_result_is_counted() -> None:
    counts: list[int] = []
    assert list(counting(map, lambda: counts.append(1))(pow, [2, 3], [3, 2])) == [8, 9]
    assert len(counts) == 2


def test_a_command_with_its_bar(tmp_path: Path) -> None:
    """`verify` of two answers, on a terminal and for machines."""
    code = "import sys\nfrom campaigns.cli import main\nmain(sys.argv[1:])\n"
    table = tmp_path / "t.csv"
    table.write_text("cell_id,pressure_kpa,status,cycle_life_h\na,50,ended,30\nb,300,ended,90\n")
    new = ["--pair", "Zn||Ti", "--electrolyte", "1 M ZnSO4", "--current", "1", "--current-unit", "mA/cm2"]
    store = ["--store", str(tmp_path / "s")]
    for arguments in (["new", "a", *new], ["add", "a", str(table)], ["suggest", "a"], ["suggest", "a", "--seed", "1"]):
        subprocess.run([sys.executable, "-c", code, *arguments, *store], check=True, capture_output=True)
    out, seen = on_a_terminal(code, "verify", "a", *store)
    assert out.endswith("2 of 2 answers come out the same.\n")
    assert "Computing answers again" in seen
    assert on_a_terminal(code, "verify", "a", "--json", *store)[1] == ""
