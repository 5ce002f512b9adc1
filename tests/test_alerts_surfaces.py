"""Alerts are the same on every surface: Python, API, command line, page, metrics; and who may silence them."""

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import TypeAdapter
from typer.testing import CliRunner

from dropoff import cli
from dropoff.alerts import backtest
from dropoff.control.access import ADMIN, WRITE, create_key
from dropoff.dashboard.api.shapes import AlertsAnswer, BacktestAnswer, EpisodesAnswer
from dropoff.dashboard.pages import alerts_page
from dropoff.metrics import METRICS
from dropoff.periods import parse_period
from dropoff.phrases import formats
from dropoff.project.settings import load
from dropoff.server.engine import Engine
from dropoff.server.remote import Remote
from receiver import SECRET, Receiver, always, receiving
from sites import HOST, Site

WATCHED = {"metric": "fallback_rate", "condition": "exceeds", "threshold": 0.2, "window": "4_hours"}
RULES = [
    WATCHED | {"name": "fallbacks", "by": "channel", "severity": "high"},
    WATCHED | {"name": "overall", "threshold": 0.5},
    {"name": "errors", "metric": "error_rate", "condition": "exceeds", "threshold": 0.1, "window": "1_hour"},
]
MOVING = ("as_of", "from", "to")
"""What is not the same when the same is asked a moment later."""


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules of the project, without the starters."""
    monkeypatch.setenv("DROPOFF_ALERTS", json.dumps(RULES))
    monkeypatch.setenv("DROPOFF_STARTER_ALERTS", "false")


@pytest.fixture
def ops(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Its receiver."""
    with receiving() as receiver:
        ops_only = [{"name": "ops", "url": receiver.url, "secret": SECRET}]
        monkeypatch.setenv("DROPOFF_RECEIVERS", json.dumps(ops_only))
        yield receiver


def talk(channel: str, turns: int, at: datetime, *, fails: bool) -> list[dict[str, Any]]:
    """Conversations, each with one turn of the bot, which understands or does not."""
    kinds = ["conversation_started", "message_received", "message_sent", *(["fallback"] if fails else [])]
    return [
        {
            "event_type": kind, "conversation_id": f"{channel}-{number}", "channel": channel,
            "timestamp": at.isoformat(),
            **({"properties": {"content": "?"}} if kind.startswith("message") else {}),
        }
        for number in range(turns) for kind in kinds
    ]  # fmt: skip


