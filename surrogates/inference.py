"""Posterior of one condition's response curve: particles over the non-linear parameters, each a Gaussian process.

z are the parameters as standard normals under the prior document, (S, D); other notation as in surrogates.gp. Given z,
surrogates.propagation gives the posterior of the linear weights and the evidence.

Three hypotheses compete: "physics" (two modes and a residual), "no effect" (a constant), "free" (a smooth curve without
physics). Where other conditions teach something, "physics" comes in two blocks of particles: taught, and alone with the
document's own prior. Parameters are integrated over by importance sampling: prior draws, weighted by the readings, and
where few of them carry the weight, rounds of draws from a kernel density around these. Everything is a function of the
readings, the prior and one seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from surrogates.gp import Basis, Parameters, tensor
from surrogates.population import ALONE, Evidence, Population, evidence_of
from surrogates.prior import LogNormal, Prior
from surrogates.propagation import Sites, expectation_propagation

HYPOTHESES = ("physics", "no effect", "free")
FIRST_STAGE = {"physics": 512, "no effect": 32, "free": 96}
SECOND_STAGE = {"physics": 400, "no effect": 16, "free": 96}
FEWEST = 64
MAX_ROUNDS = 3
ENOUGH = 80.0
QUICK = 40.0
CENTRES = 128
TEMPERED = 30.0
BISECTIONS = 12
PRIOR_SHARE = 0.15
GROWTH_CELLS = 6
NAMES = (
    "x_best",
    "slope_contact",
    "slope_short",
    "shift",
    "scatter",
    "residual_sd",
    "residual_length",
    "scatter_growth",
)
COLUMN = {name: column for column, name in enumerate(NAMES)}
ACTIVE = {
    "physics": NAMES,
    "no effect": ("scatter",),
    "free": ("scatter", "residual_sd", "residual_length"),
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

    `weights` (S,) sum to 1; `hypothesis` (S,) indexes HYPOTHESES; `taught` (S,) says which particles learned from other
    conditions; z (S, D) are the parameters as standard normals.
    """

    z: Tensor
    theta: Parameters
    hypothesis: Tensor
    taught: Tensor
    weights: Tensor
    basis: Basis
    odd: float
    sites: Sites

    def hypothesis_weight(self, name: str) -> float:
        """Posterior probability of one of HYPOTHESES."""
        return float(self.weights[self.hypothesis == HYPOTHESES.index(name)].sum())

    def log_left_out(self, name: str) -> Tensor:
        """ln of the density of each cell as all others foresee it under one of HYPOTHESES (censored: of its survival),
        (n,): p(y_i | others) = 1 / E[1 / p(y_i | others, theta)] over the posterior of theta (Gelfand, Dey and Chang,
        Bayesian Statistics 4, 147 (1992)), weights truncated at sqrt(S) times their mean (Ionides 2008)."""
        mine = self.hypothesis == HYPOTHESES.index(name)
        log_ratio = -self.sites.log_left_out[mine]
        log_weights = torch.log_softmax(self.weights[mine].log(), 0)[:, None]
        mean = torch.logsumexp(log_weights + log_ratio, 0)
        ratio = torch.minimum(log_ratio, mean + 0.5 * math.log(len(log_ratio)))
        left_out = torch.logsumexp(log_weights + ratio - log_ratio, 0)
        return left_out - torch.logsumexp(log_weights + ratio, 0)

    def effective_size(self) -> float:
        """Effective number of particles with physics."""
        return effective_size(self.weights * self.theta.physics)

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

    def scatter_variance(self, x: Tensor, u: Tensor) -> Tensor:
        """Variance of one cell around f for each particle: (S, n)."""
        return self.theta.scatter_variance(self.theta.penalty(x, u))

    def given(self, x: Tensor, u: Tensor, y: Tensor) -> Posterior:
        """The posterior after one more cell with reading `y` at (x, u), all of shape (1,): every particle is
        conditioned in closed form and weighted by how well it foresaw y. The cell is taken as no odd one."""
        features = self.basis.features(x, u)[0]
        gain = self.sites.weight_cov @ features
        variance = gain @ features + self.scatter_variance(x, u)[:, 0]
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
            taught=self.taught[index],
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


