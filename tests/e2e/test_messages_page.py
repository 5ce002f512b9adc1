"""The page of messages in a browser: by keyboard, on a phone, in both themes."""

from dropoff.phrases import formats
from looks import assert_accessible, needs_axe, on_both_sizes

PAGES = (
    "/messages",
    "/messages?rank=sentiment_change&within=position",
    "/messages?position=0",
    "/messages?position=999",
)


def test_from_the_navigation_to_a_rank_to_the_conversations(demo, page):
    page.goto(demo.url)
    page.get_by_role("navigation").get_by_role("link", name="Conversations").press("Enter")
    page.get_by_role("navigation").get_by_role("link", name="Messages").press("Enter")
    page.wait_for_url("**/messages*")
    page.get_by_label("Ranked by").select_option("booking_rate")
    page.get_by_label("Message number").fill("1")
    page.get_by_role("button", name="Apply").press("Enter")
    page.wait_for_url("**rank=booking_rate**")
    answer = demo.get("/api/v1/messages?rank=booking_rate&position=1")
    rows = page.locator("h2#all ~ .table tbody tr").all()
    assert [row.locator("td").nth(1).inner_text() for row in rows] == [
        formats.number(row["n"]) for row in answer["messages"]
    ]
    assert demo.ask("messages", "--rank", "booking_rate", "--position", "1")["messages"] == answer["messages"]
    sent = answer["messages"][0]["n"]
    rows[0].get_by_role("link").press("Enter")
    page.wait_for_url("**/conversations?**message=**")
    assert f"{formats.number(sent)} conversations" in page.locator("main").inner_text()


@needs_axe
@on_both_sizes
def test_no_serious_fault_of_access_and_nothing_scrolls_sideways(demo, open_page, watch, size):
    watch.expected = {"400 (Bad Request)"}
    page = open_page(**size)
    for path in PAGES:
        page.goto(demo.url + path)
        assert_accessible(page, path)
