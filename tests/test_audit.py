"""What the audit of the pinned versions concludes from what pip-audit tells."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[1] / ".ci" / "audit.py"
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="the audit is not in the wheel")
OLD = {"name": "django", "version": "2.2", "vulns": [{"id": "PYSEC-2019-11", "aliases": ["CVE-2019-14232"]}]}
GOOD = {"name": "numpy", "version": "2.4.6", "vulns": []}
BAD = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "PYSEC-2019-217", "aliases": ["CVE-2019-10906"]}]}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0)"}
UNKNOWN_OLD = {"name": "django", "skip_reason": "Dependency not found on PyPI"}


@pytest.fixture(scope="module")
def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    "answer",
    ["", "Traceback ...", told(), told(GOOD), told(GOOD, UNKNOWN_OLD), told(BAD, {**OLD, "vulns": []}), told(UNKNOWN)],
)
def test_a_service_that_does_not_know_the_old_version_is_not_believed(audit: Any, answer: str) -> None:
    code, [line] = audit.judged(answer, {})
    assert code == 0
    assert line.startswith("NOT DONE")


def test_what_a_service_knows_is_told(audit: Any) -> None:
    assert audit.judged(told(GOOD, OLD), {}) == (0, ["1 of 1 pinned versions looked at, 0 vulnerabilities to mend."])
    code, [line, done] = audit.judged(told(GOOD, BAD, UNKNOWN, OLD), {})
    assert code == 1
    assert line.startswith("jinja2 2.10: PYSEC-2019-217.")
    assert done == "2 of 3 pinned versions looked at, 1 vulnerabilities to mend. NOT DONE: torch."


def test_a_vulnerability_is_accepted_by_any_of_its_ids_with_a_reason(audit: Any) -> None:
    reasons = audit.accepted("# ids\n\nCVE-2019-10906 no sandbox is used\n")
    assert audit.judged(told(BAD, OLD), reasons)[0] == 0
    with pytest.raises(SystemExit, match="after CVE-1"):
        audit.accepted("CVE-1 \n")
