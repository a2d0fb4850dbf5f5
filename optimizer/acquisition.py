"""Expected gain of the final choice: the knowledge gradient, on a grid of pressures.

After one more cell with reading y at pressure c the user will choose the pressure of the highest expected curve, so
the cell is worth  KG(c) = E_y[ max_x E[f(x) | y] ] - max_x E[f(x)]  on the model scale: 0.05 is about 5 % of life.
(Frazier, Powell and Dayanik, INFORMS J. Comput. 21, 599 (2009).)

The curve is a mixture of S weighted Gaussian processes, and y changes both their weights and their means:

    E[f(x) | y] p(y) = sum_s w_s N(y; m_s(c), V_s(c)) [ m_s(x) + k_s(x, c) (y - m_s(c)) / V_s(c) ]

with V_s(c) = k_s(c, c) + scatter_s(c)^2. The integral over y is a sum over evenly spaced nodes, exact to many digits for
smooth integrands. Where tests end at a longest time, all readings above it are one: "it was still alive" (their nodes are
summed before the best pressure is chosen). Shapes: S particles, G pressures of the final choice, C candidates, Q nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from surrogates.inference import Posterior
from surrogates.mixture import mixture_mean_sd
from surrogates.surrogate import averaged

PARTICLES = 128
NODES, NODES_OF_SEVERAL = 28, 12
REACH = 4.5
LEAST_PROBABILITY = 1e-4


@dataclass(frozen=True)
class Readings:
    """What one cell at each of C candidates may read, and what the curve would be then.

    mass (C, Q): probability of each reading; mean (C, Q, G): the expected curve at the final choices after it; now (G,):
    before it.
    """

    mass: Tensor
    mean: Tensor
    now: Tensor


def held_curve(posterior: Posterior, choices: Tensor, u: Tensor) -> Tensor:
    """The mean curve of each particle at the final choices (G, B), each averaged over where the press may stand: (S, G)."""
    return averaged(posterior.mean(choices.flatten(), u), choices)


def foreseen(
    posterior: Posterior,
    choices: Tensor,
    candidates: Tensor,
    u: Tensor,
    *,
    replicates: int = 1,
    longest: float | None = None,
    count: int = NODES,
) -> Readings:
    """What `replicates` cells at each of `candidates` (C,) may read, on average of them; u () is ln current density.

    `choices` (G, B): ln-pressures that each final choice may stand at. `longest`: y at which a living cell is taken off.
    """
    weights = posterior.weights
    curve, centre = held_curve(posterior, choices, u), posterior.mean(candidates, u)
    cross = averaged(posterior.cov(candidates, u, choices.flatten(), u), choices)
    scatter = posterior.scatter_variance(candidates, u) / replicates
    variance = posterior.variance(candidates, u) + scatter

    nodes = _nodes(weights, centre, variance.sqrt(), count)
    share, gap, precision = _at_nodes(weights, centre, variance, nodes)
    expected = share @ curve + (share * gap * precision) @ cross.permute(1, 0, 2)
    mass = share.sum(2)
    if longest is not None:
        mass, expected = _alive_as_one(mass, expected, nodes > longest)
    return Readings(mass, expected / mass.clamp_min(1e-300)[:, :, None], weights @ curve)


def _at_nodes(weights: Tensor, mean: Tensor, variance: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each particle's probability at each node (C, Q, S), how far the node lies from its mean (C, Q, S), and its precision
    (C, 1, S); weights (S,), mean and variance (S, C), nodes (C, Q).

    Gaps are centred, so that no reading changes the expected curve on average, however few nodes a narrow particle meets.
    """
    gap, precision = nodes[:, :, None] - mean.T[:, None], (1 / variance).T[:, None]
    density = torch.exp(-0.5 * gap**2 * precision)
    share = density / density.sum(1, keepdim=True).clamp_min(1e-300)
    return weights * share, gap - (share * gap).sum(1, keepdim=True), precision


