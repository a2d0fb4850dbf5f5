"""What to test next: limits of the rig, expected gain of a cell, suggestion, verdict and reason.

Names are loaded on first use, so that reading a stored answer does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimizer.advice import Advice, Proposal, Stopping
    from optimizer.channels import should_stop
    from optimizer.goal import Goal
    from optimizer.replay import Plan, Policy, plan, replay
    from optimizer.rig import Rig
    from optimizer.sampler import StackPressureSampler
    from optimizer.suggestion import advise, suggest

__all__ = [
    "Advice",
    "Goal",
    "Plan",
    "Policy",
    "Proposal",
    "Rig",
    "StackPressureSampler",
    "Stopping",
    "advise",
    "plan",
    "replay",
    "should_stop",
    "suggest",
]

_HOMES = {
    "Advice": "advice",
    "Goal": "goal",
    "Plan": "replay",
    "Policy": "replay",
    "Proposal": "advice",
    "Rig": "rig",
    "StackPressureSampler": "sampler",
    "Stopping": "advice",
    "advise": "suggestion",
    "plan": "replay",
    "replay": "replay",
    "should_stop": "channels",
    "suggest": "suggestion",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'optimizer' has no attribute {name!r}")
    return getattr(importlib.import_module(f"optimizer.{_HOMES[name]}"), name)
