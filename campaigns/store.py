"""What a store is: a folder, or a database URL. Looking at one makes nothing."""

from __future__ import annotations

import re
from pathlib import Path

from surrogates.errors import UserError

DEFAULT_STORE = "mlruns"


def exists(store: str | Path) -> bool:
    """Whether there is a ledger to read; of a database URL that is left to the database."""
    return "://" in str(store) or (Path(store) / "ledger.db").exists()


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
