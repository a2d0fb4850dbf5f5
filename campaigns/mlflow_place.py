"""Where a store's projection is: MLflow's database in the store's folder, or an MLflow server.

A server is asked once, without repeats: MLflow's client would repeat for four minutes, and a repeated creation is stored
twice. What does not come through is left to the next sync.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
import shutil
import sqlite3
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaigns.store import shown
from surrogates.errors import UserError

DATABASE, ARTIFACTS, KEPT = "mlflow.db", "artifacts", "mlflow.before-rebuild.db"
ANSWER_S = 5
URI_VARIABLE = "MLFLOW_TRACKING_URI"
OURS = {"mlflow.experimentKind": "custom_model_development"}
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "GIT_PYTHON_REFRESH": "quiet",
}


class AwayError(UserError):
    """MLflow does not answer, or its database is not whole: no campaign can be written."""


@dataclass(frozen=True)
class Place:
    """`folder`: of figures, locks and logs, and of MLflow's database unless there is a `server` (its address)."""

    folder: Path
    server: str | None = None

    @property
    def database(self) -> Path:
        """MLflow's database in the folder."""
        return self.folder / DATABASE

    def __str__(self) -> str:
        return shown(self.server) if self.server else str(self.database)

    def check(self) -> None:
        """Raise `AwayError` where the server does not answer, or the database is damaged."""
        if self.server:
            _check_server(self.server, str(self))
        elif self.database.exists():
            _check_database(self.database)

    def client(self) -> Any:
        """MLflow's client; makes the database where it is not there yet."""
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        with _uncollected():
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException

            if not self.server:  # else the client would import them, and garbage be looked for
                import mlflow.store.model_registry.sqlalchemy_store
                import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

        for logger in ("mlflow", "alembic"):
            logging.getLogger(logger).setLevel(logging.WARNING)
        if self.server:
            return MlflowClient(tracking_uri=self.server, registry_uri=self.server)
        uri = database_uri(self.database)
        if not self.database.exists():  # made aside: a database that was killed while it was made stays broken
            for left in self.folder.glob(f"{DATABASE}.part*"):
                left.unlink()
            part = self.folder / f"{DATABASE}.part-{uuid.uuid4().hex}"
            MlflowClient(database_uri(part), database_uri(part)).delete_experiment("0")  # MLflow's own, empty "Default"
            _disconnect(database_uri(part))
            part.replace(self.database)
            _disconnect(uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        try:
            client.search_experiments(max_results=1)
        except (MlflowException, OSError) as error:
            raise _damaged(self.database, str(error)) from None
        return client

    def experiments(self, client: Any) -> list[Any]:
        """The experiments that stackpress made, with their artifacts where the folder is now."""
        found = [item for item in client.search_experiments() if OURS.items() <= item.tags.items()]
        if not self.server:
            for experiment in found:
                self._rehome(experiment)
        return found

    def _rehome(self, experiment: Any) -> None:
        """Point an experiment at its artifacts after the folder was moved: MLflow keeps absolute paths and lists nothing."""
        old = experiment.artifact_location
        new = self.artifact_location(experiment.name)
        if old == new:
            return
        with contextlib.closing(sqlite3.connect(self.database)) as database, database:
            key = (experiment.experiment_id,)
            database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (new, *key))
            for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location")):
                change = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE experiment_id = ?"
                where = f"AND substr({column}, 1, ?) = ?"
                database.execute(f"{change} {where}", (new, len(old) + 1, *key, len(old), old))

    def artifact_location(self, programme: str) -> str | None:
        """Where the artifacts of a programme are kept; None where that is the server's business."""
        if self.server:
            return None
        return str(self.folder / ARTIFACTS / (re.sub(r"[^\w.-]+", "_", programme).strip(".") or "_"))

    def put_aside(self) -> None:
        """Keep the database as mlflow.before-rebuild.db, so that a new one is made, and delete the artifacts of ours
        that only it knows."""
        if not self.database.exists():
            return
        kept = self.folder / KEPT
        for part in ("-journal", "-wal", "-shm", ""):  # a journal that stayed would be played back into the new one
            target = kept.with_name(KEPT + part)
            target.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self.database.with_name(DATABASE + part).replace(target)
        with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(kept)) as database:
            runs = "SELECT artifact_uri FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid AND key = 'record'"
            models = "SELECT artifact_location FROM logged_models JOIN logged_model_tags USING (model_id)"
            for (path,) in database.execute(f"{runs} UNION {models} WHERE tag_key = 'record'").fetchall():
                home = Path(path).parent
                if self.folder / ARTIFACTS in home.parents:
                    shutil.rmtree(home, ignore_errors=True)


def _disconnect(uri: str) -> None:
    """Close MLflow's connections to a database: it keeps them as long as the process lives, whatever becomes of the
    file."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

    for store in (Registry, Tracking):
        if engine := store._engine_map.get(uri):
            engine.dispose()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Inside, no garbage is looked for: of 1,500 imported modules none is to be had, which takes 0.5 s of 2 to find out."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextlib.contextmanager
def as_default(client: Any) -> Iterator[None]:
    """Inside, MLflow's default is where `client` is: the registry in a database looks for logged models nowhere else."""
    from mlflow.tracking._tracking_service.utils import _use_tracking_uri

    before = os.environ.get(URI_VARIABLE)
    try:
        with _use_tracking_uri(client.tracking_uri):
            yield
    finally:
        if before is not None:
            os.environ[URI_VARIABLE] = before


def database_uri(path: Path) -> str:
    """The URI of an SQLite database for MLflow, which would decode % and ? in a path in some places and not in others."""
    if re.search("[%?]", str(path)):
        raise UserError(
            f"{path.parent}: expected a path without % and ?, which MLflow misreads. Choose another folder."
        )
    return f"sqlite:///{path}"


def _check_database(path: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            [(found,), *_] = database.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from None
    if found != "ok":
        raise _damaged(path, found)


def _damaged(path: Path, found: str) -> AwayError:
    return AwayError(
        f"{path}: expected MLflow's database; found: {' '.join(found.split())[:300]}. Nothing is lost, the ledger has it "
        "all: stackpress sync --rebuild makes it anew."
    )


def _check_server(server: str, name: str) -> None:
    try:
        with urllib.request.urlopen(f"{server}/health", timeout=ANSWER_S):
            return
    except urllib.error.HTTPError as error:
        found = f"HTTP status {error.code}"
        found += ", the server refuses its own name: start it with --allowed-hosts" * (error.code == 403)
    except (OSError, ValueError) as error:
        found = str(getattr(error, "reason", error))
    raise AwayError(
        f"MLflow server {name}: expected an answer within {ANSWER_S} s; found: {found}. Nothing is lost, the ledger has "
        "it all: the next sync brings the server up to it."
    )
