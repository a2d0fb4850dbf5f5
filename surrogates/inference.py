"""Posterior of one condition's response curve: particles over the non-linear parameters, each a Gaussian process.

z are the parameters as standard normals under the prior document, (S, D); other notation as in surrogates.gp. Given z,
surrogates.propagation gives the posterior of the linear weights and the evidence.

Three hypotheses compete: "physics" (two modes and a residual), "no effect" (a constant), "free" (a smooth curve without
physics). Parameters are integrated over by importance sampling in two stages: prior draws, weighted after few sweeps,
then draws from a kernel density around them, weighted exactly. Everything is a function of the readings, the prior and
one seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from surrogates.gp import Basis, Parameters, tensor
from surrogates.population import Evidence, Population, evidence_of
from surrogates.prior import LogNormal, Prior
from surrogates.propagation import SWEEPS, Sites, expectation_propagation

FIRST_SWEEPS = 3
HYPOTHESES = ("physics", "no effect", "free")
FIRST_STAGE = (512, 32, 96)
SECOND_STAGE = (400, 16, 96)
MAX_ROUNDS = 3
ENOUGH = 80.0
CENTRES = 128
PRIOR_SHARE = 0.15
NAMES = ("x_best", "slope_contact", "slope_short", "shift", "scatter", "residual_sd", "residual_length")
SHIFT = NAMES.index("shift")
ACTIVE = {
    "physics": (0, 1, 2, 3, 4, 5, 6),
    "no effect": (4,),
    "free": (4, 5, 6),
}


@dataclass(frozen=True)
class Data:
    """Readings of n cells of one condition as tensors of shape (n,); `x_sd` is the sd of x as measured."""

    x: Tensor
    u: Tensor
    y: Tensor
    censored: Tensor
    x_sd: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Posterior:
    """S weighted particles, each a Gaussian process: the posterior of the curve of one condition.

    `weights` (S,) sum to 1; `hypothesis` (S,) indexes HYPOTHESES; z (S, D) are the parameters as standard normals.
    """

    z: Tensor
    theta: Parameters
    hypothesis: Tensor
    weights: Tensor
    basis: Basis
    odd: float
    sites: Sites

    def hypothesis_weight(self, name: str) -> float:
        """Posterior probability of one of HYPOTHESES."""
        return float(self.weights[self.hypothesis == HYPOTHESES.index(name)].sum())

    def mean(self, x: Tensor, u: Tensor) -> Tensor:
        """Mean of f for each particle: (S, n)."""
        linear = self.sites.weight_mean @ self.basis.features(x, u).T
        return self.theta.level[:, None] - self.theta.penalty(x, u) + linear

    def cov(self, x: Tensor, u: Tensor, x2: Tensor | None = None, u2: Tensor | None = None) -> Tensor:
        """Covariance of f between (x, u) and (x2, u2), default the same: (S, n, n2)."""
        left = self.basis.features(x, u)
        right = left if x2 is None or u2 is None else self.basis.features(x2, u2)
        return left @ self.sites.weight_cov @ right.T

    def variance(self, x: Tensor, u: Tensor) -> Tensor:
        """Variance of f for each particle: (S, n)."""
        features = self.basis.features(x, u)
        outer = (features[:, :, None] * features[:, None, :]).reshape(len(x), -1)
        return (self.sites.weight_cov.reshape(len(self.weights), -1) @ outer.T).clamp_min(0.0)

    def given(self, x: Tensor, u: Tensor, y: Tensor) -> Posterior:
        """The posterior after one more cell with reading `y` at (x, u), all of shape (1,): every particle is
        conditioned in closed form and weighted by how well it foresaw y. The cell is taken as no odd one."""
        features = self.basis.features(x, u)[0]
        gain = self.sites.weight_cov @ features
        variance = gain @ features + self.theta.scatter**2
        gap = y - self.mean(x, u)[:, 0]
        mean = self.sites.weight_mean + gain * (gap / variance)[:, None]
        cov = self.sites.weight_cov - gain[:, :, None] * (gain / variance[:, None])[:, None, :]
        log_likelihood = -0.5 * (gap**2 / variance + variance.log())
        weights = torch.softmax(self.weights.log() + log_likelihood, dim=0)
        return replace(self, weights=weights, sites=replace(self.sites, weight_mean=mean, weight_cov=cov))

    def thinned(self, count: int, generator: torch.Generator) -> Posterior:
        """`count` equally weighted particles drawn from this posterior."""
        index = systematic(self.weights, count, generator)
        parts = {name: value[index] for name, value in vars(self.sites).items()}
        equal = torch.full((count,), 1 / count, dtype=self.weights.dtype)
        return replace(
            self,
            z=self.z[index],
            theta=self.theta.select(index),
            hypothesis=self.hypothesis[index],
            weights=equal,
            sites=Sites(**parts),
        )

    def evidence(self, population: Population) -> Evidence:
        """What the cells say about the condition's parameters beyond `population`, a prior document's own."""
        level, sd = population.level[0], population.level_sd[0]
        mean = (self.theta.level + self.sites.weight_mean[:, 0] - level) / sd
        spread = self.sites.weight_cov[:, 0, 0].clamp_min(0).sqrt() / sd
        physics = self.weights * self.theta.physics
        return evidence_of(self.z, physics, float(physics.sum()), (mean, spread))

    def draws(self, x: Tensor, u: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """`count` joint draws of f at (x, u), equally weighted: (count, n)."""
        index = systematic(self.weights, count, generator)
        size = self.sites.weight_cov.shape[-1]
        chol = cast(Tensor, torch.linalg.cholesky(self.sites.weight_cov + 1e-12 * torch.eye(size)))
        noise = torch.randn(count, chol.shape[-1], 1, generator=generator, dtype=chol.dtype)
        weights = self.sites.weight_mean[index] + (chol[index] @ noise)[..., 0]
        features = self.basis.features(x, u)
        offset = self.theta.level[:, None] - self.theta.penalty(x, u)
        return offset[index] + weights @ features.T


def infer(data: Data, prior: Prior, population: Population, seed: int) -> Posterior:
    """The posterior of a condition's curve given `data` (n may be 0).

    `population`: the distribution its parameters are drawn from, in units of `prior`. Deterministic in `seed`.
    """
    setting = _Setting(data, prior, population, Basis.spanning(data.x, prior), torch.Generator().manual_seed(seed))
    z = setting.prior_draws(FIRST_STAGE)
    if not len(data):
        z = [part[:count] for part, count in zip(z, SECOND_STAGE, strict=True)]
        return setting.posterior(z, [torch.zeros(len(part)) for part in z])
    first = setting.propagate(setting.parameters(z), FIRST_SWEEPS)
    log_weights = list(torch.split(first.log_evidence, list(FIRST_STAGE)))
    for _ in range(MAX_ROUNDS):
        z, log_ratio = setting.proposals(z, log_weights)
        posterior = setting.posterior(z, log_ratio)
        log_weights = list(torch.split(posterior.weights.log(), list(SECOND_STAGE)))
        if effective_size(log_weights[0]) >= ENOUGH:
            break
    return posterior


def effective_size(log_weights: Tensor) -> float:
    """Kish's effective number of equally weighted particles."""
    weights = torch.softmax(log_weights, dim=0)
    return float(1 / (weights**2).sum())


