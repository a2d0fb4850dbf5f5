"""The commands of the HTTP service: serve, and token create, list and revoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from campaigns.store import DEFAULT_STORE, SERVER_VARIABLE, check_exists, shown
from campaigns.terminal import AsJson, Store, print_json, say

if TYPE_CHECKING:
    from campaigns.service.settings import Settings
    from campaigns.service.tokens import Tokens

app = typer.Typer()
token_app = typer.Typer(help="Who may ask the service: one token for each person or machine.", no_args_is_help=True)
app.add_typer(token_app, name="token")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs tokens.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8321,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer.")] = 1,
    public_url: Annotated[
        str | None, typer.Option(help="Address that browsers use, where a proxy stands before.", show_default=False)
    ] = None,
    mlflow_url: Annotated[
        str | None,
        typer.Option(help="Where MLflow's page is, to link to.", envvar=SERVER_VARIABLE, show_default=False),
    ] = None,
    max_upload_mb: Annotated[float, typer.Option(min=0.001, help="Largest file that is taken, MB.")] = 100.0,
    requests_per_minute: Annotated[
        int, typer.Option(min=1, help="For each token, or each address without one.")
    ] = 1200,
    failures_per_minute: Annotated[int, typer.Option(min=1, help="Wrong tokens, for each address.")] = 10,
    longest_stream_s: Annotated[
        float, typer.Option(min=0, help="A job's events are sent for so long at most; the client then asks again.")
    ] = 300.0,
    private_webhooks: Annotated[
        bool, typer.Option(help="Notices may go to this machine and to the network it is in.")
    ] = False,
    store: Store = DEFAULT_STORE,
) -> None:
    """Serve the API and the bench page until Ctrl-C; requests under way are finished first."""
    from campaigns.service.settings import Settings

    settings = Settings(
        store=store,
        host=host,
        port=port,
        workers=workers,
        public_url=public_url,
        mlflow_url=mlflow_url,
        max_upload_mb=max_upload_mb,
        requests_per_minute=requests_per_minute,
        failures_per_minute=failures_per_minute,
        longest_stream_s=longest_stream_s,
        private_webhooks=private_webhooks,
    )
    _check_protected(settings)
    _check_free(host, port)
    _run(settings)


def _check_protected(settings: Settings) -> None:
    """Raise `UserError` where others could ask and no token would be asked for."""
    from surrogates.errors import UserError

    if not settings.is_private and not _tokens(settings.store).any():
        where = settings.public_url or settings.host
        raise UserError(
            f"serve {where}: expected a token in the store {shown(settings.store)}, because others can reach this "
            "address; found none. Make one: stackpress token create NAME --role manage"
        )


def _check_free(host: str, port: int) -> None:
    """Raise `UserError` where an address cannot be listened on."""
    import socket

    from surrogates.errors import UserError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise UserError(
                f"serve {host}:{port}: expected an address that is free; found: {error.strerror or error}. "
                "Choose another with --port or --host."
            ) from None


def _run(settings: Settings) -> None:
    import os
    import tempfile

    import uvicorn

    from campaigns.service.settings import MULTIPROCESS

    settings.to_environment()
    say(f"stackpress on http://{settings.host}:{settings.port}, store {shown(settings.store)}. Ctrl-C ends it.")
    with tempfile.TemporaryDirectory(prefix="stackpress-") as measures:
        if settings.workers > 1:  # each worker leaves its measures there, and any of them tells of all
            os.environ.setdefault(MULTIPROCESS, measures)
        uvicorn.run(
            "campaigns.service.app:from_environment",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            log_level="warning",
            server_header=False,
            proxy_headers=bool(settings.public_url),
            timeout_graceful_shutdown=30,
        )


@token_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose token it is: the history says so of what is done with it.")],
    role: Annotated[str, typer.Option(help="read, record (cells, suggestions) or manage (campaigns, too).")] = "record",
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once: only a digest is kept."""
    secret = _tokens(store).create(name, role)
    if as_json:
        print_json({"name": name, "role": role, "token": secret})
        return
    print(secret, flush=True)


@token_app.command("list")
def list_(store: Store = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Who has a token, and what it allows."""
    check_exists(store)
    tokens = _tokens(store).list()
    if as_json:
        print_json([vars(token) for token in tokens])
        return
    for token in tokens:
        until = f", revoked {token.revoked[:16]}" if token.revoked else ""
        say(f"{token.name}: {token.role}, made {token.created[:16]} by {token.created_by}{until}")
    if not tokens:
        say("No token yet: stackpress token create NAME. Without one only this machine can be served.")


@token_app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="Whose token.")], store: Store = DEFAULT_STORE) -> None:
    """Take somebody's token back; sessions opened with it end."""
    check_exists(store)
    _tokens(store).revoke(name)
    say(f"Revoked the token of {name}.")


def _tokens(store: str) -> Tokens:
    from campaigns.ledger import Ledger
    from campaigns.service.tokens import Tokens

    return Tokens(Ledger.open(store))
