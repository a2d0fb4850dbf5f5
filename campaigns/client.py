"""A campaign on a service (`stackpress serve`), with the verbs of `Campaign`, over HTTP.

    from campaigns.client import connect

    lab = connect("https://bench.lab.org", token="...")     # or STACKPRESS_TOKEN
    campaign = lab.open("zn-ti")
    campaign.suggest()

Every write goes under a key of its own: where the connection breaks or the service is busy it is sent again under the
same key, and carried out once. What the service refuses is raised as `UserError` with the service's text.
"""

from __future__ import annotations

import os
import time
import uuid
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from campaigns.history import Line, frame_of
from campaigns.state import Suggestion
from campaigns.store import is_address
from optimizer.advice import Advice, Stopping
from surrogates.cells import Cell, Condition, check_cells, check_condition, check_conditions, to_frame
from surrogates.errors import ConflictError, MovedError, UnavailableError, UnknownError, UserError

if TYPE_CHECKING:
    import httpx
    import pandas as pd

    from optimizer.replay import Plan, Step
    from surrogates.prior import Prior
    from surrogates.surrogate import Optimum

TOKEN_VARIABLE = "STACKPRESS_TOKEN"
TIMEOUT_S = 120.0
ATTEMPTS = 7
FIRST_WAIT_S, MOST_WAIT_S = 0.25, 30.0
AGAIN = (429, 502, 503, 504)
UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"  # as OpenSSL says it
LOOK_EVERY_S = 0.5
PAGE = 1000
ERRORS: dict[int, type[UserError]] = {404: UnknownError, 409: ConflictError, 412: MovedError, 503: UnavailableError}
T = TypeVar("T")


def connect(url: str, token: str | None = None) -> Service:
    """The service at an address, as in "https://bench.lab.org"; `token`: else what STACKPRESS_TOKEN says."""
    return Service(url, token)


class Service:
    """A service: the campaigns it keeps."""

    def __init__(self, url: str, token: str | None = None) -> None:
        import httpx

        if not is_address(url) or not urlsplit(url).hostname:
            raise UserError(f"service: expected an address, as in https://bench.lab.org; found {url!r}.")
        self.url = url.rstrip("/")
        shown = token or os.environ.get(TOKEN_VARIABLE)
        headers = {"Authorization": f"Bearer {shown}"} if shown else {}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S)
        weakref.finalize(self, self._http.close)

    def names(self) -> tuple[str, ...]:
        """The names of all campaigns, oldest first."""
        return tuple(item["name"] for item in self.pages("/campaigns", "campaigns"))

    def open(self, name: str) -> RemoteCampaign:
        """A campaign of the service; raises `UserError` where there is none of that name."""
        self.ask("GET", f"/campaigns/{quote(name, safe='')}/cells", params={"limit": 1})
        return RemoteCampaign(name, self)

    def create(
        self,
        name: str,
        condition: Condition | Mapping[str, Any] | Sequence[Condition | Mapping[str, Any]],
        *,
        key: str | None = None,
        **settings: Any,
    ) -> RemoteCampaign:
        """Open a new campaign; `settings` as of `Campaign.create`, a prior by its name."""
        conditions = [item.model_dump() for item in check_conditions(condition)]
        self.write("POST", "/campaigns", {"name": name, "condition": conditions, **settings}, key)
        return RemoteCampaign(name, self)

    def learn(self, campaigns: Sequence[str], base: str = "default", name: str = "learned", seed: int = 0) -> Prior:
        """The prior that campaigns of the service teach; waits until it is learned."""
        from surrogates.prior import Prior

        asked = {"campaigns": list(campaigns), "base": base, "name": name, "seed": seed}
        return Prior.from_document(self.work("/priors", asked)["prior"])

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """The document that the service answers with; asks again where the connection or the service fails."""
        answer = self._answer(method, path, request)
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _error(answer)

    def write(self, method: str, path: str, body: Mapping[str, Any], key: str | None = None, **request: Any) -> Any:
        """`ask` for something that is stored: once, under `key` or one of its own."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex, **request.pop("headers", {})}
        return self.ask(method, path, json=body, headers=headers, **request)

    def pages(self, path: str, what: str, **params: Any) -> Iterator[dict[str, Any]]:
        """All items of a list that comes in pages."""
        offset: int | None = 0
        while offset is not None:
            part = self.ask("GET", path, params={**params, "limit": PAGE, "offset": offset})
            yield from part[what]
            offset = offset + PAGE if part["next"] else None

    def work(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for long work, wait, and return its result; interrupted, the work is cancelled."""
        job = self.write("POST", path, body)
        address = f"/jobs/{job['id']}"
        try:
            while job["state"] in ("queued", "running"):
                time.sleep(LOOK_EVERY_S)
                job = self.ask("GET", address)
        except KeyboardInterrupt:
            self.ask("PUT", f"{address}/cancellation")
            raise
        if job["state"] != "done":
            raise UserError(job["problem"] or f"{job['kind']}: expected a result; found the work {job['state']}.")
        result: dict[str, Any] = job["result"]
        return result

    def _answer(self, method: str, path: str, request: Mapping[str, Any]) -> httpx.Response:
        import httpx

        problem = ""
        for attempt in range(ATTEMPTS):
            wait_s = min(FIRST_WAIT_S * 2**attempt, MOST_WAIT_S)
            last = attempt == ATTEMPTS - 1
            try:
                answer = self._http.request(method, path, **request)
                if answer.status_code not in AGAIN or last:
                    return answer
                wait_s = max(wait_s, min(_retry_after_s(answer), 2 * MOST_WAIT_S))
            except httpx.TransportError as error:
                problem = str(error) or type(error).__name__
                if UNTRUSTED in problem:
                    raise UserError(
                        f"{self.url}: expected a certificate that this machine trusts; found: {problem}. Name the root "
                        "certificate of whoever signed it in SSL_CERT_FILE."
                    ) from None
            if not last:
                time.sleep(wait_s)
        raise UnavailableError(f"{self.url}: expected a service that answers; found: {problem}. Try again later.")

    def __repr__(self) -> str:
        return f"<Service {self.url}>"


