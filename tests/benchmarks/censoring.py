"""What a test budget costs that 40 % of the cells outlive: our model, its two naive treatments, and peers that take ends.

The same worlds with full lives come first in each group of rows: `error ratio` is the error with 40 % censored over it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .peers import AS_ENDS, DROPPED, OURS, SCIKIT_LEARN, SINGLE_TASK
from .scoring import Plan, compare, select

SHARE = 0.4
FAMILIES = ("well-specified", "shifted", "off-scale", "flat", "edge", "two peaks", "wrong prior")
COUNTS = (5, 10, 20)
CENSORED = Plan((OURS, DROPPED, AS_ENDS, SCIKIT_LEARN, SINGLE_TASK), FAMILIES, COUNTS, censored=SHARE)
FULL = replace(CENSORED, contenders=(OURS,), censored=0.0)


def run() -> list[dict[str, Any]]:
    """A row a family, number of cells and model, `error ratio` against our model with full lives."""
    full = [{**row, "model": "ours, full lives"} for row in compare(FULL, "full lives")]
    rows = full + compare(CENSORED, "censored")
    for row in rows:
        [same] = select(full, family=row["family"], cells=row["cells"])
        row["error ratio"] = row["error"] / same["error"]
    keys = [(family, count) for family in FAMILIES for count in COUNTS]
    return sorted(rows, key=lambda row: keys.index((row["family"], row["cells"])))
