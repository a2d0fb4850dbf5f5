"""Quantiles of mixtures of Gaussians: what a weighted ensemble says at one pressure.

mean, sd: (S, n) of S components with `weights` (S,) at n points.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ITERATIONS = 30
TOLERANCE = 1e-7


def mixture_mean_sd(weights: Tensor, mean: Tensor, sd: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the mixture at each point: (n,), (n,)."""
    centre = weights @ mean
    return centre, (weights @ (sd**2 + (mean - centre) ** 2)).sqrt()


def mixture_quantiles(weights: Tensor, mean: Tensor, sd: Tensor, levels: Sequence[float]) -> Tensor:
    """The y below which the mixture has each of the Q probabilities `levels`, at each point: (Q, n).

    Newton's method, bracketed, on the normal scores ndtri(F(y)), which are straight where the mixture is near one
    Gaussian: the derivative there is F'(y) / N(ndtri(F(y)))."""
    mean, sd = mean[:, None], sd.clamp_min(1e-9)[:, None]
    level = torch.as_tensor(levels, dtype=mean.dtype)[:, None]
    low, high = (end.expand(len(level), -1) for end in ((mean - 9 * sd).amin(0), (mean + 9 * sd).amax(0)))
    centre, spread = mixture_mean_sd(weights, mean[:, 0], sd[:, 0])
    score = torch.special.ndtri(level)
    y = torch.clamp(centre + spread * score, low, high)
    for _ in range(ITERATIONS):
        d = (y - mean) / sd
        below = torch.tensordot(weights, torch.special.ndtr(d), 1)
        density = torch.tensordot(weights, torch.exp(-0.5 * d * d) / sd, 1)
        high, low = torch.where(below > level, y, high), torch.where(below > level, low, y)
        found = torch.special.ndtri(below)
        step = y - (found - score) * torch.exp(-0.5 * found * found) / density
        new = torch.where((step > low) & (step < high), step, (low + high) / 2)
        converged = float((new - y).abs().max()) < TOLERANCE
        y = new
        if converged:
            break
    return y
