"""What other electrode pairs and electrolytes teach about one condition, before its own first cell.

Notation
--------
z        a condition's parameters as standard normals under the prior document; SHARED names the columns that are shared
c, t     a condition that has cells; the condition asked for
Lambda, eta   what the cells of c say about z as a Gaussian factor exp(-z' Lambda z / 2 + eta' z): its `Evidence`
r        share of the prior's variance that alike conditions have in common; each of SHARES is weighted by evidence

The parameters of conditions are draws from a population: over conditions z is Gaussian with covariance
r * likeness(c, t) off the diagonal (times the identity over parameters). Conditioning it on the evidence of every c gives a
Gaussian for t: a new prior in which like conditions weigh more. A component with the document's own prior remains, so a
condition that behaves otherwise is let go by its own cells.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from surrogates.cells import Condition
from surrogates.gp import tensor

SHARED = (0, 1, 2, 4)
"""Columns of z that a population shares: best pressure, both slopes, scatter."""
SHARES = (0.3, 0.6, 0.85, 0.97)
ALONE = 0.25
"""Prior probability that a condition has nothing in common with the others."""
SAME_LAB, ELECTRODES, ELECTROLYTE, ONE_ELECTRODE = 0.1, 0.6, 0.3, 0.8
SALT = re.compile(r"\s*([\d.]+)\s*(m|mol/l|mol/kg|mol\s*l-1|mol\s*kg-1)\s+(.+?)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Evidence:
    """What the cells of one condition say about its parameters: precision (4, 4) and pull (4,) over z[SHARED], and
    precision and pull of the level, on the model scale in units of the prior's sd."""

    precision: Tensor
    pull: Tensor
    level_precision: float
    level_pull: float


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
    def of_document(cls, level: float, level_sd: float) -> Population:
        """The prior document itself: one standard normal component."""
        size = len(SHARED)
        return cls(
            tensor([1.0]), tensor([[0.0] * size]), torch.eye(size).double()[None], tensor([level]), tensor([level_sd])
        )

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
        gap = (z[:, None, mine] - self.mean[None][:, :, shared])[..., None]
        white = torch.linalg.solve_triangular(chol[None], gap, upper=False)[..., 0]
        log_shared = -0.5 * (white**2).sum(-1) - chol.diagonal(dim1=-2, dim2=-1).log().sum(-1)
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
    """1 for the same electrolyte; between 1 and 0.5 for two molarities of one salt ("2 M ZnSO4", "3 M ZnSO4"); else 0."""
    if one.split() == other.split():
        return 1.0
    left, right = SALT.fullmatch(one), SALT.fullmatch(other)
    if left is None or right is None or left[3].split() != right[3].split() or left[2].lower() != right[2].lower():
        return 0.0
    ratio = abs(math.log(float(left[1]) / float(right[1])))
    return 0.5 + 0.5 * math.exp(-ratio)


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
    return Evidence(trust * precision, trust * pull, trust * gained, trust * level_mean / level_variance * (gained > 0))


def informed(
    target: Condition, sources: Sequence[tuple[Condition, Evidence]], level: float, level_sd: float
) -> Population:
    """The prior of `target` given the evidence of other conditions; the document's own where there are none."""
    alone = Population.of_document(level, level_sd)
    if not sources:
        return alone
    conditions = [target, *(condition for condition, _ in sources)]
    alike = tensor(
        [[1.0 if i == j else likeness(a, b) for j, b in enumerate(conditions)] for i, a in enumerate(conditions)]
    )
    found = [e for _, e in sources]
    shapes = [
        _conditioned(_shared(alike, share), [e.precision for e in found], [e.pull for e in found]) for share in SHARES
    ]
    ones = [tensor([[e.level_precision]]) for e in found], [tensor([e.level_pull]) for e in found]
    heights = [_conditioned(_shared(alike, share), *ones) for share in SHARES]
    weights = torch.softmax(tensor([log for _, _, log in shapes]), 0)
    height_weights = torch.softmax(tensor([log for _, _, log in heights]), 0)
    means = torch.stack([mean[0] for mean, _, _ in heights])
    variances = torch.stack([cov[0, 0] for _, cov, _ in heights])
    centre = height_weights @ means
    spread = (height_weights @ (variances + (means - centre) ** 2)).sqrt()
    count = len(SHARES)
    return Population(
        torch.cat([(1 - ALONE) * weights, tensor([ALONE])]),
        torch.cat([torch.stack([mean for mean, _, _ in shapes]), alone.mean]),
        torch.cat([torch.stack([cov for _, cov, _ in shapes]), alone.cov]),
        torch.cat([(level + level_sd * centre).expand(count), alone.level]),
        torch.cat([(level_sd * spread).expand(count), alone.level_sd]),
    )


def _shared(alike: Tensor, share: float) -> Tensor:
    """Correlation of the conditions' parameters when alike ones have `share` of their variance in common."""
    return share * alike + torch.diag(1 - share * alike.diagonal())


def _conditioned(
    correlation: Tensor, precisions: Sequence[Tensor], pulls: Sequence[Tensor]
) -> tuple[Tensor, Tensor, float]:
    """Mean and covariance of the first condition's parameters given the factors of the others, and ln of the evidence.

    With K the prior covariance of all sources, B = I + K Lambda and ln evidence = eta' B^-1 K eta / 2 - ln|B| / 2.
    """
    size = len(pulls[0])
    eye = torch.eye(size).double()
    prior = torch.kron(correlation[1:, 1:].contiguous(), eye)
    cross = torch.kron(correlation[:1, 1:].contiguous(), eye)
    precision, pull = torch.block_diag(*precisions), torch.cat(list(pulls))
    inflated = torch.eye(len(prior)).double() + prior @ precision
    solved = torch.linalg.solve(inflated, torch.cat([(prior @ pull)[:, None], prior], dim=1))
    mean_sources, cov_sources = solved[:, 0], solved[:, 1:]
    log_evidence = 0.5 * float(pull @ mean_sources) - 0.5 * float(torch.linalg.slogdet(inflated)[1])
    mean = cross @ (pull - precision @ mean_sources)
    cov = eye - cross @ (precision - precision @ cov_sources @ precision) @ cross.T
    return mean, 0.5 * (cov + cov.T) + 1e-6 * eye, log_evidence
