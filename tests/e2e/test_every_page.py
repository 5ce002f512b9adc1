"""What is the same on every page: filters, definitions, files, freshness, paper, weight."""

import csv
import re
from io import StringIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from dropoff.dashboard.frame.navigation import NAVIGATION
from dropoff.metrics import METRICS
from dropoff.phrases.addresses import url
from looks import PHONE, assert_accessible, is_dark, needs_axe, on_both_sizes

CHARTED = (
    "/", "/executive", "/operations", "/trends?metric=win_rate&interval=week", "/segments?metric=booking_rate",
    "/patterns?success=booked", "/alerts",
)  # fmt: skip
QUESTIONS = (
    "/messages?rank=sentiment_change&within=position",
    "/messages?position=999",
    "/operations?from=2020-01-01&to=2020-02-01",
    "/patterns?success=booked&from=2020-01-01&to=2030-01-01",
    "/patterns?anchor=bot:pitch&steps=bot,prospect,sentiment&compare=previous",
    "/patterns?from=2019-01-01&to=2019-02-01",
    "/segments?metric=qualification_rate&by=bot_version&compare=previous",
    "/segments?metric=revenue&by=medium",
    "/segments?metric=response_time&segment=Mail:%20channel=email&segment=Chat:%20channel=chat",
)
"""Pages with other questions than their first one, also such as have no answer."""
REFUSED = ("/messages?position=0", "/patterns?success=nothing", "/segments?metric=win_rate&by=nothing")
REFERENCE = "/api/docs"
KILOBYTES = 300
"""Of a page beside the reference of the API."""

on_every_page = pytest.mark.parametrize("path", [page.path for group in NAVIGATION for page in group.pages])


def parameters(page):
    return parse_qs(urlsplit(page.url).query)


def test_filters_follow_from_page_to_page_and_go_one_by_one(demo, open_page):
    page = open_page(**PHONE, java_script_enabled=False)
    page.goto(demo.url)
    page.get_by_text("More filters").click()
    page.locator("select[name=dimension]").select_option("industry")
    page.locator("input[name=value]").fill("Software")
    page.get_by_role("combobox", name="Time zone").fill("Asia/Kolkata")
    page.get_by_label("Include test traffic").check()
    page.get_by_role("button", name="Apply").click()
    asked = {"where": ["industry=Software"], "timezone": ["Asia/Kolkata"], "include_test": ["1"]}
    assert asked.items() <= parameters(page).items()
    assert not {"dimension", "value", "until"} & parameters(page).keys()
    shown = page.get_by_role("region", name="Stages").locator("tbody td").first.inner_text()
    api = demo.get(f"/api/v1/funnel?{urlsplit(page.url).query}")
    assert shown == f"{api['stages'][0]['count']:,}"
    assert 0 < api["stages"][0]["count"] < demo.get("/api/v1/funnel")["stages"][0]["count"]
    page.get_by_role("navigation").get_by_role("link", name="Drop-offs").click()
    assert urlsplit(page.url).path == "/dropoffs"
    page.get_by_role("navigation").get_by_role("link", name="Conversations").click()
    page.get_by_role("region", name="conversations").get_by_role("link").first.click()
    page.get_by_role("navigation").get_by_role("link", name="Alerts").click()
    page.get_by_role("navigation").get_by_role("link", name="Reports").click()
    page.get_by_role("navigation").get_by_role("link", name="Definitions").click()
    page.get_by_role("region", name="Metrics").get_by_role("link", name="Show rate", exact=True).click()
    assert asked.items() <= parameters(page).items()
    page.get_by_role("navigation").get_by_role("link", name="Drop-offs").click()
    assert asked.items() <= parameters(page).items()
    page.get_by_role("link", name="Remove filter Time zone: Asia/Kolkata").click()
    page.get_by_role("link", name="Remove filter industry=Software").click()
    assert parameters(page).keys() & asked.keys() == {"include_test"}
    page.go_back()
    page.go_back()
    assert asked.items() <= parameters(page).items()
    assert page.locator(".chips a").count() == 3


def test_values_of_a_dimension_are_offered(demo, page):
    page.goto(demo.url)
    page.get_by_text("More filters").click()
    page.locator("select[name=dimension]").select_option("country")
    offered = page.locator("#values option")
    expect(offered.first).to_be_attached()
    segments = demo.get("/api/v1/metrics?metric=conversations_started&by=country")["metrics"]
    assert [one.get_attribute("value") for one in offered.all()] == [row["segment"] for row in segments]


def test_a_zone_that_is_none_is_refused_in_its_place(demo, page, watch):
    watch.expected = {"400 (Bad Request)"}
    page.goto(f"{demo.url}/?timezone=Mars&from=2024-01-01")
    expect(page.get_by_role("combobox", name="Time zone")).to_be_visible()
    assert page.get_by_role("combobox", name="Time zone").get_attribute("aria-invalid") == "true"