class Client(Site):
    """Whatever becomes of a request is its answer."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, raises=False)

    def get(self, path: str, **params: str) -> Any:
        return self("GET", path, params=params).json()


def run(*words: str, data: Path | None = None) -> tuple[int, str]:
    """The command line: its exit code, and what it printed, or the error that it tells."""
    more = ["--data", str(data)] if data else []
    found = CliRunner().invoke(cli.app, ["alerts", *words, *more])
    if found.exception is None or isinstance(found.exception, SystemExit):
        return found.exit_code, found.output
    return exit_code(found.exception), str(found.exception)


def exit_code(error: BaseException) -> int:
    """What `main` ends with after an error."""

    def failing() -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "app", failing)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def samples(text: str, name: str) -> dict[tuple[str, ...], float]:
    """Of a metric: the labels in the order of their names, and the value."""
    return {
        tuple(label for _, label in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text) for sample in family.samples if sample.name == name
    }  # fmt: skip


def plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(msgspec.json.encode(value))


def settled(value: Any) -> Any:
    """Without what moves."""
    if isinstance(value, dict):
        return {key: settled(one) for key, one in value.items() if key not in MOVING}
    return [settled(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def told(kept: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A bot that is lost on one channel and was lost on all, as every surface tells it."""
    data, found = tmp_path_factory.mktemp("alerts") / "data", SimpleNamespace()
    with pytest.MonkeyPatch.context() as patch, receiving() as ops:
        patch.setenv("DROPOFF_ALERTS", json.dumps(RULES))
        patch.setenv("DROPOFF_STARTER_ALERTS", "false")
        patch.setenv("DROPOFF_RECEIVERS", json.dumps([{"name": "ops", "url": ops.url, "secret": SECRET}]))
        with Engine(load(data=data)) as engine:
            client = Client(engine)
            found.before = samples(client("GET", "/metrics").text, "dropoff_notices_total")
            at = datetime.now(UTC) - timedelta(minutes=20)
            for channel, turns in (("sms", 30), ("chat", 60)):
                events = talk(channel, turns, at, fails=channel == "sms")
                assert client("POST", "/v1/events", json=events).status_code == 202
                engine.drain()
                done = {"sms": 2, "chat": 3}[channel]
                until(lambda done=done: sum(mark.outcome == "sent" for _, mark in engine.outbox.marks()) == done)
            found.posts = list(ops.taken)
            now = datetime.now(UTC)
            period = {"from": (at - timedelta(hours=2)).isoformat(), "to": now.isoformat()}
            found.python = plain([alert.to_dict() for alert in engine.alerts.check(now)])
            found.api = client.get("/api/v1/alerts", coverage="1")
            found.as_of = client.get("/api/v1/alerts", rules=json.dumps(RULES), as_of=now.isoformat())
            found.episodes = plain([one.to_dict() for one in engine.alerts.history()])
            found.history = client.get("/api/v1/alerts/history")
            found.one = client.get("/api/v1/alerts/history", rule="overall", limit="1")
            zone = engine.settings.timezone
            found.trials = backtest.backtest(
                engine.alerts.reader, engine.alerts.rules, parse_period(period["from"], period["to"], zone), now
            )
            found.backtest = client.get("/api/v1/alerts/backtest", **period)
            found.metrics = client("GET", "/metrics").text
            found.page = unescape(client("GET", "/alerts").text)
            found.nav = client("GET", "/trends").text
            found.tried = unescape(client("GET", "/alerts?would=1").text)
            found.would = client.get("/api/v1/alerts/backtest")
            found.shown = alerts_page.would(found.backtest, {name: metric.unit for name, metric in METRICS.items()})
            found.around = [client("GET", one["link"]).status_code for one in found.shown.firings]
        words = ("--from", period["from"], "--to", period["to"])
        rules = data.parent / "rules.json"
        rules.write_text(json.dumps(RULES))
        found.cli = {
            "check": run("check", "--coverage", "--json", data=data),
            "as of": run("check", "--rules", str(rules), "--as-of", now.isoformat(), "--json", data=data),
            "history": run("history", "--json", data=data),
            "one": run("history", "--rule", "overall", "--limit", "1", "--json", data=data),
            "backtest": run("backtest", *words, "--json", data=data),
        }
        found.plain = {
            "check": run("check", data=data), "history": run("history", data=data),
            "backtest": run("backtest", *words, data=data),
        }  # fmt: skip
        yield found


def test_how_rules_stand_is_the_same_everywhere(told: SimpleNamespace):
    stands = {(one["name"], one["segment"]): (one["state"], one["value"], one["n"]) for one in told.api["alerts"]}
    assert stands == {
        ("fallbacks", "channel=sms"): ("firing", 1.0, 30), ("fallbacks", "channel=chat"): ("inactive", 0.0, 60),
        ("overall", None): ("resolved", 1 / 3, 90), ("errors", None): ("inactive", 0.0, 90),
    }  # fmt: skip
    code, text = told.cli["check"]
    assert code == 1  # something fires
    assert settled(told.python) == settled(told.api["alerts"]) == settled(json.loads(text)["alerts"])
    assert settled(told.api["coverage"]) == settled(json.loads(text)["coverage"])
    code, plain = told.plain["check"]
    assert code == 1
    assert re.search(r"fallbacks · channel=sms\s.*firing", plain)


