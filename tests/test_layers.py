"""The house's rules: imports go one way, mlflow is spoken to in four modules, and shapes are what docstrings say."""

from __future__ import annotations

import ast
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import Bool, Float, Int, jaxtyped
from torch import Tensor

from optimizer.acquisition import knowledge_gradient
from surrogates import Condition, fit
from surrogates.gp import Basis, Parameters, tensor
from surrogates.inference import Posterior, systematic
from surrogates.propagation import expectation_propagation

from .worlds import world

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("surrogates", "optimizer", "campaigns")
checked = jaxtyped(typechecker=beartype)


@pytest.mark.skipif(not (ROOT / "surrogates").exists(), reason="import-linter reads the checkout")
def test_imports_go_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlinter.cli import lint_imports

    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


SPEAK_TO_MLFLOW = {"projection.py", "mlflow_place.py", "registry.py", "closed_model.py"}


def test_few_modules_speak_to_mlflow_and_none_below_touches_files() -> None:
    import campaigns
    import optimizer
    import surrogates

    modules = {
        path
        for package in (campaigns, optimizer, surrogates)
        for path in Path(str(package.__file__)).parent.rglob("*.py")
    }
    assert {path.name for path in modules if "mlflow" in imports_of(path)} == SPEAK_TO_MLFLOW
    below = [path for path in modules if path.parent.name in ("surrogates", "optimizer")]
    assert len(below) > 10
    for path in below:
        assert not imports_of(path) & {"os", "time", "datetime", "socket", "subprocess", "sqlalchemy", "random"}, path


@checked
def penalty(theta: Parameters, x: Float[Tensor, " n"], u: Float[Tensor, ""]) -> Float[Tensor, "S n"]:
    return theta.penalty(x, u)


@checked
def features(basis: Basis, x: Float[Tensor, "*batch n"], u: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n F"]:
    return basis.features(x, u)


@checked
def mean(posterior: Posterior, x: Float[Tensor, " n"], u: Float[Tensor, ""]) -> Float[Tensor, "S n"]:
    return posterior.mean(x, u)


@checked
def cov(
    posterior: Posterior, x: Float[Tensor, " n"], u: Float[Tensor, ""], x2: Float[Tensor, " m"]
) -> Float[Tensor, "S n m"]:
    return posterior.cov(x, u, x2, u)


@checked
def draws(posterior: Posterior, x: Float[Tensor, " n"], u: Float[Tensor, ""], count: int) -> Float[Tensor, "c n"]:
    return posterior.draws(x, u, count, torch.Generator().manual_seed(0))


@checked
def propagate(
    y: Float[Tensor, "S n"],
    censored: Bool[Tensor, " n"],
    scatter: Float[Tensor, "S n"],
    features: Float[Tensor, "n F"],
    variances: Float[Tensor, "S F"],
) -> tuple[Float[Tensor, "S F"], Float[Tensor, "S F F"], Float[Tensor, " S"]]:
    sites = expectation_propagation(y, censored, scatter, 0.05, features, variances)
    return sites.weight_mean, sites.weight_cov, sites.log_evidence


@checked
def gain(
    posterior: Posterior, choices: Float[Tensor, " G"], candidates: Float[Tensor, " C"], u: Float[Tensor, ""]
) -> Float[Tensor, " C"]:
    return knowledge_gradient(posterior, choices, candidates, u)


@checked
def resampled(weights: Float[Tensor, " S"], count: int) -> Int[Tensor, " c"]:
    return systematic(weights, count, torch.Generator().manual_seed(0))


def test_shapes_are_what_the_docstrings_say(zn_ti: Condition) -> None:
    posterior = fit(world(4, seed=1)).posterior(zn_ti)
    x, u = tensor(np.linspace(-3, 2, 7)), tensor(0.0)
    particles = len(posterior.weights)
    assert penalty(posterior.theta, x, u).shape == mean(posterior, x, u).shape == (particles, 7)
    assert features(posterior.basis, x.expand(2, 3, 7), u.expand(2, 3, 7)).shape[:3] == (2, 3, 7)
    assert cov(posterior, x, u, x[:3]).shape == (particles, 7, 3)
    assert posterior.variance(x, u).shape == (particles, 7)
    assert draws(posterior, x, u, 11).shape == (11, 7)
    assert gain(posterior, x, x[:4], u).shape == (4,)
    assert resampled(posterior.weights, 9).shape == (9,)
    some = torch.rand(5, 4, dtype=torch.float64) + 0.1
    propagate(some, torch.tensor([True, False, False, True]), some, some[:4, :3], some[:, :3])


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed_and_explain_themselves(package: str) -> None:
    for name in ("py.typed", "README.md"):
        assert (files(package) / name).is_file()


def test_the_published_cells_come_with_their_source() -> None:
    table = (files("campaigns") / "data" / "wen2025_cells.csv").read_text(encoding="utf-8")
    assert "doi:10.1002/sml.202501242" in table.splitlines()[1]
