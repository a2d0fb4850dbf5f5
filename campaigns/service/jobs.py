"""Long work: a table of jobs beside the ledger, from which each server worker takes one at a time.

A worker holds a job by a lease that it renews while the work's process lives. The job of a worker that was killed is
taken up again, from its beginning, once the lease has run out. The work only reads the ledger: done twice, it gives the
same result, and only the worker that holds the lease may store it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sql

from campaigns.ledger import Ledger, actor, utc_now
from surrogates.errors import ConflictError, UnknownError

LEASE_S = 15.0
MOST_DEATHS = 3


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self not in (State.QUEUED, State.RUNNING)


TOLD = ("id", "kind", "campaign", "request", "state", "done", "total", "problem", "asked_by", "asked", "finished")
jobs_table = sql.table(
    "jobs",
    *(sql.column(name) for name in TOLD if name != "request"),
    *(sql.column(name) for name in ("number", "key", "deaths", "worker", "lease")),
    sql.column("request", sql.JSON),
    sql.column("result", sql.JSON),
)
TOLD_COLUMNS = [jobs_table.c[name] for name in TOLD]


@dataclass(frozen=True)
class Job:
    """A job as it stands: how far it is (`done` of `total` parts, null until that is known), and what came out; the jobs
    of a list are without their results."""

    id: str
    kind: str
    campaign: str | None
    request: dict[str, Any]
    state: State
    done: int
    total: int | None
    problem: str | None
    asked_by: str
    asked: str
    finished: str | None
    result: dict[str, Any] | None = None


class Jobs:
    """The jobs of a store."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def ask(self, kind: str, campaign: str | None, request: Mapping[str, Any], key: str | None = None) -> Job:
        """A new job; under a `key` asked before, the job made then. Raises `ConflictError` where that was another."""
        job_id = uuid.uuid4().hex
        row: dict[str, Any] = {"id": job_id, "kind": kind, "campaign": campaign, "request": dict(request), "key": key}
        row |= {"state": State.QUEUED.value, "done": 0, "deaths": 0, "asked_by": actor(), "asked": utc_now()}
        try:
            with self._ledger.changing() as connection:
                if key is None or connection.execute(_under(key)).first() is None:
                    connection.execute(sql.insert(jobs_table).values(row))
        except sql.exc.IntegrityError:  # the same request, at the same moment, through another worker
            pass
        return self.get(job_id) if key is None else self._stored(key, kind, campaign, dict(request))

    def get(self, job_id: str) -> Job:
        """A job with its result; raises `UnknownError`."""
        query = sql.select(*TOLD_COLUMNS, jobs_table.c.result).where(jobs_table.c.id == job_id)
        with self._ledger.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise UnknownError(f"job {job_id[:80]}: expected a job of this store; found none of that id.")
        return _job(row)

    def page(self, limit: int, offset: int) -> tuple[list[Job], int]:
        """Jobs without their results, the newest first, and how many there are in all."""
        query = sql.select(*TOLD_COLUMNS).order_by(jobs_table.c.number.desc()).limit(limit).offset(offset)
        with self._ledger.reading() as connection:
            total = connection.execute(sql.select(sql.func.count()).select_from(jobs_table)).scalar_one()
            return [_job(row) for row in connection.execute(query)], int(total)

    def open_of(self, user: str) -> int:
        """How many jobs of a user wait or run."""
        open_ = jobs_table.c.state.in_([State.QUEUED.value, State.RUNNING.value])
        query = sql.select(sql.func.count()).select_from(jobs_table).where(open_, jobs_table.c.asked_by == user)
        with self._ledger.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def by_state(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        query = sql.select(jobs_table.c.state, sql.func.count()).group_by(jobs_table.c.state)
        with self._ledger.reading() as connection:
            found = {str(state): int(count) for state, count in connection.execute(query)}
        return {state.value: found.get(state.value, 0) for state in State}

    def cancel(self, job_id: str) -> Job:
        """Cancel a job; one that is over stays as it is."""
        open_ = jobs_table.c.state.in_([State.QUEUED.value, State.RUNNING.value])
        with self._ledger.changing() as connection:
            change = sql.update(jobs_table).where(jobs_table.c.id == job_id, open_)
            connection.execute(change.values(state=State.CANCELLED.value, finished=utc_now(), worker=None, lease=None))
        return self.get(job_id)

    def claim(self, worker: str, lease_s: float = LEASE_S) -> Job | None:
        """The oldest job that waits, or whose worker has not been heard of; it is `worker`'s until the lease ends."""
        columns, now = jobs_table.c, time.time()
        abandoned = sql.and_(columns.state == State.RUNNING.value, columns.lease < now)
        query = (
            sql.select(columns.id)
            .where(sql.or_(columns.state == State.QUEUED.value, abandoned))
            .order_by(columns.number)
            .limit(1)
        )
        with self._ledger.reading() as connection:  # nothing to do is found without keeping writers out
            if connection.execute(query).first() is None:
                return None
        with self._ledger.changing() as connection:
            job_id = connection.execute(query.with_for_update(skip_locked=True)).scalar()
            if job_id is None:
                return None
            taken = {"state": State.RUNNING.value, "worker": worker, "lease": now + lease_s, "done": 0}
            connection.execute(sql.update(jobs_table).where(columns.id == job_id).values(taken))
        return self.get(str(job_id))

    def renew(self, job: Job, worker: str, done: int, total: int | None, lease_s: float = LEASE_S) -> bool:
        """Say that the work goes on; False where it is not the worker's any more: cancelled, or taken over."""
        return self._change(job, worker, {"done": done, "total": total, "lease": time.time() + lease_s})

    def finish(self, job: Job, worker: str, result: Any) -> bool:
        """Store what came out; False where the job is not the worker's any more."""
        return self._change(job, worker, {"state": State.DONE.value, "result": result, **_over()})

    def fail(self, job: Job, worker: str, problem: str) -> bool:
        """Store why nothing came out; False where the job is not the worker's any more."""
        return self._change(job, worker, {"state": State.FAILED.value, "problem": problem, **_over()})

    def give_back(self, job: Job, worker: str) -> bool:
        """Leave a job to another worker."""
        return self._change(job, worker, {"state": State.QUEUED.value, "worker": None, "lease": None, "done": 0})

    def died(self, job: Job, worker: str) -> None:
        """The work's process was killed or crashed: the job waits again, up to MOST_DEATHS times."""
        with self._ledger.changing() as connection:
            mine = _mine(job, worker)
            connection.execute(sql.update(jobs_table).where(mine).values(deaths=jobs_table.c.deaths + 1))
            deaths = connection.execute(sql.select(jobs_table.c.deaths).where(mine)).scalar() or 0
        if deaths >= MOST_DEATHS:
            self.fail(job, worker, f"{job.kind}: its process ended {deaths} times before it had a result.")
        else:
            self.give_back(job, worker)

    def _change(self, job: Job, worker: str, values: Mapping[str, Any]) -> bool:
        with self._ledger.changing() as connection:
            return connection.execute(sql.update(jobs_table).where(_mine(job, worker)).values(values)).rowcount == 1

    def _stored(self, key: str, kind: str, campaign: str | None, request: dict[str, Any]) -> Job:
        with self._ledger.reading() as connection:
            job = self.get(str(connection.execute(_under(key)).scalar_one()))
        if (job.kind, job.campaign, job.request) != (kind, campaign, request):
            raise ConflictError(f"key {key}: expected a key of its own; found it used for another job, {job.id}.")
        return job


def _under(key: str) -> sql.Select[Any]:
    return sql.select(jobs_table.c.id).where(jobs_table.c.key == key)


def _mine(job: Job, worker: str) -> sql.ColumnElement[bool]:
    running = jobs_table.c.state == State.RUNNING.value
    return sql.and_(jobs_table.c.id == job.id, jobs_table.c.worker == worker, running)


def _over() -> dict[str, Any]:
    return {"finished": utc_now(), "worker": None, "lease": None}


def _job(row: Any) -> Job:
    told = dict(row._mapping)
    return Job(**{**told, "state": State(told["state"])})
