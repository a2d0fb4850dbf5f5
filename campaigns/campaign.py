"""`Campaign`: open one, add cells, ask what to test next, record what happened. Every verb is one entry in the ledger."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from campaigns.edits import (
    Merge,
    check_open,
    check_unseen,
    closing,
    correction,
    free_ids,
    merge,
    recording,
    undoing,
    withdrawal,
)
from campaigns.events import Draft, Event
from campaigns.history import Line, frame_of, lines_of
from campaigns.informing import history_of, informing
from campaigns.priors import find_prior
from campaigns.source import Source
from campaigns.state import CampaignState, Suggestion, cell_of, data_hash, fold, rows_of, suggestion_of
from campaigns.store import DEFAULT_STORE, check_exists, is_address, mlflow_folder, mlflow_server, shown
from campaigns.versions import versions
from optimizer.goal import STOP_GAIN, check_goal
from optimizer.rig import check_rig
from surrogates.cells import Cell, Condition, check_cells, check_condition, check_conditions, to_frame
from surrogates.errors import ConflictError, UnknownError, UserError
from surrogates.prior import Prior

if TYPE_CHECKING:
    import pandas as pd

    from campaigns.verifying import Check
    from optimizer.advice import Advice, Stopping
    from optimizer.replay import Plan, Policy, Step
    from surrogates.surrogate import Optimum, Surrogate

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Campaign:
    """A search for the best pressure of one or several conditions, remembered in a store.

    A store is a folder (default "mlruns") or a database URL; a `Source` of one shares what it has read. Get one by
    `create` or `open`.
    """

    def __init__(self, name: str, store: str | Path | Source = DEFAULT_STORE) -> None:
        self.name = name
        self._source = store if isinstance(store, Source) else Source(store)
        self.store = self._source.store
        self._ledger = self._source.ledger

    @classmethod
    def create(
        cls,
        name: str,
        condition: Condition | Mapping[str, Any] | Sequence[Condition | Mapping[str, Any]],
        pressure_kpa: tuple[float, float] = (10.0, 2000.0),
        objective: str | Sequence[str] = "cycle_life_h",
        *,
        subject_to: str | Sequence[str] = (),
        per: str = "cell",
        stop_gain: float = STOP_GAIN,
        step_kpa: float | None = None,
        allowed_kpa: Sequence[float] | None = None,
        prior: Prior | str | None = None,
        programme: str = "default",
        history: str | Sequence[str] = "programme",
        citation: str | None = None,
        key: str | None = None,
        store: str | Path | Source = DEFAULT_STORE,
        **bench: Any,
    ) -> Campaign:
        """Open a new campaign; `key`: see `correct`.

        `condition`: one or several; each gets a suggestion. `pressure_kpa`, `step_kpa`, `allowed_kpa` and `bench`
        (tolerance_kpa, tolerance_percent, one_pressure, channels, max_test_h): what the bench can do (optimizer.Rig).
        `objective`: the outcome to improve, or up to three between which the best compromise is sought. `subject_to`,
        `per`, `stop_gain`: what must be met, by what a cell is paid, and when to stop (optimizer.Goal). `prior`: a `Prior`, its name (`Prior.names()`) or the path of one.
        `history`: whose cells inform the fit beside its own: those of the "programme" (the same condition as they are,
        other conditions by what they have in common), "none", or of the campaigns named. Raises `UserError` where the name is taken or anything is out of bounds.
        """
        rig = check_rig(pressure_kpa=pressure_kpa, step_kpa=step_kpa, allowed_kpa=allowed_kpa, **bench)
        goal = check_goal(objective, subject_to, per, stop_gain)
        payload = {
            "programme": _check_name("programme", programme),
            "objective": goal.outcomes[0],
            "goal": goal.model_dump(mode="json"),
            "conditions": [item.model_dump() for item in check_conditions(condition)],
            "rig": rig.model_dump(),
            "prior": find_prior(prior or "default").to_document(),
            "history": history if isinstance(history, str) else list(history),
            "citation": citation,
        }
        campaign = cls(_check_name("campaign", name), store)
        with campaign._ledger.writing(name) as transaction:
            stored = transaction.stored_as(key, payload)
            if transaction.events and not stored:
                raise ConflictError(
                    f"campaign {name}: expected a new name; found a campaign of this name in {shown(campaign.store)}."
                )
            if not stored:
                transaction.append_all([Draft("campaign_opened", {"uid": uuid.uuid4().hex, **payload})], key, payload)
        campaign._project()
        return campaign

    @classmethod
    def open(cls, name: str, store: str | Path | Source = DEFAULT_STORE) -> Campaign:
        """The campaign `name` of a store; raises `UserError` with the names there are.

        A store may be the address of a service, too ("https://bench.lab.org"): what is returned then is a
        `campaigns.client.RemoteCampaign`, which has the same verbs.
        """
        if is_address(store):
            from campaigns.client import connect

            return cast("Campaign", connect(str(store)).open(name))
        if not isinstance(store, Source):
            check_exists(store)
        campaign = cls(name, store)
        if not campaign._ledger.has(name):
            known = ", ".join(campaign._ledger.campaigns()) or "no campaign yet"
            raise UnknownError(
                f"campaign {name}: expected a campaign of the store {shown(campaign.store)}; found {known}."
            )
        return campaign

    @classmethod
    def restore(cls, path: str | Path, name: str | None = None, store: str | Path = DEFAULT_STORE) -> Campaign:
        """Bring a campaign's history from a .jsonl that `export` wrote into a store, under its name there or `name`.

        Events that the store has already are passed over, new ones appended as they are, with their actor and time.
        Raises `UserError` where the file is not whole, or tells another history than the store.
        """
        from campaigns.export import continuation, read_events

        told = read_events(path)
        fold(told)
        campaign = cls(_check_name("campaign", name or told[0].campaign), store)
        with campaign._ledger.writing(campaign.name) as transaction:
            new = continuation(transaction.events, told, campaign.name)
            transaction.restore(new)
        campaign._project()
        return campaign

    def export(self, path: str | Path) -> None:
        """Write the whole history to a .jsonl, or the table of cells to a .csv, .xlsx or .parquet; what is written has
        been read back and compared."""
        from campaigns.export import write_events, write_table

        if Path(path).suffix.lower() == ".jsonl":
            write_events(self._ledger.events(self.name), path)
        else:
            write_table(self.state.cells, path)

    @property
    def state(self) -> CampaignState:
        """Everything the ledger says about this campaign now."""
        return self._source.state(self.name)

    @property
    def cells(self) -> pd.DataFrame:
        """The table of cells."""
        return to_frame(rows_of(self._ledger.events(self.name)).values())

    @property
    def history(self) -> pd.DataFrame:
        """What happened, one row an event: revision, time (UTC), actor, kind, what in words, and by which event undone."""
        return frame_of(self.lines())

    def lines(self, cell_id: str | None = None) -> list[Line]:
        """The history as lines; with `cell_id` the events that speak of this cell."""
        return lines_of(self._ledger.events(self.name), cell_id)

    def add(
        self,
        cells: pd.DataFrame | Iterable[Mapping[str, Any] | Cell],
        source: str = "table of cells",
        *,
        correct: bool = False,
        key: str | None = None,
    ) -> tuple[str, ...]:
        """Add a table of cells, all or none; returns the ids of the new ones.

        A table may be added again: rows that are there unchanged, blanks included, are passed over; rows that differ
        are corrected with `correct`, else refused. Raises `TableError` with every problem.
        """
        return self.merge(cells, source, correct=correct, key=key).added

    def merge(
        self,
        cells: pd.DataFrame | Iterable[Mapping[str, Any] | Cell],
        source: str = "table of cells",
        *,
        correct: bool = False,
        key: str | None = None,
        seen_revision: int | None = None,
    ) -> Merge:
        """`add`, with what became of each row; `seen_revision`: see `correct`, for each cell that is corrected."""
        rows = check_cells(cells, source)
        if not rows:
            raise UserError(f"{source}: expected one cell or more; found none.")
        request = {"add": [cell.row() for cell in rows], "correct": correct}
        with self._ledger.writing(self.name) as transaction:
            stored = transaction.stored_as(key, request)
            state = fold(transaction.events[: stored[0].revision - 1] if stored else transaction.events)
            check_open(state)
            merged = merge(state, rows, source, correct)
            if not stored:
                for cell_id in merged.corrected:
                    check_unseen(transaction.events, cell_id, seen_revision)
                transaction.append_all(merged.drafts, key, request)
        self._project()
        return merged

    def record(self, cell_id: str, *, key: str | None = None, seen_revision: int | None = None, **changes: Any) -> Cell:
        """Record what is known of a cell, and return it.

        `changes` are columns of the table; None clears one. A cell not yet in the table is built: a suggested id brings
        its pressure and condition, any other needs `pressure_kpa`. Without `status` a new cell is planned.
        Raises `TableError` where the row would not hold; nothing is stored then. `key` and `seen_revision`: see `correct`.
        """
        request = ["record", changes]
        stored, events = self._say(
            lambda state: recording(state, cell_id, changes), cell_id, request, key, seen_revision
        )
        return cell_of(events[: stored[-1].revision] if stored else events, cell_id)

    def correct(
        self,
        cell_id: str,
        *,
        reason: str | None = None,
        key: str | None = None,
        seen_revision: int | None = None,
        **changes: Any,
    ) -> Event:
        """Correct what had been said of a cell, and return the event: its payload has before and after.

        `changes` are columns of the table; None clears one. `key`: the same request sent again under the same key is
        stored once, and answered as the first time. `seen_revision`: the revision of the campaign that the editor has
        looked at; where the cell was changed since, nothing is stored and `UserError` says by whom.
        """
        request = ["correct", changes, reason]
        [event], _ = self._say(
            lambda state: correction(state, cell_id, changes, reason), cell_id, request, key, seen_revision
        )
        return event

    def withdraw(self, cell_id: str, reason: str, *, key: str | None = None, seen_revision: int | None = None) -> Event:
        """Take a cell that should not be there out of the table; the history keeps it, `undo` brings it back.

        A cell that failed is no such cell: record it as invalid. `key` and `seen_revision`: see `correct`.
        """
        request = ["withdraw", reason]
        [event], _ = self._say(lambda state: withdrawal(state, cell_id, reason), cell_id, request, key, seen_revision)
        return event

    def undo(self, revision: int | None = None, *, key: str | None = None) -> Event:
        """Undo the event of this revision (default: the last about cells that is in force), and return the undoing.

        An undoing is an event too: undoing it brings the first one back. `key`: see `correct`.
        """
        request = ["undo", revision]
        with self._ledger.writing(self.name) as transaction:
            stored = transaction.stored_as(key, request)
            if not stored:
                draft = undoing(transaction.events, revision)
                stored = transaction.append_all([draft], key, request)
        self._project()
        return stored[0]

    def close(self, reason: str | None = None, *, seed: int = 0, key: str | None = None) -> Event:
        """Say that the campaign is finished, and return the event. Its last answer is computed first where cells have
        changed since; the surrogate of that answer goes into MLflow's registry.

        A closed campaign takes no cells, records, corrections or questions (`UserError`); `undo` of the event opens it
        again. `key`: see `correct`.
        """
        request = ["close", reason]
        if self.state.closed is None and not self.state.is_current:
            self.advise(seed=seed)
        with self._ledger.writing(self.name) as transaction:
            stored = transaction.stored_as(key, request)
            if not stored:
                state = fold(transaction.events)
                check_open(state)
                stored = transaction.append_all([closing(state, reason)], key, request)
        self._project()
        return stored[0]

    def _say(
        self,
        decide: Callable[[CampaignState], Draft | None],
        cell_id: str,
        request: list[Any],
        key: str | None,
        seen_revision: int | None,
    ) -> tuple[tuple[Event, ...], tuple[Event, ...]]:
        """One verb about one cell, in one transaction: what it stored (nothing where `decide` finds nothing new), and
        all events there are then."""
        with self._ledger.writing(self.name) as transaction:
            stored = transaction.stored_as(key, [cell_id, *request])
            if not stored:
                state = fold(transaction.events)
                check_open(state)
                check_unseen(transaction.events, cell_id, seen_revision)
                draft = decide(state)
                stored = transaction.append_all([draft] if draft else [], key, [cell_id, *request])
        self._project()
        return stored, transaction.events

    def suggest(self, n: int | None = None, seed: int = 0) -> pd.DataFrame:
        """The next `n` cells of each condition (default: as many as channels are free, one where they are not counted),
        one row a cell: cell_id, condition, and the columns of `optimizer.suggest`."""
        return self.advise(n, seed).table()

    def advise(self, n: int | None = None, seed: int = 0, *, key: str | None = None) -> Suggestion:
        """`suggest` with everything said beside it. The stored answer is returned where the same question was asked of
        the same cells, prior and versions. Under a `key` (see `correct`) the answer is stored in any case."""
        request = ["suggest", n, seed]
        if key is not None:
            with self._ledger.writing(self.name) as transaction:
                if stored := transaction.stored_as(key, request):
                    return suggestion_of(stored[0])
        state = self.state
        check_open(state)
        n = state.free_channels if n is None else n
        others = self._others(state)
        cells = informing(state, others)
        informed_by = {other.name: other.revision for other in history_of(state, others)}
        basis = {
            "data_revision": state.data_revision,
            "seed": seed,
            "data_hash": data_hash(cells),
            "prior_hash": state.prior.content_hash,
            "versions": versions(),
        }
        latest = state.latest
        if latest is not None and _is_answer(latest, basis, n):
            if state.is_current and key is None:
                return latest
            advice = latest.advice
        else:
            advice = self._source.advice(state, cells, n, seed)
        return self._answer(state, basis, informed_by, advice, key, request)

    def _answer(
        self,
        state: CampaignState,
        basis: dict[str, Any],
        informed_by: dict[str, int],
        advice: tuple[Advice, ...],
        key: str | None,
        request: list[Any],
    ) -> Suggestion:
        payload = {
            **basis,
            "informed_by": informed_by,
            "advice": [answer.model_dump(mode="json") for answer in advice],
            "cell_ids": free_ids(state, len(advice[0].proposals)),
        }
        with self._ledger.writing(self.name) as transaction:
            stored = transaction.stored_as(key, request)
            if not stored:
                check_open(fold(transaction.events))
                stored = transaction.append_all([Draft("suggested", payload)], key, request)
        self._project()
        return suggestion_of(stored[0])

    def should_stop(self, cell_id: str, seed: int = 0) -> Stopping:
        """Whether a running cell should give its channel to a new one, and why; nothing is stored."""
        from optimizer.channels import should_stop

        state = self.state
        cell = state.cell(cell_id)
        condition = next((c for c in state.conditions if cell and c.holds(cell)), state.conditions[0])
        return should_stop(self.surrogate, condition, cell_id, state.rig, state.goal, seed)

    def replay(
        self,
        *,
        prior: Prior | str | None = None,
        seed: int = 0,
        mapper: Callable[..., Iterable[Any]] = map,
        **changes: Any,
    ) -> dict[Condition, list[Step]]:
        """What another policy would have said before each cell of this campaign, in the order in which they were built.

        `prior`: another prior; `changes`: settings of the bench (optimizer.Rig) or of the goal (subject_to, per,
        stop_gain) that differ. `mapper`: see `optimizer.replay`.
        """
        from optimizer.replay import replay

        state = self.state
        policy = _policy(state, prior, changes)
        others = informing(state, self._others(state))[len(state.cells) :]
        return {c: replay(state.cells, c, policy, others, seed, mapper) for c in state.conditions}

    def plan(
        self, cells: int = 8, campaigns: int = 100, seed: int = 0, mapper: Callable[..., Iterable[Any]] = map
    ) -> dict[Condition, Plan]:
        """How many cells this campaign may take, simulated from its prior and the cells of its history, before its own."""
        from optimizer.replay import plan

        state = self.state
        others = informing(state, self._others(state))[len(state.cells) :]
        policy = _policy(state, None, {})
        return {c: plan(c, policy, cells, campaigns, others, seed, mapper) for c in state.conditions}

    def moved(self) -> tuple[str, ...]:
        """The campaigns, this one first, whose cells have changed since the last answer read them."""
        state = self.state
        read = state.latest.informed_by if state.latest else None
        others = history_of(state, self._others(state)) if read is not None else []
        theirs = [item.name for item in others if item.cells and item.data_revision > (read or {}).get(item.name, 0)]
        return (*([self.name] if state.latest and not state.is_current else []), *theirs)

    def verify(self, revision: int | None = None, done: Callable[[], None] = lambda: None) -> list[Check]:
        """Compute every answer again (or that of event `revision`), from the cells, the prior and the seed it was
        computed from, and say which come out differently, and why. `done` is called after each."""
        from campaigns.verifying import verify

        return verify(self._ledger, self.name, self._source.advice, versions(), revision, done)

    def draw_course(self) -> list[Path]:
        """Draw what became known answer by answer, and when each cell ran, as NAME-course.png and .svg."""
        from campaigns.course_figure import write_course

        return write_course(self._ledger.events(self.name), self.folder / "artifacts" / "figures")

    def report(self, path: str | Path, done: Callable[[], None] = lambda: None) -> None:
        """Write everything about the campaign as one HTML file that can be mailed; `done` is called after each figure."""
        from campaigns.report import write_report

        write_report(self._ledger.events(self.name), Path(path), versions(), done)

    def optimum(self, condition: Condition | Mapping[str, Any] | None = None) -> Optimum:
        """The best pressure the rig can be set to, fitted to the cells there are now; `condition` where there are several."""
        state = self.state
        if condition is None and len(state.conditions) > 1:
            names = "; ".join(str(item) for item in state.conditions)
            raise UserError(f"campaign {self.name}: expected a condition, it has several: {names}")
        wanted = check_condition(condition) if condition is not None else state.conditions[0]
        grid = state.rig.grid()
        return self.surrogate.optimum(wanted, allowed_kpa=grid, tolerance_kpa=state.rig.tolerances(grid))

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate fitted to the cells there are now."""
        state = self.state
        return self._source.surrogate(informing(state, self._others(state)), state.goal.outcomes, state.prior)

    def _others(self, state: CampaignState) -> list[CampaignState]:
        """The store's other campaigns, oldest first, where any may inform the fit."""
        others = self._ledger.campaigns() if state.history != "none" else ()
        return [self._source.state(name) for name in others if name != self.name]

    def sync(self) -> None:
        """Bring MLflow up to the store's ledger now, and wait for it.

        Raises `UserError` where a campaign could not be written; all others are then.
        """
        from campaigns.projection import sync

        report = sync(self._ledger, self.folder, server=mlflow_server())
        if report.problems:
            raise UserError(
                f"MLflow: expected every campaign of {shown(self.store)} to be written; found {'; '.join(report.problems)}. "
                "Nothing is lost, the ledger has it all: the next sync tries again."
            )

    @cached_property
    def folder(self) -> Path:
        """Where figures and the MLflow projection are kept."""
        return mlflow_folder(self.store)

    def _project(self) -> None:
        self._source.project()

    def __repr__(self) -> str:
        state = self.state
        return f"<Campaign {self.name}: {len(state.cells)} cells, revision {state.revision}, store {shown(self.store)}>"

    def _repr_html_(self) -> str:
        from campaigns.card import html_cards

        return html_cards(self.state)


