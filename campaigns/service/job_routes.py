"""Long work: ask for it, watch it, cancel it. An answer comes at once; the result stands in the job when it is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field, StrictBool

from campaigns.ledger import actor
from campaigns.service.access import MANAGES, READS, RECORDS
from campaigns.service.campaign_routes import check_prior
from campaigns.service.jobs import Job, Jobs
from campaigns.service.problems import RefusalError
from campaigns.service.routing import READING, WRITING, Key, Limit, Name, Offset, TheDesk, place
from campaigns.service.shapes import NAMED, Body, Number, Page, Seed, Text, Whole

router = APIRouter(tags=["jobs"])
LOOK_EVERY_S = 0.5
MOST_OPEN = 20
LOCATION = {"headers": {"Location": {"description": "Address of the job.", "schema": {"type": "string"}}}}
BeginningWork: dict[int | str, dict[str, Any]] = WRITING | {202: LOCATION}
StrictSeed = Annotated[Seed, Field(strict=True)]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])]


class NewPlan(Body):
    """How large the simulated campaigns are, and how many; as `Campaign.plan`."""

    cells: Annotated[Whole, Field(ge=1, le=50)] = 8
    campaigns: Annotated[Whole, Field(ge=1, le=1000)] = 100
    seed: StrictSeed = 0


class NewReplay(Body):
    """Under which other prior or policy a campaign is decided again; what is not given stays; as `Campaign.replay`."""

    prior: Annotated[str, Field(max_length=64)] | None = None
    subject_to: Annotated[list[Text], Field(max_length=10)] | None = None
    per: Literal["cell", "channel-day"] | None = None
    stop_gain: Number | None = None
    max_test_h: Number | None = None
    one_pressure: StrictBool | None = None
    seed: StrictSeed = 0


class NewPrior(Body):
    """From which campaigns of the store a prior is learned, starting from a named one."""

    campaigns: Annotated[list[Annotated[str, Field(pattern=NAMED)]], Field(min_length=1, max_length=1000)]
    base: Annotated[str, Field(max_length=64)] = "default"
    name: Annotated[str, Field(pattern=NAMED)] = "learned"
    seed: StrictSeed = 0


class JobPage(Page):
    """Jobs, the newest first, without their results."""

    jobs: list[Job]


def jobs_of(desk: TheDesk) -> Jobs:
    """The jobs of the store."""
    return Jobs(desk.ledger)


TheJobs = Annotated[Jobs, Depends(jobs_of)]


@router.post(
    "/campaigns/{name}/plans",
    status_code=202,
    response_model=Job,
    dependencies=RECORDS,
    responses=BeginningWork,
)
def plan(name: Name, asked: NewPlan, response: Response, desk: TheDesk, jobs: TheJobs, key: Key) -> Any:
    """Simulate campaigns like this one before its first cell: how many cells until the best pressure is found."""
    desk.state(name)
    return _begin(jobs, "plan", name, asked.model_dump(), key, response)


@router.post(
    "/campaigns/{name}/replays",
    status_code=202,
    response_model=Job,
    dependencies=RECORDS,
    responses=BeginningWork,
)
def replay(name: Name, asked: NewReplay, response: Response, desk: TheDesk, jobs: TheJobs, key: Key) -> Any:
    """Decide this campaign again under another prior or policy: what it would have said before each cell."""
    desk.state(name)
    if asked.prior is not None:
        check_prior(asked.prior)
    return _begin(jobs, "replay", name, asked.model_dump(exclude_none=True), key, response)


@router.post("/priors", status_code=202, response_model=Job, dependencies=MANAGES, responses=BeginningWork)
def learn(asked: NewPrior, response: Response, desk: TheDesk, jobs: TheJobs, key: Key) -> Any:
    """Learn a prior from finished campaigns; the job's result has its document."""
    check_prior(asked.base)
    campaigns = sorted(set(asked.campaigns))
    for name in campaigns:
        desk.state(name)
    return _begin(jobs, "learn", None, {**asked.model_dump(), "campaigns": campaigns}, key, response)


@router.get("/jobs", response_model=JobPage, dependencies=READS, responses=READING)
def jobs(request: Request, jobs: TheJobs, limit: Limit = 100, offset: Offset = 0) -> Any:
    """The jobs of the store."""
    part, total = jobs.page(limit, offset)
    return {"jobs": part, **place(request, total, limit, offset)}


@router.get("/jobs/{job_id}", response_model=Job, dependencies=READS, responses=READING)
def job(job_id: JobId, jobs: TheJobs) -> Any:
    """A job, and its result once it is done."""
    return jobs.get(job_id)


@router.put("/jobs/{job_id}/cancellation", response_model=Job, dependencies=RECORDS, responses=WRITING)
def cancel(job_id: JobId, request: Request, jobs: TheJobs) -> Any:
    """Cancel a job; one that is over stays as it is. What somebody who manages asked for, only such may cancel."""
    if jobs.get(job_id).kind == "learn" and not request.state.user.role.includes("manage"):
        raise RefusalError(403, f"job {job_id}: expected a token that may manage; found one that may not.")
    return jobs.cancel(job_id)


def there(job_id: JobId, jobs: TheJobs) -> Job:
    """The job that is asked for, before the first event is sent."""
    return jobs.get(job_id)


@router.get("/jobs/{job_id}/events", response_class=EventSourceResponse, dependencies=READS, responses=READING)
async def events(
    found: Annotated[Job, Depends(there)], request: Request, jobs: TheJobs
) -> AsyncIterator[ServerSentEvent]:
    """The job each time it has moved, as server-sent events called by its state, until it is over. A stream that has
    lasted for some minutes ends before: ask again."""
    end = time.monotonic() + request.app.state.settings.longest_stream_s
    told: Job | None = None
    while True:
        if found != told:
            told = found
            yield ServerSentEvent(event=found.state.value, data=found, id=f"{found.state.value}-{found.done}")
        if found.state.is_final or time.monotonic() > end:
            return
        await asyncio.sleep(LOOK_EVERY_S)
        found = await run_in_threadpool(jobs.get, found.id)


def _begin(
    jobs: Jobs, kind: str, campaign: str | None, request: dict[str, Any], key: str | None, response: Response
) -> Job:
    if jobs.open_of(actor()) >= MOST_OPEN:
        raise RefusalError(
            429,
            f"{kind}: expected {MOST_OPEN} jobs of {actor()} under way at most; found as many. Wait for one, or cancel it.",
            {"Retry-After": "60"},
        )
    job = jobs.ask(kind, campaign, request, key)
    response.headers["Location"] = f"/jobs/{job.id}"
    return job
