"""What pressure does to a cell: the table of cells, the physics prior and the Gaussian-process surrogate.

Names are loaded on first use, so that reading a table does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surrogates.cells import Cell, Condition
    from surrogates.errors import TableError, UserError
    from surrogates.learning import learn
    from surrogates.prior import Prior
    from surrogates.regressor import PressureRegressor
    from surrogates.surrogate import Optimum, Surrogate, fit

__all__ = [
    "Cell",
    "Condition",
    "Optimum",
    "PressureRegressor",
    "Prior",
    "Surrogate",
    "TableError",
    "UserError",
    "fit",
    "learn",
]

_HOMES = {
    "Cell": "cells",
    "Condition": "cells",
    "Optimum": "surrogate",
    "PressureRegressor": "regressor",
    "Prior": "prior",
    "Surrogate": "surrogate",
    "TableError": "errors",
    "UserError": "errors",
    "fit": "surrogate",
    "learn": "learning",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'surrogates' has no attribute {name!r}")
    return getattr(importlib.import_module(f"surrogates.{_HOMES[name]}"), name)
