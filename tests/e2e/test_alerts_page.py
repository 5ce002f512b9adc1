"""The page of alerts in a browser: what fires, with the keyboard, on a phone, in both themes, and without scripts."""

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Page, expect

from dropoff.dashboard.pages.alerts_page import STATES
from dropoff.metrics import METRICS
from dropoff.phrases import formats
from looks import assert_accessible, needs_axe, on_both_sizes
from receiver import SECRET, Receiver, always, receiving
from servers import PATIENCE, Server

PAGES = ("/alerts", "/alerts?rule=volume_drop", "/alerts?would=1")
EVIL = '<script>alert("x")</script>'
WATCHED = {"metric": "fallback_rate", "condition": "exceeds", "threshold": 0.2, "window": "4_hours"}
RULES = [
    WATCHED | {"name": "fallbacks", "by": "bot_version", "severity": "high"},  # in the place of the starter
    WATCHED | {"name": "overall", "threshold": 0.5, "notify": ["ops"]},
]
STARTERS_ELSE = 11


class Bot(NamedTuple):
    """A server whose bot is lost in one version, and was lost in all."""

    server: Server
    receivers: tuple[Receiver, Receiver]

    @property
    def url(self) -> str:
        return f"http://{self.server.address}"

    def get(self, path: str) -> Any:
        return self.server.get(path).json()

    def ask(self, path: str, **given: str) -> Any:
        headers = {"content-type": "application/json"}
        return self.server.request("POST", f"/api/v1/alerts/{path}", json.dumps(given).encode(), headers).json()

    def forget(self) -> None:
        """No silence and no acknowledgement is left."""
        for what in ("silences", "acknowledgements"):
            for one in self.get(f"/api/v1/alerts/{what}")[what]:
                assert self.server.request("DELETE", f"/api/v1/alerts/{what}/{one['id']}").status == 204


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bot]:
    with receiving() as ops, receiving(always(503)) as gone:
        named = {"ops": ops, "gone": gone}
        receivers = [{"name": name, "url": each.url, "secret": SECRET} for name, each in named.items()]
        environment = {"DROPOFF_ALERTS": json.dumps(RULES), "DROPOFF_RECEIVERS": json.dumps(receivers)}
        with Server(tmp_path_factory.mktemp("alerts") / "data", environment=environment) as server:
            made = Bot(server, (ops, gone))
            assert server.post(talk(EVIL, 30, fails=True)).status == 202
            until(lambda: len(made.get("/api/v1/alerts/history")["episodes"]) == 2)
            assert server.post(talk("2.0", 60, fails=False)).status == 202
            until(lambda: any(one["resolved"] for one in made.get("/api/v1/alerts/history")["episodes"]))
            ops.wait(3)  # two fired, one is over
            yield made


def talk(version: str, turns: int, *, fails: bool) -> bytes:
    """Conversations of a while ago, each with one turn of the bot, which understands or does not."""
    at = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
    kinds = ["conversation_started", "message_received", "message_sent", *(["fallback"] if fails else [])]
    return json.dumps([
        {
            "event_type": kind, "conversation_id": f"{version}-{number}", "channel": "sms", "timestamp": at,
            "bot_version": version,
            **({"properties": {"content": "?"}} if kind.startswith("message") else {}),
        }
        for number in range(turns) for kind in kinds
    ]).encode()  # fmt: skip


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def rows(page: Page, name: str) -> list[list[str]]:
    found = page.locator(f"h2#{name} ~ .table tbody tr").all()
    return [[cell.strip() for cell in one.locator("th, td").all_inner_texts()] for one in found]


def in_units(alert: dict[str, Any], key: str = "value") -> str:
    return formats.measure({"value": alert[key], "unit": METRICS[alert["metric"]].unit})


def between(alert: dict[str, Any]) -> str:
    return formats.span(alert["interval"], METRICS[alert["metric"]].unit, signs=False)


def submit(page: Page, form: str, button: str, **fields: str) -> None:
    """Fill a form by its labels and send it off by keyboard; the page comes again."""
    one = page.get_by_role("form", name=form, exact=True)
    for label, text in fields.items():
        if label in ("For", "Rule"):
            one.get_by_role("combobox", name=label, exact=True).select_option(text)
        else:
            one.get_by_role("textbox", name=label, exact=True).fill(text)
    one.get_by_role("button", name=button, exact=True).press("Enter")
    page.wait_for_load_state()


