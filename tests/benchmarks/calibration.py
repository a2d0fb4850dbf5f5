"""Is the surrogate as sure as it may be, and does it foresee held-out cells better than its peers?"""

from __future__ import annotations

from typing import Any

from .peers import MULTI_TASK, OURS, SCIKIT_LEARN, SINGLE_TASK
from .scoring import Plan, compare

FAMILIES = (
    "well-specified",
    "shifted",
    "off-scale",
    "flat",
    "edge",
    "two peaks",
    "wrong prior",
)
COUNTS = (0, 1, 2, 3, 5, 10, 20)
ALONE = Plan((OURS, SCIKIT_LEARN, SINGLE_TASK), FAMILIES, COUNTS, from_cells=2)
AMONG_OTHERS = Plan((OURS, SCIKIT_LEARN, SINGLE_TASK, MULTI_TASK), ("opposite sources",), COUNTS, from_cells=2)


def run() -> list[dict[str, Any]]:
    """Every family; MultiTaskGP only where there are other pairs to learn from. What takes longest is run first."""
    among_others = compare(AMONG_OTHERS, "calibration among other pairs")
    return compare(ALONE, "calibration") + among_others
