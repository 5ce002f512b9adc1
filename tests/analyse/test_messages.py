"""Messages: what followed each, which are one, and what is claimed of them."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.analyse.analytics import Analytics
from dropoff.analyse.maturity import DAY, NEVER, Maturity
from dropoff.analyse.messages.followed import TOGETHER, Sent, follow
from dropoff.analyse.messages.ranks import judge, q_values_of
from dropoff.analyse.messages.table import MEASURES, named, table
from dropoff.analyse.messages.wordings import SLOT, VALUES
from dropoff.analyse.messages.wordings import messages as messages_of
from dropoff.analyse.shrink import FROM, shrink, shrink_shares
from dropoff.demo import DEFAULT_END, generate
from dropoff.demo.planted import DROP_OFF, VARIANTS
from dropoff.errors import InvalidInput
from dropoff.periods import to_micros
from dropoff.project.settings import load
from dropoff.project.wording import RULES, WordingRule, rules
from worlds import booked, objected, opted_out, received, retracted, sent, started, status
from worlds import given as arrived

# -- what followed, of a plain reading

_INSTANT = st.integers(0, 8).map(lambda at: at * TOGETHER // 2)
_SAID = st.fixed_dictionaries({
    "sender": st.sampled_from(["bot", "bot", "prospect", "prospect", "agent"]), "at": _INSTANT,
    "objects": st.booleans(), "sentiment": st.sampled_from([None, -0.5, 0.0, 0.25]),
})  # fmt: skip
_TALK = st.fixed_dictionaries({
    "said": st.lists(_SAID, max_size=9), "objected": st.lists(_INSTANT, max_size=2), "left": st.none() | _INSTANT,
})  # fmt: skip


def frames(talks):
    said, raised, units = [], [], []
    for unit, talk in enumerate(talks):
        for position, one in enumerate(sorted(talk["said"], key=lambda one: one["at"]), 1):
            is_bot, is_prospect = one["sender"] == "bot", one["sender"] == "prospect"
            said.append((
                unit, one["at"], position, is_bot, is_prospect, is_prospect and one["objects"],
                one["sentiment"] if is_prospect else None, None, "first" if is_bot else None, "x" if is_bot else None,
            ))  # fmt: skip
        raised += [(unit, at) for at in talk["objected"]]
        units.append((unit, f"c{unit}", f"p{unit}", None, None, None, talk["left"]))
    whole = pl.Int64
    return (
        pl.DataFrame(units, orient="row", schema={
            "unit": whole, "id": pl.String, "cluster": pl.String, "first_variant": pl.String, "booked_at": whole,
            "converted_at": whole, "opted_out_at": whole,
        }),
        pl.DataFrame(said, orient="row", schema={
            "unit": whole, "at": whole, "position": whole, "bot": pl.Boolean, "prospect": pl.Boolean,
            "objects": pl.Boolean, "sentiment": pl.Float64, "intent": pl.String, "variant": pl.String,
            "text": pl.String,
        }),
        pl.DataFrame(raised, orient="row", schema={"unit": whole, "at": whole}),
    )  # fmt: skip


def read_plainly(unit, talk):
    """What followed each of the bot's messages of one conversation."""
    said = sorted(talk["said"], key=lambda one: one["at"])
    found, number = [], 0
    for i, one in enumerate(said):
        if one["sender"] != "bot":
            continue
        number += 1
        rest = said[i + 1 :]
        last = one
        while rest and rest[0]["sender"] != "prospect" and rest[0]["at"] - last["at"] <= TOGETHER:
            last, rest = rest[0], rest[1:]  # sent in one go
        reply = rest[0] if rest and rest[0]["sender"] == "prospect" else None
        turn = []
        for other in rest:
            if other["sender"] != "prospect":
                break
            turn.append(other)
        answer = rest[len(turn)]["at"] if len(turn) < len(rest) else NEVER
        raised = bool(turn) and (
            any(other["objects"] for other in turn)
            # An event at the instant of a message follows it.
            or any(turn[0]["at"] <= at < answer for at in talk["objected"])
        )
        before = next((other for other in reversed(said[:i]) if other["sender"] == "prospect"), None)
        scores = [one["sentiment"] for one in (before, reply) if one is not None and one["sentiment"] is not None]
        own, until = said[i], NEVER
        for other in said[i + 1 :]:
            if other["sender"] != "prospect" and not (
                own["sender"] != "prospect" and other["at"] - own["at"] <= TOGETHER
            ):
                until = other["at"]
                break
            own = other
        left = talk["left"] if talk["left"] is not None and one["at"] <= talk["left"] < until else None
        found.append({
            "id": f"c{unit}", "position": number, "at": one["at"], "replied_at": reply and reply["at"],
            "objected": raised, "change": scores[1] - scores[0] if len(scores) == 2 else None, "opted_out_at": left,
        })  # fmt: skip
    return found


