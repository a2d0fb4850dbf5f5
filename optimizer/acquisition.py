"""Expected gain of the final choice: the knowledge gradient, on a grid of pressures.

After one more cell with reading y at pressure c the user will choose the pressure of the highest expected curve, so
the cell is worth  KG(c) = E_y[ max_x E[f(x) | y] ] - max_x E[f(x)]  on the model scale: 0.05 is about 5 % of life.
(Frazier, Powell and Dayanik, INFORMS J. Comput. 21, 599 (2009).)

The curve is a mixture of S weighted Gaussian processes, and y changes both their weights and their means:

    max_x E[f(x) | y] p(y) = max_x sum_s w_s N(y; m_s(c), V_s(c)) [ m_s(x) + k_s(x, c) (y - m_s(c)) / V_s(c) ]

with V_s(c) = k_s(c, c) + scatter_s(c)^2. The integral over y is a sum over evenly spaced nodes, exact to many digits for
smooth integrands. Shapes: S particles, G pressures of the final choice, C candidates, Q nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from surrogates.gp import tensor
from surrogates.inference import Posterior
from surrogates.mixture import mixture_mean_sd

PARTICLES = 160
NODES = 32
REACH = 4.5
FANTASIES = 6
TRIES = 128


def knowledge_gradient(posterior: Posterior, choices: Tensor, candidates: Tensor, u: Tensor) -> Tensor:
    """KG of one cell at each of `candidates` (C,) when the final choice is among `choices` (G,): (C,).

    Both are ln-pressures x; u () is ln current density. Readings of odd cells teach nothing, so the gain is reduced
    by their share.
    """
    weights = posterior.weights
    mean, centre = posterior.mean(choices, u), posterior.mean(candidates, u)
    cross = posterior.cov(candidates, u, choices, u)
    variance = posterior.variance(candidates, u) + posterior.scatter_variance(candidates, u)

    nodes = _nodes(weights, centre, variance.sqrt())
    gap = nodes[None] - centre[:, :, None]
    density = torch.exp(-0.5 * gap**2 / variance[:, :, None]) / variance.sqrt()[:, :, None]
    mass = weights[:, None, None] * density / density.sum(2, keepdim=True).clamp_min(1e-300)
    pull = (mass * gap / variance[:, :, None]).permute(1, 2, 0)
    expected = mass.permute(1, 2, 0) @ mean + pull @ cross.permute(1, 0, 2)
    gain = expected.amax(2).sum(1) - (weights @ mean).amax()
    return (1 - posterior.odd) * gain.clamp_min(0.0)


def _nodes(weights: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Evenly spaced readings that span the mixture at each candidate: (C, Q)."""
    centre, spread = mixture_mean_sd(weights, mean, sd)
    steps = torch.linspace(-REACH, REACH, NODES, dtype=mean.dtype)
    return centre[:, None] + spread[:, None] * steps


def pending_posteriors(
    posterior: Posterior,
    x: Sequence[float],
    u: Sequence[float],
    bounds: Sequence[float | None],
    generator: torch.Generator,
) -> list[Posterior]:
    """The posterior as it may be once pending cells have ended: one for each imagined set of their readings.

    Cells lie at (x, u); a bound is what a running cell has already outlived on the model scale, None for a planned one.
    Without pending cells the list holds `posterior` alone.
    """
    futures = [posterior] * (FANTASIES if len(x) else 1)
    for at_x, at_u, bound in zip(x, u, bounds, strict=True):
        where_x, where_u = tensor([at_x]), tensor([at_u])
        readings = _imagined(posterior, where_x, where_u, bound, len(futures), generator)
        futures = [future.given(where_x, where_u, reading) for future, reading in zip(futures, readings, strict=True)]
    return futures


def _imagined(
    posterior: Posterior, x: Tensor, u: Tensor, bound: float | None, count: int, generator: torch.Generator
) -> list[Tensor]:
    """`count` readings of a cell at (x, u), spread evenly over their distribution above `bound`, in random order."""
    curve = posterior.draws(x, u, TRIES, generator)[:, 0]
    scatter = (posterior.weights @ posterior.scatter_variance(x, u)).sqrt()
    readings = (curve + scatter * torch.randn(TRIES, generator=generator, dtype=curve.dtype)).sort().values
    if bound is not None:
        above = readings[readings > bound]
        readings = above if len(above) else tensor([bound])
    levels = (torch.arange(count) + 0.5) / count * len(readings)
    spread = readings[levels.long().clamp_max(len(readings) - 1)]
    return list(spread[torch.randperm(count, generator=generator)])


def gains(futures: Sequence[Posterior], choices: Tensor, candidates: Tensor, u: Tensor, seed: int) -> Tensor:
    """Knowledge gradient averaged over `futures`, each thinned to a fixed number of particles: (C,)."""
    thinned = (future.thinned(PARTICLES, torch.Generator().manual_seed(seed)) for future in futures)
    return torch.stack([knowledge_gradient(future, choices, candidates, u) for future in thinned]).mean(0)
