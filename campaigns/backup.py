"""All campaigns of a store in one file, and a store made of it again.

The file is a zip: a .jsonl a campaign, as `stackpress export` writes it with its own checksum, and a list of them with the
checksum of each file. What the events do not hold is not in it: tokens and jobs of a service (they belong to that service,
make new ones), and what is made from the events again, the figures and the projection into MLflow.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from campaigns.events import Event
from campaigns.export import content_of, events_of, put
from campaigns.grid import refusal, unreadable
from campaigns.ledger import Ledger
from campaigns.state import fold
from campaigns.store import check_exists
from surrogates.errors import UserError

FORMAT = "stackpress backup 1"
CONTENTS = "contents.json"
MOST_BYTES = 4 * 10**9
Histories = dict[str, tuple[Event, ...]]


def back_up(store: str | Path, path: str | Path) -> Histories:
    """Write the events of every campaign, as they stand at one moment, to a .zip; what is written has been read back and
    compared. Writers are not kept waiting. Raises `UserError` where there is nothing to write, or it cannot be written."""
    check_exists(store)
    histories = Ledger.open(store).histories()
    if not histories:
        raise refusal(str(store), "a store with a campaign", "none", "Open one: stackpress new.")
    content = _packed({f"{name}.jsonl": content_of(events, name) for name, events in histories.items()})
    if _unpacked(content, str(path)) != histories:
        raise refusal(str(path), "events that read back as they are", "others", "Report this fault.")
    put(path, content)
    return histories


def restore(path: str | Path, store: str | Path) -> Histories:
    """Make a store of what `back_up` wrote: every campaign or, where anything is wrong, none. Raises `UserError` where the
    file is damaged, or the store has campaigns already."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise unreadable(str(path), error) from None
    histories = _unpacked(content, str(path))
    for events in histories.values():
        fold(events)
    Ledger.open(store).restore_all(histories)
    return histories


def _packed(files: Mapping[str, bytes]) -> bytes:
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONTENTS, json.dumps({"format": FORMAT, "sha256": sums}, indent=2))
        for name, content in files.items():
            archive.writestr(name, content)
    return found.getvalue()


def _unpacked(content: bytes, source: str) -> Histories:
    """The events by campaign, in the order of the list."""
    what, remedy = "a whole file of stackpress backup", "Take another backup."
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
                raise refusal(source, f"at most {MOST_BYTES / 1e9:g} GB", "more", remedy)
            about = json.loads(archive.read(CONTENTS))
            if about["format"] != FORMAT:
                raise refusal(source, f"the format {FORMAT!r}", repr(about["format"]), "Update stackpress.")
            files = {str(name): archive.read(name) for name in about["sha256"]}
    except UserError:
        raise
    except Exception as error:  # zipfile tells of a damaged archive by errors of half a dozen kinds
        raise refusal(source, what, f"{type(error).__name__}: {error}", remedy) from None
    for name, file in files.items():
        if hashlib.sha256(file).hexdigest() != about["sha256"][name]:
            raise refusal(source, what, f"{name} with another checksum", remedy)
    told = [events_of(file, f"{source}, {name}") for name, file in files.items()]
    return {events[0].campaign: events for events in told}