def test_rules_of_a_file_stand_the_same_as_those_of_a_parameter(told: SimpleNamespace):
    code, text = told.cli["as of"]
    assert json.loads(text) == told.as_of
    assert {one["state"] for one in told.as_of["alerts"] if one["segment"] == "channel=sms"} == {"firing"}
    assert code == 1


def test_the_history_is_the_same_everywhere(told: SimpleNamespace):
    assert told.episodes == told.history["episodes"]
    assert told.cli["history"] == (0, told.cli["history"][1])
    assert json.loads(told.cli["history"][1]) == told.history
    ended = {one["name"]: one["resolved"] is not None for one in told.history["episodes"]}
    assert ended == {"fallbacks": False, "overall": True}
    assert json.loads(told.cli["one"][1]) == told.one
    assert [one["name"] for one in told.one["episodes"]] == ["overall"]
    assert "firing" in told.plain["history"][1]


def test_a_backtest_is_the_same_everywhere(told: SimpleNamespace):
    code, text = told.cli["backtest"]
    assert (code, settled(json.loads(text))) == (0, settled(told.backtest))
    assert json.loads(text)["period"] == told.backtest["period"]
    by_name = {one["name"]: one for one in told.backtest["rules"]}
    for trial in told.trials:
        one = by_name[trial.name]
        assert (one["fired"], one["evaluations"], one["enough"], one["seconds"], one["suggested_threshold"]) == (
            len(trial.firings), trial.evaluations, trial.enough, trial.seconds, trial.suggested,
        )  # fmt: skip
    assert [fired["segment"] for fired in by_name["fallbacks"]["firings"]] == ["channel=sms"]
    assert by_name["overall"]["fired"] == by_name["errors"]["fired"] == 0  # all as if known at once
    assert told.plain["backtest"][0] == 0


def test_answers_are_as_declared(told: SimpleNamespace):
    TypeAdapter(AlertsAnswer).validate_python(told.api)
    TypeAdapter(EpisodesAnswer).validate_python(told.history)
    TypeAdapter(BacktestAnswer).validate_python(told.backtest)


def test_the_page_has_the_numbers_of_the_api(told: SimpleNamespace):
    for one in told.api["alerts"]:
        unit = METRICS[one["metric"]].unit
        assert formats.measure({"value": one["value"], "unit": unit}) in told.page
        assert formats.span(one["interval"], unit, signs=False) in told.page
    (firing,) = re.findall(r'<article class="alert".*?</article>', told.page, re.DOTALL)
    assert "channel=sms" in firing
    for page in (told.page, told.nav):
        assert '<span class="count">1<span class="visually-hidden"> firing</span></span>' in page


def test_the_page_says_what_the_rules_would_have_done_when_it_is_asked(told: SimpleNamespace):
    assert '<a href="/alerts?would=1#would">Try the rules on the last four weeks</a>' in told.page
    assert "No rule has fired since" not in told.page
    assert 'data-version="now"' in told.page
    assert "data-version" not in told.tried  # what takes seconds is not done again and again
    table = told.tried.partition('id="would"')[2].partition("</table>")[0]
    rows = [
        re.sub(r"<[^>]+>", "\t", row).split() for row in re.findall(r"<tr><th scope=\"row\">.*?</tr>", table, re.DOTALL)
    ]
    assert [(row[0], int(row[1])) for row in rows] == [(one["name"], one["fired"]) for one in told.would["rules"]]
    (fired,) = told.shown.firings
    assert (fired["name"], fired["segment"], fired["shown"]) == ("fallbacks", "channel=sms", formats.percent(1.0))
    assert fired["link"].startswith("/trends?metric=fallback_rate&interval=hour&from=")
    assert fired["link"].endswith("&where=channel%3Dsms")
    assert told.around == [200]
    assert [one.fired for one in told.shown.trials] == [one["fired"] for one in told.backtest["rules"]]