@settings(max_examples=150)
@given(st.lists(_TALK, min_size=1, max_size=3))
def test_what_followed_is_what_reading_each_conversation_says(talks):
    plain = [row for unit, talk in enumerate(talks) for row in read_plainly(unit, talk)]
    found = follow(*frames(talks)).rows
    names = ["id", "position", "at", "replied_at", "objected", "change", "opted_out_at"]
    assert found.select(names).sort("id", "position").rows(named=True) == plain


# -- which texts are one message


def merged(*texts, own=RULES):
    found = messages_of(pl.DataFrame({"text": texts, "n": [1] * len(texts)}), own)
    return dict(found.rows())


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ("Hi Anna, ready?", "Hi Bob,  ready?", "Hi <name>, ready?"),
        ("Dear Ms. Ana O’Neil-Ruiz, hello", "Dear Zoë, hello", "Dear <name>, hello"),
        ("See https://a.example/x?y=1.", "See www.b.example.", "See <link>."),
        ("Write to a.b@c.example!", "Write to x@y.co.uk!", "Write to <email>!"),
        ("It is $1,250.50 a year", "It is 99 EUR a year", "It is <money> a year"),
        ("On March 3rd at 10:30", "On 2024-05-01 at 9 pm", "On <date> at <time>"),
        ("Call +49 30 1234567", "Call (030) 123 4567", "Call <phone>"),
        ("We have 12 plans", "We have 1,200 plans", "We have <number> plans"),
    ],
)
def test_texts_that_differ_in_what_is_filled_in_are_one_message(one, other, message):
    assert merged(one, other) == {one: message, other: message}


@pytest.mark.parametrize(
    ("one", "other"),
    [("Hi there, ready?", "Hey there, ready?"), ("May I ask?", "Will you ask?"), ("Hi {name}!", "Hi Anna!")],
)
def test_other_texts_stay_two(one, other):
    assert len(set(merged(one, other).values())) == 2


def test_a_place_with_many_values_is_a_slot():
    who = ["Acme", "Hollis & Reed", "Nordlicht", "Quay Labs", "Zeta"]
    texts = [f"Which part hurts most at {name}?" for name in who] + [
        f"{name}, shall I call {n}?" for n in "AB" for name in who
    ]
    found = merged(*texts)
    assert set(found.values()) == {
        f"Which part hurts most at {SLOT}?",
        f"{SLOT}, shall I call A?",
        f"{SLOT}, shall I call B?",
    }
    assert merged(*reversed(texts)) == found
    few = texts[: VALUES - 1]
    assert merged(*few) == {text: text for text in few}


def test_rules_of_ones_own_take_the_place_of_others(tmp_path, monkeypatch):
    (tmp_path / "dropoff.toml").write_text("""
[wording.order]
pattern = '#\\w+'
replace = '<order>'
[wording.number]
pattern = ''
""")
    monkeypatch.setenv("DROPOFF_CONFIG", str(tmp_path / "dropoff.toml"))
    own = rules(load().wording)
    assert [rule.name for rule in own] == ["order", *(rule.name for rule in RULES if rule.name != "number")]
    assert merged("#A1 has 3 parts", own=own) == {"#A1 has 3 parts": "<order> has 3 parts"}


