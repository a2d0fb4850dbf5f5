"""What can be read off a campaign's figure, and where on it: for figure.js, which shows it under the pointer."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from campaigns.figure import scaled
from campaigns.service.bench_views import cell_row
from campaigns.state import CampaignState
from optimizer.advice import Advice
from surrogates.outcomes import Outcome, check_outcome, reading


def readings(figure: Figure, state: CampaignState, advice: Advice) -> dict[str, Any]:
    """`box`: left, top, width and height of the axes; `points` of the median curve and `cells`: where they are (x, y) and
    what they say. Places are fractions of the picture, from its upper left corner."""
    outcome, curve = Outcome(check_outcome(advice.outcome), advice.retention_cycles), advice.curve
    axes = figure.axes[0]

    def place(pressure_kpa: float, value: float) -> dict[str, float]:
        x, y = axes.transData.transform((pressure_kpa, scaled(value, outcome)))
        return {"x": round(x / figure.bbox.width, 5), "y": round(1 - y / figure.bbox.height, 5)}

    said = zip(curve.pressure_kpa, curve.median, curve.lower, curve.upper, strict=True)
    points = [
        {**place(kpa, median), "text": f"{kpa:.3g} kPa: median {outcome.noun} {outcome.text(median)} "
         f"(90 %: {outcome.text(lower, unit=False)} to {outcome.text(upper)})"}
        for kpa, median, lower, upper in said
    ]  # fmt: skip
    cells = []
    for cell in state.cells:
        read = reading(cell, outcome) if advice.condition.holds(cell) else None
        if read is not None:
            told = cell_row(cell, outcome)
            text = f"Cell {told.cell_id}: {told.pressure}, {told.outcome}, {told.status}"
            cells.append({**place(cell.pressure_kpa, float(outcome.from_y(read.y))), "text": text})
    box = axes.get_position()
    return {"box": [box.x0, 1 - box.y1, box.width, box.height], "points": points, "cells": cells}