def test_a_receiver_was_told_what_the_history_says(told: SimpleNamespace):
    said = [(post.kind, alert) for post in told.posts for alert in post.verified()["data"]["alerts"]]
    kinds = sorted((kind, alert["rule"], alert["segment"]) for kind, alert in said if alert["rule"] == "fallbacks")
    assert kinds == [("alert.fired", "fallbacks", "channel=sms")]
    assert sorted(kind for kind, alert in said if alert["rule"] == "overall") == ["alert.fired", "alert.resolved"]
    for episode in told.history["episodes"]:
        (first,) = [alert for kind, alert in said if kind == "alert.fired" and alert["rule"] == episode["name"]]
        for key in ("segment", "value", "n", "interval", "usual", "moved", "examples"):
            assert first[key] == episode[key]


def test_prometheus_is_told_of_alerts_and_notices(told: SimpleNamespace):
    assert samples(told.metrics, "dropoff_alert") == {
        ("fallbacks", "channel=sms", "high", "firing"): 1.0,
        ("overall", "", "medium", "resolved"): 1.0,
        ("errors", "", "medium", "idle"): 1.0,
    }
    assert samples(told.metrics, "dropoff_alerts_left_out") == {(): 0.0}
    assert samples(told.metrics, "dropoff_notices_waiting") == {("ops",): 0.0}
    key = ("sent", "ops")
    after = samples(told.metrics, "dropoff_notices_total")
    assert after[key] - told.before.get(key, 0.0) == 3 == len(told.posts)


# what people do


@pytest.mark.usefixtures("project")
def test_what_is_silenced_over_http_stands_at_the_command_line_and_the_other_way_round(tmp_path: Path):
    data = tmp_path / "data"
    with Engine(load(data=data)) as engine:
        client = Client(engine)
        given = {"rule": "fallbacks", "segment": "channel=sms", "for": "2h", "comment": "new model", "by": "Ann"}
        made = client("POST", "/api/v1/alerts/silences", json=given)
        assert made.status_code == 200, made.text
        silence = made.json()
        assert {key: silence[key] for key in ("rule", "segment", "comment", "by")} == {
            key: text for key, text in given.items() if key != "for"
        }
        end, at = (datetime.fromisoformat(silence[key]) for key in ("until", "at"))
        assert end - at == timedelta(hours=2)
        known = client("POST", "/api/v1/alerts/acknowledgements", json={"rule": "overall"}).json()
        code, text = run("silences", "--json", data=data)  # beside a running server
        assert (code, json.loads(text)) == (0, {"silences": [silence], "acknowledgements": [known]})

        code, text = run("silence", "errors", "--until", "2999-01-01", data=data)
        assert (code, "366 days" in text) == (2, True)
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        code, text = run("silence", "errors", "--until", tomorrow, "--comment", "c", "--json", data=data)
        (other,) = json.loads(text)["silences"]
        assert (code, other["rule"], other["comment"]) == (0, "errors", "c")
        code, text = run("acknowledge", "fallbacks", "--segment", "channel=chat", "--json", data=data)
        (seen,) = json.loads(text)["acknowledgements"]
        assert code == 0
        assert client.get("/api/v1/alerts/silences") == {"silences": [silence, other]}
        assert client.get("/api/v1/alerts/acknowledgements") == {"acknowledgements": [seen, known]}
        page = client("GET", "/alerts").text
        assert all(one["id"] in page for one in (silence, other, seen, known))

        for one in (silence["id"], seen["id"]):
            assert run("expire", one, data=data)[0] == 0
            assert run("expire", one, data=data)[0] == 2
        for what, one in (("silences", other), ("acknowledgements", known)):
            path = f"/api/v1/alerts/{what}/{one['id']}"
            assert client("DELETE", path).status_code == 204
            gone = client("DELETE", path)
            assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
        code, text = run("silences", "--json", data=data)
        assert json.loads(text) == {"silences": [], "acknowledgements": []}


