import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import duckdb
import pytest
import typer

from dropoff import cli
from dropoff.control.access import list_keys
from dropoff.control.sqlite import SqliteControl
from dropoff.queue.sqlite import SqliteQueue
from worlds import event, payload

COMMAND = [sys.executable, "-c", "from dropoff.cli import main; main()"]
NASTY = "\x1b]0;owned\x07\x1b[31mred\x9b31m\u202e <b>[bold]x[/bold]"
START = 1_705_312_800_000
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def events():
    """Three conversations: one booked, one that answered, one with foreign text."""
    for number, name in enumerate(("booked", "answered", NASTY)):
        common = {"conversation_id": name, "channel": "sms" if number else "chat", "timestamp": START + number * 1000}
        yield {**common, "event_type": "conversation_started", "properties": {"source": "web"}}
        said = {"content": NASTY, "intent": NASTY}
        yield {**common, "event_type": "message_received", "timestamp": START + 60_000, "properties": said}
    yield {"event_type": "qualified", "conversation_id": "booked", "timestamp": START + 70_000}
    yield {"event_type": "meeting_booked", "conversation_id": "booked", "timestamp": START + 80_000}
    yield {
        "event_type": "escalated",
        "conversation_id": NASTY,
        "timestamp": START + 90_000,
        "properties": {NASTY: NASTY},
    }


BAD = b'{"event_type": "qualified"}\n{"event_type": "\\u001b[31m", "conversation_id": 7}\nnothing\n'


