import asyncio
import gzip
import json
import os
import time
from concurrent.futures import Future
from threading import Event

import pytest
from httpx import ASGITransport, AsyncClient
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import is_typeddict

from asgi import request
from dropoff.analyse.analytics import PARAMETERS
from dropoff.control import access
from dropoff.control.access import Access, create_key, revoke_key
from dropoff.dashboard.api import shapes
from dropoff.dashboard.frame.rendering import CONTENT_SECURITY_POLICY
from dropoff.errors import InvalidInput, Unavailable
from dropoff.events import Receipt
from dropoff.intake import read_events
from dropoff.project.settings import load
from dropoff.server.app import check_exposure, first_admin_token, web
from dropoff.server.engine import Engine
from dropoff.server.serverfile import ServerFile

LOCAL = "local-token"
HOST = "127.0.0.1:8787"
START = {"event_type": "conversation_started", "conversation_id": "c/1", "channel": "sms", "is_test": False}
REPLY = {"event_type": "message_received", "conversation_id": "c/1", "properties": {"content": "<b>hi</b>"}}
OWN = '{"steps":[{"event":"conversation_started"},{"event":"message_received"}],"window":"1d","by":"channel"}'
PAGES = ("/", "/alerts", "/trends", "/conversations", "/conversations/c%2F1", "/api/docs")
READS = (
    "/api/v1/funnel",
    "/api/v1/dropoffs",
    "/api/v1/metrics",
    "/api/v1/trend?metric=win_rate",
    "/api/v1/definitions",
    "/api/v1/conversations",
    "/api/v1/rejected",
    "/api/v1/alerts/silences",
    "/api/v1/alerts/acknowledgements",
    "/api/openapi.json",
    "/metrics",
)


class Client:
    """Requests to the application in this process. `clock` moves what has been read of the keys out of date."""

    def __init__(self, engine, *, may_be_open=True):
        self.engine = engine
        self.now = 1_700_000_000.0
        self.access = Access(engine.control, LOCAL, lambda: self.now, may_be_open=may_be_open)
        self.app = web(engine, self.access)

    def create(self, name, kind):
        self.now += 10
        return create_key(self.engine.control, name, kind, self.now)

    def revoke(self, name):
        self.now += 10
        revoke_key(self.engine.control, name)

    def __call__(self, method, path, token=None, cookie=None, host=HOST, **more):
        headers = {"host": host, **more.pop("headers", {})}
        headers |= {"authorization": f"Bearer {token}"} if token else {}
        headers |= {"cookie": f"{access.COOKIE}={cookie}"} if cookie else {}
        return request(self.app, method, path, raising=False, headers=headers, **more)

    def get(self, path, **more):
        return self("GET", path, **more)

    def post(self, events, **more):
        return self("POST", "/v1/events", content=json.dumps(events), **more)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    settings = load(data=tmp_path_factory.mktemp("app") / "data")
    with Engine(settings) as engine:
        filled = Client(engine)
        assert filled.post([START, REPLY]).status_code == 202
        filled.post({"event_type": "qualified"})
        engine.drain()
        yield engine


@pytest.fixture(scope="module")
def application(engine):
    return Client(engine)


@pytest.fixture
def client(application, engine):
    """The application without any key: what it has read of them is out of date."""
    application.now += 10
    yield application
    for key in access.list_keys(engine.control):
        revoke_key(engine.control, key.name)


def assert_refused(response, status, code):
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    body = response.json()
    assert body["code"] == code
    assert isinstance(body["message"], str)
    assert body["message"]
    return body["message"]


def test_without_a_key_everything_is_open_on_loopback(client):
    assert client.access.open
    assert client.post(START).status_code == 202
    for path in (*PAGES, *READS):
        assert client.get(path).status_code == 200, path


def test_writing_needs_a_write_key(client):
    write, admin = client.create("bot", "write"), client.create("boss", "admin")
    assert client.post(START, token=write).status_code == 202
    assert client.post(START, token=LOCAL).status_code == 202
    for token in (None, admin, "dw_wrong", write + "x"):
        assert "write key" in assert_refused(client.post(START, token=token), 401, "unauthorized")


