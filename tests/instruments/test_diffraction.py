"""Texture from diffraction, against simulated patterns whose truth is known, and against independent references."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from campaigns.campaign import Campaign
from campaigns.instruments import peaks
from campaigns.instruments.crystal import CU_KA1, METALS, lorentz_polarisation, metal_of, powder_at
from campaigns.instruments.diffraction import Diffraction, Words, diffraction
from campaigns.instruments.diffraction_cells import mean_ratio, measured, record_ratio, with_powder
from campaigns.instruments.diffraction_picture import write
from campaigns.instruments.importing import stem_of
from campaigns.instruments.pattern import Pattern, looks_like_one, read_pattern
from surrogates import Condition
from surrogates.errors import UserError

from .patterns import angles, counted, expected, write_xy
from .test_import import run

ZINC, TITANIUM, COPPER = METALS["Zn"], METALS["Ti"], METALS["Cu"]
WORDS = Words(ZINC)
SUBSTRATE = {"100": 2000.0, "002": 15000.0, "101": 7000.0, "102": 1400.0}


def areas(ratio: float, least: float = 8500.0) -> dict[str, float]:
    return {"002": ratio * least, "100": least, "101": 2 * least, "102": 0.6 * least}


def pattern(counts: np.ndarray, angle: np.ndarray | None = None) -> Pattern:
    angle = angles() if angle is None else angle
    return Pattern(angle, np.asarray(counts, float), 1.5406, 1.0, 0.3, None, "simulated", "0" * 64)


def found_in(peaks_of: Mapping[str, float], seed: int, words: Words = WORDS, **settings: float) -> Diffraction:
    return diffraction(pattern(counted(expected(peaks_of, **settings), seed)), words)  # type: ignore[arg-type]


def test_zincs_reflections_are_where_bragg_puts_them() -> None:
    assert {hkl: round(angle, 2) for hkl, angle in ZINC.reflections(1.5406, 30, 60).items()} == {
        "002": 36.29, "100": 38.99, "101": 43.22, "102": 54.32,
    }  # fmt: skip


@pytest.mark.parametrize(("name", "hkls"), [
    ("Li", ["110", "200", "211", "220"]), ("Cu", ["111", "200", "220"]), ("Ti", ["100", "002", "101", "102"]),
])  # fmt: skip
def test_extinctions_leave_the_reflections_of_each_lattice(name: str, hkls: list[str]) -> None:
    assert list(METALS[name].reflections(1.5406, 20, 80))[: len(hkls)] == hkls


def test_spacings_are_those_of_the_reciprocal_lattice() -> None:
    a, c = ZINC.a, ZINC.c
    assert c is not None
    rows = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])
    reciprocal = np.linalg.inv(rows).T
    for hkl in ((1, 0, 1), (1, 1, 2), (2, 0, 1), (2, 1, 3)):
        assert ZINC.spacing(*hkl) == pytest.approx(1 / np.linalg.norm(np.array(hkl) @ reciprocal))


def test_reflections_of_one_spacing_are_one_line() -> None:
    found = metal_of("bcc 3.5").reflections(0.5, 1, 60)
    assert len({round(angle, 6) for angle in found.values()}) == len(found)


def test_a_powder_card_at_its_own_wavelength_is_itself() -> None:
    assert powder_at(ZINC, CU_KA1) == pytest.approx(dict(ZINC.powder))
    here, there = ZINC.reflections(0.7093, 1, 170)["002"], ZINC.reflections(CU_KA1, 1, 170)["002"]
    factor = lorentz_polarisation(here) / lorentz_polarisation(there)
    assert powder_at(ZINC, 0.7093)["002"] == pytest.approx(53 * factor)
    assert lorentz_polarisation(90.0) == pytest.approx(1 / (0.5 * np.sqrt(0.5)))


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_the_profile_has_area_one_its_width_and_its_derivatives(eta: float) -> None:
    u = np.linspace(-400, 400, 800_001)
    shape = peaks.pseudo_voigt(u, 0.2, eta)
    assert np.trapezoid(shape.value, u) == pytest.approx(1, abs=1e-3)
    top, half = (peaks.pseudo_voigt(np.array([x]), 0.2, eta).value[0] for x in (0.0, 0.1))
    assert half == pytest.approx(top / 2)
    near, step = np.linspace(-0.4, 0.4, 41), 1e-6
    shape = peaks.pseudo_voigt(near, 0.2, eta)
    by_place = (peaks.pseudo_voigt(near - step, 0.2, eta).value - peaks.pseudo_voigt(near + step, 0.2, eta).value) / (
        2 * step
    )
    wide, slim = (peaks.pseudo_voigt(near, 0.2 * np.exp(sign * step), eta).value for sign in (1, -1))
    assert shape.by_place == pytest.approx(by_place, rel=1e-4, abs=1e-4)
    assert shape.by_width == pytest.approx((wide - slim) / (2 * step), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("ratio", [1.0, 2.5, 1.2])
def test_the_papers_ratios_come_back(ratio: float) -> None:
    found = [found_in(areas(ratio), seed) for seed in range(6)]
    assert [one.ratio is not None for one in found] == [True] * 6
    assert mean_ratio(found).value == pytest.approx(ratio, rel=0.03)
    assert [one.shift.value for one in found] == pytest.approx([0.05] * 6, abs=0.02)
    assert all(one.has_ka2 for one in found)


@pytest.mark.parametrize("settings", [
    {"ka2": False}, {"lorentz": 0.9}, {"width": 0.3}, {"uneven": 0.2, "displaced": 0.1}, {"offset": -0.2}, {"level": 3.0},
])  # fmt: skip
def test_the_ratio_holds_whatever_the_instrument_does(settings: dict[str, float]) -> None:
    errors = []
    for seed in range(5):
        one = found_in(areas(2.5), seed, **settings)
        assert one.ratio is not None
        errors.append((one.ratio.value - 2.5) / one.ratio.sd)
        assert one.ratio.value == pytest.approx(2.5, rel=0.08)
    assert np.abs(np.mean(errors)) < 1.8


def test_the_stated_uncertainty_is_the_scatter() -> None:
    pulls = []
    for seed in range(40):
        one = found_in(areas(1.5, least=2000), seed)
        assert one.ratio is not None
        pulls.append((one.ratio.value - 1.5) / one.ratio.sd)
    assert 0.7 < np.std(pulls) < 1.35
    assert abs(np.mean(pulls)) < 0.5


def test_a_powder_has_coefficients_of_one_and_texture_adds_up() -> None:
    powder = {hkl: 100 * ZINC.powder[hkl] for hkl in ("002", "100", "101", "102")}
    flat = found_in(powder, 1)
    assert {hkl: value.value for hkl, value in flat.texture.items()} == pytest.approx(
        dict.fromkeys(powder, 1.0), abs=0.06
    )
    strong = found_in({**powder, "002": 4 * powder["002"]}, 1).texture
    assert sum(value.value for value in strong.values()) == pytest.approx(4)
    assert strong["002"].value == pytest.approx(4 * 4 / 7, rel=0.03)


def test_a_missing_peak_is_said_with_what_is_left_to_say() -> None:
    one = found_in({"002": 5000, "101": 600}, 1)
    line = one.line("100")
    assert line is not None
    assert (line.state, one.ratio) == ("missing", None)
    assert any("(100) is not above the noise" in note and "so the ratio is above" in note for note in one.notes)
    with pytest.raises(UserError, match=r"expected a ratio from every pattern.*not above the noise"):
        mean_ratio([found_in(areas(2.5), 1), one])


def test_noise_alone_is_no_metal() -> None:
    for seed in range(20):
        with pytest.raises(UserError, match="expected reflections of Zn; found none above the noise"):
            found_in({}, seed, level=(3.0, 30.0, 300.0)[seed % 3])


@pytest.mark.parametrize("words", [WORDS, Words(ZINC, (TITANIUM,))])
def test_a_substrate_beside_the_peaks_is_told_apart(words: Words) -> None:
    mean = expected(areas(2.5, 3000)) + expected(SUBSTRATE, metal=TITANIUM, level=0)
    one = diffraction(pattern(counted(mean, 3)), words)
    assert one.ratio is not None
    assert abs(one.ratio.value - 2.5) < 3 * one.ratio.sd
    told = [note for note in one.notes if "nothing explains" in note]
    assert bool(told) == (words is WORDS)
    assert all("38.44" in note for note in told)


def test_a_substrate_under_a_peak_is_said() -> None:
    mean = expected(areas(2.5, 6000)) + expected({"111": 60000, "200": 20000}, metal=COPPER, level=0)
    states = []
    for words in (WORDS, Words(ZINC, (COPPER,))):
        one = diffraction(pattern(counted(mean, 3)), words)
        line = one.line("101")
        assert line is not None
        states.append(line.state)
        assert "101" not in one.texture
        assert one.ratio is not None
        assert one.ratio.value == pytest.approx(2.5, rel=0.06)
    assert states == ["displaced", "overlapped"]


def test_counts_rates_and_stated_deviations_say_the_same(tmp_path: Path) -> None:
    counts = counted(expected(areas(2.0)), 4)
    sd = np.sqrt(np.maximum(counts, 1))
    rows = [f"{a:.2f};{c / 7:.4f}".replace(".", ",") for a, c in zip(angles(), counts, strict=True)]
    (tmp_path / "rate.csv").write_text("Winkel 2Theta;Rate\n" + "\n".join(rows))
    rows = [f"{a:.2f} {c} {s:.5f}" for a, c, s in zip(angles(), counts, sd, strict=True)]
    (tmp_path / "stated.xye").write_text("\n".join(rows))
    q = 4 * np.pi * np.sin(np.radians(angles() / 2)) / 1.5406
    rows = [f"{10 * a:.6f},{c}" for a, c in zip(q, counts, strict=True)]
    (tmp_path / "q.csv").write_text("q (1/nm),counts\n" + "\n".join(rows))
    whole = measured([write_xy(tmp_path / "counts.xy", angles(), counts)], 1.5406, WORDS)[0].ratio
    assert whole is not None
    for name in ("rate.csv", "stated.xye", "q.csv"):
        other = measured([tmp_path / name], 1.5406, WORDS)[0].ratio
        assert other is not None
        assert other.value == pytest.approx(whole.value, rel=2e-3)
        assert other.sd == pytest.approx(whole.sd, rel=0.15)


@pytest.mark.parametrize(("text", "words"), [
    ("hello\nworld\n", "found no lines of two numbers"),
    ("30 1\n31 2\n", "found 2 lines of numbers"),
    ("\n".join(f"{30 + n / 50} 5 5 5" for n in range(100)), "found 4 columns"),
    ("\n".join(f"{200 + n} {n}" for n in range(100)), "expected 2 theta from 0 to 180 degrees"),
    ("\n".join(f"{1 + n / 50} {n}" for n in range(100)), "Say which: --axis 2theta"),
    ("q\n" + "\n".join(f"{30 + n / 50} {n}" for n in range(100)), "expected q that this wavelength can reach"),
    ("\n".join(f"{30 + n // 2} {n}" for n in range(100)), "found two points at"),
    ("\n".join("xx yy" if n == 70 else f"{30 + n / 50} 5" for n in range(100)), "p.xy, line 71: expected rows of numbers"),
    ("\n".join(f"{30 + n / 50} 0" for n in range(100)), "expected counts"),
    ("\n".join(f"{30 + n / 50} 5 -1" for n in range(100)), "standard deviations above 0"),
    ("\n".join(f"{20 + n / 50} 5" for n in range(100)), "reaches reflections of Zn"),
])  # fmt: skip
def test_what_is_no_pattern_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "p.xy"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        measured([path], 1.5406, WORDS)
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_a_reflection_that_is_none_a_wavelength_and_a_metal_are_refused(tmp_path: Path) -> None:
    path = write_xy(tmp_path / "p.xy", angles(), counted(expected(areas(1)), 1))
    with pytest.raises(UserError, match="wavelength: expected one in angstrom"):
        read_pattern(path, 15.4)
    with pytest.raises(UserError, match=r"ratio: expected reflections of Zn.*found '001'"):
        measured([path], 1.5406, replace(WORDS, ratio=("001", "100")))
    with pytest.raises(UserError, match="metal: expected one of Zn"):
        metal_of("hcp 2.6")


def test_a_powder_of_ones_own_gives_coefficients_to_any_metal(tmp_path: Path) -> None:
    lithium, angle = METALS["Li"], angles(32, 70)
    plain = {"110": 9000.0, "200": 3000.0, "211": 2500.0}
    counts = {"powder.xy": plain, "foil.xy": {**plain, "200": 9000.0}}
    for seed, (name, peaks_of) in enumerate(counts.items()):
        write_xy(tmp_path / name, angle, counted(expected(peaks_of, metal=lithium, angle=angle), seed))
    words = Words(lithium, ratio=("110", "200"))
    assert measured([tmp_path / "foil.xy"], 1.5406, words)[0].texture == {}
    [one] = measured([tmp_path / "foil.xy"], 1.5406, with_powder(words, tmp_path / "powder.xy", 1.5406))
    assert one.texture["200"].value == pytest.approx(3 * 3 / 5, rel=0.06)
    assert one.ratio is not None
    assert one.ratio.value == pytest.approx(1.0, rel=0.06)


@pytest.fixture
def campaign(zn_ti: Condition, store: Path) -> Campaign:
    return Campaign.create("zn", zn_ti, store=store)


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    counts = {number: counted(expected(areas(number / 5)), number) for number in (2, 9, 10)}
    return [write_xy(tmp_path / f"cycle-{number}.xy", angles(), values) for number, values in counts.items()]


def test_a_series_is_recorded_and_kept(campaign: Campaign, series: list[Path], store: Path) -> None:
    campaign.record("a/1", pressure_kpa=300)
    found = measured(series[::-1], 1.5406, WORDS)
    assert [Path(one.pattern.source).name for one in found] == ["cycle-2.xy", "cycle-9.xy", "cycle-10.xy"]
    cell = record_ratio(campaign, "a/1", found)
    assert cell.xrd_002_100_ratio == pytest.approx(1.4, rel=0.03)
    revision = campaign.state.revision
    record_ratio(campaign, "a/1", found)
    assert campaign.state.revision == revision
    folder = campaign.folder / "artifacts" / "cells" / "zn"
    assert sorted(path.name for path in folder.iterdir()) == ["a%2F1-xrd.json", "a%2F1-xrd.parquet"]
    kept = pl.read_parquet(folder / "a%2F1-xrd.parquet")
    assert kept.columns == ["pattern", "file", "two_theta_degree", "counts", "background_counts", "fit_counts"]
    assert kept.filter(pl.col("pattern") == 2)["counts"].to_list() == found[1].pattern.counts.tolist()
    document = json.loads((folder / "a%2F1-xrd.json").read_text(encoding="utf-8"))
    assert document["patterns"][0]["sha256"] == found[0].pattern.digest
    assert document["patterns"][0]["wavelength_angstrom"] == 1.5406
    assert document["xrd_002_100_ratio"] == cell.xrd_002_100_ratio


def test_a_ratio_of_other_reflections_is_not_recorded_as_this_one(campaign: Campaign, series: list[Path]) -> None:
    campaign.record("a", pressure_kpa=300)
    with pytest.raises(UserError, match=r"expected the ratio \(002\)/\(100\)"):
        record_ratio(campaign, "a", measured(series, 1.5406, replace(WORDS, ratio=("101", "100"))))
    assert campaign.state.cells[0].xrd_002_100_ratio is None


@pytest.mark.parametrize("cell_id", ["../../out", "a\\b", "c:d", "x\x00y", "%2F", "锌-1"])
def test_a_cells_id_never_leaves_the_folder(cell_id: str) -> None:
    stem = stem_of(cell_id)
    assert Path(stem).name == stem
    assert not set("/\\:\x00") & set(stem)


def test_figures_say_what_was_integrated(series: list[Path], tmp_path: Path) -> None:
    one = write([found_in({"002": 5000, "101": 600}, 1)], tmp_path / "one.svg").read_text(encoding="utf-8")
    assert "(002)" in one
    assert "missing" in one
    assert "not given" in one
    several = write(measured(series, 1.5406, WORDS), tmp_path / "several.png")
    assert several.stat().st_size > 20_000


def test_the_command(
    campaign: Campaign, series: list[Path], tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    paths, where = [str(path) for path in series], ("--wavelength", "1.5406", "--store", str(store))
    code, out, err = run(capsys, "xrd", paths[0], *where)
    assert code == 0, err
    assert "Zn (002)/(100) 0.3857 (sd 0.012)" in out
    assert (tmp_path / "cycle-2-xrd.png").is_file()
    code, _, err = run(capsys, "xrd", paths[0], *where, "--cell", "a")
    assert code == 2
    assert "expected --campaign and --cell together" in err
    code, _, err = run(capsys, "xrd", *paths, *where, "--campaign", "zn", "--cell", "a")
    assert code == 2
    assert "pressure" in err
    campaign.record("a", pressure_kpa=300)
    code, out, err = run(capsys, "xrd", *paths, *where, "--campaign", "zn", "--cell", "a", "--json")
    assert code == 0, err
    assert json.loads(out)["recorded"]["xrd_002_100_ratio"] == pytest.approx(1.4, rel=0.03)
    code, out, _ = run(capsys, "xrd", *paths, *where)
    assert "Mean ratio of 3 patterns 1." in out
    assert "A diffraction pattern? stackpress xrd" in run(capsys, "inspect", paths[0])[2]
    assert looks_like_one(series[0])
    for name in ("nowhere/a.png", "a.foo"):
        code, _, err = run(capsys, "xrd", paths[0], *where, "--figure", name)
        assert code == 2
        assert f"figure {name}: expected a name ending in .png" in err
    assert (
        "found what may be a diffraction pattern: stackpress xrd" in run(capsys, "add", "zn", paths[0], *where[2:])[2]
    )