class Done:
    """What a command left: exit code, stdout, stderr."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        assert self.code in (0, 1), self.err
        return json.loads(self.out)


def dropoff(*arguments, env=None):
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    words = ["dropoff", *map(str, arguments)]
    with (
        patch.object(sys, "argv", words),
        patch.dict(os.environ, {"COLUMNS": "200", **(env or {})}),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "events.ndjson"
    path.write_text("".join(json.dumps(event) + "\n" for event in events()))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory, file):
    """A data directory with the three conversations, and three refused events."""
    directory = tmp_path_factory.mktemp("cli") / "data"
    bad = directory.parent / "bad.ndjson"
    bad.write_bytes(BAD)
    assert dropoff("import", file, "--data", directory).code == 0
    assert dropoff("import", bad, "--data", directory).code == 1
    return directory


@pytest.fixture(scope="module")
def server(data):
    """A server that holds the data: its address, and its process."""
    process = subprocess.Popen([*COMMAND, "serve", "--port", "0", "--data", str(data)], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None
        assert time.monotonic() < end
        try:
            url = json.loads((data / "server.json").read_text())["url"]
            get(url + "/readyz")
            break
        except (OSError, ValueError):
            time.sleep(0.05)
    yield url
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert not (data / "server.json").exists()
    assert not (data / "store.duckdb.wal").exists()


def get(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


QUESTIONS = {
    ("funnel",): "funnel",
    ("funnel", "--name", "mission", "--by", "channel", "--threshold", "0.3"):
        "funnel?name=mission&by=channel&threshold=0.3",
    ("funnel", "--from", "2024-01-15", "--to", "2024-01-16", "--timezone", "Asia/Kolkata"):
        "funnel?from=2024-01-15&to=2024-01-16&timezone=Asia/Kolkata",
    ("dropoffs", "--where", "channel=sms", "--where", "channel=chat", "--include-test"):
        "dropoffs?where=channel=sms&where=channel=chat&include_test=1",
    ("dropoffs", "--sort", "matured"): "dropoffs?sort=matured",
    ("metrics",): "metrics",
    ("metrics", "win_rate", "leads", "--by", "channel", "--where", "direction=(none)", "--include-test"):
        "metrics?metric=win_rate&metric=leads&by=channel&where=direction=(none)&include_test=1",
    ("metrics", "--definitions"): "definitions",
    ("trend", "response_rate"): "trend?metric=response_rate",
    ("trend", "bot_messages", "--interval", "hour", "--from", "2024-01-15", "--to", "2024-01-16"):
        "trend?metric=bot_messages&interval=hour&from=2024-01-15&to=2024-01-16",
    ("conversations", "list", "--stage", "qualified"): "conversations?stage=qualified",
    ("conversations", "list", "--dropped", "responded", "--name", "mission", "--limit", "1"):
        "conversations?dropped=responded&name=mission&limit=1",
    ("conversations", "show", "booked"): "conversations/booked",
    ("rejected", "list"): "rejected?limit=20",
}  # fmt: skip


def test_the_command_line_answers_as_the_api(data, request):
    """Without a server, through it, and over HTTP: the same JSON."""
    alone = {arguments: dropoff(*arguments, "--data", data, "--json").json for arguments in QUESTIONS}
    url = request.getfixturevalue("server")
    for arguments, path in QUESTIONS.items():
        through = dropoff(*arguments, "--data", data, "--json").json
        api = get(f"{url}/api/v1/{path}")
        for answer in (alone[arguments], through, api):
            answer.pop("as_of", None)
        assert alone[arguments] == through, arguments
        assert through == api, arguments


def test_tables_say_the_same_with_and_without_a_server(data, server):
    answer = dropoff("funnel", "--data", data)
    assert answer.code == 0
    assert re.search(r"booked +1 +1 ", answer.out)
    assert "sales funnel" in answer.out
    assert "100.0\u00a0%" in answer.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("metrics", "response_rate", "--by", "property:source"), ("metrics", "--by", "first_message_variant"),
        ("trend", "human_messages", "--by", "channel"), ("metrics", "--definitions"),
        ("funnel", "--by", "channel"), ("dropoffs", "--by", "source"), ("conversations", "list"),
        ("conversations", "show", NASTY), ("conversations", "show", "booked"), ("rejected", "list"),
    ],
)  # fmt: skip
def test_text_from_events_never_reaches_the_terminal_raw(data, server, arguments):
    table = dropoff(*arguments, "--data", data)
    assert table.code == 0
    assert not CONTROL.search(table.out), arguments
    text = dropoff(*arguments, "--data", data, "--json")
    assert not CONTROL.search(text.out), arguments
    if NASTY in arguments:
        assert text.json["id"] == NASTY
        assert "␛]0;owned␇␛[31mred" in table.out
        assert "[bold]x[/bold]" in table.out


def test_an_unknown_conversation_is_shown_inert(data, server):
    answer = dropoff("conversations", "show", "\x1b[31m", "--data", data)
    assert answer.code == 2
    assert answer.err == "dropoff: there is no conversation '\\x1b[31m'\n"


def test_values_are_written_in_their_unit(data, server):
    answer = dropoff("metrics", "response_rate", "human_messages", "--data", data)
    assert re.search(r"response_rate +100\.0\u00a0% +43\.9–100\.0\u00a0% +3\u00a0/\u00a03 +not enough data", answer.out)
    assert re.search(r"human_messages +3 ", answer.out)
    answer = dropoff("trend", "response_rate", "--from", "2024-01-14", "--to", "2024-01-16", "--data", data)
    assert re.search(r"Sun 2024-01-14 +– +0\u00a0/\u00a00", answer.out)
    assert re.search(r"Mon 2024-01-15 +100\.0\u00a0% ", answer.out)
    assert "whole period: 100.0\u00a0%, 3\u00a0/\u00a03" in answer.out


def test_import_counts_and_knows_duplicates(tmp_path, file):
    data = tmp_path / "data"
    n = len(list(events()))
    first = dropoff("import", file, "--data", data, "--json")
    assert (first.code, first.json) == (
        0, {"read": n, "accepted": n, "duplicates": 0, "rejected": 0, "reasons": {}},
    )  # fmt: skip
    before = dropoff("funnel", "--data", data, "--json").json
    second = dropoff("import", file, file, "--data", data, "--json").json
    assert second == {"read": 2 * n, "accepted": 0, "duplicates": 2 * n, "rejected": 0, "reasons": {}}
    after = dropoff("funnel", "--data", data, "--json").json
    assert {**before, "as_of": 0} == {**after, "as_of": 0}


@pytest.mark.parametrize("form", ["csv", "json"])
def test_rows_with_numbers_for_ids_are_imported_once(tmp_path, form):
    blocks = {
        language: (Path(__file__).parents[1] / "docs/import.md")
        .read_text()
        .split(f"```{language}\n")[2]
        .split("```")[0]
        for language in ("csv", "toml")
    }
    rows, mapping, data = tmp_path / f"rows.{form}", tmp_path / "map.toml", tmp_path / "data"
    records = [{**row, "id": int(row["id"])} for row in csv.DictReader(io.StringIO(blocks["csv"]))]
    rows.write_text(blocks["csv"] if form == "csv" else json.dumps(records))
    mapping.write_text(blocks["toml"])
    counts = [dropoff("import", rows, "--map", mapping, "--data", data, "--json").json for _ in "12"]
    assert [(each["accepted"], each["duplicates"]) for each in counts] == [(5, 0), (0, 5)]


def test_import_keeps_the_good_and_names_the_bad(tmp_path, file):
    mixed, data = tmp_path / "mixed.ndjson", tmp_path / "data"
    mixed.write_bytes(BAD + file.read_bytes())
    answer = dropoff("import", mixed, "--data", data)
    assert answer.code == 1
    for line in (1, 2, 3):
        assert f"{mixed}:{line}: " in answer.err
    assert re.search(r"accepted +9\b", answer.out)
    assert re.search(r"rejected +3\b", answer.out)
    assert not CONTROL.search(answer.err)
    found = dropoff("rejected", "list", "--data", data, "--json").json
    assert found["total"] == 3
    assert sum(found["reasons"].values()) == 3


def test_import_through_a_server_counts_the_same(data, server, file):
    n = len(list(events()))
    answer = dropoff("import", file, "--data", data, "--json").json
    assert answer == {"read": n, "accepted": 0, "duplicates": n, "rejected": 0, "reasons": {}}


def test_refused_events_that_pass_now_are_taken(data, server):
    kept = dropoff("rejected", "list", "--data", data, "--json").json["total"]
    answer = dropoff("rejected", "replay", "--data", data, "--json").json
    assert (answer["accepted"], answer["kept"]) == (0, kept)
    assert dropoff("rejected", "list", "--data", data, "--json").json["total"] == kept
    assert dropoff("rejected", "replay", "--data", data).code == 0


def test_a_replay_takes_what_was_too_early(tmp_path, monkeypatch):
    data, early = tmp_path / "data", tmp_path / "early.ndjson"
    soon = int(time.time() * 1000) + 86_400_000 + 60_000
    early.write_text(json.dumps({"event_type": "qualified", "conversation_id": "c", "timestamp": soon}))
    assert dropoff("import", early, "--data", data, "--json").json["rejected"] == 1
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 120 * 10**9)
    answer = dropoff("rejected", "replay", "--data", data, "--json").json
    assert (answer["accepted"], answer["kept"]) == (1, 0)
    assert dropoff("rejected", "list", "--data", data, "--json").json["total"] == 0


def test_what_could_not_be_processed_is_listed_and_processed_once_more(tmp_path, file):
    data = ("--data", tmp_path / "data")
    assert dropoff("import", file, *data).code == 0
    with closing(SqliteQueue(tmp_path / "data/queue.db")) as queue:
        queue.dead_letter(payload([event("escalated", 1, "late")]), f"an error {NASTY}")
        queue.dead_letter(b"no event\n", "another")
    answer = dropoff("dead", "list", *data)
    assert answer.code == 0
    assert not CONTROL.search(answer.out)
    assert "2 events that could not be processed" in answer.out
    found = dropoff("dead", "list", "--limit", "1", *data, "--json").json
    assert (found["total"], found["dead"][0]["reason"], found["dead"][0]["body"]) == (2, "another", "no event\n")
    assert dropoff("dead", "replay", *data, "--json").json == {"replayed": 2}
    assert [one["body"] for one in dropoff("dead", "list", *data, "--json").json["dead"]] == ["no event\n"]
    assert dropoff("conversations", "show", "late", *data, "--json").json["event_count"] == 1
    assert "events replayed: 1" in dropoff("dead", "replay", *data).out


def test_a_report_replaces_only_the_file_that_was_named(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = ("report", "weekly", "--format", "md", "--from", "2024-01-15", "--to", "2024-01-22", "--data", data)
    first, again = dropoff(*report), dropoff(*report)
    name = "dropoff-weekly-2024-01-15.md"
    assert (first.code, first.err) == (0, f"{name}\n")
    assert (again.code, again.err) == (2, f"dropoff: {name} is there already: to replace it, name it by --output\n")
    (tmp_path / name).write_text("")
    assert dropoff(*report, "--output", name).code == 0
    assert (tmp_path / name).read_text()
    nowhere = dropoff(*report, "--output", "no/where.md")
    assert nowhere.code == 2
    assert "output == 'no/where.md', must be a file that can be written (No such file or directory)" in nowhere.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("funnel",), ("metrics",), ("conversations", "list"), ("conversations", "show", "x"), ("query", "SELECT 1"),
        ("rejected", "list"), ("rejected", "replay"), ("dead", "list"), ("keys", "list"), ("keys", "revoke", "x"),
        ("export", "--to", "exported"), ("copy", "--to", "copied"),
    ],
)  # fmt: skip
def test_what_reads_makes_no_data_directory(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    answer = dropoff(*arguments, "--data", "typo")
    assert answer.code == 2
    assert "dropoff: data == 'typo', must be a directory that exists" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_keys(tmp_path):
    data = ("--data", tmp_path / "data")
    secret = dropoff("keys", "create", "bot", *data).out.strip()
    assert re.fullmatch(r"dw_[0-9a-f]{32}", secret)
    assert dropoff("keys", "create", "boss", "--kind", "admin", *data).out.startswith("da_")
    listed = dropoff("keys", "list", "--json", *data)
    assert [(k["name"], k["kind"]) for k in listed.json["keys"]] == [("bot", "write"), ("boss", "admin")]
    assert secret not in listed.out
    assert "bot" in dropoff("keys", "list", *data).out
    assert dropoff("keys", "revoke", "bot", *data).code == 0
    with closing(SqliteControl(tmp_path / "data" / "control.db")) as control:
        assert [key.name for key in list_keys(control)] == ["boss"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("funnel", "--by", "shoe"), "by == 'shoe', must be one of channel, direction, medium"),
        (("funnel", "--where", "channel"), "where == 'channel', must be like 'channel=sms'"),
        (("funnel", "--where", "shoe=1"), "where == 'shoe', must be one of channel"),
        (("funnel", "--from", "yesterday"), "from == 'yesterday', must be a date like '2024-01-31' or an instant"),
        (("funnel", "--from", "2024-02-01", "--to", "2024-01-01"),
         "to == '2024-01-01', must be later than from (2024-02-01)"),
        (("funnel", "--timezone", "Mars/Base"), "timezone == 'Mars/Base', must be an IANA zone like 'Europe/Berlin'"),
        (("funnel", "--name", "salse"), "name == 'salse', must be one of sales, mission"),
        (("metrics", "salse"), "metric == 'salse', must be one of conversations_started"),
        (("metrics", "salse", "--definitions"), "metric == 'salse', must be one of conversations_started"),
        (("trend", "leads", "--interval", "year"), "interval == 'year', must be one of hour, day, week, month"),
        (("trend", "leads", "--interval", "hour", "--from", "2020-01-01", "--to", "2024-01-01"),
         "interval == 'hour', must be one that gives at most 2000 points, not 35064"),
        (("dropoffs", "--threshold", "7"), "threshold == '7.0', must be a number from 0 to 1"),
        (("conversations", "list", "--stage", "won"), "stage == 'won', must be one of started, responded"),
        (("conversations", "list", "--after", "x"), "after == 'x', must be the 'next' of the page before"),
        (("conversations", "show", "nobody"), "there is no conversation 'nobody'"),
        (("keys", "create", "x", "--kind", "god"), "kind == 'god', must be write or admin"),
        (("keys", "create", ""), "name == '', must be a text of 1 to 64 characters"),
        (("keys", "revoke", "nobody"), "there is no key named 'nobody'"),
        (("import", "missing.ndjson"), "file == 'missing.ndjson', must be a file that can be read (No such file"),
        (("import", "events.xlsx"), "events.xlsx"),
        (("serve", "--host", "0.0.0.0"), "host == '0.0.0.0', must be a loopback address while no key is configured"),
        (("serve", "--port", "70000"), "port == 70000, must be"),
        (("demo", "--end", "2199-01-01"), "end == '2199-01-01', must be a day that has begun"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("served", [False, True])
def test_what_is_wrong_is_said_in_one_line(data, tmp_path, request, arguments, message, served):
    if served:
        request.getfixturevalue("server")
    where = data if served and arguments[0] not in ("serve", "demo", "keys") else tmp_path / "data"
    where.mkdir(exist_ok=True)
    answer = dropoff(*arguments, "--data", where)
    assert answer.code == 2
    assert answer.err.startswith("dropoff: ")
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""


@pytest.mark.parametrize(
    "arguments", [("nope",), ("funnel", "--nope"), ("import",), ("conversations", "list", "--limit", "0")]
)
def test_bad_usage_ends_with_two(arguments):
    answer = dropoff(*arguments)
    assert answer.code == 2
    assert "Usage:" in answer.err


def test_a_setting_that_does_not_exist_is_named(tmp_path):
    (tmp_path / "dropoff.toml").write_text('tiemzone = "UTC"\n')
    answer = dropoff("funnel", "--data", tmp_path / "data", env={"DROPOFF_CONFIG": str(tmp_path / "dropoff.toml")})
    config = tmp_path / "dropoff.toml"
    said = f"dropoff: unknown setting 'tiemzone' in {config}:1: did you mean timezone?\n"
    assert (answer.code, answer.err) == (2, said)
    (tmp_path / "dropoff.toml").write_text('timezone = "Mars/Base"\n')
    answer = dropoff("funnel", "--data", tmp_path / "data", env={"DROPOFF_CONFIG": str(tmp_path / "dropoff.toml")})
    assert f"{config}:1: timezone == 'Mars/Base', must be an IANA zone" in answer.err
    (tmp_path / "dropoff.toml").write_text("timezone = \n")
    answer = dropoff("funnel", "--data", tmp_path / "data", env={"DROPOFF_CONFIG": str(tmp_path / "dropoff.toml")})
    assert (answer.code, answer.err) == (2, f"dropoff: {config} is no TOML: Invalid value (at line 1, column 12)\n")


def test_metrics_of_ones_own_and_rules_for_test_traffic(tmp_path, file):
    """Both from `dropoff.toml`; a changed rule holds for what came before it."""
    config, data = tmp_path / "dropoff.toml", tmp_path / "data"
    own = '[metrics.texts]\ndescription = "x"\nunit = "count"\nnumerator = { event = "message_received" }\n'

    def ask(*arguments):
        answer = dropoff(*arguments, "--data", data, env={"DROPOFF_CONFIG": str(config)})
        assert answer.code == 0, answer.err
        return answer

    config.write_text(own)
    ask("import", file)
    assert ask("metrics", "texts", "--json").json["metrics"][0]["value"] == 3
    assert "texts" in ask("metrics", "--definitions").out
    config.write_text('test_channels = ["SMS"]\n' + own)
    found = ask("metrics", "texts", "conversations_started", "--json").json
    assert [row["value"] for row in found["metrics"]] == [1, 1]
    assert found["test_conversations"] == 2
    assert ask("funnel", "--json").json["stages"][0]["count"] == 1
    assert ask("conversations", "list", "--json").json["total"] == 1
    assert ask("metrics", "texts", "--include-test", "--json").json["metrics"][0]["value"] == 3
    assert ask("trend", "texts", "--include-test", "--json").json["total"][0]["value"] == 3
    assert "2 test conversations" in ask("metrics", "texts").out
    config.write_text("")
    assert ask("funnel", "--json").json["stages"][0]["count"] == 3


def test_a_port_that_is_taken(tmp_path, server):
    port = server.rpartition(":")[2]
    answer = dropoff("serve", "--port", port, "--data", tmp_path / "data")
    assert answer.code == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use (--port 0 takes a free one)" in answer.err


def test_data_that_another_process_holds(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(data / "store.duckdb")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        answer = dropoff("funnel", "--data", data)
        assert holder.stdin is not None
        holder.stdin.close()
    assert answer.code == 1
    assert re.fullmatch(r"dropoff: .*store\.duckdb is held by another process.*\n", answer.err)


def test_data_of_a_newer_dropoff(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    assert dropoff("funnel", "--data", data).code == 0
    with closing(duckdb.connect(str(data / "store.duckdb"))) as store:
        store.execute("INSERT INTO schema_version VALUES (99, current_timestamp::TIMESTAMP)")
    answer = dropoff("funnel", "--data", data)
    assert answer.code == 1
    assert "the data has schema 99, this Dropoff knows" in answer.err


def test_the_file_of_a_killed_server_is_not_believed(tmp_path, server):
    """Its address may be another server's by now."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "server.json").write_text(json.dumps({"url": server, "pid": 1, "token": "0" * 32}))
    assert dropoff("funnel", "--data", data, "--json").json["stages"][0]["count"] == 0
    for text in ("", "{}", "[1]", '{"url": "http://127.0.0.1:1", "token": "x"}', '{"url": 7, "token": 7}'):
        (data / "server.json").write_text(text)
        assert dropoff("funnel", "--data", data, "--json").json["stages"][0]["count"] == 0, text


