"""Learned priors: what campaigns teach, the same however it is computed, remembered in a document."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surrogates import Cell, Condition, Prior, UserError, fit, learn
from surrogates.gp import tensor
from surrogates.learning import _population, dask_map
from surrogates.memory import Lesson, evidence_in, remember
from surrogates.population import Curve, Evidence

from .worlds import cells_from, true_log_life

NEW = Condition(electrode_pair="Zn||New", electrolyte="1 M ZnSO4", current_density=1, current_density_unit="mA/cm2")


def campaign(pair: str, seed: int, best_kpa: float, count: int = 8, **columns: Any) -> tuple[Cell, ...]:
    generator = np.random.default_rng(seed)
    pressures = np.exp(generator.uniform(math.log(10), math.log(2000), count))
    lives = true_log_life(pressures, best_kpa) + 0.2 * generator.standard_normal(count)
    return cells_from(list(pressures), list(lives), electrode_pair=pair, **columns)


@pytest.fixture(scope="module")
def tables() -> dict[str, Sequence[Cell]]:
    generator = np.random.default_rng(3)
    best = 90 * np.exp(0.3 * generator.standard_normal(12))
    return {f"c{i:02d}": campaign(f"Zn||X{i % 5}", i, best[i]) for i in range(12)}


@pytest.fixture(scope="module")
def learned(tables: dict[str, Sequence[Cell]]) -> Prior:
    return learn(tables, name="ours")


def test_the_population_moves_to_what_the_campaigns_show(learned: Prior) -> None:
    base = Prior.default()
    assert learned.best_pressure.median == pytest.approx(90, rel=0.35)
    assert learned.best_pressure.sd_ln < 0.7 * base.best_pressure.sd_ln
    assert learned.scatter_sd.median < base.scatter_sd.median
    assert learned.no_effect.probability < base.no_effect.probability
    assert learned.levels["cycle_life_h"].sd_y < base.levels["cycle_life_h"].sd_y
    assert learned.levels["coulombic_efficiency"] == base.levels["coulombic_efficiency"]
    assert "12 campaigns, 96 cells" in learned.best_pressure.source


def test_a_new_pair_starts_where_the_others_ended(learned: Prior) -> None:
    before, after = fit([]).optimum(NEW), fit([], prior=learned).optimum(NEW)
    assert after.pressure_kpa == pytest.approx(90, rel=0.4)
    assert math.log(after.interval_kpa[1] / after.interval_kpa[0]) < 0.75 * math.log(
        before.interval_kpa[1] / before.interval_kpa[0]
    )


def test_a_remembered_condition_knows_more_than_a_stranger(learned: Prior) -> None:
    """Five pairs were learned; one has its optimum well above the rest."""
    tables = {f"a{i}": campaign(f"Zn||X{i}", i, 60) for i in range(4)} | {"b": campaign("Li||Cu", 9, 900, 14)}
    prior = learn(tables)
    back = Condition(electrode_pair="Li||Cu", electrolyte="1 M ZnSO4", current_density=1, current_density_unit="mA/cm2")
    assert fit([], prior=prior).optimum(back).pressure_kpa > 2 * fit([], prior=prior).optimum(NEW).pressure_kpa


@pytest.mark.slow
def test_the_same_document_however_it_is_computed(tables: dict[str, Sequence[Cell]], learned: Prior) -> None:
    from distributed import Client, LocalCluster

    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert learn(tables, name="ours", mapper=pool.map).to_document() == learned.to_document()
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        assert learn(tables, name="ours", mapper=dask_map(client)).to_document() == learned.to_document()
    backwards = dict(reversed(tables.items()))
    assert learn(backwards, name="ours").content_hash == learned.content_hash


def test_the_document_is_whole_and_small(learned: Prior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned.save(tmp_path / "ours.json")
    assert Prior.load(tmp_path / "ours.json") == learned
    monkeypatch.setattr("surrogates.learning.MOST_REMEMBERED", 3)
    few = learn({f"m{i}": campaign(f"M{i}||X", i, 100, 2 + i) for i in range(5)})
    assert [item.cells for item in few.remembered] == [6, 5, 4]


def test_learning_again_starts_from_the_learned(learned: Prior) -> None:
    again = learn({"more": campaign("Zn||X9", 77, 90)}, base=learned, name="again")
    assert again.best_pressure.median == pytest.approx(learned.best_pressure.median, rel=0.3)
    pairs = {item.electrode_pair for item in again.remembered}
    assert pairs == {"Zn||X0", "Zn||X1", "Zn||X2", "Zn||X3", "Zn||X4", "Zn||X9"}
    twice = learn({"more": campaign("Zn||X0", 78, 90)}, base=learned)
    [item] = [item for item in twice.remembered if item.electrode_pair == "Zn||X0"]
    assert (item.campaigns, item.cells) == (4, 32)


def test_nothing_to_learn_from() -> None:
    with pytest.raises(UserError, match="expected campaigns with 2 results or more; found none"):
        learn({"empty": [], "one": campaign("Zn||X", 1, 100, 1)})


def test_population_of_exact_evidence_is_that_of_the_sample() -> None:
    """Members known exactly: mean and sd are those of the sample, shrunk by the base's weight of four."""
    z = tensor(np.random.default_rng(0).normal(1.5, 0.5, (4000, 2)))
    mean, sd = _population(1e8 * torch.eye(2).double().expand(4000, 2, 2), 1e8 * z)
    assert mean.numpy() == pytest.approx(z.mean(0).numpy(), abs=0.01)
    assert sd.numpy() == pytest.approx(z.std(0).numpy(), rel=0.01)


