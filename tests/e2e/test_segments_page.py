"""The page of segments in a browser: with the keyboard, and without scripts."""

import json

from dropoff.phrases import formats


def values(page):
    """The first table: a segment's name with its value, interval and contacts."""
    found = page.locator("section .table").first.locator("tbody tr").all()
    return [[cell.strip() for cell in one.locator("th, td").all_inner_texts()][:6] for one in found]


def as_rows(answer):
    return [
        [
            one["segment"], formats.measure(one), formats.bounds(one), formats.number(one["sample_size"]),
            formats.number(one["clusters"]), formats.number(one["conversations"]),
        ]
        for one in answer["segments"]
    ]  # fmt: skip


def test_page_api_and_command_line_agree(demo, page):
    page.goto(f"{demo.url}/segments?metric=booking_rate&by=medium")
    answer = demo.get("/api/v1/segments?metric=booking_rate&by=medium")
    assert values(page) == as_rows(answer)
    assert demo.ask("segments", "booking_rate", "--by", "medium")["segments"] == answer["segments"]
    assert page.locator(f"text={answer['best_performing']}").count() or answer["best_performing"] is None


def test_from_the_navigation_to_a_metric_to_the_conversations(demo, page):
    """By keyboard: the form's state is the address, a count leads to a list of as many."""
    page.goto(demo.url)
    page.get_by_role("navigation").get_by_role("link", name="Compare").press("Enter")
    page.get_by_role("navigation").get_by_role("link", name="Segments").press("Enter")
    page.wait_for_url("**/segments*")
    page.get_by_label("Metric").select_option("qualification_rate")
    page.get_by_label("Compare by").select_option("direction")
    page.get_by_label("Period before").select_option("previous")
    page.get_by_role("button", name="Apply").press("Enter")
    page.wait_for_url("**metric=qualification_rate**")
    assert "by=direction" in page.url
    assert "compare=previous" in page.url
    assert page.get_by_role("heading", name="Since the period before").count() == 1
    link = page.locator("section .table").first.locator("tbody a").first
    count = link.inner_text()
    link.press("Enter")
    page.wait_for_url("**/conversations?**where=direction=**")
    assert count in page.locator("main").inner_text()


def test_a_dot_leads_to_its_conversations(demo, page):
    page.goto(f"{demo.url}/segments?metric=response_rate&by=direction")
    box = page.locator(".plot canvas").bounding_box()
    option = json.loads(page.locator("#segments1-option").inner_text())["baseOption"]
    dots = option["series"][-1]["data"]
    assert [round(dot["value"][0], 1) for dot in dots] == [
        round(one["value"] * 100, 1)
        for one in demo.get("/api/v1/segments?metric=response_rate&by=direction")["segments"]
    ]
    for x in range(int(box["x"]) + 60, int(box["x"] + box["width"]), 4):  # the upper of two rows, wherever its dot is
        page.mouse.click(x, box["y"] + (box["height"] - 24) / 4)
        if "/conversations" in page.url:
            break
    page.wait_for_url("**/conversations?**")
    assert "where=direction" in page.url


def test_a_wrong_dimension_is_explained_in_its_place(demo, page, watch):
    watch.expected = {"400 (Bad Request)"}
    page.goto(f"{demo.url}/segments?metric=win_rate&by=nothing")
    assert "must be one of channel" in page.get_by_role("alert").inner_text()


def test_without_scripts_the_table_says_it_all(demo, open_page):
    page = open_page(java_script_enabled=False)
    page.goto(f"{demo.url}/segments?metric=response_rate&by=channel")
    assert values(page) == as_rows(demo.get("/api/v1/segments?metric=response_rate&by=channel"))
    assert not page.locator(".plot").first.is_visible()
