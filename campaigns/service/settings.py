"""How the service is set up. It travels to the workers' processes by one environment variable."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from campaigns.store import DEFAULT_STORE
from surrogates.errors import UserError

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # where workers leave their measures, by prometheus_client's convention
VARIABLE = "STACKPRESS_SERVICE"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Settings:
    """What `stackpress serve` was asked for.

    store                 folder or database URL
    host, port, workers   where the service listens, and in how many processes
    public_url            the address that browsers use where a proxy stands before the service
    mlflow_url            where MLflow's own page is
    max_upload_mb         largest file that is taken, MB
    max_body_kb           largest JSON document that is taken, kB
    requests_per_minute   for each token, else for each address
    failures_per_minute   wrong tokens, for each address
    longest_stream_s      events of a job are sent for so long at most; a client then asks again
    private_webhooks      whether notices may go to addresses of this machine and the network it is in
    session_h             how long a log-in lasts, h
    """

    store: str = DEFAULT_STORE
    host: str = "127.0.0.1"
    port: int = 8321
    workers: int = 1
    public_url: str | None = None
    mlflow_url: str | None = None
    max_upload_mb: float = 100.0
    max_body_kb: float = 1000.0
    requests_per_minute: int = 1200
    failures_per_minute: int = 10
    longest_stream_s: float = 300.0
    private_webhooks: bool = False
    session_h: float = 12.0

    def __post_init__(self) -> None:
        for name in ("public_url", "mlflow_url"):
            address = getattr(self, name)
            if address and (urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname):
                raise UserError(f"{name}: expected an address, as in https://bench.lab.org; found {address!r}.")

    @property
    def is_private(self) -> bool:
        """Whether only this machine can ask."""
        return is_loopback(self.host) and not self.public_url

    @property
    def is_https(self) -> bool:
        """Whether browsers reach the service by https."""
        return (self.public_url or "").startswith("https://")

    @property
    def hosts(self) -> tuple[str, ...] | None:
        """The names under which the service may be asked for (without port); None: any, where others can reach it."""
        if self.public_url:
            return (*LOOPBACK_NAMES, str(urlsplit(self.public_url).hostname))
        return LOOPBACK_NAMES if is_loopback(self.host) else None

    def to_environment(self) -> None:
        """Leave the settings to the processes that this one starts."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings that `to_environment` left."""
        return cls(**json.loads(os.environ[VARIABLE]))


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
