"""Prior documents: saved, loaded, hashed, refused; edited in words; shown as a table and a picture."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogates import Prior, UserError
from surrogates.literature import NAMED
from surrogates.outcomes import OUTCOMES, READOUTS, Outcome, OutcomeName
from surrogates.prior import Level, LogNormal, Normal, Probability
from surrogates.prior_edit import read_statement
from surrogates.prior_table import row, rows, text_table

Z95 = 1.6448536269514722  # standard normal quantile of 0.95, Abramowitz and Stegun, table 26.5
FIRST = Path(__file__).parent / "prior_of_schema_1.json"  # as saved before scatter_growth and initial capacity
NAMES = list(NAMED)


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_again(tmp_path: Path, name: str) -> None:
    prior = Prior.named(name)
    prior.save(tmp_path / "prior.json")
    assert Prior.load(tmp_path / "prior.json") == prior
    assert Prior.load(tmp_path / "prior.json").content_hash == prior.content_hash


def test_the_documented_numbers() -> None:
    default, zinc = Prior.default(), Prior.zinc()
    assert (default.best_pressure.median, default.best_pressure.sd_ln) == (500, 1.0)
    assert (zinc.best_pressure.median, zinc.best_pressure.sd_ln) == (250, 0.8)
    assert (default.slope_contact.median, default.slope_contact.sd_ln) == (1.0, 0.4)
    assert (default.scatter_sd.median, default.scatter_sd.sd_ln) == (0.3, 0.3)
    assert (default.scatter_growth.mean, default.scatter_growth.sd) == (0.0, 0.4)
    assert default.no_effect.probability == pytest.approx(0.1)
    assert default.content_hash != zinc.content_hash


@pytest.mark.parametrize("name", NAMES)
def test_named_priors_are_valid_complete_and_say_where_from(name: str) -> None:
    prior = Prior.named(name)
    assert prior.name == name
    assert Prior.from_document(prior.to_document()) == prior
    assert set(prior.levels) == {*OUTCOMES, *READOUTS}
    assert len(prior.does_not_claim) >= 3
    for key, parameter in prior.parameters.items():
        assert parameter.source, key
        assert any(word in parameter.source for word in ("[R]", "[Ab]", "[Calc]", "judgement")), key


def test_named_priors_name_only_sources_that_the_module_lists() -> None:
    from surrogates import literature

    for name in NAMES:
        for parameter in Prior.named(name).parameters.values():
            for key in parameter.source.replace(",", " ").replace(":", " ").split():
                if key[:1].isalpha() and key[-4:].isdigit():
                    assert f"\n{key} " in str(literature.__doc__), key


def test_best_pressures_hold_the_optima_read() -> None:
    """kPa, of surrogates.literature's table."""
    lithium, pouch, zinc = (Prior.named(name).best_pressure for name in ("lithium-metal", "pouch-cell", "zinc"))
    optima = [1200, 1390, math.sqrt(50 * 75) * 98.0665]
    assert np.exp(np.mean(np.log(optima))) == pytest.approx(2150, rel=0.01)
    assert np.std(np.log(optima), ddof=1) == pytest.approx(0.9, abs=0.02)
    assert lithium.quantile(0.05) < 1200
    assert lithium.quantile(0.95) > 75 * 98.0665
    assert pouch.quantile(0.95) < 3000
    assert zinc.quantile(0.05) < 300 < zinc.quantile(0.95)


def test_names() -> None:
    assert Prior.names() == ("default", "zinc", "lithium-metal", "pouch-cell")
    assert Prior.named("Lithium_Metal") == Prior.named("lithium metal") == Prior.lithium_metal()
    assert Prior.named("pouch cell") == Prior.pouch_cell()
    with pytest.raises(UserError, match="expected default, zinc, lithium-metal, pouch-cell; found 'copper'"):
        Prior.named("copper")


def test_a_document_of_the_first_version_is_completed() -> None:
    prior = Prior.load(FIRST)
    assert prior.best_pressure.median == 310
    assert prior.scatter_growth == Prior.default().scatter_growth
    assert prior.levels["initial_capacity_mah_g"] == Prior.default().levels["initial_capacity_mah_g"]
    assert prior.levels["cycle_life_h"].median == 120


def test_a_later_minor_field_is_left_out_and_a_newer_schema_refused() -> None:
    document = Prior.default().to_document()
    assert Prior.from_document(document | {"added_later": 1}) == Prior.default()
    with pytest.raises(UserError, match=r"schema version 1 or older; found 2.*update stackpress"):
        Prior.from_document(document | {"schema_version": 2})


