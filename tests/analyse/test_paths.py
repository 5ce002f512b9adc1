"""Paths of conversations: what a step is, where a path ends, and that all at once is the same as one by one."""

from itertools import groupby

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.analyse.patterns.paths import FAILED, FAILED_LATE, MORE_STEPS, STEPS, WON, of, parse, read, side, tokens
from dropoff.errors import InvalidInput
from pathways import units
from worlds import booked, disqualified, ended, event, fallback, lost, opted_out, received, sent, started, won

ALL = [
    "bot", "bot:pitch", "bot:ask_need", "agent", "agent:hello", "prospect", "prospect:yes", "prospect:objection_price",
    "objection:price", "objection:timing", "prospect:objection-timing", "fallback", "escalated",
]  # fmt: skip


def asking(steps=(), **more):
    return parse({**({"steps": [",".join(steps)]} if steps else {}), **{key: [text] for key, text in more.items()}})


@settings(max_examples=150)
@given(
    paths=st.lists(st.lists(st.sampled_from(ALL), max_size=8), min_size=1, max_size=6),
    steps=st.sets(st.sampled_from((*STEPS, *MORE_STEPS))),
    repeats=st.sampled_from(["kept", "merged"]),
    data=st.data(),
)
def test_all_at_once_is_the_same_as_one_by_one(paths, steps, repeats, data):
    asked = asking(sorted(steps), repeats=repeats)
    kept = [data.draw(st.one_of(st.none(), st.integers(0, len(path)))) for path in paths]
    rows = [
        (f"c{i:06}", position, data.draw(st.sampled_from(["negative", "neutral", "positive"])))
        for i, path in enumerate(paths)
        for position, step in enumerate((s for s in path if s.partition(":")[0] in ("bot", "agent", "prospect")), 1)
        if step.startswith("prospect") and data.draw(st.booleans())
    ]
    schema = {"id": pl.String, "position": pl.Int64, "band": pl.String}
    bands = pl.DataFrame(rows, schema, orient="row") if "sentiment" in asked.steps else None
    made = of(units(paths, [WON] * len(paths), kept), asked, bands)
    for i, (path, n) in enumerate(zip(paths, kept, strict=True)):
        own = {position: band for name, position, band in rows if name == f"c{i:06}"}
        expected = [name for name, _ in tokens(path[:n], asked, own if bands is not None else None)]
        assert made.path(made.units.filter(id=f"c{i:06}")["path"].item()) == expected
    assert list(made.names) == sorted({name for i in range(len(made.starts) - 1) for name in made.path(i)})
    assert made.counts.sum() == len(paths)
    assert len({tuple(made.path(i)) for i in range(len(made.starts) - 1)}) == len(made.starts) - 1


def test_an_objection_said_as_message_and_as_event_is_one_step():
    path = ["prospect:objection_price", "objection:price", "objection:timing", "bot:a", "bot:a"]
    assert tokens(path, asking()) == [
        ("prospect:objection_price", 1), ("objection:timing", 1), ("bot:a", 2), ("bot:a", 3),
    ]  # fmt: skip
    assert tokens(path, asking(["objections"])) == [("objection:price", 1), ("objection:timing", 1)]
    assert tokens(path, asking(repeats="merged"))[-1] == ("bot:a", 2)
    assert [key for key, _ in groupby(name for name, _ in tokens(path, asking(["types"])))] == [
        "message_received", "objection:timing", "message_sent",
    ]  # fmt: skip


def test_whose_a_step_is():
    assert [side(step) for step in ("bot:x", "bot", "fallback", "escalated", "message_sent", "agent:y")] == [
        "bot", "bot", "bot", "bot", "bot", "agent",
    ]  # fmt: skip
    assert {side(step) for step in ("prospect", "prospect:yes [negative]", "objection:price", "message_received")} == {
        "prospect"
    }


