"""What the ledger must hold: writers at once, writers killed, requests sent twice, stores made at once, and its speed.

Every row says what was counted or timed, and what must hold; a row whose `holds` is False is a fault.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from campaigns.campaign import Campaign
from campaigns.events import in_force
from campaigns.ledger import Ledger
from campaigns.state import table_of
from surrogates import Cell, Condition, UserError

from .. import postgresql
from .commands import STACKPRESS, seconds_to_answer

TI = Condition(electrode_pair="Zn||Ti", electrolyte="1 M ZnSO4", current_density=1.0, current_density_unit="mA/cm2")
WRITERS, CELLS_EACH, KILLS, PAIRS, TABLE_CELLS = 8, 200, 100, 20, 10_000
COMMAND_S, TABLE_S, REPEATS = 0.8, 0.5, 5
FULL_BYTES, TOGETHER = 400_000, 500
GROUP = 5  # cells of one table that a writer adds before it is killed


def run() -> list[dict[str, Any]]:
    """All of it: on SQLite, and on PostgreSQL where its programs are installed."""
    os.environ["STACKPRESS_SYNC"] = "off"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        rows = [killed(str(home / "killed"), KILLS), *_of_store("SQLite", lambda name: str(home / name))]
        with small_disk(home / "small") as grow:
            rows.append(full_disk(str(home / "small" / "store"), grow))
        rows += [*commands(home), *table(home / "table")]
        if postgresql.programs() is not None:
            with postgresql.server() as url:
                rows += _of_store("PostgreSQL", lambda _: postgresql.new_database(url))
                rows.append({**killed(postgresql.new_database(url), KILLS), "store": "PostgreSQL"})
    return rows


def _of_store(kind: str, new_store: Callable[[str], str]) -> list[dict[str, Any]]:
    rows = [
        side_by_side(new_store("side"), WRITERS, CELLS_EACH),
        same_table(new_store("same"), WRITERS),
        sent_twice(new_store("twice")),
        made_at_once(new_store, PAIRS),
    ]
    return [{**row, "store": kind} for row in rows]


def row(what: str, found: Any, holds: bool, seconds: float) -> dict[str, Any]:
    """A line of the report."""
    return {"what": what, "store": "SQLite", "found": found, "s": seconds, "holds": holds}


def opened(store: str, name: str = "a") -> Campaign:
    """A new campaign that no other informs."""
    return Campaign.create(name, TI, history="none", store=store)


def cells(count: int, name: str) -> tuple[Cell, ...]:
    """Planned cells: they cost the optimizer nothing."""
    fixed = TI.model_dump(exclude={"retention_cycles"})
    return tuple(Cell(cell_id=f"{name}-{i}", pressure_kpa=10.0 + i, status="planned", **fixed) for i in range(count))


def side_by_side(store: str, writers: int, each: int) -> dict[str, Any]:
    """Processes that record cells in one campaign, all at once."""
    opened(store)
    start = time.perf_counter()
    failed = _together(_record_many, [(store, writer, each) for writer in range(writers)])
    seconds = time.perf_counter() - start
    events = Ledger.open(store).events("a")
    ids = [change["cell_id"] for event in events[1:] for change in event.payload["changes"]]
    lost, doubled = writers * each - len(set(ids)), len(ids) - len(set(ids))
    gaps = [event.revision for event in events] != list(range(1, len(events) + 1))
    found = f"{lost} lost, {doubled} doubled, {failed} errors"
    return row(f"{writers} processes x {each} cells", found, not (lost or doubled or failed or gaps), seconds)


def _record_many(store: str, writer: int, count: int) -> None:
    campaign = Campaign.open("a", store)
    for number in range(count):
        campaign.record(f"w{writer}-{number}", pressure_kpa=100.0)


def same_table(store: str, writers: int) -> dict[str, Any]:
    """Processes that add one table to one campaign, all at once: each cell is built once, and none of them fails."""
    opened(store)
    start = time.perf_counter()
    failed = _together(_add_table, [(store,)] * writers)
    events = Ledger.open(store).events("a")
    built = [cell["cell_id"] for event in events[1:] for cell in event.payload["rows"]]
    found = f"{len(built)} cells built, {len(set(built))} different, {failed} errors"
    holds = not failed and sorted(built) == sorted(cell.cell_id for cell in cells(TOGETHER, "t"))
    return row(f"{writers} processes add one table of {TOGETHER}", found, holds, time.perf_counter() - start)


def _add_table(store: str) -> None:
    Campaign.open("a", store).add(cells(TOGETHER, "t"))


def _together(work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> int:
    """Run `work` in processes of their own, at once; returns how many failed."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=each) for each in arguments]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(worker.exitcode != 0 for worker in workers)