def test_reading_needs_the_admin_token(client):
    write, admin = client.create("bot", "write"), client.create("boss", "admin")
    for path in READS:
        assert client.get(path, token=admin).status_code == 200, path
        assert client.get(path, token=LOCAL).status_code == 200, path
        for token in (None, write, "da_wrong"):
            refusal = client.get(path, token=token)
            assert_refused(refusal, 401, "unauthorized")
            assert refusal.headers["www-authenticate"] == "Bearer"


def test_pages_without_a_login_ask_for_one(client):
    client.create("boss", "admin")
    for path in PAGES:
        response = client.get(path)
        assert (response.status_code, response.headers["location"].partition("?")[0]) == (303, "/login")
    assert (
        client.get("/conversations?stage=booked").headers["location"] == "/login?next=%2Fconversations%3Fstage%3Dbooked"
    )
    for path in ("/healthz", "/readyz", "/login"):
        assert client.get(path).status_code == 200


def test_only_the_bearer_scheme_counts(client):
    admin = client.create("boss", "admin")
    for header in (f"Basic {admin}", admin, f"Bearer{admin}", "Bearer ", "Bearer"):
        assert client.get("/api/v1/funnel", headers={"authorization": header}).status_code == 401, header
    assert client.get("/api/v1/funnel", headers={"authorization": f"bearer {admin}"}).status_code == 200


def login(client, token, goal="/"):
    return client("POST", "/login", data={"token": token, "next": goal})


def test_a_login_is_a_cookie_that_scripts_and_other_sites_do_not_get(client):
    response = login(client, client.create("boss", "admin"), "/conversations?stage=booked")
    assert (response.status_code, response.headers["location"]) == (303, "/conversations?stage=booked")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    session = response.cookies[access.COOKIE]
    for path in (*PAGES, *READS):
        assert client.get(path, cookie=session).status_code == 200, path
    assert client.post(START, cookie=session).status_code == 401
    assert client.get("/", cookie="made-up").status_code == 303


def test_a_wrong_token_is_no_login(client):
    client.create("boss", "admin")
    for token in ("da_wrong", client.create("bot", "write"), ""):
        response = login(client, token)
        assert response.status_code == 401
        assert "set-cookie" not in response.headers
        assert "this token is not known" in response.text


def test_a_login_ends_after_its_time(client):
    session = login(client, client.create("boss", "admin")).cookies[access.COOKIE]
    client.now += access.SESSION_SECONDS - 1
    assert client.get("/", cookie=session).status_code == 200
    client.now += 2
    assert client.get("/", cookie=session).status_code == 303


def test_a_login_forgets_those_that_have_ended(client):
    token = client.create("boss", "admin")
    for _ in range(3):
        login(client, token)
        client.now += access.SESSION_SECONDS
    kept = login(client, token).cookies[access.COOKIE]
    assert len(client.engine.control.list("session/")) == 1
    assert client.get("/", cookie=kept).status_code == 200


@pytest.mark.parametrize("goal", ["//evil.test", "https://evil.test", "/\\evil.test", "/\tx", "javascript:alert(1)"])
def test_a_login_leads_nowhere_else(client, goal):
    assert login(client, client.create("boss", "admin"), goal).headers["location"] == "/"


def test_a_revoked_key_works_no_more(client):
    write, admin = client.create("bot", "write"), client.create("boss", "admin")
    session = login(client, admin).cookies[access.COOKIE]
    client.create("other", "write")
    client.revoke("bot")
    client.revoke("boss")
    assert client.post(START, token=write).status_code == 401
    assert client.get("/api/v1/funnel", token=admin).status_code == 401
    assert client.get("/", cookie=session).status_code == 303


def test_beyond_loopback_the_last_key_revoked_opens_nothing(engine):
    client = Client(engine, may_be_open=False)
    client.create("boss", "admin")
    client.revoke("boss")
    assert client.post(START).status_code == 401
    assert client.get("/api/v1/funnel").status_code == 401


