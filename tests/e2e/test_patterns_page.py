"""The page of patterns in a browser: with the keyboard, and without scripts."""

import json

from dropoff.phrases import findings

BOOKED = "/patterns?success=booked&from=2020-01-01&to=2030-01-01"


def test_from_the_navigation_to_a_place_to_both_transcripts_to_the_conversations(demo, page):
    page.goto(demo.url)
    page.get_by_role("navigation").get_by_role("link", name="Conversations").press("Enter")
    page.get_by_role("navigation").get_by_role("link", name="Patterns").press("Enter")
    page.wait_for_url("**/patterns*")
    page.get_by_role("combobox", name="Success").select_option("booked")
    page.get_by_role("button", name="Apply").press("Enter")
    page.wait_for_url("**success=booked**")
    page.goto(f"{demo.url}{BOOKED}")
    answer = demo.get(f"/api/v1{BOOKED}")
    assert answer["divergence_points"]
    assert findings.of_point(answer["divergence_points"][0], "booked") in page.locator(".said").first.inner_text()
    assert page.locator(".sides ol.transcript").count() == 2
    assert page.locator(".sides .here").count() == 2
    first, second = (one.bounding_box() for one in page.locator(".sides > div").all())
    assert first["y"] == second["y"]
    assert first["x"] + first["width"] <= second["x"]
    link = page.locator("section .table").first.locator("tbody td a").first
    count = link.inner_text()
    link.press("Enter")
    page.wait_for_url("**/conversations?**pattern=**")
    assert f"{count} conversations" in page.locator("main").inner_text()


def test_the_flow_is_drawn(demo, page):
    page.goto(f"{demo.url}{BOOKED}")
    option = json.loads(page.locator("#flow-option").inner_text())
    assert option["series"][0]["links"]
    assert page.locator(".plot canvas").bounding_box()["height"] > 200


def test_without_scripts_the_tables_say_it_all(demo, open_page):
    page = open_page(java_script_enabled=False)
    page.goto(f"{demo.url}{BOOKED}")
    assert page.get_by_role("heading", name="Where both groups are").count() == 1
    assert not page.locator(".plot").first.is_visible()
