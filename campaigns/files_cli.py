"""The commands that take a campaign out into a file and in again: export, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from campaigns.store import DEFAULT_STORE
from campaigns.terminal import AsJson, Name, Store, print_json, say

app = typer.Typer()


@app.command()
def export(
    name: Name,
    file: Annotated[
        Path, typer.Argument(help=".jsonl: the whole history; .csv, .xlsx or .parquet: the table of cells.")
    ],
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write a campaign to a file, which is read back and compared before it is there."""
    from campaigns.campaign import Campaign

    campaign = Campaign.open(name, store)
    campaign.export(file)
    state = campaign.state
    if as_json:
        print_json({"campaign": name, "file": str(file), "revision": state.revision, "cells": len(state.cells)})
        return
    what = f"{state.revision} events" if file.suffix.lower() == ".jsonl" else f"{len(state.cells)} cells"
    say(f"Wrote {file}: {what} of {name}, read back and compared.")


@app.command("import")
def import_(
    name: Name,
    file: Annotated[Path, typer.Argument(help="A .jsonl that export wrote. A table of cells: stackpress add.")],
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Bring a campaign's history from a file into a store; what is there already is passed over."""
    from campaigns.campaign import Campaign

    state = Campaign.restore(file, name, store).state
    if as_json:
        print_json({"campaign": name, "file": str(file), "revision": state.revision, "cells": len(state.cells)})
        return
    say(f"{name} is as {file} tells: {state.revision} events, {len(state.cells)} cells.")