def _alive_as_one(mass: Tensor, expected: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
    """The nodes of living cells put together in one more node: (C, Q + 1), (C, Q + 1, G)."""
    ended, curves_ended = ~alive, ~alive[:, :, None]
    whole = torch.cat([mass * ended, (mass * alive).sum(1, keepdim=True)], dim=1)
    return whole, torch.cat([expected * curves_ended, (expected * ~curves_ended).sum(1, keepdim=True)], dim=1)


def _nodes(weights: Tensor, mean: Tensor, sd: Tensor, count: int) -> Tensor:
    """Evenly spaced readings that span the mixture at each candidate: (C, Q)."""
    centre, spread = mixture_mean_sd(weights, mean, sd)
    steps = torch.linspace(-REACH, REACH, count, dtype=mean.dtype)
    return centre[:, None] + spread[:, None] * steps


def knowledge_gradient(
    posterior: Posterior,
    choices: Tensor,
    candidates: Tensor,
    u: Tensor,
    *,
    replicates: int = 1,
    longest: float | None = None,
    worth: Tensor | None = None,
) -> Tensor:
    """KG of one cell (or `replicates` of them together) at each of `candidates` (C,) when the final choice is among
    `choices` (G,) or (G, B): (C,).

    `worth` (G,) is added to the curve at each choice before the best is chosen. Readings of odd cells teach nothing, so
    the gain is reduced by their share.
    """
    choices = choices if choices.dim() == 2 else choices[:, None]
    added = torch.zeros(len(choices), dtype=choices.dtype) if worth is None else worth
    after = foreseen(posterior, choices, candidates, u, replicates=replicates, longest=longest)
    gain = (after.mass * (after.mean + added).amax(2)).sum(1) - (after.now + added).amax()
    return (1 - posterior.odd) * gain.clamp_min(0.0)


def compromise_gradient(
    posteriors: Sequence[Posterior],
    choices: Tensor,
    candidates: Tensor,
    u: Tensor,
    *,
    replicates: int = 1,
    longest: Sequence[float | None],
    worth: Tensor | None = None,
) -> Tensor:
    """The same for several outcomes that one cell reads together: the final choice is the best compromise, the pressure of
    the highest mean of their expected y, which is that of the smallest mean loss against each one's own best: (C,).

    The outcomes' readings are taken as independent given what is known; three outcomes at most."""
    total = torch.zeros(len(choices), dtype=choices.dtype) if worth is None else worth
    now = total
    mass = torch.ones(len(candidates), 1, dtype=choices.dtype)
    after = total.expand(len(candidates), 1, len(choices))
    for posterior, end in zip(posteriors, longest, strict=True):
        read = foreseen(posterior, choices, candidates, u, replicates=replicates, longest=end, count=NODES_OF_SEVERAL)
        after = (after[:, :, None] + read.mean[:, None] / len(posteriors)).flatten(1, 2)
        mass = (mass[:, :, None] * read.mass[:, None]).flatten(1)
        now = now + read.now / len(posteriors)
    gain = (mass * after.amax(2)).sum(1) - now.amax()
    return (1 - max(posterior.odd for posterior in posteriors)) * gain.clamp_min(0.0)


def feasibility(posterior: Posterior, choices: Tensor, u: Tensor, least: float, margin: float) -> Tensor:
    """Probability that the curve at each of `choices` (G, B) lies above `least` by `margin` times the scatter: (G,)."""
    mean, sd, bar = _requirement(posterior, choices, u, least, margin)
    found: Tensor = posterior.weights @ torch.special.ndtr((mean - bar) / sd)
    return found


def feasibility_gradient(
    posterior: Posterior,
    choices: Tensor,
    candidates: Tensor,
    u: Tensor,
    least: float,
    margin: float,
    worth: Tensor,
) -> Tensor:
    """Expected rise of max_x (worth(x) + ln feasibility(x)) by what a cell at each of `candidates` tells of a
    requirement: (C,). `worth` (G,): what else is known of each choice."""
    mean, sd, bar = _requirement(posterior, choices, u, least, margin)
    centre = posterior.mean(candidates, u)
    cross = averaged(posterior.cov(candidates, u, choices.flatten(), u), choices).permute(1, 0, 2)
    variance = posterior.variance(candidates, u) + posterior.scatter_variance(candidates, u)
    nodes = _nodes(posterior.weights, centre, variance.sqrt(), NODES_OF_SEVERAL)
    share, gap, precision = _at_nodes(posterior.weights, centre, variance, nodes)
    pulled = cross * precision[:, 0, :, None]
    rest = (sd**2 - cross * pulled).clamp_min(1e-9).sqrt()
    after = mean - bar + gap[..., None] * pulled[:, None]
    mass = share.sum(2)
    met = (share[..., None] * torch.special.ndtr(after / rest[:, None])).sum(2) / mass[..., None].clamp_min(1e-300)
    now = (worth + log_probability(posterior.weights @ torch.special.ndtr((mean - bar) / sd))).amax()
    gain = (mass * (worth + log_probability(met)).amax(2)).sum(1) - now
    return (1 - posterior.odd) * gain.clamp_min(0.0)


def _requirement(
    posterior: Posterior, choices: Tensor, u: Tensor, least: float, margin: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and sd of the curve, and the bar that it must pass, of each particle at each choice: (S, G) each."""
    at = choices.flatten()
    sd = averaged(posterior.variance(at, u), choices).clamp_min(1e-9).sqrt()
    bar = least + margin * averaged(posterior.scatter_variance(at, u), choices).sqrt()
    return held_curve(posterior, choices, u), sd, bar


def log_probability(probability: Tensor) -> Tensor:
    """ln of a probability, bounded below: what is all but impossible is still comparable."""
    return probability.clamp_min(LEAST_PROBABILITY).log()
