"""What a store is: a folder, or a database URL; and where its projection into MLflow is. Looking at one makes nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

from surrogates.errors import UserError

DEFAULT_STORE = "mlruns"
SERVER_VARIABLE = "STACKPRESS_MLFLOW"


def exists(store: str | Path) -> bool:
    """Whether there is a ledger to read; of a database URL that is left to the database."""
    return "://" in str(store) or (Path(store) / "ledger.db").exists()


def is_address(store: object) -> bool:
    """Whether a store is the address of a service."""
    return str(store).startswith(("http://", "https://"))


def shown(store: str | Path) -> str:
    """A store as messages call it: without the password that a database URL may hold."""
    return re.sub(r"(://[^/@]*:)[^/]*@", r"\1***@", str(store))


def check_exists(store: str | Path) -> None:
    """Raise `UserError` where a folder holds no ledger."""
    if not exists(store):
        raise UserError(f"store {store}: expected a folder with a ledger; found none. Open a campaign there first.")


def mlflow_folder(store: str | Path) -> Path:
    """The folder of a store's figures and MLflow files: the store itself, "mlruns" for a database URL."""
    return Path(DEFAULT_STORE if "://" in str(store) else store)


def mlflow_server(given: str | None = None) -> str | None:
    """The address of the MLflow server that is projected into: `given`, else what STACKPRESS_MLFLOW says; None for the
    database in the store's folder. Raises `UserError` where that is no web address."""
    address = (given or os.environ.get(SERVER_VARIABLE) or "").rstrip("/")
    if address and not re.match(r"https?://[^/\s]+", address):
        raise UserError(
            f"MLflow server: expected an address, as in http://labserver:5000; found {address!r}. Mend --mlflow or "
            f"{SERVER_VARIABLE}; without them the projection is in the store's folder."
        )
    return address or None