def test_while_the_control_state_is_away_known_keys_count_and_logins_wait(client, monkeypatch):
    write, admin = client.create("bot", "write"), client.create("boss", "admin")
    session = login(client, admin).cookies[access.COOKIE]

    def away(*_):
        raise Unavailable("the broker is away")

    for method in ("list", "get"):
        monkeypatch.setattr(client.engine.control, method, away)
    client.now += 10
    assert client.post(START, token=write).status_code == 202
    assert client.get("/api/v1/funnel", token=admin).status_code == 200
    assert client.get("/", cookie=session).status_code == 503
    unknown = Client(client.engine)
    assert_refused(unknown.post(START, token=write), 503, "unavailable")
    assert_refused(unknown.get("/api/v1/funnel", token=admin), 503, "unavailable")
    ready = unknown.get("/readyz")
    assert (ready.status_code, ready.json()["missing"]) == (503, {"control": "the broker is away"})


def test_while_the_control_state_is_busy_only_who_asks_it_waits(client, monkeypatch):
    write, admin = client.create("bot", "write"), client.create("boss", "admin")
    cookie = f"{access.COOKIE}={login(client, admin).cookies[access.COOKIE]}"
    client.now += 10
    control, free = client.engine.control, Event()
    for method in ("list", "get"):
        ask = getattr(control, method)
        monkeypatch.setattr(control, method, lambda key, ask=ask: free.wait(5) and ask(key))

    async def meanwhile():
        async with AsyncClient(transport=ASGITransport(client.app), base_url=f"http://{HOST}") as http:
            page = asyncio.create_task(http.get("/", headers={"cookie": cookie}))
            await asyncio.sleep(0.05)
            taken = await http.post("/v1/events", json=START, headers={"authorization": f"Bearer {write}"})
            waits = not page.done()
            free.set()
            return taken.status_code, waits, (await page).status_code

    assert asyncio.run(meanwhile()) == (202, True, 200)


def test_keys_are_kept_as_hashes(client):
    secret = client.create("bot", "write")
    kept = b"".join(key.encode() + entry.value for key, entry in client.engine.control.list("").items())
    assert secret.encode() not in kept
    assert secret.removeprefix("dw_").encode() not in kept


def test_a_first_admin_token_is_made_once(client):
    assert first_admin_token(client.engine) is None
    client.create("bot", "write")
    token = first_admin_token(client.engine)
    assert client.get("/api/v1/funnel", token=token).status_code == 200
    assert first_admin_token(client.engine) is None


def test_other_hosts_are_refused(client):
    for host in ("evil.test", "evil.test:8787", "127.0.0.1.evil.test", "", "localhost@evil.test"):
        for path in ("/", "/api/v1/funnel", "/healthz"):
            assert "must be one of" in assert_refused(client.get(path, host=host), 400, "unknown_host")
        assert_refused(client.post(START, host=host), 400, "unknown_host")
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8787"):
        assert client.get("/healthz", host=host).status_code == 200


def test_other_origins_cannot_write(client):
    for origin in ("http://evil.test", "null", "http://127.0.0.1:1", "https://evil.test:8787"):
        headers = {"origin": origin}
        assert_refused(client.post(START, headers=headers), 403, "foreign_origin")
        assert_refused(client("POST", "/login", data={"token": "x"}, headers=headers), 403, "foreign_origin")
    assert client.post(START, headers={"origin": f"http://{HOST}"}).status_code == 202


def test_no_answer_allows_other_sites_to_read_it(client):
    for path in (*PAGES, *READS):
        response = client.get(path, headers={"origin": "http://evil.test"})
        assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "dropoff.example.org"])
def test_listening_elsewhere_without_a_key_is_refused(client, host):
    settings = load(host=host)
    with pytest.raises(InvalidInput, match="must be a loopback address while no key is configured"):
        check_exposure(settings, client.engine)
    client.create("bot", "write")
    check_exposure(settings, client.engine)


