"""Simulated diffraction patterns with known truth: Voigt peaks (not the fit's pseudo-Voigt), photons counted at random."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.special import voigt_profile

from campaigns.instruments.crystal import CU_KA1, CU_KA2, METALS, Metal

ZINC = {"002": 1.0, "100": 1.0, "101": 2.0, "102": 0.6}


def angles(low: float = 30.0, high: float = 60.0, step: float = 0.02) -> np.ndarray:
    return np.round(np.arange(low, high + step / 2, step), 6)


def voigt(angle: np.ndarray, place: float, width: float, lorentz: float) -> np.ndarray:
    """A Voigt peak of area 1; `lorentz`: part of the width (degrees) that is Lorentzian."""
    # Olivero & Longbothum (1977): width = 0.5346 L + sqrt(0.2166 L^2 + G^2)
    broad = lorentz * width
    gauss = np.sqrt(max((width - 0.5346 * broad) ** 2 - 0.2166 * broad**2, 0.0))
    return voigt_profile(angle - place, gauss / np.sqrt(8 * np.log(2)), broad / 2)


def expected(
    areas: Mapping[str, float],
    *,
    metal: Metal = METALS["Zn"],
    angle: np.ndarray | None = None,
    offset: float = 0.05,
    width: float = 0.15,
    lorentz: float = 0.4,
    ka2: bool = True,
    level: float = 100.0,
    displaced: float = 0.0,
    wavelength: float = CU_KA1,
    uneven: float = 0.0,
) -> np.ndarray:
    """Mean counts: peaks of `areas` counts, a background that falls and has a hump, an offset of the axis (degrees).

    `displaced`: further shift as cos(theta), of a specimen off its height. `uneven`: how much single widths differ.
    """
    angle = angles() if angle is None else angle
    step = float(np.median(np.diff(angle)))
    counts = level * (0.6 + 0.8 * np.exp(-(angle - angle[0]) / 15) + 0.2 * np.exp(-(((angle - 45) / 8) ** 2)))
    for n, (hkl, place) in enumerate(metal.reflections(wavelength, 1, 150).items()):
        at = place + offset + displaced * np.cos(np.radians(place / 2))
        wide = width * (1 + uneven * (-1) ** n)
        parts = [(at, 1.0)]
        if ka2:
            second = 2 * np.degrees(np.arcsin(np.sin(np.radians(at / 2)) * CU_KA2 / CU_KA1))
            parts = [(at, 2 / 3), (second, 1 / 3)]
        for where, part in parts:
            counts = counts + areas.get(hkl, 0.0) * part * step * voigt(angle, where, wide, lorentz)
    return counts


def counted(mean: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).poisson(mean)


def write_xy(path: Path, angle: np.ndarray, counts: np.ndarray, header: str = "") -> Path:
    lines = [f"{a:.5f} {c:g}" for a, c in zip(angle, counts, strict=True)]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    return path
