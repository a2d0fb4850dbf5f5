"""What other conditions teach: more where they are alike, nothing that one's own cells cannot overrule."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from surrogates import Cell, Condition, fit
from surrogates.gp import tensor
from surrogates.population import (
    MOST_SOURCES,
    Curve,
    Evidence,
    Population,
    Source,
    _conditioned,
    electrolyte_likeness,
    informed,
    likeness,
    nearest,
)

from .worlds import cells_from, true_log_life


def condition(pair: str, electrolyte: str = "1 M ZnSO4") -> Condition:
    return Condition(electrode_pair=pair, electrolyte=electrolyte, current_density=1.0, current_density_unit="mA/cm2")


def curve(pair: str) -> Curve:
    return Curve(condition(pair), "cycle_life_h")


def pair_of_world(pair: str, seed: int, best_kpa: float, count: int = 8) -> list[Cell]:
    """Cells of a pair at random pressures."""
    generator = np.random.default_rng(seed)
    pressures = np.exp(generator.uniform(math.log(10), math.log(2000), count))
    lives = true_log_life(pressures, best_kpa) + 0.25 * generator.standard_normal(count)
    cells = cells_from(list(pressures), list(lives))
    return [cell.model_copy(update={"cell_id": f"{pair}-{cell.cell_id}", "electrode_pair": pair}) for cell in cells]


def test_likeness_orders_conditions_as_a_chemist_would() -> None:
    vo2 = condition("Zn||VO2")
    same = likeness(vo2, condition("Zn||VO2"))
    other_molarity = likeness(vo2, condition("Zn||VO2", "2 M ZnSO4"))
    other_cathode = likeness(vo2, condition("Zn||MnO2"))
    other_both = likeness(vo2, condition("Zn||MnO2", "3 M Zn(CF3SO3)2"))
    stranger = likeness(vo2, condition("Li||NMC", "1 M LiPF6"))
    assert 1 == same > other_molarity > other_cathode > other_both > stranger > 0


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ("2 M ZnSO4", "2  M ZnSO4", 1.0, 1.0),
        ("2 M ZnSO4", "3 M ZnSO4", 0.7, 0.9),
        ("0.1 M ZnSO4", "3 M ZnSO4", 0.65, 0.7),
        ("2 M ZnSO4", "2 M Zn(CF3SO3)2", 0.0, 0.0),
        ("2 M ZnSO4", "2 m ZnSO4", 0.5, 1.0),
        ("gel", "2 M ZnSO4", 0.0, 0.0),
        ("2 M ZnSO4", "2 M ZnSO4 + 0.1 M MnSO4", 0.5, 0.5),
        ("2 M ZnSO4 + 0.2 M MnSO4", "2 M ZnSO4 + 0.1 M MnSO4", 1.0, 1.0),
        ("2 M ZnSO4 + 0.1 M MnSO4", "2 M ZnSO4 + 1 M Na2SO4", 0.5, 0.5),
    ],
)
def test_electrolytes(one: str, other: str, low: float, high: float) -> None:
    assert low <= electrolyte_likeness(one, other) <= high
    assert electrolyte_likeness(one, other) == electrolyte_likeness(other, one)


@given(st.integers(0, 100), st.floats(0.1, 0.95))
def test_conditioning_is_gaussian_regression(seed: int, share: float) -> None:
    """Against the textbook formula with pseudo-observations pull / precision of variance 1 / precision."""
    generator = np.random.default_rng(seed)
    precision, pull = generator.uniform(0.5, 20, 3), generator.normal(0, 5, 3)
    prior = share * (np.full((4, 4), 0.6) + 0.4 * np.eye(4)) + (1 - share) * np.eye(4)
    mean, cov, log = _conditioned([tensor(prior)], [tensor([[p]]) for p in precision], [tensor([p]) for p in pull])
    noisy = prior[1:, 1:] + np.diag(1 / precision)
    observed = pull / precision
    assert mean[0] == pytest.approx(prior[0, 1:] @ np.linalg.solve(noisy, observed))
    assert cov[0, 0] == pytest.approx(1 - prior[0, 1:] @ np.linalg.solve(noisy, prior[1:, 0]), abs=1e-5)
    density = -0.5 * observed @ np.linalg.solve(noisy, observed) - 0.5 * np.linalg.slogdet(noisy)[1]
    alone = -0.5 * observed @ (precision * observed) + 0.5 * np.log(precision).sum()
    assert log == pytest.approx(density - alone)


def test_each_parameter_has_its_own_correlation() -> None:
    """With two parameters the answer is that of each alone, as they are independent before."""
    one, other = tensor([[1, 0.8], [0.8, 1]]), tensor([[1, 0.2], [0.2, 1]])
    mean, cov, _ = _conditioned([one, other], [torch.eye(2).double() * 9], [tensor([9.0, 9.0])])
    assert mean.numpy() == pytest.approx([0.8 * 0.9, 0.2 * 0.9])
    assert cov.numpy() == pytest.approx(np.diag([1 - 0.64 * 0.9, 1 - 0.04 * 0.9]), abs=1e-5)


def test_without_others_the_document_stands() -> None:
    population = Population.of_document(4.6, 2.0)
    z = population.place(
        torch.rand(4000, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).clamp(1e-9)
    )
    assert z.mean(0).numpy() == pytest.approx(np.zeros(8), abs=0.06)
    assert z.std(0).numpy() == pytest.approx(np.ones(8), abs=0.06)


def test_draws_follow_the_density() -> None:
    evidence = Evidence(torch.eye(5).double() * 30, tensor([30.0, 0.0, 0.0, 0.0, -15.0]), 20.0, 10.0)
    own = Population.of_document(4.6, 2.0, 0.2)
    population = informed(curve("Zn||Ti"), [Source(curve("Zn||Cu"), evidence)], own)[0].joined(own, 0.25)
    z = population.place(
        torch.rand(20000, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).clamp(1e-9)
    )
    expected = (population.weights[:, None] * population.mean).sum(0)
    assert z[:, :5].mean(0).numpy() == pytest.approx(expected.numpy(), abs=0.04)
    grid = torch.linspace(-20, 20, 2001, dtype=torch.float64)[:, None]
    density = torch.logsumexp(population.log_densities(grid, [0]), 1).exp()
    assert float(torch.trapezoid(density, grid[:, 0])) == pytest.approx(1, abs=1e-6)
    assert float(torch.trapezoid(density * grid[:, 0], grid[:, 0])) == pytest.approx(float(expected[0]), abs=1e-6)


def test_an_outcome_of_the_same_cells_teaches_more_than_another_pair() -> None:
    evidence = Evidence(torch.eye(5).double() * 30, tensor([30.0, 0.0, 0.0, 0.0, 0.0]), 0.0, 0.0)
    found = [
        informed(curve("Zn||Ti"), [Source(source, evidence)], Population.of_document(4.6, 2.0))[0]
        for source in (
            replace(curve("Zn||Ti"), outcome="coulombic_efficiency"),
            curve("Zn||Cu"),
            replace(curve("Zn||Cu"), outcome="coulombic_efficiency"),
        )
    ]
    means = [float(population.weights @ population.mean[:, 0]) for population in found]
    assert means[0] > means[1] > means[2] > 0


def test_the_most_alike_are_asked() -> None:
    many = [curve(f"Li||X{i}") for i in range(50)] + [curve("Zn||Cu"), curve("Zn||Ti")]
    found = nearest(curve("Zn||Ti"), many)
    assert len(found) == MOST_SOURCES
    assert found[0] == curve("Zn||Cu")
    assert curve("Zn||Ti") not in found


def test_like_pairs_place_the_best_pressure_before_the_first_cell() -> None:
    history = [cell for i in range(5) for cell in pair_of_world(f"Zn||X{i}", i, best_kpa=100)]
    new, stranger = condition("Zn||New"), condition("Li||NMC", "1 M LiPF6")
    alone, taught = fit([]).optimum(new), fit(history).optimum(new)
    assert 70 < taught.pressure_kpa < 200
    assert alone.pressure_kpa > 300
    assert taught.expected_loss < 0.95 * alone.expected_loss
    assert fit(history).optimum(stranger).pressure_kpa > taught.pressure_kpa


def test_a_pair_that_behaves_otherwise_is_let_go() -> None:
    history = [cell for i in range(5) for cell in pair_of_world(f"Zn||X{i}", i, best_kpa=60)]
    own = pair_of_world("Zn||New", 77, best_kpa=1200, count=12)
    assert fit([*history, *own]).optimum(condition("Zn||New")).pressure_kpa == pytest.approx(1200, rel=0.4)


def test_the_history_of_a_condition_is_not_its_own_cells() -> None:
    """Its own cells enter once, as readings, not a second time through the population."""
    own = pair_of_world("Zn||New", 5, best_kpa=300, count=6)
    assert fit(own).taught(condition("Zn||New")) is None
