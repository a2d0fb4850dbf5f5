"""What the bench page shows, from a campaign as it stands: words and numbers with their units, nothing of HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from campaigns.card import WHAT_TO_DO, cards
from campaigns.pages import phase
from campaigns.service.problems import OneProblem, parts_of
from campaigns.state import CampaignState
from surrogates.cells import Cell
from surrogates.errors import UserError
from surrogates.outcomes import Outcome, check_outcome

END_REASONS = {
    "short": "Hard short: the voltage fell to nothing",
    "soft_short": "Soft short: dendrites through the separator",
    "fade": "Faded: capacity or efficiency below the limit",
    "contact_loss": "Lost contact: resistance rose",
    "operator": "Taken off by hand while it still worked",
    "assembly_fault": "Fault of assembly (not used for the answer)",
    "cycler_fault": "Fault of the cycler (not used for the answer)",
    "other": "Something else",
}
"""What a cell can have ended by, in words for the bench."""
TOLD_APART = ("Campaign", "Outdated", "Next", "Optional", "Expected", "Why")
"""Lines of the card that the page shows in places of their own."""


@dataclass(frozen=True)
class Row:
    """A campaign in the list."""

    name: str
    about: str
    cells: str
    following: str
    phase: str


@dataclass(frozen=True)
class Next:
    """A cell to build: the pressure with its unit, and what is said of it."""

    pressure: str
    pressure_kpa: str
    cell_id: str
    verdict: str
    expected: str
    reason: str


@dataclass(frozen=True)
class Answer:
    """The last answer about one condition; `number` counts from 1, `lines` are the rest of its card."""

    number: int
    title: str
    following: tuple[Next, ...]
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CellRow:
    """A cell in the table; `outcome` is a lower bound (>) where the cell is alive."""

    cell_id: str
    pressure: str
    status: str
    outcome: str


@dataclass(frozen=True)
class Filled:
    """A form as it was sent and refused: which, what was typed, and what is wrong, by field ("": of the whole)."""

    form: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, Sequence[OneProblem]] = field(default_factory=dict)

    @classmethod
    def refused(cls, form: str, typed: Mapping[str, str], error: UserError, names: Sequence[str]) -> Filled:
        """With each problem at the field of `names` that it speaks of."""
        problems: dict[str, list[OneProblem]] = {}
        for problem in parts_of(error):
            column = problem.field.rsplit(", ", 1)[-1].removeprefix("column ")
            problems.setdefault(column if column in names else "", []).append(problem)
        return cls(form, typed, problems)

    def value(self, form: str, name: str, default: str = "") -> str:
        """What stands in a field."""
        return self.typed.get(name, "") if form == self.form else default

    def wrong(self, form: str, name: str) -> Sequence[OneProblem]:
        """What is wrong with a field."""
        return self.problems.get(name, ()) if form == self.form else ()


@dataclass(frozen=True)
class Bench:
    """Everything the page of a campaign shows. `outdated`: campaigns whose cells have changed since the answer; `waiting`:
    ids of cells that run or are planned; `life`: the column of the table in which hours or cycles are told, `life_unit`
    their unit; `retention_cycles`: at which the campaign states a retention, if it says."""

    name: str
    revision: int
    about: str
    closed: str
    answers: tuple[Answer, ...]
    outdated: tuple[str, ...]
    cells: tuple[CellRow, ...]
    outcome: str
    waiting: tuple[str, ...]
    conditions: tuple[str, ...]
    life: str
    life_unit: str
    retention_cycles: str

    @property
    def waiting_choices(self) -> list[tuple[str, str]]:
        """Cells of which something can be told, as values and words."""
        return [(cell_id, cell_id) for cell_id in self.waiting]

    @property
    def condition_choices(self) -> list[tuple[int, str]]:
        """Conditions by their place."""
        return list(enumerate(self.conditions))


def bench(state: CampaignState, moved: Sequence[str]) -> Bench:
    """A campaign as its page shows it; `moved`: as `Campaign.moved` tells."""
    outcome = Outcome(check_outcome(state.objective))
    in_cycles = outcome.name == "cycle_life_cycles"
    return Bench(
        name=state.name,
        revision=state.revision,
        about="; ".join(str(condition) for condition in state.conditions),
        closed=state.closed.time[:10] if state.closed else "",
        answers=tuple(_answers(state)),
        outdated=tuple(moved),
        cells=tuple(
            cell_row(cell, outcome) for cell in sorted(state.cells, key=lambda cell: (cell.pressure_kpa, cell.cell_id))
        ),
        outcome=outcome.label,
        waiting=_ids(state, "running", "planned"),
        conditions=tuple(str(condition) for condition in state.conditions),
        life="cycle_life_cycles" if in_cycles else "cycle_life_h",
        life_unit="cycles" if in_cycles else "h",
        retention_cycles=str(state.conditions[0].retention_cycles or ""),
    )


def row(state: CampaignState) -> Row:
    """A campaign in the list."""
    counts = Counter(cell.status for cell in state.cells)
    following = [
        f"{proposal.pressure_kpa:g} kPa"
        for advice in (state.latest.advice if state.latest else ())
        for proposal in advice.proposals[:1]
    ]
    return Row(
        name=state.name,
        about="; ".join(str(condition) for condition in state.conditions),
        cells=", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "none yet",
        following=", ".join(following) or "not asked yet",
        phase=phase(state),
    )


def _ids(state: CampaignState, *statuses: str) -> tuple[str, ...]:
    return tuple(cell.cell_id for cell in state.cells if cell.status in statuses)


def _answers(state: CampaignState) -> Iterator[Answer]:
    suggestion = state.latest
    if suggestion is None:
        return
    told = zip(suggestion.advice, suggestion.cell_ids, cards(state), strict=True)
    for number, (advice, cell_ids, (title, lines)) in enumerate(told, start=1):
        expected = [text for label, text in lines if label == "Expected"]
        following = tuple(
            Next(
                pressure=f"{proposal.pressure_kpa:g} kPa",
                pressure_kpa=f"{proposal.pressure_kpa:g}",
                cell_id=cell_id,
                verdict=WHAT_TO_DO.get(proposal.verdict, proposal.verdict),
                expected=text,
                reason=proposal.reason,
            )
            for proposal, cell_id, text in zip(advice.proposals, cell_ids, expected, strict=True)
        )
        yield Answer(number, title, following, tuple(line for line in lines if line[0] not in TOLD_APART))


def cell_row(cell: Cell, outcome: Outcome) -> CellRow:
    """A cell as the table shows it."""
    value = getattr(cell, outcome.name)
    shown = "" if value is None else outcome.text(value)
    alive = outcome.is_life and cell.status in ("running", "stopped") and shown
    reason = f" ({cell.end_reason.replace('_', ' ')})" if cell.end_reason else ""
    return CellRow(
        cell.cell_id, f"{cell.pressure_kpa:g} kPa", f"{cell.status}{reason}", f"> {shown}" if alive else shown
    )