def killed(store: str, kills: int, seed: int = 0) -> dict[str, Any]:
    """A writer that adds, records and suggests, killed at a random moment, again and again.

    Every acknowledged event is there, no table in part, and the next verb works.
    """
    import optimizer.suggestion  # noqa: F401  imported before the writers are forked, or each would take seconds

    opened(store)
    generator = random.Random(seed)
    start, acknowledged, lost, parts, refused = time.perf_counter(), 0, 0, 0, 0
    for number in range(kills):
        told = _killed_writer(store, number, generator.uniform(0.0, 0.6))
        ledger = Ledger.open(store)
        events = ledger.events("a")
        ledger.close()
        acknowledged += len(told)
        lost += sum(revision > len(events) or events[revision - 1].key != key for revision, key in told)
        rows, _ = table_of(in_force(events))
        groups = [cell_id.rsplit("-", 1)[0] for cell_id in rows if cell_id.startswith("t")]
        parts += sum(groups.count(group) != GROUP for group in set(groups))
        parts += [event.revision for event in events] != list(range(1, len(events) + 1))
        try:
            after = Campaign.open("a", store)
            after.record(f"after-{number}", pressure_kpa=50.0)
            after._ledger.close()
        except Exception as error:
            refused += 1
            print(f"after kill {number}: {error}", file=sys.stderr)
    found = f"{acknowledged} acknowledged, {lost} lost, {parts} in part, {refused} next verbs refused"
    seconds = time.perf_counter() - start
    return row(f"kill -9, {kills} times", found, acknowledged > 0 and not (lost or parts or refused), seconds)


def _killed_writer(store: str, number: int, after_s: float) -> list[tuple[int, str]]:
    """Fork a writer, kill it `after_s` seconds after its first word; revision and key of what it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _write_until_killed(store, number, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as lines:
        lines.readline()
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        whole = [line for line in lines.read().splitlines(keepends=True) if line.endswith("\n")]
    return [(int(revision), key) for revision, key in (line.split() for line in whole)]


def _write_until_killed(store: str, number: int, writing: int) -> None:
    campaign = Campaign.open("a", store)
    generator = random.Random(number)
    os.write(writing, b"ready\n")
    for step in range(10_000):
        match generator.choice(["add", "record", "suggest"]):
            case "add":
                campaign.add(cells(GROUP, f"t{number}.{step}"))
            case "record":
                campaign.record(f"r{number}.{step}", pressure_kpa=100.0)
            case _:
                campaign.advise(seed=number * 10_000 + step)
        last = campaign._ledger.events("a")[-1]
        os.write(writing, f"{last.revision} {last.key}\n".encode())


def full_disk(store: str, grow: Callable[[], object] | None = None) -> dict[str, Any]:
    """A writer that fills its disk: one message, every acknowledged event there, none in part, and it goes on once there
    is room. `grow` makes room on a real file system; without it the writer may write no file beyond FULL_BYTES."""
    opened(store)
    start = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    writer = context.Process(target=_write_until_full, args=(store, None if grow else FULL_BYTES, theirs))
    writer.start()
    acknowledged, message = ours.recv()
    writer.join()
    if grow is not None:
        grow()
    events = Ledger.open(store).events("a")
    Campaign.open("a", store).record("after", pressure_kpa=50.0)
    lost, said = acknowledged != len(events), "expected a ledger that can be written; found: " in message
    found = f"{acknowledged} acknowledged, {len(events)} there; {message.partition('found: ')[2].partition('.')[0]}"
    return row("disk full", found, acknowledged > 1 and said and not lost, time.perf_counter() - start)


def _write_until_full(store: str, most_bytes: int | None, answer: Any) -> None:
    campaign = Campaign.open("a", store)
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    number = 0
    try:
        while True:
            campaign.record(f"w-{number}", pressure_kpa=100.0, note="x" * 500)
            number += 1
    except UserError as error:
        answer.send((number + 1, str(error)))


@contextmanager
def small_disk(place: Path) -> Iterator[Callable[[], object] | None]:
    """A file system of FULL_BYTES mounted at `place`, and what gives it more room; None where it may not be mounted."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={FULL_BYTES}", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield lambda: subprocess.check_call(["mount", "-o", "remount,size=10m", str(place)])
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def sent_twice(store: str) -> dict[str, Any]:
    """The same requests twice, the first answers lost: no event more, and the same answers."""
    campaign = opened(store)
    start = time.perf_counter()
    answers = []
    for _ in range(2):
        again = Campaign.open("a", store)
        made = Campaign.create("made", TI, history="none", key="create", store=store)
        answers.append(
            (
                again.merge(cells(3, "a"), key="add"),
                again.record("a-0", status="running", key="record"),
                again.correct("a-0", pressure_kpa=12.0, key="correct"),
                again.withdraw("a-1", "leaked", key="withdraw"),
                again.undo(key="undo"),
                made.state,
            )
        )
    events = campaign.state.revision
    same = [first == second for first, second in zip(*answers, strict=True)]
    return row("six requests sent twice", f"{events} events", events == 6 and all(same), time.perf_counter() - start)


