"""What commands print: nothing is lost at any width, rows are lines in a pipe, times are on the project's clock."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from structlog.testing import capture_logs
from typer.testing import CliRunner

from dropoff import terminal
from dropoff.alerts.backtest import Coverage
from dropoff.alerts.job import say
from dropoff.cli import app
from dropoff.cli.answers import write
from dropoff.project.settings import load
from dropoff.server.connect import connect
from dropoff.terminal.tables import UNLIMITED
from worlds import START, event

ZONE = "Europe/Berlin"
WORD = st.text(st.sampled_from("abcäß漢_-\u00a0"), min_size=1, max_size=40)
CELL = st.lists(WORD, max_size=6).map(" ".join)
ASKED = {
    "funnel": ("funnel", {}), "metrics": ("metrics", {"by": ["channel"]}), "alerts": ("alerts", {"coverage": ["1"]}),
    "segments": ("segments", {"metric": ["response_rate"], "by": ["channel"]}),
    "operations": ("operations", {}), "drop_offs": ("dropoffs", {}),
}  # fmt: skip


def printed(form, answer, width):
    out = io.StringIO()
    getattr(terminal, form)(answer, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def characters(text):
    return Counter(re.sub(r"\s", "", text))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sixty conversations on two channels, most of which are answered."""
    directory = tmp_path_factory.mktemp("terminal")
    lines = []
    for number in range(60):
        name, channel = f"conversation-{number}", "whatsapp of the second team" if number % 2 else "sms"
        lines.append(event("conversation_started", number, name, channel=channel))
        if number % 5:
            lines.append(event("message_received", number + 0.5, name, properties={"content": "yes\tor\nno"}))
        if number % 4:
            lines.append(event("qualified", number + 1, name))
    file = directory / "events.ndjson"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert run("import", str(file), "--data", str(directory / "data")).exit_code == 0
    return str(directory / "data")


def run(*words):
    return CliRunner().invoke(app, list(words), catch_exceptions=False, env={"DROPOFF_TIMEZONE": ZONE, "COLUMNS": "80"})


@pytest.fixture(scope="module")
def answers(data):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DROPOFF_TIMEZONE", ZONE)
        with connect(load(data=data)) as connection:
            return {form: connection.ask(name, params) for form, (name, params) in ASKED.items()}


@pytest.mark.parametrize("form", ASKED)
@pytest.mark.parametrize("width", [80, 100])
def test_every_character_is_printed_in_a_narrow_terminal(answers, form, width):
    narrow, whole = printed(form, answers[form], width), printed(form, answers[form], UNLIMITED)
    assert len(whole) > 200
    assert not characters(whole) - characters(narrow)
    if "95 %" in whole:
        assert re.search(r"\[?\d+\.\d–\d+\.\d\u00a0%", narrow)


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=5), st.integers(12, 100))
def test_a_table_fits_and_loses_nothing_or_becomes_records(rows, width):
    out = io.StringIO()
    columns = {"one": False, "two": True, "three": False}
    terminal.table("", columns, rows, Console(file=out, width=width, highlight=False))
    wanted = Counter("".join(cell for row in rows for cell in row).replace(" ", ""))
    shown = Counter(out.getvalue().replace(" ", ""))
    assert not wanted - shown
    if rows and "one: " not in out.getvalue():
        assert max(map(len, out.getvalue().splitlines())) <= width


def test_cells_fold_between_words():
    out = io.StringIO()
    rows: list[list[object]] = [["fallback_rate exceeds 0.2 in 30m", "100.0\u00a0% [95.4–100.0\u00a0%]"]]
    terminal.table("rules", {"rule": False, "value": True}, rows, Console(file=out, width=34, highlight=False))
    assert out.getvalue().splitlines() == [
        "rules", "rule                         value",
        "fallback_rate              100.0\u00a0%", "exceeds 0.2         [95.4–100.0\u00a0%]", "in 30m",
    ]  # fmt: skip


def test_a_row_is_a_line_where_there_is_no_terminal(data):
    sql = "SELECT * FROM messages ORDER BY conversation_id"
    lines = run("query", sql, "--data", data).output.splitlines()
    assert len(lines) == 1 + 48
    assert all("yes    or␊no" in line for line in lines[1:])
    funnel = run("funnel", "--data", data).output.splitlines()
    stages = [line for line in funnel if re.match(r"responded +\d", line)]
    assert [line.count("%]") for line in stages] == [2]


def test_a_split_shows_the_whole_first_and_says_when_its_parts_overlap(data):
    for command in ("funnel", "dropoffs"):
        said = run(command, "--by", "channel", "--data", data).output
        assert re.findall(r"^(?:sales funnel|drop-offs)( · channel = \w+|)", said, re.MULTILINE)[0] == "", command
        assert "a conversation stands under each" not in said
        assert "channel = sms" in said
    for command in (["funnel"], ["dropoffs"], ["trend", "win_rate"]):
        said = run(*command, "--by", "objection", "--data", data).output
        assert "a conversation stands under each of its values of objection" in said, command