def test_the_page_says_what_the_api_says(bot: Bot, page: Page):
    page.goto(f"{bot.url}/alerts")
    alerts = bot.get("/api/v1/alerts")["alerts"]
    (firing,) = [one for one in alerts if one["state"] == "firing"]
    assert (firing["name"], firing["segment"], firing["value"]) == ("fallbacks", f"bot_version={EVIL}", 1.0)
    (article,) = page.locator("article.alert").all()
    assert article.get_by_role("heading").inner_text() == f"{firing['severity']} fallbacks {firing['segment']}"
    said = article.inner_text()
    assert f"{in_units(firing)} [{between(firing)}] over {formats.number(firing['n'])}" in said
    assert "above 20.0 % in 4 hours" in said.replace("\xa0", " ").replace("\u202f", " ")
    assert f"1 firing {2 + STARTERS_ELSE} rules" in " ".join(page.locator(".facts-line").inner_text().split())

    others = [one for one in alerts if one["state"] != "firing"]
    order = list(STATES)
    others.sort(key=lambda one: (order.index(one["state"]), one["name"], one["segment"] or ""))
    shown = [
        [
            one["name"] + (f" {one['segment']}" if one["segment"] else ""), STATES[one["state"]],
            *(("–", "–") if formats.says_little(one) else (in_units(one), between(one))),
            formats.number(one["n"]) + (f", needs {one['min_n']}" if one["state"] == "insufficient" else ""),
            in_units(one, "usual"), one["severity"],
        ]
        for one in others
    ]  # fmt: skip
    found = [[*row[:6], row[7]] for row in rows(page, "rules")]
    for one, row, other in zip(others, found, shown, strict=True):
        if float(one["denominator"] or 0).is_integer():
            assert row == other
        else:  # adjusted for the age of conversations, which grows as one looks
            assert row[:2] == other[:2]
    assert {"Fine", "Resolved"} <= {row[1] for row in found}


def test_the_navigation_counts_what_fires_and_leads_here(bot: Bot, page: Page):
    page.goto(bot.url)
    link = page.get_by_role("link", name="Alerts 1 firing", exact=True)
    link.press("Enter")
    page.wait_for_url("**/alerts")
    assert page.get_by_role("heading", level=1).inner_text() == "Alerts"


def test_the_history_of_a_rule_is_on_its_chart_and_in_a_table(bot: Bot, page: Page):
    page.goto(f"{bot.url}/alerts")
    page.get_by_role("combobox", name="Rule", exact=True).first.select_option("overall")
    page.get_by_role("button", name="Show").press("Enter")
    page.wait_for_url("**/alerts?rule=overall*")
    (episode,) = bot.get("/api/v1/alerts/history?rule=overall")["episodes"]
    (row,) = rows(page, "history")
    assert row[0] == formats.instant(datetime.fromisoformat(episode["fired"]), "UTC")
    assert row[1] == formats.instant(datetime.fromisoformat(episode["resolved"]), "UTC")
    assert row[3:7] == ["–", in_units(episode), between(episode), formats.number(episode["n"])]
    series = json.loads(page.locator("#alerts-option").inner_text())["baseOption"]["series"][-1]
    assert len(series["markArea"]["data"]) == 1
    assert series["markLine"]["data"][-1]["yAxis"] == 50
    page.locator(".plot canvas").first.wait_for()
    page.locator("h2#history ~ .table tbody a").first.press("Enter")
    page.wait_for_url("**metric=fallback_rate**")


def test_an_example_leads_to_its_conversation(bot: Bot, page: Page):
    (episode,) = bot.get("/api/v1/alerts/history?rule=fallbacks")["episodes"]
    assert len(episode["examples"]) == 3
    page.goto(f"{bot.url}/alerts")
    page.get_by_role("link", name="Example 1", exact=True).press("Enter")
    page.wait_for_url("**/conversations/**")
    assert episode["examples"][0] in page.locator("main").inner_text()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "none"])