def test_the_name_of_a_metric_tells_and_leads_to_its_definition(demo, page):
    page.goto(demo.url)
    name = page.get_by_role("region", name="Rates").get_by_role("link", name="Show rate")
    page.get_by_role("region", name="Rates").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        if name.evaluate("link => link === document.activeElement"):
            break
    expect(page.locator(".tip")).to_have_text("Attended / booked. By the start of the conversation. Higher is better.")
    page.keyboard.press("Escape")
    expect(page.locator(".tip")).to_be_hidden()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{demo.url}/definitions#show_rate")
    row = page.locator("#show_rate")
    expect(row).to_be_in_viewport()
    expect(row).to_contain_text("attended / booked")
    assert page.locator("#metrics ~ .table tbody tr").count() == len(METRICS)


def test_every_chart_is_saved_as_numbers_and_as_a_picture(demo, page):
    one = demo.get("/api/v1/conversations?limit=1&stage=booked")["conversations"][0]["id"]
    for path in (*CHARTED, f"/conversations/{one}"):
        page.goto(demo.url + path)
        charts = page.locator("figure.chart, .tiled")
        assert charts.count(), path
        for chart in charts.all():
            with page.expect_download() as numbers:
                chart.get_by_role("link", name="Save the numbers as CSV").click()
            text = Path(numbers.value.path()).read_text()
            assert len(list(csv.reader(StringIO(text)))) > 2, path
            with page.expect_download() as picture:
                chart.get_by_role("button", name="Save the chart as PNG").press("Enter")
            assert Path(picture.value.path()).read_bytes().startswith(b"\x89PNG")
            for saved, kind in ((numbers, "csv"), (picture, "png")):
                if path in CHARTED[:-1]:
                    named = r"dropoff_\w+_\d{4}-\d\d-\d\d_\d{4}-\d\d-\d\d_[\w-]+\." + kind
                    assert re.fullmatch(named, saved.value.suggested_filename)


def test_the_file_of_a_chart_has_the_numbers_of_the_api(demo, open_page):
    page = open_page(java_script_enabled=False)
    page.goto(f"{demo.url}/?where=channel=sms")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the numbers as CSV").click()
    rows = list(csv.DictReader(StringIO(Path(download.value.path()).read_text())))
    stages = demo.get("/api/v1/funnel?where=channel=sms")["stages"]
    assert [(row["stage"], int(row["count"])) for row in rows] == [(one["stage"], one["count"]) for one in stages]
    booked = next(one for one in stages if one["stage"] == "booked")["rate_from_previous"]
    row = next(row for row in rows if row["stage"] == "booked")
    assert float(row["rate_from_previous.value"]) == booked["value"]
    assert float(row["rate_from_previous.interval.low"]) == booked["interval"][0]


def test_a_page_renews_itself_without_a_jump(empty, page):
    empty.send({"event_type": "conversation_started", "conversation_id": "a"})
    page.set_viewport_size({"width": 700, "height": 400})
    page.goto(f"{empty.url}/?from=2020-01-01&to=2100-01-01")
    started = page.get_by_role("region", name="Stages").locator("tbody td").first
    expect(started).to_have_text("1")
    page.get_by_text("What the words mean").click()
    page.get_by_text("More filters").click()
    page.locator("input[name=value]").fill("typed")
    link = started.get_by_role("link")
    link.focus()
    page.get_by_role("region", name="Stages").evaluate("box => { box.scrollLeft = 60 }")
    page.evaluate("scrollTo(0, 500)")
    where = page.evaluate("[scrollY, document.querySelector('#stages').getBoundingClientRect().top]")
    empty.send({"event_type": "conversation_started", "conversation_id": "b"})
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(started).to_have_text("2")
    assert page.evaluate("[scrollY, document.querySelector('#stages').getBoundingClientRect().top]") == where
    assert page.get_by_role("region", name="Stages").evaluate("box => box.scrollLeft") == 60
    assert link.evaluate("link => link === document.activeElement")
    assert page.locator("input[name=value]").input_value() == "typed"
    assert page.locator("details[open]").count() == 2
    assert page.locator("canvas").count() == 1
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Pause updates").click()
    empty.send({"event_type": "conversation_started", "conversation_id": "c"})
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("[data-live]")).to_contain_text("Paused")
    assert asked == []
    page.get_by_role("button", name="Resume updates").press("Enter")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(started).to_have_text("3")
    expect(page.get_by_role("button", name="Pause updates")).to_be_focused()


def test_a_table_that_scrolls_has_a_shade_where_there_is_more(demo, open_page):
    page = open_page(**PHONE)
    page.goto(f"{demo.url}/segments?metric=booking_rate")
    box = page.get_by_role("region", name="Booking rate by channel")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    assert box.evaluate("box => getComputedStyle(box).backgroundAttachment") == "local, local, scroll, scroll"


