"""Quantiles of mixtures of Gaussians: what a weighted ensemble says at one pressure.

mean, sd: (S, n) of S components with `weights` (S,) at n points.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ITERATIONS = 30
TOLERANCE = 1e-9


def mixture_mean_sd(weights: Tensor, mean: Tensor, sd: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the mixture at each point: (n,), (n,)."""
    centre = weights @ mean
    return centre, (weights @ (sd**2 + (mean - centre) ** 2)).sqrt()


def mixture_quantile(weights: Tensor, mean: Tensor, sd: Tensor, level: float) -> Tensor:
    """The y below which the mixture has probability `level`, at each point: (n,). Newton's method, bracketed."""
    sd = sd.clamp_min(1e-9)
    low, high = (mean - 9 * sd).amin(0), (mean + 9 * sd).amax(0)
    centre, spread = mixture_mean_sd(weights, mean, sd)
    y = torch.clamp(centre + spread * math.sqrt(2) * torch.erfinv(torch.tensor(2 * level - 1)), low, high)
    for _ in range(ITERATIONS):
        d = (y - mean) / sd
        excess = weights @ torch.special.ndtr(d) - level
        density = weights @ (torch.exp(-0.5 * d * d) / sd) / math.sqrt(2 * math.pi)
        high, low = torch.where(excess > 0, y, high), torch.where(excess > 0, low, y)
        step = y - excess / density.clamp_min(1e-12)
        new = torch.where((step > low) & (step < high), step, (low + high) / 2)
        converged = float((new - y).abs().max()) < TOLERANCE
        y = new
        if converged:
            break
    return y
