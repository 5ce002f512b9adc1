"""The section of conversations to read: some that failed and some that succeeded, unlike one another."""

from collections.abc import Mapping
from typing import Any

from dropoff.phrases import formats
from dropoff.phrases.addresses import ONE
from dropoff.query import Params
from dropoff.report.value import Answered, Ask, Block, Line, Run, Section, Source, Talk, note, paragraph, words

_WHO = {"bot": "Bot", "prospect": "Prospect", "agent": "Agent"}
_LONGEST = 300
_GROUPS = {"failed": "failed", "successful": "succeeded"}


def section(ask: Ask, now: Params) -> Section:
    """Their turning lines."""
    found = ask("sample", now)
    blocks: list[Block] = [note(found.at("definition", "text"))]
    for name, said in _GROUPS.items():
        total = found.run(formats.number, name, "total")
        shown = len(found.at(name, "conversations"))
        blocks.append(paragraph(f"{formats.number(shown)} of the ", total, f" that {said}:"))
        blocks += [_talk(found, name, place) for place in range(shown)]
    return Section("Conversations to read", tuple(blocks))


def _talk(found: Answered, name: str, place: int) -> Talk:
    one, zone = found.at(name, "conversations", place), found.at("period", "timezone")
    facts = [
        formats.label(one["channel"] or "no channel"), formats.instant(one["started_at"], zone),
        f"came to {one['stage']}", f"outcome {one['outcome']}",
        *([f"objection {formats.visible(one['objection'])}"] if one["objection"] else []),
        *([f"first message {formats.visible(one['first_message_variant'])}"] if one["first_message_variant"] else []),
        *([f"version {formats.visible(one['bot_version'])}"] if one["bot_version"] else []),
    ]  # fmt: skip
    of = {key: found.params[key] for key in ONE if key in found.params}
    source = Source("conversation", (("id", (one["id"],)), *((k, tuple(v)) for k, v in of.items())), ("id",))
    return Talk(words(Run(formats.visible(one["id"]), source, one["id"])), words(", ".join(facts)), _lines(one))


def _lines(one: Mapping[str, Any]) -> tuple[Line, ...]:
    lines, last = [], 0
    for message in one["lines"]:
        text = " ".join(formats.visible(message["content"] or "(no text)").split())
        shown = formats.cut(text, _LONGEST)
        lines.append(Line(_WHO.get(message["sender"], "Other"), shown, message["position"] - last - 1))
        last = message["position"]
    if (rest := one["messages"] - last) > 0:
        lines.append(Line("", "", rest))
    return tuple(lines)
