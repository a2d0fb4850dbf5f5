"""Posterior of one condition's response curve: particles over the non-linear parameters, each a Gaussian process.

z are the parameters as standard normals under the prior document, (S, D); other notation as in surrogates.gp. Given z,
surrogates.propagation gives the posterior of the linear weights and the evidence.

Three hypotheses compete: "physics" (two modes and a residual), "no effect" (a constant), "free" (a smooth curve without
physics). Where other conditions teach something, "physics" comes in two blocks of particles: taught, and alone with the
document's own prior. Parameters are integrated over by importance sampling: prior draws, weighted by the readings, and
where few of them carry the weight, rounds of draws from a Student t around these (adaptive importance sampling; Cappe et
al., Stat. Comput. 18, 447 (2008)). While they are sought particles get a first look, half the sweeps of expectation
propagation with the slower sines; those that carry weight then get the other half. Everything is a function of the readings, the prior and
one seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from surrogates.gp import Basis, Parameters
from surrogates.population import ALONE, Evidence, Population, evidence_of
from surrogates.prior import LogNormal, Prior
from surrogates.propagation import Sites, expectation_propagation, of_lower_bound, of_reading

HYPOTHESES = ("physics", "no effect", "free")
FIRST_STAGE = {"physics": 400, "no effect": 24, "free": 72}
SECOND_STAGE = {"physics": 288, "no effect": 16, "free": 72}
FEWEST = 64
MAX_ROUNDS = 3
ENOUGH = 80.0
QUICK = 40.0
FREEDOM = 5
SHRINKAGE = 0.5
TEMPERED = 30.0
FARTHEST = 5.0
NEGLIGIBLE = 1e-3
SLOWER = 2 / 3
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
    if not len(data):
        return setting.posterior(setting.looked_at(setting.from_prior(setting.counts(SECOND_STAGE))))
    draws = setting.looked_at(setting.from_prior(setting.counts(FIRST_STAGE)))
    for _ in range(MAX_ROUNDS):
        if draws.effective_size() >= (ENOUGH if careful else QUICK):
            break
        draws = setting.looked_at(setting.nearer(draws, setting.counts(SECOND_STAGE, draws.masses())))
    return setting.posterior(draws.that_matter())


@dataclass(frozen=True)
class _Block:
    """Particles of one hypothesis, their parameters drawn from one population; `share`: prior probability."""

    hypothesis: str
    population: Population
    share: float
    taught: bool = False


@dataclass(frozen=True)
class _Draws:
    """Particles by block, z (N, D) each; `log_ratio` (N,) each: ln(prior density / density drawn from), the block's share
    and number among it."""

    z: list[Tensor]
    log_ratio: list[Tensor]


@dataclass(frozen=True)
class _Looked:
    """Draws after a first look at the readings: `theta`, `sites` and `weights` (S,) of all of them together."""

    draws: _Draws
    theta: Parameters
    sites: Sites
    weights: Tensor

    def parts(self) -> tuple[Tensor, ...]:
        """The weights by block."""
        parts: tuple[Tensor, ...] = self.weights.split([len(part) for part in self.draws.z])
        return parts

    def masses(self) -> list[float]:
        """The weight of each block."""
        return [float(part.sum()) for part in self.parts()]

    def effective_size(self) -> float:
        """Effective number of particles with physics."""
        return effective_size(self.weights * self.theta.physics)

    def that_matter(self) -> _Looked:
        """Those that carry more than a NEGLIGIBLE share of the mean weight of their block: a first look ranks the
        particles of a hypothesis well, the hypotheses less so."""
        kept = [part >= NEGLIGIBLE * part.mean() for part in self.parts()]
        z = [part[mask] for part, mask in zip(self.draws.z, kept, strict=True)]
        ratios = [part[mask] for part, mask in zip(self.draws.log_ratio, kept, strict=True)]
        index = torch.cat(kept).nonzero()[:, 0]
        return _Looked(_Draws(z, ratios), self.theta.select(index), self.sites.select(index), self.weights[index])


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

    def from_prior(self, counts: list[int]) -> _Draws:
        """Draws from each block's population."""
        return self._draws(self._prior_draws(counts), [torch.zeros(count).double() for count in counts])

    def _draws(self, z: list[Tensor], log_ratio: list[Tensor]) -> _Draws:
        shares = [math.log(block.share / len(part)) for block, part in zip(self.blocks, z, strict=True)]
        return _Draws(z, [ratio + share for ratio, share in zip(log_ratio, shares, strict=True)])

    def looked_at(self, draws: _Draws) -> _Looked:
        """The draws with their weights by a first look at the readings."""
        theta = self.parameters(draws.z)
        sites = self.propagate(theta, first_look=True)
        return _Looked(draws, theta, sites, torch.softmax(sites.log_evidence + torch.cat(draws.log_ratio), dim=0))

    def _prior_draws(self, counts: list[int]) -> list[Tensor]:
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

    def posterior(self, looked: _Looked) -> Posterior:
        """Particles weighted by the readings."""
        draws = looked.draws
        sites = self.propagate(looked.theta, before=looked.sites)
        sizes = torch.tensor([len(part) for part in draws.z])
        hypotheses = torch.tensor([HYPOTHESES.index(block.hypothesis) for block in self.blocks])
        return Posterior(
            z=torch.cat(draws.z),
            theta=looked.theta,
            hypothesis=torch.repeat_interleave(hypotheses, sizes),
            taught=torch.repeat_interleave(torch.tensor([block.taught for block in self.blocks]), sizes),
            weights=torch.softmax(sites.log_evidence + torch.cat(draws.log_ratio), dim=0),
            basis=self.basis,
            odd=self.prior.odd_cell.probability,
            sites=sites,
        )

    def nearer(self, before: _Looked, counts: list[int]) -> _Draws:
        """Draws near the weight of those before, a share of them from the prior still."""
        found, ratios = [], []
        for block, part, weight, fresh in zip(
            self.blocks, before.draws.z, before.parts(), self._prior_draws(counts), strict=True
        ):
            columns = self.columns(block.hypothesis)
            from_prior = round(PRIOR_SHARE * len(fresh))
            near = _Near.around(part[:, columns], weight)
            fresh[from_prior:, columns] = near.draws(len(fresh) - from_prior, self.generator).clamp(-FARTHEST, FARTHEST)
            log_prior = torch.logsumexp(block.population.log_densities(fresh[:, columns], columns), dim=1)
            share = from_prior / len(fresh)
            log_near = near.log_density(fresh[:, columns])
            log_mixture = torch.logaddexp(math.log(share) + log_prior, math.log1p(-share) + log_near)
            found.append(fresh)
            ratios.append(log_prior - log_mixture)
        return self._draws(found, ratios)


