"""Every report opened in Chromium: quiet, alone, drawn, readable in light, dark, on a phone and on paper."""

import re
import shutil
from itertools import pairwise

import pytest

PAGES = ("validation", "like_before", "volumes", "one_class", "adapt", "adapt_one_class", "compare", "shift", "check")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
A4_INNER = {"width": 688, "height": 980}  # 210 x 297 mm less the page's margins of 14 mm, at 96 px an inch

# Text whose contrast with what lies behind it is under 4.5 (3 where it is large): WCAG 2.2, 1.4.3 and its formulas.
FAINT = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const over = (top, below) => [0, 1, 2].map((n) => top[n] * (top[3] ?? 1) + below[n] * (1 - (top[3] ?? 1)));
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (rgb) => { const [r, g, b] = rgb.map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (node) => { const layers = [];
    for (; node; node = node.parentElement) layers.push(parse(getComputedStyle(node).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), dark() ? [18, 18, 18] : [255, 255, 255]); };
  const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;
  const faint = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, style = getComputedStyle(node);
    const words = walker.currentNode.data.trim();
    if (!words || !node.getClientRects().length || node.closest("script, .unseen, .skip")) continue;
    const back = behind(node), ink = over(parse(node instanceof SVGElement ? style.fill : style.color), back);
    const [low, high] = [light(ink), light(back)].sort((a, b) => a - b), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < (large ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)} ${node.tagName} ${words.slice(0, 30)}`);
  }
  return faint;
}"""
UNDRAWN = """() => {
  const box = (e) => { const { width, height } = e.getBoundingClientRect(); return width > 4 && height > 4; };
  const images = [...document.images].filter((e) => !(e.complete && e.naturalWidth && box(e)));
  const marks = "path, circle, rect, line, use", all = [...document.querySelectorAll("svg[role=img], svg.slices")];
  const drawings = all.filter((e) => !box(e) || !e.querySelector(marks));
  return [...images, ...drawings].map((e) => e.outerHTML.slice(0, 80));
}"""
FOCUSED = """() => { const e = document.activeElement;
  return [e === document.body ? "" : e.className || e.tagName, getComputedStyle(e).outlineStyle]; }"""
TOO_WIDE = """() => [...document.querySelectorAll("table, figure, p, dl, h1, h2, ul")]
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def chromium():
    """The browser that is installed; none is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as running:
        yield running.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu", "--disable-dev-shm-usage"])


class Opened:
    """A page and what it did."""

    def __init__(self, browser, path, **how):
        self.told, self.asked, self.dialogs = [], [], []
        self.tab = browser.new_page(**how)
        self.tab.on("console", lambda message: self.told.append(message.text))
        self.tab.on("pageerror", lambda error: self.told.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.tab.goto(path.as_uri())
        self.tab.evaluate("Promise.all([...document.images].map((image) => image.decode()))")

    def unfold(self):
        self.tab.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        return self


@pytest.fixture
def opened(chromium):
    """Opens a page."""
    tabs = []

    def call(path, viewport=DESK, **how):
        tabs.append(Opened(chromium, path, viewport=viewport, **how))
        return tabs[-1]

    yield call
    for one in tabs:
        one.tab.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_quiet_alone_and_drawn_and_nothing_planted_ran(opened, written, name):
    page = opened(written.pages[name]).unfold()
    assert page.told == []
    assert [url for url in page.asked if not url.startswith("data:image/webp")] == [written.pages[name].as_uri()]
    assert page.dialogs == []
    assert page.tab.evaluate("window.ran") is None
    assert page.tab.evaluate(UNDRAWN) == []
    levels = page.tab.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((e) => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = page.tab.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(opened, written, name, scheme):
    page = opened(written.pages[name], color_scheme=scheme).unfold()
    assert page.tab.evaluate(FAINT) == []
    ground = page.tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 380) == (scheme == "light")


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_needs_no_scrolling_sideways(opened, written, name):
    page = opened(written.pages[name], viewport=PHONE).unfold()
    assert page.tab.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@pytest.mark.parametrize("name", PAGES)
def test_paper_holds_everything(opened, written, name):
    page = opened(written.pages[name], viewport=A4_INNER)
    page.tab.emulate_media(media="print")
    assert page.tab.evaluate(TOO_WIDE) == []
    assert page.tab.evaluate("document.querySelector('.contents')?.getClientRects().length ?? 0") == 0
    folded = (
        "[...document.querySelectorAll('details')].filter((e) => !e.lastElementChild.getClientRects().length).length"
    )
    assert page.tab.evaluate(folded) == 0
    paper = page.tab.pdf(format="A4", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 1


def test_a_volume_scrolls_by_keys_wheel_and_slider(opened, written):
    page = opened(written.pages["volumes"])
    volume = page.tab.locator(".volume").first
    stack, slider, told = volume.locator(".stack"), volume.locator("input"), volume.locator("output")
    last = int(slider.get_attribute("max"))
    slider.fill("1")
    first = stack.screenshot()
    assert told.inner_text() == f"1 of {last}"
    slider.press("ArrowRight")
    assert told.inner_text() == f"2 of {last}"
    second = stack.screenshot()
    assert second != first
    stack.hover()
    page.tab.mouse.wheel(0, 100)
    page.tab.wait_for_function("(e) => e.value === '3'", arg=slider.element_handle())
    assert stack.screenshot() != second
    before = page.tab.evaluate("scrollY")
    slider.fill(str(last))
    page.tab.mouse.wheel(0, 300)  # at the end the wheel moves the page again
    page.tab.wait_for_function("(before) => scrollY > before", arg=before)
    assert told.inner_text() == f"{last} of {last}"


@pytest.mark.parametrize("name", ["validation", "volumes", "one_class"])
def test_heat_is_switched_by_the_keyboard(opened, written, name):
    page = opened(written.pages[name])
    stack, switch = page.tab.locator(".stack").first, page.tab.locator("#heat")
    with_heat = stack.screenshot()
    switch.focus()
    page.tab.keyboard.press("Space")
    assert not switch.is_checked()
    assert stack.screenshot() != with_heat


def test_the_keyboard_reaches_contents_and_tables_and_shows_where_it_is(opened, written):
    page = opened(written.pages["validation"])
    reached = []
    for _ in range(40):
        page.tab.keyboard.press("Tab")
        reached.append(page.tab.evaluate(FOCUSED))
    names = [name for name, _ in reached if name]
    assert names[0] == "skip"
    assert any(name.startswith("scroll") for name in names)
    assert all(outline != "none" for name, outline in reached if name)  # the last Tab leaves the page
    page.tab.locator(".contents a").last.click()
    target = page.tab.evaluate("document.querySelector(location.hash).getBoundingClientRect().top")
    assert 0 <= target < DESK["height"]


def test_markup_that_got_in_would_not_run(opened, written, tmp_path):
    """The Content Security Policy holds even where escaping failed; the page's own script still runs."""
    handler = "<svg onload='window.ran = 2'></svg><iframe src='javascript:parent.ran = 3'></iframe>"
    evil = f"<script>window.ran = 1</script>{handler}"
    path = tmp_path / "page.html"
    path.write_text(written.pages["volumes"].read_text().replace("<main", evil + "<main"))
    page = opened(path)
    assert page.tab.evaluate("window.ran") is None
    assert any("Content Security Policy" in line for line in page.told)
    slider = page.tab.locator(".volume input").first
    slider.fill("1")
    assert page.tab.locator(".volume output").first.inner_text().startswith("1 of ")
