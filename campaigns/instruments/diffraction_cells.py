"""Patterns of one cell, one or a series over cycles: measured, recorded as an early readout, kept.

STORE/artifacts/cells/CAMPAIGN/CELL-xrd.parquet      every pattern with its background and its fit
STORE/artifacts/cells/CAMPAIGN/CELL-xrd.json         lines, ratios, texture coefficients, settings, SHA-256 of the files
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from campaigns.campaign import Campaign
from campaigns.instruments.diffraction import Diffraction, Value, Words, diffraction
from campaigns.instruments.importing import folder_of, stem_of, write_whole
from campaigns.instruments.pattern import Axis, read_pattern
from surrogates.cells import Cell
from surrogates.errors import UserError

COLUMN, RATIO = "xrd_002_100_ratio", ("002", "100")


def measured(paths: Sequence[Path], wavelength: float, words: Words, axis: Axis | None = None) -> list[Diffraction]:
    """Every pattern measured, in the order of the numbers in their names; raises `UserError`."""
    return [diffraction(read_pattern(path, wavelength, axis), words) for path in sorted(paths, key=_natural)]


def with_powder(words: Words, path: Path, wavelength: float, axis: Axis | None = None) -> Words:
    """`words` with the intensities of a powder without texture by its own pattern: of the reflections that are found."""
    found = diffraction(read_pattern(path, wavelength, axis), words)
    own = [line for line in found.lines if line.phase == words.metal.name and line.state == "found"]
    return replace(words, powder={line.hkl: line.counts for line in own})


def mean_ratio(found: Sequence[Diffraction]) -> Value:
    """The mean of the ratios, with the sd that counting leaves in it.

    Raises `UserError` where a pattern gives none: those without (100) are often the most textured, and a mean of the
    others would say less than is there.
    """
    if silent := [one for one in found if one.ratio is None]:
        why = next((note for note in silent[0].notes if "not given" in note), "it has none")
        raise UserError(
            f"{silent[0].pattern.source}: expected a ratio from every pattern; found none here: {why}. Leave the pattern "
            "out, or record what you know of it with stackpress record --set."
        )
    ratios = [one.ratio for one in found if one.ratio is not None]
    sd = float(np.sqrt(sum(ratio.sd**2 for ratio in ratios))) / len(ratios)
    return Value(float(np.mean([ratio.value for ratio in ratios])), sd)


def record_ratio(campaign: Campaign, cell_id: str, found: Sequence[Diffraction]) -> Cell:
    """Records the mean ratio as the cell's `xrd_002_100_ratio`, and keeps patterns, fits and settings with the cell."""
    words = found[0].words
    if words.ratio != RATIO or not words.metal.is_hexagonal:
        raise UserError(
            f"cell {cell_id}: expected the ratio (002)/(100) of a hexagonal metal, which {COLUMN} holds; found "
            f"({words.ratio[0]})/({words.ratio[1]}) of {words.metal.name}."
        )
    ratio = mean_ratio(found)
    cell = campaign.record(cell_id, xrd_002_100_ratio=ratio.value)
    document = {COLUMN: ratio.value, "sd": ratio.sd, "patterns": [one.document() for one in found]}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    write_whole(
        folder_of(campaign),
        {
            f"{stem_of(cell_id)}-xrd.parquet": curves(found).write_parquet,
            f"{stem_of(cell_id)}-xrd.json": lambda path: path.write_text(text + "\n", encoding="utf-8"),
        },
    )
    return cell


def curves(found: Sequence[Diffraction]) -> pl.DataFrame:
    """Every point of every pattern: its number and file, angle, counts, background and fit."""
    return pl.concat(
        pl.DataFrame(
            {
                "two_theta_degree": one.pattern.two_theta,
                "counts": one.pattern.counts,
                "background_counts": one.background,
                "fit_counts": one.fitted,
            }
        ).select(pl.lit(number).alias("pattern"), pl.lit(Path(one.pattern.source).name).alias("file"), pl.all())
        for number, one in enumerate(found, 1)
    )


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts cycle-2 before cycle-10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", str(path))]
