"""What texture from diffraction claims, measured on simulated patterns of zinc: photons counted, axis off by 0.05 degrees.

Peaks are Voigt with K alpha 2, of 0.15 degrees in steps of 0.02, over a background of 100 counts with a hump.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from campaigns.instruments.crystal import METALS
from campaigns.instruments.diffraction import Diffraction, Words, diffraction
from campaigns.instruments.pattern import Pattern
from surrogates.errors import UserError

from ..instruments.patterns import angles, counted, expected

PATTERNS = 100
ZINC = METALS["Zn"]
LEVEL = 100.0
SETTINGS: dict[str, dict[str, Any]] = {
    "": {},
    ", without K alpha 2": {"ka2": False},
    ", 0.3 degrees wide": {"width": 0.3},
    ", nearly Lorentzian": {"lorentz": 0.9},
    ", ten times the background": {"level": 10 * LEVEL},
}


def run() -> list[dict[str, Any]]:
    """One row a claim: what, measured, and the limit asked for."""
    rows = [*ratios(), *conditions(), *alone()]
    return [{"claim": claim, "measured": found, "limit": limit} for claim, found, limit in rows]


def ratios() -> Iterator[tuple[str, str, str]]:
    """The paper's ratios, with 1,000 counts in the top of the lower peak, and with 1,000 in its whole area."""
    for name, top in (("1,000 counts at the top", True), ("1,000 counts in all", False)):
        for ratio in (1.0, 2.5, 1.2):
            area = _area_of_top(1000) if top else 1000.0
            yield from _errors(f"ratio {ratio:g}, {name}", ratio, area, {}, "mean within 3 %")


def conditions() -> Iterator[tuple[str, str, str]]:
    """One ratio under other instruments, 1,000 counts at the top of the lower peak."""
    for name, settings in list(SETTINGS.items())[1:]:
        area = _area_of_top(1000, settings)
        yield from _errors(f"ratio 2.5, 1,000 counts at the top{name}", 2.5, area, settings, "")


def alone() -> Iterator[tuple[str, str, str]]:
    """Patterns without any peak."""
    found = sum(
        _measured({}, seed, {"level": (3.0, 30.0, 300.0)[seed % 3]}) is not None for seed in range(3 * PATTERNS)
    )
    yield "zinc found in a background alone", f"{found} of {3 * PATTERNS}", ""


def _errors(
    name: str, ratio: float, area: float, settings: dict[str, Any], limit: str
) -> Iterator[tuple[str, str, str]]:
    areas = {"002": ratio * area, "100": area, "101": 2 * area, "102": 0.6 * area}
    found = [one for seed in range(PATTERNS) if (one := _measured(areas, seed, settings))]
    values = [one.ratio for one in found if one.ratio is not None]
    errors = np.array([value.value / ratio - 1 for value in values])
    pulls = np.array([(value.value - ratio) / value.sd for value in values])
    shifts = np.array([one.shift.value for one in found])
    yield (
        name,
        f"mean {np.mean(errors):+.1%}, median error {np.median(np.abs(errors)):.1%}, {np.mean(np.abs(errors) < 0.03):.0%} "
        f"within 3 %; counting alone {_counting(ratio, area, settings):.1%}; error over stated sd {np.std(pulls):.2f}; "
        f"offset {np.mean(shifts):.3f}; {len(values)} of {PATTERNS} given",
        limit,
    )


def _measured(areas: dict[str, float], seed: int, settings: dict[str, Any]) -> Diffraction | None:
    counts = counted(expected(areas, **{"level": LEVEL, **settings}), seed).astype(float)
    try:
        return diffraction(Pattern(angles(), counts, 1.5406, 1.0, 0.3, None, "simulated", ""), Words(ZINC))
    except UserError:
        return None


def _area_of_top(height: float, settings: dict[str, Any] | None = None) -> float:
    """Counts in a (100) peak that is `height` counts above the background at its top."""
    return height / _shape(settings or {}).max()


def _shape(settings: dict[str, Any]) -> np.ndarray:
    """The (100) peak with one count in all (n,)."""
    return expected({"100": 1.0}, **{**settings, "level": 0.0})


def _counting(ratio: float, area: float, settings: dict[str, Any]) -> float:
    """The relative sd that no method can go below, where background, places and shapes of both peaks are known.

    The least variance of an area A of the profile p over a background b is 1 / sum(p^2 / (A p + b)).
    """
    level = expected({}, **{"level": LEVEL, **settings})
    least = []
    for hkl, size in (("002", ratio * area), ("100", area)):
        shape = expected({hkl: 1.0}, **{**settings, "level": 0.0})
        least.append(1 / float(np.sum(shape**2 / (size * shape + level))) / size**2)
    return float(np.sqrt(sum(least)))
