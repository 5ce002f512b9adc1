"""The section of drop-offs: where conversations are lost, and why."""

from typing import Any

from dropoff.phrases import formats
from dropoff.phrases import words as names
from dropoff.phrases.addresses import url
from dropoff.query import Params
from dropoff.report.value import Answered, Ask, Block, Bullets, Paragraph, Run, Runs, Section, note, table, words

EXPLAINED = 3
"""So many drop-offs are explained: the first by the rate in the end."""
_EACH = 3


def section(ask: Ask, now: Params) -> Section:
    """Drop-offs by the rate in the end, and what is known of the first ones."""
    found = ask("dropoffs", {**now, "sort": ["matured"]})
    drops = range(len(found.at("drop_offs")))
    blocks: list[Block] = [
        table("", _COLUMNS, [_row(found, place) for place in drops]),
        note(
            "Matured: of those that came to the stage long enough ago. Projected: at the horizon. A stage that is too "
            "young for either is not judged."
        ),
    ]
    explained = [told for place in drops if (told := _explained(found, place))]
    blocks += [block for told in explained[:EXPLAINED] for block in told]
    return Section("Drop-offs", tuple(blocks) if drops else (note("No stage loses anybody."),))


_COLUMNS = {"between": False, "lost": True, "so far": True, "95 %": False, "matured": False, "projected": False}


def _row(found: Answered, place: int) -> list[str | Run]:
    at, drop = ("drop_offs", place), found.at("drop_offs", place)
    return [
        _between(drop),
        found.run(formats.number, *at, "volume_lost"),
        found.run(formats.percent, *at, "drop_rate"),
        formats.interval(drop["interval"]) if drop["interval"] else "",
        found.run(lambda one: formats.matured({"matured": one}), *at, "matured"),
        found.run(lambda one: formats.projected({"projected": one}), *at, "projected"),
    ]


def _between(drop: dict[str, Any]) -> str:
    return f"{formats.label(drop['from'])} → {formats.label(drop['to'])}"


def _explained(found: Answered, place: int) -> list[Block]:
    """What is known of a drop-off; nothing where too few were at the stage."""
    drop = found.at("drop_offs", place)
    why = drop["explanation"]
    if why is None or formats.is_small(why["lost"] + why["went_on"]) or _mostly_open(why):
        return []
    at = ("drop_offs", place, "explanation")
    lists = {"dropped": [drop["from"]], **{k: v for k, v in found.params.items() if k != "sort"}}
    lost = found.run(formats.number, *at, "lost", page=url("/conversations", lists))
    head = words(
        f"{_between(drop)}: ", lost, " lost, ", found.run(formats.number, *at, "went_on"), " went on; ",
        found.run(formats.number, *at, "silent"), " of the lost fell silent.",
    )  # fmt: skip
    told = (_last_words(found, at, why), _instead(found, at, why), _reasons(found, at, why), _segments(found, at, why))
    return [Paragraph(head), Bullets(tuple(line for line in told if line))]


def _mostly_open(why: dict[str, Any]) -> bool:
    """Whether hardly anybody is lost for good yet: then there is nothing to explain."""
    still = sum(one["share"]["numerator"] for one in why["instead"] if one["what"] == "open")
    return still * 2 >= why["lost"]


def _joined(lead: str, parts: list[Runs]) -> Runs:
    if not parts:
        return ()
    found = list(words(lead))
    for number, part in enumerate(parts):
        found += [*part, Run("." if number == len(parts) - 1 else "; ")]
    return tuple(found)


def _last_words(found: Answered, at: tuple, why: dict[str, Any]) -> Runs:
    places = [
        i for i, m in enumerate(why["messages"])
        if m["excess"] > 0 and m["silent"] and not formats.is_small(m["silence_rate"]["denominator"])
    ][:_EACH]  # fmt: skip
    parts = [
        words(
            f"{formats.visible(why['messages'][i]['intent']).replace('_', ' ')} (",
            found.run(lambda n: f"{formats.number(n)} silent", *at, "messages", i, "silent"), ", ",
            found.run(_rate, *at, "messages", i, "silence_rate"), " when said)",
            *_example(why["messages"][i]["example"]),
        )
        for i in places
    ]  # fmt: skip
    return _joined("Last words of the bot that more silence follows than usual here: ", parts)


def _example(text: str | None) -> list[str]:
    return [f" {formats.quoted(text, 120)}"] if text else []


def _rate(number: dict[str, Any]) -> str:
    return f"{formats.percent(number['value'])} of {formats.number(number['denominator'])}"


def _instead(found: Answered, at: tuple, why: dict[str, Any]) -> Runs:
    places = [i for i, one in enumerate(why["instead"]) if one["share"]["numerator"]][:_EACH]
    parts = [
        words(
            f"{names.HAPPENED[why['instead'][i]['what']].removeprefix('nothing: ')} ",
            found.run(_rate, *at, "instead", i, "share"),
        )
        for i in places
    ]
    return _joined("What the lost did next: ", parts)


def _reasons(found: Answered, at: tuple, why: dict[str, Any]) -> Runs:
    places = [i for i, one in enumerate(why["reasons"]) if one["is_reason"]][:_EACH]
    parts = [
        words(
            found.run(_rate, *at, "reasons", i, "lost"), f" of the lost {names.HAPPENED[why['reasons'][i]['reason']]}, "
            "against ", found.run(_rate, *at, "reasons", i, "went_on"), " of those that went on, ",
            found.run(formats.sure, *at, "reasons", i, "q_value"),
        )
        for i in places
    ]  # fmt: skip
    return _joined("Reasons: ", parts) or words("No reason stands out: what happened to the lost happened to others.")


def _segments(found: Answered, at: tuple, why: dict[str, Any]) -> Runs:
    places = [i for i, one in enumerate(why["segments"]) if one["over_contributes"]][:_EACH]
    parts = [
        words(
            f"{formats.label(one['dimension'])} {formats.visible(one['value'])} (",
            found.run(_rate, *at, "segments", i, "rate"), ", ",
            found.run(lambda n: f"{formats.signed(n, 0)} above the average", *at, "segments", i, "excess"), ")",
        )
        for i in places
        for one in [why["segments"][i]]
    ]  # fmt: skip
    return _joined("Lose more than the rest: ", parts)
