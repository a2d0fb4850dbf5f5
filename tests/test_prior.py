"""Prior documents: saved, loaded, hashed, refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from surrogates import Prior, UserError
from surrogates.outcomes import OUTCOMES


def test_saved_and_loaded_again(tmp_path: Path) -> None:
    for prior in (Prior.default(), Prior.zinc()):
        prior.save(tmp_path / "prior.json")
        assert Prior.load(tmp_path / "prior.json") == prior
        assert Prior.load(tmp_path / "prior.json").content_hash == prior.content_hash


def test_the_documented_numbers() -> None:
    default, zinc = Prior.default(), Prior.zinc()
    assert (default.best_pressure.median, default.best_pressure.sd_ln) == (500, 1.0)
    assert (zinc.best_pressure.median, zinc.best_pressure.sd_ln) == (250, 0.8)
    assert (default.slope_contact.median, default.slope_contact.sd_ln) == (1.0, 0.4)
    assert (default.scatter_sd.median, default.scatter_sd.sd_ln) == (0.3, 0.3)
    assert default.no_effect.probability == pytest.approx(0.1)
    assert set(default.levels) == set(OUTCOMES)
    assert default.content_hash != zinc.content_hash


def test_every_parameter_has_a_source() -> None:
    for name, value in Prior.default().to_document().items():
        if isinstance(value, dict) and "distribution" in value:
            assert value["source"], name


def test_a_later_minor_field_is_ignored_and_a_newer_schema_refused(tmp_path: Path) -> None:
    document = Prior.default().to_document()
    assert Prior.from_document(document | {"added_later": 1}) == Prior.default()
    with pytest.raises(UserError, match="schema version 1 or older; found 2.*update stackpress"):
        Prior.from_document(document | {"schema_version": 2})


@pytest.mark.parametrize(
    ("text", "words"),
    [("not json", "saved as JSON"), ("[1]", "a JSON object"), ('{"name": "x"}', "not a complete prior")],
)
def test_what_is_no_prior_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        Prior.load(path)
    with pytest.raises(UserError, match="missing.json"):
        Prior.load(tmp_path / "missing.json")


def test_hash_does_not_depend_on_the_order_of_keys() -> None:
    document = Prior.default().to_document()
    shuffled = json.loads(json.dumps(dict(reversed(document.items()))))
    assert Prior.from_document(shuffled).content_hash == Prior.default().content_hash
