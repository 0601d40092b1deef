# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the page in a real browser: Debian's Chromium, driven by Playwright.

Screenshots stay in the directory that PVEFI_ARTEFACTS names, else in `artefacts/` of this tree.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from pvefi.cli.status import ExitStatus
from pvefi.evaluate.document import Section, cell
from pvefi.evaluate.report import write_reports
from pvefi.evaluate.run import Gap
from pvefi.evaluate.task import Problem
from tests.build.evaluation import HOSTILE, evaluation, image, sections, table
from tests.conftest import RealFiles, Tool

ROOT = Path(__file__).resolve().parents[3]
ARTEFACTS = Path(os.environ.get("PVEFI_ARTEFACTS") or ROOT / "artefacts")
QUIET = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--no-sandbox",  # the tests may run as root; the page is ours, and nothing is fetched
)
SHOWN = "[...document.querySelectorAll('section')].filter(one => one.offsetHeight > 9).length"
PANEL = "[role=tabpanel]:not([hidden])"
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}

# The contrast of an element's text with what is behind it, by WCAG 2.1. A colour is painted to be read, as it
# may be written in any of CSS's ways.
CONTRAST = """
(element) => {
  const pixel = (colour, under) => {
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context.fillStyle = `rgb(${under.join(" ")})`;
    context.fillRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const chain = [];
  for (let one = element; one; one = one.parentElement) chain.unshift(getComputedStyle(one).backgroundColor);
  const behind = chain.reduce((under, colour) => pixel(colour, under), [255, 255, 255]);
  const own = getComputedStyle(element);
  const text = pixel(element.namespaceURI.endsWith("svg") ? own.fill : own.color, behind);
  const luminance = (colour) => {
    const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const [r, g, b] = colour.map((v) => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const [low, high] = [luminance(text), luminance(behind)].sort((a, b) => a - b);
  return (high + .05) / (low + .05);
}
"""


@dataclass
class Report:
    """A report that was written: its directory and the document for programs."""

    directory: Path
    document: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.document = json.loads((self.directory / "report.json").read_text())

    @property
    def url(self) -> str:
        return (self.directory / "report.html").as_uri()


class Watched:
    """A page with what must not happen in it: errors, and requests of anything but itself."""

    def __init__(self, browser: Browser, report: Report, **how: Any) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page(**({"viewport": DESK} | how))
        self.page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda one: self.requests.append(one.url))
        self.page.goto(report.url)


@pytest.fixture(scope="module")
def browser(tool: Tool) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=tool("chromium"), args=QUIET)
        yield started
        started.close()


