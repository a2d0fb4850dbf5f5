"""Requests and answers of the API. Pressures in kPa, lives in h or cycles, efficiencies and retentions as fractions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, WithJsonSchema, model_validator

from campaigns.edits import Merge
from campaigns.history import Line
from campaigns.instruments.cycles import Kind, Plating
from campaigns.state import CampaignState
from campaigns.state import Suggestion as Answer
from campaigns.tables import NUMERIC
from optimizer.advice import Advice, Best, Curve
from optimizer.goal import STOP_GAIN, Goal
from optimizer.rig import MOST_CELLS, Rig
from surrogates.cells import COLUMNS, Cell, Condition, EndReason
from surrogates.outcomes import OutcomeName

LARGEST = 1e300
MOST_ROWS = 1000

Value = str | float | int | bool | None
"""What a column of a cell may hold."""
Seed = Annotated[int, Field(ge=0, le=2**31 - 1, description="The same seed gives the same answer.")]
Number = Annotated[float, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Text = Annotated[str, Field(max_length=1000)]
CellId = Annotated[str, Field(min_length=1, max_length=100)]

CONDITION: dict[str, Any] = {
    "electrode_pair": "Zn||Ti",
    "electrolyte": "1 M ZnSO4",
    "current_density": 1.0,
    "current_density_unit": "mA/cm2",
}
CELL: dict[str, Any] = {
    "cell_id": "zn-ti-001",
    "pressure_kpa": 300,
    "status": "ended",
    "cycle_life_h": 96.5,
    "end_reason": "short",
}


def _row_schema() -> dict[str, Any]:
    """Columns of the table of cells, each of which may be absent or null; others are kept as they came."""
    columns = Cell.model_json_schema()["properties"]
    nullable = {name: rule if "anyOf" in rule else _or_null(rule) for name, rule in columns.items()}
    return {"type": "object", "properties": nullable, "additionalProperties": {"anyOf": _SCALARS}}


def _or_null(rule: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [rule, {"type": "null"}], "title": rule.get("title", "")}


def _check_row(row: dict[str, Value]) -> dict[str, Value]:
    """JSON tells numbers from text, so a number in quotes, or true for 1, is a mistake."""
    for column, value in row.items():
        if value is None or column not in COLUMNS:
            continue
        if column in NUMERIC and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"a number in {column}")
        if column not in NUMERIC and not isinstance(value, str):
            raise ValueError(f"text in {column}")
    return row


_SCALARS = [{"type": kind} for kind in ("string", "number", "boolean", "null")]
Row = Annotated[dict[str, Value], AfterValidator(_check_row), WithJsonSchema(_row_schema())]
_CHANGES = {name: rule for name, rule in _row_schema()["properties"].items() if name != "cell_id"}
_CORRECTED = {"type": "object", "properties": _CHANGES, "additionalProperties": False, "minProperties": 1}
NAMED = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Body(BaseModel):
    """A request: nothing unknown in it, no control characters, no number that is none."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _can_be_kept(cls, given: Any) -> Any:
        for value in _leaves(given):
            check_kept(value)
        return given


def _leaves(given: Any) -> Iterator[Any]:
    """Every key and value of a document, however deep."""
    waiting = [given]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        else:
            yield value


def check_kept(value: Any) -> None:
    """Raise `ValueError` where a text or number cannot be stored and shown everywhere."""
    if isinstance(value, str) and any((ord(c) < 32 and c not in "\t\n\r") or 0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise ValueError("text without control characters and halves of characters")
    if isinstance(value, int | float) and not (math.isfinite(value) if isinstance(value, float) else True):
        raise ValueError("a finite number")
    if isinstance(value, int | float) and abs(value) > LARGEST:
        raise ValueError(f"a number up to {LARGEST:g}")


class NewCampaign(Body):
    """A campaign to open: fields as in `Campaign.create`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "zn-ti", "condition": CONDITION, "pressure_kpa": [10, 1000], "step_kpa": 5}]
        }
    )

    name: Annotated[str, Field(pattern=NAMED, description="Letters, digits, dots, dashes and underscores.")]
    condition: Condition | Annotated[list[Condition], Field(min_length=1, max_length=20)]
    pressure_kpa: tuple[Number, Number] = (10.0, 2000.0)
    objective: OutcomeName | Annotated[list[OutcomeName], Field(min_length=1, max_length=3)] = "cycle_life_h"
    subject_to: Annotated[list[Text], Field(max_length=10)] = []
    per: Literal["cell", "channel-day"] = "cell"
    stop_gain: Number = STOP_GAIN
    step_kpa: Number | None = None
    allowed_kpa: Annotated[list[Number], Field(max_length=1000)] | None = None
    tolerance_kpa: Number = 0.0
    tolerance_percent: Number = 0.0
    one_pressure: StrictBool = False
    channels: Whole | None = None
    max_test_h: Number | None = None
    prior: Annotated[str, Field(max_length=64, description="The name of a prior; see `stackpress prior list`.")] = (
        "default"
    )
    programme: Annotated[str, Field(pattern=NAMED)] = "default"
    history: str | Annotated[list[str], Field(max_length=100)] = "programme"
    citation: Text | None = None


class NewCells(Body):
    """Cells to add, all or none. What a campaign of one condition holds fixed need not be repeated."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"cells": [CELL], "source": "glovebox notebook 7"}]})

    cells: Annotated[list[Row], Field(min_length=1, max_length=MOST_ROWS)]
    source: Text = "HTTP"
    correct: Annotated[StrictBool, Field(description="Correct cells that are there already and differ.")] = False


class Changes(Body):
    """What became known of a cell: columns of the table; null clears one."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "properties": _CHANGES,
            "additionalProperties": False,
            "examples": [{"status": "ended", "cycle_life_h": 96.5, "end_reason": "short"}],
        },
    )
    __pydantic_extra__: dict[str, Value]

    @model_validator(mode="after")
    def _is_a_row(self) -> Changes:
        _check_row(self.__pydantic_extra__)
        return self


class Correction(Body):
    """What had been said wrongly of a cell, and why it is corrected."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"changes": {"pressure_kpa": 310}, "reason": "sensor drift"}]}
    )

    changes: Annotated[dict[str, Value], Field(min_length=1), AfterValidator(_check_row), WithJsonSchema(_CORRECTED)]
    reason: Text | None = None


