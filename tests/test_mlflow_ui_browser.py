"""The saved views in a real browser, on three campaigns: what a group leader sees, as MLflow's page draws it.

The screenshots of each run are in pytest's temporary folder (`--basetemp`), to be looked at.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns import Campaign
from campaigns.mlflow_ui import free_port
from campaigns.pages import points_of

from .three_campaigns import PRESSURES, build

pytestmark = pytest.mark.slow
NAMES = ["running", "flat", "wrong-prior"]
CARD, COLOUR, LOADED_MS = "experiment-view-compare-runs-card", "experiment-view-table-run-color", 30_000
OVER_REVISION = {
    "Best cycle life (h)": "best_cycle_life_h",
    "Best pressure (kPa)": "pressure_opt_kpa",
    "Its uncertainty (sd of ln P)": "pressure_opt_sd_ln",
    "Expected gain (0.05: 5 %)": "gain",
    "Expected regret (0.05: 5 %)": "expected_loss",
    "Weight of the prior, 0 to 1": "prior_weight",
    "Physics foretells better (x)": "loo_factor",
    "Cells built": "n_cells",
    "Hours on channels": "spent_cell_hours",
}
PLOTS = """() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => ({
    card: plot.closest('[data-testid=experiment-view-compare-runs-card]').innerText,
    x: {type: plot.layout.xaxis.type, title: plot.layout.xaxis.title.text}, y: {type: plot.layout.yaxis.type},
    traces: plot.data.map(({name, metricKey, marker, x, y}) => ({name, metricKey, colour: marker.color, x: [...x], y: [...y]})),
}))"""


@pytest.fixture(scope="module")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Campaign]:
    return build(tmp_path_factory.mktemp("three") / "mlruns")


@contextmanager
def ui(store: object, *names: str) -> Iterator[str]:
    """`stackpress ui NAMES`, as a user starts and stops it: the link that it prints."""
    command = [Path(sys.executable).parent / "stackpress", "ui", *names, "--no-browser", "--store", str(store)]
    with subprocess.Popen([*command, f"--port={free_port(5800)}"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


@pytest.fixture(scope="module")
def compared(campaigns: dict[str, Campaign]) -> Iterator[str]:
    """The link of `stackpress ui` without names."""
    with ui(campaigns["flat"].store) as link:
        yield link


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """A fresh visitor's page, tall enough that every chart is drawn."""
    page = browser.new_page(viewport={"width": 1600, "height": 2000})
    page.set_default_timeout(LOADED_MS)
    yield page
    page.screenshot(path=tmp_path / "page.png")
    page.close()


def view(link: str, key: str) -> str:
    """The link of another saved view than the one that is opened first."""
    mode = "TABLE" if key == "campaign-table" else "CHART"
    return re.sub("compareRunsMode=.*", f"compareRunsMode={mode}&viewStateShareKey={key}", link)


def plots(page: Any, link: str, *titles: str) -> dict[str, Any]:
    """What each chart draws, by its title, when those with these titles are there and the assistant is closed."""
    page.goto(link)
    page.get_by_role("button", name="Close").first.click()
    for title in titles:
        page.get_by_test_id(CARD).filter(has_text=title).locator(".js-plotly-plot").wait_for()
    return {plot["card"].split("\n")[0]: plot for plot in page.evaluate(PLOTS)}


