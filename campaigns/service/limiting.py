"""How often one may ask: each token, else each address; and how often an address may show a token that is none.

Counted in each worker's memory: each takes its share.
"""

from __future__ import annotations

import math
import time

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from campaigns.service.problems import RefusalError
from campaigns.service.settings import Settings


class Limits:
    """The counts of one worker."""

    def __init__(self, settings: Settings) -> None:
        share = max(settings.workers, 1)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(max(settings.requests_per_minute // share, 1))
        self._failures = RateLimitItemPerMinute(max(settings.failures_per_minute // share, 1))

    def request(self, who: str) -> None:
        """Count a request; refuses it where there were too many."""
        if not self._limiter.hit(self._requests, "requests", who):
            raise _too_many(self._requests, self._limiter.get_window_stats(self._requests, "requests", who).reset_time)

    def failure(self, address: str) -> None:
        """Count a token that is none."""
        self._limiter.hit(self._failures, "failures", address)

    def check_failures(self, address: str) -> None:
        """Refuse an address that has shown too many tokens that are none."""
        if not self._limiter.test(self._failures, "failures", address):
            stats = self._limiter.get_window_stats(self._failures, "failures", address)
            raise _too_many(self._failures, stats.reset_time)


def limited(request: Request, name: str | None, failed: bool) -> None:
    """Count a request of `name`, or of nobody known; `failed`: a token was shown that is none."""
    limits, address = limits_of(request), address_of(request)
    if failed:
        limits.check_failures(address)
        limits.failure(address)
    limits.request(f"user {name}" if name else f"address {address}")


def limits_of(request: Request) -> Limits:
    """The counts of this worker."""
    limits: Limits = request.app.state.limits
    return limits


def address_of(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else "unknown"


def _too_many(limit: RateLimitItemPerMinute, reset_s: float) -> RefusalError:
    wait_s = max(math.ceil(reset_s - time.time()), 1)
    return RefusalError(
        429,
        f"requests: expected {limit.amount} a minute at most; found more. Wait {wait_s} s.",
        {"Retry-After": str(wait_s)},
    )
