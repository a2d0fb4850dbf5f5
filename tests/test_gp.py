"""The weight-space Gaussian process against independent references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from surrogates import Prior
from surrogates.gp import Basis, Parameters, one_thread, tensor
from surrogates.inference import Data, infer
from surrogates.mechanisms import log_pressure, modes_at_optimum, two_mode_log_rate
from surrogates.population import Population
from surrogates.propagation import expectation_propagation

from .worlds import true_log_life


def parameters(**change: float) -> Parameters:
    values = {
        "x_best": 0.2,
        "slope_contact": 1.3,
        "slope_short": 0.7,
        "shift": 0.4,
        "scatter": 0.3,
        "scatter_growth": 0.0,
        "residual_sd": 0.5,
        "residual_length": 0.8,
        "physics": 1.0,
        "level": 0.0,
        "level_sd": 2.0,
    }
    return Parameters(**{name: tensor([value]) for name, value in {**values, **change}.items()})


X = tensor(np.linspace(-3.0, 2.0, 41))
BASIS = Basis(low=-4.6, high=3.5, current_sd=1.0)


def test_penalty_is_the_documented_two_mode_curve() -> None:
    """h = ln r(x) - ln r(x*), with the modes of surrogates.mechanisms."""
    kappa, pi = modes_at_optimum(0.2, -4.0, 1.3, 0.7)
    expected = two_mode_log_rate(X.numpy(), kappa, pi, 1.3, 0.7) + 4.0
    assert parameters().penalty(X, torch.zeros_like(X))[0].numpy() == pytest.approx(expected)
    assert float(parameters(physics=0.0).penalty(X, torch.zeros_like(X)).abs().max()) == 0


def test_penalty_is_zero_and_flat_at_the_best_pressure_and_moves_with_current() -> None:
    theta, u = parameters(), tensor([1.5])
    best = tensor([0.2 + 0.4 * 1.5])
    assert float(theta.penalty(best, u)) == pytest.approx(0, abs=1e-12)
    assert float(theta.penalty_slope(best, u)) == pytest.approx(0, abs=1e-12)


def test_penalty_slope_is_the_derivative() -> None:
    x = X.clone().requires_grad_()
    parameters().penalty(x, torch.zeros_like(x)).sum().backward()
    assert x.grad is not None
    assert parameters().penalty_slope(X, torch.zeros_like(X))[0].numpy() == pytest.approx(x.grad.numpy())


@pytest.mark.parametrize("length", [0.6, 0.8, 1.2])
def test_the_sines_carry_the_squared_exponential_kernel(length: float) -> None:
    features, variances = BASIS.features(X, tensor(0.0)), BASIS.variances(parameters(residual_length=length))[0]
    residual = (features[:, 3:] * variances[3:]) @ features[:, 3:].T
    exact = 0.25 * torch.exp(-0.5 * ((X[:, None] - X[None, :]) / length) ** 2)
    assert residual.numpy() == pytest.approx(exact.numpy(), abs=0.25 * (0.03 if length < 0.8 else 0.02))


def test_posterior_is_that_of_scikit_learn() -> None:
    """Without censoring and odd cells, the weights' posterior is exact Gaussian-process regression."""
    x, scatter = tensor([-2.7, -0.5, 0.0, 0.0, 1.2]), 0.3
    y = tensor([-1.5, 0.2, 0.4, 0.1, -0.8])
    theta = parameters()
    sites = expectation_propagation(
        y[None], torch.zeros(5, dtype=torch.bool), torch.full((1, 5), scatter**2).double(), 1e-12,
        BASIS.features(x, tensor(0.0)), BASIS.variances(theta),
    )  # fmt: skip
    kernel = ConstantKernel(4.0, "fixed") + ConstantKernel(0.25, "fixed") * RBF(0.8, "fixed")
    reference = GaussianProcessRegressor(kernel, alpha=scatter**2, optimizer=None).fit(x.numpy()[:, None], y.numpy())
    mean, sd = reference.predict(X.numpy()[:, None], return_std=True)
    features = BASIS.features(X, tensor(0.0))
    assert (features @ sites.weight_mean[0]).numpy() == pytest.approx(mean, abs=0.01)
    assert (features @ sites.weight_cov[0] @ features.T).diagonal().sqrt().numpy() == pytest.approx(sd, abs=0.01)
    assert float(sites.log_evidence) == pytest.approx(reference.log_marginal_likelihood_value_, abs=0.02)


def test_prior_mean_is_the_world_of_the_mechanism() -> None:
    """No hidden standardisation: before any data, a particle with the world's parameters has its curve as mean."""
    none = Data(*(tensor([]) for _ in range(3)), torch.zeros(0, dtype=torch.bool), tensor([]))
    posterior = infer(none, Prior.default(), Population.of_document(np.log(100.0), 1.0), seed=0)
    with one_thread():
        mean = posterior.mean(X, tensor(0.0))
    theta = posterior.theta
    for i in torch.nonzero(theta.physics).flatten()[:20].tolist():
        world = true_log_life(
            300 * np.exp(X.numpy()), 300 * np.exp(float(theta.x_best[i])), 100.0,
            float(theta.slope_contact[i]), float(theta.slope_short[i]),
        )  # fmt: skip
        assert mean[i].numpy() == pytest.approx(world)


def test_residual_stays_constant_beyond_the_domain() -> None:
    edge = BASIS.features(tensor([3.5]), tensor(0.0))
    assert BASIS.features(tensor([9.0]), tensor(0.0)).numpy() == pytest.approx(edge.numpy())


def test_basis_grows_with_the_data() -> None:
    wide = Basis.spanning(tensor(log_pressure([1.0, 60_000.0])), Prior.default())
    assert wide.low == pytest.approx(float(log_pressure(1.0)))
    assert wide.high == pytest.approx(float(log_pressure(60_000.0)))
    x = tensor(np.linspace(wide.low, wide.high, 30))
    residual = wide.features(x, tensor(0.0))[:, 3:]
    variance = (residual**2) @ wide.variances(parameters())[0, 3:]
    assert variance.numpy() == pytest.approx(np.full(30, 0.25), abs=0.02)


def test_one_thread_is_given_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="inside"), one_thread():
        assert torch.get_num_threads() == 1
        raise RuntimeError("inside")
    assert torch.get_num_threads() == before
