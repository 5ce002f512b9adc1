import csv
import json
import re
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import expect

from dropoff.phrases import formats
from dropoff.phrases.formats import visible
from looks import PHONE, assert_accessible, is_dark, needs_axe, on_both_sizes, overflow


def figure(text):
    return int(re.sub(r"\D", "", text))


def rows(page, heading):
    """The cells of the table under a heading, by row name (its first line)."""
    found = page.get_by_role("region", name=heading).locator("tbody tr").all()
    cells = [[cell.inner_text().strip() for cell in row.locator("th, td").all()] for row in found]
    return {name.splitlines()[0]: rest for name, *rest in cells}


def stages(page):
    """Count, recorded and implied of each stage."""
    return {name.lower(): [figure(text) for text in row[:3]] for name, row in rows(page, "Stages").items()}


def parameters(page):
    return parse_qs(urlsplit(page.url).query)


def as_page(answer):
    return {s["stage"]: [s["count"], s["recorded"], s["implied"]] for s in answer["stages"]}


def percent(value):
    return "–" if value is None else f"{value * 100:.1f}\u00a0%"


def apply(page):
    page.get_by_role("button", name="Apply").click()


def in_one_minute(*asked):
    """The answers of some questions, all of one minute: young rates go by whole ones."""
    answers = []
    for _ in range(5):
        answers = [ask() for ask in asked]
        if len({answer["as_of"][:16] for answer in answers}) == 1:
            break
    return answers


@pytest.mark.parametrize("name", ["sales", "mission"])
def test_page_api_and_command_line_agree(demo, page, name):
    page.goto(f"{demo.url}/?name={name}")
    api, cli, drops, told = in_one_minute(
        lambda: demo.get(f"/api/v1/funnel?name={name}"),
        lambda: demo.ask("funnel", "--name", name),
        lambda: demo.get(f"/api/v1/dropoffs?name={name}"),
        lambda: demo.ask("dropoffs", "--name", name),
    )
    assert {**api, "as_of": 0} == {**cli, "as_of": 0}
    assert stages(page) == as_page(api)
    assert api["stages"][0]["count"] > 100
    shown = rows(page, "Rates")
    assert {n: row[0].splitlines()[0] for n, row in shown.items()} == {
        n.replace("_", " ").capitalize(): percent(value) for n, value in api["rates"].items()
    }
    lost = {name: figure(row[2]) for name, row in rows(page, "Drop-offs, highest rate in the end first").items()}
    assert lost == {f"{d['from'].capitalize()} → {d['to'].capitalize()}": d["volume_lost"] for d in api["drop_offs"]}
    assert {**drops, "as_of": 0} == {**told, "as_of": 0}
    assert [{key: drop[key] for key in api["drop_offs"][0]} for drop in told["drop_offs"]] == api["drop_offs"]


def test_filters_live_in_the_address(demo, page):
    page.goto(demo.url)
    whole = stages(page)
    first = demo.get("/api/v1/funnel")["period"]["from"][:10]
    page.locator("input[name=until]").fill(first)
    apply(page)
    assert parameters(page)["from"] == [first]
    assert "until" not in parameters(page)
    assert demo.get(f"/api/v1/funnel?{urlsplit(page.url).query}")["period"]["from"][:10] == first
    one_day = stages(page)
    assert 0 < one_day["started"][0] < whole["started"][0]
    assert one_day == as_page(demo.get(f"/api/v1/funnel?{urlsplit(page.url).query}"))
    assert page.locator("input[name=until]").input_value() == first
    page.go_back()
    assert page.url == f"{demo.url}/"
    assert page.locator("input[name=until]").input_value() != first
    assert stages(page) == whole
    page.go_forward()
    assert stages(page) == one_day