def test_a_pattern_that_cannot_be_read_is_refused_by_its_key():
    with pytest.raises(InvalidInput, match=r"wording\.order\.pattern"):
        load(wording={"order": {"pattern": "(", "replace": ""}})
    assert rules({"link": WordingRule(pattern="")}) == RULES[1:]


# -- drawn towards their mean

HITS = [18, 17, 16, 15, 14, 14, 13, 12, 11, 11, 10, 10, 10, 10, 10, 9, 8, 7]
"""Of 45 times at bat each, the first of 1970: the 18 players of Efron & Morris (1975)."""


def test_equal_variances_are_the_estimator_of_james_and_stein():
    """Efron & Morris (1977) draw them by 1 - 0.212 of the way to 0.265: the best from 0.400 to 0.294."""
    values = [hits / 45 for hits in HITS]
    mean = sum(values) / 18
    found = shrink(values, [mean * (1 - mean) / 45] * 18)
    assert found.mean == pytest.approx(0.265, abs=0.001)
    assert {round(one.weight, 3) for one in found.estimates} == {0.788}
    assert found.estimates[0].value == pytest.approx(0.294, abs=0.001)
    assert found.estimates[0].interval[1] - found.estimates[0].interval[0] < 2 * 1.96 * (mean * (1 - mean) / 45) ** 0.5


def test_few_are_not_drawn_and_equal_ones_are_drawn_most():
    alone = shrink_shares([(50, 100), (30, 100)])
    assert [one.weight for one in alone.estimates] == [0, 0]
    equal = shrink_shares([(50, 100)] * FROM)
    assert [one.weight for one in equal.estimates] == [pytest.approx(1 / 3)] * FROM
    low, high = equal.estimates[0].interval
    assert 0.4 < low < 0.5 < high < 0.6


@pytest.mark.parametrize("runs", [pytest.param(120, id="some"), pytest.param(3000, id="all", marks=pytest.mark.long)])
@pytest.mark.parametrize(("mean", "spread"), [(0.4, 0.0), (0.4, 0.05), (0.1, 0.03), (0.02, 0.01)])
def test_the_intervals_hold(runs, mean, spread):
    """Of 12 messages with 30 to 3,000 each, whose rates vary or do not: about 95 % of the intervals have the rate."""
    random, inside, closer = np.random.default_rng(7), 0, 0.0
    for _ in range(runs):
        sizes = random.integers(30, 3000, 12)
        truth = np.clip(random.normal(mean, spread, 12), 0.001, 0.999)
        hits = random.binomial(sizes, truth)
        found = shrink_shares(list(zip(hits.tolist(), sizes.tolist(), strict=True))).estimates
        inside += sum(one.interval[0] <= rate <= one.interval[1] for one, rate in zip(found, truth, strict=True))
        drawn = np.array([one.value for one in found])
        closer += float(((hits / sizes - truth) ** 2).sum() - ((drawn - truth) ** 2).sum())
    error = (0.95 * 0.05 / (12 * runs)) ** 0.5
    # Where nothing varies they are wider than need be: that nothing does is not known.
    assert 0.935 - 3 * error <= inside / (12 * runs) <= (0.97 if spread else 1)
    assert closer > 0


# -- what is claimed

NOW = to_micros(datetime(2024, 3, 1, tzinfo=UTC))
WAITS = {name: Maturity(DAY, "configured") for name in MEASURES}


