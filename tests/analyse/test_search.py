"""Conversations that are looked for: by words, intents, objections, facts."""

import re
from contextlib import closing

import pytest
from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st

from dropoff.analyse.conversations import wanted
from dropoff.errors import InvalidInput
from worlds import booked, event, given, objected, received, sent, started

WEEK = {"from": ["2024-01-15"], "to": ["2024-01-22"]}
HAYSTACK = 'CAFÉ "au lait" \\ 5 €, nicht\njetzt: Straße, ΣΊΣΥΦΟΣ, йод, 100 %_a [x]'


def world():
    return [
        started(contact_id="p", variant="short"), sent("What is your budget?", intent="ask_budget"),
        received(HAYSTACK, at=2, intent="interested"), objected("price"),
        started(conversation_id="d", at=1), received("A Budget? No.", at=4, conversation_id="d", intent="not_now"),
        started(conversation_id="e", at=2, contact_id="q"), booked(conversation_id="e"),
        event("message_received", 9, None, contact_id="q", content="my budget is fine"),
        started(conversation_id="t", at=3, is_test=True), received("budget", conversation_id="t", is_test=True),
    ]  # fmt: skip


@pytest.fixture
def found(asked):
    analytics = asked(*world())

    def find(**params):
        given = {name: [text] if isinstance(text, str) else text for name, text in params.items()}
        answer = analytics.conversations({**WEEK, **given})
        exported = [row["id"] for page in analytics.all_conversations({**WEEK, **given}) for row in page]
        ids = [row["id"] for row in answer["conversations"]]
        assert exported == ids
        assert answer["total"] == len(ids)
        return "".join(ids)

    return find


@pytest.mark.one_store
def test_words_and_facts_and_both_together(found):
    cases = {
        "BUDGET": "edc", "cafe budget": "c", "budget no": "d", "udge": "edc", '"nicht jetzt"': "c", '"lait au"': "",
        "\\ %_a [x]": "c",
    }  # fmt: skip
    assert {text: found(text=text) for text in cases} == cases
    assert (found(intent="interested"), found(intent="ask_budget"), found(intent="x")) == ("c", "c", "")
    assert found(intent="interested", message="") == "c"  # a form sends what nobody filled in
    assert (found(objection="price"), found(objection="(none)"), found(contact_id="q"), found(id="d")) == (
        "c",
        "ed",
        "e",
        "d",
    )
    assert (found(outcome="booked"), found(outcome="dropped"), found(ending="dropped"), found(status="open")) == (
        "e", "dc", "edc", "",
    )  # fmt: skip
    assert found(text="budget", include_test="1") == "tedc"
    assert found(text="budget", stage="booked") == found(text="budget", where="outcome=booked") == "e"
    assert found(text="budget", objection="price", intent="interested", outcome="dropped") == "c"
    assert found(text="budget", dropped="started") == ""
    assert found(text="no", message="short", position="1") == ""
    assert found(text="lait", message="short", position="1") == "c"
    assert found(text="budget", pattern=["prospect:interested"], kind="step") == "c"


def test_a_page_says_where_the_words_stand(asked):
    analytics = asked(*world())
    rows = {
        row["id"]: row["hit"] for row in analytics.conversations({**WEEK, "text": ["lait BUDGET"]})["conversations"]
    }
    assert rows == {"c": {"position": 1, "sender": "bot", "text": "What is your budget?", "marks": [(13, 19)]}}
    (first,) = analytics.conversations({**WEEK, "text": ["budget"], "limit": ["1"]})["conversations"]
    assert first["hit"]["text"] == "my budget is fine"
    listed = analytics.conversations({**WEEK, "text": ["budget"], "limit": ["2"]})
    assert (listed["total"], [row["id"] for row in listed["conversations"]]) == (3, ["e", "d"])
    rest = analytics.conversations({**WEEK, "text": ["budget"], "limit": ["2"], "after": [listed["next"]]})
    assert ([row["id"] for row in rest["conversations"]], rest["total"], rest["next"]) == (["c"], 3, None)
    assert all("hit" not in row for row in analytics.conversations({**WEEK, "intent": ["not_now"]})["conversations"])


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"text": '"'}, "text == '\"', must be 1 to 10 words or phrases in quotes"),
        ({"text": "́"}, "must be 1 to 10 words or phrases in quotes"),
        ({"text": " ".join("abcdefghijk")}, "must be 1 to 10 words"),
        ({"text": "x" * 201}, "at most 200 characters"),
        ({"outcome": "won"}, "outcome == 'won', must be one of converted, lost"),
        ({"ending": "open"}, "ending == 'open', must be one of converted"),
        ({"status": "done"}, "status == 'done', must be one of open, closed"),
        ({"txt": "x"}, "parameter == 'txt', must be one of"),
    ],
)
@pytest.mark.one_store
def test_what_cannot_be_looked_for_is_refused(asked, params, refusal):
    with pytest.raises(InvalidInput, match=re.escape(refusal)):
        asked(started()).conversations({name: [text] for name, text in params.items()})


LETTERS = st.text(st.sampled_from("aAäÄéÉeıİßσςΣйИ \"\\'[]^-.*+?(){}|$%_&~#\u0301\n\t€한国"), min_size=1, max_size=12)


@settings(max_examples=40)
@over(st.lists(LETTERS, min_size=1, max_size=5), LETTERS)
def test_a_term_is_found_where_its_folded_form_is_a_part_of_the_folded_text(texts, asked_for):
    try:
        terms = wanted.terms(asked_for)
    except InvalidInput:
        return
    plain = [" ".join(wanted.folded(text).split()) for text in texts]
    for term in terms:
        pattern = re.compile(wanted.pattern(term))
        assert [bool(pattern.search(text)) for text in texts] == [term in text for text in plain]


def test_the_stores_read_a_pattern_as_python_does(engine, tmp_path):
    texts = [HAYSTACK, "e\u0301te\u0301", "été", "a.b*c", "x^y-z]", "{(|)}$", "Ａｂｃ", "line\nbreak  two", "~&#%"]
    terms = ["ete", "a.b*c", "x^y-z]", "{(|)}$", "ａｂｃ", "line break two", "~&#%", "€", 'lait" \\ 5']
    with closing(given(started(), directory=tmp_path, engine=engine)) as store:
        sql = store.dialect
        for term in terms:
            pattern = wanted.pattern(wanted.folded(term))
            for text in texts:
                matches = sql.matches(sql.parameter("text", text), sql.parameter("pattern", pattern))
                given_ = {"text": text, "pattern": pattern}
                assert bool(store.select(f"SELECT {matches}", given_).rows[0][0]) == bool(re.search(pattern, text))


def test_a_snippet_is_a_part_with_the_places_in_it():
    text = "a " * 100 + "Budget and BUDGET " + "z " * 100
    part = wanted.snippet(text, wanted.any_of(["budget"]))
    assert [part.text[low:high] for low, high in part.marks] == ["Budget", "BUDGET"]
    assert part.text.startswith("…")
    assert part.text.endswith("…")
    assert len(part.text) == 162
    assert wanted.snippet("Budget", wanted.any_of(["budget"])) == ("Budget", [(0, 6)])
    assert wanted.snippet("x" * 155 + "budget" + "x" * 99, wanted.any_of(["x", "budget"])).marks[-1][1] <= 161