def infer(
    data: Data,
    prior: Prior,
    own: Population,
    seed: int,
    *,
    taught: tuple[Population, Population] | None = None,
    alone: float = ALONE,
    contact_only: bool = False,
    careful: bool = True,
) -> Posterior:
    """The posterior of a condition's curve given `data` (n may be 0).

    `own`: the distribution of its parameters by the prior document; `taught`: that which other conditions teach, and that
    where they teach the level only, which has the probability `alone`. `contact_only`: only the mode that falls with pressure acts. `careful` False: a quick answer, good enough
    to learn from for other conditions. Deterministic in `seed`.
    """
    basis, generator = Basis.spanning(data.x, prior), torch.Generator().manual_seed(seed)
    setting = _Setting(data, prior, _blocks(prior, own, taught, alone), basis, contact_only, generator)
    counts = setting.counts(SECOND_STAGE if not len(data) else FIRST_STAGE)
    z = setting.prior_draws(counts)
    posterior = setting.posterior(z, [torch.zeros(len(part)) for part in z])
    for _ in range(MAX_ROUNDS):
        if posterior.effective_size() >= (ENOUGH if careful else QUICK):
            break
        masses = [float(part.sum()) for part in posterior.weights.split([len(part) for part in z])]
        z, log_ratio = setting.proposals(z, posterior.weights, setting.counts(SECOND_STAGE, masses))
        posterior = setting.posterior(z, log_ratio)
    return posterior


@dataclass(frozen=True)
class _Block:
    """Particles of one hypothesis, their parameters drawn from one population; `share`: prior probability."""

    hypothesis: str
    population: Population
    share: float
    taught: bool = False


def _blocks(prior: Prior, own: Population, taught: tuple[Population, Population] | None, alone: float) -> list[_Block]:
    none, free = prior.no_effect.probability, prior.no_physics.probability
    physics, either = 1 - none - free, own if taught is None else taught[0].joined(taught[1], alone)
    rivals = [_Block("no effect", either, none), _Block("free", either, free)]
    if taught is None:
        return [_Block("physics", own, physics), *rivals]
    return [
        _Block("physics", taught[0], physics * (1 - alone), taught=True),
        _Block("physics", taught[1], physics * alone),
        *rivals,
    ]


def effective_size(weights: Tensor) -> float:
    """Kish's effective number of equally weighted particles; `weights` need not sum to 1."""
    return float(weights.sum() ** 2 / (weights**2).sum().clamp_min(1e-300))


def tempered(weights: Tensor, least: float) -> Tensor:
    """`weights` (S,) raised to the largest power up to 1 that leaves `least` particles effective, normalised: (S,)."""
    log = (weights / weights.sum().clamp_min(1e-300)).clamp_min(1e-300).log()
    low, high = 0.0, 1.0
    if effective_size(log.softmax(0)) < least:
        for _ in range(BISECTIONS):
            power = (low + high) / 2
            low, high = (low, power) if effective_size((power * log).softmax(0)) < least else (power, high)
        log = low * log
    return log.softmax(0)


