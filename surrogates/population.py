"""What other electrode pairs, electrolytes and outcomes teach about one response curve, before its own first cell.

Notation
--------
z        a curve's parameters as standard normals under the prior document; SHARED names the columns that are shared
c, t     a curve that has cells (a `Source`); the curve asked for
Lambda, eta   what the cells of c say about z as a Gaussian factor exp(-z' Lambda z / 2 + eta' z): its `Evidence`
r        share of the prior's variance that alike conditions have in common; each of SHARES is weighted by evidence
         (levels are shared more closely: by the root of the likeness)
l        loading: how much of an outcome's parameters is common to all outcomes of a condition

The parameters of curves are draws from a population: over curves z is Gaussian, with correlation (r * likeness) between
conditions, times l_c l_t between different outcomes. Conditioning it on the evidence of every c gives a Gaussian for t: a
new prior in which like curves weigh more. The document's own prior remains beside it as a hypothesis of its own, with
probability ALONE, so a condition that behaves otherwise is let go by its own cells.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from surrogates.cells import Condition
from surrogates.gp import tensor
from surrogates.outcomes import OutcomeName, ReadoutName

SHARED = (0, 1, 2, 3, 4)
"""Columns of z that a population shares: best pressure, both slopes, shift with current density, scatter."""
SHARES = (0.3, 0.7, 0.9, 0.99)
OTHER_LEVEL = 0.15
"""Prior probability that a curve's level has nothing to do with that of the others."""
STRAY_SPREAD = 2.5
"""How many times wider best pressures of stray pairs are spread."""
ALONE, ALONE_OF_SAME_CELLS = 0.4, 0.1
"""Prior probability that a curve has nothing in common with the others; smaller where other outcomes of its own cells are
among them."""
MOST_SOURCES = 32
SAME_LAB, ELECTRODES, ELECTROLYTE, ONE_ELECTRODE = 0.1, 0.6, 0.3, 0.9
OUTCOME_LOADING, LEVEL_LOADING, SCATTER_LOADING = 0.9, 0.55, 0.55
SAME_CELLS = 0.75
"""How far two outcomes of the same cells count as two: what is odd about a cell shows in both."""
SALT = re.compile(r"\s*([\d.]+)\s*(m|mol/l|mol/kg|mol\s*l-1|mol\s*kg-1)\s+(.+?)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Evidence:
    """What the cells of one curve say about its parameters: precision (d, d) and pull (d,) over z[SHARED], and
    precision and pull of the level, on the model scale in units of the prior's sd."""

    precision: Tensor
    pull: Tensor
    level_precision: float
    level_pull: float

    def times(self, trust: float) -> Evidence:
        """The evidence counted `trust` times (0 to 1)."""
        return Evidence(
            trust * self.precision, trust * self.pull, trust * self.level_precision, trust * self.level_pull
        )


@dataclass(frozen=True)
class Curve:
    """Whose curve: an outcome of a condition. `loading` is l; `origin` tells the table at hand from earlier campaigns."""

    condition: Condition
    outcome: OutcomeName | ReadoutName
    loading: float = OUTCOME_LOADING
    is_readout: bool = False
    origin: str = "table"

    @property
    def group(self) -> tuple[str, str, str, str]:
        """Curves of one group are of the same cells."""
        return (
            self.origin,
            self.condition.electrode_pair,
            self.condition.electrolyte,
            self.condition.current_density_unit,
        )


@dataclass(frozen=True)
class Source:
    """A curve that has cells, and what they say."""

    curve: Curve
    evidence: Evidence


@dataclass(frozen=True)
class Population:
    """The prior of one condition: a mixture of K Gaussians over z[SHARED], the other columns standard normal.

    weights (K,); mean (K, 4); cov (K, 4, 4); level (K,), level_sd (K,): mean and sd of y at the best pressure.
    """

    weights: Tensor
    mean: Tensor
    cov: Tensor
    level: Tensor
    level_sd: Tensor

    @classmethod
    def of_document(cls, level: float, level_sd: float, stray: float = 0.0) -> Population:
        """The prior document itself: standard normal, but with probability `stray` a best pressure far off the usual."""
        size = len(SHARED)
        usual, far = torch.eye(size).double(), torch.eye(size).double()
        far[0, 0] = STRAY_SPREAD**2
        both = tensor([level, level]), tensor([level_sd, level_sd])
        found = cls(tensor([1 - stray, stray]), torch.zeros(2, size).double(), torch.stack([usual, far]), *both)
        return found if stray else cls(**{name: value[:1] for name, value in vars(found).items()})

    def with_level(self, level: float, level_sd: float) -> Population:
        """The same but for the level."""
        return replace(
            self, level=torch.full_like(self.level, level), level_sd=torch.full_like(self.level_sd, level_sd)
        )

    def joined(self, other: Population, weight: float) -> Population:
        """A mixture of both populations, `other` with `weight`."""
        parts = {name: torch.cat([value, vars(other)[name]]) for name, value in vars(self).items()}
        parts["weights"] = torch.cat([(1 - weight) * self.weights, weight * other.weights])
        return Population(**parts)

    def place(self, uniform: Tensor) -> Tensor:
        """Draws of z (S, D) from uniforms (S, D + 1), whose last column chooses the component."""
        z = cast(Tensor, torch.special.ndtri(uniform[:, :-1]))
        chosen = torch.searchsorted(torch.cumsum(self.weights, 0), uniform[:, -1].contiguous())
        chosen = chosen.clamp_max(len(self.weights) - 1)
        chol: Tensor = torch.linalg.cholesky(self.cov)
        shared = self.mean[chosen] + (chol[chosen] @ z[:, list(SHARED), None])[..., 0]
        z[:, list(SHARED)] = shared
        return z

    def log_densities(self, z: Tensor, columns: Sequence[int]) -> Tensor:
        """ln of weight times density of each component at z (S, len(columns)), marginal over other columns: (S, K)."""
        mine = [i for i, column in enumerate(columns) if column in SHARED]
        shared = [SHARED.index(columns[i]) for i in mine]
        cov = self.cov[:, shared][:, :, shared]
        chol: Tensor = torch.linalg.cholesky(cov)
        gap = z[:, mine].expand(len(chol), -1, -1) - self.mean[:, None, shared]
        white = torch.linalg.solve_triangular(chol, gap.mT, upper=False)
        log_shared = (-0.5 * (white**2).sum(1) - chol.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)).T
        rest = [i for i in range(len(columns)) if i not in mine]
        log_rest = -0.5 * (z[:, rest] ** 2).sum(1, keepdim=True)
        constant = 0.5 * len(columns) * math.log(2 * math.pi)
        return cast(Tensor, self.weights.log() + log_shared + log_rest - constant)

    def levels(self, log_densities: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mean and sd of the level for each particle, its component drawn from `log_densities` (S, K): (S,), (S,)."""
        shares = torch.cumsum(torch.softmax(log_densities, dim=1), dim=1)
        uniform = torch.rand(len(shares), 1, generator=generator, dtype=shares.dtype)
        chosen = (shares < uniform).sum(1).clamp_max(len(self.weights) - 1)
        return self.level[chosen], self.level_sd[chosen]


def likeness(one: Condition, other: Condition) -> float:
    """How alike two conditions are, 0 to 1: by the electrodes and by the electrolyte they share."""
    left, right = (condition.electrode_pair.split("||") for condition in (one, other))
    common = len(set(left) & set(right)) if left != right else 2
    electrodes = (0.0, ONE_ELECTRODE, 1.0)[common]
    return SAME_LAB + ELECTRODES * electrodes + ELECTROLYTE * electrolyte_likeness(one.electrolyte, other.electrolyte)


def electrolyte_likeness(one: str, other: str) -> float:
    """1 for the same electrolyte; between 1 and 0.65 for two molarities of one salt ("2 M ZnSO4", "3 M ZnSO4"), less by the
    share of additives ("2 M ZnSO4 + 0.1 M MnSO4") that only one has; 0 for different salts or unreadable names."""
    if one.split() == other.split():
        return 1.0
    (left, *left_added), (right, *right_added) = _parts(one), _parts(other)
    return _salt_likeness(left, right) * (1 - 0.5 * _unshared(left_added, right_added))


def _parts(electrolyte: str) -> list[str]:
    """Main salt, then additives."""
    return [" ".join(part.split()) for part in re.split(r"\s*(?:\+|,|;|\bwith\b)\s*", electrolyte)]


def _salt_likeness(one: str, other: str) -> float:
    if one == other:
        return 1.0
    left, right = SALT.fullmatch(one), SALT.fullmatch(other)
    if left is None or right is None or left[3].lower() != right[3].lower() or left[2].lower() != right[2].lower():
        return 0.0
    return 0.65 + 0.35 * math.exp(-abs(math.log(float(left[1]) / float(right[1]))))


def _unshared(one: Sequence[str], other: Sequence[str]) -> float:
    """Share of the additives, by substance, that only one of two electrolytes has."""
    left, right = (
        {(SALT.fullmatch(name) or ["", "", "", name])[3].lower() for name in names} for names in (one, other)
    )
    return len(left ^ right) / max(len(left | right), 1)


def evidence_of(z: Tensor, weights: Tensor, trust: float, levels: tuple[Tensor, Tensor]) -> Evidence:
    """Evidence in particles z (S, D) that carry `weights` (S,), as far as the condition is to be trusted (0 to 1).

    `levels`: mean and sd of each particle's level in units of the prior's (S,), (S,).
    """
    weights = weights / weights.sum()
    shared = z[:, list(SHARED)]
    centre = weights @ shared
    gap = shared - centre
    cov = (weights[:, None] * gap).T @ gap + 1e-4 * torch.eye(len(SHARED)).double()
    inverse: Tensor = torch.linalg.inv(cov)
    values, vectors = torch.linalg.eigh(inverse - torch.eye(len(SHARED)).double())
    kept = vectors[:, values > 1e-3]
    precision = kept @ torch.diag(values[values > 1e-3]) @ kept.T
    pull = kept @ kept.T @ inverse @ centre
    level, spread = levels
    level_mean = float(weights @ level)
    level_variance = float(weights @ (spread**2 + (level - level_mean) ** 2)) + 1e-4
    gained = max(1 / level_variance - 1, 0.0)
    return Evidence(precision, pull, gained, level_mean / level_variance * (gained > 0)).times(trust)


def nearest(target: Curve, curves: Sequence[Curve]) -> list[Curve]:
    """The MOST_SOURCES curves that have most in common with `target`: asking only them keeps the cost bounded."""

    def alike(other: Curve) -> float:
        outcomes = 1.0 if target.outcome == other.outcome else target.loading * other.loading
        return likeness(target.condition, other.condition) * outcomes

    return sorted((curve for curve in curves if curve != target), key=alike, reverse=True)[:MOST_SOURCES]


def alone_share(target: Curve, teachers: Sequence[Curve]) -> float:
    """Prior probability that `teachers` teach nothing about `target`."""
    return ALONE_OF_SAME_CELLS if any(curve.group == target.group for curve in teachers) else ALONE


def informed(target: Curve, sources: Sequence[Source], own: Population) -> tuple[Population, Population]:
    """The prior of `target` given the evidence of other curves, of which there is one or more, and the document's `own`
    prior with what they say of the level alone."""
    found = [source.evidence.times(SAME_CELLS if source.curve.group == target.group else 1.0) for source in sources]
    curves = [target, *(source.curve for source in sources)]
    level, level_sd = float(own.level[0]), float(own.level_sd[0])
    conditions, outcomes = _condition_likeness(curves), _common_factor([curve.loading for curve in curves], curves)
    scatters = _common_factor([0.0 if curve.is_readout else SCATTER_LOADING for curve in curves], curves)
    levels = _common_factor([0.0 if curve.is_readout else LEVEL_LOADING for curve in curves], curves)
    shapes, heights = [], []
    for share in SHARES:
        common = _shared(conditions, share, curves)
        columns = [common * (scatters if column == SHARED[-1] else outcomes) for column in SHARED]
        shapes.append(_conditioned(columns, [e.precision for e in found], [e.pull for e in found]))
        ones = [tensor([[e.level_precision]]) for e in found], [tensor([e.level_pull]) for e in found]
        heights.append(_conditioned([_shared(conditions.sqrt(), share, curves) * levels], *ones))
    centre, spread = _moments(heights)
    height = level + level_sd * float(centre), level_sd * float(spread)
    taught = Population(
        torch.softmax(tensor([log for _, _, log in shapes]), 0),
        torch.stack([mean for mean, _, _ in shapes]),
        torch.stack([cov for _, cov, _ in shapes]),
        torch.full((len(SHARES),), height[0]).double(),
        torch.full((len(SHARES),), height[1]).double(),
    )
    return (
        taught.joined(taught.with_level(level, level_sd), OTHER_LEVEL),
        own.with_level(*height).joined(own, OTHER_LEVEL),
    )


def _condition_likeness(curves: Sequence[Curve]) -> Tensor:
    return tensor([[likeness(a.condition, b.condition) for b in curves] for a in curves])


def _common_factor(loadings: Sequence[float], curves: Sequence[Curve]) -> Tensor:
    """Correlation of curves of one condition: 1 within an outcome, the product of two loadings between outcomes."""
    return tensor(
        [
            [1.0 if a.outcome == b.outcome else left * right for b, right in zip(curves, loadings, strict=True)]
            for a, left in zip(curves, loadings, strict=True)
        ]
    )


def _shared(alike: Tensor, share: float, curves: Sequence[Curve]) -> Tensor:
    """Correlation of the conditions' parameters when alike ones have `share` of their variance in common."""
    same = tensor([[float(a.group == b.group) for b in curves] for a in curves])
    return share * alike + (1 - share) * same


def _moments(parts: Sequence[tuple[Tensor, Tensor, float]]) -> tuple[Tensor, Tensor]:
    """Mean and sd of one-dimensional Gaussians weighted by their log evidence."""
    weights = torch.softmax(tensor([log for _, _, log in parts]), 0)
    means = torch.stack([mean[0] for mean, _, _ in parts])
    variances = torch.stack([cov[0, 0] for _, cov, _ in parts])
    centre = weights @ means
    return centre, (weights @ (variances + (means - centre) ** 2)).sqrt()


def _conditioned(
    correlations: Sequence[Tensor], precisions: Sequence[Tensor], pulls: Sequence[Tensor]
) -> tuple[Tensor, Tensor, float]:
    """Mean and covariance of the first curve's parameters given the factors of the others, and ln of the evidence.

    `correlations`: between curves (m, m), one a parameter; parameters are independent of each other before.
    With K the prior covariance of all sources, B = I + K Lambda and ln evidence = eta' B^-1 K eta / 2 - ln|B| / 2.
    """
    size, count = len(pulls[0]), len(pulls)
    eye = torch.eye(size).double()
    joint = torch.diag_embed(torch.stack(list(correlations), dim=-1)).transpose(1, 2)
    prior = joint[1:, :, 1:].reshape(count * size, count * size)
    cross = joint[0, :, 1:].reshape(size, count * size)
    precision, pull = torch.block_diag(*precisions), torch.cat(list(pulls))
    inflated = torch.eye(len(prior)).double() + prior @ precision
    solved = torch.linalg.solve(inflated, torch.cat([(prior @ pull)[:, None], prior], dim=1))
    mean_sources, cov_sources = solved[:, 0], solved[:, 1:]
    log_evidence = 0.5 * float(pull @ mean_sources) - 0.5 * float(torch.linalg.slogdet(inflated)[1])
    mean = cross @ (pull - precision @ mean_sources)
    cov = eye - cross @ (precision - precision @ cov_sources @ precision) @ cross.T
    return mean, 0.5 * (cov + cov.T) + 1e-6 * eye, log_evidence
