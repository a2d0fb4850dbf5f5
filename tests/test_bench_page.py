"""The bench page: what its forms store and refuse, and what a person sees of it in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from campaigns.service.tokens import Role

from .browsing import Lab, entered
from .serving import Client, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGES = ("/", "/bench", "/bench/a", "/bench/a/history", "/bench/compare?name=a&name=b")
FIRST_PAINT = """() => new Promise(told => new PerformanceObserver(
    list => list.getEntriesByName("first-contentful-paint").forEach(entry => told(entry.startTime))
).observe({type: "paint", buffered: true}))"""
FORMS = ("suggest", "built", "running", "died")


@pytest.fixture
def client(client: Client) -> Client:
    """A second campaign is there, b."""
    opened(client, "b")
    return client


def send(client: Client, form: str, **fields: Any) -> httpx.Response:
    seen = client.desk.state("a").revision
    return client("POST", f"/bench/a/{form}", data={"key": f"key-of-{form}", "seen_revision": seen, **fields})


def test_a_log_in_leads_back_to_the_page_with_its_query(client: Client) -> None:
    token = client.desk.tokens.create("anna", Role.READ)
    asked = "/bench/compare?name=a&name=b"
    form = client.get(client.get(asked).headers["location"])
    assert 'name="then" value="/bench/compare?name=a&amp;name=b"' in form.text
    again = client("POST", "/login", data={"token": "wrong", "then": asked})
    assert 'value="/bench/compare?name=a&amp;name=b"' in client.get(again.headers["location"]).text
    assert client("POST", "/login", data={"token": token, "then": asked}).headers["location"] == asked
    client("POST", "/logout")
    assert client.get(f"/bench?x={'y' * 600}").headers["location"] == "/login?then=/bench"


def test_nobody_sees_a_page_without_a_token(client: Client) -> None:
    client.desk.tokens.create("anna", Role.READ)
    asked = [("GET", path) for path in PAGES] + [("POST", f"/bench/a/{form}") for form in FORMS]
    for method, path in asked:
        answer = client(method, path)
        where = quote(path if method == "GET" else "/bench")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/login?then={where}"), path
    assert client.get("/login").status_code == 200
    assert client.desk.state("a").revision == 2


def test_who_may_only_read_has_no_forms_and_cannot_send_one(client: Client) -> None:
    token = client.desk.tokens.create("anna", Role.READ)
    client("POST", "/login", data={"token": token})
    page = client.get("/bench/a")
    assert page.status_code == 200
    assert "/bench/a/built" not in page.text
    assert send(client, "built", cell_id="x", pressure_kpa="3").status_code == 403
    assert client.desk.state("a").cell("x") is None


def test_a_form_of_another_session_is_refused(client: Client) -> None:
    token = client.desk.tokens.create("anna", Role.RECORD)
    client("POST", "/login", data={"token": token})
    for form in FORMS:
        assert send(client, form, csrf_token="wrong", cell_id="c1").status_code == 403
    assert client.desk.state("a").revision == 2


def test_forms_store_what_they_say_once(client: Client) -> None:
    for _ in range(2):
        answer = send(client, "built", cell_id="n/1 ä", pressure_kpa="320", seen_revision=2)
        assert answer.status_code == 303
    assert "Stored: recorded n/1 ä, new: running at 320 kPa." in client.get(answer.headers["location"]).text
    revision = client.desk.state("a").revision
    assert revision == 3
    known = send(client, "built", cell_id="n/1 ä", pressure_kpa="320", key="key-of-another")
    assert "Nothing new" in client.get(known.headers["location"]).text
    send(client, "running", cell_id="n/1 ä", cycle_life_h="12")
    send(client, "died", cell_id="n/1 ä", cycle_life_h="40.5", end_reason="soft_short", note="seen <b>twice</b>")
    cell = client.desk.state("a").cell("n/1 ä")
    assert cell is not None
    assert (cell.status, cell.cycle_life_h, cell.end_reason, cell.pressure_kpa) == ("ended", 40.5, "soft_short", 320)
    assert "<b>twice" not in client.get("/bench/a/history").text


@pytest.mark.parametrize(
    ("reason", "status"), [("operator", "stopped"), ("assembly_fault", "invalid"), ("short", "ended")]
)
def test_how_a_cell_ended_decides_its_status(client: Client, reason: str, status: str) -> None:
    send(client, "built", cell_id="n1", pressure_kpa="320")
    assert send(client, "died", cell_id="n1", cycle_life_h="4", end_reason=reason).status_code == 303
    cell = client.desk.state("a").cell("n1")
    assert cell is not None
    assert cell.status == status


@pytest.mark.parametrize(
    ("form", "fields", "field", "said"),
    [
        ("built", {"cell_id": "n1", "pressure_kpa": "3,5"}, "pressure_kpa", "Write a point: 3.5"),
        ("built", {"cell_id": "n1", "pressure_kpa": "3,5 psi"}, "pressure_kpa", "in the unit that is given"),
        ("built", {"cell_id": "n1", "pressure_kpa": "-3"}, "pressure_kpa", "a number above 0"),
        ("built", {"cell_id": "n1", "pressure_kpa": "nan"}, "pressure_kpa", "Expected a number"),
        ("built", {"cell_id": "", "pressure_kpa": "3"}, "cell_id", "found nothing"),
        ("built", {"cell_id": "c1", "pressure_kpa": "3"}, "cell_id", "an id of its own"),
        ("running", {"cell_id": "none", "cycle_life_h": "3"}, "cell_id", "a cell of the table"),
        ("died", {"cell_id": "c1", "cycle_life_h": "", "end_reason": "short"}, "cycle_life_h", "found nothing"),
        ("died", {"cell_id": "c1", "cycle_life_h": "9", "end_reason": ""}, "end_reason", "Choose what fits"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    client: Client, form: str, fields: dict[str, str], field: str, said: str
) -> None:
    send(client, "built", cell_id="there", pressure_kpa="320", key="key-of-another")
    revision = client.desk.state("a").revision
    answer = send(client, form, **fields)
    assert answer.status_code == 422
    problem = answer.text.split(f'id="{form}-{field}-problem">')[1].split("</p>")[0]
    assert said in problem
    assert f'id="{form}-{field}" name="{field}" aria-invalid="true"' in answer.text
    assert client.desk.state("a").revision == revision


def test_a_cell_changed_meanwhile_is_not_overwritten(client: Client) -> None:
    send(client, "built", cell_id="n1", pressure_kpa="320")
    seen = client.desk.state("a").revision
    client.patch("/campaigns/a/cells/n1", {"cycle_life_h": 7.0})
    answer = send(client, "died", cell_id="n1", cycle_life_h="5", end_reason="short", seen_revision=seen)
    assert answer.status_code == 412
    assert "changed since" in answer.text
    assert 'value="5"' in answer.text


def test_refusals_are_pages(client: Client) -> None:
    for path, status in (("/bench/none", 404), ("/bench/compare?name=a", 422), ("/login?failed=1", 401)):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert "unsafe" not in answer.headers["content-security-policy"]
    assert client.get("/bench/compare?name=a&name=b").status_code == 200


@pytest.mark.slow
def test_the_path_of_a_person_at_the_bench_without_javascript(browser: Browser, lab: Lab) -> None:
    page = entered(browser, lab, java_script_enabled=False, viewport={"width": 390, "height": 844})
    page.get_by_role("link", name="a", exact=True).click()
    page.get_by_role("button", name="Ask what to test next").click()
    assert page.locator(".pressure").first.inner_text().endswith(" kPa")
    page.get_by_role("button", name="It is running").dblclick()
    assert "running" in page.get_by_role("status").inner_text()
    assert page.get_by_text("Outdated.").is_visible()
    running = page.locator("#running")
    running.get_by_label("Alive at (h)").fill("twelve")
    running.get_by_role("button").click()
    assert "Expected a number; found 'twelve'" in page.locator("#running-cycle_life_h-problem").inner_text()
    assert running.get_by_label("Alive at (h)").input_value() == "twelve"
    running.get_by_label("Alive at (h)").fill("12")
    running.get_by_role("button").click()
    died = page.locator("#died")
    died.get_by_label("When (h)").fill("81.5")
    died.get_by_label("How").select_option("short")
    died.get_by_role("button").click()
    assert "ended" in page.get_by_role("status").inner_text()
    assert page.get_by_role("heading", name="Cells (6)").is_visible()
    page.get_by_role("link", name="history").click()
    assert page.get_by_role("cell", name="anna").count() == 4  # asked, built, running, died
    page.get_by_role("button", name="Log out").click()
    assert page.get_by_label("Token").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_are_accessible_and_as_wide_as_the_screen(
    browser: Browser, lab: Lab, scheme: str, width: int, tmp_path: Path
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = entered(browser, lab, color_scheme=scheme, viewport={"width": width, "height": 844}, bypass_csp=True)
    asked = ("upload", "withdrawal?cell_id=c1", "undo?revision=2")
    paths = ("/bench", "/bench/many", "/bench/many/history", "/bench/compare?name=a&name=many", "/bench/none")
    for path in (*paths, *(f"/bench/a/{each}" for each in asked)):
        page.goto(path)
        page.screenshot(path=tmp_path / f"{scheme}-{width}{path.split('?')[0].replace('/', '-')}.png")
        found = Axe().run(page)
        assert found.violations_count == 0, (path, found.generate_report())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.get_by_role("button", name="Log out").click() if page.get_by_role("button").count() else page.goto("/login")
    assert Axe().run(page).violations_count == 0


@pytest.mark.slow
def test_a_page_with_200_cells_is_painted_within_a_second(browser: Browser, lab: Lab) -> None:
    page = entered(browser, lab)
    console: list[str] = []
    page.on("console", lambda message: console.append(message.text))
    page.goto("/bench/many")
    paint = page.evaluate(FIRST_PAINT)
    assert page.locator("tbody tr").count() == 200
    assert page.locator("img").evaluate(
        "image => { image.loading = 'eager'; return image.decode().then(() => image.naturalWidth) }"
    )
    assert not console  # the policy refused nothing
    assert paint < 1000, f"{paint:.0f} ms"


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_figure_tells_what_is_under_pointer_and_keys(
    browser: Browser, lab: Lab, width: int, tmp_path: Path
) -> None:
    page = entered(browser, lab, viewport={"width": width, "height": 844})
    console: list[str] = []
    page.on("console", lambda message: console.append(message.text))
    page.goto("/bench/many")
    slider = page.get_by_role("slider", name="Stacking pressure on the figure")
    slider.scroll_into_view_if_needed()
    image = slider.locator("img")
    image.evaluate("image => image.decode()")
    assert ("narrow=true" in image.evaluate("image => image.currentSrc")) == (width < 640)
    with page.expect_response(lambda answer: "/readings" in answer.url) as told:
        slider.press("Home")
    found = told.value.json()
    reading = page.locator(".reading")
    page.wait_for_function("document.querySelector('.reading').textContent.includes('median life')")
    assert found["points"][0]["text"] in reading.inner_text()
    slider.press("ArrowRight")
    page.wait_for_function("document.querySelector('.figure').getAttribute('aria-valuenow') === '1'")
    slider.press("PageUp")
    page.wait_for_function("document.querySelector('.reading').textContent.startsWith('Cell m000: 20 kPa, 30 h')")
    cell, box = found["cells"][100], image.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + cell["x"] * box["width"], box["y"] + cell["y"] * box["height"])
    page.wait_for_function("document.querySelector('.reading').textContent.startsWith('Cell m1')")
    page.screenshot(path=tmp_path / "figure.png", full_page=False)
    assert not console