def systematic(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices of `count` draws from `weights` by systematic resampling: (count,)."""
    start = torch.rand(1, generator=generator, dtype=weights.dtype)
    points = (torch.arange(count, dtype=weights.dtype) + start) / count
    return torch.searchsorted(torch.cumsum(weights, 0), points).clamp_max(len(weights) - 1)


@dataclass(frozen=True)
class _Setting:
    """What one inference is about; z is a list of parts, one a block."""

    data: Data
    prior: Prior
    blocks: list[_Block]
    basis: Basis
    contact_only: bool
    generator: torch.Generator

    def counts(self, stage: dict[str, int], masses: Sequence[float] | None = None) -> list[int]:
        """Particles of each block; those of one hypothesis are shared out by `masses`, evenly where there are none."""
        named = [block.hypothesis for block in self.blocks]
        masses = masses or [1.0] * len(named)
        total = dict.fromkeys(named, 0.0)
        for name, mass in zip(named, masses, strict=True):
            total[name] += mass
        return [
            stage[name] if named.count(name) == 1 else max(round(stage[name] * mass / max(total[name], 1e-300)), FEWEST)
            for name, mass in zip(named, masses, strict=True)
        ]

    def columns(self, hypothesis: str) -> list[int]:
        """The parameters that the readings can speak about."""
        silent = set()
        if not bool((self.data.u != 0).any()):
            silent.add("shift")
        if len(self.data) < GROWTH_CELLS:
            silent.add("scatter_growth")
        if self.contact_only:
            silent.add("slope_short")
        return [COLUMN[name] for name in ACTIVE[hypothesis] if name not in silent]

    def prior_draws(self, counts: list[int]) -> list[Tensor]:
        """Quasi-random draws from each block's population."""
        seed = int(torch.randint(2**31 - 1, (1,), generator=self.generator))
        sobol = torch.quasirandom.SobolEngine(len(NAMES) + 1, scramble=True, seed=seed)
        uniform = sobol.draw(sum(counts), dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
        return [block.population.place(part) for block, part in zip(self.blocks, uniform.split(counts), strict=True)]

    def parameters(self, z: list[Tensor]) -> Parameters:
        """Particles in lab terms from standard normals."""
        every, prior = torch.cat(z), self.prior
        sizes = torch.tensor([len(part) for part in z])
        physics, free = (
            torch.repeat_interleave(torch.tensor([block.hypothesis == name for block in self.blocks]), sizes)
            for name in ("physics", "free")
        )
        level, level_sd = self._levels(z)
        amplitude = torch.where(
            free, _log_normal(prior.free_sd, every[:, 5]), _log_normal(prior.residual_sd, every[:, 5])
        )
        length = torch.where(
            free, _log_normal(prior.free_length, every[:, 6]), _log_normal(prior.residual_length, every[:, 6])
        )
        return Parameters(
            x_best=torch.log(_log_normal(prior.best_pressure, every[:, 0]) / 300.0),
            slope_contact=_log_normal(prior.slope_contact, every[:, 1]),
            slope_short=_log_normal(prior.slope_short, every[:, 2]),
            shift=prior.current_shift.mean + prior.current_shift.sd * every[:, 3],
            scatter=_log_normal(prior.scatter_sd, every[:, 4]),
            scatter_growth=prior.scatter_growth.mean + prior.scatter_growth.sd * every[:, 7],
            residual_sd=torch.where(physics | free, amplitude, 0.0),
            residual_length=length,
            physics=physics.to(every.dtype),
            level=level,
            level_sd=level_sd,
            contact_only=self.contact_only,
        )

    def _levels(self, z: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and sd of the level of every particle: (S,), (S,)."""
        found = []
        for block, part in zip(self.blocks, z, strict=True):
            columns = self.columns(block.hypothesis)
            densities = block.population.log_densities(part[:, columns], columns)
            found.append(block.population.levels(densities, self.generator))
        return torch.cat([level for level, _ in found]), torch.cat([sd for _, sd in found])

    def propagate(self, theta: Parameters) -> Sites:
        """Expectation propagation for all particles at once."""
        data = self.data
        penalty = theta.penalty(data.x, data.u)
        blur = (theta.penalty_slope(data.x, data.u) * data.x_sd) ** 2
        return expectation_propagation(
            data.y - theta.level[:, None] + penalty,
            data.censored,
            theta.scatter_variance(penalty) + blur,
            self.prior.odd_cell.probability,
            self.basis.features(data.x, data.u),
            self.basis.variances(theta),
        )

    def posterior(self, z: list[Tensor], log_ratio: list[Tensor]) -> Posterior:
        """Particles weighted by the readings; `log_ratio` is ln(prior density / density they were drawn from)."""
        theta = self.parameters(z)
        sites = self.propagate(theta)
        sizes = torch.tensor([len(part) for part in z])
        shares = torch.log(tensor([block.share for block in self.blocks]) / sizes)
        weights = torch.softmax(
            sites.log_evidence + torch.cat(log_ratio) + torch.repeat_interleave(shares, sizes), dim=0
        )
        return Posterior(
            z=torch.cat(z),
            theta=theta,
            hypothesis=torch.repeat_interleave(
                torch.tensor([HYPOTHESES.index(block.hypothesis) for block in self.blocks]), sizes
            ),
            taught=torch.repeat_interleave(torch.tensor([block.taught for block in self.blocks]), sizes),
            weights=weights,
            basis=self.basis,
            odd=self.prior.odd_cell.probability,
            sites=sites,
        )

    def proposals(self, z: list[Tensor], weights: Tensor, counts: list[int]) -> tuple[list[Tensor], list[Tensor]]:
        """Draws near the weight of the particles z, and ln(prior density / proposal density) of each."""
        draws, ratios = [], []
        parts = weights.split([len(part) for part in z])
        for block, part, weight, fresh in zip(self.blocks, z, parts, self.prior_draws(counts), strict=True):
            columns = self.columns(block.hypothesis)
            from_prior = round(PRIOR_SHARE * len(fresh))
            near, log_kernel = self._near(
                part[:, columns], weight, len(fresh) - from_prior, fresh[:from_prior, columns]
            )
            fresh[from_prior:, columns] = near
            log_prior = torch.logsumexp(block.population.log_densities(fresh[:, columns], columns), dim=1)
            share = from_prior / len(fresh)
            log_mixture = torch.logaddexp(math.log(share) + log_prior, math.log1p(-share) + log_kernel)
            draws.append(fresh)
            ratios.append(log_prior - log_mixture)
        return draws, ratios

    def _near(self, z: Tensor, weights: Tensor, count: int, others: Tensor) -> tuple[Tensor, Tensor]:
        """`count` draws from a Gaussian kernel density of the weighted particles z (N, d), and its ln density at `others`
        (m, d) followed by the draws: (count, d), (m + count,). Bandwidth: Silverman's rule."""
        dim = z.shape[1]
        weights = tempered(weights, TEMPERED)
        centred = z - weights @ z
        cov = (weights[:, None] * centred).T @ centred + 0.003 * torch.eye(dim, dtype=z.dtype)
        width = (4 / ((dim + 2) * max(effective_size(weights), 2.0))) ** (1 / (dim + 4))
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
