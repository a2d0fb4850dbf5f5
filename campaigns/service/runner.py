"""What a server worker does beside answering: it takes jobs, one at a time, and runs each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from campaigns.ledger import Ledger
from campaigns.service.jobs import LEASE_S, Job, Jobs
from surrogates.errors import UserError

LOOK_EVERY_S = 1.0

log = logging.getLogger("stackpress.service")


class Repeated:
    """A thread that does something over and over until it is stopped: `step` answers whether there may be more to do."""

    def __init__(self, step: Callable[[], bool], every_s: float, name: str) -> None:
        self._step, self._every_s = step, every_s
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End after the step under way."""
        self.stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        more = True
        while not self.stopping.wait(0 if more else self._every_s):
            try:
                more = self._step()
            except Exception as error:  # the thread outlives a database that is away for a while
                level = logging.WARNING if isinstance(error, UserError) else logging.ERROR
                log.log(level, "%s: %s", self._thread.name, error, exc_info=level == logging.ERROR)
                more = False


class Runner:
    """Takes the store's jobs; `stop` leaves the one under way to another worker."""

    def __init__(self, ledger: Ledger, store: str, lease_s: float = LEASE_S) -> None:
        self._jobs, self._store, self._lease_s = Jobs(ledger), store, lease_s
        self._worker = uuid.uuid4().hex
        self._loop = Repeated(self.step, LOOK_EVERY_S, "jobs")
        self.start, self.stop = self._loop.start, self._loop.stop

    def step(self) -> bool:
        """Do one job where there is one; whether there was."""
        job = self._jobs.claim(self._worker, self._lease_s)
        if job is None:
            return False
        work = _Work(job, self._store)
        try:
            self._follow(job, work)
        finally:
            work.end()
        return True

    def _follow(self, job: Job, work: _Work) -> None:
        """Keep the lease while the work goes on, and store what it came to."""
        renewed = time.monotonic()
        while (line := work.line(timeout_s=0.2)) is None or not line.keys() & {"result", "problem", "ended"}:
            if self._loop.stopping.is_set():
                self._jobs.give_back(job, self._worker)
                return
            if time.monotonic() - renewed > self._lease_s / 10:
                renewed = time.monotonic()
                if not self._jobs.renew(job, self._worker, work.done, work.total, self._lease_s):
                    return
        self._jobs.renew(job, self._worker, work.done, work.total, self._lease_s)
        if "result" in line:
            self._jobs.finish(job, self._worker, line["result"])
        elif "problem" in line:
            self._jobs.fail(job, self._worker, line["problem"])
        else:
            log.warning("job %s: its process ended with status %s", job.id, line["ended"])
            self._jobs.died(job, self._worker)


class _Work:
    """The process of a job, and what it has told."""

    def __init__(self, job: Job, store: str) -> None:
        self.done, self.total = 0, job.total
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        command = [sys.executable, "-m", "campaigns.service.work"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin is not None
        told = {"kind": job.kind, "campaign": job.campaign, "request": job.request, "store": store}
        with contextlib.suppress(BrokenPipeError):  # it has ended already: `_read` tells
            self.process.stdin.write(json.dumps(told) + "\n")
            self.process.stdin.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def line(self, timeout_s: float) -> dict[str, Any] | None:
        """The next line that the process has told, None where none came; {"ended": status} is the last."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self.done, self.total = line.get("done", self.done), line.get("total", self.total)
        return line

    def end(self) -> None:
        """Kill the process where it still runs."""
        self.process.kill()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):  # half a line of a process that was killed
                self._lines.put(json.loads(line))
        self._lines.put({"ended": self.process.wait()})
