"""Metrics against simulated tests whose truth is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from campaigns.instruments import efficiency as metrics
from campaigns.instruments import series
from campaigns.instruments.cycles import Kind, cycles, half_cycles
from campaigns.instruments.life import Life, judge
from campaigns.instruments.overpotential import nucleation
from surrogates.errors import UserError

from .cells import Recorder, Truth, as_series, times, zn_ti, zn_vo2

SEEDS = range(12)


def lived(seed: int, mode: str | None, **settings: object) -> tuple[Life, Truth]:
    frame, truth = zn_ti(seed, mode=mode, noisy_contact=seed % 7 == 0, **settings)  # type: ignore[arg-type]
    test = as_series(frame)
    halves = half_cycles(test)
    return judge(test, halves, cycles(halves, "plating")[0], "plating"), truth


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hard_short_is_found_within_one_half_cycle(seed: int) -> None:
    life, truth = lived(seed, "short")
    assert life.mode == "short"
    assert abs(life.life_h - truth.failed_h) * 3600 <= truth.half_s
    assert life.life_cycles == truth.whole_cycles
    assert any("voltage fell to" in sign.text for sign in life.evidence)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_soft_short_is_found_and_called_one(seed: int) -> None:
    life, truth = lived(seed, "soft_short")
    assert life.mode == "soft_short"
    assert abs(life.life_h - truth.failed_h) * 3600 <= truth.half_s


@pytest.mark.parametrize("seed", SEEDS)
def test_a_healthy_cell_lives(seed: int) -> None:
    life, truth = lived(seed, None)
    assert life.mode is None
    assert life.evidence == ()
    assert life.life_h == pytest.approx(truth.failed_h)
    assert life.life_cycles == truth.whole_cycles
    assert bool(life.remarks) == (seed % 7 == 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_full_cell_that_fades_has_no_short(seed: int) -> None:
    frame, _ = zn_vo2(seed, cycles=15, fade=0.01 * (seed % 4))
    for end in (
        frame,
        frame.filter(pl.col(series.TIME) < frame[series.TIME][-1] - 1210),
    ):  # after a charge, a discharge
        test = as_series(end)
        halves = half_cycles(test)
        assert judge(test, halves, cycles(halves, "full")[0], "full").mode is None


def test_a_full_cell_that_shorts_while_it_charges_is_found() -> None:
    frame, _ = zn_vo2(3, cycles=15)
    late = pl.col(series.TIME) > 20_000
    voltage = pl.when(late).then(pl.col(series.VOLTAGE) * 0.02).otherwise(pl.col(series.VOLTAGE))
    test = as_series(frame.with_columns(voltage))
    halves = half_cycles(test)
    life = judge(test, halves, cycles(halves, "full")[0], "full")
    assert life.mode == "short"
    assert life.life_h * 3600 == pytest.approx(20_000, abs=1300)


def test_a_short_in_the_first_half_cycle_is_found() -> None:
    life, truth = lived(3, "short", fail_cycle=1)
    assert life.mode == "short"
    assert abs(life.life_h - truth.failed_h) * 3600 <= truth.half_s


def test_lost_contact_is_a_voltage_that_rises_and_stays() -> None:
    frame, _ = zn_ti(1, cycles=12)
    voltage = pl.when(pl.col(series.CYCLE) > 8).then(pl.col(series.VOLTAGE) * 6).otherwise(pl.col(series.VOLTAGE))
    test = as_series(frame.with_columns(voltage))
    halves = half_cycles(test)
    life = judge(test, halves, cycles(halves, "plating")[0], "plating")
    assert (life.mode, life.life_cycles) == ("contact_loss", 8)


@pytest.mark.parametrize("seed", SEEDS)
def test_efficiency_is_exact_and_formation_is_left_out(seed: int) -> None:
    frame, truth = zn_ti(seed, cycles=12)
    found, _ = cycles(half_cycles(as_series(frame)), "plating")
    assert found["efficiency"].to_list() == pytest.approx(truth.efficiency, abs=1e-4)
    mean = metrics.mean_efficiency(found, formation=3)
    assert mean is not None
    assert mean.value == pytest.approx(np.mean(truth.efficiency[3:]), abs=1e-4)
    assert mean.settings == {
        "protocol": "per_cycle_mean",
        "first_cycle": 4,
        "last_cycle": 12,
        "cycles": 9,
        "formation_cycles_left_out": 3,
    }


@pytest.mark.parametrize("seed", range(40))
def test_nucleation_overpotential_within_one_millivolt(seed: int) -> None:
    frame, truth = zn_ti(seed, cycles=2, noise_mv=0.5, dt_s=10)
    test = as_series(frame)
    found = nucleation(test, half_cycles(test), into=-1)
    assert found.tip_mv == pytest.approx(truth.tip_mv, abs=1.0)
    assert found.difference_mv == pytest.approx(truth.tip_mv - found.plateau_mv, abs=1.0)


def test_retention_and_initial_capacity_are_exact() -> None:
    frame, truth = zn_vo2(2, cycles=25, fade=0.01)
    found, _ = cycles(half_cycles(as_series(frame)), "full")
    assert found["cycle"].to_list() == list(range(1, 26))
    assert found["efficiency"][0] is None  # it begins with a discharge: nothing went in before
    assert found["efficiency"].to_list()[1:] == pytest.approx(truth.efficiency, abs=1e-4)
    kept = metrics.retention(found, at=25, reference=3)
    assert kept.value == pytest.approx(truth.out_ah[24] / truth.out_ah[2], rel=1e-9)
    assert kept.settings == {"retention_cycles": 25, "reference_cycle": 3}
    capacity = metrics.initial_capacity(found, reference=2, active_mass_mg=3.0)
    assert capacity.value == pytest.approx(truth.out_ah[1] * 1e6 / 3.0)
    with pytest.raises(UserError, match="cycles 1 to 25"):
        metrics.retention(found, at=100, reference=1)


def test_end_of_life_is_the_first_cycle_below_the_threshold() -> None:
    frame, truth = zn_vo2(2, cycles=30, fade=0.01)
    found, _ = cycles(half_cycles(as_series(frame)), "full")
    end = metrics.end_of_life(found, reference=1)
    below = next(n for n, amount in enumerate(truth.out_ah, 1) if amount < 0.8 * truth.out_ah[0])
    assert end is not None
    assert end.value == below
    assert metrics.end_of_life(found, reference=1, threshold=0.5) is None


def test_a_knee_is_flagged_and_straight_fade_is_not() -> None:
    for seed in range(5):
        bent, _ = cycles(half_cycles(as_series(zn_vo2(seed, cycles=40, fade=0.003, knee=25)[0])), "full")
        straight, _ = cycles(half_cycles(as_series(zn_vo2(seed, cycles=40, fade=0.003)[0])), "full")
        found = metrics.knee(bent, reference=1)
        assert found is not None
        assert found.value == pytest.approx(26, abs=2)
        assert metrics.knee(straight, reference=1) is None


def reservoir(short_cycles: int, reservoir_h: float, short_h: float, lost: float) -> pl.DataFrame:
    """Plate and strip once, plate a reservoir, cycle it, strip what is left: each plating loses a part `lost`."""
    out, left = Recorder(), 0.0
    steps = [(-1, reservoir_h), (1, reservoir_h * (1 - lost)), (-1, reservoir_h)]
    steps += [step for _ in range(short_cycles) for step in ((1, short_h), (-1, short_h))]
    left = reservoir_h * (1 - lost) - short_cycles * short_h * lost
    for number, (direction, hours) in enumerate([*steps, (1, left)]):
        at = times(hours * 3600)
        out.step(direction * 1e-3, np.full(len(at), direction * 0.03), at, number // 2 + 1, number + 1)
    return out.frame()


def test_reservoir_efficiency_is_the_published_formula() -> None:
    halves = half_cycles(as_series(reservoir(10, 5.0, 1.0, 0.02)))
    found = metrics.reservoir_efficiency(halves, into=-1)
    left = 5.0 * 0.98 - 10 * 0.02
    assert found.value == pytest.approx((10 * 1.0 + left) / (10 * 1.0 + 5.0), abs=1e-4)
    assert found.settings["short_cycles"] == 10
    assert found.settings["protocol"] == "reservoir"
    plain = half_cycles(as_series(zn_ti(1, cycles=5)[0]))
    with pytest.raises(UserError, match="expected one large plating"):
        metrics.reservoir_efficiency(plain, into=-1)


@pytest.mark.parametrize(("kind", "hours"), [("plating", 5.5), ("full", 0.9)])
def test_a_half_cycle_under_way_has_no_efficiency(kind: Kind, hours: float) -> None:
    frame = zn_ti(4, cycles=8)[0] if kind == "plating" else zn_vo2(4, cycles=8)[0]
    part = frame.filter(pl.col(series.TIME) < hours * 3600)
    found, notes = cycles(half_cycles(as_series(part)), kind)
    if found["out_half"][-1] is not None:
        assert found["efficiency"][-1] is None
        assert any("under way" in note for note in notes)


def test_plating_is_never_guessed_from_the_sign_alone() -> None:
    frame = zn_ti(1, cycles=5)[0]
    turned = frame.filter(pl.col(series.TIME) > 3601)  # begins with a strip
    with pytest.raises(UserError, match="expected the first half-cycle"):
        cycles(half_cycles(as_series(turned)), "plating")
    found, _ = cycles(half_cycles(as_series(turned)), "plating", "discharge")
    assert found["efficiency"].drop_nulls().max() < 1