def made_at_once(new_store: Callable[[str], str], pairs: int) -> dict[str, Any]:
    """Two fresh processes that make the same store and a campaign each."""
    stores = [new_store(f"made-{number}") for number in range(pairs)]
    start = time.perf_counter()
    at = time.time() + 15.0
    failed = _together(_make, [(stores, name, at) for name in ("one", "two")])
    there = [sorted(Ledger.open(store).campaigns()) for store in stores]
    holds = not failed and all(names == ["one", "two"] for names in there)
    missing = sum(names != ["one", "two"] for names in there)
    found = f"{failed} of 2 processes failed, {missing} stores incomplete"
    return row(f"two processes make a store, {pairs} times", found, holds, time.perf_counter() - start)


def _make(stores: list[str], name: str, at: float) -> None:
    for number, store in enumerate(stores):
        time.sleep(max(0.0, at + 0.3 * number - time.time()))
        opened(store, name)


def commands(home: Path) -> Iterator[dict[str, Any]]:
    """Until the answer is printed, of a small and of a large campaign."""
    environment = {**os.environ, "STACKPRESS_STORE": str(home / "commands")}
    for count in (12, 1000):
        campaign = opened(str(home / "commands"), f"c{count}")
        campaign.add(cells(count, "x"))
        name = campaign.name
        campaign._ledger.close()
        verbs = {
            "record": lambda i, name=name: ["record", name, "x-3", "--status", "running", "--life-h", str(1 + i)],
            "show": lambda _, name=name: ["show", name],
            "history": lambda _, name=name: ["history", name],
        }
        for verb, arguments in verbs.items():
            before = _children_s()
            times = [seconds_to_answer([STACKPRESS, *arguments(i)], environment) for i in range(REPEATS)]
            at_work = (_children_s() - before) / REPEATS  # what it takes where nobody else is at work
            found = f"fastest {min(times):.2f} s, processor {at_work:.2f} s"
            yield row(f"{verb}, {count} cells", found, median(times) < COMMAND_S, median(times))


def _children_s() -> float:
    """Processor seconds of every process that was started and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(store: Path) -> Iterator[dict[str, Any]]:
    """The table of a campaign of 10,000 cells: added in tables of 500, and each told of in an event of its own."""
    import pandas as pd  # not what is timed

    assert pd.DataFrame().empty
    campaign = opened(str(store))
    start = time.perf_counter()
    for number in range(TABLE_CELLS // 500):
        campaign.add(cells(500, f"t{number}"))
    added = time.perf_counter() - start
    times = [_seconds(lambda: campaign.cells) for _ in range(REPEATS)]
    found = f"all added in {added:.1f} s"
    yield row(f"table of {TABLE_CELLS} cells", found, median(times) < TABLE_S, median(times))
    with campaign._ledger.writing("a") as transaction:
        for number in range(TABLE_CELLS):
            change = {"cell_id": f"t0-{number % 500}", "before": {}, "after": {"pressure_kpa": 1.0 + number}}
            transaction.append("recorded", {"changes": [change]})
    times = [_seconds(lambda: campaign.cells) for _ in range(REPEATS)]
    yield row(f"the same after {TABLE_CELLS} more events", "", True, median(times))


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