@pytest.fixture(scope="module")
def real(corpus: RealFiles, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report of a kernel and an EFI program, evaluated on the embedded machine."""
    directory = tmp_path_factory.mktemp("evaluation")
    images = [corpus.file("cloud", "boot/vmlinuz-*"), corpus.file("efitools", "*/HelloWorld.efi")]
    words = ["evaluate", *map(str, images), "--entries", "efi,linux64", "--machines", "embedded"]
    command = [sys.executable, "-m", "pvefi", *words, "--repeat", "1", "-o", str(directory)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == ExitStatus.GUEST_FAILED, f"the program waits for a key\n{done.stderr}"
    report = Report(directory)
    assert ["HelloWorld.efi" in gap["what"] for gap in report.document["gaps"]] == [True]
    return report


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return a report with tables and pictures of every sort, and all that is hostile."""
    directory = tmp_path_factory.mktemp("made")
    rows = [
        [cell(HOSTILE), cell(HOSTILE, note=HOSTILE)],
        [cell("x" * (1 << 20)), cell("\u202e", note="\x1b[2J")],
    ]
    hostile = Section("hostile", HOSTILE, (HOSTILE,), (table(rows, title=HOSTILE, about=HOSTILE),))
    wide = Section("wide", "Wide", (), (table([[cell(f"column {at}") for at in range(40)]] * 50),))
    gaps = [Gap(HOSTILE, Problem.MACHINE, HOSTILE)]
    told = evaluation([image(HOSTILE, HOSTILE)], (), gaps, HOSTILE, HOSTILE)
    write_reports(told, [*sections(), wide, hostile], directory)
    return Report(directory)


@pytest.fixture(params=["made", "real"])
def report(request: pytest.FixtureRequest) -> Report:
    found: Report = request.getfixturevalue(request.param)
    return found


def tables_of(part: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = part.get("as_table", part)
    return found


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    wider: int = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return wider


def test_every_tab_has_every_table_row_and_picture_and_nothing_goes_wrong(
    browser: Browser, report: Report
) -> None:
    watched = Watched(browser, report)
    page = watched.page
    wanted = report.document["sections"]
    tabs = page.get_by_role("tab")
    assert tabs.count() == len(wanted)
    for at, section in enumerate(wanted):
        tabs.nth(at).click()
        panel = page.locator(PANEL)
        assert panel.count() == 1
        shown: int = page.evaluate(SHOWN)
        assert shown == 1, "the others are hidden"
        assert tabs.nth(at).get_attribute("aria-selected") == "true"
        for details in panel.locator("details > summary").all():
            details.click()
        tables = panel.locator("table")
        assert tables.count() == len(section["parts"])
        for number, part in enumerate(section["parts"]):
            assert tables.nth(number).is_visible()
            assert tables.nth(number).locator("tbody tr").count() == len(tables_of(part)["rows"])
            assert tables.nth(number).locator("thead th").count() == len(tables_of(part)["headings"])
            assert tables.nth(number).locator("caption").count() == 1
        pictures = panel.locator("figure svg[role=img][aria-label]")
        assert pictures.count() == sum("picture" in part for part in section["parts"])
        for picture in pictures.all():
            box = picture.bounding_box()
            assert box
            assert min(box["width"], box["height"]) > 50
    assert not watched.complaints
    assert watched.requests == [report.url]


def test_tabs_are_operated_by_keyboard(browser: Browser, made: Report) -> None:
    page = Watched(browser, made).page
    names = [section["name"] for section in made.document["sections"]]
    chosen = page.locator('[role=tab][aria-selected="true"]')
    chosen.focus()
    for key, expected in (
        ("ArrowRight", names[1]),
        ("ArrowRight", names[2]),
        ("ArrowLeft", names[1]),
        ("End", names[-1]),
        ("ArrowRight", names[0]),
        ("ArrowLeft", names[-1]),
        ("Home", names[0]),
    ):
        page.keyboard.press(key)
        assert chosen.get_attribute("aria-controls") == expected
        assert page.locator(PANEL).get_attribute("id") == expected
        assert page.evaluate("document.activeElement.getAttribute('aria-controls')") == expected
    page.go_back()
    assert chosen.get_attribute("aria-controls") == names[-1]


def test_a_link_to_a_section_opens_its_tab(browser: Browser, made: Report) -> None:
    page = Watched(browser, made).page
    page.goto(f"{made.url}#cost")
    assert page.locator(PANEL).get_attribute("id") == "cost"
    page.evaluate("location.hash = '#handoff'")
    page.wait_for_selector("#handoff:not([hidden])")
    page.goto(f"{made.url}#nothing")
    assert page.locator(PANEL).get_attribute("id") == "matrix"


def test_without_script_every_section_stands_there(browser: Browser, report: Report) -> None:
    page = Watched(browser, report, java_script_enabled=False).page
    for section in report.document["sections"]:
        assert page.locator(f"section[id={section['name']}] h2").is_visible()
    assert page.locator("figure svg:visible").count() == page.locator("figure svg").count()


def test_on_a_phone_tables_scroll_and_the_page_does_not(browser: Browser, report: Report) -> None:
    page = Watched(browser, report, viewport=PHONE).page
    for tab in page.get_by_role("tab").all():
        tab.click()
        assert overflow(page) == 0
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert overflow(page) == 0
    if page.locator("#wide").count():
        page.goto(f"{report.url}#wide")
        page.wait_for_selector("#wide .box.cut")
        assert page.locator("#wide .more").is_visible()
        page.locator("#wide .box").evaluate("box => box.scrollLeft = box.scrollWidth")
        page.wait_for_selector("#wide .box:not(.cut)")


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_marks_are_readable(browser: Browser, made: Report, mode: str) -> None:
    page = Watched(browser, made, color_scheme=mode).page
    texts: list[Locator] = []
    for selector in (
        *(
            "body",
            "dt",
            ".about",
            ".command",
            "nav a",
            "thead th",
            "tbody th",
            "td",
            "td.x",
            "td small",
            "footer p",
        ),
        *(f"td.{mark}" for mark in "gbdms"),
        *(".missing td", ".missing td.b", "svg text", "summary", ".filter", ".theme"),
    ):
        found = page.locator(selector)
        assert found.count(), selector
        texts.append(found.first)
    ratios = {str(text): text.evaluate(CONTRAST) for text in texts}
    assert all(ratio >= 4.5 for ratio in ratios.values()), ratios


def test_dark_is_dark_and_the_button_changes_it(browser: Browser, made: Report) -> None:
    def paper(page: Page) -> int:
        colour: str = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(", ")))

    light = Watched(browser, made, color_scheme="light").page
    dark = Watched(browser, made, color_scheme="dark").page
    assert paper(light) > 700
    assert paper(dark) < 100
    dark.locator("button.theme").click()
    assert paper(dark) == paper(light)
    fill = "getComputedStyle(document.querySelector('svg path.c1')).fill"
    assert dark.evaluate(fill) == light.evaluate(fill)


