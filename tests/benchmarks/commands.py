"""How long the command line takes: until its answer is printed, and beside it the imports that no answer can do without."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

REPEATS = 9
STACKPRESS = str(Path(sys.executable).parent / "stackpress")
NEW = ["--pair", "Zn||MnO2", "--electrolyte", "2 M ZnSO4", "--current", "1", "--current-unit", "mA/cm2"]
TABLE = "cell_id,pressure_kpa,status,cycle_life_h\na-1,30,ended,22\na-2,140,ended,71\na-3,400,running,120\na-4,900,ended,40\n"


def run() -> list[dict[str, Any]]:
    """Medians over alternating runs, so that all rows saw the same machine."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "STACKPRESS_STORE": folder, "STACKPRESS_SYNC": "off"}
        (Path(folder) / "cells.csv").write_text(TABLE)
        for command in (["new", "a", *NEW], ["add", "a", f"{folder}/cells.csv"], ["suggest", "a"]):
            subprocess.run([STACKPRESS, *command], env=environment, check=True, capture_output=True)
        times: dict[str, list[float]] = {}
        for number in range(REPEATS):
            for name, command in _commands(number).items():
                times.setdefault(name, []).append(seconds_to_answer(command, environment))
    imports = median(times["import torch, botorch"])
    return [
        {"what": name, "median s": median(t), "fastest s": min(t), "of the imports": median(t) / imports}
        for name, t in times.items()
    ]


def _commands(number: int) -> dict[str, list[str]]:
    return {
        "stackpress --help": [STACKPRESS, "--help"],
        "import campaigns.cli": [sys.executable, "-c", "import campaigns.cli; print()"],
        "import torch, botorch": [sys.executable, "-c", "import torch, botorch; print()"],
        "import torch, botorch.models": [sys.executable, "-c", "import torch, botorch.models.gp_regression; print()"],
        "suggest": [STACKPRESS, "suggest", "a", "--seed", str(1000 + number)],
        "record": [STACKPRESS, "record", "a", "a-3", "--life-h", str(130 + number)],
        "show": [STACKPRESS, "show", "a"],
    }


def seconds_to_answer(command: list[str], environment: dict[str, str]) -> float:
    """From the start of a command until the first of its answer is printed."""
    start = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        elapsed = time.perf_counter() - start
        process.stdout.read()
    assert process.returncode == 0, command
    return elapsed
