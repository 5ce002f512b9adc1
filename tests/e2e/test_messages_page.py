"""The page of messages in a browser: by keyboard."""

from dropoff.phrases import formats


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
