"""The report: everything the ledger says is in it, nothing is loaded or run, whatever was typed is text, and it can be
read without seeing it."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from campaigns import Campaign, cli
from campaigns.ledger import Ledger
from campaigns.report import page
from campaigns.state import fold
from surrogates import Condition

from .browsing import chromium_program
from .conftest import ZN_TI
from .worlds import world

VERSIONS = {"stackpress": "0.1.0", "torch": "2"}
VOID = ("meta", "link", "br", "img")
EVIL = "<script>alert(1)</script>\"&'{{ 7 * 7 }}</svg><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """The tags and the text of a page; tags must close in the order in which they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def having(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """With everything that may stand in a report: two answers, a correction, a withdrawal, an undoing, odd words."""
    store = tmp_path_factory.mktemp("report") / "mlruns"
    condition = ZN_TI.model_copy(update={"electrolyte": f"1 M {EVIL}"[:190]})
    campaign = Campaign.create("x", condition, history="none", citation=EVIL, store=store)
    fixed = {"electrolyte": condition.electrolyte, "note": EVIL, "lot <b>": EVIL}
    campaign.add([cell.model_copy(update=fixed) for cell in world(4, seed=3)])
    campaign.advise()
    campaign.record("x-005", status="running", cycle_life_h=20.0)
    campaign.correct("w-1", cycle_life_h=33.0, reason=EVIL)
    campaign.withdraw("w-2", reason=EVIL)
    campaign.withdraw("w-3", reason="leaked")
    campaign.undo()
    campaign.advise(n=2)
    return campaign


def of(campaign: Campaign) -> str:
    return page(Ledger.open(campaign.store).events(campaign.name), VERSIONS)


@pytest.fixture(scope="module")
def html(campaign: Campaign) -> str:
    return of(campaign)


def test_everything_is_in_it(campaign: Campaign, html: str, tmp_path: Path) -> None:
    text, state = Page(html).text, campaign.state
    said = [cell.cell_id for cell in state.cells]
    said += [f"{cell.pressure_kpa:.6g}" for cell in state.cells]
    for answer in state.suggestions:
        said += [answer.data_hash, answer.prior_hash]
        for advice in answer.advice:
            said += [advice.agreement, advice.would_change, advice.caution or ""]
            said += [
                text for proposal in advice.proposals for text in (proposal.reason, f"{proposal.pressure_kpa:g} kPa")
            ]
    said += [line.what for line in campaign.lines()]
    said += [*state.prior.does_not_claim, state.prior.summary, state.prior.content_hash, "undone by event 8"]
    said += [parameter.source for parameter in state.prior.parameters.values()]
    said += ["running, above 20 h", "x-005", "Asked by"]
    for words in said:
        assert " ".join(words.split()) in text
    campaign.export(tmp_path / "x.jsonl")
    assert json.loads((tmp_path / "x.jsonl").read_text().splitlines()[0])["sha256"] in text


def test_nothing_is_loaded_or_run(html: str) -> None:
    found = Page(html)
    assert not {"script", "img", "iframe", "object", "link", "form"} & {tag for tag, _ in found.tags}
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on") or name == "src"]
    assert all(target.startswith("#") for name in ("href", "xlink:href") for target in found.having(name))
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "default-src 'none'; style-src 'unsafe-inline'" in found.having("content")
    assert found.text.count("{{ 7 * 7 }}") > 5


def test_it_can_be_read_without_seeing_it(html: str) -> None:
    found = Page(html)
    ids = found.having("id")
    assert len(ids) == len(set(ids))
    named = [part for text in found.having("aria-labelledby") for part in text.split()]
    targets = [target[1:] for name in ("href", "xlink:href") for target in found.having(name)]
    assert set(named) | set(targets) <= set(ids)
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    tags = [tag for tag, _ in found.tags]
    assert tags.count("table") == tags.count("caption") > 4
    assert all("scope" in attributes for tag, attributes in found.tags if tag == "th")
    assert [a["role"] for tag, a in found.tags if tag == "svg"] == ["img", "img"]
    assert tags.count("desc") == 2
    assert dict(found.tags)["html"] == {"lang": "en"}


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_words_stand_out_from_the_page(html: str) -> None:
    style = html[html.index("<style>") : html.index("</style>")]
    colours = re.findall(r"[^-]color: (#[0-9a-f]+)", style)
    assert len(colours) >= 4
    for colour in colours:
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5  # on white, WCAG 2 level AA


def test_the_same_events_give_the_same_page(campaign: Campaign, html: str) -> None:
    assert of(campaign) == html


def test_a_campaign_without_answers_and_one_of_several_conditions(store: Path, zn_ti: Condition) -> None:
    fresh = Campaign.create("fresh", [zn_ti, zn_ti.model_copy(update={"electrolyte": "2 M ZnSO4"})], store=store)
    text = Page(of(fresh)).text
    assert "No cell yet." in text
    assert "No answer has been asked for yet." in text
    fresh.advise()
    found = Page(of(fresh))
    assert [a["role"] for tag, a in found.tags if tag == "svg"] == ["img"] * 3
    assert len(found.having("id")) == len(set(found.having("id")))


def test_the_command(campaign: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                     capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.main(["report", *arguments, "--store", str(campaign.store)])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    code, out, err = run("x")
    assert (code, err) == (0, "")
    assert out.startswith("Wrote x-report.html: x at revision ")
    assert [path.name for path in tmp_path.iterdir()] == ["x-report.html"]
    told = json.loads(run("x", "--out", "mail.html", "--json")[1])
    assert (told["file"], told["is_current"]) == ("mail.html", True)
    assert (tmp_path / "mail.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    code, _, err = run("x", "--out", "nowhere/mail.html")
    assert code == 2
    assert "nowhere/mail.html: expected a file that can be written; found No such file or directory" in err
    assert run("nope")[0] == 2


def test_the_ledger_alone_makes_it(campaign: Campaign, html: str) -> None:
    """Through a file and into another store, it is the same report."""
    events = Ledger.open(campaign.store).events("x")
    assert fold(events) == campaign.state
    assert page(list(events), VERSIONS) == html


@pytest.mark.slow
def test_a_browser_shows_it(campaign: Campaign, tmp_path: Path) -> None:
    """Chromium, scripts allowed: the page parses to what was written, and no script ran."""
    path = tmp_path / "x.html"
    campaign.report(path)
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    command = [chromium_program(), *quiet, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]
    shown = Page(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
    assert not {"script", "img"} & {tag for tag, _ in shown.tags}
    assert "x: which stacking pressure?" in shown.text
    assert EVIL in " ".join(shown.words)
