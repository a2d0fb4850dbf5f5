"""The commands that keep a store safe: backup, restore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from campaigns.store import DEFAULT_STORE, shown
from campaigns.terminal import AsJson, Store, print_json, say

app = typer.Typer()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The .zip to write; one that is there is replaced.")],
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write all campaigns of a store to one file, while others work on them; it is read back and compared."""
    from campaigns.backup import back_up

    _say(f"Wrote {file}", "read back and compared", back_up(store, file), as_json)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A .zip that backup wrote.")],
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Make a store of a backup: all campaigns or none. The store must be new, or have no campaign; no service may run on it."""
    from campaigns.backup import restore as restored

    _say(f"Restored {shown(store)}", "bring MLflow up to it: stackpress sync", restored(file, store), as_json)


def _say(done: str, then: str, histories: Mapping[str, Sequence[object]], as_json: bool) -> None:
    count = {name: len(events) for name, events in histories.items()}
    if as_json:
        print_json({"campaigns": count})
        return
    campaigns = f"{len(count)} campaign{'s' * (len(count) != 1)}"
    say(f"{done}: {campaigns}, {sum(count.values())} events; {then}.")