def commands(group, name=()):
    """Every command with its words."""
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*name, word))
        else:
            yield (*name, word), command


COMMANDS = list(commands(typer.main.get_command(cli.app)))


@pytest.mark.parametrize(("name", "command"), [pytest.param(*one, id="-".join(one[0])) for one in COMMANDS])
def test_help_names_every_option(name, command):
    answer = dropoff(*name, "--help")
    assert answer.code == 0
    for parameter in command.params:
        for text in (*parameter.opts, *parameter.secondary_opts) if parameter.param_type_name == "option" else ():
            assert text in answer.out
        if parameter.name != "help":
            assert parameter.help, parameter.name
    assert command.help


@pytest.mark.parametrize(
    ("words", "default"),
    [(("metrics",), "30 days with data"), (("experiments", "show"), "all time"), (("cohorts",), "12 whole weeks")],
)
def test_help_says_which_days_are_meant_where_none_are_given(words, default):
    assert default in " ".join(dropoff(*words, "--help").out.replace("│", " ").split())


def test_every_analysis_takes_the_same_options():
    found = {
        " ".join(name): {o for p in c.params for o in p.opts} for name, c in commands(typer.main.get_command(cli.app))
    }
    common = {"--from", "--to", "--timezone", "--where", "--include-test", "--data", "--json"}
    for name in ("funnel", "dropoffs", "conversations list", "metrics", "trend"):
        assert common <= found[name], name
    for name in ("funnel", "dropoffs", "conversations list"):
        assert "--name" in found[name], name


def test_the_program_itself(tmp_path):
    """Once through the real entry point: exit codes, and nothing but JSON on stdout."""
    (tmp_path / "data").mkdir()
    run = subprocess.run(
        [*COMMAND, "funnel", "--json", "--data", str(tmp_path / "data")], capture_output=True, check=True
    )
    assert json.loads(run.stdout)["stages"][0]["count"] == 0
    assert run.stderr == b""
    wrong = subprocess.run([*COMMAND, "funnel", "--by", "x", "--data", str(tmp_path / "data")], capture_output=True)
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    assert wrong.stderr.startswith(b"dropoff: by == 'x'")
