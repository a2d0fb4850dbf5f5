"""Jobs of the service: taken by one worker, taken up again after a kill, cancelled; on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from campaigns.campaign import Campaign
from campaigns.ledger import Ledger, acting_as
from campaigns.service.job_routes import MOST_OPEN
from campaigns.service.jobs import MOST_DEATHS, Jobs, State
from campaigns.service.runner import Runner
from campaigns.service.tokens import Role, Tokens
from surrogates.errors import ConflictError, UnknownError

from .serving import CELLS, CONDITION, Client, bearer, opened, served
from .waiting import until

SHORT = {"cells": 2, "campaigns": 2, "seed": 3}
LONG = {"cells": 20, "campaigns": 1000, "seed": 3}


def test_each_job_is_claimed_once_by_many_workers(any_store: str) -> None:
    jobs = Jobs(Ledger.open(any_store))
    asked = [jobs.ask("plan", "a", {"seed": number}).id for number in range(20)]
    taken: list[str] = []

    def take(worker: str) -> None:
        mine = Jobs(Ledger.open(any_store))
        while any(job.state == State.QUEUED for job in mine.page(100, 0)[0]):
            if (job := mine.claim(worker)) is not None:
                taken.append(job.id)

    threads = [threading.Thread(target=take, args=[f"worker {number}"]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(asked)
    assert jobs.claim("late") is None


def test_a_job_whose_lease_ran_out_goes_to_another_worker_and_the_first_stores_nothing(any_store: str) -> None:
    jobs = Jobs(Ledger.open(any_store))
    asked = jobs.ask("plan", "a", SHORT)
    first = jobs.claim("first", lease_s=0.05)
    assert first is not None
    assert jobs.claim("second") is None
    time.sleep(0.1)
    second = jobs.claim("second")
    assert second is not None
    assert second.id == asked.id
    assert not jobs.renew(first, "first", 1, 2)
    assert not jobs.finish(first, "first", {"wrong": True})
    assert jobs.finish(second, "second", {"right": True})
    assert jobs.get(asked.id).result == {"right": True}
    assert not jobs.fail(second, "second", "too late")


def test_a_key_makes_one_job_and_is_of_one_request(any_store: str) -> None:
    jobs = Jobs(Ledger.open(any_store))
    with acting_as("anna"):
        first = jobs.ask("plan", "a", SHORT, "key")
    assert first.asked_by == "anna"
    assert first.state == State.QUEUED
    assert jobs.ask("plan", "a", SHORT, "key") == first
    with pytest.raises(ConflictError, match="another job"):
        jobs.ask("plan", "a", LONG, "key")
    assert jobs.page(10, 0) == ([first], 1)
    with pytest.raises(UnknownError):
        jobs.get("0" * 32)


def test_a_job_whose_process_is_killed_each_time_fails(store: Path) -> None:
    campaign = Campaign.create("a", CONDITION, store=store)
    campaign.add([{**CONDITION, **cell} for cell in CELLS])
    ledger = Ledger.open(store)
    jobs = Jobs(ledger)
    asked = jobs.ask("plan", "a", LONG)
    runner = Runner(ledger, str(store))

    def kill() -> None:
        mine = os.getpid()
        for _ in range(MOST_DEATHS):
            until(lambda: bool(children(mine)))
            work = children(mine)[0]
            os.kill(work, signal.SIGKILL)
            until(lambda work=work: work not in children(mine))  # the next may have come already

    killer = threading.Thread(target=kill)
    killer.start()
    for _ in range(MOST_DEATHS):
        assert runner.step()
    killer.join()
    found = jobs.get(asked.id)
    assert found.state == State.FAILED
    assert "ended 3 times" in str(found.problem)
    assert not runner.step()


def children(parent: int) -> list[int]:
    """The processes of jobs that a process has started."""
    told = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in told.splitlines() if "campaigns.service.work" in line]


def test_work_ends_with_the_server_that_asked_for_it(store: Path) -> None:
    Campaign.create("a", CONDITION, store=store)
    command = [sys.executable, "-m", "campaigns.service.work"]
    work = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert work.stdin is not None
    assert work.stdout is not None
    work.stdin.write(json.dumps({"kind": "plan", "campaign": "a", "request": LONG, "store": str(store)}) + "\n")
    work.stdin.flush()
    assert json.loads(work.stdout.readline()) == {"done": 0, "total": 1000}
    work.stdin.close()
    assert work.wait(10) == 1
    work.stdout.close()


def run(client: Client, path: str, request: Any) -> dict[str, Any]:
    """Ask for a job, do it, and read it."""
    begun = client.post(path, request)
    assert begun.status_code == 202, begun.text
    assert Runner(client.desk.ledger, str(client.desk.store)).step()
    found: dict[str, Any] = client.get(begun.headers["Location"]).json()
    return found


def test_results_are_those_of_the_campaign_itself(store: Path) -> None:
    client = Client(store)
    opened(client)
    found = run(client, "/campaigns/a/plans", SHORT)
    [plan] = Campaign.open("a", store).plan(**SHORT).values()
    assert found["state"] == "done"
    assert (found["done"], found["total"]) == (2, 2)
    assert found["result"]["plans"][0]["loss"] == list(plan.loss)

    found = run(client, "/campaigns/a/replays", {"stop_gain": 0.05})
    [steps] = Campaign.open("a", store).replay(stop_gain=0.05).values()
    assert [step["suggested_kpa"] for step in found["result"]["replays"][0]["steps"]] == [
        s.suggested_kpa for s in steps
    ]

    found = run(client, "/priors", {"campaigns": ["a"], "name": "ours"})
    again = run(client, "/priors", {"campaigns": ["a"], "name": "ours"})
    assert found["result"]["prior"]["name"] == "ours"
    assert found["result"] == again["result"]


def test_what_cannot_be_done_is_told(store: Path) -> None:
    client = Client(store)
    opened(client)
    found = run(client, "/campaigns/a/replays", {"subject_to": ["nonsense"]})
    assert found["state"] == "failed"
    assert "expected" in found["problem"]
    assert client.post("/campaigns/b/plans", SHORT).status_code == 404
    assert client.post("/priors", {"campaigns": ["../a"]}).status_code == 422
    assert client.post("/priors", {"campaigns": ["a"], "base": "/etc/passwd"}).status_code == 422
    assert client.get(f"/jobs/{'0' * 32}").status_code == 404
    assert client.get(f"/jobs/{'0' * 32}/events").status_code == 404


def test_jobs_over_http_are_asked_for_once_listed_and_cancelled(store: Path) -> None:
    client = Client(store)
    opened(client)
    key = {"Idempotency-Key": "once"}
    first = client.post("/campaigns/a/plans", LONG, headers=key)
    assert client.post("/campaigns/a/plans", LONG, headers=key).json() == first.json()
    assert client.post("/campaigns/a/plans", SHORT, headers=key).status_code == 409
    second = client.post("/campaigns/a/plans", SHORT).json()
    listed = client.get("/jobs", params={"limit": 1}).json()
    assert [job["id"] for job in listed["jobs"]] == [second["id"]]
    assert listed["total"] == 2
    assert [job["id"] for job in client.get(listed["next"]).json()["jobs"]] == [first.json()["id"]]
    for _ in range(2):
        assert client("PUT", f"{first.headers['Location']}/cancellation").json()["state"] == "cancelled"
    assert client.get(f"{first.headers['Location']}/events").text.startswith("event: cancelled\n")


def test_one_user_may_have_so_many_jobs_under_way(store: Path) -> None:
    client = Client(store)
    opened(client)
    told = [client.post("/campaigns/a/plans", SHORT | {"seed": number}) for number in range(MOST_OPEN + 1)]
    assert [answer.status_code for answer in told] == [202] * MOST_OPEN + [429]
    client("PUT", f"{told[0].headers['Location']}/cancellation")
    assert client.post("/campaigns/a/plans", SHORT).status_code == 202
    waiting = Client(store, longest_stream_s=0.0).get(f"{told[1].headers['Location']}/events")
    assert waiting.text.startswith("event: queued\n")  # the stream ends before the job does


def test_roles(store: Path) -> None:
    client = Client(store)
    opened(client)
    tokens = Tokens(Ledger.open(store))
    shown = {role: bearer(tokens.create(role.value, role)) for role in Role}
    plan = client.post("/campaigns/a/plans", SHORT, headers=shown[Role.RECORD])
    assert plan.status_code == 202
    assert plan.json()["asked_by"] == "record"
    learn = {"campaigns": ["a"]}
    assert client.post("/campaigns/a/plans", SHORT, headers=shown[Role.READ]).status_code == 403
    assert client.post("/priors", learn, headers=shown[Role.RECORD]).status_code == 403
    learning = client.post("/priors", learn, headers=shown[Role.MANAGE]).headers["Location"]
    assert client.get(learning, headers=shown[Role.READ]).status_code == 200
    assert client("PUT", f"{learning}/cancellation", headers=shown[Role.READ]).status_code == 403
    assert client("PUT", f"{learning}/cancellation", headers=shown[Role.RECORD]).status_code == 403
    assert client("PUT", f"{learning}/cancellation", headers=shown[Role.MANAGE]).status_code == 200
    assert client.get(learning).status_code == 401


def test_a_running_job_that_is_cancelled_ends_its_process(store: Path) -> None:
    client = Client(store)
    opened(client)
    job = client.post("/campaigns/a/plans", LONG).json()
    runner = Runner(client.desk.ledger, str(store), lease_s=2)
    runner.start()
    until(lambda: client.get(f"/jobs/{job['id']}").json()["done"] > 0)
    [process] = children(os.getpid())
    client("PUT", f"/jobs/{job['id']}/cancellation")
    until(lambda: not children(os.getpid()))
    runner.stop()
    assert not Path(f"/proc/{process}").exists()
    assert client.get(f"/jobs/{job['id']}").json()["state"] == "cancelled"


@pytest.mark.slow
def test_a_job_of_a_killed_server_is_done_by_the_next_and_its_course_is_sent(store: Path) -> None:
    Campaign.create("a", CONDITION, store=store)
    with served(store) as (client, process):
        job = client.post("/campaigns/a/plans", json={"cells": 3, "campaigns": 40, "seed": 1}).json()
        until(lambda: client.get(f"/jobs/{job['id']}").json()["done"] > 0)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with served(store, "--workers", "2") as (client, _):
        with client.stream("GET", f"/jobs/{job['id']}/events", timeout=120) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            told = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
        assert told[-1]["state"] == "done"
        assert told[-1]["done"] == 40
        assert told[-1]["result"] == client.get(f"/jobs/{job['id']}").json()["result"]
    [plan] = Campaign.open("a", store).plan(cells=3, campaigns=40, seed=1).values()
    assert told[-1]["result"]["plans"][0]["loss"] == list(plan.loss)
