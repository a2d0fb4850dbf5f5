"""Campaigns: list, open, look at, history, undo, close, compare."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from campaigns.campaign import Campaign
from campaigns.history import Line
from campaigns.service.access import MANAGES, READS, RECORDS
from campaigns.service.routing import READING, WRITING, Key, Limit, Name, Offset, TheDesk, apart, page
from campaigns.service.shapes import (
    CampaignDocument,
    CampaignPage,
    CampaignSummary,
    Closing,
    ComparisonDocument,
    HistoryPage,
    NewCampaign,
    Undoing,
)
from surrogates.errors import UserError

router = APIRouter(tags=["campaigns"])


@router.get("/campaigns", response_model=CampaignPage, dependencies=READS, responses=READING)
def campaigns(request: Request, desk: TheDesk, limit: Limit = 100, offset: Offset = 0) -> Any:
    """The campaigns of the store, oldest first."""
    names, told = page(request, desk.names(), limit, offset)
    return {"campaigns": [CampaignSummary.of(desk.state(name)) for name in names], **told}


@router.post("/campaigns", status_code=201, response_model=CampaignDocument, dependencies=MANAGES, responses=WRITING)
def open_campaign(new: NewCampaign, response: Response, desk: TheDesk, key: Key) -> Any:
    """Open a campaign: what is tuned, in which cell, within which pressures."""
    check_prior(new.prior)
    given = new.model_dump(exclude={"name", "condition"})
    campaign = Campaign.create(new.name, new.condition, key=key, store=desk, **given)
    response.headers["Location"] = f"/campaigns/{new.name}"
    return CampaignDocument.of(campaign.state)


@router.get("/campaigns/{name}", response_model=CampaignDocument, dependencies=READS, responses=READING)
def campaign(name: Name, desk: TheDesk) -> Any:
    """A campaign as it stands: what is sought, its cells, and the last answer."""
    return CampaignDocument.of(desk.state(name))


@router.get("/campaigns/{name}/history", response_model=HistoryPage, dependencies=READS, responses=READING)
def history(
    request: Request,
    name: Name,
    desk: TheDesk,
    cell_id: Annotated[str | None, Query(max_length=100, description="Only what speaks of this cell.")] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Any:
    """What happened, oldest first: who, when, what."""
    lines, told = page(request, desk.lines(name, cell_id), limit, offset)
    return {"events": lines, **told}


@router.get("/comparison", response_model=ComparisonDocument, dependencies=READS, responses=READING)
def compare(
    desk: TheDesk,
    name: Annotated[list[str], Query(min_length=2, max_length=6, description="Two to six campaigns.")],
) -> Any:
    """Campaigns side by side, from their last answers: what they cost, what they found, whether they agree."""
    from campaigns.comparison import side_by_side
    from campaigns.comparison_text import document, sentences

    found = side_by_side([desk.campaign(each) for each in dict.fromkeys(name)])
    return {**document(found), "sentences": list(sentences(found))}


@router.post("/campaigns/{name}/undo", response_model=Line, dependencies=RECORDS, responses=WRITING)
def undo(name: Name, which: Undoing, desk: TheDesk, key: Key) -> Any:
    """Undo an event; an undoing can be undone, too."""
    event = desk.campaign(name).undo(which.revision, key=key)
    return desk.lines(name)[event.revision - 1]


@router.post("/campaigns/{name}/close", response_model=CampaignDocument, dependencies=MANAGES, responses=WRITING)
async def close(name: Name, why: Closing, desk: TheDesk, key: Key) -> Any:
    """Say that a campaign is finished; undoing that event opens it again."""
    await apart(lambda: desk.campaign(name).close(why.reason, seed=why.seed, key=key))
    return await run_in_threadpool(lambda: CampaignDocument.of(desk.state(name)))


def check_prior(name: str) -> None:
    """A prior is asked for by name: a path would let a client read the server's files."""
    from surrogates.prior import Prior

    if name not in Prior.names():
        raise UserError(f"prior: expected one of {', '.join(Prior.names())}; found {name!r}.")
