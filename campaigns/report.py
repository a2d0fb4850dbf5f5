"""The report of a campaign: one HTML file that needs nothing beside it, and that can be mailed, read and printed.

What it says comes from the ledger alone, so the same events give the same page. The page has no script and loads
nothing; whatever a user has typed is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.card import cards
from campaigns.events import Event
from campaigns.export import fingerprint, put
from campaigns.history import lines_of
from campaigns.state import CampaignState, Suggestion, fold
from campaigns.templating import templates
from optimizer.advice import Advice, Proposal
from surrogates.cells import COLUMNS, Cell
from surrogates.outcomes import Outcome, check_outcome

RANKED, REMEMBERED = 5, 12  # candidates of a decision, and finished campaigns of a prior, that are named
ALWAYS = ("cell_id", "pressure_kpa", "status")
UNITS = {
    "_kpa": "kPa",
    "_h": "h",
    "_mv": "mV",
    "_um": "µm",
    "_c": "°C",
    "_mah_cm2": "mAh/cm²",
    "_mah_g": "mAh/g",
}


@dataclass(frozen=True)
class Drawing:
    """A figure as the page shows it: the SVG, and what stands under it."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Choice:
    """One cell that was proposed: what for, and what came of it."""

    cell_id: str
    pressure: str
    verdict: str
    expected: str
    gain: str
    reason: str
    became: str


@dataclass(frozen=True)
class Decision:
    """What one answer said about one condition."""

    revision: int
    time: str
    actor: str
    condition: str
    choices: tuple[Choice, ...]
    best: str
    ranked: str
    told: tuple[tuple[str, str], ...]


def write_report(
    events: Sequence[Event],
    path: Path,
    versions: Mapping[str, str],
    done: Callable[[], None] = lambda: None,
) -> None:
    """Write the report of a campaign's events, whole or not at all; `done` is called after each figure."""
    put(path, page(events, versions, done).encode())


def page(events: Sequence[Event], versions: Mapping[str, str], done: Callable[[], None] = lambda: None) -> str:
    """The report as HTML; `versions`: of the programs that write it."""
    from surrogates.prior_table import GRADES, rows

    state = fold(events)
    same, columns = _columns(state.cells)
    return (
        templates("campaigns")
        .get_template("report.html.j2")
        .render(
            state=state,
            question=_question(state),
            cards=list(cards(state)),
            drawings=list(_drawings(state, events, done)),
            same=same,
            columns=[_heading(column) for column in columns],
            cells=[[_value(cell, column) for column in columns] for cell in _ordered(state.cells)],
            decisions=list(_decisions(state)),
            lines=lines_of(events),
            prior=state.prior,
            parameters=rows(state.prior),
            grades=GRADES,
            remembered=state.prior.remembered[:REMEMBERED],
            answers=state.suggestions,
            versions=dict(versions),
            fingerprint=fingerprint(events),
            minute=_minute,
        )
    )


def figures_of(events: Sequence[Event]) -> int:
    """How many figures the report has, at most."""
    latest = fold(events).latest
    return 1 + (len(latest.advice) if latest else 0)


def _question(state: CampaignState) -> str:
    low, high = state.rig.pressure_kpa
    wanted = Outcome(check_outcome(state.objective)).label.split(" (")[0].split(" after ")[0]
    where = "; ".join(str(condition) for condition in state.conditions)
    return f"Which stacking pressure from {low:g} to {high:g} kPa gives the best {wanted}? Cells: {where}."


def _drawings(state: CampaignState, events: Sequence[Event], done: Callable[[], None]) -> Iterator[Drawing]:
    from campaigns import course_figure
    from campaigns.figure import draw
    from campaigns.inline_svg import inline_svg

    for number, advice in enumerate(state.latest.advice if state.latest else (), start=1):
        title = f"{advice.condition}: {_outcome(advice).label} over stacking pressure"
        seen = f"The cells, the fitted curve with its 90 % band, and the next pressure. {_best(advice)}"
        yield Drawing(inline_svg(draw(state, advice), f"answer{number}-", title, seen), f"{title}. {seen}")
        done()
    course = course_figure.draw(events)
    if course is not None:
        seen = (
            "The best pressure with its 90 % interval after each answer; the share of the outcome that its choice was "
            "then expected to lose; and when each cell ran, by the times in the ledger."
        )
        yield Drawing(inline_svg(course, "course-", f"The course of {state.name}", seen), seen)
    done()


