"""Are there known vulnerabilities in the pinned versions (constraints.txt)? `python .ci/audit.py [options of pip-audit]`.

A service that has no advisories answers like one that knows of none. So an old version with published vulnerabilities is
asked about as well: only one that knows it is believed. Exit code 1 is a vulnerability that accepted-vulnerabilities.txt
does not list with a reason; where no service answers nothing is claimed, and nothing fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PINNED = Path(__file__).parents[1] / "constraints.txt"
ACCEPTED = Path(__file__).with_name("accepted-vulnerabilities.txt")
OLD = "django==2.2"  # CVE-2019-14232 and many more; not among ours
ANSWER_S, ALL_S = "15", 600


def main(options: list[str]) -> int:
    """Audit, and say what was found."""
    code, lines = judged(audited(f"{PINNED.read_text()}\n{OLD}\n", options), accepted(ACCEPTED.read_text()))
    print(*(f"audit: {line}" for line in lines), sep="\n")
    return code


def audited(requirements: str, options: list[str]) -> str:
    """What pip-audit tells in JSON, "" where it ended otherwise."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        command += ["--timeout", ANSWER_S, "--format", "json", "--requirement", file.name, *options]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=ALL_S).stdout
        except subprocess.TimeoutExpired:
            return ""


def judged(told: str, reasons: Mapping[str, str]) -> tuple[int, list[str]]:
    """The exit code, and what there is to say; `reasons`: of accepted vulnerabilities, by id."""
    packages: list[dict[str, Any]] = json.loads(told)["dependencies"] if told.startswith("{") else []
    ours = [package for package in packages if package["name"] != OLD.partition("==")[0]]
    if not any(package.get("vulns") for package in packages if package not in ours):
        return 0, ["NOT DONE. No vulnerability service answers here; run `make audit` where one does."]
    lines = [
        f"{package['name']} {package['version']}: {found['id']}. Take a version without it, or list it with a reason in "
        f".ci/{ACCEPTED.name}."
        for package in ours
        for found in package.get("vulns", [])
        if reasons.keys().isdisjoint([found["id"], *found["aliases"]])
    ]
    unknown = [package["name"] for package in ours if "skip_reason" in package]
    done = f"{len(ours) - len(unknown)} of {len(ours)} pinned versions looked at, {len(lines)} vulnerabilities to mend"
    return int(bool(lines)), [*lines, f"{done}. NOT DONE: {', '.join(unknown)}." if unknown else f"{done}."]


def accepted(text: str) -> dict[str, str]:
    """Reasons by id. Raises `SystemExit` where an id has none."""
    lines = [line.partition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    if missing := [id_ for id_, _, reason in lines if not reason.strip()]:
        raise SystemExit(f"audit: {ACCEPTED.name}: expected a reason after each id; found none after {missing[0]}.")
    return {id_: reason for id_, _, reason in lines}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
