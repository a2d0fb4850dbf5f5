"""What the commands share: the options that all have, and how they print."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Annotated, Any

import typer

from campaigns.store import DEFAULT_STORE, SERVER_VARIABLE

STORE_VARIABLE = "STACKPRESS_STORE"

Name = Annotated[str, typer.Argument(help="Name of the campaign.")]
Store = Annotated[
    str, typer.Option(help="Where campaigns are kept: a folder or a database URL.", envvar=STORE_VARIABLE)
]
Mlflow = Annotated[
    str | None,
    typer.Option(
        help="Address of an MLflow server to project into, instead of the store's folder.",
        envvar=SERVER_VARIABLE,
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Key = Annotated[
    str | None,
    typer.Option(help="A name for this request: sent again under it, it is stored once.", show_default=False),
]


def print_json(document: Any) -> None:
    """Print a document for machines."""
    print(json.dumps(document, indent=2, ensure_ascii=False, default=str), flush=True)


def say(text: str, as_json: bool = False) -> None:
    """Print a line for people: beside the document where there is one."""
    print(text, file=sys.stderr if as_json else sys.stdout, flush=True)


def command(verb: str, store: str) -> str:
    """What to type for a verb: as a path where the environment's commands are not on the PATH."""
    program = "stackpress" if shutil.which("stackpress") else os.path.relpath(sys.argv[0])
    is_known = store in (DEFAULT_STORE, os.environ.get(STORE_VARIABLE))
    return f"{program} {verb}" if is_known else f"{program} {verb} --store {store}"
