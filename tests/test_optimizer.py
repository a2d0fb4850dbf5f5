"""The rig, the knowledge gradient against brute force, pending cells, verdicts, batches, and the Optuna face."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optimizer import Rig, StackPressureSampler, advise, suggest
from optimizer.acquisition import knowledge_gradient, pending_posteriors
from optimizer.rig import check_rig
from surrogates import Cell, Condition, Surrogate, UserError, fit
from surrogates.gp import tensor
from surrogates.mechanisms import log_pressure

from .worlds import cells_from, true_log_life, world

GRID = tensor(log_pressure(np.exp(np.linspace(math.log(10), math.log(2000), 25))))


# --- the rig


def test_grid_of_a_free_press() -> None:
    grid = Rig(pressure_kpa=(10, 2000)).grid()
    assert (grid[0], grid[-1]) == (10, 2000)
    assert list(grid) == sorted(set(grid))
    assert all(pressure == float(f"{pressure:.2g}") for pressure in grid)


def test_grid_of_steps_and_lists() -> None:
    assert Rig(pressure_kpa=(30, 110), step_kpa=25).grid() == (50, 75, 100)
    assert Rig(pressure_kpa=(10, 500), allowed_kpa=(700, 300, 50, 300)).grid() == (50, 300)
    fine = Rig(pressure_kpa=(10, 2000), step_kpa=0.1).grid()
    assert len(fine) <= 400
    assert (fine[0], fine[-1]) == (10, 2000)
    assert all(abs(pressure * 10 - round(pressure * 10)) < 1e-6 for pressure in fine)


@given(st.floats(1, 1e4), st.floats(1.5, 100), st.floats(0.01, 1))
def test_suggestible_pressures_lie_within_the_rig(low: float, ratio: float, share: float) -> None:
    high = low * ratio
    for rig in (Rig(pressure_kpa=(low, high)), Rig(pressure_kpa=(low, high), step_kpa=(high - low) / 3 * share)):
        assert all(low * (1 - 1e-9) <= pressure <= high * (1 + 1e-9) for pressure in rig.grid())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pressure_kpa": (500, 20)}, "lowest pressure, then the highest; found 500 and 20"),
        ({"pressure_kpa": (0, 20)}, "pressure_kpa.0: .*greater than 0"),
        ({"step_kpa": 10, "allowed_kpa": (1, 2)}, "step_kpa or allowed_kpa; found both"),
        ({"pressure_kpa": (10, 20), "step_kpa": 50}, "two or more settings"),
        ({"allowed_kpa": (5000.0,)}, "two or more settings"),
    ],
)
def test_impossible_rigs(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_rig(**settings)


# --- expected gain


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return fit(world(4, seed=12))


def test_knowledge_gradient_by_brute_force(surrogate: Surrogate, zn_ti: Condition) -> None:
    """Against simulation: draw a reading, condition, choose, average."""
    posterior = surrogate.posterior(zn_ti).thinned(100, torch.Generator().manual_seed(0))
    u, at = tensor(0.0), tensor(log_pressure([40.0, 900.0]))
    exact = knowledge_gradient(posterior, GRID, at, u) / (1 - posterior.odd)
    generator = torch.Generator().manual_seed(1)
    now = (posterior.weights @ posterior.mean(GRID, u)).amax()
    for i in range(len(at)):
        gains = []
        mean, sd = posterior.mean(at[i : i + 1], u)[:, 0], posterior.variance(at[i : i + 1], u)[:, 0]
        particle = torch.randint(100, (1500,), generator=generator)
        noise = torch.randn(1500, generator=generator, dtype=torch.float64)
        y = mean[particle] + (sd + posterior.theta.scatter**2).sqrt()[particle] * noise
        for value in y:
            then = posterior.given(at[i : i + 1], u, value[None])
            gains.append(float((then.weights @ then.mean(GRID, u)).amax() - now))
        error = np.std(gains) / math.sqrt(len(gains))
        assert float(exact[i]) == pytest.approx(np.mean(gains), abs=4 * error + 0.002)


def test_gain_is_never_negative_and_nil_where_nothing_can_change(zn_ti: Condition) -> None:
    few, many = fit(world(3, seed=1)), fit(world(40, seed=1))
    gains = [knowledge_gradient(s.posterior(zn_ti), GRID, GRID, tensor(0.0)) for s in (few, many)]
    assert all(bool((gain >= 0).all()) for gain in gains)
    assert float(gains[1].max()) < 0.3 * float(gains[0].max())
    alone = knowledge_gradient(few.posterior(zn_ti), GRID[:1], GRID, tensor(0.0))
    assert float(alone.max()) == pytest.approx(0, abs=1e-3)


def test_given_is_refitting(surrogate: Surrogate, zn_ti: Condition) -> None:
    """Conditioning a posterior on one more reading is close to inferring it anew with that cell."""
    [cell] = cells_from([600.0], [3.9])
    u, at = tensor(0.0), tensor(log_pressure([600.0]))
    quick = surrogate.posterior(zn_ti).given(at, u, tensor([3.9]))
    anew = fit([*surrogate.cells, cell.model_copy(update={"cell_id": "new"})]).posterior(zn_ti)
    quick_mean, anew_mean = (p.weights @ p.mean(GRID, u) for p in (quick, anew))
    assert quick_mean.numpy() == pytest.approx(anew_mean.numpy(), abs=0.12)


def test_imagined_outcomes_of_pending_cells(surrogate: Surrogate, zn_ti: Condition) -> None:
    posterior, generator = surrogate.posterior(zn_ti), torch.Generator().manual_seed(0)
    assert pending_posteriors(posterior, [], [], [], generator) == [posterior]
    x = float(log_pressure(250))
    before = float(posterior.weights @ posterior.mean(tensor([x]), tensor(0.0))[:, 0])
    planned = pending_posteriors(posterior, [x], [0.0], [None], generator)
    means = [float(p.weights @ p.mean(tensor([x]), tensor(0.0))[:, 0]) for p in planned]
    assert np.mean(means) == pytest.approx(before, abs=0.15)
    assert np.std(means) > 0.05
    outlived = pending_posteriors(posterior, [x], [0.0], [before + 0.5], generator)
    assert np.mean([float(p.weights @ p.mean(tensor([x]), tensor(0.0))[:, 0]) for p in outlived]) > before + 0.1


# --- suggestions


def test_suggest_of_the_contract(paper: tuple[Cell, ...], zn_ti: Condition) -> None:
    table = suggest(fit(paper, seed=0), zn_ti, pressure_kpa=(10, 2000), n=2, seed=0)
    assert list(table.columns) == [
        "pressure_kpa", "median", "lower", "upper", "cell_lower", "cell_upper", "gain", "verdict", "reason",
    ]  # fmt: skip
    assert len(table) == 2
    assert table["verdict"][0] == "measure"
    assert table["gain"][0] > table["gain"][1] > 0
    assert abs(math.log(table["pressure_kpa"][0] / table["pressure_kpa"][1])) > 0.3
    assert table.equals(suggest(fit(paper, seed=0), zn_ti, pressure_kpa=(10, 2000), n=2, seed=0))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 30])
def test_every_number_of_cells(count: int, zn_ti: Condition) -> None:
    row = suggest(fit(world(count, seed=4)), zn_ti).iloc[0]
    assert 10 <= row["pressure_kpa"] <= 2000
    assert row["gain"] >= 0
    assert row["reason"].endswith(".")


def test_the_rig_is_respected(paper: tuple[Cell, ...], zn_ti: Condition) -> None:
    surrogate = fit(paper)
    assert suggest(surrogate, zn_ti, (10, 2000), allowed_kpa=[50, 200, 700])["pressure_kpa"][0] in (50, 200, 700)
    assert suggest(surrogate, zn_ti, (40, 500), step_kpa=40)["pressure_kpa"][0] % 40 == 0


@pytest.mark.parametrize("status", ["planned", "running"])
def test_a_pending_cell_sends_the_next_one_elsewhere(status: str, paper: tuple[Cell, ...], zn_ti: Condition) -> None:
    first = suggest(fit(paper), zn_ti).iloc[0]
    [cell] = cells_from([first["pressure_kpa"]], [0.0], status="running")
    pending = cell.model_copy(update={"status": status, "cycle_life_h": None})
    second = suggest(fit([*paper, pending]), zn_ti).iloc[0]
    assert abs(math.log(second["pressure_kpa"] / first["pressure_kpa"])) > 0.3
    assert second["gain"] < first["gain"]


def test_a_known_optimum_stops(zn_ti: Condition) -> None:
    row = suggest(fit(world(80, seed=2, scatter=0.1)), zn_ti).iloc[0]
    assert row["verdict"] == "stop"
    assert "not worth a cell" in row["reason"]


def test_repeating_the_leader_is_allowed(zn_ti: Condition) -> None:
    """A press with few settings, each tried: the most telling next cell is a second look."""
    pressures = [150.0, 400.0]
    row = suggest(fit(cells_from(pressures, [4.6, 4.5])), zn_ti, allowed_kpa=pressures).iloc[0]
    assert row["verdict"] == "repeat"
    assert "tested" in row["reason"]


@pytest.mark.parametrize(("best", "verdict"), [(30_000.0, "edge: higher"), (1.5, "edge: lower")])
def test_edges(best: float, verdict: str, zn_ti: Condition) -> None:
    row = suggest(fit(world(10, seed=1, scatter=0.2, best_kpa=best)), zn_ti).iloc[0]
    assert row["verdict"] == verdict
    assert "widen the range" in row["reason"]


def test_flat(zn_ti: Condition) -> None:
    pressures = list(np.exp(np.linspace(math.log(10), math.log(2000), 16)))
    lives = 4.5 + 0.2 * np.random.default_rng(1).standard_normal(16)
    row = suggest(fit(cells_from(pressures, list(lives))), zn_ti).iloc[0]
    assert row["verdict"] == "no effect"
    advice = advise(fit(cells_from(pressures, list(lives))), zn_ti, Rig())
    assert advice.agreement == "a constant explains these cells best: pressure shows no effect"
    assert advice.caution is None
    assert "would move the best" not in advice.would_change


def test_no_cell_has_ended(zn_ti: Condition) -> None:
    advice = advise(fit(cells_from([50.0, 300.0], [3.0, 3.0], "running")), zn_ti, Rig())
    assert advice.caution is not None
    assert advice.caution.startswith("no cell has ended yet")


def test_advice_says_what_three_cells_cannot(paper: tuple[Cell, ...], zn_ti: Condition) -> None:
    advice = advise(fit(paper), zn_ti, Rig())
    assert advice.caution is not None
    assert advice.caution.startswith("3 cells without replicates cannot fix an optimum")
    assert "times better than a free curve" in advice.agreement
    assert "would move the best pressure" in advice.would_change
    assert [c.gain for c in advice.candidates] == sorted((c.gain for c in advice.candidates), reverse=True)
    assert advice.candidates[0].pressure_kpa == advice.proposals[0].pressure_kpa
    curve = advice.curve
    assert len({len(column) for column in curve.model_dump().values()}) == 1
    assert all(np.less(curve.lower, curve.upper))
    assert all(np.less_equal(np.subtract(curve.upper, curve.lower), np.subtract(curve.prior_upper, curve.prior_lower)))


def test_advice_without_a_cell(zn_ti: Condition) -> None:
    advice = advise(fit([]), zn_ti, Rig())
    assert advice.caution == "no cell has a result yet: this is the prior alone"
    assert advice.cells_used == 0


def test_how_many_cells(paper: tuple[Cell, ...], zn_ti: Condition) -> None:
    for n in (0, 51):
        with pytest.raises(UserError, match=f"expected 1 to 50 cells; found {n}"):
            suggest(fit(paper), zn_ti, n=n)


def test_a_campaign_finds_the_best_pressure(zn_ti: Condition) -> None:
    """Six cells, chosen one after another: the recommended pressure loses little of the best life."""
    losses = []
    for seed in range(6):
        generator, cells = np.random.default_rng(seed), list[Cell]()
        for number in range(6):
            pressure = float(suggest(fit(cells, seed=seed), zn_ti, seed=seed)["pressure_kpa"][0])
            life = true_log_life(pressure) + 0.25 * generator.standard_normal()
            cells += [c.model_copy(update={"cell_id": str(number)}) for c in cells_from([pressure], [float(life)])]
        best = fit(cells, seed=seed).optimum(zn_ti).pressure_kpa
        losses.append(1 - math.exp(float(true_log_life(best)) - math.log(100)))
    assert np.mean(losses) < 0.06


# --- Optuna


@pytest.fixture
def quiet_optuna() -> Any:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


@pytest.mark.usefixtures("quiet_optuna")
def test_sampler_drives_a_study(zn_ti: Condition) -> None:
    generator = np.random.default_rng(0)

    def life(trial: optuna.Trial) -> float:
        pressure = trial.suggest_float("pressure_kpa", 10, 2000, log=True)
        trial.suggest_categorical("separator", ["glass", "paper"])
        return float(np.exp(true_log_life(pressure) + 0.2 * generator.standard_normal()))

    study = optuna.create_study(direction="maximize", sampler=StackPressureSampler(zn_ti))
    study.optimize(life, n_trials=6)
    assert abs(math.log(study.best_params["pressure_kpa"] / 250)) < 0.8
    assert len({trial.params["pressure_kpa"] for trial in study.trials}) >= 4


@pytest.mark.usefixtures("quiet_optuna")
def test_sampler_sees_running_and_censored_trials(zn_ti: Condition) -> None:
    study = optuna.create_study(direction="maximize", sampler=StackPressureSampler(zn_ti))
    asked = [study.ask().suggest_float("pressure_kpa", 10, 2000) for _ in range(3)]
    assert len(set(asked)) == 3
    alive = study.ask()
    alive.suggest_float("pressure_kpa", 10, 2000)
    alive.set_user_attr("status", "stopped")
    study.tell(alive, 500.0)
    rows = list(StackPressureSampler(zn_ti)._cells(iter(study.get_trials())))
    assert [row["status"] for row in rows] == ["planned"] * 3 + ["stopped"]
    assert rows[-1]["cycle_life_h"] == 500.0


@pytest.mark.usefixtures("quiet_optuna")
def test_sampler_refuses_to_minimise(zn_ti: Condition) -> None:
    study = optuna.create_study(direction="minimize", sampler=StackPressureSampler(zn_ti))
    with pytest.raises(UserError, match='direction="maximize"'):
        study.ask().suggest_float("pressure_kpa", 10, 2000)