class Reason(Body):
    """Why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "entered twice"}]})

    reason: Annotated[Text, Field(min_length=1)]


class Closing(Body):
    """Why a campaign is finished, where there is something to say."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "window narrow enough"}]})

    reason: Text | None = None
    seed: Annotated[Seed, Field(strict=True)] = 0


class Undoing(Body):
    """Which event no longer holds; without it the last one about cells."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"revision": 7}, {}]})

    revision: Annotated[Whole, Field(ge=1, le=2**31 - 1)] | None = None


class Question(Body):
    """How many cells to suggest for each condition; without `n` as many as channels are free, one at least."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"n": 1, "seed": 0}]})

    n: Annotated[Whole, Field(ge=1, le=MOST_CELLS)] | None = None
    seed: Annotated[Seed, Field(strict=True)] = 0


class AdviceWithIds(Advice):
    """The answer about one condition, and the ids offered for the cells it proposes."""

    cell_ids: tuple[str, ...]
    curve: Curve | None = None  # type: ignore[assignment]


class Suggestion(BaseModel):
    """An answer: what it was computed from, and what it says about each condition."""

    campaign: str
    revision: int
    time: str
    actor: str
    data_revision: int
    is_current: bool
    seed: int
    data_hash: str
    prior_hash: str
    versions: dict[str, str]
    informed_by: dict[str, int] | None
    answers: list[AdviceWithIds]

    @classmethod
    def of(cls, state: CampaignState, answer: Answer, curve: bool = False) -> Suggestion:
        """The document of an answer; with its curve where asked for."""
        return cls(
            campaign=state.name,
            revision=answer.revision,
            time=answer.time,
            actor=answer.actor,
            data_revision=answer.data_revision,
            is_current=answer.data_revision >= state.data_revision,
            seed=answer.seed,
            data_hash=answer.data_hash,
            prior_hash=answer.prior_hash,
            versions=answer.versions,
            informed_by=dict(answer.informed_by) if answer.informed_by is not None else None,
            answers=[
                AdviceWithIds.model_construct(
                    **{**dict(advice), "curve": advice.curve if curve else None}, cell_ids=ids
                )
                for advice, ids in zip(answer.advice, answer.cell_ids, strict=True)
            ],
        )


class Closed(BaseModel):
    """Who finished a campaign, when and why."""

    revision: int
    time: str
    actor: str
    reason: str | None


class CampaignSummary(BaseModel):
    """A campaign in a list."""

    name: str
    programme: str
    revision: int
    objective: str
    conditions: list[Condition]
    cells: int
    is_closed: bool
    opened: str
    changed: str
    suggestion_is_current: bool
    next_kpa: list[float]

    @classmethod
    def of(cls, state: CampaignState) -> CampaignSummary:
        """The summary of a state; `next_kpa`: the first pressure of the last answer for each condition."""
        return cls(
            name=state.name,
            programme=state.programme,
            revision=state.revision,
            objective=state.objective,
            conditions=list(state.conditions),
            cells=len(state.cells),
            is_closed=state.closed is not None,
            opened=state.opened,
            changed=state.changed,
            suggestion_is_current=state.is_current,
            next_kpa=[advice.proposals[0].pressure_kpa for advice in state.latest.advice] if state.latest else [],
        )


