"""Every documented law, evaluated against the paper's numbers or an independent computation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogates import mechanisms as m

SLOPE = st.floats(0.2, 4.0)
POSITION = st.floats(-3.0, 3.0)


def test_equation_1_gives_the_papers_21_percent() -> None:
    assert m.nucleation_rate_ratio(32.0, 27.0, 298.15) == pytest.approx(1.215, abs=5e-4)


def test_overpotential_holds_the_paper_within_its_rounding() -> None:
    assert m.overpotential_mv([20, 300, 1000]) == pytest.approx([42.7, 32.0, 27.0], abs=0.3)


def test_heckel_holds_the_papers_densities() -> None:
    assert m.relative_density([20, 300]) == pytest.approx([0.86, 0.98], abs=0.005)
    assert m.relative_density(1000) == pytest.approx(1.0, abs=0.001)
    pressure = np.array([20.0, 300.0])
    assert np.log(1 / (1 - m.relative_density(pressure, 0.007, 1.83))) == pytest.approx(0.007 * pressure + 1.83)


def test_contact_resistance_falls_to_the_bulk() -> None:
    resistance = m.contact_resistance_ohm_cm2([1, 100, 1e9], 2.0, 10.0, 0.5)
    assert resistance == pytest.approx([12.0, 3.0, 2.0], abs=1e-3)


@given(POSITION, POSITION, SLOPE, SLOPE)
def test_closed_form_of_the_best_pressure_is_the_numeric_optimum(kappa: float, pi: float, a: float, b: float) -> None:
    """The derivative of ln r is monotone, so bisection on it is an independent reference to machine precision."""

    def slope(x: float) -> float:
        share = 1 / (1 + np.exp(-(kappa - a * x - pi - b * x)))
        return b * (1 - share) - a * share

    low, high = -100.0, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    assert m.best_log_pressure(kappa, pi, a, b) == pytest.approx((low + high) / 2, abs=1e-6)


@given(POSITION, st.floats(-8, 2), SLOPE, SLOPE)
def test_modes_at_optimum_puts_the_optimum_there(x: float, log_rate: float, a: float, b: float) -> None:
    kappa, pi = m.modes_at_optimum(x, log_rate, a, b)
    assert m.best_log_pressure(kappa, pi, a, b) == pytest.approx(x, abs=1e-9)
    assert m.two_mode_log_rate(x, kappa, pi, a, b) == pytest.approx(log_rate, abs=1e-9)
    assert a * np.exp(kappa - a * x) == pytest.approx(b * np.exp(pi + b * x))


@pytest.mark.parametrize(("a", "b", "best_kpa"), [(1.5, 0.99, 164), (1.0, 1.4, 258), (0.84, 2.0, 335)])
def test_many_two_mode_curves_pass_through_the_papers_three_lives(a: float, b: float, best_kpa: float) -> None:
    """Three lives do not fix four numbers: both levels follow from the outer lives, and the middle one fits too."""
    x, rate = m.log_pressure([20, 300, 1000]), 1 / np.array([14.0, 104.0, 36.0])
    modes = np.stack([np.exp(-a * x), np.exp(b * x)], axis=1)
    levels = np.linalg.solve(modes[[0, 2]], rate[[0, 2]])
    assert (levels > 0).all()
    assert 1 / (levels @ modes[1]) == pytest.approx(104, rel=0.005)
    assert m.pressure_of(m.best_log_pressure(*np.log(levels), a, b)) == pytest.approx(best_kpa, rel=0.01)


def test_log_pressure_round_trip() -> None:
    assert m.pressure_of(m.log_pressure([20, 300, 1000])) == pytest.approx([20, 300, 1000])
