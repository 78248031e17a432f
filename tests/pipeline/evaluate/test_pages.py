import base64
import hashlib
import re

from pipeline.evaluate.page_parts import with_contents
from pipeline.evaluate.pages import VIEWER, pages, policy

MAIN = (
    '<h2>One</h2><table class="x"><tr></tr></table><h3>One &amp; <b>a</b></h3><div class="scroll narrow"><table>'
    "</table></div><h2>One</h2><h2>&lt;script&gt;</h2><h2>Two</h2>"
)


def test_headings_get_addresses_of_their_own_and_are_listed():
    page = with_contents(MAIN)
    ids = re.findall(r'<h[23] id="([^"]+)"', page)
    assert ids == ["part-one", "part-one-a", "part-one-2", "part-script", "part-two"]
    links = re.findall(r'<a href="#([^"]+)">(.*?)</a>', page)
    assert links == [("part-one", "One"), ("part-one-2", "One"), ("part-script", "&lt;script&gt;"), ("part-two", "Two")]


def test_tables_are_named_by_the_heading_above_and_boxes_take_the_focus():
    page = with_contents(MAIN)
    assert '<table class="x"><caption class="unseen">One</caption>' in page
    assert '<table><caption class="unseen">One &amp; a</caption>' in page
    assert '<div tabindex="0" class="scroll narrow">' in page


def test_few_headings_need_no_list():
    assert "<nav" not in with_contents("<h2>A</h2><h2>B</h2>")


def test_only_the_viewer_may_run_and_only_where_it_is():
    digest = base64.b64encode(hashlib.sha256(VIEWER.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy(True)
    assert "script-src" not in policy(False)
    for scripted in (True, False):
        assert policy(scripted).startswith("default-src 'none'; img-src data:;")
    written = pages().from_string("<script>{{ viewer }}</script>").render()
    assert written == f"<script>{VIEWER}</script>"