def test_a_file_warns_of_what_is_left_out(tmp_path: Path) -> None:
    document = Prior.default().to_document()
    document["best_pressure"]["sdln"] = 3
    (tmp_path / "p.json").write_text(json.dumps(document | {"scatter_grwth": 1}))
    with pytest.warns(UserWarning, match=r"p.json: not known.* best_pressure.sdln, scatter_grwth"):
        assert Prior.load(tmp_path / "p.json") == Prior.default()


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


def test_what_contradicts_itself_is_refused() -> None:
    document = Prior.default().to_document()
    document["levels"]["coulombic_efficiency"]["median"] = 1.0
    with pytest.raises(UserError, match=r"levels.coulombic_efficiency: expected a fraction below 1"):
        Prior.from_document(document)


def test_hash_does_not_depend_on_the_order_of_keys() -> None:
    document = Prior.default().to_document()
    shuffled = json.loads(json.dumps(dict(reversed(document.items()))))
    assert Prior.from_document(shuffled).content_hash == Prior.default().content_hash


# Quantiles: the closed forms of surrogates/prior.py.


def test_quantiles_are_the_documented_closed_forms() -> None:
    log_normal = LogNormal(median=250, sd_ln=0.8, unit="kPa", source="s")
    assert log_normal.quantile(0.95) == pytest.approx(250 * math.exp(0.8 * Z95))
    assert log_normal.quantile(0.05) == pytest.approx(250 / math.exp(0.8 * Z95))
    normal = Normal(mean=-1, sd=2, unit="1", source="s")
    assert normal.quantile(0.95) == pytest.approx(-1 + 2 * Z95)
    assert log_normal.quantile(0.5) == 250
    life, share = Level(median=100, sd_y=2, unit="h", source="s"), Level(median=0.98, sd_y=1.5, unit="1", source="s")
    assert life.quantile(0.95) == pytest.approx(100 * math.exp(2 * Z95))
    assert share.quantile(0.95) == pytest.approx(0.98 ** math.exp(-1.5 * Z95))


@given(
    name=st.sampled_from(OUTCOMES),
    share=st.floats(0.01, 0.999),
    sd=st.floats(0.05, 3.0),
    p=st.floats(0.01, 0.99),
    cycles=st.integers(1, 2000),
)
def test_level_quantiles_are_those_of_the_model_scale(
    name: OutcomeName, share: float, sd: float, p: float, cycles: int
) -> None:
    outcome = Outcome(name, cycles)
    median, unit = (share, "1") if outcome.is_loss else (1000 * share, "h")
    level = Level(median=median, sd_y=sd, unit=unit, source="s")
    z = Normal(mean=0, sd=1, unit="1", source="s").quantile(p)
    assert level.quantile(p) == pytest.approx(
        float(outcome.from_y(outcome.to_y(median) + sd * z)), rel=1e-9, abs=1e-300
    )


# Editing.


def test_edited_in_words() -> None:
    prior = Prior.zinc()
    new = prior.edited(
        best_pressure="around 100 kPa, give or take a factor of 2",
        current_shift="-0.2 +- 0.1",
        no_effect="20 %",
        cycle_life_h="80 h",
        coulombic_efficiency="factor 3",
        source="our press tests of 2025",
    )
    assert (new.best_pressure.median, new.best_pressure.sd_ln) == (100, math.log(2))
    assert (new.current_shift.mean, new.current_shift.sd) == (-0.2, 0.1)
    assert new.no_effect.probability == pytest.approx(0.2)
    assert (new.levels["cycle_life_h"].median, new.levels["cycle_life_h"].sd_y) == (80, 2.0)
    assert (new.levels["coulombic_efficiency"].median, new.levels["coulombic_efficiency"].sd_y) == (0.98, math.log(3))
    assert new.best_pressure.source == new.levels["cycle_life_h"].source == "our press tests of 2025"
    assert new.slope_contact == prior.slope_contact
    assert (new.name, new.version) == ("zinc", 2)
    assert prior == Prior.zinc()


def test_edited_by_number_and_by_parameter() -> None:
    exact = LogNormal(median=120, sd_ln=0.2, unit="kPa", source="own press")
    new = Prior.default().edited(no_effect=0.3, best_pressure=exact, name="mine")
    assert new.no_effect == Probability(probability=0.3, source="edited by hand")
    assert new.best_pressure == exact
    assert (new.name, new.version) == ("mine", 1)
    assert new.edited(scatter_sd="0.2").version == 2


