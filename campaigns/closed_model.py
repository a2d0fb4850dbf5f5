"""The surrogate of a closed campaign as MLflow loads it: this file as code, its state as JSON.

It needs numpy and pandas, not stackpress: what it tells is the curve of the campaign's last answer, at its pressures to
the digit, between them linear over ln(pressure). Not for import: MLflow runs it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

COLUMNS = ("median", "lower", "upper", "cell_lower", "cell_upper")


class ClosedCampaign(PythonModel):
    """What a finished campaign says of its outcome at a pressure: the curve and one new cell, each with 90 %."""

    def load_context(self, context: Any) -> None:
        """Read the state."""
        self.state = json.loads(Path(context.artifacts["state"]).read_text(encoding="utf-8"))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """One row a pressure. `model_input`: pressure_kpa, and condition (its number, default 0) where there are several."""
        kpa = model_input["pressure_kpa"].to_numpy(dtype=float)
        conditions = model_input["condition"] if "condition" in model_input else pd.Series(0, index=model_input.index)
        rows = [
            self._row(pressure, int(number))
            for pressure, number in zip(kpa, conditions.fillna(0).to_numpy(), strict=True)
        ]
        return pd.DataFrame(rows, index=model_input.index)

    def _row(self, kpa: float, number: int) -> dict[str, float]:
        curves = self.state["curves"]
        if not 0 <= number < len(curves):
            raise ValueError(f"condition: expected 0 to {len(curves) - 1}; found {number}.")
        curve = curves[number]
        known = curve["pressure_kpa"]
        if not known[0] <= kpa <= known[-1]:
            raise ValueError(
                f"pressure_kpa: expected {known[0]:g} to {known[-1]:g} kPa, the campaign's range; found {kpa:g}."
            )
        values = {name: float(np.interp(np.log(kpa), np.log(known), curve[name])) for name in COLUMNS}
        return {"pressure_kpa": float(kpa), **values}


set_model(ClosedCampaign())
