"""What to test next: limits of the rig, expected gain of a cell, suggestion, verdict and reason.

Names are loaded on first use, so that reading a stored answer does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimizer.advice import Advice, Proposal
    from optimizer.rig import Rig
    from optimizer.sampler import StackPressureSampler
    from optimizer.suggestion import advise, suggest

__all__ = ["Advice", "Proposal", "Rig", "StackPressureSampler", "advise", "suggest"]

_HOMES = {
    "Advice": "advice",
    "Proposal": "advice",
    "Rig": "rig",
    "StackPressureSampler": "sampler",
    "advise": "suggestion",
    "suggest": "suggestion",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'optimizer' has no attribute {name!r}")
    return getattr(importlib.import_module(f"optimizer.{_HOMES[name]}"), name)
