"""The posterior of one condition as a BoTorch model, so that every acquisition function of BoTorch works on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models.model import Model
from botorch.posteriors.fully_bayesian import GaussianMixturePosterior
from gpytorch.distributions import MultivariateNormal
from torch import Tensor

from surrogates.cells import Condition
from surrogates.inference import Posterior

if TYPE_CHECKING:
    from surrogates.surrogate import Surrogate

PARTICLES = 64
JITTER = 1e-8


class EnsembleModel(Model):
    """Equally weighted Gaussian processes over points (x, u): x = ln(P / 300 kPa), u = ln(current density).

    Values are y on the model scale. The weighted particles of the posterior are resampled to `particles` equal ones.
    """

    _is_ensemble = True

    def __init__(self, posterior: Posterior, particles: int = PARTICLES, seed: int = 0) -> None:
        super().__init__()
        self._ensemble = posterior.thinned(particles, torch.Generator().manual_seed(seed))

    @property
    def num_outputs(self) -> int:
        """One outcome."""
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        """(particles,)."""
        return torch.Size([len(self._ensemble.weights)])

    def posterior(
        self,
        X: Tensor,  # noqa: N803  (BoTorch's name)
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
        **kwargs: Any,
    ) -> Any:
        """The joint posterior at X of shape (..., q, 2): a mixture over particles of shape (..., particles, q, 1)."""
        x, u = X[..., None, :, 0], X[..., None, :, 1]
        features = self._ensemble.basis.features(x, u)
        theta, sites = self._ensemble.theta, self._ensemble.sites
        penalty = theta.penalty(x, u)
        mean = theta.level[:, None] - penalty + (features @ sites.weight_mean[:, :, None])[..., 0]
        cov = features @ sites.weight_cov @ features.transpose(-1, -2)
        noise = theta.scatter_variance(penalty) if observation_noise is True else torch.zeros_like(mean)
        mixture = GaussianMixturePosterior(MultivariateNormal(mean, cov + torch.diag_embed(noise + JITTER)))
        return posterior_transform(mixture) if posterior_transform is not None else mixture


class ConditionsModel(Model):
    """One outcome of several conditions of a pair over points (x, u, number of the condition): each condition has its own
    ensemble, and they are independent given what each has learned from the others."""

    _is_ensemble = True

    def __init__(self, models: Sequence[EnsembleModel]) -> None:
        super().__init__()
        self._models = list(models)

    @classmethod
    def of(cls, surrogate: Surrogate, conditions: Sequence[Condition], seed: int = 0) -> ConditionsModel:
        """The model of a surrogate's outcome in view."""
        return cls([EnsembleModel(surrogate.posterior(condition), seed=seed) for condition in conditions])

    @property
    def num_outputs(self) -> int:
        """One outcome."""
        return 1

    @property
    def batch_shape(self) -> torch.Size:
        """(particles,)."""
        return self._models[0].batch_shape

    def posterior(
        self,
        X: Tensor,  # noqa: N803  (BoTorch's name)
        output_indices: list[int] | None = None,
        observation_noise: bool | Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
        **kwargs: Any,
    ) -> Any:
        """The joint posterior at X of shape (..., q, 3): a mixture over particles of shape (..., particles, q, 1)."""
        mean, cov = torch.zeros(()), torch.zeros(())
        for number, model in enumerate(self._models):
            mine = (X[..., None, :, 2].round() == number).to(X.dtype)
            normal = model.posterior(X[..., :2], observation_noise=observation_noise).distribution
            mean = mean + mine * normal.mean
            cov = cov + mine[..., :, None] * mine[..., None, :] * normal.covariance_matrix
        mixture = GaussianMixturePosterior(MultivariateNormal(mean, cov))
        return posterior_transform(mixture) if posterior_transform is not None else mixture
