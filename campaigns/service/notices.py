"""What a campaign's webhook is told: the suggestion moved, a running cell should be stopped, the campaign may stop.

Each server worker looks every few seconds which campaigns have new events, whoever stored them; one of the workers finds
what is new. A fact has a name of its own, under which it is stored once: so it is told once.
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from campaigns.ledger import Ledger, actor, utc_now
from campaigns.service.desk import Desk
from campaigns.service.runner import Repeated
from campaigns.state import CampaignState, Suggestion
from optimizer.advice import Advice
from surrogates.errors import UnknownError, UserError

LOOK_EVERY_S = 3.0
LEASE_S = 120.0
MOST_TOLD = 20

TOLD = ("campaign", "url", "set_by", "set_at")
webhooks_table = sql.table("webhooks", *(sql.column(name) for name in (*TOLD, "secret", "since", "seen", "lease")))
DELIVERY = ("id", "state", "attempts", "problem")
deliveries_table = sql.table(
    "deliveries", *(sql.column(name) for name in (*DELIVERY, "number", "campaign", "fact", "body", "due"))
)


@dataclass(frozen=True)
class Notice:
    """Something worth telling; `fact` is the same whenever the same is found again."""

    kind: str
    fact: str
    text: str
    about: dict[str, Any]


class Webhooks:
    """Where notices of each campaign go."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def put(self, campaign: str, url: str) -> str:
        """Tell a campaign's news to `url` from now on; returns the secret they are signed with, which is told this once."""
        secret = secrets.token_hex(32)
        changes = {"url": url, "secret": secret, "set_by": actor(), "set_at": utc_now()}
        new = {"campaign": campaign, "since": self._ledger.revision(campaign), "seen": 0, **changes}
        if not self._change(campaign, changes):
            try:
                with self._ledger.changing() as connection:
                    connection.execute(sql.insert(webhooks_table).values(new))
            except sql.exc.IntegrityError:  # made by another at the same moment
                self._change(campaign, changes)
        return secret

    def get(self, campaign: str) -> dict[str, Any]:
        """A campaign's webhook without its secret, and its last notices; raises `UnknownError`."""
        here = webhooks_table.c.campaign == campaign
        last = (
            sql.select(deliveries_table.c.body, *(deliveries_table.c[name] for name in DELIVERY))
            .where(deliveries_table.c.campaign == campaign)
            .order_by(deliveries_table.c.number.desc())
            .limit(MOST_TOLD)
        )
        with self._ledger.reading() as connection:
            row = connection.execute(sql.select(*(webhooks_table.c[name] for name in TOLD)).where(here)).first()
            if row is None:
                raise UnknownError(f"webhook of {campaign}: expected one; found none. PUT makes it.")
            notices = [_told(item._mapping) for item in connection.execute(last)]
        return {**row._mapping, "notices": notices}

    def delete(self, campaign: str) -> None:
        """Tell no more, not even what is on its way."""
        on_its_way = sql.and_(deliveries_table.c.campaign == campaign, deliveries_table.c.state == "waiting")
        with self._ledger.changing() as connection:
            connection.execute(sql.delete(webhooks_table).where(webhooks_table.c.campaign == campaign))
            connection.execute(sql.delete(deliveries_table).where(on_its_way))

    def _change(self, campaign: str, changes: dict[str, Any]) -> bool:
        with self._ledger.changing() as connection:
            here = webhooks_table.c.campaign == campaign
            return connection.execute(sql.update(webhooks_table).where(here).values(changes)).rowcount == 1

    def to_look_at(self) -> list[tuple[str, int]]:
        """Campaigns with a webhook that have events nobody has looked at: name, and revision from which to tell."""
        columns = webhooks_table.c
        with self._ledger.reading() as connection:
            rows = connection.execute(sql.select(columns.campaign, columns.since, columns.seen)).all()
        revisions = self._ledger.revisions() if rows else {}
        return [(row.campaign, row.since) for row in rows if row.seen < revisions.get(row.campaign, 0)]

    def claim(self, campaign: str) -> bool:
        """Whether this worker is the one to look at a campaign now."""
        columns, now = webhooks_table.c, time.time()
        free = sql.and_(columns.campaign == campaign, sql.or_(columns.lease.is_(None), columns.lease < now))
        with self._ledger.changing() as connection:
            change = sql.update(webhooks_table).where(free).values(lease=now + LEASE_S)
            return connection.execute(change).rowcount == 1

    def store(self, state: CampaignState, notices: list[Notice]) -> None:
        """Put what was found at this revision of a campaign on its way, but for what was told before."""
        here = webhooks_table.c.campaign == state.name
        with self._ledger.changing() as connection:
            seen = sql.update(webhooks_table).where(here).values(seen=state.revision, lease=None)
            if not connection.execute(seen).rowcount:
                return
            facts = [notice.fact for notice in notices]
            known = sql.select(deliveries_table.c.fact).where(deliveries_table.c.fact.in_(facts))
            told = set(connection.execute(known).scalars())
            for notice in notices:
                if notice.fact not in told:
                    connection.execute(sql.insert(deliveries_table).values(_delivery(state, notice)))


