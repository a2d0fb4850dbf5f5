"""The figure of a suggestion: what is drawn, where, and in which files."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from campaigns.figure import ARROW, DPI, draw, write_figures
from campaigns.state import CampaignState, Suggestion
from optimizer.advice import Advice, Best, Curve, Proposal
from optimizer.goal import Goal
from optimizer.rig import Rig
from surrogates.cells import Cell, Condition
from surrogates.outcomes import Outcome, OutcomeName
from surrogates.prior import Prior

ZN_TI = Condition(electrode_pair="Zn||Ti", electrolyte="1 M ZnSO4", current_density=1, current_density_unit="mA/cm2")
GRID = tuple(float(p) for p in np.geomspace(10, 2000, 81))
LIVES = [(20, 14.0), (300, 104.0), (1000, 36.0)]
STATUSES = [
    {"pressure_kpa": 150, "status": "running", "cycle_life_h": 60},
    {"pressure_kpa": 90, "status": "stopped", "cycle_life_h": 45},
    {"pressure_kpa": 500, "status": "invalid", "cycle_life_h": 3, "end_reason": "assembly_fault"},
    {"pressure_kpa": 700, "status": "planned"},
]


def cell(number: int, condition: Condition = ZN_TI, **columns: Any) -> Cell:
    return Cell(
        **{"cell_id": f"c{number}", "status": "ended", **condition.model_dump(exclude={"retention_cycles"}), **columns}
    )


def cells(rows: list[dict[str, Any]], condition: Condition = ZN_TI) -> tuple[Cell, ...]:
    return tuple(cell(number, condition, **row) for number, row in enumerate(rows))


def lives(extra: list[dict[str, Any]] | None = None) -> tuple[Cell, ...]:
    return cells([{"pressure_kpa": p, "cycle_life_h": life} for p, life in LIVES] + (extra or []))


def curve(outcome: Outcome, top: float, spread: float = 0.5) -> Curve:
    """Two modes that meet at 200 kPa; y = `top` there."""
    log_p = np.log(np.array(GRID) / 200)
    contact, short = top + 0.7 + 0.9 * log_p, top + 0.7 - 0.7 * log_p
    y = -np.log(np.exp(-contact) + np.exp(-short))
    width = spread * (1 + 0.3 * np.abs(log_p))
    columns = {"median": y, "lower": y - width, "upper": y + width, "cell_lower": y - 2 * width}
    columns |= {"cell_upper": y + 2 * width, "prior_median": y, "prior_lower": y - 6, "prior_upper": y + 6}
    columns |= {"contact_mode": contact, "short_mode": short}
    return Curve(pressure_kpa=GRID, **{name: tuple(map(float, outcome.from_y(v))) for name, v in columns.items()})


def proposal(pressure_kpa: float, drawn: Curve) -> Proposal:
    names = ("median", "lower", "upper", "cell_lower", "cell_upper")
    at = {name: float(np.interp(pressure_kpa, GRID, getattr(drawn, name))) for name in names}
    return Proposal(pressure_kpa=pressure_kpa, gain=0.02, verdict="measure", reason="tells most", **at)


def advice(
    outcome: OutcomeName = "cycle_life_h",
    next_kpa: tuple[float, ...] = (99.0,),
    window: tuple[float, float] | None = (170.0, 290.0),
    condition: Condition = ZN_TI,
    top: float = math.log(100),
    **changes: Any,
) -> Advice:
    drawn = curve(Outcome(outcome), top, changes.pop("spread", 0.5))
    best = Best(
        pressure_kpa=220,
        interval_kpa=(110, 530),
        window_kpa=window,
        median=max(drawn.median),
        lower=drawn.lower[40],
        upper=drawn.upper[40],
        expected_loss=0.1,
        no_effect=0,
        prior_weight=0.9,
        verdict="measure",
    )
    known = {"caution": "4 cells without replicates cannot fix an optimum", "agreement": "", "would_change": ""}
    return Advice(
        condition=condition,
        outcome=outcome,
        retention_cycles=100,
        cells_used=3,
        censored=0,
        best=best,
        curve=drawn,
        proposals=tuple(proposal(p, drawn) for p in next_kpa),
        candidates=(),
        **{**known, **changes},
    )


def state(all_cells: tuple[Cell, ...], *said: Advice, name: str = "ti", **changes: Any) -> CampaignState:
    suggestion = Suggestion(
        2, "2026-01-01T00:00:00Z", "ada", 2, 0, "", "", {}, said, tuple((f"{name}-9",) for _ in said)
    )
    known: dict[str, Any] = {"data_revision": 2, "rig": Rig(), "objective": "cycle_life_h", **changes}
    return CampaignState(
        name=name,
        goal=Goal(outcomes=(known["objective"],)),
        uid="u",
        programme="zinc",
        conditions=tuple(a.condition for a in said),
        prior=PRIOR,
        history="none",
        opened="",
        actor="ada",
        cells=all_cells,
        suggestions=(suggestion,) if said else (),
        **known,
    )


PRIOR = Prior.default()
FADE = [
    {"pressure_kpa": p, "capacity_retention": r, "retention_cycles": n}
    for p, r, n in ((20, 0.435, 100), (300, 0.6, 200), (1000, 0.713, 100), (400, 1.02, 100))
]
EFFICIENCY = [
    {"pressure_kpa": p, "coulombic_efficiency": e, "ce_protocol": "reservoir"}
    for p, e in ((20, 0.984), (300, 0.9962), (1000, 0.991))
]
MONEY = Condition(
    electrode_pair="Zn||V₂O₅·nH₂O $x$",
    electrolyte="2 M Zn(OTf)₂ + 0.1 M $add_it^2 <&> " + "long " * 30,
    current_density=0.5,
    current_density_unit="A/g",
)
VO2 = Condition(electrode_pair="Zn||VO2", electrolyte="1 M ZnSO4", current_density=1, current_density_unit="A/g")
RNG = np.random.default_rng(0)
MANY = [
    {
        "pressure_kpa": p,
        "cycle_life_h": float(90 * np.exp(RNG.normal(0, 0.3) - np.log(p / 200) ** 2 / 6)),
        "status": ("ended", "ended", "running", "stopped")[i % 4],
        "current_density": 1 if i < 32 else 5,
    }
    for i, p in enumerate([20, 50, 100, 150, 220, 300, 500, 1000] * 5)
]
RETENTION: dict[str, Any] = {"outcome": "capacity_retention", "top": math.log(100) - math.log(-math.log(0.78))}
CE: dict[str, Any] = {"outcome": "coulombic_efficiency", "top": -math.log(-math.log(0.995))}
CASES: dict[str, CampaignState] = {
    "three": state(lives(), advice()),
    "statuses": state(lives([*STATUSES, {"pressure_kpa": 60, "status": "running"}]), advice()),
    "no-window": state(lives(), advice(window=None, caution=None)),
    "no-cell": state((), advice(window=None, spread=2.5)),
    "many": state(cells(MANY), advice(spread=0.15)),
    "retention": state(cells(FADE), advice(**RETENTION)),
    "efficiency": state(cells(EFFICIENCY), advice(**CE)),
    "several": state(lives(), advice(next_kpa=(99.0, 110.0, 210.0, 210.0, 630.0))),
    "money": state(cells([{"pressure_kpa": 30, "cycle_life_h": 50}], MONEY), advice(condition=MONEY)),
    "narrow": state(lives()[1:2], advice(), rig=Rig(pressure_kpa=(200, 400))),
}


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return {name: draw(case, case.latest.advice[0]) for name, case in CASES.items() if case.latest}


def lines(figure: Figure, gid: str) -> list[Any]:
    return [line for line in figure.axes[0].lines if line.get_gid() == gid]


def points(figure: Figure, kind: str) -> Any:
    return [(float(x), float(y)) for line in lines(figure, f"cells-{kind}") for x, y in line.get_xydata()]


def words(figure: Figure, gid: str) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text) if text.get_gid() == gid).replace("\n", " ")


@pytest.mark.parametrize("name", CASES)
def test_pressure_is_on_a_log_axis_in_plain_kpa(figures: dict[str, Figure], name: str) -> None:
    axes = figures[name].axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "stacking pressure (kPa)"
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert ticks == ["10", "20", "50", "100", "200", "500", "1000", "2000"]


@pytest.mark.parametrize(
    ("name", "scale", "label"),
    [
        ("three", "log", "cycle life (h)"),
        ("retention", "linear", "capacity retention after 100 cycles (%)"),
        ("efficiency", "linear", "coulombic efficiency (%)"),
    ],
)
def test_outcomes_have_their_scale_and_unit(figures: dict[str, Figure], name: str, scale: str, label: str) -> None:
    axes = figures[name].axes[0]
    assert (axes.get_yscale(), axes.get_ylabel()) == (scale, label)
    assert all("10^" not in tick.get_text() for tick in axes.get_yticklabels())


def test_every_kind_of_cell_has_its_marker(figures: dict[str, Figure]) -> None:
    figure = figures["statuses"]
    assert points(figure, "measured") == [(p, pytest.approx(life)) for p, life in LIVES]
    assert points(figure, "running") == [(150, pytest.approx(60))]
    assert points(figure, "stopped") == [(90, pytest.approx(45))]
    assert points(figure, "invalid") == [(500, pytest.approx(3))]
    assert points(figure, "planned")[0][0] == 700
    running, stopped = lines(figure, "cells-running")[0], lines(figure, "cells-stopped")[0]
    assert running.get_marker() is ARROW
    assert stopped.get_marker() is ARROW
    assert running.get_markerfacecolor() == "white" != stopped.get_markerfacecolor()
    assert lines(figure, "cells-invalid")[0].get_marker() == "x"
    assert words(figure, "notes") == "1 cell without cycle life not drawn"


def test_arrow_points_up_from_the_value() -> None:
    heights = np.array(ARROW.vertices)[:, 1]
    assert heights.max() == 5
    assert heights.min() == pytest.approx(-1)


def test_another_current_density_is_lighter_and_another_electrolyte_left_out() -> None:
    other = cell(90, ZN_TI.model_copy(update={"electrolyte": "3 M Zn(CF3SO3)2"}), pressure_kpa=70, cycle_life_h=500)
    fast = cell(91, pressure_kpa=80, cycle_life_h=30, current_density=5)
    figure = draw(state((*lives(), other, fast), advice()), advice())
    assert len(points(figure, "measured")) == 3
    assert points(figure, "measured-other") == [(80, pytest.approx(30))]
    assert lines(figure, "cells-measured-other")[0].get_alpha() < 1
    assert words(figure, "notes") == "* at another current density"


def test_all_forty_cells_are_drawn(figures: dict[str, Figure]) -> None:
    kinds = [f"{kind}{other}" for kind in ("measured", "running", "stopped") for other in ("", "-other")]
    assert sum(len(points(figures["many"], kind)) for kind in kinds) == 40


@pytest.mark.parametrize("name", CASES)
def test_limits_hold_cells_and_median_but_not_the_prior(figures: dict[str, Figure], name: str) -> None:
    axes = figures[name].axes[0]
    drawn = [
        line for line in axes.lines if str(line.get_gid()).startswith("cells-") and line.get_gid() != "cells-planned"
    ]
    low, high = axes.get_ylim()
    values = np.concatenate([line.get_ydata() for line in [*drawn, *lines(figures[name], "median")]])
    assert low <= values.min()
    assert values.max() <= high
    if axes.get_yscale() == "log":
        assert math.log10(values.min() / low) < 1.5
        assert math.log10(high / values.max()) < 1.5
    else:
        assert low >= 0
        assert high <= 102


def test_efficiency_is_zoomed_to_the_cells(figures: dict[str, Figure]) -> None:
    assert figures["efficiency"].axes[0].get_ylim()[0] > 90


def test_retentions_are_shown_at_the_stated_cycle(figures: dict[str, Figure]) -> None:
    at_100 = [(20, 43.5), (300, 100 * math.sqrt(0.6)), (1000, 71.3)]
    assert points(figures["retention"], "measured") == [(p, pytest.approx(r)) for p, r in at_100]
    assert words(figures["retention"], "notes") == "1 cell without capacity retention after 100 cycles not drawn"


def test_window_spans_its_pressures(figures: dict[str, Figure]) -> None:
    (window,) = (patch for patch in figures["three"].axes[0].patches if patch.get_gid() == "window")
    box = window.get_path().get_extents(window.get_patch_transform())
    assert (box.x0, box.x1) == (pytest.approx(170), pytest.approx(290))
    assert "best: 220 kPa" in words(figures["three"], "label")


def test_without_a_window_nothing_is_shaded_or_named(figures: dict[str, Figure]) -> None:
    assert not [patch for patch in figures["no-window"].axes[0].patches if patch.get_gid() == "window"]
    assert words(figures["no-window"], "label") == "next: 99 kPa"
    assert words(figures["no-window"], "caution") == ""


def test_next_pressure_has_a_line_and_a_marker_on_the_curve(figures: dict[str, Figure]) -> None:
    (line,), (marker,) = lines(figures["three"], "next-line"), lines(figures["three"], "next")
    median = np.interp(99, GRID, advice().curve.median)
    assert set(line.get_xdata()) == {99}
    assert (marker.get_xdata()[0], marker.get_ydata()[0]) == (99, pytest.approx(median))
    assert "next: 99 kPa" in words(figures["three"], "label")


def test_several_next_pressures_have_labels_that_do_not_meet(figures: dict[str, Figure]) -> None:
    texts = [text for text in figures["several"].axes[0].texts if isinstance(text, Annotation)]
    assert [t.get_text() for t in texts] == ["99 kPa", "110 kPa", "210 kPa (2 cells)", "best: 220 kPa", "630 kPa"]
    figures["several"].draw_without_rendering()
    boxes = [super(Annotation, text).get_window_extent() for text in texts]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize("name", CASES)
def test_nothing_leaves_the_figure_or_meets_the_axes(figures: dict[str, Figure], name: str) -> None:
    figure, axes = figures[name], figures[name].axes[0]
    figure.draw_without_rendering()
    top = axes.get_window_extent().y1
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= 0
        assert box.y1 <= figure.bbox.y1
        assert text.get_gid() == "notes" or not text.get_text() or box.y0 > top
    found = axes.get_legend()
    assert found is not None
    legend = found.get_window_extent()
    assert legend.x0 >= axes.get_window_extent().x1
    assert legend.x1 <= figure.bbox.x1
    assert legend.y0 >= 0


def test_title_and_subtitle_say_condition_outcome_and_interval(figures: dict[str, Figure]) -> None:
    assert words(figures["three"], "title") == "Zn||Ti in 1 M ZnSO4 at 1 mA/cm²: cycle life"
    assert words(figures["three"], "best").startswith("Best pressure 220 kPa (90 %: 110 to 530 kPa); median there ")
    assert words(figures["three"], "caution") == "Caution: 4 cells without replicates cannot fix an optimum."


def test_names_are_never_mathtext(figures: dict[str, Figure], tmp_path: Path) -> None:
    assert "$x$ in 2 M Zn(OTf)₂ + 0.1 M $add_it^2 <&>" in words(figures["money"], "title")
    assert "…" in words(figures["money"], "title")
    svg = write_figures(CASES["money"], tmp_path)[1].read_text(encoding="utf-8")
    assert "$x$ in 2 M Zn(OTf)₂" in svg
    assert "&lt;&amp;&gt;" in svg


def test_newer_cells_are_said() -> None:
    figure = draw(state(lives(), advice(), data_revision=3), advice())
    assert words(figure, "notes") == "cells changed after the curve was computed"


def test_files_of_two_conditions(tmp_path: Path) -> None:
    both = state((*lives(), *cells(FADE, VO2)), advice(), advice(condition=VO2, **RETENTION), name="two")
    paths = write_figures(both, tmp_path / "new")
    assert [path.name for path in paths] == ["two.png", "two.svg", "two-2.png", "two-2.svg"]
    assert sorted(tmp_path.glob("new/*")) == sorted(paths)
    assert not list(tmp_path.glob("new/.*"))
    png = paths[0].read_bytes()
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20]) == round(7.2 * DPI)
    assert DPI >= 150


def test_no_suggestion_no_files(tmp_path: Path) -> None:
    assert write_figures(state(lives()), tmp_path) == []


def test_svg_is_the_same_for_the_same_input_and_keeps_text(tmp_path: Path) -> None:
    first, second = (write_figures(CASES["statuses"], tmp_path / name)[1].read_bytes() for name in "ab")
    assert first == second
    assert b">stacking pressure (kPa)</text>" in first
    assert b"<dc:date>" not in first


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write_figures(CASES["three"], tmp_path)[0].read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        write_figures(CASES["several"], tmp_path)
    assert (tmp_path / "ti.png").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 2


def test_settings_of_the_caller_stay_and_do_not_matter(tmp_path: Path) -> None:
    import matplotlib

    plain = write_figures(CASES["three"], tmp_path / "a")[1].read_bytes()
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black"}):
        assert write_figures(CASES["three"], tmp_path / "b")[1].read_bytes() == plain
        assert matplotlib.rcParams["font.size"] == 20


def test_drawing_imports_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.test_figure import CASES, write_figures;"
        f"write_figures(CASES['three'], Path({str(tmp_path)!r}));"
        "print([m for m in ('torch', 'mlflow', 'pandas', 'matplotlib.pyplot') if m in sys.modules])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=False)
    assert done.stdout.strip() == "[]", done.stderr
