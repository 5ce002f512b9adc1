"""From a search to a transcript to a neighbour, by keyboard, wide and on a phone."""

import pytest

from looks import PHONE, assert_accessible, needs_axe

PERIOD = "from=2020-01-01&to=2030-01-01"


@needs_axe
@pytest.mark.parametrize("size", [{}, PHONE], ids=["wide", "phone"])
def test_from_a_search_to_a_transcript_to_a_neighbour(demo, open_page, size):
    page = open_page(**size)
    page.goto(f"{demo.url}/conversations?{PERIOD}&objection=price")
    page.get_by_label("Words said").fill('"too expensive"')
    page.get_by_label("Words said").press("Enter")
    page.wait_for_url("**text=**")
    answer = demo.get(f"/api/v1/conversations?{PERIOD}&objection=price&text=%22too%20expensive%22")
    assert answer["total"] > 0
    assert page.locator("#found").inner_text().startswith(f"{answer['total']} conversation")
    assert page.locator(".hit mark").first.inner_text().lower() == "too expensive"
    name = f"Dear {'wide' if size == {} else 'phone'}"
    page.get_by_text("Save or remove filters").press("Enter")
    page.get_by_label("Save these filters as").fill(name)
    page.get_by_role("button", name="Save").press("Enter")
    page.get_by_role("link", name=name).wait_for()
    assert_accessible(page, "list")
    page.get_by_role("button", name=f"Remove the filter {name}").press("Enter")
    page.get_by_role("link", name=name).wait_for(state="detached")

    page.locator("tbody a").first.press("Enter")
    page.wait_for_url("**/conversations/**")
    assert page.locator(".transcript mark").first.inner_text().lower() == "too expensive"
    shown = demo.get(f"/api/v1/conversations/{answer['conversations'][0]['id']}")
    assert page.locator("#standing ~ .table tbody tr").count() == sum(s["reached"] for s in shown["funnel"]["stages"])
    page.get_by_role("link", name="Side by side with the nearest won").press("Enter")
    page.wait_for_url("**beside=won**")
    assert page.locator(".sides > div").count() == 2
    assert page.locator(".sides .here").count() >= 1
    assert_accessible(page, "conversation")
    page.get_by_role("link", name=shown["neighbours"]["won"]["id"]).press("Enter")
    page.wait_for_url(f"**/{shown['neighbours']['won']['id']}**")
    assert "converted" in page.locator("dl.facts").first.inner_text().lower()