def curves(plot: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The lines of a chart by run and metric; each is drawn twice, smoothed (or not) and pale as it is."""
    found: dict[str, dict[str, Any]] = {}
    for trace in plot["traces"]:
        first = found.setdefault(f"{trace['name']} {trace['metricKey']}", trace)
        assert (first["x"], first["y"]) == (trace["x"], trace["y"]), "not smoothed"
    return found


def runs_shown(page: Any) -> list[str]:
    """The names beside the coloured dots."""
    dots = page.get_by_test_id(COLOUR)
    rows = dots.locator("xpath=ancestor::*[@role='gridcell'][1]").all()
    return [row.inner_text().split("\n")[-1] for row in rows]


def colours_of(found: dict[str, dict[str, Any]]) -> set[str]:
    return {trace["colour"] for trace in found.values()}


def test_campaigns_are_compared_over_the_revision(page: Any, compared: str, campaigns: dict[str, Campaign]) -> None:
    found = plots(page, compared, *OVER_REVISION)
    assert list(found) == list(OVER_REVISION)
    assert runs_shown(page) == NAMES
    for title, key in OVER_REVISION.items():
        lines = curves(found[title])
        assert set(lines) == {f"{name} {key}" for name in NAMES}
        assert len(colours_of(lines)) == len(NAMES)
        assert found[title]["x"] == {"type": "linear", "title": "Step"}
        assert found[title]["y"]["type"] == ("log" if key == "pressure_opt_kpa" else "linear")
    for name, campaign in campaigns.items():
        for title, key in list(OVER_REVISION.items())[:-2]:
            answers = campaign.state.suggestions
            line = curves(found[title])[f"{name} {key}"]
            assert line["x"] == [answer.revision for answer in answers]
            assert line["y"] == pytest.approx([points_of(answer)[key] for answer in answers])


def test_what_was_fixed_stands_against_what_was_found(page: Any, compared: str) -> None:
    plots(page, compared, "Best cycle life (h)")
    parallel = page.get_by_test_id(CARD).filter(has_text="Parallel Coordinates")
    parallel.scroll_into_view_if_needed()
    parallel.get_by_text("loo_factor").first.wait_for()
    for words in ("electrode_pair", "Zn||VO2", "electrolyte", "prior", "pressure_opt_kpa", "best_cycle_life_h"):
        assert parallel.get_by_text(words, exact=True).count()


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("compare-campaigns", "Best cycle life (h)"),
        ("all-cells", "pressure_kpa vs. cycle_life_h"),
        ("response-curves", "Cycle life (h) over pressure (kPa)"),
    ],
)
def test_charts_that_mlflow_adds_of_itself_are_folded(page: Any, compared: str, key: str, title: str) -> None:
    plots(page, view(compared, key), title)
    assert page.get_by_text("Model metrics", exact=True).count() == 1
    assert page.get_by_test_id(CARD).filter(has_text="no_effect").count() == 0
    assert page.get_by_text("Add section").count() == 1, "the end of the page"


def test_every_cell_stands_at_its_pressure_in_the_colour_of_its_campaign(
    page: Any, compared: str, campaigns: dict[str, Campaign]
) -> None:
    title = "pressure_kpa vs. cycle_life_h"
    found = plots(page, view(compared, "all-cells"), title)
    assert list(found) == [title]
    [cells] = found[title]["traces"]
    drawn = sorted(zip(cells["x"], cells["y"], strict=True))
    built = [cell for campaign in campaigns.values() for cell in campaign.state.cells]
    measured = sorted((cell.pressure_kpa, cell.cycle_life_h) for cell in built)
    np.testing.assert_allclose(drawn, measured, rtol=1e-3)
    assert sorted(cells["colour"].count(colour) for colour in set(cells["colour"])) == [len(PRESSURES)] * len(NAMES)
    for name in NAMES:
        assert page.get_by_text(f"Group: {name}", exact=True).count() == 1


def test_response_curves_lie_over_each_other(page: Any, compared: str, campaigns: dict[str, Campaign]) -> None:
    alone, banded = "Cycle life (h) over pressure (kPa)", "With the 90 % band (dashed: lower end)"
    found = plots(page, view(compared, "response-curves"), alone, banded)
    assert list(found) == [alone, banded]
    assert {plot["x"]["type"] for plot in found.values()} == {"log"}
    lines, bands = curves(found[alone]), curves(found[banded])
    assert set(lines) == {f"{name} response response/cycle_life_h" for name in NAMES}
    assert len(bands) == 3 * len(NAMES)
    best = {name: line["x"][max(range(len(line["y"])), key=line["y"].__getitem__)] for name, line in lines.items()}
    for name in ("running", "wrong-prior"):
        expected = campaigns[name].state.suggestions[-1].advice[0].best.pressure_kpa
        assert best[f"{name} response response/cycle_life_h"] == pytest.approx(expected, rel=0.1)
    flat = lines["flat response response/cycle_life_h"]["y"]
    assert max(flat) < 1.1 * min(flat)
    assert runs_shown(page) == [f"{name} response" for name in NAMES]


def test_the_table_begins_with_what_was_found(page: Any, compared: str) -> None:
    plots(page, view(compared, "campaign-table"))
    page.get_by_text("wrong-prior").first.wait_for()
    heads = page.locator("[data-testid^=sort-header-]").all()
    shown = [head.inner_text() for head in sorted(heads, key=lambda head: head.bounding_box()["x"])]
    first = ["Run Name", "Created", "electrode_pair", "phase", "best_cycle_life_h", "pressure_opt_kpa"]
    assert shown == [*first, "pressure_opt_low_kpa", "pressure_opt_high_kpa", *shown[len(first) + 2 :]]
    assert runs_shown(page) == NAMES
    assert page.get_by_text("no effect", exact=True).count() == 1


def test_names_choose_what_is_compared(page: Any, campaigns: dict[str, Campaign]) -> None:
    with ui(campaigns["flat"].store, "wrong-prior", "running") as link:
        found = plots(page, link, "Best pressure (kPa)", "Hours on channels")
        assert runs_shown(page) == ["running", "wrong-prior"]
        assert page.get_by_text("Compare campaigns: wrong-prior, running").count()
        for title, key in OVER_REVISION.items():
            assert set(curves(found[title])) == {f"wrong-prior {key}", f"running {key}"}


def test_a_name_opens_the_campaign(page: Any, campaigns: dict[str, Campaign]) -> None:
    with ui(campaigns["flat"].store, "wrong-prior") as link:
        page.goto(link)
        page.get_by_text("wrong-prior-12 800 kPa").first.wait_for()
        page.get_by_text("Best so far").first.wait_for()
        assert page.get_by_text("from-another-press").count()