class RemoteCampaign:
    """A campaign of a service; verbs as of `Campaign`, which says more of each."""

    def __init__(self, name: str, service: Service) -> None:
        self.name, self._service = name, service
        self._path = f"/campaigns/{quote(name, safe='')}"

    @classmethod
    def open(cls, name: str, store: str, token: str | None = None) -> RemoteCampaign:
        """The campaign `name` of the service at an address."""
        return connect(store, token).open(name)

    @property
    def store(self) -> str:
        """The service's address."""
        return self._service.url

    @property
    def cells(self) -> pd.DataFrame:
        """The table of cells."""
        return to_frame([_cell(row) for row in self._service.pages(f"{self._path}/cells", "cells")])

    def cell(self, cell_id: str) -> Cell:
        """One cell; raises `UserError` where there is none of that id."""
        return _cell(self._service.ask("GET", self._cell_path(cell_id)))

    @property
    def history(self) -> pd.DataFrame:
        """What happened, one row an event."""
        return frame_of(self.lines())

    def lines(self, cell_id: str | None = None) -> list[Line]:
        """The history as lines; with `cell_id` the events that speak of this cell."""
        params = {} if cell_id is None else {"cell_id": cell_id}
        return [Line(**item) for item in self._service.pages(f"{self._path}/history", "events", **params)]

    def add(
        self,
        cells: pd.DataFrame | Iterable[Mapping[str, Any] | Cell],
        source: str = "table of cells",
        *,
        correct: bool = False,
        key: str | None = None,
    ) -> tuple[str, ...]:
        """Add a table of up to 1000 cells, all or none; returns the ids of the new ones."""
        rows = [cell.model_dump(mode="json", exclude_none=True) for cell in check_cells(cells, source)]
        body = {"cells": rows, "source": source, "correct": correct}
        return tuple(self._service.write("POST", f"{self._path}/cells", body, key)["added"])

    def record(self, cell_id: str, *, key: str | None = None, seen_revision: int | None = None, **changes: Any) -> Cell:
        """Record what is known of a cell, and return it; `seen_revision`: the revision of the cell's last event seen."""
        return _cell(self._change("PATCH", cell_id, "", changes, key, seen_revision))

    def correct(
        self,
        cell_id: str,
        *,
        reason: str | None = None,
        key: str | None = None,
        seen_revision: int | None = None,
        **changes: Any,
    ) -> Cell:
        """Correct what had been said of a cell, and return the cell as it is now."""
        body = {"changes": changes, "reason": reason}
        return _cell(self._change("POST", cell_id, "/corrections", body, key, seen_revision))

    def withdraw(self, cell_id: str, reason: str, *, key: str | None = None, seen_revision: int | None = None) -> Line:
        """Take a cell that should not be there out of the table; returns the line of the history."""
        return Line(**self._change("POST", cell_id, "/withdrawal", {"reason": reason}, key, seen_revision))

    def undo(self, revision: int | None = None, *, key: str | None = None) -> Line:
        """Undo an event (default: the last about cells that is in force); returns the line of the history."""
        return Line(**self._service.write("POST", f"{self._path}/undo", {"revision": revision}, key))

    def close(self, reason: str | None = None, *, seed: int = 0, key: str | None = None) -> None:
        """Say that the campaign is finished."""
        self._service.write("POST", f"{self._path}/close", {"reason": reason, "seed": seed}, key)

    def suggest(self, n: int | None = None, seed: int = 0) -> pd.DataFrame:
        """The next `n` cells of each condition, one row a cell."""
        return self.advise(n, seed).table()

    def advise(self, n: int | None = None, seed: int = 0, *, key: str | None = None) -> Suggestion:
        """`suggest` with everything said beside it."""
        asked = {"n": n, "seed": seed}
        request = {"json": asked, "params": {"curve": True}, "headers": {"Idempotency-Key": key} if key else {}}
        told = self._service.ask("POST", f"{self._path}/suggestions", **request)
        known = {item.name: told[item.name] for item in fields(Suggestion) if item.name in told}
        advice = tuple(Advice.model_validate(item) for item in told["answers"])
        return Suggestion(**known, advice=advice, cell_ids=tuple(tuple(item["cell_ids"]) for item in told["answers"]))

    def optimum(self, condition: Condition | Mapping[str, Any] | None = None) -> Optimum:
        """The best pressure the rig can be set to, fitted to the cells there are now; `condition` where there are several."""
        from surrogates.surrogate import Optimum

        found = self._service.ask("GET", f"{self._path}/surrogate")["surrogates"]
        by_condition = {Condition.model_validate(item["condition"]): item["best"] for item in found}
        wanted = check_condition(condition) if condition is not None else next(iter(by_condition))
        if (condition is None and len(by_condition) > 1) or wanted not in by_condition:
            names = "; ".join(str(item) for item in by_condition)
            raise UserError(f"campaign {self.name}: expected one of its conditions: {names}; found {condition}.")
        best = by_condition[wanted]
        return Optimum(**{item.name: _value(best[item.name]) for item in fields(Optimum)})

    def should_stop(self, cell_id: str, seed: int = 0) -> Stopping:
        """Whether a running cell should give its channel to a new one, and why."""
        told = self._service.ask("GET", f"{self._cell_path(cell_id)}/stopping", params={"seed": seed})
        return Stopping.model_validate(told)

    def plan(self, cells: int = 8, campaigns: int = 100, seed: int = 0) -> dict[Condition, Plan]:
        """How many cells this campaign may take, simulated on the service; waits for it."""
        from optimizer.replay import Plan

        asked = {"cells": cells, "campaigns": campaigns, "seed": seed}
        plans = self._service.work(f"{self._path}/plans", asked)["plans"]
        return {Condition.model_validate(item["condition"]): _made(Plan, item) for item in plans}

    def replay(self, *, prior: str | None = None, seed: int = 0, **changes: Any) -> dict[Condition, list[Step]]:
        """What another policy would have said before each cell, decided on the service; waits for it."""
        from optimizer.replay import Step

        asked = {"prior": prior, "seed": seed, **changes}
        replays = self._service.work(f"{self._path}/replays", asked)["replays"]
        return {
            Condition.model_validate(item["condition"]): [_made(Step, step) for step in item["steps"]]
            for item in replays
        }

    def _change(
        self, method: str, cell_id: str, what: str, body: Mapping[str, Any], key: str | None, seen: int | None
    ) -> dict[str, Any]:
        headers = {} if seen is None else {"If-Match": f'"{seen}"'}
        told: dict[str, Any] = self._service.write(method, self._cell_path(cell_id) + what, body, key, headers=headers)
        return told

    def _cell_path(self, cell_id: str) -> str:
        return f"{self._path}/cells/{quote(cell_id, safe='')}"

    def __getattr__(self, name: str) -> Any:
        from campaigns.campaign import Campaign

        if not name.startswith("_") and hasattr(Campaign, name):
            raise UserError(f"campaign {self.name}: expected a verb that a service carries out; found {name}.")
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"<Campaign {self.name} of the service {self.store}>"


def _cell(row: Mapping[str, Any]) -> Cell:
    return Cell.model_validate({name: value for name, value in row.items() if value is not None})


def _made(kind: type[T], told: Mapping[str, Any]) -> T:
    """A dataclass from a document that holds its fields, and maybe more."""
    return kind(**{item.name: _value(told[item.name]) for item in fields(kind)})  # type: ignore[arg-type]


def _value(told: Any) -> Any:
    return tuple(told) if isinstance(told, list) else told


def _retry_after_s(answer: httpx.Response) -> float:
    try:
        return float(answer.headers.get("Retry-After", 0))
    except ValueError:  # a date
        return 0.0


def _error(answer: httpx.Response) -> UserError:
    """What the service says is wrong, in its words."""
    try:
        told = answer.json()
        text = str(told["detail"])
        if answer.status_code >= 500 and told.get("request_id"):
            text = f"{text} (request {told['request_id']})"
    except (ValueError, KeyError, TypeError):
        text = f"{answer.request.url.host}: expected an answer of a stackpress service; found {answer.status_code}."
    return ERRORS.get(answer.status_code, UserError)(text)