def _policy(state: CampaignState, prior: Prior | str | None, changes: Mapping[str, Any]) -> Policy:
    """The campaign's policy with another prior, and other settings of bench and goal."""
    from optimizer.replay import Policy

    aims = {name: value for name, value in changes.items() if name in ("subject_to", "per", "stop_gain")}
    bench = {**state.rig.model_dump(), **{name: value for name, value in changes.items() if name not in aims}}
    goal = state.goal
    wanted = {
        "subject_to": [str(item) for item in goal.subject_to],
        "per": goal.per,
        "stop_gain": goal.stop_gain,
        **aims,
    }
    return Policy(check_rig(**bench), check_goal(goal.outcomes, **wanted), find_prior(prior) if prior else state.prior)


def _is_answer(suggestion: Suggestion, basis: Mapping[str, Any], n: int) -> bool:
    """Whether the same was asked of the same cells, prior and versions; they may have changed and come back since."""
    same = all(getattr(suggestion, name) == value for name, value in basis.items() if name != "data_revision")
    return same and all(len(advice.proposals) == n for advice in suggestion.advice)


def _check_name(what: str, name: str) -> str:
    if not NAME.fullmatch(name):
        raise UserError(
            f"{what} name: expected letters, digits, dots, dashes and underscores, 64 at most, the first a letter or "
            f"digit; found {name!r}."
        )
    return name
