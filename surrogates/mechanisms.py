"""Laws of what pressure does to a cell: closed forms in lab units, each with its source.

Sources
-------
Wen2025     Y. Wen et al., Small (2025), doi:10.1002/sml.202501242
Heckel1961  R. W. Heckel, Trans. Metall. Soc. AIME 221, 671 (1961): density of compacted powder under pressure
Holm1967    R. Holm, Electric Contacts (1967): constriction resistance of contacts under load

Notation: P pressure in kPa, x = ln(P / 300 kPa), u = ln(j / j_ref) with j_ref = 1 mA cm-2 or 1 A g-1.
Functions take floats or arrays and broadcast.
"""

from __future__ import annotations

from typing import Any

import numpy as np

REFERENCE_KPA = 300.0
BOLTZMANN_EV_PER_K = 8.617333262e-5


def log_pressure(pressure_kpa: Any) -> np.ndarray:
    """x = ln(P / 300 kPa)."""
    return np.asarray(np.log(np.asarray(pressure_kpa, dtype=float) / REFERENCE_KPA))


def pressure_of(x: Any) -> np.ndarray:
    """P in kPa of x = ln(P / 300 kPa)."""
    return np.asarray(REFERENCE_KPA * np.exp(np.asarray(x, dtype=float)))


def two_mode_log_rate(x: Any, kappa: Any, pi: Any, a: Any, b: Any) -> np.ndarray:
    """ln r = ln(exp(kappa - a x) + exp(pi + b x)): the rates of two degradation modes add.

    The first falls with pressure (poor contact, loose deposit, dead metal), the second rises (grains driven into
    the separator, micro-shorts); a, b > 0. Source: the shape of the three outcomes of Wen2025.
    """
    return np.asarray(np.logaddexp(kappa - a * np.asarray(x), pi + b * np.asarray(x)))


def best_log_pressure(kappa: Any, pi: Any, a: Any, b: Any) -> np.ndarray:
    """x* at which `two_mode_log_rate` is smallest: a exp(kappa - a x*) = b exp(pi + b x*), so
    x* = (kappa - pi + ln(a / b)) / (a + b)."""
    return np.asarray((np.asarray(kappa) - pi + np.log(np.asarray(a) / b)) / (np.asarray(a) + b))


def modes_at_optimum(x_best: Any, log_rate_best: Any, a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """(kappa, pi) of the two modes whose summed rate is smallest at `x_best` and there equals exp(log_rate_best).

    At the optimum the falling mode holds b / (a + b) of the rate and the rising one a / (a + b).
    """
    a, b, x_best = np.asarray(a, dtype=float), np.asarray(b, dtype=float), np.asarray(x_best, dtype=float)
    kappa = log_rate_best + np.log(b / (a + b)) + a * x_best
    pi = log_rate_best + np.log(a / (a + b)) - b * x_best
    return kappa, pi


def overpotential_mv(pressure_kpa: Any, at_100_kpa_mv: float = 36.2, slope_mv: float = 4.0) -> np.ndarray:
    """Nucleation overpotential eta = eta0 - s ln(P / 100 kPa), in mV.

    Defaults: Wen2025's 42.7, 32.0, 27.0 mV at 20, 300, 1000 kPa, which the law holds within 0.3 mV.
    """
    return at_100_kpa_mv - slope_mv * np.log(np.asarray(pressure_kpa, dtype=float) / 100.0)


def relative_density(pressure_kpa: Any, k_per_kpa: float = 0.0070, a: float = 1.83) -> np.ndarray:
    """Relative density D of a deposit by Heckel1961: ln(1 / (1 - D)) = K P + A.

    Defaults: Wen2025's 0.86 and 0.98 at 20 and 300 kPa.
    """
    return 1.0 - np.exp(-(k_per_kpa * np.asarray(pressure_kpa, dtype=float) + a))


def contact_resistance_ohm_cm2(pressure_kpa: Any, bulk_ohm_cm2: float, at_1_kpa_ohm_cm2: float, n: float) -> np.ndarray:
    """Contact resistance R = R_inf + C (P / 1 kPa)^-n in ohm cm2; n from 0.1 to 1, 0.5 for one plastic contact (Holm1967)."""
    return bulk_ohm_cm2 + at_1_kpa_ohm_cm2 * np.asarray(pressure_kpa, dtype=float) ** -n


def nucleation_rate_ratio(from_mv: Any, to_mv: Any, temperature_k: float = 298.15) -> np.ndarray:
    """J(to) / J(from) by equation (1) of Wen2025, J = A exp(-(dG + eta e) / (k_B T)), eta in mV.

    Between 32.0 and 27.0 mV at 298.15 K it is 1.215, the paper's 21 % more nuclei. Its sign is opposite to the
    classical trend (smaller nuclei at larger overpotential), so no outcome is informed by it.
    """
    change_ev = (np.asarray(from_mv, dtype=float) - np.asarray(to_mv, dtype=float)) / 1000.0
    return np.asarray(np.exp(change_ev / (BOLTZMANN_EV_PER_K * temperature_k)))