def watcher(desk: Desk) -> Repeated:
    """The thread that looks for news."""
    return Repeated(lambda: look(desk), LOOK_EVERY_S, "notices")


def look(desk: Desk) -> bool:
    """Look at each campaign with a webhook and new events, and store what is worth telling."""
    webhooks = Webhooks(desk.ledger)
    for name, since in webhooks.to_look_at():
        if webhooks.claim(name):
            state = desk.state(name)
            webhooks.store(state, [*told_by_answers(state, since), *told_by_cells(desk, state)])
    return False


def told_by_answers(state: CampaignState, since: int = 0) -> Iterator[Notice]:
    """What is new in the answers after revision `since`, each beside the one before it."""
    before: Suggestion | None = None
    for answer in state.suggestions:
        if answer.revision > since:
            if before is not None:
                yield from _moved(state, before, answer)
            if _may_stop(answer) and not (before and _may_stop(before)):
                text = f"{state.name} may stop: {answer.advice[0].proposals[0].reason}"
                about = {"revision": answer.revision, "best_kpa": [each.best.pressure_kpa for each in answer.advice]}
                yield Notice("campaign may stop", f"{state.uid}/{answer.revision}/may-stop", text, about)
        before = answer


def told_by_cells(desk: Desk, state: CampaignState) -> Iterator[Notice]:
    """The running cells that should give their channel to a new one."""
    for cell in state.cells if state.closed is None else ():
        if cell.status != "running":
            continue
        try:
            found = desk.should_stop(state.name, cell.cell_id)
        except UserError:  # of a cell whose hours are not known, for one, nothing can be said
            continue
        if found.stop:
            fact = f"{state.uid}/stop/{cell.cell_id}"
            yield Notice("stop cell", fact, found.reason, {"revision": state.revision, **found.model_dump()})


def _moved(state: CampaignState, before: Suggestion, answer: Suggestion) -> Iterator[Notice]:
    for number, (old, new) in enumerate(zip(before.advice, answer.advice, strict=True), start=1):
        low, high = _window(old)
        best_kpa = new.best.pressure_kpa
        if not low <= best_kpa <= high:
            moved = f"the best pressure moved to {best_kpa:.3g} kPa, out of the window {low:.3g} to {high:.3g} kPa."
            about = {"revision": answer.revision, "condition": new.condition.model_dump(), "best_kpa": best_kpa}
            about |= {"window_before_kpa": [low, high], "next_kpa": new.proposals[0].pressure_kpa}
            fact = f"{state.uid}/{answer.revision}/moved-{number}"
            yield Notice("suggestion moved", fact, f"{state.name}, {new.condition}: {moved}", about)


def _window(advice: Advice) -> tuple[float, float]:
    """The window within which the outcome hardly changes; where none is known, the 90 % interval of the best pressure."""
    return advice.best.window_kpa or advice.best.interval_kpa


def _may_stop(answer: Suggestion) -> bool:
    return all(advice.best.verdict == "stop" for advice in answer.advice)


def _delivery(state: CampaignState, notice: Notice) -> dict[str, Any]:
    notice_id = uuid.uuid4().hex
    said = {"id": notice_id, "kind": notice.kind, "campaign": state.name, "time": utc_now(), "text": notice.text}
    body = json.dumps({**said, "about": notice.about})
    row = {"id": notice_id, "campaign": state.name, "fact": notice.fact, "body": body}
    return {**row, "state": "waiting", "attempts": 0, "due": time.time()}


def _told(row: Any) -> dict[str, Any]:
    body = json.loads(row["body"])
    return {**{name: row[name] for name in DELIVERY}, **{name: body[name] for name in ("kind", "time", "text")}}
