from dropoff.dashboard.frame.navigation import NAVIGATION, navigation

KNOWN = {"/", "/dropoffs", "/trends", "/conversations", "/alerts", "/healthz"}


def test_only_pages_that_exist_are_shown_and_a_group_leads_to_its_first():
    found = navigation("/trends", KNOWN)
    assert [(place.label, place.page.path, place.current) for place in found.groups] == [
        ("Funnel", "/", "true"), ("Conversations", "/conversations", ""), ("Alerts", "/alerts", ""),
    ]  # fmt: skip
    assert [(place.label, place.current) for place in found.pages] == [
        ("Funnel", ""), ("Drop-offs", ""), ("Trends", "page"),
    ]  # fmt: skip


def test_a_page_below_a_page_stands_in_its_group():
    everything = {page.path for group in NAVIGATION for page in group.pages}
    found = navigation("/conversations/abc", everything)
    assert [place.current for place in found.pages] == ["true", "", ""]
    assert {place.label: place.current for place in found.groups if place.current} == {"Conversations": "true"}


def test_a_group_of_one_page_has_no_second_row():
    found = navigation("/alerts", KNOWN)
    assert found.pages == []
    assert [place.current for place in found.groups] == ["", "", "page"]
    assert navigation("/login", KNOWN).pages == []
