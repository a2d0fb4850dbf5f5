"""The card of a campaign: what a person at the bench needs to know, as text and as HTML, from the stored answer."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterator

from campaigns.state import CampaignState
from optimizer.advice import Advice, Proposal, Tradeoff
from surrogates.outcomes import Outcome, check_outcome, reading

WIDTH = 100
LABEL = 14
NO_BREAK = "\u00a0"
UNIT = re.compile(r"(?<=\d) (?=%|kPa|h\b|cycles\b)")
WHAT_TO_DO = {"stop": "none needed now", "repeat": "a repeat", "measure": "new"}


def text_cards(state: CampaignState, width: int = WIDTH) -> str:
    """The cards of every condition, in words, lines of at most `width` characters."""
    return "\n\n".join(_text(title, lines, width) for title, lines in cards(state))


def html_cards(state: CampaignState) -> str:
    """The same for a notebook."""
    return "".join(_html(title, lines) for title, lines in cards(state))


def _text(title: str, lines: list[tuple[str, str]], width: int) -> str:
    wrapped = [
        textwrap.fill(
            UNIT.sub(NO_BREAK, text),
            width,
            initial_indent=f"  {label:<{LABEL}}",
            subsequent_indent=" " * (LABEL + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for label, text in lines
    ]
    return "\n".join([title, *wrapped]).replace(NO_BREAK, " ")


def _html(title: str, lines: list[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>" for label, text in lines)
    return f"<table><caption>{html.escape(title)}</caption>{rows}</table>"


def cards(state: CampaignState) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """For each condition a title, and what is said as pairs of a label and a text."""
    suggestion = state.latest
    if suggestion is None:
        for condition in state.conditions:
            outcome = Outcome(check_outcome(state.objective))
            lines = [("Campaign", _about(state)), ("Next", f"ask with: stackpress suggest {state.name}")]
            yield f"{condition}: {outcome.label}", lines
        return
    for advice, cell_ids in zip(suggestion.advice, suggestion.cell_ids, strict=True):
        outcome = Outcome(check_outcome(advice.outcome), advice.retention_cycles)
        yield f"{advice.condition}: {outcome.label}", list(_lines(state, advice, cell_ids, outcome))


def _lines(
    state: CampaignState, advice: Advice, cell_ids: tuple[str, ...], outcome: Outcome
) -> Iterator[tuple[str, str]]:
    yield "Campaign", _about(state)
    if not state.is_current:
        yield "Outdated", f"cells have changed since this answer: stackpress suggest {state.name}"
    for proposal, cell_id in zip(advice.proposals, cell_ids, strict=True):
        verdict = WHAT_TO_DO.get(proposal.verdict, proposal.verdict)
        label = "Optional" if proposal.verdict == "stop" else "Next"
        yield label, f"{proposal.pressure_kpa:g} kPa, as cell {cell_id} ({verdict})"
        yield "Expected", _expected(proposal, outcome)
        yield "Why", proposal.reason
    yield "Best so far", _best(advice, outcome)
    yield "Agreement", f"{_upper(advice.agreement)}."
    if advice.modes:
        yield "Modes", f"{_upper(advice.modes)}."
    if advice.taught_by:
        yield "Taught by", f"{_upper(advice.taught_by)}."
    if advice.tradeoff:
        yield "Trade-off", _tradeoff(advice.tradeoff)
    if advice.prior_added:
        yield "Prior", f"{_upper(advice.prior_added)}."
    if advice.runner_up:
        yield "Runner-up", f"{advice.runner_up}."
    yield "Would change", f"{_upper(advice.would_change)}."
    if advice.caution:
        yield "Caution", f"{_upper(advice.caution)}."
    if advice.channels:
        yield "Channels", f"{_upper(advice.channels)}."
    yield "Cells", _cells(state, advice, outcome)


def _about(state: CampaignState) -> str:
    cited = f"; {state.citation}" if state.citation else ""
    return f"{state.name}, revision {state.revision}, prior {state.prior.name}{cited}"


def _expected(proposal: Proposal, outcome: Outcome) -> str:
    return (
        f"{outcome.text(proposal.median)} there ({_range(outcome, proposal.lower, proposal.upper)}, 90 %); "
        f"one cell may give {_range(outcome, proposal.cell_lower, proposal.cell_upper)}."
    )


def _best(advice: Advice, outcome: Outcome) -> str:
    best = advice.best
    if best.verdict == "no effect":
        return f"No pressure stands out: it does not matter here with probability {100 * best.no_effect:.0f} %."
    loss = "faster degradation" if outcome.is_loss else "loss against it"
    if best.window_kpa is None:
        window = f"; no window is claimed yet: pressure may not matter here (probability {100 * best.no_effect:.0f} %)"
    else:
        window = f"; window {_kpa(*best.window_kpa)} (under 5 % {loss})"
    return (
        f"{_digits(best.pressure_kpa)} kPa, {outcome.text(best.median)} ({_range(outcome, best.lower, best.upper)}, 90 %)"
        f"{window}; 90 % interval of the best pressure {_kpa(*best.interval_kpa)}{_met(best.feasible)}."
    )


def _met(feasible: float | None) -> str:
    return "" if feasible is None else f"; it meets what is required with probability {100 * feasible:.0f} %"


def _tradeoff(tradeoff: Tradeoff) -> str:
    """What each outcome gives up at the compromise."""
    each = (
        f"{Outcome(check_outcome(name)).noun} is best at {_digits(own)} kPa and loses {100 * loss:.0f} % here"
        for name, own, loss in zip(tradeoff.outcomes, tradeoff.own_best_kpa, tradeoff.loss, strict=True)
    )
    return f"{_digits(tradeoff.compromise_kpa)} kPa is the best compromise: {'; '.join(each)}."


def _kpa(low: float, high: float) -> str:
    return f"{_digits(low)} to {_digits(high)} kPa"


def _digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"


def _cells(state: CampaignState, advice: Advice, outcome: Outcome) -> str:
    parts = [f"{advice.cells_used} inform{'s' * (advice.cells_used == 1)} this answer"]
    if advice.censored:
        parts.append(f"{advice.censored} of them alive, taken as lower bounds")
    if not state.is_current:  # the cells of today are not those that it read
        return f"{'; '.join(parts)}."
    own = sum(reading(cell, outcome) is not None and _same(cell.condition, advice) for cell in state.cells)
    if advice.cells_used > own:
        parts.append(f"{advice.cells_used - own} from other campaigns")
    silent = len(state.cells) - own
    if silent:
        parts.append(f"{silent} not used: planned, invalid, without this outcome, or of another condition")
    return f"{'; '.join(parts)}."


def _same(condition: object, advice: Advice) -> bool:
    names = ("electrode_pair", "electrolyte", "current_density_unit")
    return all(getattr(condition, name) == getattr(advice.condition, name) for name in names)


def _range(outcome: Outcome, low: float, high: float) -> str:
    return f"{outcome.text(low, unit=False)} to {outcome.text(high)}"


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def text_cells(state: CampaignState) -> str:
    """The table of cells, one line a cell: id, pressure, status, and the outcome where it has one."""
    outcome = Outcome(check_outcome(state.objective))
    rows: list[tuple[str, ...]] = [("cell", "kPa", "status", outcome.name)]
    for cell in sorted(state.cells, key=lambda cell: cell.pressure_kpa):
        value = getattr(cell, state.objective)
        shown = "" if value is None else outcome.text(value)
        alive = outcome.is_life and cell.status in ("running", "stopped") and shown
        reason = f" ({cell.end_reason})" if cell.end_reason else ""
        rows.append(
            (cell.cell_id, f"{cell.pressure_kpa:g}", f"{cell.status}{reason}", f"> {shown}" if alive else shown)
        )
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:>{widths[3]}}".rstrip()
        for row in rows
    ]
    return "\n".join([*lines, ""])
