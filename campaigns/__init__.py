"""Campaigns: tables in, the ledger that remembers, its projection into MLflow, figures and the command line."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from campaigns.campaign import Campaign
    from campaigns.tables import read_table

__all__ = ["Campaign", "read_table"]

_HOMES = {"Campaign": "campaign", "read_table": "tables"}


def _check_siblings() -> None:
    """Another distribution may own the name `surrogates` or `optimizer`: say so before anything odd happens."""
    home = Path(__file__).resolve().parent.parent
    for name in ("surrogates", "optimizer"):
        spec = find_spec(name)
        found = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if found != home / name:
            raise ImportError(
                f"stackpress needs its package {name!r} beside {home / 'campaigns'}; found {found or 'none'}. "
                "Another distribution uses that name: install stackpress into an environment of its own."
            )


_check_siblings()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'campaigns' has no attribute {name!r}")
    return getattr(importlib.import_module(f"campaigns.{_HOMES[name]}"), name)