def _columns(cells: Sequence[Cell]) -> tuple[list[tuple[str, str]], list[str]]:
    """What all cells have in common, as heading and value, and the columns in which they differ."""
    rows = [cell.row() for cell in cells]
    filled = dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])
    columns = [name for name in filled if any(name in row for row in rows)]
    common = [name for name in columns if name not in ALWAYS and len({str(row.get(name)) for row in rows}) == 1]
    common = common if len(rows) > 1 else []
    return [(_heading(name), _value(cells[0], name)) for name in common], [c for c in columns if c not in common]


def _ordered(cells: Sequence[Cell]) -> list[Cell]:
    return sorted(cells, key=lambda cell: (cell.electrode_pair, cell.electrolyte, cell.pressure_kpa))


def _heading(column: str) -> str:
    """A column for people: `pressure (kPa)`."""
    if column not in COLUMNS:
        return column
    for ending, unit in sorted(UNITS.items(), key=lambda item: -len(item[0])):
        if column.endswith(ending):
            return f"{column.removesuffix(ending).replace('_', ' ')} ({unit})"
    return column.replace("_", " ")


def _value(cell: Cell, column: str) -> str:
    value = cell.row().get(column)
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _decisions(state: CampaignState) -> Iterator[Decision]:
    for suggestion in state.suggestions:
        for advice, cell_ids in zip(suggestion.advice, suggestion.cell_ids, strict=True):
            yield _decision(state, suggestion, advice, cell_ids)


def _decision(state: CampaignState, suggestion: Suggestion, advice: Advice, cell_ids: tuple[str, ...]) -> Decision:
    outcome = _outcome(advice)
    ranked = [f"{item.pressure_kpa:g} kPa ({100 * item.gain:.2g} %)" for item in advice.candidates[:RANKED]]
    told = {"agreement": advice.agreement, "what would change it": advice.would_change, "caution": advice.caution or ""}
    return Decision(
        revision=suggestion.revision,
        time=suggestion.time,
        actor=suggestion.actor,
        condition=str(advice.condition),
        choices=tuple(
            _choice(state, outcome, proposal, cell_id)
            for proposal, cell_id in zip(advice.proposals, cell_ids, strict=True)
        ),
        best=_best(advice),
        ranked=", ".join(ranked),
        told=tuple((label, text) for label, text in told.items() if text),
    )


def _choice(state: CampaignState, outcome: Outcome, proposal: Proposal, cell_id: str) -> Choice:
    span = f"{outcome.text(proposal.cell_lower, unit=False)} to {outcome.text(proposal.cell_upper)}"
    return Choice(
        cell_id=cell_id,
        pressure=f"{proposal.pressure_kpa:g} kPa",
        verdict=proposal.verdict,
        expected=f"{outcome.text(proposal.median)}; one cell {span}",
        gain=f"{100 * proposal.gain:.2g} %",
        reason=proposal.reason,
        became=_became(state, outcome, proposal, cell_id),
    )


def _became(state: CampaignState, outcome: Outcome, proposal: Proposal, cell_id: str) -> str:
    """What came of a proposed cell, as the table of cells says now."""
    cell = state.cell(cell_id)
    if cell is None:
        return "withdrawn" if cell_id in state.withdrawn else "not built under this name"
    value = getattr(cell, state.objective)
    above = "above " if outcome.is_life and cell.status in ("running", "stopped") else ""
    result = f", {above}{outcome.text(value)}" if value else ""
    moved = f" at {cell.pressure_kpa:g} kPa" if abs(cell.pressure_kpa / proposal.pressure_kpa - 1) > 0.005 else ""
    reason = f" ({cell.end_reason.replace('_', ' ')})" if cell.end_reason else ""
    return f"{cell.status}{reason}{moved}{result}"


def _best(advice: Advice) -> str:
    best, outcome = advice.best, _outcome(advice)
    if best.verdict == "no effect":
        return f"No pressure stands out ({100 * best.no_effect:.0f} % that it does not matter)."
    low, high = (float(f"{end:.3g}") for end in best.interval_kpa)
    return (
        f"Best pressure {best.pressure_kpa:g} kPa (90 %: {low:g} to {high:g} kPa); there {outcome.text(best.median)} "
        f"(90 %: {outcome.text(best.lower, unit=False)} to {outcome.text(best.upper)})."
    )


def _outcome(advice: Advice) -> Outcome:
    return Outcome(check_outcome(advice.outcome), advice.retention_cycles)


def _minute(time: str) -> str:
    """2026-03-02 09:00 of an ISO 8601 time."""
    return time[:16].replace("T", " ")
