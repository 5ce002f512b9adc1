"""Labels for bots that send none: who labels what, whose label stands, and that nothing else moves."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dropoff.cli import app
from dropoff.errors import InvalidInput
from dropoff.jobs.enrich import FIRST_REVISION, enrich
from dropoff.project.labelling import Label, LabelRules, Rules, ask, load
from dropoff.project.settings import load as load_settings
from dropoff.server.connect import Local
from dropoff.server.engine import Engine
from worlds import EMBEDDED, Dict, event, in_memory, minute, outcome, received, retracted, sent, started

WORDS = LabelRules.model_validate(
    {
        "intents": {"price": ["how much", "price"], "refusal": ["not interested"], "interest": ["interested"]},
        "sentiment": {"positive": ["great", "interested"], "negative": ["not interested", "annoying"]},
    }
)
TALK = [
    started(0), sent("Hi", 1), received("How much is it?", 2, message_id="m1"),
    received("Great!", 3, event_id="e2"), received("Hm", 4, message_id="m3"),
    received("the price is annoying", 5, message_id="m4", intent="bot_knows"),
]  # fmt: skip


@contextmanager
def world(place: Path, engine: str) -> Iterator[Local]:
    store = "embedded" if engine == EMBEDDED else in_memory().at(place)
    with Engine(load_settings(data=place / "data", store=store)) as running:
        local = Local(running)
        yield local


def send(local: Local, *events: Dict) -> None:
    local.send("\n".join(map(json.dumps, events)).encode(), "test")
    local._engine.drain()


def labels(local: Local) -> dict[str, tuple]:
    rows = local.query("SELECT id, intent, sentiment, label_source FROM messages WHERE sender = 'prospect'")["rows"]
    return {row[0]: tuple(row[1:]) for row in rows}


def test_enriching_labels_what_has_none_once(tmp_path, engine):
    rules = Rules(WORDS)
    with world(tmp_path, engine) as local:
        send(local, *TALK, {**received("how much", 6, message_id="m6", conversation_id=None), "contact_id": "p"})
        before = labels(local)
        dry = enrich(local, rules, dry_run=True)
        assert labels(local) == before
        done = enrich(local, rules)
        local._engine.drain()
        counts = {"messages": 4, "labelled": 3, "replaced": 0, "unchanged": 0, "left": 0, "unknown": 1, "refused": 0}
        assert done == {"labeller": rules.source, "dry_run": False, **counts, "intents": {"price": 2}}
        assert dry == done | {"dry_run": True}
        found = labels(local)
        assert found == {
            "m1": ("price", None, rules.source), "e2": (None, 1.0, rules.source), "m3": (None, None, None),
            "m4": ("bot_knows", None, None),
        }  # fmt: skip
        events = local.query("SELECT count(*) AS n FROM events_all")["rows"]
        again = enrich(local, rules)
        local._engine.drain()
        assert again == done | {"labelled": 0, "unchanged": 3, "intents": {}}
        assert (labels(local), local.query("SELECT count(*) AS n FROM events_all")["rows"]) == (found, events)


def test_another_version_takes_the_place_of_the_one_before_and_takes_back_what_it_does_not_say(tmp_path, engine):
    other = Rules(WORDS.model_copy(update={"intents": {"cost": ["how much"]}, "sentiment": LabelRules().sentiment}))
    with world(tmp_path, engine) as local:
        send(local, *TALK)
        enrich(local, Rules(WORDS))
        local._engine.drain()
        done = enrich(local, other)
        local._engine.drain()
        assert (done["labelled"], done["replaced"]) == (0, 2)
        assert labels(local)["m1"] == ("cost", None, other.source)
        assert labels(local)["e2"] == (None, None, None)
        assert enrich(local, other)["unchanged"] == 2
        # somebody else's label is not ours to replace, and that of the bot comes before any
        send(local, event("message_labelled", 2, message_id="m1", intent="theirs"))
        assert labels(local)["m1"] == ("theirs", None, None)
        assert enrich(local, Rules(WORDS), minute(2), minute(3)) | {"intents": {}} == {
            "labeller": Rules(WORDS).source, "dry_run": False, "messages": 1, "labelled": 0, "replaced": 0,
            "unchanged": 0, "left": 1, "unknown": 0, "refused": 0, "intents": {},
        }  # fmt: skip
        send(local, received("How much is it?", 2, message_id="m1", intent="own", revision=1))
        assert labels(local)["m1"] == ("own", None, None)


LATER = [
    received("x", 2, message_id="m1"),
    received("x", 2, message_id="m1", sentiment=-0.5, revision=1),
    event("message_labelled", 2, message_id="m1", intent="a", label_source="l@1", revision=FIRST_REVISION),
    event("message_labelled", 2, message_id="m1", intent="b", label_source="l@2", revision=FIRST_REVISION + 1),
]


@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
@given(order=st.permutations(LATER))
def test_the_label_of_the_bot_stands_in_any_order(order):
    for engine in (EMBEDDED, "chdb"):
        (message,) = outcome([[one] for one in order], apart=True, engine=engine)["messages"]
        assert (message["intent"], message["sentiment"], message["label_source"]) == (None, -0.5, None)
        (message,) = outcome([[one] for one in order if one is not LATER[1]], apart=True, engine=engine)["messages"]
        assert (message["intent"], message["label_source"]) == ("b", "l@2")


def test_a_label_moves_nothing_else(engine):
    label = event("message_labelled", 9, message_id="m1", intent="interested", channel="fax", contact_id="p9")
    plain = outcome([TALK], engine=engine)["conversations"][0]
    (row,) = outcome([TALK, [label]], engine=engine)["conversations"]
    assert {name for name in row if row[name] != plain[name]} == {"intents_detected", "path"}
    assert outcome([[label]], engine=engine)["conversations"] == []
    gone = [started(0, event_id="e"), label, retracted("e", at=10)]
    assert [c for c in outcome([gone], engine=engine)["conversations"] if c["event_count"]] == []


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("HOW   much?", Label("price")),
        ("Priceless, overpriced", Label()),
        ("I am not interested", Label("refusal", None, -1.0)),
        ("interested, but annoying", Label("interest", None, 0.0)),
        ("great great annoying", Label(None, None, 1 / 3)),
        (".*(a+)+$ {0} \x00", Label()),
        ("", Label()),
    ],
)
def test_rules_find_whole_words_and_the_longest_phrase(text, label):
    assert Rules(WORDS).label([text]) == [label]


def test_rules_are_another_version_when_they_change():
    assert Rules(WORDS).source == Rules(WORDS.model_copy()).source
    assert Rules(WORDS).source != Rules(LabelRules.model_validate({"intents": {"price": ["how much"]}})).source


@pytest.mark.parametrize(
    ("toml", "names"),
    [
        ("[labels.intents]\nprice = ['?!']", ("labels.intents.price", "?!")),
        ("[labels.sentiment]\npositive = ['']", ("labels.sentiment.positive", "''")),
        ("[labels.sentiment]\nneutral = ['ok']", ("neutral", "labels.sentiment: known are positive, negative")),
        ("[labels.intents]\nprice = 'how much'", ("labels.intents.price", "how much")),
    ],
)
def test_rules_that_cannot_be_are_refused(tmp_path, monkeypatch, toml, names):
    (tmp_path / "dropoff.toml").write_text(toml)
    monkeypatch.setenv("DROPOFF_CONFIG", str(tmp_path / "dropoff.toml"))
    with pytest.raises(InvalidInput) as refused:
        load_settings()
    assert all(name in str(refused.value) for name in names)


class Polite:
    source = "polite@1"

    def label(self, texts):
        return [("thanks", 0.5, 2.0) if "please" in text else (None, None, None) for text in texts]


def test_a_labeller_of_ones_own_is_loaded_and_its_labels_are_checked():
    found = load("test_enrich:Polite", LabelRules())
    assert ask(found, ["no"]) == [Label()]
    with pytest.raises(InvalidInput, match="sentiments from -1 to 1"):
        ask(found, ["please"])


@pytest.mark.parametrize("answer", [None, [None], ["four"], [("yes", 0.5, 0.5, "more")], []])
def test_an_answer_that_holds_no_labels_is_refused(monkeypatch, answer):
    monkeypatch.setattr(Polite, "label", lambda *_: answer)
    with pytest.raises(InvalidInput, match="labeller == '"):
        ask(load("test_enrich:Polite", LabelRules()), ["please"])


@pytest.mark.parametrize("name", ["nonsense", "rules", "no_such_module:x", "test_enrich:nothing", "json:JSONDecoder"])
def test_unknown_labellers_are_refused(name):
    with pytest.raises(InvalidInput):
        load(name, LabelRules())


def test_vader_feels_english_and_nothing_else():
    pytest.importorskip("vaderSentiment")
    vader = load("vader", LabelRules())
    assert vader.source == "vader@3.3.2"
    good, bad, foreign = ask(vader, ["This is great, thanks!", "That is a terrible idea.", "Guten Tag"])
    assert good.sentiment is not None
    assert bad.sentiment is not None
    assert bad.sentiment < -0.3 < 0.3 < good.sentiment
    assert foreign == Label()


def test_the_command_labels_and_says_so(tmp_path, monkeypatch):
    (tmp_path / "dropoff.toml").write_text("[labels.intents]\nprice = ['how much']")
    monkeypatch.setenv("DROPOFF_CONFIG", str(tmp_path / "dropoff.toml"))
    (tmp_path / "events.ndjson").write_text("\n".join(map(json.dumps, TALK)))
    data = ["--data", str(tmp_path / "data")]

    def run(*words: str) -> str:
        found = CliRunner().invoke(app, [*words, *data], catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.stdout

    run("import", str(tmp_path / "events.ndjson"))
    assert "a dry run" in run("enrich", "--dry-run")
    assert json.loads(run("enrich", "--json", "--from", "2024-01-15"))["labelled"] == 1
    assert json.loads(run("enrich", "--json"))["unchanged"] == 1
    with pytest.raises(InvalidInput, match="module:attribute"):
        CliRunner().invoke(app, ["enrich", "--labeller", "magic", *data], catch_exceptions=False)
