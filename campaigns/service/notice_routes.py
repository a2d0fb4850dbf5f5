"""A campaign's webhook: where its news are sent."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from campaigns.service.access import MANAGES
from campaigns.service.delivery import checked_address
from campaigns.service.notices import Webhooks
from campaigns.service.routing import READING, WRITING, Name, TheDesk
from campaigns.service.shapes import Body

router = APIRouter(tags=["notices"])


class NewWebhook(Body):
    """Where a campaign's news go, by POST."""

    url: Annotated[str, Field(min_length=1, max_length=2000, examples=["https://lab.org/notices"])]


class NoticeDocument(BaseModel):
    """A notice, and how it fares: waiting, delivered or failed."""

    id: str
    kind: str
    time: str
    text: str
    state: str
    attempts: int
    problem: str | None


class WebhookDocument(BaseModel):
    """A campaign's webhook; `secret` is told once, when it is made: the key of the signature of each notice."""

    campaign: str
    url: str
    set_by: str
    set_at: str
    secret: str | None = None
    notices: list[NoticeDocument]


@router.put("/campaigns/{name}/webhook", response_model=WebhookDocument, dependencies=MANAGES, responses=WRITING)
def put(name: Name, new: NewWebhook, request: Request, desk: TheDesk) -> Any:
    """Send this campaign's news to an address, signed with a new secret."""
    desk.state(name)
    checked_address(new.url, request.app.state.settings.private_webhooks)
    webhooks = Webhooks(desk.ledger)
    secret = webhooks.put(name, new.url)
    return {**webhooks.get(name), "secret": secret}


@router.get("/campaigns/{name}/webhook", response_model=WebhookDocument, dependencies=MANAGES, responses=READING)
def get(name: Name, desk: TheDesk) -> Any:
    """Where this campaign's news go, and how the last ones fared."""
    desk.state(name)
    return Webhooks(desk.ledger).get(name)


@router.delete("/campaigns/{name}/webhook", status_code=204, dependencies=MANAGES, responses=WRITING)
def delete(name: Name, desk: TheDesk) -> Response:
    """Send no more."""
    desk.state(name)
    Webhooks(desk.ledger).delete(name)
    return Response(status_code=204)
