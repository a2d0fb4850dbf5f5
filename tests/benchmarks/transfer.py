"""Peers as players that learn from the cells of other electrode pairs.

Both fit an intrinsic coregionalisation model, one task a pair, and take seconds to minutes for a fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from surrogates import Cell

from .players import TORCH, BayBE, BoTorch, Entrant, column, log_lives, unit_interval
from .worlds import CONDITION, SOURCES

TASK = "electrode_pair"


@dataclass
class BayBETasks(BayBE):
    """BayBE with a TaskParameter whose active value is the pair that is searched
    (https://emdgroup.github.io/baybe/stable/concepts/transfer_learning.html, "The Role of the TaskParameter")."""

    def _parameters(self) -> list[Any]:
        from baybe.parameters import TaskParameter

        pair = CONDITION.electrode_pair
        return [*super()._parameters(), TaskParameter(TASK, [pair, *SOURCES], active_values=[pair])]

    @cached_property
    def _campaign(self) -> Any:
        import pandas as pd

        campaign = self._new_campaign()
        campaign.add_measurements(pd.DataFrame(self._rows(self.case.sources)))
        return campaign

    def _rows(self, cells: Sequence[Cell]) -> dict[str, Any]:
        return {**super()._rows(cells), TASK: [cell.electrode_pair for cell in cells]}

    def _candidates(self, pressures: Sequence[float]) -> dict[str, Any]:
        return {**super()._candidates(pressures), TASK: [CONDITION.electrode_pair] * len(pressures)}


@dataclass
class BoTorchTasks(BoTorch):
    """The loop of `BoTorch` with MultiTaskGP (https://botorch.org/docs/models), which
    answers for the pair that is searched alone (`output_tasks`)."""

    def _unfitted(self, cells: Sequence[Cell]) -> Any:
        import torch
        from botorch.models import MultiTaskGP

        table = [*cells, *self.case.sources]
        pairs = [CONDITION.electrode_pair, *SOURCES]
        tasks = column(np.array([pairs.index(cell.electrode_pair) for cell in table]))
        inputs = torch.cat([unit_interval([cell.pressure_kpa for cell in table]), tasks], dim=1)
        return MultiTaskGP(inputs, column(log_lives(table)), task_feature=-1, output_tasks=[0])


TAUGHT = (
    Entrant("BayBE TaskParameter", BayBETasks, ("baybe", *TORCH), "continuous ln(kPa), a task a pair", slow=True),
    Entrant("BoTorch MultiTaskGP", BoTorchTasks, TORCH, "unit interval of ln(kPa), a task a pair", slow=True),
)
