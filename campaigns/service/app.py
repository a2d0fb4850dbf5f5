"""The application: routes, what stands before them, and how their errors are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from campaigns.background import NICENESS
from campaigns.service import (
    bench,
    bench_changes,
    bench_forms,
    bench_uploads,
    campaign_routes,
    cell_routes,
    file_routes,
    job_routes,
    notice_routes,
    operations,
    problems,
    sessions,
    suggestion_routes,
)
from campaigns.service.access import READS
from campaigns.service.delivery import deliverer
from campaigns.service.desk import Desk
from campaigns.service.guard import Guard
from campaigns.service.limiting import Limits
from campaigns.service.notices import watcher
from campaigns.service.processes import OwnProcess
from campaigns.service.runner import Runner
from campaigns.service.settings import Settings
from campaigns.versions import version_of

ROUTERS: tuple[APIRouter, ...] = (
    campaign_routes.router,
    cell_routes.router,
    suggestion_routes.router,
    file_routes.router,
    sessions.router,
    job_routes.router,
    notice_routes.router,
    bench.router,
    bench_changes.router,
    bench_uploads.router,
    bench_forms.router,
    operations.router,
)

DESCRIPTION = """Which stacking pressure to test next, for each electrode pair: the verbs of `stackpress` over HTTP.

Pressures are in kPa, lives in h or cycles, efficiencies and retentions fractions, times in UTC (ISO 8601). Every error
is an `application/problem+json` that says what was expected, what was found and what to do; nothing is stored in part.
Every POST and PATCH takes an `Idempotency-Key`: sent again under it, a request is carried out once."""


def create_app(settings: Settings) -> FastAPI:
    """The service over one store."""
    app = FastAPI(
        title="stackpress",
        version=version_of("stackpress"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
    )
    app.state.settings = settings
    app.state.desk = Desk(settings.store)
    app.state.limits = Limits(settings)
    problems.install(app)
    app.state.measures = operations.Measures()
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(operations.Observed, measures=app.state.measures)
    for router in ROUTERS:
        app.include_router(router)
    app.state.routes = [route for router in ROUTERS for route in router.routes]
    app.add_api_route("/openapi.json", lambda: app.openapi(), dependencies=READS, include_in_schema=False)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def from_environment() -> FastAPI:
    """The service as `Settings.to_environment` left it: what each worker starts."""
    return create_app(Settings.from_environment())


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    import torch

    torch.set_num_threads(1)
    desk, settings = app.state.desk, app.state.settings
    desk.fitter = OwnProcess("optimizer.suggestion", NICENESS)
    desk.drawer = OwnProcess("campaigns.figure")
    beside = (Runner(desk.ledger, settings.store), watcher(desk), deliverer(desk.ledger, settings.private_webhooks))
    for each in beside:
        each.start()
    yield
    for each in beside:
        each.stop()
    desk.close()


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the shape of problems in it."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        shape = problems.ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        parts = {**shape.pop("$defs", {}), problems.ProblemDocument.__name__: shape}
        document.setdefault("components", {}).setdefault("schemas", {}).update(parts)
        app.openapi_schema = document
    return app.openapi_schema