def test_two_thirds_lie_within_the_factor() -> None:
    """68 % within F, 90 % within F^1.645: the docstring of surrogates.prior_edit."""
    best = Prior.default().edited(best_pressure="100 kPa, factor 2").best_pressure
    assert best.quantile(0.8413447460685429) == pytest.approx(200)
    assert best.quantile(0.15865525393145707) == pytest.approx(50)
    assert best.quantile(0.95) == pytest.approx(100 * 2**Z95)
    ce = Prior.default().edited(coulombic_efficiency="98 %, factor 2").levels["coulombic_efficiency"]
    assert math.log(ce.quantile(0.8413447460685429)) == pytest.approx(math.log(0.98) / 2)


@given(value=st.floats(1, 30_000), factor=st.floats(1.001, 20), about=st.sampled_from(["", "about ", "around ", "~"]))
def test_any_pressure_and_factor_are_read_as_written(value: float, factor: float, about: str) -> None:
    new = Prior.default().edited(best_pressure=f"{about}{value!r} kPa, factor {factor!r}")
    assert new.best_pressure.median == value
    assert new.best_pressure.sd_ln == pytest.approx(math.log(factor))
    assert Prior.from_document(json.loads(json.dumps(new.to_document()))) == new


@given(
    text=st.text(max_size=30) | st.from_regex(r"\A-?[0-9]{1,3} ?(kPa|h|%|)(, (factor|sd) -?[0-9]{1,3})?\Z"),
    key=st.sampled_from(["best_pressure", "current_shift", "no_effect", "cycle_life_h"]),
)
def test_any_text_is_taken_or_refused_with_one_message(text: str, key: str) -> None:
    said = read_statement(text)
    if said is None:
        with pytest.raises(UserError, match=f"{key}: expected words such as"):
            Prior.default().edited(**{key: text})
        return
    with contextlib.suppress(UserError):  # a value out of bounds, or without its unit
        new = Prior.default().edited(**{key: text})
        assert Prior.from_document(new.to_document()) == new