def test_channel_funnel_and_test_traffic(demo, page):
    page.goto(demo.url)
    whole = demo.get("/api/v1/funnel")
    page.locator("select[name=where]").select_option("channel=sms")
    apply(page)
    assert parameters(page)["where"] == ["channel=sms"]
    by = demo.get("/api/v1/funnel?by=channel")["segments"]["sms"]
    assert stages(page) == as_page(by)
    assert page.locator("select[name=where]").input_value() == "channel=sms"
    page.get_by_text("More filters").click()
    page.get_by_label("Include test traffic").check()
    apply(page)
    assert parameters(page)["include_test"] == ["1"]
    assert stages(page)["started"][0] > by["stages"][0]["count"]
    page.get_by_role("link", name="Remove filter channel=sms").click()
    assert "where" not in parameters(page)
    assert stages(page)["started"][0] == whole["stages"][0]["count"] + whole["test_conversations"]
    page.locator("select[name=name]").select_option("mission")
    apply(page)
    assert parameters(page)["name"] == ["mission"]
    assert "Opportunity" not in rows(page, "Stages")


def test_from_a_count_to_the_list_to_a_transcript(demo, page):
    page.goto(f"{demo.url}/?where=channel=sms")
    count = stages(page)["booked"][0]
    region = page.get_by_role("region", name="Stages")
    region.get_by_role("row", name="Booked").get_by_role("link").click()
    expect(page.get_by_role("heading", level=2)).to_have_text(f"{count} conversations")
    assert parameters(page) == {"where": ["channel=sms"], "stage": ["booked"]}
    found = rows(page, f"{count} conversations")
    assert len(found) == min(count, 50)
    assert {row[0] for row in found.values()} == {"sms"}
    name = next(iter(found))
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    messages = demo.get(f"/api/v1/conversations/{name}")["messages"]
    assert [text.strip() for text in page.locator(".bubble").all_inner_texts()] == [m["content"] for m in messages]
    page.go_back()
    page.go_back()
    assert stages(page)["booked"][0] == count


def test_lost_volume_leads_to_a_list_of_as_many(demo, page):
    page.goto(demo.url)
    for number in range(page.get_by_role("region", name="Drop-offs").locator("tbody tr").count()):
        link = page.get_by_role("region", name="Drop-offs").locator("tbody tr").nth(number).get_by_role("link")
        lost = link.inner_text()
        link.click()
        expect(page.get_by_role("heading", level=2)).to_have_text(f"{lost} conversation{'' if lost == '1' else 's'}")
        page.go_back()


def test_all_pages_of_the_list(demo, page):
    page.goto(f"{demo.url}/conversations?limit=100")
    total, seen = figure(page.get_by_role("heading", level=2).inner_text()), []
    while True:
        seen += page.locator("tbody th").all_inner_texts()
        following = page.get_by_role("link", name="Next page")
        if not following.count():
            break
        following.click()
    assert len(seen) == len(set(seen)) == total


def test_with_the_keyboard_alone(demo, page):
    page.goto(demo.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    tab_to(page, "select[name=where]")
    page.keyboard.press("ArrowDown")
    tab_to(page, "form button")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"where="))
    tab_to(page, "a[href*='stage=booked']")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/conversations.*stage=booked"))
    tab_to(page, "tbody th a")
    page.keyboard.press("Enter")
    expect(page.locator("#transcript")).to_be_visible()


def tab_to(page, selector):
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            focus = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert focus != "none"
            return
    pytest.fail(f"{selector} cannot be reached")


STEPS = [{"event": name} for name in ("conversation_started", "qualified", "meeting_booked")]
OWN = "definition=" + quote(json.dumps({"steps": STEPS, "window": "9d"}))


def addresses(demo):
    """Pages beside those of the navigation, and these with other questions."""
    one = demo.get("/api/v1/conversations?limit=1&stage=booked")["conversations"][0]["id"]
    return [
        "/?name=mission",
        "/?by=medium",
        f"/?{OWN}&interval=week&by=channel",
        "/dropoffs?name=mission&sort=volume&explain=started",
        "/trends?metric=revenue&interval=week",
        "/trends?metric=response_rate&interval=week&by=channel",
        "/cohorts?stage=booked",
        "/cohorts?interval=month",
        "/experiments?base=0.2&effect=0.05",
        "/experiments?name=first_message",
        f"/conversations/{one}",
        "/login",
        "/nope",
    ]


