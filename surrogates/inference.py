"""Posterior of one condition's response curve: particles over the non-linear parameters, each a Gaussian process.

z are the parameters as standard normals under the prior document, (S, D); other notation as in surrogates.gp. Given z,
surrogates.propagation gives the posterior of the linear weights and the evidence.

Three hypotheses compete: "physics" (two modes and a residual), "no effect" (a constant), "free" (a smooth curve without
physics). Where other conditions teach something, "physics" comes in two blocks of particles: taught, and alone with the
document's own prior. Parameters are integrated over by importance sampling: prior draws, weighted by the readings, and
where few of them carry the weight, rounds of draws from a Student t around these. The draws of all rounds count, each
weighted as one from the mixture of all they were drawn from (adaptive multiple importance sampling; Cornuet, Marin, Mira
and Robert, Scand. J. Stat. 39, 798 (2012)). While they are sought particles get a first look, half the sweeps of
expectation propagation with the slower sines; those that carry weight then get the other half. Everything is a function
of the readings, the prior and one seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import torch
from scipy.special import chdtri
from torch import Tensor

from surrogates.gp import Basis, Parameters, tensor
from surrogates.population import ALONE, Evidence, Population, evidence_of
from surrogates.prior import LogNormal, Prior
from surrogates.propagation import Sites, expectation_propagation, of_lower_bound, of_reading

HYPOTHESES = ("physics", "no effect", "free")
FIRST_STAGE = {"physics": 320, "no effect": 16, "free": 48}
SECOND_STAGE = {"physics": 256, "no effect": 16, "free": 32}
FEWEST = 64
MAX_ROUNDS = 3
ENOUGH = 60.0
QUICK = 20.0
FREEDOM = 5
SHRINKAGE = 0.5
TEMPERED = 30.0
FARTHEST = 5.0
NEGLIGIBLE = 1e-2
SLOWER = 2 / 3
BISECTIONS = 12
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

    def given(self, x: Tensor, u: Tensor, y: Tensor, *, alive: bool = False) -> Posterior:
        """The posterior after one more cell with reading `y` at (x, u), all of shape (1,): every particle is
        conditioned in closed form and weighted by how well it foresaw y. `alive`: the cell has outlived y, the moments of
        the curve are matched. The cell is taken as no odd one."""
        features = self.basis.features(x, u)[0]
        pull = self.sites.weight_cov @ features
        variance = pull @ features + self.scatter_variance(x, u)[:, 0]
        log, first, second = (of_lower_bound if alive else of_reading)(y - self.mean(x, u)[:, 0], variance)
        mean = self.sites.weight_mean + pull * first[:, None]
        cov = self.sites.weight_cov + pull[:, :, None] * (pull * second[:, None])[:, None, :]
        return self._with(torch.softmax(self.weights.log() + log, dim=0), mean, cov)

    def without(self, cell: int, x: Tensor, u: Tensor) -> Posterior:
        """The posterior as all other cells leave it: reading number `cell`, which lies at (x, u) of shape (1,), is taken
        out of every particle and of the weights (the cavity of expectation propagation)."""
        features = self.basis.features(x, u)[0]
        pull = self.sites.weight_cov @ features
        tau, nu = self.sites.tau[:, cell], self.sites.nu[:, cell]
        rest = (1 - tau * (pull @ features)).clamp_min(1e-6)
        centre = self.sites.weight_mean @ features
        mean = self.sites.weight_mean + pull * ((tau * centre - nu) / rest)[:, None]
        cov = self.sites.weight_cov + pull[:, :, None] * (pull * (tau / rest)[:, None])[:, None, :]
        return self._with(torch.softmax(self.weights.log() - self.sites.log_left_out[:, cell], dim=0), mean, cov)

    def _with(self, weights: Tensor, mean: Tensor, cov: Tensor) -> Posterior:
        return replace(self, weights=weights, sites=replace(self.sites, weight_mean=mean, weight_cov=cov))

    def thinned(self, count: int, generator: torch.Generator) -> Posterior:
        """`count` equally weighted particles drawn from this posterior."""
        index = systematic(self.weights, count, generator)
        equal = torch.full((count,), 1 / count, dtype=self.weights.dtype)
        return replace(
            self,
            z=self.z[index],
            theta=self.theta.select(index),
            hypothesis=self.hypothesis[index],
            taught=self.taught[index],
            weights=equal,
            sites=self.sites.select(index),
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
    found = setting.from_prior(setting.counts(FIRST_STAGE if len(data) else SECOND_STAGE))
    for _ in range(MAX_ROUNDS):
        if found.effective_size() >= (ENOUGH if careful else QUICK):
            break
        found = setting.nearer(found)
    return setting.posterior(found, found.that_matter())


@dataclass(frozen=True)
class _Block:
    """Particles of one hypothesis, their parameters drawn from one population; `share`: prior probability."""

    hypothesis: str
    population: Population
    share: float
    taught: bool = False


@dataclass(frozen=True)
class _Drawn:
    """What the particles of one block were drawn from: `from_prior` of them from its population, and numbers of them from
    each of `near`."""

    from_prior: int
    near: tuple[tuple[int, _Near], ...] = ()

    def log_density(self, z: Tensor, log_prior: Tensor) -> Tensor:
        """ln of the sum of number times density over all that was drawn from, at z (N, D): (N,)."""
        near = [math.log(count) + near.log_density(z) for count, near in self.near]
        return torch.logsumexp(torch.stack([math.log(self.from_prior) + log_prior, *near]), 0)


@dataclass(frozen=True)
class _Particles:
    """N particles after a first look at the readings: z (N, D); `block` (N,), the number of each one's block; `log_prior`
    (N,), ln of its density there; by block ln of its prior probability (`log_shares`), and what its particles were drawn
    from."""

    z: Tensor
    block: Tensor
    log_prior: Tensor
    theta: Parameters
    sites: Sites
    log_shares: Tensor
    drawn: tuple[_Drawn, ...]

    def of_block(self, number: int) -> Tensor:
        """Numbers of the particles of a block."""
        return (self.block == number).nonzero()[:, 0]

    @cached_property
    def log_ratio(self) -> Tensor:
        """ln of the prior density, the block's share among it, over what was drawn from: (N,)."""
        ratio = self.log_prior + self.log_shares[self.block]
        for number, drawn in enumerate(self.drawn):
            mine = self.of_block(number)
            ratio.index_add_(0, mine, drawn.log_density(self.z[mine], self.log_prior[mine]), alpha=-1)
        return ratio

    @cached_property
    def weights(self) -> Tensor:
        """By the first look, (N,); they sum to 1."""
        return torch.softmax(self.sites.log_evidence + self.log_ratio, dim=0)

    def masses(self) -> Tensor:
        """The weight of each block."""
        return torch.zeros(len(self.drawn), dtype=self.weights.dtype).index_add(0, self.block, self.weights)

    def effective_size(self) -> float:
        """Effective number of particles with physics."""
        return effective_size(self.weights * self.theta.physics)

    def that_matter(self) -> Tensor:
        """Numbers of those that carry more than a NEGLIGIBLE share of the mean weight of their block: a first look ranks
        the particles of a hypothesis well, the hypotheses less so."""
        mean = self.masses() / torch.bincount(self.block, minlength=len(self.drawn))
        return (self.weights >= NEGLIGIBLE * mean[self.block]).nonzero()[:, 0]

    def joined(self, other: _Particles) -> _Particles:
        """Both together; `other` knows what all of them were drawn from."""
        return replace(
            other,
            z=torch.cat([self.z, other.z]),
            block=torch.cat([self.block, other.block]),
            log_prior=torch.cat([self.log_prior, other.log_prior]),
            theta=self.theta.joined(other.theta),
            sites=self.sites.joined(other.sites),
        )


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

    def from_prior(self, counts: list[int]) -> _Particles:
        """Draws from each block's population."""
        uniforms = zip(self.blocks, self._uniforms(counts), strict=True)
        z = [block.population.place(uniform[:, :-1]) for block, uniform in uniforms]
        return self._looked_at(z, tuple(_Drawn(count) for count in counts))

    def nearer(self, before: _Particles) -> _Particles:
        """With draws near the weight of those before."""
        counts = self.counts(SECOND_STAGE, before.masses().tolist())
        z, drawn = [], []
        for number, (block, uniform) in enumerate(zip(self.blocks, self._uniforms(counts), strict=True)):
            mine = before.of_block(number)
            near = _Near.around(before.z[mine], before.weights[mine], self.columns(block.hypothesis))
            part = block.population.place(uniform[:, :-1])
            part[:, near.columns] = near.place(uniform)
            z.append(part)
            so_far = before.drawn[number]
            drawn.append(replace(so_far, near=(*so_far.near, (len(part), near))))
        return before.joined(self._looked_at(z, tuple(drawn)))

    def _uniforms(self, counts: list[int]) -> list[Tensor]:
        """Quasi-random uniforms for the draws of each block: (count, D + 2) each."""
        seed = int(torch.randint(2**31 - 1, (1,), generator=self.generator))
        sobol = torch.quasirandom.SobolEngine(len(NAMES) + 2, scramble=True, seed=seed)
        uniform = sobol.draw(sum(counts), dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
        parts: tuple[Tensor, ...] = uniform.split(counts)
        return list(parts)

    def _looked_at(self, parts: list[Tensor], drawn: tuple[_Drawn, ...]) -> _Particles:
        """Particles at z, by block, after a first look at the readings."""
        z = torch.cat(parts)
        block = torch.repeat_interleave(torch.tensor([len(part) for part in parts]))
        log_prior, level, level_sd = (
            torch.cat(values) for values in zip(*map(self._densities, self.blocks, parts), strict=True)
        )
        theta = self.parameters(z, block, level, level_sd)
        shares = tensor([block.share for block in self.blocks])
        return _Particles(z, block, log_prior, theta, self.propagate(theta, first_look=True), shares.log(), drawn)

    def _densities(self, block: _Block, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ln of the block's density, mean and sd of the level, for particles z (N, D) of it: (N,) each."""
        columns = self.columns(block.hypothesis)
        densities = block.population.log_densities(z[:, columns], columns)
        return torch.logsumexp(densities, dim=1), *block.population.levels(densities, self.generator)

    def parameters(self, z: Tensor, block: Tensor, level: Tensor, level_sd: Tensor) -> Parameters:
        """Particles in lab terms from standard normals."""
        prior = self.prior
        physics, free = (
            torch.tensor([each.hypothesis == name for each in self.blocks])[block] for name in ("physics", "free")
        )
        amplitude = torch.where(free, _log_normal(prior.free_sd, z[:, 5]), _log_normal(prior.residual_sd, z[:, 5]))
        length = torch.where(free, _log_normal(prior.free_length, z[:, 6]), _log_normal(prior.residual_length, z[:, 6]))
        return Parameters(
            x_best=torch.log(_log_normal(prior.best_pressure, z[:, 0]) / 300.0),
            slope_contact=_log_normal(prior.slope_contact, z[:, 1]),
            slope_short=_log_normal(prior.slope_short, z[:, 2]),
            shift=prior.current_shift.mean + prior.current_shift.sd * z[:, 3],
            scatter=_log_normal(prior.scatter_sd, z[:, 4]),
            scatter_growth=prior.scatter_growth.mean + prior.scatter_growth.sd * z[:, 7],
            residual_sd=torch.where(physics | free, amplitude, 0.0),
            residual_length=length,
            physics=physics.to(z.dtype),
            level=level,
            level_sd=level_sd,
            contact_only=self.contact_only,
        )

    def propagate(self, theta: Parameters, *, first_look: bool = False, before: Sites | None = None) -> Sites:
        """Expectation propagation for all particles at once: a first look, or on from the sites that it left."""
        data = self.data
        penalty = theta.penalty(data.x, data.u)
        blur = (theta.penalty_slope(data.x, data.u) * data.x_sd) ** 2
        count = self.basis.size(SLOWER if first_look else 1.0)
        return expectation_propagation(
            data.y - theta.level[:, None] + penalty,
            data.censored,
            theta.scatter_variance(penalty) + blur,
            self.prior.odd_cell.probability,
            self.basis.features(data.x, data.u)[:, :count],
            self.basis.variances(theta)[:, :count],
            first_look=first_look,
            before=before,
        )

    def posterior(self, found: _Particles, index: Tensor) -> Posterior:
        """The particles at `index` weighted by the readings."""
        theta, block = found.theta.select(index), found.block[index]
        sites = self.propagate(theta, before=found.sites.select(index))
        hypotheses = torch.tensor([HYPOTHESES.index(each.hypothesis) for each in self.blocks])
        return Posterior(
            z=found.z[index],
            theta=theta,
            hypothesis=hypotheses[block],
            taught=torch.tensor([each.taught for each in self.blocks])[block],
            weights=torch.softmax(sites.log_evidence + found.log_ratio[index], dim=0),
            basis=self.basis,
            odd=self.prior.odd_cell.probability,
            sites=sites,
        )


@dataclass(frozen=True)
class _Near:
    """A Student t of FREEDOM degrees in the d `columns` of z: centre (d,), Cholesky factor of its scale matrix (d, d)."""

    columns: list[int]
    centre: Tensor
    chol: Tensor

    @classmethod
    def around(cls, z: Tensor, weights: Tensor, columns: list[int]) -> _Near:
        """The t with mean and covariance of the weighted particles z (N, D), the latter drawn the more towards its
        diagonal the fewer of them count."""
        weights = tempered(weights, TEMPERED)
        centre = weights @ z[:, columns]
        gap = z[:, columns] - centre
        cov = (weights[:, None] * gap).T @ gap
        shrunk = min(1.0, SHRINKAGE * len(columns) / effective_size(weights))
        diagonal = torch.diag(shrunk * cov.diagonal() + 0.003)
        return cls(columns, centre, cast(Tensor, torch.linalg.cholesky((1 - shrunk) * cov + diagonal)))

    def place(self, uniform: Tensor) -> Tensor:
        """Draws (N, d) from uniforms (N, D + 2), whose last column stretches them: t is a normal over the root of a
        chi-squared over its freedom."""
        normal = torch.special.ndtri(uniform[:, self.columns])
        stretch = tensor(chdtri(FREEDOM, uniform[:, -1].numpy()) / FREEDOM).sqrt()
        found = self.centre + normal / stretch[:, None] @ self.chol.T
        placed: Tensor = found.clamp(-FARTHEST, FARTHEST)
        return placed

    def log_density(self, z: Tensor) -> Tensor:
        """ln of the density at z (N, D): (N,)."""
        dim = len(self.centre)
        white = torch.linalg.solve_triangular(self.chol, (z[:, self.columns] - self.centre).T, upper=False)
        constant = math.lgamma((FREEDOM + dim) / 2) - math.lgamma(FREEDOM / 2) - 0.5 * dim * math.log(FREEDOM * math.pi)
        tail = 0.5 * (FREEDOM + dim) * torch.log1p((white**2).sum(0) / FREEDOM)
        return constant - self.chol.diagonal().log().sum() - tail


def _log_normal(quantity: LogNormal, z: Tensor) -> Tensor:
    return quantity.median * torch.exp(quantity.sd_ln * z)
