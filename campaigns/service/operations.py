"""What whoever runs the service looks at: is it alive, can it answer, how does it do, and one line a request in the log.

Measures are those of all workers together where PROMETHEUS_MULTIPROC_DIR is set, as `stackpress serve --workers` does.
Nothing secret is measured or logged: routes by their template, no query, no header, no body.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import prometheus_client as prometheus
import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client import multiprocess
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from campaigns.service.access import READS
from campaigns.service.jobs import Jobs
from campaigns.service.routing import READING, TheDesk
from campaigns.service.settings import MULTIPROCESS

router = APIRouter(tags=["operations"])
UNROUTED = "(no route)"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Measures:
    """Counts of one worker, or of all of them in multiprocess mode."""

    def __init__(self) -> None:
        self._own = prometheus.CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = prometheus.Counter("stackpress_requests", "Requests answered.", labels, registry=self._own)
        self._seconds = prometheus.Histogram(
            "stackpress_request_seconds",
            "Time to the end of an answer.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self._own,
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self, jobs: dict[str, int]) -> bytes:
        """All measures in Prometheus's text format, the number of jobs by state among them."""
        registry = self._own
        if os.environ.get(MULTIPROCESS):
            registry = prometheus.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        counted = prometheus.CollectorRegistry()
        counted.register(_Jobs(jobs))
        return prometheus.generate_latest(registry) + prometheus.generate_latest(counted)


class _Jobs(Collector):
    """Jobs by state, read from the database as they are asked for: every worker sees the same."""

    def __init__(self, jobs: dict[str, int]) -> None:
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        """The one measure."""
        family = GaugeMetricFamily("stackpress_jobs", "Jobs by state.", labels=["state"])
        for state, count in self._jobs.items():
            family.add_metric([state], count)
        yield family


class Observed:
    """The middleware outside all others: counts each request, and writes one line of it."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self.app, self.measures = app, measures
        self._log = logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, then tell."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, seen)
        finally:
            seconds = time.perf_counter() - begun
            route = getattr(scope.get("route"), "path", UNROUTED)
            self.measures.count(scope["method"], route, status, seconds)
            state: dict[str, Any] = scope.get("state", {})
            user = state.get("user")
            self._log.info(
                "request",
                request_id=state.get("request_id"),
                method=scope["method"],
                route=route,
                status=status,
                ms=round(1000 * seconds, 1),
                user=user.name if user else None,
            )


def logger() -> Any:
    """One line an event on stderr: JSON, or for eyes on a terminal."""
    shown: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr), processors=[structlog.processors.add_log_level, stamp, shown]
    )


@router.get("/healthz", include_in_schema=False)
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", include_in_schema=False)
def readyz(desk: TheDesk) -> dict[str, Any]:
    """The database answers, in a schema that this version knows: opening it has checked that."""
    return {"status": "ready", "events": desk.ledger.head()}


@router.get(
    "/metrics", dependencies=READS, response_class=Response, responses=READING | {200: {"content": {"text/plain": {}}}}
)
def metrics(request: Request, desk: TheDesk) -> Response:
    """Requests, their times, and jobs, for Prometheus."""
    measures: Measures = request.app.state.measures
    return Response(measures.text(Jobs(desk.ledger).by_state()), media_type=prometheus.CONTENT_TYPE_LATEST)