def test_names_under_which_the_server_is_reached(tmp_path):
    settings = load(data=tmp_path / "data", host="2001:db8::1", allowed_hosts=["dropoff.example.org"])
    with Engine(settings) as engine:
        client = Client(engine)
        for host in ("[2001:db8::1]:8787", "dropoff.example.org", "Dropoff.Example.org:443"):
            assert client.get("/healthz", host=host).status_code == 200
        assert client.get("/healthz", host="example.org").status_code == 400


def test_what_operators_ask(client):
    assert client.get("/healthz").text == "ok\n"
    client.engine.drain()
    ready = client.get("/readyz").json()
    assert ready["ready"] is True
    assert ready["lag_events"] == 0
    assert LOCAL not in json.dumps(ready)
    text = client.get("/metrics").text
    for name in ("dropoff_events_accepted_total", "dropoff_events_stored_total", "dropoff_queue_lag_events 0.0"):
        assert name in text


def test_a_dead_worker_is_not_ready(client, monkeypatch):
    monkeypatch.setattr(Engine, "working", False)
    assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize(
    "path", [*PAGES, "/login", "/nope", "/conversations/none", "/?from=x", "/conversations?after=x", "/trends?metric=x"]
)
def test_every_page_has_the_policy(client, path):
    response = client.get(path)
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "<b>hi</b>" not in response.text
    assert " style=" not in response.text
    assert "onclick" not in response.text


@pytest.mark.parametrize("path", ["/login", "/alerts/silence"])
def test_a_page_that_shows_a_mistake_has_the_policy(client, path):
    response = client("POST", path, data={"token": "wrong", "for": "1h"})
    assert response.status_code in (400, 401)
    assert 'role="alert"' in response.text
    assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nope", 404),
        ("/conversations/none", 404),
        ("/?from=x", 400),
        ("/?where=shoe=1", 400),
        ("/?by=shoe", 400),
        ("/trends?metric=shoe", 400),
        ("/trends?interval=year", 400),
        ("/trends?from=x", 400),
    ],
)
def test_a_page_that_cannot_be_says_so(client, path, status):
    assert client.get(path).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/funnel?from=x", 400, "invalid_input"),
        ("GET", "/api/v1/funnel?from=2024-02-01&to=2024-01-01", 400, "invalid_input"),
        ("GET", "/api/v1/funnel?name=nope", 400, "invalid_input"),
        ("GET", "/api/v1/conversations?name=nope", 400, "invalid_input"),
        ("GET", "/api/v1/conversations?limit=0", 400, "invalid_input"),
        ("GET", "/api/v1/conversations?after=WyJ4IiwgInkiXQ", 400, "invalid_input"),
        ("GET", "/api/v1/dropoffs?threshold=7", 400, "invalid_input"),
        ("GET", "/api/v1/metrics?metric=nope", 400, "invalid_input"),
        ("GET", "/api/v1/metrics?metric=", 400, "invalid_input"),
        ("GET", "/api/v1/trend", 400, "invalid_input"),
        ("GET", "/api/v1/trend?metric=win_rate&metric=leads", 400, "invalid_input"),
        ("GET", "/api/v1/trend?metric=win_rate&interval=year", 400, "invalid_input"),
        ("GET", "/api/v1/conversations/none", 404, "not_found"),
        ("GET", "/api/v1/conversations/%00", 404, "not_found"),
        ("GET", "/api/v1/nope", 404, "not_found"),
        ("POST", "/api/v1/metrics", 405, "method_not_allowed"),
        ("POST", "/api/v1/funnel", 400, "invalid_input"),
        ("POST", "/api/v1/rejected/forget", 400, "invalid_input"),
        ("POST", "/metrics", 405, "method_not_allowed"),
        ("GET", "/v1/events", 405, "method_not_allowed"),
        ("GET", "/v1/nope", 404, "not_found"),
        ("POST", "/v1/events", 400, "malformed"),
    ],
)
def test_programs_get_every_refusal_as_json(client, method, path, status, code):
    assert_refused(client(method, path, content=b"{" if method == "POST" else None), status, code)