def test_what_takes_long_is_worked_out_once_the_page_stands(demo, open_page):
    address = f"{demo.url}/optimization?where=channel=voice"
    plain = open_page(java_script_enabled=False)
    plain.goto(address)
    expect(plain.get_by_role("link", name="Work them out")).to_be_visible()
    page = open_page()
    page.goto(address)
    expect(page.get_by_role("heading", name="Experiments")).to_be_visible()
    expect(page.get_by_role("heading", name="Segments that differ")).to_be_visible(timeout=60_000)
    assert page.url == address
    assert page.locator("[data-work], .under-way").count() == 0
    expect(page.get_by_role("button", name="Pause updates")).to_be_visible()


def test_a_page_of_the_past_does_not_ask(demo, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for path in ("/?from=2020-01-01&to=2020-02-01", "/?as_of=2024-01-01", "/definitions"):
        page.goto(demo.url + path)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        assert page.locator("[data-live]").count() == 0
    assert not [url for url in asked if url.endswith("/version")]


def test_while_a_page_is_made_one_sees_that_something_is_under_way(demo, page):
    page.goto(demo.url)
    page.route("**/patterns*", lambda route: route.fulfill(status=204))  # never another page
    page.get_by_role("navigation").get_by_role("link", name="Conversations").click(modifiers=["Control"])
    assert page.locator("#main").get_attribute("aria-busy") is None
    page.locator("select[name=by]").evaluate("field => { field.form.action = '/patterns' }")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#main")).to_have_attribute("aria-busy", "true")
    assert page.locator("#main").evaluate("main => getComputedStyle(main, '::before').position") == "fixed"


def test_on_paper(demo, open_page):
    page = open_page(color_scheme="dark")
    page.goto(f"{demo.url}/?where=channel=sms")
    shown = page.locator(".plot").screenshot()
    page.emulate_media(media="print", color_scheme="dark")
    for hidden in (".top", "form.filters", ".saves", "[data-live]"):
        expect(page.locator(hidden).first).to_be_hidden()
    expect(page.locator(".facts-line").first).to_contain_text(" to ")
    expect(page.locator(".chips")).to_contain_text("channel=sms")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).getPropertyValue('--mark')") == "#ffe9a8"
    assert page.locator(".plot").screenshot() != shown
    assert page.locator(".table").first.evaluate("box => getComputedStyle(box).overflowX") == "visible"


@needs_axe
@on_both_sizes
@on_every_page
def test_a_page_is_light_and_in_both_themes_without_a_serious_fault(demo, open_page, path, size):
    page = open_page(**size)
    assert page.goto(demo.url + path).ok
    if path == REFERENCE:
        page.locator(".opblock").first.wait_for()
    else:
        sizes = page.evaluate(WEIGHT)
        assert sum(sizes.values()) / 1000 <= KILOBYTES, sizes
    assert page.locator("header [aria-current='page']").count() == 1
    assert size is PHONE or page.evaluate(CUT_OFF) == []
    assert_accessible(page, path)
    assert is_dark(page)


@needs_axe
@on_both_sizes
def test_other_questions_are_without_a_serious_fault(demo, open_page, watch, size):
    page = open_page(**size)
    for path in (*QUESTIONS, *REFUSED):
        watch.expected = {"400 (Bad Request)"} if path in REFUSED else set()
        page.goto(demo.url + path)
        assert_accessible(page, path)


@on_every_page
def test_a_page_without_scripts_has_its_content_and_passes_the_filters_on(demo, open_page, path):
    page = open_page(java_script_enabled=False)
    asked = {"from": ["2024-01-01"], "where": ["channel=sms"], "include_test": ["1"]}
    assert page.goto(demo.url + url(path, asked)).ok
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    content = page.locator("noscript" if path == REFERENCE else "#main :is(td, .figure, .said, dd)")
    expect(content.first).to_be_visible()
    links = page.get_by_role("navigation", name="Main").locator("li a")
    assert [parse_qs(urlsplit(link.get_attribute("href")).query) for link in links.all()] == [asked] * links.count()


@on_every_page
def test_a_page_with_the_keyboard_alone(demo, page, path):
    page.goto(demo.url + path)
    links = page.get_by_role("navigation", name="Main").get_by_role("link")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    for link in links.all():
        page.keyboard.press("Tab")
        expect(link).to_be_focused()
        assert link.evaluate("link => getComputedStyle(link).outlineStyle") != "none"
    page.keyboard.press("Tab")
    first = page.locator(f"#main :is({', '.join(REACHED)})").filter(visible=True).first
    expect(first).to_be_focused()
    page.get_by_role("link", name="Skip to content").press("Enter")
    expect(page.locator("#main")).to_be_focused()


REACHED = ("a[href]", "button", "input:not([type=hidden])", "select", "summary", "[tabindex='0']")
"""What the tabulator comes to."""

CUT_OFF = """() => [...document.querySelectorAll(".table")]
  .filter((box) => box.checkVisibility() && box.scrollWidth > box.clientWidth)
  .map((box) => box.innerText.slice(0, 200))"""
"""The tables that are wider than the page."""

WEIGHT = """() => Object.fromEntries(
  [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .map((entry) => [entry.name, entry.transferSize]))"""
"""What came over the wire for a page, by address."""
