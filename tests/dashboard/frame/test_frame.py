import asyncio
import json
from datetime import UTC, datetime, timedelta
from html import unescape

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from dropoff.dashboard.frame import frame, navigation, rendering
from dropoff.dashboard.pages import conversation as of_one
from dropoff.dashboard.pages import conversations, routes
from dropoff.errors import InvalidInput, NotFound, Unauthorized, Unavailable
from dropoff.phrases import addresses

EVERY_PAGE = [page.path for group in navigation.NAVIGATION for page in group.pages]


def request(target="/"):
    path, _, query = target.partition("?")
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"host", b"dropoff.test")],
            "scheme": "http",
            "server": ("dropoff.test", 80),
        }
    )


def test_an_island_cannot_be_left():
    value = {"text": "</script><script>alert(1)</script><!-- & \u2028\u2029 é"}
    text = str(rendering.island(value))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (NotFound("conversation 'x<y'"), 404, "x&lt;y"),
        (Unavailable("the store is busy"), 503, "the store is busy"),
        (InvalidInput("from", "bad", "a date"), 400, "must be a date"),
        (RuntimeError("/etc/secret"), 500, "Something went wrong"),
    ],
)
def test_every_error_is_a_page_under_the_policy(error, status, text):
    response = frame.error_page(request("/nope"), error)
    assert response.status_code == status
    assert text in bytes(response.body).decode()
    assert "/etc/secret" not in bytes(response.body).decode()
    assert response.headers["content-security-policy"] == rendering.CONTENT_SECURITY_POLICY
    assert ("retry-after" in response.headers) == (status == 503)


def test_without_a_login_one_is_asked_for():
    response = frame.error_page(request("/conversations?stage=booked"), Unauthorized("no token"))
    assert response.status_code == 303
    assert response.headers["location"] == "/login?next=%2Fconversations%3Fstage%3Dbooked"


def test_the_policy_allows_nothing_inline():
    assert "default-src 'none'" in rendering.CONTENT_SECURITY_POLICY
    assert "unsafe" not in rendering.CONTENT_SECURITY_POLICY