@pytest.mark.parametrize("question", [*sorted(PARAMETERS.keys() - {"conversation"}), "conversations/c%2F1"])
def test_a_misspelt_parameter_is_refused(client, question):
    message = assert_refused(client.get(f"/api/v1/{question}?form=2024-01-01&x=1"), 400, "invalid_input")
    assert message.startswith("parameter == 'form, x', must be ")
    for name in PARAMETERS.get(question, ()):
        assert name in message


@pytest.mark.parametrize("path", ["/api/v1/funnel", "/api/v1/rejected/forget", "/api/v1/rejected/keep"])
def test_a_body_nested_too_deep_is_refused(client, path):
    assert_refused(client("POST", path, content=b"[" * 100_000), 400, "invalid_input")


def test_bodies_that_are_not_taken(client):
    def post(content, **headers):
        return client("POST", "/v1/events", content=content, headers=headers)

    big = b"[" + b" " * 21_000_000 + b"]"
    assert_refused(post(big), 413, "too_large")
    assert_refused(post(gzip.compress(big), **{"content-encoding": "gzip"}), 413, "too_large")
    assert_refused(post(b"[]", **{"content-type": "application/xml"}), 415, "unsupported_media_type")
    assert_refused(post(b"[]", **{"content-encoding": "br"}), 415, "unsupported_encoding")
    assert_refused(post(b"no gzip", **{"content-encoding": "gzip"}), 400, "malformed")
    assert_refused(post(gzip.compress(b"[]" * 99)[:-9], **{"content-encoding": "gzip"}), 400, "malformed")


def test_a_full_backlog_asks_to_come_back(client, monkeypatch):
    full = client.engine.queue.lag()._replace(bytes=10**12)
    monkeypatch.setattr(client.engine.queue, "lag", lambda: full)
    response = client.post(START)
    assert_refused(response, 429, "backlog")
    assert int(response.headers["retry-after"]) > 0


def test_a_queue_that_cannot_be_written_asks_to_come_back(client, monkeypatch):
    failed: Future[int] = Future()
    failed.set_exception(Unavailable("disk full"))
    monkeypatch.setattr(client.engine.queue, "append", lambda *_: failed)
    response = client.post(START)
    assert "disk full" in assert_refused(response, 503, "unavailable")
    assert int(response.headers["retry-after"]) > 0


def test_a_store_that_cannot_be_read_asks_to_come_back(client, monkeypatch):
    def busy(*_):
        raise Unavailable("the disk is gone")

    monkeypatch.setattr(client.engine.store, "select", busy)
    response = client.get("/api/v1/funnel")
    assert_refused(response, 503, "unavailable")
    assert response.headers["retry-after"]
    page = client.get("/")
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")


def test_what_an_accident_says_is_for_the_log(client, monkeypatch):
    def broken(*_):
        raise RuntimeError("/etc/secret")

    monkeypatch.setattr(client.engine.analytics, "funnel", broken)  # the worker reads the store meanwhile
    response = client.get("/api/v1/funnel")
    assert "/etc/secret" not in response.text
    assert_refused(response, 500, "internal")
    page = client.get("/")
    assert page.status_code == 500
    assert "/etc/secret" not in page.text