def test_a_mark_is_a_sign_or_a_word_too(browser: Browser, made: Report) -> None:
    page = Watched(browser, made).page
    for mark, sign in zip("gbdms", "✓✗≠@★", strict=True):
        shown: str = page.locator(f"td.{mark}").first.evaluate("e => getComputedStyle(e, '::before').content")
        assert sign in shown
    assert page.locator("td.x").first.evaluate("e => getComputedStyle(e).fontStyle") == "italic"


def test_a_long_table_can_be_searched(browser: Browser, made: Report) -> None:
    page = Watched(browser, made).page
    page.goto(f"{made.url}#handoff")
    page.locator("#handoff .filter input").fill("FIELD 63")
    assert page.locator("#handoff .tall tbody tr:visible").count() == 1
    assert page.locator("#handoff .filter output").inner_text() == "1 of 64 rows"
    page.locator("#handoff .filter input").fill("")
    assert page.locator("#handoff .tall tbody tr:visible").count() == 64


def test_what_is_printed_has_every_section(browser: Browser, made: Report) -> None:
    page = Watched(browser, made).page
    page.emulate_media(media="print")
    for section in made.document["sections"]:
        assert page.locator(f"section[id={section['name']}] h2").is_visible()
    assert not page.locator("nav").is_visible()


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_picture_as_a_file_is_light_or_dark_as_its_reader(
    browser: Browser, made: Report, mode: str
) -> None:
    [path] = (made.directory / "pictures").glob("timeline.svg")
    page = browser.new_page(color_scheme=mode, viewport=DESK)  # type: ignore[arg-type]  # one of its words
    page.goto(path.as_uri())
    paper: str = page.evaluate("getComputedStyle(document.querySelector('rect')).fill")
    assert (paper == "rgb(253, 253, 252)") == (mode == "light")


def test_screenshots_show_how_it_looks(browser: Browser, real: Report) -> None:
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    for name, how, wanted in (
        ("light", {"color_scheme": "light"}, ""),
        ("dark", {"color_scheme": "dark"}, "figure"),
        ("phone", {"color_scheme": "light", "viewport": PHONE}, "figure"),
    ):
        page = Watched(browser, real, **how).page
        for tab in page.get_by_role("tab").all():
            tab.click()
            if not page.locator(f"{PANEL} {wanted}".strip()).count():
                continue
            path = ARTEFACTS / f"report-{tab.get_attribute('aria-controls')}-{name}.png"
            page.screenshot(path=path, full_page=True)
            assert path.stat().st_size > 5000