@dataclass(frozen=True)
class _Near:
    """A Student t of FREEDOM degrees in d dimensions: centre (d,), Cholesky factor of its scale matrix (d, d)."""

    centre: Tensor
    chol: Tensor

    @classmethod
    def around(cls, z: Tensor, weights: Tensor) -> _Near:
        """The t with mean and covariance of the weighted particles z (N, d), the latter drawn the more towards its
        diagonal the fewer of them count."""
        dim = z.shape[1]
        weights = tempered(weights, TEMPERED)
        centre = weights @ z
        gap = z - centre
        cov = (weights[:, None] * gap).T @ gap
        shrunk = min(1.0, SHRINKAGE * dim / effective_size(weights))
        diagonal = torch.diag(shrunk * cov.diagonal() + 0.003)
        return cls(centre, cast(Tensor, torch.linalg.cholesky((1 - shrunk) * cov + diagonal)))

    def draws(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, d)."""
        normal = torch.randn(count, FREEDOM + len(self.centre), generator=generator, dtype=self.centre.dtype)
        stretch = (normal[:, :FREEDOM] ** 2).mean(1, keepdim=True).sqrt()
        return self.centre + normal[:, FREEDOM:] / stretch @ self.chol.T

    def log_density(self, z: Tensor) -> Tensor:
        """ln of the density at z (N, d): (N,)."""
        dim = len(self.centre)
        white = torch.linalg.solve_triangular(self.chol, (z - self.centre).T, upper=False)
        constant = math.lgamma((FREEDOM + dim) / 2) - math.lgamma(FREEDOM / 2) - 0.5 * dim * math.log(FREEDOM * math.pi)
        tail = 0.5 * (FREEDOM + dim) * torch.log1p((white**2).sum(0) / FREEDOM)
        return constant - self.chol.diagonal().log().sum() - tail


def _log_normal(quantity: LogNormal, z: Tensor) -> Tensor:
    return quantity.median * torch.exp(quantity.sd_ln * z)
