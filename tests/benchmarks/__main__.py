"""`python -m tests.benchmarks [NAME ...]`: run the benchmarks named, or all, and keep what they measured."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import calibration, commands, instruments, speed

BENCHMARKS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "speed": speed.run,
    "commands": commands.run,
    "calibration": calibration.run,
    "instruments": instruments.run,
}
RESULTS = Path("build/bench")


def provenance() -> dict[str, str]:
    """Commit, machine and versions that a number belongs to."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    versions = {name: version(name) for name in ("stackpress", "torch", "botorch", "numpy", "scikit-learn")}
    return {
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        **versions,
    }


def main(names: list[str]) -> None:
    """Run and report."""
    for name in names or list(BENCHMARKS):
        rows = BENCHMARKS[name]()
        print(f"\n{name}: {provenance()}")
        print_table(rows)
        RESULTS.mkdir(parents=True, exist_ok=True)
        document = {"benchmark": name, "provenance": provenance(), "rows": rows}
        (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")


def print_table(rows: list[dict[str, Any]]) -> None:
    """Rows as a Markdown table."""
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(f"{row[n]:.3g}" if isinstance(row[n], float) else str(row[n]) for n in names) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