@pytest.mark.parametrize("what", ["silence", "acknowledge"])
@pytest.mark.usefixtures("project")
def test_a_segment_that_a_rule_does_not_have_is_refused(tmp_path: Path, what: str):
    """It would silence nothing, and look as if it did."""
    span = ["--for", "2h"] if what == "silence" else []
    (tmp_path / "data").mkdir()
    for rule, said in (
        ("fallbacks", "channel=VALUE, as fallbacks is split"),
        ("errors", "left out, as errors is not split"),
    ):
        code, text = run(what, rule, "--segment", "chanel=sms", *span, data=tmp_path / "data")
        assert (code, f"segment == 'chanel=sms', must be {said}" in text) == (2, True), text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("silences", {"for": "2h"}),
        ("silences", {"rule": "nobody", "for": "2h"}),
        ("silences", {"rule": "errors"}),
        ("silences", {"rule": "errors", "for": "2h", "until": "2026-01-01"}),
        ("silences", {"rule": "errors", "for": "soon"}),
        ("silences", {"rule": "errors", "until": "2001-01-01"}),
        ("silences", {"rule": "errors", "for": "2h", "comment": "x" * 501}),
        ("silences", {"rule": "errors", "for": "2h", "segmnet": "channel=sms"}),
        ("silences", {"rule": 5, "for": "2h"}),
        ("silences", {"rule": "errors", "for": "999999999999d"}),
        ("silences", {"rule": "errors", "for": "2h", "comment": "\ud800"}),
        ("silences", {"segment": "channel=\ud800", "for": "2h"}),
        ("silences", [1]),
        ("silences", None),
        ("acknowledgements", {"rule": "nobody"}),
        ("acknowledgements", {"segment": "channel=sms"}),
        ("acknowledgements", {"rule": "errors", "segment": "channel=\ud800"}),
        ("acknowledgements", {"rule": "errors", "sgment": "channel=sms"}),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_mistake_is_refused_and_says_so(desk: Client, path: str, body: Any):
    sent = {"content": json.dumps(body), "headers": {"content-type": "application/json"}}
    answer = desk("POST", f"/api/v1/alerts/{path}", **sent)
    assert (answer.status_code, answer.json().get("code")) == (400, "invalid_input"), answer.text
    assert answer.json()["message"]
    assert desk.get(f"/api/v1/alerts/{path}") == {path: []}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DROPOFF_ALERTS", json.dumps(RULES))
        with Engine(load(data=tmp_path_factory.mktemp("desk") / "data")) as engine:
            yield Client(engine)


@pytest.mark.usefixtures("project")
def test_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DROPOFF_STORE", raising=False)  # another store needs no directory
    data = tmp_path / "data"
    assert run("check", data=data)[0] == 2  # there is none
    data.mkdir()
    assert run("check", data=data)[0] == 0  # nothing fires
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[alerts]]\nmetric = "fallback_rate"\ncondition = "exeeds"\nthreshold = 0.2\nwindow = "1h"\n')
    code, text = run("check", "--rules", str(wrong), data=data)
    assert code == 2
    assert "wrong.toml:3: alerts[0].condition == 'exeeds', must be one of" in text
    for words in (
        ("check", "--as-of", "2999-01-01"), ("backtest", "--rule", "nobody"), ("backtest", "--from", "no day"),
        ("backtest", "--from", "2020-01-01", "--to", "2026-01-01"), ("silence", "nobody", "--for", "2h"),
        ("silence", "errors"), ("silence", "--for", "2h"), ("acknowledge", "nobody"), ("expire", "nobody"),
        ("history", "--limit", "0"),
    ):  # fmt: skip
        assert run(*words, data=data)[0] == 2, words
    assert run("history", data=data)[0] == 0
    assert run("ping", "nobody")[0] == 2


@pytest.mark.usefixtures("project")
def test_a_receiver_is_tried(ops: Receiver):
    code, text = run("ping", "ops")
    assert code == 0, text
    assert text.startswith("ops took it")
    (post,) = ops.wait(1)
    said = post.verified()
    assert (said["type"], len(said["data"]["alerts"])) == ("alert.fired", 1)
    assert "This is a test" in said["data"]["body"]
    for status in (410, 503):
        ops.answer = always(status)
        code, text = run("ping", "ops")
        assert code == 1
        assert str(status) in text
        assert ops.url not in text
        assert SECRET not in text


