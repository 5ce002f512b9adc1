"""What people read."""

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

from dropoff.notify.texts import MOST_SEGMENTS, inert, text
from notices import NOON, notice

BERLIN = ZoneInfo("Europe/Berlin")


def test_a_firing_tells_all_that_is_known():
    said = text([notice(segment="channel=sms")], "https://bots.example", BERLIN)
    assert said.subject == "Medium: fallbacks is firing for channel=sms: 25.0%"
    assert said.body.splitlines() == [
        "Fallback rate for channel=sms: 25.0% (alert above 20.0%)",
        "Counted over 120, 95 % interval 18.1% to 33.5%.",
        "Window: 2026-03-02 09:00 to 2026-03-02 13:00, Europe/Berlin.",
        "Usually: 3.1 %, the median of 4 weeks.",
        "Since 2026-03-02 13:00.",
        "Moved most:",
        "- channel=sms: 2.0 % to 41.0 %",
        "Examples:",
        "- https://bots.example/conversations/c1",
        "- https://bots.example/conversations/c%2F2",
        "",
        "The metric around it: https://bots.example/alerts#fallbacks",
        "All alerts: https://bots.example/alerts",
    ]


def test_a_resolve_says_when():
    said = text([notice("resolved", after=3600, value=0.04)], "", BERLIN)
    assert said.subject == "Medium: fallbacks is resolved: 4.0%"
    assert "Since 2026-03-02 13:00, resolved 2026-03-02 14:00." in said.body


def test_a_value_that_is_missing_is_said_to_be():
    said = text([notice(value=None, n=0, interval=None, usual=None, moved=(), examples=())], "", BERLIN)
    assert said.subject == "Medium: fallbacks is firing"
    assert said.body.splitlines()[0] == "Fallback rate: no value (alert above 20.0%)"
    assert "Counted" not in said.body


def test_conditions_in_words():
    def head(condition: str, threshold: float, metric: str = "response_rate") -> str:
        made = replace(notice(), condition=condition, threshold=threshold, metric=metric, value=0.4)
        return text([made], "", BERLIN).body.splitlines()[0]

    assert head("drops_below", 0.5) == "Response rate: 40.0% (alert below 50.0%)"
    assert head("changes_by", 0.3) == "Response rate: 40.0% (alert on a change of more than 30%)"
    assert head("anomaly", 0.001) == "Response rate: 40.0% (alert on an anomaly of a chance below 0.001)"
    assert head("anomaly", 1e-05) == "Response rate: 40.0% (alert on an anomaly of a chance below 0.00001)"
    assert head("exceeds", 12_345.6, "messages_per_conversation").endswith("0.4 (alert above 12,346)")
    assert head("drops_below", -0.2, "sentiment_average") == "Sentiment average: 0.4 (alert below -0.2)"
    assert head("exceeds", 90, "response_time") == "Response time: 0:00:00 (alert above 0:01:30)"
    assert head("exceeds", 3, "conversations_started") == "Conversations started: 0.4 (alert above 3)"


def test_several_segments_are_one_message_and_many_are_counted():
    made = [notice(segment=f"source=s{n}", after=n) for n in range(MOST_SEGMENTS + 3)]
    said = text(made, "", BERLIN)
    assert said.subject == "Medium: fallbacks is firing for 13 segments"
    assert said.body.count("Fallback rate for source=") == MOST_SEGMENTS
    assert "And 3 more segments, on the page." in said.body


def test_no_text_of_an_event_is_markup_a_mention_a_link_or_a_line():
    evil = (
        "channel=<img src=x onerror=alert(1)> <!channel> @everyone **b** [x](https://evil.example)\r\nBcc: a\x00\u2028"
    )
    made = notice(segment=evil, usual=evil, moved=(evil,), examples=("<b>\n@x",), rule="r<i>")
    said = text([made], "https://bots.example", BERLIN)
    everything = said.subject + said.body.replace("https://bots.example", "")
    assert not {*"<>@*[]`\r\x00\u2028"} & set(everything)
    assert "://" not in everything
    assert "\n" not in said.subject
    assert len(said.body.splitlines()) == len(
        text([notice(segment="a", moved=("a",), examples=("a",))], "", BERLIN).body.splitlines()
    )
    assert len(said.subject) <= 200


def test_plain_words_stay_as_they_are():
    assert inert("property:industry=real_estate & Söhne (50–200)") == "property:industry=real_estate ＆ Söhne (50–200)"


def test_times_are_of_the_zone_across_its_change_of_clock():
    made = notice(since=NOON + timedelta(days=28))
    assert "Since 2026-03-30 14:00." in text([made], "", BERLIN).body