def test_the_dark_theme_is_dark(demo, open_page):
    page = open_page(color_scheme="dark")
    page.goto(demo.url)
    assert is_dark(page)
    light = open_page(color_scheme="light")
    light.goto(demo.url)
    assert page.locator("canvas").count() == light.locator("canvas").count() == 1
    assert page.locator(".plot").screenshot() != light.locator(".plot").screenshot()


def test_without_scripts_the_tables_say_it_all(demo, open_page):
    page = open_page(java_script_enabled=False)
    page.goto(demo.url)
    assert not page.locator(".plot").first.is_visible()
    api = demo.get("/api/v1/funnel")
    assert stages(page) == as_page(api)
    page.locator("select[name=where]").select_option("channel=sms")
    apply(page)
    assert parameters(page)["where"] == ["channel=sms"]
    page.get_by_role("region", name="Stages").get_by_role("row", name="Started").get_by_role("link").click()
    page.locator("tbody th a").first.click()
    assert page.locator(".bubble").count()


def test_the_chart_leads_to_its_conversations(demo, page):
    page.goto(demo.url)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 130, box["y"] + box["height"] / 14)
    page.wait_for_url(re.compile(r"/conversations\?stage=started"))


def points(page):
    return {name: row[0] for name, row in rows(page, re.compile(" by ")).items()}


def as_points(trend):
    zone, interval = trend["period"]["timezone"], trend["interval"]
    return {formats.bucket(p["from"], interval, zone): formats.measure(p) for p in trend["points"]}


def test_a_trend_is_the_same_on_page_api_and_command_line(demo, page):
    page.goto(f"{demo.url}/trends")
    api, cli = in_one_minute(
        lambda: demo.get("/api/v1/trend?metric=response_rate"), lambda: demo.ask("trend", "response_rate")
    )
    assert {**api, "as_of": 0} == {**cli, "as_of": 0}
    assert len(api["points"]) == 30
    assert points(page) == as_points(api)
    page.locator("select[name=metric]").select_option("bot_messages")
    page.locator("select[name=interval]").select_option("week")
    page.locator("select[name=where]").select_option("channel=sms")
    apply(page)
    assert parameters(page) == {
        "from": [api["period"]["from"][:10]], "to": [api["period"]["to"][:10]], "metric": ["bot_messages"],
        "interval": ["week"], "where": ["channel=sms"],
    }  # fmt: skip
    expect(page.get_by_role("heading", level=1)).to_have_text("Bot messages")
    assert points(page) == as_points(demo.get(f"/api/v1/trend?{urlsplit(page.url).query}"))
    page.go_back()
    assert points(page) == as_points(api)


def test_a_point_leads_to_its_conversations(demo, page):
    page.goto(f"{demo.url}/trends?metric=conversations_started&where=channel=sms&interval=week")
    first = page.get_by_role("region", name="Week by week").locator("tbody tr").nth(1).get_by_role("link")
    count = first.inner_text()
    first.click()
    expect(page.get_by_role("heading", level=2)).to_have_text(f"{count} conversations")
    assert parameters(page)["where"] == ["channel=sms"]
    page.go_back()
    option = json.loads(page.locator("#trend1-option").inner_text())
    box, (x, y) = page.locator("canvas").bounding_box(), page.evaluate(RIGHT_END)
    assert box is not None
    last = option["baseOption"]["series"][1]["data"][-1]
    page.mouse.click(box["x"] + x + (4 if "itemStyle" in last else -2), box["y"] + y)  # a hollow point is not blue
    page.wait_for_url(re.compile("/conversations"))
    assert page.url == demo.url + last["url"]


RIGHT_END = """() => {
  const canvas = document.querySelector("canvas");
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  for (let x = canvas.width - 1; x >= 0; x--)
    for (let y = 0; y < canvas.height; y++) {
      const at = 4 * (y * canvas.width + x);
      if (pixels[at + 2] - pixels[at] > 100) return [x, y];
    }
}"""
"""Where the blue line of the chart ends: at its last point."""