def conversation(name, *events):
    talk = [
        started(0), sent(None, 1, intent="greet"), received("hi", 2, intent="yes"), sent(None, 3, intent="pitch"),
        received("ok", 4, intent="yes"), *events,
    ]  # fmt: skip
    return [one | {"conversation_id": name} for one in talk]


BYE = sent(None, 6, intent="bye")
WORLD = [
    *conversation("won", booked(5), BYE, won(9)),
    *conversation("shown", booked(5), BYE, lost(9)),
    *conversation("dropped"),
    *conversation("ended", ended(4.5), sent(None, 6, intent="late")),
    *conversation("gone", opted_out(3.5)),
    *conversation("out", disqualified(5), BYE),
    *conversation("atonce", booked(4), won(9)),
]
TALK = ["bot:greet", "prospect:yes", "bot:pitch", "prospect:yes"]


def found(asked, analytics):
    store, query = analytics._asked({})
    made = read(store, query, asked)
    return {row["id"]: (row["group"], made.path(row["path"])) for row in made.units.to_dicts()}, made.left_out


def test_paths_end_before_the_first_success_or_ending(asked):
    analytics = asked(*WORLD)
    paths, left_out = found(parse({}), analytics)
    assert paths["won"] == (WON, TALK)
    assert paths["shown"] == (FAILED_LATE, TALK)
    assert paths["dropped"] == (FAILED, TALK)
    assert paths["ended"] == (FAILED, [*TALK, "bot:late"])  # a goodbye is no ending: what came after it counts
    assert paths["gone"] == (FAILED, ["bot:greet", "prospect:yes", "bot:pitch"])
    assert paths["out"] == (FAILED, TALK)
    assert paths["atonce"] == (WON, TALK[:3])  # what happens at the very instant of success comes too late
    assert left_out == 0


def test_a_stage_can_be_the_success_and_the_end_of_paths_can_be_moved(asked):
    analytics = asked(*WORLD)
    booked_, _ = found(parse({"success": ["booked"]}), analytics)
    assert {name for name, (group, _) in booked_.items() if group == WON} == {"won", "shown", "atonce"}
    later, _ = found(parse({"cut": ["converted"]}), analytics)
    assert later["won"] == (WON, [*TALK, "bot:bye"])
    assert later["shown"] == (FAILED, [*TALK, "bot:bye"])


def test_the_groups_of_the_mission_are_by_outcome(asked):
    paths, left_out = found(parse({"groups": ["mission"]}), asked(*WORLD))
    assert {name for name, (group, _) in paths.items() if group == WON} == {"won", "atonce"}
    assert paths.keys() == {"won", "atonce", "dropped", "ended", "out", "gone"}  # who wrote again had not gone
    assert left_out == 1


def test_open_conversations_are_left_out(asked):
    paths, left_out = found(parse({}), asked(*WORLD, *conversation("young", event("noted", 60 * 24 * 45.58))))
    assert "young" not in paths
    assert left_out == 1


def test_sentiment_is_that_of_the_message(asked):
    said = [
        started(), sent(None, 1, intent="greet"), received("no", 2, intent="no", sentiment=-0.8),
        received("well", 3, intent="well", sentiment=0.1), fallback(4), received("yes", 5, intent="yes"),
    ]  # fmt: skip
    paths, _ = found(asking([*STEPS, "sentiment"]), asked(*said))
    assert paths["c"][1] == [
        "bot:greet", "prospect:no [negative]", "prospect:well [neutral]", "fallback", "prospect:yes",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"success": ["started"]}, "success"), ({"success": ["booked"], "cut": ["attended"]}, "cut"),
        ({"steps": ["bot,nothing"]}, "steps"), ({"groups": ["all"]}, "groups"), ({"repeats": ["no"]}, "repeats"),
        ({"support": ["2"]}, "support"), ({"groups": ["mission"], "success": ["booked"]}, "success"),
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_refused(params, name):
    with pytest.raises(InvalidInput) as caught:
        parse(params)
    assert caught.value.name == name
