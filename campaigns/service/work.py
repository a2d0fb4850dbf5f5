"""The process of one job: `python -m campaigns.service.work`, the job as JSON on stdin, its course as JSON lines on stdout.

A line is {"done", "total"}, then {"result"} or {"problem"}. Where stdin ends, the server is gone and so is this process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any

from campaigns.background import NICENESS
from campaigns.campaign import Campaign
from surrogates.errors import UserError


class Course:
    """How far the work is, told as it goes on; `mapper` is given to what maps a task over its parts."""

    def __init__(self, tell: Callable[[dict[str, Any]], None], repeated: int = 1) -> None:
        self._tell, self._repeated = tell, repeated
        self._done = 0

    def mapper(self, task: Callable[..., Any], *arguments: Sequence[Any]) -> Iterator[Any]:
        """The built-in map, counted."""
        parts: Iterable[Any] = map(task, *arguments)
        total = self._repeated * min(len(each) for each in arguments if isinstance(each, Sized))
        self._tell({"done": self._done, "total": max(total, self._done)})
        for result in parts:
            self._done += 1
            self._tell({"done": self._done, "total": max(total, self._done)})
            yield result


def plan(store: str, name: str, request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """`Campaign.plan`, as a document."""
    campaign = Campaign.open(name, store)
    state = campaign.state
    found = campaign.plan(**request, mapper=Course(tell, len(state.conditions)).mapper)
    plans = [
        {"condition": condition.model_dump(), **vars(item), "cells_needed": item.cells_needed}
        for condition, item in found.items()
    ]
    return {"campaign": name, "revision": state.revision, "plans": plans}


def replay(store: str, name: str, request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """`Campaign.replay`, as a document."""
    from optimizer.replay import stops_after

    campaign = Campaign.open(name, store)
    state = campaign.state
    found = campaign.replay(**request, mapper=Course(tell, len(state.conditions)).mapper)
    replays = [
        {
            "condition": condition.model_dump(),
            "steps": [vars(step) for step in steps],
            "stops_after": stops_after(steps),
        }
        for condition, steps in found.items()
    ]
    return {"campaign": name, "revision": state.revision, "replays": replays}


def learn(store: str, _: None, request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """`surrogates.learning.learn` from campaigns of the store: the prior's document."""
    from surrogates.learning import learn as learn_prior
    from surrogates.prior import Prior

    tables = {name: Campaign.open(name, store).state.cells for name in request["campaigns"]}
    base = Prior.named(request["base"])
    new = learn_prior(tables, base, name=request["name"], seed=request["seed"], mapper=Course(tell).mapper)
    return {"name": new.name, "content_hash": new.content_hash, "prior": new.to_document()}


KINDS: dict[str, Callable[..., dict[str, Any]]] = {"plan": plan, "replay": replay, "learn": learn}


def main() -> None:
    """Read the job, do it, tell."""
    import torch

    torch.set_num_threads(1)
    os.nice(NICENESS)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    try:
        result = KINDS[job["kind"]](job["store"], job["campaign"], job["request"], _tell)
    except UserError as error:
        _tell({"problem": str(error)})
    else:
        _tell({"result": result})


def _tell(line: dict[str, Any]) -> None:
    print(json.dumps(line, allow_nan=False), flush=True)


def _end_with_the_server() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