class CampaignDocument(BaseModel):
    """A campaign as it stands: what is sought, its cells, and the last answer without its curve."""

    name: str
    programme: str
    revision: int
    data_revision: int
    objective: str
    goal: Goal
    conditions: list[Condition]
    rig: Rig
    prior: str
    history: str | list[str]
    citation: str | None
    opened: str
    opened_by: str
    changed: str
    closed: Closed | None
    free_channels: int
    cells: list[Cell]
    withdrawn: list[str]
    suggestion_is_current: bool
    suggestion: Suggestion | None

    @classmethod
    def of(cls, state: CampaignState) -> CampaignDocument:
        """The document of a state."""
        closed = state.closed
        return cls.model_construct(
            name=state.name,
            programme=state.programme,
            revision=state.revision,
            data_revision=state.data_revision,
            objective=state.objective,
            goal=state.goal,
            conditions=list(state.conditions),
            rig=state.rig,
            prior=state.prior.name,
            history=state.history if isinstance(state.history, str) else list(state.history),
            citation=state.citation,
            opened=state.opened,
            opened_by=state.actor,
            changed=state.changed,
            closed=closed
            and Closed(revision=closed.revision, time=closed.time, actor=closed.actor, reason=closed.payload["reason"]),
            free_channels=state.free_channels,
            cells=list(state.cells),
            withdrawn=list(state.withdrawn),
            suggestion_is_current=state.is_current,
            suggestion=state.latest and Suggestion.of(state, state.latest),
        )


class Page(BaseModel):
    """A part of a longer list; `next` is the address of the part after it, null at the end."""

    total: int
    limit: int
    offset: int
    next: str | None


class CampaignPage(Page):
    """Campaigns, oldest first."""

    campaigns: list[CampaignSummary]


class CellPage(Page):
    """Cells, in the order in which they were built."""

    revision: int
    cells: list[Cell]


class HistoryPage(Page):
    """Events, oldest first."""

    events: list[Line]


class Merged(BaseModel):
    """What became of each row of a table."""

    campaign: str
    revision: int
    added: list[str]
    corrected: list[str]
    unchanged: list[str]
    withdrawn: list[str]
    notes: list[str] = []

    @classmethod
    def of(cls, state: CampaignState, merge: Merge, notes: Sequence[str] = ()) -> Merged:
        """What a table has become in a campaign, as it stands since."""
        told = {what: list(ids) for what, ids in vars(merge).items() if what in cls.model_fields}
        return cls(campaign=state.name, revision=state.revision, notes=list(notes), **told)


class TablePreview(BaseModel):
    """What a table of cells holds; nothing is stored."""

    cells: list[Cell]
    notes: list[str]


class TableUpload(Body):
    """A table of cells: .csv, .tsv, .txt, .xlsx or .parquet; the file's name tells which."""

    file: UploadFile
    correct: bool = False


class ExportWords(Body):
    """What only the owner of a cycler's export knows; as `stackpress add --kind ...`."""

    cell_id: CellId
    pressure_kpa: Annotated[float, Field(gt=0, le=1e6, description="Initial stacking pressure, kPa.")] | None = None
    kind: Annotated[Kind, Field(description="What the cell is. Never guessed.")] | None = None
    plating: Plating = "first"
    formation: Annotated[int, Field(ge=0, le=10**6)] = 0
    reference_cycle: Annotated[int, Field(ge=1, le=10**6)] = 1
    retention_cycles: Annotated[int, Field(ge=1, le=10**6)] | None = None
    end_of_life: Annotated[float, Field(gt=0, lt=1)] | None = None
    reservoir: bool = False
    active_mass_mg: Annotated[float, Field(gt=0, le=1e9)] | None = None
    electrode_mm: Annotated[float, Field(gt=0, le=1e6)] | None = None
    channel: Annotated[str, Field(max_length=200)] | None = None
    status: Literal["running", "ended", "stopped", "invalid"] | None = None
    end_reason: EndReason | None = None


class ExportUpload(ExportWords):
    """A cycler's export, and what only its owner knows."""

    file: UploadFile


class ExportPreview(BaseModel):
    """What was detected in a cycler's export; nothing is stored. `row`: the columns of the cell, once `kind` is said."""

    file: str
    format: str
    records: int
    duration_h: float
    voltage_v: list[float | None]
    half_cycles: int
    columns: list[str]
    row: dict[str, Value] | None
    evidence: list[str]
    notes: list[str]


class Imported(BaseModel):
    """What became of a cell whose test was read: added, updated or unchanged."""

    cell_id: str
    what: Literal["added", "updated", "unchanged"]
    cell: Cell
    notes: list[str]


class ComparisonDocument(BaseModel):
    """Campaigns side by side, from their last answers, as `stackpress compare --json`; and in sentences."""

    same_work: bool
    campaigns: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    sentences: list[str]


class ConditionSurrogate(BaseModel):
    """The fitted outcome of one condition over pressure (90 % of the median curve, and of one new cell), and the best
    pressure the rig can be set to."""

    condition: Condition
    outcome: str
    pressure_kpa: list[float]
    median: list[float]
    lower: list[float]
    upper: list[float]
    cell_lower: list[float]
    cell_upper: list[float]
    best: Best


class SurrogateDocument(BaseModel):
    """The surrogate fitted to the cells there are now."""

    campaign: str
    revision: int
    surrogates: list[ConditionSurrogate]