def strict(shape):
    """A TypedDict and every one inside it, without room for undeclared keys."""
    if is_typeddict(shape):
        shape.__pydantic_config__ = ConfigDict(extra="forbid")
        for inner in shape.__annotations__.values():
            strict(inner)
    for inner in getattr(shape, "__args__", ()):
        strict(inner)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/api/v1/funnel", shapes.FunnelAnswer),
        ("/api/v1/funnel?name=mission&by=channel&threshold=0.2", shapes.FunnelAnswer),
        ("/api/v1/funnel?from=2000-01-01&to=2000-01-02&by=outcome", shapes.FunnelAnswer),
        (f"/api/v1/funnel?interval=week&definition={OWN}", shapes.FunnelAnswer),
        ("/api/v1/dropoffs", shapes.DropOffsAnswer),
        ("/api/v1/dropoffs?by=channel&include_test=1", shapes.DropOffsAnswer),
        ("/api/v1/metrics", shapes.MetricsAnswer),
        ("/api/v1/metrics?metric=leads&by=objection&include_test=1", shapes.MetricsAnswer),
        ("/api/v1/trend?metric=response_time&interval=week", shapes.TrendAnswer),
        ("/api/v1/trend?metric=revenue&interval=month", shapes.TrendAnswer),
        ("/api/v1/definitions", shapes.DefinitionsAnswer),
        ("/api/v1/conversations", shapes.ConversationsAnswer),
        ("/api/v1/conversations?stage=responded&dropped=started&limit=1", shapes.ConversationsAnswer),
        ("/api/v1/sample", shapes.SampleAnswer),
        ("/api/v1/executive", shapes.ExecutiveAnswer),
        ("/api/v1/operations", shapes.OperationsAnswer),
        ("/api/v1/alerts?coverage=1", shapes.AlertsAnswer),
        ("/api/v1/alerts/history", shapes.EpisodesAnswer),
        ("/api/v1/alerts/backtest?rule=fallbacks&from=2024-01-01&to=2024-01-02", shapes.BacktestAnswer),
        ("/api/v1/funnel?from=x", shapes.Error),
        ("/api/v1/conversations/none", shapes.Error),
    ],
)
def test_answers_are_as_declared(client, path, shape):
    strict(shape)
    TypeAdapter(shape).validate_json(client.get(path).content, strict=False)


def test_the_openapi_document_names_every_address_and_resolves(client):
    document = client.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert set(document["paths"]) == {
        "/v1/funnel", "/v1/dropoffs", "/v1/cohorts", "/v1/conversations", "/v1/conversations/{id}", "/v1/rejected",
        "/v1/metrics", "/v1/trend", "/v1/definitions", "/v1/query", "/v1/events", "/v1/segments", "/v1/explain",
        "/v1/experiments", "/v1/experiments/plan", "/v1/patterns", "/v1/messages", "/v1/optimization", "/v1/executive",
        "/v1/sample", "/v1/report", "/v1/filters", "/v1/filters/{name}",
        "/v1/alerts", "/v1/alerts/history", "/v1/alerts/backtest", "/v1/alerts/silences", "/v1/alerts/silences/{id}",
        "/v1/version", "/v1/operations", "/v1/alerts/acknowledgements", "/v1/alerts/acknowledgements/{id}",
    }  # fmt: skip
    assert document["servers"] == [{"url": "/api"}]
    door = document["paths"]["/v1/events"]["post"]
    assert door["servers"] == [{"url": "/"}]
    example = door["requestBody"]["content"]["application/json"]["schema"]["anyOf"][0]["example"]
    assert not read_events(json.dumps(example).encode(), Receipt(time.time_ns() // 1000)).rejections
    for reference in references(document):
        target = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
    for question, known in PARAMETERS.items():
        if question != "conversation":
            declared = document["paths"][f"/v1/{question}"]["get"].get("parameters", [])
            form = {"format"} if question == "conversations" else set()
            assert {p["name"] for p in declared} == set(known) | form, question
    for path in document["paths"].values():
        for operation in path.values():
            assert {"400", "401", "503"} <= operation["responses"].keys()
            assert operation["description"].startswith(operation["summary"]) or "servers" in operation
    assert document["paths"]["/v1/dropoffs"]["get"]["summary"] == "Where conversations drop off, and why"


def references(value):
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else []
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from references(item)


def test_the_server_file_is_for_its_owner_and_gone_afterwards(tmp_path):
    with ServerFile(tmp_path, "http://127.0.0.1:1") as file:
        found = json.loads((tmp_path / "server.json").read_text())
        assert found == {"url": "http://127.0.0.1:1", "pid": os.getpid(), "token": file.token}
        assert (tmp_path / "server.json").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "server.json").exists()


def test_own_sql_is_one_select(client):
    answer = client("POST", "/api/v1/query", json={"sql": "SELECT 1 AS n"})
    assert (answer.status_code, answer.json()) == (200, {"columns": ["n"], "rows": [[1]], "truncated": False})
    assert_refused(client("POST", "/api/v1/query", json={"sql": "DROP TABLE event_rows"}), 400, "invalid_input")