def test_a_trend_with_the_keyboard_alone(demo, page):
    page.goto(f"{demo.url}/trends")
    tab_to(page, "select[name=metric]")
    page.keyboard.press("ArrowDown")
    tab_to(page, "form button")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("metric=qualification_rate"))
    tab_to(page, "tbody td a")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/conversations\?.*from="))


def test_a_trend_without_scripts_and_on_a_phone(demo, open_page):
    page = open_page(java_script_enabled=False, **PHONE)
    page.goto(f"{demo.url}/trends?metric=win_rate&interval=month")
    assert not page.locator(".plot").first.is_visible()
    assert points(page) == as_points(demo.get("/api/v1/trend?metric=win_rate&interval=month"))
    page.locator("select[name=metric]").select_option("response_time")
    apply(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Response time")
    assert overflow(page) <= 0


def test_trends_have_a_chart_for_each_currency_in_both_themes(demo, open_page):
    shots = []
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        page.goto(f"{demo.url}/trends?metric=revenue&interval=month")
        currencies = {p["currency"] for p in demo.get("/api/v1/trend?metric=revenue&interval=month")["points"]}
        assert page.locator("canvas").count() == len(currencies) > 1
        shots.append(page.locator(".plot").first.screenshot())
    assert shots[0] != shots[1]


def test_the_funnel_split_by_a_dimension(demo, page):
    page.goto(demo.url)
    page.locator("select[name=by]").select_option("medium")
    apply(page)
    assert parameters(page)["by"] == ["medium"]
    segments = demo.get("/api/v1/funnel?by=medium")["segments"]
    shown = {
        name: [row[0], *(cell.splitlines()[0] for cell in row[1:])] for name, row in rows(page, "By medium").items()
    }
    assert shown == {
        value: [formats.number(part["stages"][0]["count"]), *map(percent, part["rates"].values())]
        for value, part in segments.items()
    }
    link = page.get_by_role("region", name="By medium").locator("tbody tr").first.get_by_role("link")
    count = link.inner_text()
    link.click()
    expect(page.get_by_role("heading", level=2)).to_have_text(f"{count} conversations")


def test_cohorts_with_the_keyboard_alone_down_to_a_list(demo, page):
    page.goto(f"{demo.url}/cohorts")
    tab_to(page, "select[name=stage]")
    page.keyboard.type("Qual")
    tab_to(page, "form button")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("stage=qualified"))
    tab_to(page, ".table")  # which scrolls by the arrow keys
    tab_to(page, "a[href*='within=1w']")
    count = demo.get(f"/api/v1/cohorts?{urlsplit(page.url).query}")["cohorts"][0]["cells"][0]["numerator"]
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/conversations\?.*within=1w"))
    expect(page.get_by_role("heading", level=2)).to_have_text(f"{count} conversation{'' if count == 1 else 's'}")


def test_the_triangle_is_that_of_the_api_and_the_command_line(demo, page):
    page.goto(f"{demo.url}/cohorts?stage=booked&where=channel=sms")
    api = demo.get("/api/v1/cohorts?stage=booked&where=channel=sms")
    assert {**api, "as_of": 0} == {**demo.ask("cohorts", "--stage", "booked", "--where", "channel=sms"), "as_of": 0}
    assert sum(row["n"] for row in api["cohorts"]) > 100
    shown = rows(page, "Booked by age")
    for row in api["cohorts"]:
        n, *cells = shown[formats.bucket(row["from"], "week", api["period"]["timezone"])]
        assert figure(n) == row["n"]
        wanted = ["" if cell is None else percent(cell["value"]) for cell in [*row["cells"], row["total"]]]
        assert [text.partition("\n")[0] for text in cells] == wanted
    unfinished = sum(bool(cell and cell["incomplete"]) for row in api["cohorts"] for cell in row["cells"])
    assert page.locator("td.incomplete").count() == unfinished > 0
    assert page.locator("td.incomplete[class*='heat-']").count() == 0


