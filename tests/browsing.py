"""The bench page in a real Chromium: the browser, a running service with campaigns, and a page after the log-in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from campaigns.campaign import Campaign
from campaigns.ledger import Ledger
from campaigns.service.tokens import Role, Tokens

from .serving import CELLS, CONDITION, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Lab = tuple[str, str]
"""The address of a running service, and a token of it."""


def chromium_program() -> str:
    """Debian's Chromium; a test that needs it is skipped where there is none."""
    program = shutil.which("chromium")
    if program is None:
        assert "CI" not in os.environ, "Chromium is always there in CI: see .ci/run"
        pytest.skip("Chromium is not installed")
    return program


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    program = chromium_program()
    with sync_playwright() as playwright:
        chosen = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chosen
        chosen.close()


@contextmanager
def running_lab(store: Path) -> Iterator[Lab]:
    """A service with campaigns a and b, of five cells each, and one of 200 cells that has an answer."""
    many = [{**CELLS[n % 5], **CONDITION, "cell_id": f"m{n:03}", "pressure_kpa": 20 + 5 * n} for n in range(200)]
    few = [{**cell, **CONDITION} for cell in CELLS]
    for name, cells in {"a": few, "b": few, "many": many}.items():
        campaign = Campaign.create(name, CONDITION, history="none", store=store)
        campaign.add(cells)
        if name == "many":
            campaign.advise()
    with closing(Ledger.open(store)) as ledger:
        token = Tokens(ledger).create("anna", Role.RECORD)
    with served(store, "--requests-per-minute", "100000", "--max-upload-mb", "1") as (client, _):
        yield str(client.base_url).rstrip("/"), token


def entered(browser: Browser, lab: Lab, **context: Any) -> Page:
    """A page at the list of campaigns, after the log-in."""
    address, token = lab
    page = browser.new_context(base_url=address, **context).new_page()
    page.goto("/bench")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    assert page.url == f"{address}/bench"
    return page
