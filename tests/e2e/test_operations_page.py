"""The page of operations in a browser: by keyboard to the conversations behind a count."""

from dropoff.phrases import formats


def test_from_the_navigation_to_a_day_to_the_conversations_of_a_trigger(demo, page):
    page.goto(demo.url)
    page.get_by_role("navigation").get_by_role("link", name="Overview").press("Enter")
    page.get_by_role("navigation").get_by_role("link", name="Operations").press("Enter")
    page.wait_for_url("**/operations*")
    answer = demo.get("/api/v1/operations")
    page.locator("#fallbacks ~ details summary").press("Enter")
    page.locator("#fallbacks ~ details tbody a").last.press("Enter")
    page.wait_for_url("**/operations?from=*")
    assert page.get_by_text("Hour by hour").count() == 2
    page.go_back()
    row = answer["fallbacks"]["triggers"][0]
    page.locator("#fallbacks ~ .columns tbody a").first.press("Enter")
    page.wait_for_url("**/conversations?*trigger=*")
    assert f"{formats.number(row['conversations'])} conversations" in page.locator("main").inner_text()
    assert f"Fallback: {formats.label(row['trigger'])}" in page.locator(".chips").inner_text()