def test_a_list_is_saved_as_a_file(demo, page):
    page.goto(f"{demo.url}/conversations?stage=booked&limit=10")
    total = figure(page.get_by_role("heading", level=2).inner_text())
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    assert download.value.suggested_filename == "conversations.csv"
    text = Path(download.value.path()).read_bytes().decode()
    rows_of_file = list(csv.DictReader(StringIO(text, newline="")))
    assert len(rows_of_file) == total > 10
    assert rows_of_file[0]["id"] == page.locator("tbody th").first.inner_text()


def test_a_funnel_of_ones_own_over_time_in_the_form(demo, page):
    page.goto(f"{demo.url}/?{OWN}")
    whole = figure(rows(page, "Stages")["Conversation started"][0])
    page.locator("select[name=interval]").select_option("week")
    page.locator("select[name=mode]").select_option("any")
    apply(page)
    assert (parameters(page)["interval"], parameters(page)["mode"]) == (["week"], ["any"])
    assert "definition" in parameters(page)
    page.locator("select[name=mode]").select_option("")
    apply(page)
    found = rows(page, "Week by week")
    assert sum(figure(row[0]) for row in found.values()) == whole
    assert page.locator("canvas").count() == 3
    page.locator("select[name=name]").select_option("sales")
    apply(page)
    assert not {"interval", "mode", "definition"} & parameters(page).keys()
    assert page.locator("select[name=mode]").count() == 0


def test_an_empty_server_says_what_to_do(empty, page):
    for path in ("/", "/trends", "/cohorts", "/conversations"):
        page.goto(empty.url + path)
        expect(page.get_by_role("heading", name="No events yet")).to_be_visible()
        assert f"{empty.url}/v1/events" in page.locator("main").inner_text()
    python = page.get_by_label("Python example").inner_text()
    subprocess.run([sys.executable, "-c", python], check=True, timeout=60)
    until = time.monotonic() + 10
    while not empty.get("/api/v1/conversations")["total"] and time.monotonic() < until:
        time.sleep(0.1)
    page.reload()
    expect(page.get_by_role("link", name="abc123")).to_be_visible()


def test_a_wrong_filter_is_explained_in_its_place(demo, page, watch):
    watch.expected = {"400 (Bad Request)"}
    page.goto(f"{demo.url}/?from=2024-02-01&to=2024-01-01")
    expect(page.get_by_role("alert")).to_contain_text("must be later than from (2024-02-01)")
    assert page.locator("input[name=until]").get_attribute("aria-invalid") == "true"
    page.goto(f"{demo.url}/?from=2000-01-01&to=2000-02-01")
    expect(page.get_by_role("heading", name="No conversations in this period")).to_be_visible()
    page.goto(f"{demo.url}/trends?metric=shoe")
    expect(page.get_by_role("alert")).to_contain_text("must be one of conversations_started")
    assert page.locator("select[name=metric]").get_attribute("aria-invalid") == "true"
    page.goto(f"{demo.url}/trends?metric=revenue&from=2000-01-01&to=2000-02-01")
    expect(page.get_by_role("heading", name="No values in this period")).to_be_visible()


def test_the_api_reference_loads(demo, page):
    page.goto(f"{demo.url}/api/docs")
    expect(page.locator(".opblock-summary-path").first).to_be_visible()
    described = page.request.get(f"{demo.url}/api/openapi.json").json()["paths"]
    assert page.locator(".opblock").count() == sum(map(len, described.values()))
    page.locator(".opblock-summary-control").first.click()
    expect(page.get_by_text("as_of").or_(page.get_by_text("timezone")).first).to_be_visible()


# What an event may say. None of it is ever run.
EVIL = (
    "<img src=x onerror=\"window.ran='img';alert(1)\">",
    "<script>window.ran='script'</script>",
    "</script><script>window.ran='island'</script>",
    "{{7*7}}${7*7}{% raw %}",
    "\x1b]0;title\x07\x1b[31mred\x9b31m",
    "\u202egnp.exe\u2066",
    "'\"><svg/onload=window.ran='svg'>",
    "javascript:window.ran='url'",
    "{n|999}[link=http://evil.test]x[/link]",
)


