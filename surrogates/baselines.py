"""The honest baseline: scikit-learn's Gaussian process over the same axis, without physics.

It takes every reading at its value, censored or not, as a laboratory without a survival model would.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from surrogates.mechanisms import log_pressure
from surrogates.outcomes import Reading


@dataclass(frozen=True)
class Baseline:
    """A fitted GaussianProcessRegressor: y over x = ln(P / 300 kPa)."""

    regressor: GaussianProcessRegressor

    def predict(self, pressure_kpa: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of y of one new cell at each pressure: (n,), (n,)."""
        mean, sd = self.regressor.predict(log_pressure(pressure_kpa)[:, None], return_std=True)
        return mean, sd


def fit_baseline(readings: Sequence[Reading], seed: int = 0) -> Baseline:
    """The baseline on one reading or more: constant times squared exponential plus noise, by maximum likelihood."""
    x = log_pressure([item.cell.pressure_kpa for item in readings])[:, None]
    y = np.array([item.y for item in readings])
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(1.0, (0.2, 10.0)) + WhiteKernel(0.1, (1e-3, 1e1))
    regressor = GaussianProcessRegressor(kernel, normalize_y=len(y) > 1, n_restarts_optimizer=2, random_state=seed)
    with warnings.catch_warnings():
        # A hyper-parameter at its bound is usual for a handful of cells, and no news to the user.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regressor.fit(x, y)
    return Baseline(regressor)
