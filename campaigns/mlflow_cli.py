"""The commands about the projection into MLflow: sync, ui."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from campaigns.store import DEFAULT_STORE, check_exists, mlflow_folder, mlflow_server, shown
from campaigns.terminal import AsJson, Mlflow, Store, print_json, say

app = typer.Typer()


@app.command()
def sync(
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make it all anew; a local mlflow.db is kept as mlflow.before-rebuild.db.")
    ] = False,
    mlflow: Mlflow = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Bring the MLflow projection up to the ledger, and wait for it."""
    from campaigns.ledger import Ledger
    from campaigns.progress import progress
    from campaigns.projection import sync as project

    check_exists(store)
    folder, server = mlflow_folder(store), mlflow_server(mlflow)
    with progress("Writing campaigns", None, as_json) as written:
        report = project(Ledger.open(store), folder, written, server=server, rebuild=rebuild)
    for problem in report.problems:
        print(f"stackpress: {problem}", file=sys.stderr)
    if as_json:
        print_json(vars(report))
    elif not report.problems:
        say(f"MLflow {f'at {shown(server)}' if server else f'in {folder}'} is up to the ledger of {shown(store)}.")
    if report.problems:
        raise typer.Exit(1)


@app.command()
def ui(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME ...]",
            help="One campaign opens its own page, several the comparison of them; without a name all are compared.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port on this machine; the next free one if it is taken.")] = 5000,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    mlflow: Mlflow = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Compare campaigns in the MLflow UI, on this machine, until Ctrl-C."""
    from campaigns.campaign import Campaign
    from campaigns.ledger import Ledger
    from campaigns.mlflow_place import Place
    from campaigns.mlflow_ui import serve_ui
    from campaigns.projection import sync as project

    check_exists(store)
    for name in names or ():
        Campaign.open(name, store)
    place = Place(mlflow_folder(store).resolve(), mlflow_server(mlflow))
    report = project(Ledger.open(store), place.folder, server=place.server)
    for problem in report.problems:
        print(f"stackpress: {problem}", file=sys.stderr)
    serve_ui(place, port, browser, names or ())