def systematic(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices of `count` draws from `weights` by systematic resampling: (count,)."""
    start = torch.rand(1, generator=generator, dtype=weights.dtype)
    points = (torch.arange(count, dtype=weights.dtype) + start) / count
    return torch.searchsorted(torch.cumsum(weights, 0), points).clamp_max(len(weights) - 1)


@dataclass(frozen=True)
class _Setting:
    """What one inference is about; z is a list of blocks, one a hypothesis."""

    data: Data
    prior: Prior
    population: Population
    basis: Basis
    generator: torch.Generator

    def columns(self, hypothesis: str) -> list[int]:
        """The parameters that the readings can speak about: the shift only where current density is not 1 unit."""
        has_current = bool((self.data.u != 0).any())
        return [column for column in ACTIVE[hypothesis] if column != SHIFT or has_current]

    def prior_draws(self, counts: tuple[int, ...]) -> list[Tensor]:
        """Quasi-random draws from the population."""
        seed = int(torch.randint(2**31 - 1, (1,), generator=self.generator))
        sobol = torch.quasirandom.SobolEngine(len(NAMES) + 1, scramble=True, seed=seed)
        uniform = sobol.draw(sum(counts), dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
        return list(torch.split(self.population.place(uniform), list(counts)))

    def parameters(self, z: list[Tensor]) -> Parameters:
        """Particles in lab terms from standard normals."""
        physics, none, free = z
        every, prior = torch.cat(z), self.prior
        levels = [
            self.population.levels(
                self.population.log_densities(part[:, self.columns(name)], self.columns(name)), self.generator
            )
            for name, part in zip(HYPOTHESES, z, strict=True)
        ]
        return Parameters(
            x_best=torch.log(_log_normal(prior.best_pressure, every[:, 0]) / 300.0),
            slope_contact=_log_normal(prior.slope_contact, every[:, 1]),
            slope_short=_log_normal(prior.slope_short, every[:, 2]),
            shift=prior.current_shift.mean + prior.current_shift.sd * every[:, SHIFT],
            scatter=_log_normal(prior.scatter_sd, every[:, 4]),
            residual_sd=torch.cat(
                [
                    _log_normal(prior.residual_sd, physics[:, 5]),
                    torch.zeros(len(none)),
                    _log_normal(prior.free_sd, free[:, 5]),
                ]
            ),
            residual_length=torch.cat(
                [
                    _log_normal(prior.residual_length, physics[:, 6]),
                    torch.ones(len(none)),
                    _log_normal(prior.free_length, free[:, 6]),
                ]
            ),
            physics=torch.cat([torch.ones(len(physics)), torch.zeros(len(none) + len(free))]).to(every.dtype),
            level=torch.cat([level for level, _ in levels]),
            level_sd=torch.cat([sd for _, sd in levels]),
        )

    def propagate(self, theta: Parameters, sweeps: int = SWEEPS) -> Sites:
        """Expectation propagation for all particles at once."""
        data = self.data
        return expectation_propagation(
            data.y - theta.level[:, None] + theta.penalty(data.x, data.u),
            data.censored,
            theta.scatter[:, None] ** 2 + (theta.penalty_slope(data.x, data.u) * data.x_sd) ** 2,
            self.prior.odd_cell.probability,
            self.basis.features(data.x, data.u),
            self.basis.variances(theta),
            sweeps,
        )

    def posterior(self, z: list[Tensor], log_ratio: list[Tensor]) -> Posterior:
        """Particles weighted by the readings; `log_ratio` is ln(prior density / density they were drawn from)."""
        theta = self.parameters(z)
        sites = self.propagate(theta)
        sizes = torch.tensor([len(part) for part in z])
        hypothesis = torch.repeat_interleave(torch.arange(len(z)), sizes)
        no_effect, free = self.prior.no_effect.probability, self.prior.no_physics.probability
        share = torch.log(tensor([1 - no_effect - free, no_effect, free]) / sizes)
        weights = torch.softmax(sites.log_evidence + torch.cat(log_ratio) + share[hypothesis], dim=0)
        return Posterior(torch.cat(z), theta, hypothesis, weights, self.basis, self.prior.odd_cell.probability, sites)

    def proposals(self, z: list[Tensor], log_weights: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Draws near the weight of the particles z, and ln(prior density / proposal density) of each."""
        draws, ratios = [], []
        for name, part, weight, fresh in zip(HYPOTHESES, z, log_weights, self.prior_draws(SECOND_STAGE), strict=True):
            columns = self.columns(name)
            from_prior = round(PRIOR_SHARE * len(fresh))
            near, log_kernel = self._near(
                part[:, columns], weight, len(fresh) - from_prior, fresh[:from_prior, columns]
            )
            fresh[from_prior:, columns] = near
            log_prior = torch.logsumexp(self.population.log_densities(fresh[:, columns], columns), dim=1)
            share = from_prior / len(fresh)
            log_mixture = torch.logaddexp(math.log(share) + log_prior, math.log1p(-share) + log_kernel)
            draws.append(fresh)
            ratios.append(log_prior - log_mixture)
        return draws, ratios

    def _near(self, z: Tensor, log_weights: Tensor, count: int, others: Tensor) -> tuple[Tensor, Tensor]:
        """`count` draws from a Gaussian kernel density of the weighted particles z (N, d), and its ln density at `others`
        (m, d) followed by the draws: (count, d), (m + count,). Bandwidth: Silverman's rule."""
        dim = z.shape[1]
        weights = torch.softmax(log_weights, dim=0)
        centred = z - weights @ z
        cov = (weights[:, None] * centred).T @ centred + 0.003 * torch.eye(dim, dtype=z.dtype)
        width = (4 / ((dim + 2) * max(effective_size(log_weights), 2.0))) ** (1 / (dim + 4))
        chol = cast(Tensor, torch.linalg.cholesky(width**2 * cov))
        centres = z[systematic(weights, CENTRES, self.generator)]
        noise = torch.randn(count, dim, generator=self.generator, dtype=z.dtype)
        near = centres[torch.arange(count) * CENTRES // count] + noise @ chol.T
        at = torch.cat([others, near])
        scaled = torch.linalg.solve_triangular(chol, torch.cat([at, centres]).T, upper=False).T
        distance = torch.cdist(scaled[: len(at)], scaled[len(at) :]) ** 2
        log_kernel = torch.logsumexp(-0.5 * distance, dim=1) - math.log(CENTRES) - chol.diagonal().log().sum()
        return near, log_kernel - 0.5 * dim * math.log(2 * math.pi)


def _log_normal(quantity: LogNormal, z: Tensor) -> Tensor:
    return quantity.median * torch.exp(quantity.sd_ln * z)
