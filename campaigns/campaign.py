"""`Campaign`: open one, add cells, ask what to test next, record what happened. Every verb is one entry in the ledger."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from campaigns.after import afterwards
from campaigns.ledger import Ledger
from campaigns.priors import find_prior
from campaigns.state import CampaignState, Suggestion, data_hash, fold, suggestion_of
from campaigns.store import DEFAULT_STORE, check_exists, mlflow_folder
from optimizer.rig import check_rig
from surrogates.cells import COLUMNS, Cell, Condition, across_rows, check_cells, check_condition, to_frame
from surrogates.errors import Problem, TableError, UserError
from surrogates.outcomes import check_outcome
from surrogates.prior import Prior

if TYPE_CHECKING:
    import pandas as pd

    from surrogates.surrogate import Optimum, Surrogate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
VERSIONED = ("stackpress", "torch", "numpy", "scipy")


class Campaign:
    """A search for the best pressure of one or several conditions, remembered in a store.

    A store is a folder (default "mlruns") or a database URL. Get one by `create` or `open`.
    """

    def __init__(self, name: str, store: str | Path = DEFAULT_STORE) -> None:
        self.name = name
        self.store = store
        self._ledger = Ledger.open(store)

    @classmethod
    def create(
        cls,
        name: str,
        condition: Condition | Mapping[str, Any] | Sequence[Condition | Mapping[str, Any]],
        pressure_kpa: tuple[float, float] = (10.0, 2000.0),
        objective: str = "cycle_life_h",
        *,
        step_kpa: float | None = None,
        allowed_kpa: Sequence[float] | None = None,
        prior: Prior | str | None = None,
        programme: str = "default",
        history: str | Sequence[str] = "programme",
        citation: str | None = None,
        store: str | Path = DEFAULT_STORE,
    ) -> Campaign:
        """Open a new campaign.

        `condition`: one or several; each gets a suggestion. `pressure_kpa`, `step_kpa`, `allowed_kpa`: what the press
        can do. `objective`: the outcome to improve. `prior`: a `Prior`, its name (`Prior.names()`) or the path of one.
        `history`: whose cells inform the fit beside its own: those of the "programme" (the same condition as they are,
        other conditions by what they have in common), "none", or of the campaigns named. Raises `UserError` where the name is taken or anything is out of bounds.
        """
        payload = {
            "uid": uuid.uuid4().hex,
            "programme": _check_name("programme", programme),
            "objective": check_outcome(objective),
            "conditions": [item.model_dump() for item in _conditions(condition)],
            "rig": check_rig(pressure_kpa=pressure_kpa, step_kpa=step_kpa, allowed_kpa=allowed_kpa).model_dump(),
            "prior": find_prior(prior or "default").to_document(),
            "history": history if isinstance(history, str) else list(history),
            "citation": citation,
        }
        campaign = cls(_check_name("campaign", name), store)
        with campaign._ledger.writing(name) as transaction:
            if transaction.events:
                raise UserError(f"campaign {name}: expected a new name; found a campaign of this name in {store}.")
            transaction.append("campaign_opened", payload)
        campaign._project()
        return campaign

    @classmethod
    def open(cls, name: str, store: str | Path = DEFAULT_STORE) -> Campaign:
        """The campaign `name` of a store; raises `UserError` with the names there are."""
        check_exists(store)
        campaign = cls(name, store)
        if not campaign._ledger.events(name):
            known = ", ".join(campaign._ledger.campaigns()) or "no campaign yet"
            raise UserError(f"campaign {name}: expected a campaign of the store {store}; found {known}.")
        return campaign

    @property
    def state(self) -> CampaignState:
        """Everything the ledger says about this campaign now."""
        return fold(self._ledger.events(self.name))

    @property
    def cells(self) -> pd.DataFrame:
        """The table of cells."""
        return to_frame(self.state.cells)

    @property
    def history(self) -> pd.DataFrame:
        """What happened, one row an event: revision, time (UTC), actor, kind, and what in words."""
        import pandas as pd

        rows = [
            {
                "revision": e.revision,
                "time": e.time,
                "actor": e.actor,
                "kind": e.kind,
                "what": _in_words(e.kind, e.payload),
            }
            for e in self._ledger.events(self.name)
        ]
        return pd.DataFrame(rows)

    def add(
        self, cells: pd.DataFrame | Iterable[Mapping[str, Any] | Cell], source: str = "table of cells"
    ) -> tuple[str, ...]:
        """Add a table of cells, all or none; returns their ids. Raises `TableError` with every problem."""
        new = check_cells(cells, source)
        if not new:
            raise UserError(f"{source}: expected one cell or more; found none.")
        with self._ledger.writing(self.name) as transaction:
            known = fold(transaction.events).cells
            taken = {cell.cell_id for cell in known}
            problems = [
                Problem(
                    f"cell {cell.cell_id}",
                    "cell_id",
                    f"an id that campaign {self.name} does not have yet",
                    "one that it has",
                    "Record changes of a cell with record; give a new cell a new id.",
                )
                for cell in new
                if cell.cell_id in taken
            ]
            problems = problems or across_rows([*known, *new])
            if problems:
                raise TableError(source, problems)
            transaction.append("cells_added", {"source": source, "rows": [cell.row() for cell in new]})
        self._project()
        return tuple(cell.cell_id for cell in new)

    def record(self, cell_id: str, **changes: Any) -> Cell:
        """Record what is known of a cell, and return it.

        `changes` are columns of the table; None clears one. A cell not yet in the table is built: a suggested id brings
        its pressure and condition, any other needs `pressure_kpa`. Without `status` a new cell is planned.
        Raises `TableError` where the row would not hold; nothing is stored then.
        """
        unknown = [name for name in changes if name not in COLUMNS or name == "cell_id"]
        if unknown:
            known_columns = ", ".join(name for name in COLUMNS if name != "cell_id")
            raise UserError(
                f"record: expected columns of the table of cells; found {', '.join(unknown)}. Known: {known_columns}."
            )
        lost = [name for name, value in changes.items() if isinstance(value, float) and not math.isfinite(value)]
        if lost:
            raise UserError(f"record, {', '.join(lost)}: expected a finite number; found {changes[lost[0]]}.")
        with self._ledger.writing(self.name) as transaction:
            state = fold(transaction.events)
            known = state.cell(cell_id)
            row = known.row() if known else _new_row(state, cell_id, changes)
            _check_end(row, changes, cell_id)
            [cell] = check_cells([{**row, **changes, "cell_id": cell_id}], f"cell {cell_id}")
            problems = across_rows([cell, *(other for other in state.cells if other.cell_id != cell_id)])
            if problems:
                raise TableError(f"cell {cell_id}", problems)
            transaction.append("recorded", {"row": cell.row(), "changed": sorted(changes)})
        self._project()
        return cell

    def suggest(self, n: int = 1, seed: int = 0) -> pd.DataFrame:
        """The next `n` cells of each condition, one row a cell: cell_id, condition, and the columns of
        `optimizer.suggest`."""
        import pandas as pd

        suggestion = self.advise(n, seed)
        rows = [
            {"cell_id": cell_id, **advice.condition.model_dump(exclude={"retention_cycles"}), **proposal.model_dump()}
            for advice, ids in zip(suggestion.advice, suggestion.cell_ids, strict=True)
            for proposal, cell_id in zip(advice.proposals, ids, strict=True)
        ]
        return pd.DataFrame(rows)

    def advise(self, n: int = 1, seed: int = 0) -> Suggestion:
        """`suggest` with everything said beside it. The stored answer is returned where the same question was asked of
        the same cells, prior and versions."""
        state = self.state
        cells = self._informing(state)
        basis = {
            "data_revision": state.data_revision,
            "seed": seed,
            "data_hash": data_hash(cells),
            "prior_hash": state.prior.content_hash,
            "versions": _versions(),
        }
        latest = state.latest
        asked_before = latest is not None and all(
            getattr(latest, name) == value for name, value in basis.items() if name != "data_revision"
        )
        if latest is not None and asked_before and all(len(advice.proposals) == n for advice in latest.advice):
            return latest
        return self._answer(state, cells, basis, n, seed)

    def _answer(
        self, state: CampaignState, cells: tuple[Cell, ...], basis: dict[str, Any], n: int, seed: int
    ) -> Suggestion:
        from optimizer.suggestion import advise
        from surrogates.surrogate import fit

        surrogate = fit(cells, state.objective, state.prior, seed)
        answers = [advise(surrogate, condition, state.rig, n, seed) for condition in state.conditions]
        payload = {
            **basis,
            "advice": [answer.model_dump(mode="json") for answer in answers],
            "cell_ids": _free_ids(state, n),
        }
        with self._ledger.writing(self.name) as transaction:
            event = transaction.append("suggested", payload)
        self._project()
        return suggestion_of(event)

    def optimum(self, condition: Condition | Mapping[str, Any] | None = None) -> Optimum:
        """The best pressure the rig can be set to, fitted to the cells there are now; `condition` where there are several."""
        state = self.state
        if condition is None and len(state.conditions) > 1:
            names = "; ".join(str(item) for item in state.conditions)
            raise UserError(f"campaign {self.name}: expected a condition, it has several: {names}")
        wanted = check_condition(condition) if condition is not None else state.conditions[0]
        return self.surrogate.optimum(wanted, allowed_kpa=state.rig.grid())

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate fitted to the cells there are now."""
        from surrogates.surrogate import fit

        state = self.state
        return fit(self._informing(state), state.objective, state.prior)

    def _informing(self, state: CampaignState) -> tuple[Cell, ...]:
        """The campaign's own cells and those of its history, but for pairs whose current density is in another unit.
        A cell that two campaigns hold (one table added to both) counts once."""
        units = {c.electrode_pair: c.current_density_unit for c in state.conditions}
        units |= {c.electrode_pair: c.current_density_unit for c in state.cells}
        own = {(cell.cell_id, *_identity(cell)) for cell in state.cells}
        others = {
            (cell.cell_id, *_identity(cell)): cell.model_copy(update={"cell_id": f"{other.name}/{cell.cell_id}"})
            for other in self._history_of(state)
            for cell in other.cells
            if (cell.cell_id, *_identity(cell)) not in own
        }
        return (
            *state.cells,
            *(
                c
                for c in others.values()
                if units.setdefault(c.electrode_pair, c.current_density_unit) == c.current_density_unit
            ),
        )

    def _history_of(self, state: CampaignState) -> list[CampaignState]:
        if state.history == "none":
            return []
        others = [fold(self._ledger.events(name)) for name in self._ledger.campaigns() if name != self.name]
        if state.history == "programme":
            return [other for other in others if other.programme == state.programme]
        return [other for other in others if other.name in state.history]

    def sync(self) -> None:
        """Bring MLflow up to the ledger now, and wait for it."""
        from campaigns.projection import sync

        sync(self._ledger, self.folder)

    @cached_property
    def folder(self) -> Path:
        """Where figures and the MLflow projection are kept."""
        return mlflow_folder(self.store)

    def _project(self) -> None:
        def sync_later() -> None:
            from campaigns.background import sync_in_background

            sync_in_background(self.store)

        afterwards(f"sync {self.store}", sync_later)

    def __repr__(self) -> str:
        state = self.state
        return f"<Campaign {self.name}: {len(state.cells)} cells, revision {state.revision}, store {self.store}>"

    def _repr_html_(self) -> str:
        from campaigns.card import html_cards

        return html_cards(self.state)