def test_silence_and_end_it_acknowledge_and_take_it_back(bot: Bot, open_page: Callable[..., Page], scripts: bool):
    bot.forget()
    page = open_page(java_script_enabled=scripts)
    page.goto(f"{bot.url}/alerts")
    alert = f"Silence fallbacks, bot_version={EVIL}"
    submit(page, alert, "Silence", For="4h", Comment=EVIL, By="Ann")
    (made,) = bot.get("/api/v1/alerts/silences")["silences"]
    assert (made["rule"], made["segment"], made["comment"], made["by"]) == (
        "fallbacks", f"bot_version={EVIL}", EVIL, "Ann",
    )  # fmt: skip
    end = datetime.fromisoformat(made["until"])
    assert end - datetime.fromisoformat(made["at"]) == timedelta(hours=4)
    assert page.url == f"{bot.url}/alerts"
    assert rows(page, "silences")[0][:5] == [
        "fallbacks", f"bot_version={EVIL}", formats.instant(end, "UTC"), EVIL, "Ann",
    ]  # fmt: skip
    page.get_by_role("button", name="End the silence of fallbacks").press("Enter")
    page.wait_for_load_state()
    assert bot.get("/api/v1/alerts/silences")["silences"] == []
    assert page.locator("h2#silences ~ .table").count() == page.locator("h2#messages ~ .table").count() - 1 == 0

    submit(page, alert, "Acknowledge", Comment="on it", By="Ben")
    (known,) = bot.get("/api/v1/alerts/acknowledgements")["acknowledgements"]
    assert (known["rule"], known["segment"], known["comment"], known["by"]) == (
        "fallbacks", f"bot_version={EVIL}", "on it", "Ben",
    )  # fmt: skip
    assert rows(page, "acknowledged")[0][:2] == ["fallbacks", f"bot_version={EVIL}"]
    expect(page.locator("article.alert")).to_contain_text(re.compile(r"Acknowledged by Ben, \S+ \S+: on it\."))
    assert page.locator("article.alert").count() == 1  # neither changes a state
    page.get_by_role("button", name="Take back the acknowledgement of fallbacks").press("Enter")
    page.wait_for_load_state()
    assert bot.get("/api/v1/alerts/acknowledgements")["acknowledgements"] == []


def test_what_is_typed_stays_with_its_alert_when_another_comes_before_it(bot: Bot, page: Page):
    bot.forget()
    page.goto(f"{bot.url}/alerts")
    page.locator("article.alert").get_by_label("Comment").fill("mine")
    now = bot.server.get("/alerts").body.decode()
    (article,) = re.findall(r'<article class="alert".*?</article>', now, re.DOTALL)
    then = now.replace(article, article.replace("fallbacks", "another") + article)
    page.route("**/alerts", lambda route: route.fulfill(body=then, content_type="text/html"))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("article.alert")).to_have_count(2)
    assert [one.input_value() for one in page.locator("article.alert").get_by_label("Comment").all()] == ["", "mine"]
    rules = page.locator("article.alert input[name=rule]").all()
    assert [one.input_value() for one in rules] == ["another", "fallbacks"]


def test_a_silence_of_any_rule_in_a_segment(bot: Bot, page: Page):
    bot.forget()
    page.goto(f"{bot.url}/alerts")
    submit(page, "A new silence", "Silence", Segment="bot_version=2", For="7d")
    (made,) = bot.get("/api/v1/alerts/silences")["silences"]
    assert (made["rule"], made["segment"]) == (None, "bot_version=2")
    bot.forget()


def test_a_mistake_is_explained_in_its_place(bot: Bot, page: Page, watch):
    bot.forget()
    watch.expected = {"400 (Bad Request)"}
    page.goto(f"{bot.url}/alerts")
    submit(page, "A new silence", "Silence", For="1h")  # of what?
    assert "must be given, or a segment" in page.get_by_role("alert").inner_text()
    assert page.locator("article.alert").count() == 1
    assert bot.get("/api/v1/alerts/silences")["silences"] == []


def test_messages_say_what_became_of_them(bot: Bot, page: Page):
    page.goto(f"{bot.url}/alerts")
    shown = rows(page, "messages")
    ops = sorted((row[2], row[4], row[5]) for row in shown if row[1] == "ops")
    assert ops == [("fallbacks", "Fired", "Sent"), ("overall", "Fired", "Sent"), ("overall", "Resolved", "Sent")]
    (gone,) = [row for row in shown if row[1] == "gone"]
    assert (gone[2], gone[4]) == ("fallbacks", "Fired")
    assert gone[5].startswith("Waiting, ")
    assert "503" in gone[6]
    assert bot.receivers[1].url not in page.content()


@needs_axe
@on_both_sizes
def test_no_serious_fault_of_access_and_nothing_scrolls_sideways(bot: Bot, open_page, watch, size):
    bot.ask(
        "silences", rule="fallbacks", segment="bot_version=2.0", comment="a new model " * 20, by="Ann", **{"for": "2h"}
    )
    bot.ask("acknowledgements", rule="fallbacks", comment="looking", by="Ben")
    watch.expected = {"400 (Bad Request)"}
    page = open_page(**size)
    for path in (*PAGES, None):
        if path is not None:
            page.goto(bot.url + path)
        else:
            submit(page, "A new silence", "Silence")
            page.get_by_role("alert").wait_for()
        assert_accessible(page, str(path))
    bot.forget()
