"""The Gaussian process over pressure and current density, in weight space, batched over S particles.

Notation (all tensors float64)
------------------------------
symbol   meaning                                                                  shape
x, u     ln(P / 300 kPa); ln(current density / 1 unit)                            (n,)
theta    `Parameters`: what the curve depends on non-linearly                     (S,) each
h        `penalty`: how far the curve of the modes lies below its best            (S, n)
Phi      `Basis.features`: 1, u, u^2 and M sines that carry the residual g        (n, F)
Lambda   `Basis.variances`: prior variances of the weights w                      (S, F)

The curve on the model scale is  f(x, u) = level - h(x - x* - s u) + Phi(x, u) w,  w ~ N(0, diag Lambda).
Level and residual enter linearly, so given theta the posterior of w is Gaussian and the cost is linear in cells.
A cell scatters around it with sd  scatter exp(-growth h / (1 + h / 2)),  the larger the longer-lived where growth > 0.

The residual has the squared exponential kernel  v exp(-d^2 / (2 l^2)),  expanded in the Laplacian's eigenfunctions
on [c - L, c + L] after Solin and Saerkkae, Stat. Comput. 30, 419 (2020), eqs. 20 and 56:
phi_m(x) = L^-1/2 sin(omega_m (x - c + L)),  omega_m = m pi / (2 L),  Lambda_m = v sqrt(2 pi) l exp(-l^2 omega_m^2 / 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from surrogates.prior import Prior

DTYPE = torch.float64
STRAIGHT, SINES = 3, 12
DOMAIN_KPA = (3.0, 10_000.0)
PADDING = 1.0
CURVATURE_SD = 0.3


@contextmanager
def one_thread() -> Iterator[None]:
    """Run small tensor work on one thread, without gradients: thread hand-over costs more than the work itself."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)


def tensor(values: object) -> Tensor:
    """`values` as a float64 tensor."""
    return torch.as_tensor(values, dtype=DTYPE)


@dataclass(frozen=True)
class Parameters:
    """Non-linear parameters of S particles, each of shape (S,).

    `physics` is 1 where the two-mode curve holds and 0 where pressure acts through the residual alone (or, with
    `residual_sd` 0, not at all); `scatter` is the sd of one cell around the curve at its best, `scatter_growth` the change
    of its logarithm for each unit of y; `level`, `level_sd` are mean and sd of y at the best pressure. `contact_only`:
    nothing is lost to high pressure, and x* is where half is lost to bad contact.
    """

    x_best: Tensor
    slope_contact: Tensor
    slope_short: Tensor
    shift: Tensor
    scatter: Tensor
    scatter_growth: Tensor
    residual_sd: Tensor
    residual_length: Tensor
    physics: Tensor
    level: Tensor
    level_sd: Tensor
    contact_only: bool = False

    def modes(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """ln of each mode's rate over the smallest summed rate: (falling with pressure, rising), each (S, n).

        x, u: (n,), or (..., 1, n) for a batch of point sets.
        """
        a, b = self.slope_contact[:, None], self.slope_short[:, None]
        d = x - self.x_best[:, None] - self.shift[:, None] * u
        if self.contact_only:
            return -a * d, torch.zeros_like(d)
        total = torch.log(a + b)
        return torch.log(b) - total - a * d, torch.log(a) - total + b * d

    def penalty(self, x: Tensor, u: Tensor) -> Tensor:
        """h of shape (S, n): ln of the summed rates of both modes over their smallest sum; 0 without physics."""
        falling, rising = self.modes(x, u)
        return self.physics[:, None] * torch.logaddexp(falling, rising)

    def penalty_slope(self, x: Tensor, u: Tensor) -> Tensor:
        """dh/dx of shape (S, n)."""
        falling, rising = self.modes(x, u)
        share = torch.sigmoid(falling - rising)
        a, b = self.slope_contact[:, None], self.slope_short[:, None]
        rising = torch.zeros_like(b) if self.contact_only else b
        return self.physics[:, None] * (rising * (1 - share) - a * share)

    def scatter_variance(self, penalty: Tensor) -> Tensor:
        """Variance of one cell around the curve where it lies `penalty` (S, n) below its best: (S, n)."""
        return (self.scatter[:, None] * torch.exp(-self.scatter_growth[:, None] * penalty / (1 + penalty / 2))) ** 2

    def select(self, index: Tensor) -> Parameters:
        """The particles at `index`."""
        parts: dict[str, Any] = {name: value[index] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **parts)

    def joined(self, other: Parameters) -> Parameters:
        """These particles, then the others."""
        parts: dict[str, Any] = {
            name: torch.cat([value, vars(other)[name]])
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **parts)


@dataclass(frozen=True)
class Basis:
    """The features of the linear part on ln-pressures from `low` to `high`; beyond them the residual stays constant."""

    low: float
    high: float
    current_sd: float

    @classmethod
    def spanning(cls, x: Tensor, prior: Prior) -> Basis:
        """A basis over the usual pressures, widened to `x`."""
        low, high = (math.log(kpa / 300.0) for kpa in DOMAIN_KPA)
        if len(x):
            low, high = min(low, float(x.min())), max(high, float(x.max()))
        return cls(low, high, prior.current_effect.sd)

    @property
    def _half_width(self) -> float:
        return (self.high - self.low) / 2 + PADDING

    @property
    def _sines(self) -> int:
        return round(SINES * max(1.0, (self.high - self.low) / math.log(DOMAIN_KPA[1] / DOMAIN_KPA[0])))

    def size(self, share: float = 1.0) -> int:
        """How many features there are with `share` of the sines, the slowest first."""
        return STRAIGHT + math.ceil(share * self._sines)

    def _frequencies(self) -> Tensor:
        return torch.arange(1, self._sines + 1, dtype=DTYPE) * (math.pi / (2 * self._half_width))

    def features(self, x: Tensor, u: Tensor) -> Tensor:
        """Phi of shape (..., n, F) for x and u of shape (..., n)."""
        half = self._half_width
        inside = torch.clamp(x, self.low, self.high) - (self.low + self.high) / 2 + half
        sines = torch.sin(inside[..., None] * self._frequencies()) / math.sqrt(half)
        u = u.expand(x.shape)
        return torch.cat([torch.ones_like(x)[..., None], u[..., None], (u * u)[..., None], sines], dim=-1)

    def variances(self, theta: Parameters) -> Tensor:
        """Lambda of shape (S, F)."""
        length, sd = theta.residual_length[:, None], theta.residual_sd[:, None]
        spectrum = sd**2 * math.sqrt(2 * math.pi) * length * torch.exp(-0.5 * (length * self._frequencies()) ** 2)
        slope, bend = (torch.full_like(sd, value**2) for value in (self.current_sd, CURVATURE_SD))
        return torch.cat([theta.level_sd[:, None] ** 2, slope, bend, spectrum], dim=1)
