"""What six other pairs of eight cells teach about a pair that shares an electrode with them, and what they cost one that
prefers the opposite pressure. `error ratio` is against our model without the history."""

from __future__ import annotations

from typing import Any

from .peers import ALONE, MULTI_TASK, OURS
from .scoring import Plan, compare

PLAN = Plan((ALONE, OURS, MULTI_TASK), ("like sources", "opposite sources"), (0, 1, 2, 5, 10))


def run() -> list[dict[str, Any]]:
    """A row a kind of history, number of cells and model."""
    return compare(PLAN, "history")