@pytest.mark.usefixtures("project")
def test_a_tried_notice_leads_to_the_server_that_runs(ops: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("dropoff.server.remote.find_server", lambda _: Remote("http://127.0.0.1:9123", ""))
    code, text = run("ping", "ops", data=tmp_path)
    assert code == 0, text
    (post,) = ops.wait(1)
    assert "http://127.0.0.1:9123" in json.dumps(post.verified())


# who may


FORMS = ("silence", "expire", "acknowledge", "withdraw")
WRITES = (
    ("POST", "/api/v1/alerts/silences"), ("POST", "/api/v1/alerts/acknowledgements"),
    ("DELETE", "/api/v1/alerts/silences/abc"), ("DELETE", "/api/v1/alerts/acknowledgements/abc"),
)  # fmt: skip
GIVEN = {"rule": "errors", "for": "2h"}


def test_no_other_site_may_silence(desk: Client):
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        for method, path in (*WRITES, *(("POST", f"/alerts/{form}") for form in FORMS)):
            given: dict[str, Any] = {"json" if path.startswith("/api") else "data": GIVEN}
            answer = desk(method, path, headers={"origin": origin}, **given)
            assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin"), path
    assert desk.get("/api/v1/alerts/silences") == {"silences": []}
    # Nor is a form of another site taken for JSON by a browser that sends no origin.
    posted = desk("POST", "/api/v1/alerts/silences", data=GIVEN)
    assert posted.status_code == 400, posted.text
    own = desk("POST", "/alerts/silence", data=GIVEN, headers={"origin": f"http://{HOST}"})
    assert (own.status_code, own.headers["location"]) == (303, "/alerts")
    (made,) = desk.get("/api/v1/alerts/silences")["silences"]
    assert desk("POST", "/alerts/expire", data={"id": made["id"]}).status_code == 303
    assert desk("POST", "/alerts/expire", data={"id": made["id"]}).status_code == 303  # somebody else was faster
    assert desk.get("/api/v1/alerts/silences") == {"silences": []}


@pytest.mark.usefixtures("project")
def test_only_who_may_read_may_silence(tmp_path: Path):
    with Engine(load(data=tmp_path / "data")) as engine:
        keys = {kind: create_key(engine.control, kind, kind, 1.0) for kind in (WRITE, ADMIN)}
        client = Client(engine)
        for token in ("", keys[WRITE], "da_nobody"):
            for method, path in (*WRITES, ("GET", "/api/v1/alerts"), ("GET", "/api/v1/alerts/silences")):
                answer = client(method, path, token, **({"json": GIVEN} if method == "POST" else {}))
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), (token, path)
            for form in FORMS:
                answer = client("POST", f"/alerts/{form}", token, data=GIVEN)
                goal = f"/login?next=%2Falerts%2F{form}"
                assert (answer.status_code, answer.headers["location"]) == (303, goal)
            assert client("GET", "/alerts", token).headers["location"] == "/login?next=%2Falerts"
        assert engine.control.list("notify/") == {}
        assert client("POST", "/api/v1/alerts/silences", keys[ADMIN], json=GIVEN).status_code == 200
        login = client("POST", "/login", data={"token": keys[ADMIN], "next": "/alerts/silence"})
        cookie = {"cookie": login.headers["set-cookie"].partition(";")[0]}
        back = client("GET", login.headers["location"], headers=cookie)  # a form is no page: its page is shown
        assert (back.status_code, back.headers["location"]) == (303, "/alerts")
        assert len(engine.control.list("notify/silence/")) == 1
        assert client("POST", "/alerts/silence", data=GIVEN, headers=cookie).headers["location"] == "/alerts"
        assert len(engine.control.list("notify/silence/")) == 2
