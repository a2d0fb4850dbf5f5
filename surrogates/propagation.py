"""Expectation propagation for cells that scatter by a mixture, some of them censored, for S particles at once.

Notation as in surrogates.gp, and
y, t     readings on the model scale; where `censored`, the cell is known to lie above t = y
m, v     cavity mean and variance of the curve at a cell: the curve as all other cells see it, (S, n)
tau, nu  site precision and precision-mean of a cell, (S, n)

A cell scatters around the curve by a mixture: N(f, scatter^2), or with a small probability (an odd cell: bad assembly,
early failure) N(f + ODD_SHIFT, scatter^2 + ODD_SD^2). A censored cell enters by its survival probability P(Y > t).
Both have closed Gaussian moments, so no quadrature is needed (Rasmussen and Williams, Gaussian Processes for Machine
Learning (2006), section 3.6; the log evidence is that of their eq. 3.65 in natural parameters).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

ODD_SHIFT = -1.5
ODD_SD = 0.8
FIRST_SWEEPS, FEWEST_SWEEPS, MOST_SWEEPS = 2, 3, 6
DAMPING = 0.8


@dataclass(frozen=True)
class Sites:
    """What expectation propagation leaves behind for S particles.

    weight_mean (S, F), weight_cov (S, F, F): posterior of w; log_evidence (S,).
    log_left_out (S, n): ln of the density of each cell as all other cells foresee it (censored: of its survival).
    tau, nu (S, n): what each cell contributes.
    """

    weight_mean: Tensor
    weight_cov: Tensor
    log_evidence: Tensor
    log_left_out: Tensor
    tau: Tensor
    nu: Tensor

    def select(self, index: Tensor) -> Sites:
        """The particles at `index`."""
        return Sites(**{name: value[index] for name, value in vars(self).items()})

    def joined(self, other: Sites) -> Sites:
        """These particles, then the others."""
        return Sites(**{name: torch.cat([value, vars(other)[name]]) for name, value in vars(self).items()})


def scatter_components(odd: float, scatter_variance: Tensor) -> tuple[tuple[float, float, Tensor], ...]:
    """How one cell lies around the curve: (probability, shift, variance) of each Gaussian component."""
    return (1 - odd, 0.0, scatter_variance), (odd, ODD_SHIFT, scatter_variance + ODD_SD**2)


def expectation_propagation(
    y: Tensor,
    censored: Tensor,
    scatter: Tensor,
    odd: float,
    features: Tensor,
    variances: Tensor,
    *,
    first_look: bool = False,
    before: Sites | None = None,
) -> Sites:
    """Posterior of weights w ~ N(0, diag variances) from cells around features @ w.

    y, scatter (a variance): (S, n); censored: (n,); features: (n, F); variances: (S, F). A first look takes half the
    sweeps: near enough to tell which particles matter; the other half goes on from the sites that it left, `before`.
    Where the sites of a particle still move (a scatter far too small for its cells), the lower of the last two evidences
    holds, and none that no likelihood could reach.
    """
    used = (features != 0).any(0)
    if len(features) and not bool(used.all()):
        found = expectation_propagation(
            y, censored, scatter, odd, features[:, used], variances[:, used], first_look=first_look, before=before
        )
        return _with_prior(found, used, variances)
    if bool((censored[:-1] & ~censored[1:]).any()):
        order = torch.argsort(censored.to(torch.uint8), stable=True)
        sorted_sites = None if before is None else _in_order(before, order)
        found = expectation_propagation(
            y[:, order],
            censored[order],
            scatter[:, order],
            odd,
            features[order],
            variances,
            first_look=first_look,
            before=sorted_sites,
        )
        return _in_order(found, torch.argsort(order))
    particles, cells = y.shape
    size = features.shape[1]
    outer = (features[:, :, None] * features[:, None, :]).reshape(cells, size * size)
    root = variances.sqrt()
    scale = root[:, :, None] * root[:, None, :]
    identity = torch.eye(size, dtype=y.dtype).expand(particles, size, size)

    if before is None:
        tau = torch.where(censored, 0.0, 1 / scatter)
        nu = tau * y
    else:
        tau, nu = before.tau, before.nu
    log_evidence = torch.full((particles,), torch.inf, dtype=y.dtype)
    # The fewer the cells, the more a censored one moves what the others see.
    whole = max(FEWEST_SWEEPS, MOST_SWEEPS - cells // 6)
    half = max(FIRST_SWEEPS, whole // 2)
    sweeps = half if first_look else whole if before is None else whole - half
    sweeps = sweeps if cells else 0  # nothing to sweep over
    for sweep in range(sweeps + 1):
        precision = identity + (tau @ outer).reshape(particles, size, size) * scale
        chol = cast(Tensor, torch.linalg.cholesky(precision))
        inverse = torch.linalg.solve_triangular(chol, identity, upper=False) * root[:, None, :]
        cov = inverse.mT @ inverse
        pull = nu @ features
        mean = (cov * pull[:, None, :]).sum(2)
        variance = (cov.reshape(particles, -1) @ outer.T).clamp_min(1e-12)
        centre = mean @ features.T
        cavity_variance = variance / (1 - tau * variance).clamp_min(1e-6)
        cavity_mean = cavity_variance * (centre / variance - nu)
        log_z, first, second = _tilted(y, censored, scatter, odd, cavity_mean, cavity_variance)
        if sweep >= sweeps - 1:
            cavity = cavity_mean**2 / cavity_variance + cavity_variance.log()
            found = 0.5 * (mean * pull).sum(1) - chol.diagonal(dim1=-2, dim2=-1).log().sum(1)
            found = found + (log_z + 0.5 * (cavity - centre**2 / variance - variance.log())).sum(1)
            log_evidence = torch.minimum(found, log_evidence)
        if sweep == sweeps:
            break
        shrink = 1 + cavity_variance * second
        new_tau = (-second / shrink).clamp_min(0.0)
        new_nu = torch.where(new_tau > 0, (first - cavity_mean * second) / shrink, 0.0)
        damping = DAMPING if sweep or before is not None else 1.0
        tau, nu = tau + damping * (new_tau - tau), nu + damping * (new_nu - nu)

    highest = -0.5 * (torch.log(2 * math.pi * scatter) * ~censored).sum(1)
    log_evidence = torch.where(log_evidence <= highest + 1e-9, log_evidence, -torch.inf)
    return Sites(mean, cov, log_evidence, log_z, tau, nu)


def _in_order(sites: Sites, order: Tensor) -> Sites:
    """The same sites with the cells in another order."""
    cells = {name: getattr(sites, name)[:, order] for name in ("log_left_out", "tau", "nu")}
    return replace(sites, **cells)


def _with_prior(sites: Sites, used: Tensor, variances: Tensor) -> Sites:
    """The same sites among all weights: those that no cell speaks of, the columns not `used` (F,), are as before."""
    mean, cov = torch.zeros_like(variances), torch.diag_embed(torch.where(used, 0.0, variances))
    mean[:, used] = sites.weight_mean
    index = used.nonzero()[:, 0]
    cov[:, index[:, None], index] = sites.weight_cov
    return replace(sites, weight_mean=mean, weight_cov=cov)


def _tilted(
    y: Tensor, censored: Tensor, scatter: Tensor, odd: float, mean: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """ln Z of a cell under its cavity N(mean, variance), and its first and second derivative in the cavity mean.

    All arrays (S, n), `censored` (n,), the censored cells last. Readings and lower bounds are taken apart: the latter cost
    ten times more.
    """
    ended = int((~censored).sum())
    if ended == len(censored):
        return _mixture(of_reading, y, scatter, odd, mean, variance)
    parts = [
        _mixture(component, y[:, cells], scatter[:, cells], odd, mean[:, cells], variance[:, cells])
        for component, cells in ((of_reading, slice(ended)), (of_lower_bound, slice(ended, None)))
    ]
    log_z, first, second = (torch.cat(both, 1) for both in zip(*parts, strict=True))
    return log_z, first, second


def _mixture(
    component: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
    y: Tensor,
    scatter: Tensor,
    odd: float,
    mean: Tensor,
    variance: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """ln sum_c p_c Z_c over the components of the scatter, and its first and second derivative in the mean."""
    values = []
    for probability, shift, spread in scatter_components(odd, scatter):
        log, first, second = component(y - mean - shift, variance + spread)
        values.append((log + math.log(probability), first, second + first**2))
    (log_1, first_1, square_1), (log_2, first_2, square_2) = values
    share = torch.sigmoid(log_1 - log_2)
    first = first_2 + share * (first_1 - first_2)
    return torch.logaddexp(log_1, log_2), first, square_2 + share * (square_1 - square_2) - first**2


def of_reading(gap: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """ln N(gap; 0, V) and its derivatives in the mean, gap = y - mean."""
    first = gap / variance
    return -0.5 * (gap * first + torch.log(2 * math.pi * variance)), first, -1 / variance


def of_lower_bound(gap: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """ln Phi(-gap / sqrt(V)), the probability to lie above the bound, and its derivatives in the mean."""
    sd = variance.sqrt()
    d = gap / sd
    log = torch.special.log_ndtr(-d)
    hazard = torch.exp(-0.5 * d * d - 0.5 * math.log(2 * math.pi) - log)
    return log, hazard / sd, hazard * (d - hazard) / variance
