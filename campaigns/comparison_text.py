"""Campaigns side by side, in words: a table for the terminal, a document for machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from campaigns.comparison import NAMED, Comparison, Entry, Pairing

if TYPE_CHECKING:
    from rich.table import Table

NOTHING = "-"


def table(comparison: Comparison) -> Table:
    """One column a campaign, one row a question."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, show_header=True, padding=(0, 2, 0, 0))
    for head in ("", *(entry.label for entry in comparison.entries)):
        made.add_column(Text(head), overflow="fold")
    columns = [dict(said(entry)) for entry in comparison.entries]
    for row in columns[0]:
        made.add_row(Text(row), *(Text(column[row]) for column in columns))
    return made


def said(entry: Entry) -> Iterator[tuple[str, str]]:
    """Every row of the table for one entry, the same rows for each."""
    at, advice, outcome = entry.condition, entry.advice, entry.outcome
    counts = ", ".join(f"{count} {status}" for status, count in sorted(entry.cells.items()))
    silent = f", and {entry.silent} cell{'s' * (entry.silent > 1)} without hours" if entry.silent else ""
    yield "Pair", at.electrode_pair
    yield "Electrolyte", at.electrolyte
    yield "Current density", f"{at.current_density:g} {at.current_density_unit}"
    yield "Outcome", outcome.label
    yield "Cells built", f"{entry.built} ({counts})" if counts else "none"
    yield "Channel-hours", f"{entry.hours:.4g}{silent}"
    yield "Prior", f"{entry.prior} ({entry.prior_hash[:8]})"
    if advice is None:
        rest = ("Best pressure", "Window", "Outcome there", "Expected regret", "Gain per cell", "Next", "On the prior")
        yield from ((row, NOTHING) for row in rest)
        yield "Answer", f"none yet: stackpress suggest {entry.campaign}"
        return
    best = advice.best
    window = "none can be claimed" if best.window_kpa is None else _kpa(best.window_kpa)
    flat = f"none stands out ({100 * best.no_effect:.0f} % that it does not matter)"
    yield (
        "Best pressure",
        flat if best.verdict == "no effect" else f"{best.pressure_kpa:g} kPa ({_kpa(best.interval_kpa)})",
    )
    yield "Window", window
    yield (
        "Outcome there",
        f"{outcome.text(best.median)} ({outcome.text(best.lower, unit=False)} to {outcome.text(best.upper)})",
    )
    yield "Expected regret", f"{100 * best.expected_loss:.2g} %"
    yield "Gain per cell", NOTHING if entry.gain_per_cell is None else f"{100 * entry.gain_per_cell:.2g} %"
    proposal = advice.proposals[0]
    yield "Next", f"{proposal.pressure_kpa:g} kPa: {proposal.verdict}, gains {100 * proposal.gain:.2g} %"
    yield "On the prior", advice.agreement
    changed = f"outdated, cells of {', '.join(entry.moved)} changed since: stackpress suggest {entry.campaign}"
    yield "Answer", changed if entry.moved else "up to date"


def _kpa(interval: Sequence[float]) -> str:
    return "{:g} to {:g} kPa".format(*(float(f"{end:.3g}") for end in interval))


def sentences(comparison: Comparison) -> Iterator[str]:
    """What is said beside the table: whether it is the same work, and every two campaigns against each other."""
    same = "yes, the same question of the same kind of cell" if comparison.same_work else "no, see what differs"
    yield f"Same work: {same}."
    for pairing in comparison.pairings:
        names = " and ".join(comparison.entries[place].label for place in pairing.of)
        yield f"{names}: {'; '.join(_of_pairing(pairing))}."
    yield (
        "Ranges are 90 % intervals. Gain per cell: what the best pressure gives over one picked blindly from the rig's "
        "range, for each cell that informs the answer. Expected regret: what the choice of the best is expected to lose."
    )


def _of_pairing(pairing: Pairing) -> Iterator[str]:
    if pairing.best_agreement is None:
        yield "best pressures not compared (no answer yet, or pressure has no effect)"
    elif pairing.best_agreement == 0:
        yield "the best pressures differ, their intervals are apart"
    else:
        yield f"the intervals of the best pressure have {100 * pairing.best_agreement:.0f} % of the narrower in common"
    if pairing.curve_agreement is not None:
        yield f"the bands of the curves meet over {100 * pairing.curve_agreement:.0f} % of the pressures"
    elif any(text.startswith("outcome: ") for text in pairing.differences):
        yield "the curves are of different outcomes and not compared"
    if pairing.shared:
        more = ", ..." if len(pairing.shared) > NAMED else ""
        count = len(pairing.shared)
        yield f"{count} cell{'s are' if count > 1 else ' is'} in both ({', '.join(pairing.shared[:NAMED])}{more})"
    if pairing.differences:
        yield f"what differs: {', '.join(pairing.differences)}"


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison for machines: values in the outcome's unit, gains on the model scale (0.05 is about 5 %)."""
    return {
        "same_work": comparison.same_work,
        "campaigns": [_entry_document(entry) for entry in comparison.entries],
        "pairs": [
            {
                "campaigns": [comparison.entries[place].label for place in pairing.of],
                "differences": pairing.differences,
                "shared_cells": pairing.shared,
                "best_pressure_agreement": pairing.best_agreement,
                "curve_agreement": pairing.curve_agreement,
            }
            for pairing in comparison.pairings
        ],
    }


def _entry_document(entry: Entry) -> dict[str, Any]:
    advice = entry.advice
    said = None
    if advice is not None:
        first = advice.proposals[0]
        said = {
            "best": advice.best.model_dump(mode="json"),
            "next": {"pressure_kpa": first.pressure_kpa, "gain": first.gain, "verdict": first.verdict},
            "agreement": advice.agreement,
            "cells_used": advice.cells_used,
        }
    return {
        "campaign": entry.campaign,
        "condition": entry.condition.model_dump(mode="json"),
        "outcome": entry.outcome.name,
        "cells": entry.cells,
        "channel_hours": entry.hours,
        "cells_without_hours": entry.silent,
        "prior": entry.prior,
        "prior_hash": entry.prior_hash,
        "answer_is_current": not entry.moved,
        "changed_since": entry.moved,
        "gain_per_cell": entry.gain_per_cell,
        "answer": said,
    }