def test_a_drop_off_that_nobody_is_old_enough_for_is_too_young(answers):
    drops = answers["drop_offs"]["drop_offs"]
    young = drops[0] | {"matured": {"value": None, "n": 0}}
    said = printed("drop_offs", {**answers["drop_offs"], "drop_offs": [young]}, UNLIMITED)
    assert "too young" in said


def test_columns_of_a_query_may_be_alike_and_are_not_obeyed():
    answer = {"columns": ["a", "a", "\x1b[31m"], "rows": [[1, 2, 3]], "truncated": False}
    assert printed("query", answer, 80).splitlines() == ["a  a  ␛[31m", "1  2  3"]


def test_numbers_of_own_sql_are_as_they_are():
    answer = {
        "columns": ["key", "n", "x", "is"],
        "rows": [[1023186272655881356, [-5000], 2.5, True]],
        "truncated": False,
    }
    assert printed("query", answer, 80).splitlines()[1].split() == ["1023186272655881356", "-5000", "2.5", "yes"]


def test_a_replay_says_how_many_are_still_refused():
    answer = {"read": 2, "accepted": 1, "duplicates": 1, "rejected": 0, "reasons": {}, "kept": 1500}
    title, _, *rows = printed("retried", answer, 80).splitlines()
    assert title == "replay of refused events"
    assert [row.rsplit(maxsplit=1) for row in rows] == [
        ["tried", "1,502"], ["accepted", "1"], ["duplicates", "1"], ["still refused", "1,500"],
    ]  # fmt: skip


def test_a_fact_is_rounded_for_the_eye_alone(tmp_path):
    file, data = tmp_path / "events.ndjson", str(tmp_path / "data")
    said = [
        event("message_received", n, "c", properties={"content": "x", "sentiment": s}) for n, s in ((0, 0.4), (1, 0.1))
    ]
    file.write_text("\n".join(map(json.dumps, said)))
    assert run("import", str(file), "--data", data).exit_code == 0
    assert re.search(
        r"^sentiment_trend +−0\.3$", run("conversations", "show", "c", "--data", data).output, re.MULTILINE
    )
    told = json.loads(run("conversations", "show", "c", "--data", data, "--json").output)
    assert told["sentiment_trend"] == 0.1 - 0.4


@pytest.mark.parametrize(
    ("words", "shown"), [("alerts ping", "its name in [[receivers]]"), ("serve", "[embedded]"), ("demo", "[today]")]
)
def test_help_shows_what_stands_in_brackets(words, shown):
    told = CliRunner().invoke(app, [*words.split(), "--help"], env={"COLUMNS": "200"})
    assert shown in told.output


def test_a_list_is_written_to_a_terminal_in_whole_characters(monkeypatch):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Terminal(out))
    write([b"id\r\n\xc3", b"\xa4\x1b[31m\r\n"])
    assert out.getvalue().decode() == "id\nä␛[31m\n"


def test_a_wide_query_is_records_in_a_terminal(data):
    """The command itself, on a terminal of 80 columns."""
    code = "from dropoff.cli import main; main()"
    here, there = pty.openpty()
    words = [sys.executable, "-c", code, "query", "SELECT * FROM events LIMIT 1", "--data", data]
    process = subprocess.Popen(words, stdout=there, env={**os.environ, "COLUMNS": "80", "TERM": "dumb"})
    os.close(there)
    text = b""
    try:
        while chunk := os.read(here, 1 << 16):
            text += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait(60) == 0
    os.close(here)
    assert "event_type: " in text.decode()
    assert "\r\nconversation_id: conversation-" in text.decode()


def test_times_are_on_the_clock_of_the_project(data):
    listed = run("conversations", "list", "--data", data, "--limit", "1").output
    local = START + timedelta(minutes=59)
    stamp = f"{local.astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M}"
    assert f"({ZONE})" in listed
    assert f"  {stamp}  " in listed
    shown = run("conversations", "show", "conversation-59", "--data", data)
    assert f"times in {ZONE}" in shown.output
    assert re.search(rf"started_at +{stamp}:00\n", shown.output)
    assert "Z\n" not in shown.output
    other = run("conversations", "show", "conversation-59", "--data", data, "--timezone", "UTC").output
    assert re.search(rf"started_at +{local:%Y-%m-%d %H:%M}:00\n", other)
    raw = json.loads(run("alerts", "silence", "volume_drop", "--for", "2h", "--data", data, "--json").output)
    assert "timezone" not in raw
    until = datetime.fromisoformat(raw["silences"][0]["until"])
    assert until.utcoffset() == timedelta(0)
    silences = run("alerts", "silences", "--data", data).output
    assert f"times in {ZONE}" in silences
    assert f"  {until.astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M}  " in silences


EPISODE = {
    "fired": "2026-11-29T10:15:00Z", "resolved": None, "name": "volume_drop", "segment": None, "severity": "high",
    "value": 0.0, "n": 1, "usual": None,
}  # fmt: skip
ALERT = {
    "name": "volume_drop", "metric": "conversations_started", "condition": "anomaly", "threshold": 1e-05,
    "window": "4_hours", "severity": "high", "segment": None, "value": 0.0, "n": 3.0, "state": "firing",
    "since": "2026-11-29T10:15:00Z",
}  # fmt: skip