def _identity(cell: Cell) -> tuple[object, ...]:
    """What stays the same when one built cell is in the tables of two campaigns."""
    return cell.electrode_pair, cell.electrolyte, cell.pressure_kpa, cell.current_density


def _check_name(what: str, name: str) -> str:
    if not NAME.fullmatch(name):
        raise UserError(
            f"{what} name: expected letters, digits, dots, dashes and underscores, 64 at most, the first a letter or "
            f"digit; found {name!r}."
        )
    return name


def _conditions(condition: Any) -> list[Condition]:
    several = [condition] if isinstance(condition, Condition | Mapping) else list(condition)
    checked = [check_condition(item) for item in several]
    if not checked or len(set(checked)) != len(checked):
        raise UserError("condition: expected one or several different conditions.")
    return checked


def _new_row(state: CampaignState, cell_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a cell that is recorded for the first time."""
    row = {"status": "planned", **_offered(state, cell_id)}
    if "pressure_kpa" not in row and changes.get("pressure_kpa") is None:
        raise UserError(
            f"cell {cell_id}: expected a cell of campaign {state.name}, a suggested id, or a pressure for a new cell; "
            "found none of them. Give pressure_kpa to add it."
        )
    if "electrode_pair" not in row and len(state.conditions) == 1:
        row |= state.conditions[0].model_dump(exclude={"retention_cycles"})
    return row


def _check_end(row: Mapping[str, Any], changes: Mapping[str, Any], cell_id: str) -> None:
    """A life reached so far is not a life at the end: a cell that ends says at which life."""
    lives = [name for name in ("cycle_life_h", "cycle_life_cycles") if name in row]
    ends = changes.get("status") == "ended" and row["status"] in ("running", "stopped")
    if ends and lives and not any(name in changes for name in lives):
        raise UserError(
            f"cell {cell_id}: expected the life at which it ended; found only {row[lives[0]]:g}, the {lives[0]} reached "
            f"when it was {row['status']}. Give {' or '.join(lives)} with the status."
        )


def _offered(state: CampaignState, cell_id: str) -> dict[str, Any]:
    """Pressure and condition that a suggestion offered under this id, the latest first."""
    for suggestion in reversed(state.suggestions):
        for advice, ids in zip(suggestion.advice, suggestion.cell_ids, strict=True):
            if cell_id in ids:
                pressure = advice.proposals[ids.index(cell_id)].pressure_kpa
                return {"pressure_kpa": pressure, **advice.condition.model_dump(exclude={"retention_cycles"})}
    return {}


def _free_ids(state: CampaignState, n: int) -> list[list[str]]:
    """`n` new cell ids for each condition, counting on from the cells there are."""
    taken = {cell.cell_id for cell in state.cells}
    numbers = (number for number in range(len(taken) + 1, 10**6) if f"{state.name}-{number:03d}" not in taken)
    return [[f"{state.name}-{next(numbers):03d}" for _ in range(n)] for _ in state.conditions]


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def _in_words(kind: str, payload: Mapping[str, Any]) -> str:
    match kind:
        case "campaign_opened":
            return f"opened for {payload['objective']}"
        case "cells_added":
            return f"{len(payload['rows'])} cells from {payload['source']}"
        case "recorded":
            return f"{payload['row']['cell_id']}: {', '.join(payload['changed']) or 'planned'}"
        case _:
            proposed = [proposal["pressure_kpa"] for advice in payload["advice"] for proposal in advice["proposals"]]
            return f"next: {', '.join(f'{pressure:g} kPa' for pressure in proposed)}"