def world(random, rates, contacts=None):
    """Messages at positions from 2 on, four at each; each answered by the chance of its number."""
    n = len(rates) * 60
    which = np.repeat(np.arange(len(rates)), 60)
    replied = random.random(n) < np.asarray(rates)[which]
    cluster = random.integers(0, contacts, n) if contacts else np.arange(n)
    at = NOW - 10 * DAY
    return Sent(
        pl.DataFrame({
            "id": [f"c{i}" for i in range(n)], "cluster": cluster, "position": which // 4 + 2, "at": at,
            "replied_at": pl.Series([at + 1 if one else None for one in replied], dtype=pl.Int64),
            "text": which, "objected": False, "change": None, "opted_out_at": None, "booked_at": None,
            "converted_at": None, "variant": None, "intent": None,
        }).cast({"change": pl.Float64, "variant": pl.String, "intent": pl.String, "opted_out_at": pl.Int64,
                 "booked_at": pl.Int64, "converted_at": pl.Int64, "position": pl.Int64}),
        pl.Series([f"text {chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(len(rates))]),
    )  # fmt: skip


def verdicts(sent):
    found = table(named(sent, RULES), WAITS, "reply_rate", NOW)
    judged = judge(found, MEASURES["reply_rate"])
    q = q_values_of(judged)
    return {found.names[row.code]: one for row, one in judged.items()}, {found.names[r.code]: v for r, v in q.items()}


@pytest.mark.parametrize("runs", [pytest.param(40, id="some"), pytest.param(600, id="all", marks=pytest.mark.long)])
@pytest.mark.parametrize("contacts", [None, 600])
def test_equal_messages_are_hardly_ever_told_apart(runs, contacts):
    """Twelve at three places, all answered alike: at least one is called different in at most 5 % of worlds."""
    random = np.random.default_rng(11)
    wrong = sum(any(q < 0.05 for q in verdicts(world(random, [0.3] * 12, contacts))[1].values()) for _ in range(runs))
    assert wrong / runs <= 0.06 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_the_better_one_is_found_and_ranked_first():
    judged, q = verdicts(world(np.random.default_rng(3), [0.3] * 5 + [0.7] + [0.3] * 6))
    best = max(judged, key=lambda name: judged[name].bound("up")[0])
    assert best == "text af"
    assert q[best] < 0.001
    assert 0 < judged[best].estimate.weight < 0.5


# -- from events, on both stores


def ask(analytics, **asked):
    return analytics.messages({name: [str(text)] for name, text in asked.items()})


EVER = {"from": "2024-01-01", "to": "2024-02-01"}


def talk(i, reply=None, text="Hi Anna, ready?", **fields):
    """A conversation of the minute `i`, with what was answered and when."""
    key = {"conversation_id": f"c{i}", "contact_id": f"p{i}", "channel": "sms"}
    found = [started(i, **key), sent(text, at=i + 0.1, message_id=f"m{i}", **key, **fields)]
    return found + ([received("Yes", at=i + 1, **key, **reply)] if reply is not None else [])


def test_messages_are_counted_as_they_are_defined(asked):
    events = [
        *talk(0, {"sentiment": 0.5}), *talk(10, {"intent": "objection_price"}, "Hi Bob, ready?"), *talk(20),
        *talk(30, {"auto_reply": True}), *talk(40), opted_out(41, conversation_id="c40"),
        *talk(50), status("m50", "bounced", at=50.5, conversation_id="c50"),
        *talk(60, {}), objected("price", 61.5, conversation_id="c60", event_id="o1"),
        retracted("o1", 70, conversation_id="c60"),
        *talk(70, {}), objected("price", 71.5, conversation_id="c70"), sent("Fine", at=72, conversation_id="c70"),
        *talk(80, {"sentiment": -0.5}), booked(85, conversation_id="c80"), sent("2", at=90, conversation_id="c80"),
        received("No", 91, conversation_id="c80", sentiment=0.25),
    ]  # fmt: skip
    answer = ask(asked(*events), **EVER)
    first = answer["messages"][0]
    assert (first["message"], first["position"], first["n"], first["variant"]) == ("Hi <name>, ready?", 1, 8, None)
    counts = {name: (first[name]["numerator"], first[name]["denominator"]) for name in MEASURES if first[name]}
    assert counts == {
        "reply_rate": (5, 8), "objection_rate": (2, 8), "opt_out_rate": (1, 8), "sentiment_change": (0, 0),
        "booking_rate": (1, 8),
    }  # fmt: skip
    assert first["conversion_rate"] is None
    assert first["reply_rate"]["matured"]["n"] == 8
    second = next(row for row in answer["messages"] if row["message"] == "<number>")
    assert second["sentiment_change"]["value"] == 0.75
    assert (second["booking_rate"]["denominator"], second["booking_rate"]["value"]) == (0, None)
    assert answer["best_performing"] == answer["worst_performing"] == []


def test_a_message_that_can_still_be_answered_is_no_miss(asked):
    events = [*talk(0, {}), *talk(10), *talk(30 * 1440), *talk(30 * 1440 + 1)]
    now = datetime(2024, 2, 14, 10, 5, tzinfo=UTC)
    row = ask(asked(*events, now=now), **EVER | {"to": "2024-03-01"})["messages"][0]
    assert (row["reply_rate"]["denominator"], row["reply_rate"]["value"]) == (4, 0.25)
    assert (row["reply_rate"]["matured"]["n"], row["reply_rate"]["matured"]["value"]) == (2, 0.5)


def test_first_messages_go_by_the_variant_of_the_conversation_too(asked):
    events = []
    for i in range(40):
        key = {"conversation_id": f"c{i}", "channel": "sms"}
        events += [started(i, variant="ab"[i % 2], **key), sent(f"Hello {i}", at=i + 0.1, intent=str(i % 3), **key)]
    answer = ask(asked(*events), **EVER)
    assert {(row["variant"], row["n"], row["intent"]) for row in answer["first_messages"]} == {
        ("a", 20, None),
        ("b", 20, None),
    }


def test_the_list_behind_a_message_has_its_conversations(asked):
    analytics = asked(*talk(0, {}), *talk(10, text="Hi Bob, ready?"), *talk(20, text="No"))
    listed = analytics.conversations({
        "from": ["2024-01-01"], "to": ["2024-02-01"], "message": ["Hi <name>, ready?"], "position": ["1"],
    })  # fmt: skip
    assert {row["id"] for row in listed["conversations"]} == {"c0", "c10"}
    assert listed["total"] == 2
    with pytest.raises(InvalidInput, match="position"):
        analytics.conversations({"message": ["Hi"]})
    for name, text in (("rank", "luck"), ("within", "day"), ("position", "0"), ("position", "9" * 5000)):
        with pytest.raises(InvalidInput, match=name):
            ask(analytics, **{name: text})


@pytest.fixture(scope="module")
def demo(tmp_path_factory, engine):
    events = generate(1500, 7, DEFAULT_END)
    store = arrived(*events, directory=tmp_path_factory.mktemp("demo"), engine=engine)
    yield Analytics(store, "America/New_York", lambda: DEFAULT_END + timedelta(days=1))
    store.close()


_SEEN: dict[str, str] = {}


def test_what_is_planted_in_the_demo_is_found(demo, engine):
    """The better first message, and the gentler question for the budget; the two texts of one step are alike."""
    period = {"from": "2026-01-20", "to": "2026-06-01"}
    first = ask(demo, **period, position=1)
    assert first["best_performing"][0]["message"] == VARIANTS.better
    assert first["worst_performing"][0]["message"] == VARIANTS.worse
    assert first["best_performing"][0]["verdict"] == "better"
    assert [row["message"] for row in first["first_messages"]] == [VARIANTS.better, VARIANTS.worse]
    whole = ask(demo, **period)
    different = [row for row in whole["messages"] if row["verdict"]]
    assert {row["intent"] for row in different} <= {None, DROP_OFF.intent}
    worst = whole["worst_performing"][0]
    assert (worst["intent"], worst["verdict"]) in ((DROP_OFF.intent, "worse"), (None, "worse"))
    _SEEN[engine] = json.dumps(rounded([first, whole]))
    assert len(set(_SEEN.values())) == 1, "both stores say the same"


def rounded(value):
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


@pytest.mark.parametrize("events", [[started()], [started(), received("Hi")], [started(), sent(None)]])
def test_where_nothing_was_said_there_is_nothing_to_say(asked, events):
    answer = ask(asked(*events), **EVER)
    assert (answer["messages"], answer["best_performing"], answer["total"]) == ([], [], 0)