def test_alerts_in_words():
    history = printed("episodes", {"episodes": [EPISODE], "timezone": ZONE}, 100)
    assert re.search(r"^2026-11-29 11:15  still firing  volume_drop ", history, re.MULTILINE)
    assert re.search(r"^fired +until +alert ", history, re.MULTILINE)
    alerts = {"as_of": "2026-11-29T10:20:00Z", "alerts": [ALERT], "timezone": ZONE}
    check = printed("alerts", alerts, 200)
    assert "2026-11-29 11:20, times in Europe/Berlin" in check
    assert "conversations_started on an anomaly of a chance below 0.00001 in 4 hours" in check
    assert check.rstrip().endswith("2026-11-29 11:15")
    few = ALERT | {
        "name": "few", "metric": "escalation_rate", "condition": "exceeds", "threshold": 0.3, "window": "30m",
        "value": 1.0, "denominator": 1.3, "min_n": 30, "n": 1.3, "state": "insufficient", "since": None,
    }  # fmt: skip
    check = printed("alerts", alerts | {"alerts": [few, few | {"name": "much", "denominator": 40.0}]}, 200)
    assert re.search(
        r"^few +insufficient +– +1, needs 30 +escalation_rate above 0.3 in 30 minutes", check, re.MULTILINE
    )
    assert re.search(r"^much +insufficient +1 +1, needs 30 +", check, re.MULTILINE)


def test_experiments_without_a_period_are_of_all_time():
    period = {"from": "1901-01-01T00:00:00Z", "to": "2026-11-29T10:00:00Z", "timezone": ZONE}
    said = printed("experiments", {"period": period, "definition": {"text": ""}, "experiments": []}, 100)
    assert said.startswith("All time to 2026-11-29 (Europe/Berlin)")


def test_segments_of_nothing_are_no_empty_table(data):
    past = ("--from", "1999-01-01", "--to", "1999-02-01")
    said = run("segments", "response_rate", "--by", "channel", *past, "--data", data).output
    assert said.endswith("no conversation in this period fits the filters\n")


def test_one_is_not_many(data):
    assert "1 conversation\n" in run("conversations", "list", "--id", "conversation-59", "--data", data).output
    assert "60 conversations\n" in run("conversations", "list", "--data", data).output


@pytest.mark.parametrize(
    ("enough", "said"),
    [
        ([0.2, 0.4, 0.9], ["3 rules watch; 2 of them mostly lack data: dropoff alerts check --coverage"]),
        ([0.5, None], ["2 rules watch"]), ([0.9], ["1 rule watches"]), ([], []),
    ],
)  # fmt: skip
def test_the_start_says_one_sentence_of_all_rules_and_names_those_that_lack_data(enough, said):
    structlog.reset_defaults()
    with capture_logs() as logs:
        say([Coverage(f"rule {number}", share, "1_day") for number, share in enumerate(enough)])
    assert [one["event"] for one in logs if "rule" not in one] == said
    known = {f"rule {number}": share for number, share in enumerate(enough) if share is not None}
    assert {one["rule"]: one["log_level"] for one in logs if "rule" in one} == {
        name: "info" if share < 0.5 else "debug" for name, share in known.items()
    }
    assert {one["window_that_mostly_has"] for one in logs if "rule" in one} <= {"1_day"}


def test_doctor_without_a_server(data):
    done = run("doctor", "--data", data)
    assert done.exit_code == 1
    assert "none runs" in done.output
    assert re.search(r"^Refused events +0 ", done.output, re.MULTILINE)
    told = json.loads(run("doctor", "--data", data, "--json").output)
    assert told["server"]["ready"] is False
    assert told["health"]["late"] == json.loads(run("operations", "--data", data, "--json").output)["health"]["late"]


@pytest.fixture
def busy(monkeypatch, answers):
    """A server for which events wait."""
    server = SimpleNamespace(ask=lambda question, _: answers[question], waiting=lambda: 167_565)
    state = {"ready": True, "role": "all", "run": "x", "lag_events": 167_565, "lag_seconds": 13.8}
    monkeypatch.setattr("dropoff.server.remote.readiness", lambda _: (server, state))


@pytest.mark.usefixtures("busy")
def test_doctor_says_once_what_waits():
    told = run("doctor", "--data", "anywhere").output
    assert "lag" not in told
    assert re.search(r"^Waiting in the queue +167,565 +the oldest for 1", told, re.MULTILINE)
    health = json.loads(run("doctor", "--data", "anywhere", "--json").output)["health"]
    assert (health["lag_events"], health["lag_seconds"]) == (167_565, 13.8)


@pytest.mark.usefixtures("busy")
def test_a_funnel_says_what_it_does_not_count_yet(data):
    waits = "167,565 events wait to be processed, not counted yet"
    assert run("funnel", "--data", data).output.splitlines()[-1] == waits
    assert "wait" not in run("funnel", "--data", data, "--json").output
    assert "wait" not in run("funnel", "--data", data, "--as-of", "2024-01-16").output
