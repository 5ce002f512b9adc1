"""How soon what happened is seen: from accepted to counted at a steady rate, from a breach to its message."""

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from pathlib import Path
from statistics import median

from bench.data import Timeline, arrays
from bench.processes import DROPOFF, PATIENCE, Serving
from bench.rows import Plan, Row
from dropoff.store.sql import PHYSICAL

RATE, BATCH = 10_000, 500
"""Events a second, and of a request."""
SECONDS = 20
COUNT = f"SELECT count(*) FROM {PHYSICAL['events']}"  # with test traffic
LOOK = 0.05
"""Seconds between two looks."""
BREACHES = 5
SETTINGS = """
[[receivers]]
name = "here"
kind = "webhook"
url = "http://127.0.0.1:{port}/"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""
RULE = """
[[alerts]]
name = "breach {number}"
metric = "fallback_rate"
condition = "exceeds"
threshold = 0.5
window = "1_hour"
where = ["channel=breach_{number}"]
"""


def measure(_: Plan, timeline: Timeline, folder: Path) -> Iterator[Row]:
    """One server for both, first under load and then at rest."""
    with _told() as (port, told):
        rules = "".join(RULE.format(number=number) for number in range(BREACHES))
        settings, data = folder / "dropoff.toml", folder / "data"
        settings.write_text(SETTINGS.format(port=port) + rules)
        command = ["env", f"DROPOFF_CONFIG={settings}", *DROPOFF, "serve", "--port", "0", "--data", str(data)]
        with Serving(command, data) as server:
            _send_steadily(server, arrays(_live(timeline.copy(0)[: 2 * RATE]), BATCH), [])  # so that all is loaded
            server.drain()
            server.rest()
            yield _visible(server, arrays(_live(_full(timeline.copy(1)[: SECONDS * RATE])), BATCH))
            server.drain()
            server.rest()
            yield _notified(server, told)


def _full(lines: Sequence[bytes]) -> Sequence[bytes]:
    """Those that fill whole requests."""
    return lines[: len(lines) // BATCH * BATCH]


def _live(lines: Sequence[bytes]) -> list[bytes]:
    """The events as if they had happened in the last minutes: months pass ten thousand times faster."""
    events = [json.loads(line) for line in lines]
    moments = [datetime.fromisoformat(event["timestamp"]) for event in events]
    now = datetime.now(UTC)
    return [
        json.dumps(event | {"timestamp": (now - (moments[-1] - moment) / 10_000).isoformat()}).encode()
        for event, moment in zip(events, moments, strict=True)
    ]


# from accepted to visible


def _visible(server: Serving, bodies: list[bytes]) -> Row:
    """Batches at a steady rate; of each how long after its answer a count of the events first has it."""
    accepted: list[float] = []
    sender = threading.Thread(target=_send_steadily, args=(server, bodies, accepted))
    begin, looks = time.perf_counter(), [_look(server)]
    before = looks[0][1]
    sender.start()
    while looks[-1][1] < before + BATCH * len(bodies) and time.perf_counter() - begin < PATIENCE:
        looks.append(_look(server))
        time.sleep(LOOK)
    sender.join()
    sent, shown = BATCH * len(accepted), looks[-1][1] - before
    if shown < BATCH * len(bodies):
        raise RuntimeError(f"of {BATCH * len(bodies)} events {sent} were accepted, and {shown} seen in {PATIENCE:g} s")
    waits = []
    for held, answered in zip(accumulate(BATCH for _ in bodies), accepted, strict=True):
        seen = next(at for at, count in looks if count >= before + held)
        waits.append(max(seen - answered, 0.0))
    waits.sort()
    p99 = waits[-(-len(waits) * 99 // 100) - 1]
    rate = BATCH * len(accepted) / (accepted[-1] - begin)
    note = f"median {median(waits):.2f}; {rate:,.0f} events/s, requests of {BATCH}, {BATCH * len(bodies):,} events"
    return Row("accepted → visible, p99", "s", p99, bar="≤ 1 s", note=note)


def _send_steadily(server: Serving, bodies: list[bytes], accepted: list[float]) -> None:
    """One request after the other, none before its time."""
    connection = http.client.HTTPConnection(server.address, timeout=PATIENCE)
    begin = time.perf_counter()
    for number, body in enumerate(bodies):
        time.sleep(max(begin + number * BATCH / RATE - time.perf_counter(), 0.0))
        _post(connection, "/v1/events", body)
        accepted.append(time.perf_counter())


def _post(connection: http.client.HTTPConnection, path: str, body: bytes) -> bytes:
    connection.request("POST", path, body, {"content-type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    if response.status >= 300:
        raise RuntimeError(f"{path}: {response.status} {answer[:500].decode(errors='replace')}")
    return answer


def _look(server: Serving) -> tuple[float, int]:
    """How many events are counted, and when that was known."""
    connection = http.client.HTTPConnection(server.address, timeout=PATIENCE)
    answer = json.loads(_post(connection, "/api/v1/query", json.dumps({"sql": COUNT}).encode()))
    connection.close()
    return time.perf_counter(), answer["rows"][0][0]


# from a breach to its message


def _notified(server: Serving, told: Mapping[str, float]) -> Row:
    """Of a few rules, one after the other: how long after the events of a breach were taken its message comes."""
    waits = []
    for number in range(BREACHES):
        connection = http.client.HTTPConnection(server.address, timeout=PATIENCE)
        _post(connection, "/v1/events", json.dumps(_breach(number)).encode())
        begin = time.perf_counter()
        while f"breach {number}" not in told and time.perf_counter() - begin < PATIENCE:
            time.sleep(LOOK)
        if f"breach {number}" not in told:
            raise RuntimeError(f"no message of breach {number} came within {PATIENCE:g} s")
        waits.append(told[f"breach {number}"] - begin)
    note = f"median {median(waits):.2f} of {BREACHES}, each of 40 fallbacks"
    return Row("breach → message, worst", "s", max(waits), bar="≤ 5 s", note=note)


def _breach(number: int) -> list[dict[str, object]]:
    """Forty conversations of one channel in which the bot did not understand the only message."""
    now = datetime.now(UTC).isoformat()
    events: list[dict[str, object]] = []
    for one in range(40):
        common = {"conversation_id": f"breach-{number}-{one}", "timestamp": now}
        events += [
            {**common, "event_type": "conversation_started", "channel": f"breach_{number}"},
            {**common, "event_type": "message_received", "content": "?", "sequence": 1},
            {**common, "event_type": "fallback", "sequence": 2},
            {**common, "event_type": "message_sent", "content": "Sorry?", "sequence": 3},
        ]
    return events


@contextmanager
def _told() -> Iterator[tuple[int, dict[str, float]]]:
    """A receiver of messages: its port, and when it was first told of each rule."""
    told: dict[str, float] = {}

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            for alert in json.loads(body)["data"]["alerts"]:
                told.setdefault(alert["rule"], time.perf_counter())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object, **__: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, told
    finally:
        server.shutdown()