def test_population_of_no_evidence_is_the_base() -> None:
    mean, sd = _population(torch.zeros(5, 3, 3).double(), torch.zeros(5, 3).double())
    assert mean.numpy() == pytest.approx(np.zeros(3))
    assert sd.numpy() == pytest.approx(np.ones(3))


def test_what_is_remembered_returns_as_it_was() -> None:
    """From the units of one prior to the document and back; and the same Gaussian factor under a moved prior."""
    base = Prior.default()
    curve = Curve(NEW, "cycle_life_h")
    root = tensor(np.random.default_rng(1).normal(size=(5, 5)))
    evidence = Evidence(root @ root.T, tensor([1.0, -2.0, 0.5, 0.0, 3.0]), 7.0, -3.0)
    item = remember(curve, [Lesson(curve, 8, evidence, 0.1, 0.1, "c")], base)
    back = evidence_in(base, item)
    assert back.precision.numpy() == pytest.approx(evidence.precision.numpy())
    assert back.pull.numpy() == pytest.approx(evidence.pull.numpy())
    assert (back.level_precision, back.level_pull) == pytest.approx((7.0, -3.0))
    moved = evidence_in(base.edited(best_pressure="100 kPa, factor 2"), item)
    shift, scale = math.log(100 / 500), math.log(2) / 1.0
    assert float(moved.precision[0, 0]) == pytest.approx(float(evidence.precision[0, 0]) * scale**2)
    assert float(moved.pull[0]) == pytest.approx(
        scale * float(evidence.pull[0] - shift * evidence.precision[0, 0]), rel=1e-6
    )


def test_the_guide_saves_cells() -> None:
    guide = (files("surrogates") / "README.md").read_text(encoding="utf-8")
    [code] = [block for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "cells_needed" in block]
    told = [
        float(value) for value in re.search(r"takes ([\d.]+) cells.*learned one ([\d.]+),", guide, re.DOTALL).groups()
    ]  # type: ignore[union-attr]
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert list(names["needed"].values()) == pytest.approx(told, abs=0.5)
    assert names["needed"]["zinc-cathodes"] <= names["needed"]["default"] - 0.25
