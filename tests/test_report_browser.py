"""The report in a real browser: nothing is loaded, nothing fails, all can use it."""

import shutil
from pathlib import Path

import pytest
from result_folders import Arm, Folder

from diffshortcut.report.__main__ import write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]
EVIL = "<script>alert(1)</script>"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
QUIET += ["--disable-component-update", "--disable-sync"]
SHOTS = Path(__file__).parent.parent / "build" / "report"
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("browser")
    people = [EVIL, *(f"person_{n:03}" for n in range(7))]
    attacks = ("none", "none"), ("aspl", "none"), ("aspl", "jpeg"), ("aspl", "ours")
    arms = [Arm(attack, purifier, prompt=f"a photo of {EVIL}") for attack, purifier in attacks]
    claim = {"metric": "ims", "arm": "aspl+ours", "rivals": ["aspl", "aspl+jpeg"]}
    flags = {"aspl": {"weaker_than_noise": {EVIL: "as <b>random</b> noise"}}}
    one = Folder(root, "one", arms, people, [claim], flags).write()
    more = [Arm("aspl", p, radius=4, prompt=f"a photo of {EVIL}") for p in ("none", "jpeg")]
    two = Folder(root, "two", [arms[0], *more], people).write()
    write([one, two], root / "out")
    return root / "out" / "report.html"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra [browser]")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, report, request):
    """Open the page; what it says, asks for or fails at is collected and must be nothing."""
    wrong = []
    pages = []

    def open_page(size="desktop", scheme="light"):
        width, height = SIZES[size]
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
        allowed = ("data:", f"file://{report}")
        page.on("request", lambda asked: asked.url.startswith(allowed) or wrong.append(asked.url))
        page.goto(f"file://{report}")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_is_kept_as_a_picture(opened, size, scheme):
    page = opened(size, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{size}-{scheme}.png", full_page=True)
    assert page.locator("#cards article").count() == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="extra [browser]")
    page = opened("desktop", scheme)
    page.locator("figure summary").first.click()
    for state in ("page", "details"):
        if state == "details":
            page.locator("#matrix button[data-arm]:visible").nth(1).click()
            page.locator("dialog summary").first.click()
        found = axe.Axe().run(page).response["violations"]
        serious = [
            (fault["id"], node["target"], node["failureSummary"])
            for fault in found
            if fault["impact"] in SERIOUS
            for node in fault["nodes"]
        ]
        assert serious == [], state


def test_sorting_and_filtering(opened):
    page = opened()
    header = page.locator("#arms thead th", has_text="IMS")
    column = "#arms tbody tr:visible td:nth-of-type(4)"

    def values():
        return [float(text.rstrip("*")) for text in page.locator(column).all_inner_texts()]

    before = values()
    assert len(before) == 6 and before != sorted(before)
    header.get_by_role("button").click()
    assert values() == sorted(before) and header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").press("Enter")  # by keyboard
    assert values() == sorted(before, reverse=True)
    assert header.get_attribute("aria-sort") == "descending"
    page.fill("#filter", "ASPL jpeg")
    assert len(values()) == 2 and page.inner_text("#count") == "2 of 6 arms"
    page.fill("#filter", "")
    page.check("#flagged")
    assert page.inner_text("#count") == "1 of 6 arms"


def test_the_slider_moves_by_key_and_by_mouse(opened):
    page = opened()
    page.select_option("#g-attack", "aspl, radius 11")
    card = page.locator("#cards article", has_text="jpeg")
    slider, frame = card.locator("input[type=range]"), card.locator(".compare")
    assert slider.get_attribute("aria-label") == "protected (left), purified (right)"
    assert card.locator(".compare img").count() == 2
    shown = "element => getComputedStyle(element).clipPath"
    after = card.locator("img.after")
    assert "50%" in after.evaluate(shown)
    slider.focus()
    slider.press("ArrowRight")
    assert "51%" in after.evaluate(shown)
    box = frame.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
    assert int(slider.input_value()) == pytest.approx(20, abs=5)
    loaded = "images => images.every(image => image.complete && image.naturalWidth === 64)"
    assert card.locator("img").evaluate_all(loaded)


def test_metrics_and_details(opened):
    page = opened()
    page.locator("#metrics label", has_text="overall").click()
    assert page.locator(".matrix:visible").get_attribute("data-metric") == "overall"
    page.locator(".matrix:visible tr", has_text="aspl, radius 11").locator("button").first.click()
    dialog = page.locator("dialog")
    assert dialog.locator("h2").inner_text() == "aspl, radius 11, undefended"
    text = dialog.inner_text()
    assert "as <b>random</b> noise" in text and EVIL in text  # as text, not as markup
    assert dialog.locator("b, script").count() == 0
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_without_scripts_the_tables_are_there(browser, report):
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"file://{report}")
    assert page.locator(".matrix:visible").count() == 3
    assert page.locator("#arms tbody tr:visible").count() == 6
    page.close()