def test_security_headers_stand_on_every_response():
    app = rendering.SecurityHeaders(Starlette(routes=[Route("/", lambda _: PlainTextResponse("fine"))]))

    async def headers(path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dropoff.test") as client:
            return (await client.get(path)).headers

    for path in ("/", "/missing"):
        assert rendering.SECURITY_HEADERS.items() <= dict(asyncio.run(headers(path))).items()


@pytest.mark.parametrize(
    ("target", "safe"),
    [
        ("/conversations?stage=booked", "/conversations?stage=booked"),
        ("//evil.test", "/"),
        ("/\\evil.test", "/"),
        ("https://evil.test", "/"),
        ("/\tx", "/"),
        ("", "/"),
        (None, "/"),
    ],
)
def test_a_login_leads_nowhere_else(target, safe):
    assert routes.safe_path(target) == safe


def test_addresses_keep_what_is_not_changed():
    params = {"from": ["2024-01-01"], "where": ["channel=sms", "industry=a&b"], "after": ["x"]}
    address = addresses.url("/conversations", params, stage="booked", after=None)
    assert address == "/conversations?from=2024-01-01&where=channel=sms&where=industry=a%26b&stage=booked"
    assert addresses.url("/", {}) == "/"


def test_an_id_of_any_characters_has_an_address():
    assert addresses.conversation_url("a/b?x=<é>") == "/conversations/a%2Fb%3Fx%3D%3C%C3%A9%3E"


def test_the_period_and_the_filters_follow_through_pages_that_do_not_use_them():
    filters = {"from": ["2024-01-01"], "timezone": ["Asia/Kolkata"], "where": ["channel=sms", "industry=it"]}
    of = request(addresses.url("/conversations/gone", {**filters, "text": ["price"], "as_of": [""]}))
    shown = unescape(bytes(frame.error_page(of, NotFound("there is no conversation")).body).decode())
    entries = [place.page.path for place in navigation.navigation("/conversations/gone", EVERY_PAGE).groups]
    assert len(entries) > 5
    assert [path for path in entries if f'href="{addresses.url(path, filters)}"' not in shown] == []
    assert addresses.conversation_url("a", {**filters, "text": ["price"]}) == addresses.url("/conversations/a", filters)


def test_untouched_form_fields_are_no_filter():
    target = request("/?from=2024-01-01&where=&where=channel%3Dsms&name=&other=1")
    assert frame.query(target, ("from", "where", "name")) == {"from": ["2024-01-01"], "where": ["channel=sms"]}


def test_each_filter_can_be_removed_alone():
    params = {"where": ["channel=sms", "industry=it"], "stage": ["booked"], "from": ["2024-01-01"], "after": ["x"]}
    found = {chip["text"]: chip["url"] for chip in conversations.chips(params)}
    assert found["Reached: Booked"] == "/conversations?where=channel=sms&where=industry=it&from=2024-01-01"
    assert found["channel=sms"] == "/conversations?where=industry=it&stage=booked&from=2024-01-01"
    assert found["Period"] == "/conversations?where=channel=sms&where=industry=it&stage=booked"


def test_the_last_days_that_hold_data_are_one_click_away():
    latest = datetime(2024, 3, 1, 3, tzinfo=UTC)
    held = {"timezone": "America/New_York", "held": (latest - timedelta(days=400), latest)}
    params = {"where": ["channel=sms"], "from": ["2024-01-01"], "after": ["x"], "interval": ["hour"]}
    shown = {"period": {"from": "2024-02-23T00:00:00-05:00", "to": "2024-03-01T05:00:00Z"}}
    found = {one.days: one for one in frame.recent(held, params, "/trends", shown)}
    assert found[7].url == "/trends?where=channel=sms&interval=hour&from=2024-02-23&to=2024-03-01"
    assert found[90].url == "/trends?where=channel=sms&from=2023-12-02&to=2024-03-01"
    assert [one.days for one in found.values() if one.is_shown] == [7]
    past = frame.recent(held, {"as_of": ["2024-02-01"], "timezone": ["UTC"]}, "/", None)
    assert past[0].url == "/?as_of=2024-02-01&timezone=UTC&from=2024-01-25&to=2024-02-01"
    assert frame.recent(held, {"timezone": ["Mars"]}, "/") == frame.recent(held | {"held": None}, {}, "/") == []


def test_of_a_conversation_the_important_facts_come_first_and_nothing_is_left_out():
    conversation = {"id": "a", "channel": "sms", "bot_messages": 3, "industry": "it", "booked_at": None, "messages": []}
    assert [name for name, _, value in of_one.main_facts(conversation) if value] == ["Channel"]
    assert of_one.more_facts(conversation) == [("Bot messages", "number", 3), ("Industry", "plain", "it")]


def test_messages_and_events_stand_in_their_order_by_local_day():
    conversation = {
        "messages": [
            {"id": "m1", "event_id": "e3", "content": "x", "timestamp": "2024-01-15T10:00:00Z"},
            {"id": "m2", "event_id": "e4", "content": None, "timestamp": "2024-01-15T23:30:00Z"},
        ],
        "events": [
            {"id": "e3", "event_type": "message_sent", "timestamp": "2024-01-15T10:00:00Z"},
            {"id": "e2", "event_type": "qualified", "timestamp": "2024-01-15T11:00:00.5+01:00"},
            {"id": "e1", "event_type": "conversation_started", "timestamp": "2024-01-15T10:00:00Z"},
            {"id": "e0", "event_type": "message_sent", "timestamp": "2024-01-15T10:00:01Z"},
        ],
    }
    days = of_one.timeline(conversation, "Europe/Berlin")
    ids = [(day, [item[item["kind"]]["id"] for item in items]) for day, items in days]
    assert ids == [("2024-01-15", ["e1", "m1", "e2", "e0"]), ("2024-01-16", ["m2"])]