def test_text_from_events_is_shown_and_not_run(empty, page):
    empty.send(*(event for number, text in enumerate(EVIL) for event in evil(number, text)))
    paths = ("/trends", "/trends?metric=bot_messages", "/?by=channel", "/?by=first_message_variant")
    for path in (*paths, "/", "/?where=channel=%3Cb%3E", "/conversations?stage=responded", "/conversations"):
        page.goto(empty.url + path)
        assert page.evaluate("window.ran") is None
        assert page.locator("main img, main svg, main script:not([type='application/json'])").count() == 0
        assert page.locator("select[name=where]").locator("option").count() > 3
    assert sorted(page.locator("tbody th").all_inner_texts()) == sorted(visible(text) for text in EVIL)
    for address in hrefs(page):
        page.goto(empty.url + address)
        look_at(page)


def hrefs(page):
    return [link.get_attribute("href") for link in page.locator("tbody th a").all()]


def look_at(page):
    name = page.get_by_role("heading", level=1).inner_text()
    assert name in {visible(text) for text in EVIL}
    assert page.evaluate("window.ran") is None
    for selector in (".bubble", ".signals", ".event", "dl"):
        assert name in page.locator(selector).first.inner_text() or selector == "dl"
    text = page.locator("body").inner_text()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert page.locator("main img, main svg, main script").count() == 0
    assert "49" not in name


def evil(number, text):
    common = {"conversation_id": text, "contact_id": text, "channel": text, "bot_id": text, "bot_version": text}
    at = 1_700_000_000_000 + number * 60_000
    said = {"content": text, "intent": text, "variant": text}
    return (
        {
            **common,
            "event_type": "conversation_started",
            "timestamp": at,
            "properties": {"industry": text, text: [text]},
        },
        {**common, "event_type": "message_sent", "timestamp": at + 1000, "properties": said},
        {**common, "event_type": "message_received", "timestamp": at + 2000, "properties": said},
        {**common, "event_type": "escalated", "timestamp": at + 3000, "properties": {"reason": text}},
        {**common, "event_type": f"own {text}"[:64], "timestamp": at + 4000, "properties": {text: {text: text}}},
    )


IDS = (
    "a/b",
    "/",
    "a b",
    "ü✓",
    "?x=1",
    "#y",
    "100%",
    "%2F",
    "..",
    ".",
    "a/../b",
    "../api/v1/funnel",
    "a&b=c;d",
    "+",
    "\\",
    "//x",
)


def test_ids_of_any_characters_have_a_page(empty, page):
    empty.send(*({"event_type": "conversation_started", "conversation_id": name, "timestamp": 1} for name in IDS))
    page.goto(f"{empty.url}/conversations")
    shown, links = page.locator("tbody th").all_inner_texts(), hrefs(page)
    assert sorted(shown) == sorted(IDS)
    for name, address in zip(shown, links, strict=True):
        page.goto(empty.url + address)
        expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_a_login_opens_the_pages(empty, page, watch):
    watch.expected = {"401 (Unauthorized)"}
    token = empty.run("keys", "create", "boss", "--kind", "admin").strip()
    time.sleep(2.1)  # by then the server knows of it
    page.goto(f"{empty.url}/conversations?stage=booked")
    assert urlsplit(page.url).path == "/login"
    page.get_by_label("Token").fill("da_wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("this token is not known")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{empty.url}/conversations?stage=booked")
    assert page.evaluate("document.cookie") == ""


@needs_axe
@on_both_sizes
def test_no_serious_fault_of_access(demo, open_page, watch, size):
    watch.expected = {"404 (Not Found)"}
    page = open_page(**size)
    for path in addresses(demo):
        page.goto(demo.url + path)
        assert_accessible(page, path)