@given(value=st.floats(-1e6, 1e6), sd=st.floats(1e-6, 1e6), sign=st.sampled_from(["sd ", "± ", "+- ", "+/- "]))
def test_statements_are_read(value: float, sd: float, sign: str) -> None:
    said = read_statement(f"{value!r}, {sign}{sd!r}")
    assert said is not None
    assert (said.value, said.kind, said.spread) == (value, "sd", sd)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "expected a change"),
        ({"best_presure": "1 kPa"}, "Did you mean best_pressure"),
        ({"summary": "x"}, "expected a parameter"),
        ({"best_pressure": 100}, "expected a value in kPa; found 100 without a unit"),
        ({"best_pressure": "0.1 MPa"}, "expected a value in kPa; found 0.1 MPa"),
        ({"best_pressure": "-5 kPa"}, "expected 1 to 30000 kPa; found -5 kPa"),
        ({"best_pressure": "1e6 kPa"}, "expected 1 to 30000 kPa; found 1000000 kPa"),
        ({"best_pressure": "100 kPa, factor 1"}, "expected a factor above 1"),
        ({"best_pressure": "100 kPa, factor 1000"}, "at most 20; found 1000"),
        ({"best_pressure": "100 kPa, sd 1"}, r'expected words such as best_pressure="500 kPa, factor 2"'),
        ({"best_pressure": "a lot"}, "found 'a lot'"),
        ({"best_pressure": ""}, "found ''"),
        ({"best_pressure": "nan kPa"}, "found 'nan kPa'"),
        ({"best_pressure": Normal(mean=1, sd=1, unit="kPa", source="s")}, "expected LogNormal; found Normal"),
        ({"cycle_life_h": "80, factor 3"}, r'expected a value in h.*cycle_life_h="100 h, factor 2"'),
        ({"scatter_sd": "-1"}, "expected a value above 0; found '-1'"),
        ({"current_shift": "0, sd -1"}, "expected an sd above 0"),
        ({"no_effect": "120 %"}, "between 0 and 1"),
        ({"no_effect": "20 kPa"}, "a value without a unit or in %; found 20 kPa"),
        ({"no_effect": "20 %, factor 2"}, r'expected words such as no_effect="20 %"'),
        ({"no_effect": "95 %"}, r"no_effect and no_physics to sum to less than 1; found 1.05"),
        ({"coulombic_efficiency": "100 %"}, "between 0 and 1"),
        ({"coulombic_efficiency": "98"}, "between 0 and 1"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Prior.default().edited(**changes)


# Showing.


def test_the_example_and_the_table_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (files("surrogates") / "README.md").read_text(encoding="utf-8").split("## Prior documents")[1]
    monkeypatch.chdir(tmp_path)
    exec(readme.split("```python\n")[1].split("```")[0], {})
    assert Path("ours.png").exists()
    assert Prior.load("ours.json").version == 1
    for name in NAMES:
        best, no_effect, hours, cycles = (
            row(Prior.named(name), key) for key in ("best_pressure", "no_effect", "cycle_life_h", "cycle_life_cycles")
        )
        cells = (f"{best.middle}, {best.range}", no_effect.middle, f"{hours.middle}; {cycles.middle}")
        assert f"| `{name}` | {' | '.join(cells)} |" in readme


@pytest.mark.parametrize("name", NAMES)
def test_the_table_says_everything(name: str) -> None:
    prior = Prior.named(name)
    frame, text = prior.to_table(), str(prior)
    assert list(frame.columns) == ["parameter", "meaning", "median", "lower", "upper", "unit", "source"]
    assert list(frame["parameter"]) == list(prior.parameters)
    for item in rows(prior):
        assert item.parameter in text
        assert item.middle in text
        assert item.meaning in text
        assert item.range in text
        assert item.meaning in prior._repr_html_()
        assert item.lower is None or item.lower < item.median < float(item.upper or 0) or item.median == 0
    assert all(claim in " ".join(text.split()) for claim in prior.does_not_claim)
    assert max(map(len, text.splitlines())) <= 100
    assert repr(prior) == f"<Prior {name}, version 1>"


def test_the_table_in_lab_units() -> None:
    table = text_table(Prior.zinc())
    assert "best_pressure           250 kPa     67.1 to 932 kPa" in table
    assert "coulombic_efficiency    98 %        78.8 to 99.83 %" in table
    assert "no_effect               10 %" in table
    assert "Wen2025 [R]: 20, 300 and 1000 kPa, one pair, no replicates" in table


def test_html_is_escaped() -> None:
    prior = Prior.default().edited(no_effect="20 %", source="<script>", name="<b>")
    assert "<script>" not in prior._repr_html_()
    assert "<b>" not in prior._repr_html_()


def test_show_prints_the_table_and_saves_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = Prior.zinc().show(tmp_path / "zinc.png")
    assert capsys.readouterr().out.startswith("Prior zinc, version 1: Metallic zinc")
    assert (tmp_path / "zinc.png").read_bytes().startswith(b"\x89PNG")
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert repr(picture) == "<Picture of Prior zinc, version 1>"
    picture.save(tmp_path / "zinc.svg")
    svg = (tmp_path / "zinc.svg").read_text()
    for words in ("median 250 kPa", "stacking pressure (kPa)", "80 %: two competing", "10 %: no effect"):
        assert words in svg
    with pytest.raises(UserError, match=r"expected a picture to end in .png, .svg, .pdf; found '.gif'"):
        picture.save(tmp_path / "zinc.gif")
    with pytest.raises(UserError, match="a file that can be written"):
        picture.save(tmp_path / "nowhere" / "zinc.png")


def test_no_words_of_the_picture_meet_or_leave_it() -> None:
    from surrogates.prior_picture import Picture

    figure = Picture.of(Prior.lithium_metal()).figure
    figure.canvas.draw()
    texts = [text for axes in figure.axes for text in (*axes.get_legend().get_texts(), axes.get_legend().get_title())]
    boxes = [text.get_window_extent() for text in (*figure.texts, *texts)]
    for number, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_curves_are_shares_of_their_best_in_the_shares_of_the_hypotheses() -> None:
    from surrogates.inference import HYPOTHESES
    from surrogates.prior_picture import relative_curves

    pressures = np.geomspace(20, 3000, 60)
    curves, hypothesis = relative_curves(Prior.zinc(), pressures, 500)
    assert curves.shape == (500, 60)
    assert curves.max(axis=1) == pytest.approx(1)
    for name, share in zip(HYPOTHESES, (0.8, 0.1, 0.1), strict=True):
        assert np.mean(hypothesis == HYPOTHESES.index(name)) == pytest.approx(share, abs=0.01)
    assert curves[hypothesis == HYPOTHESES.index("no effect")] == pytest.approx(1, abs=1e-4)
    best = pressures[curves[hypothesis == 0].argmax(axis=1)]
    assert np.median(best) == pytest.approx(250, rel=0.2)


def test_the_picture_does_not_change_what_the_caller_set() -> None:
    import matplotlib

    from surrogates.prior_picture import draw

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = matplotlib.rcParams["font.size"]
        draw(Prior.default())
        assert matplotlib.rcParams["font.size"] == before
