"""SEMANTICS §3 once more, in plain Python and on its own: what the fold must agree with.

It takes rows of the table `events` (dictionaries; instants as integers of microseconds), each event once, and gives
the rows of `conversations` and `messages` without `key`.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]


class _Event(dict[str, Any]):
    """A row of `events` with its rarer facts; what is not given is None."""

    def __init__(self, row: Row) -> None:
        facts = json.loads(row["facts"] or "{}")
        super().__init__(row, **facts, target_id=facts.get("event_id"), company_size=facts.get("size"))

    def __missing__(self, name: str) -> None:
        return None


SECOND = 1_000_000
DAY = 86_400 * SECOND
IDLE = {"chat": 1800, "voice": 600, "whatsapp": 86_400, "sms": 3 * 86_400, "email": 7 * 86_400}
CARRIER_WORDS = {
    "stop", "stopall", "stop all", "unsubscribe", "opt out", "optout", "revoke", "quit", "end", "cancel",
}  # fmt: skip
STAGE_EVENTS = {"qualified", "meeting_booked", "meeting_attended", "opportunity_created"}
MEETINGS = {"meeting_booked", "meeting_rescheduled", "meeting_canceled", "meeting_attended", "meeting_no_show"}
ELSEWHERE = {"opportunity_created", "message_status", "feedback", "contact_identified", "event_retracted"}
PROSPECT = ("lead_score", "industry", "company_size", "role", "country")


def interpret(events: Iterable[Row], zone: str = "UTC") -> tuple[list[Row], list[Row]]:
    """The conversations and the messages of `events`."""
    owners: dict[str, list[Row]] = {}
    for event in map(_Event, events):
        if event["conversation_id"] is not None:
            owners.setdefault(event["conversation_id"], []).append(event)
    conversations, messages = [], []
    for name, own in owners.items():
        facts, spoken = _conversation(name, standing(own), ZoneInfo(zone))
        conversations.append(facts)
        messages += spoken
    return conversations, messages


def standing(events: list[Row]) -> list[Row]:
    """The events that no standing retraction undoes, in the order of a conversation."""
    ordered = sorted(events, key=_place)
    retractions = [e for e in ordered if e["event_type"] == "event_retracted" and e["target_id"] != e["id"]]
    retractions.sort(key=lambda e: (e["timestamp"], e["id"]))
    verdict: dict[str, bool] = {}
    while open_ones := [r for r in retractions if r["id"] not in verdict]:
        sure = [r for r in open_ones if _judged(r, retractions, verdict)]
        for retraction in sure:
            verdict[retraction["id"]] = not _hit(retraction, retractions, verdict)
        if not sure:  # only circles are left
            verdict[open_ones[-1]["id"]] = True
    undone = {r["target_id"] for r in retractions if verdict[r["id"]]}
    kept = {r["id"] for r in retractions if verdict[r["id"]]}
    return [e for e in ordered if e["id"] not in undone or e["id"] in kept]


def _judged(one: Row, retractions: list[Row], verdict: dict[str, bool]) -> bool:
    against = [r["id"] for r in retractions if r["target_id"] == one["id"]]
    return any(verdict.get(a) for a in against) or all(a in verdict for a in against)


def _hit(one: Row, retractions: list[Row], verdict: dict[str, bool]) -> bool:
    return any(verdict.get(r["id"]) for r in retractions if r["target_id"] == one["id"])


def _place(event: Row) -> tuple[Any, ...]:
    sequence = event["sequence"]
    return (event["timestamp"], sequence is None, sequence or 0, _kind(event), event["id"])


def _kind(event: Row) -> int:
    if _is_message(event):
        return 1 if event["sender"] == "prospect" else 3
    return {"conversation_started": 0, "conversation_ended": 4}.get(event["event_type"], 2)


def _is_message(event: Row) -> bool:
    return event["event_type"] in ("message_sent", "message_received")


def _first(values: Iterable[Any]) -> Any:
    return next((v for v in values if v is not None), None)


def _last(values: Iterable[Any]) -> Any:
    return _first(reversed(list(values)))


def _conversation(name: str, events: list[Row], zone: ZoneInfo) -> tuple[Row, list[Row]]:
    def of(*kinds: str) -> list[Row]:
        return [e for e in events if e["event_type"] in kinds]

    def first_at(*kinds: str) -> int | None:
        return min((e["timestamp"] for e in of(*kinds)), default=None)

    spoken = _messages(events)
    starts, talk = of("conversation_started"), [e for e in events if _is_message(e)]
    began = min(e["timestamp"] for e in starts or talk or events)
    inside = [e["timestamp"] for e in events if not _from_elsewhere(e["event_type"])]
    over = max([began, *inside])
    judged = of("qualified", "disqualified")
    known = [e for e in events if not _is_message(e) and e["event_type"] not in ("fallback", "error")]
    life = _life(events, zone)
    facts: Row = {
        "id": name,
        **{k: _first(e[k] for e in events) for k in ("channel", "direction", "bot_id", "bot_version")},
        **{k: _last(e[k] for e in events) for k in ("contact_id", "account_id")},
        **{k: _first(e[k] for e in starts) for k in ("source", "medium")},
        **{k: _last(e[k] for e in known) for k in PROSPECT},
        **life["facts"],
        "is_test": any(e["is_test"] for e in events),
        "started_at": began,
        "ended_at": over,
        "duration_seconds": (over - began) / SECOND,
        "qualification_score": _last(e["score"] for e in judged),
        "qualification_path": _last(e["path"] for e in judged),
        "escalated": bool(of("escalated")),
        "escalation_reason": _first(e["reason"] for e in of("escalated")),
        "fallback_count": len(of("fallback")),
        "error_count": len(of("error")),
        "csat": _last(e["csat"] for e in of("feedback")),
        "qualified_at": first_at("qualified"),
        "booked_at": first_at("meeting_booked"),
        "opportunity_at": first_at("opportunity_created"),
        "disqualified_at": first_at("disqualified"),
        "opted_out_at": first_at("opted_out"),
        "escalated_at": first_at("escalated"),
        "reported_outcome": _last(e["outcome"] for e in of("conversation_ended")),
        "event_count": len(events),
    }
    facts |= _talk(facts, starts, spoken) | _path(events)
    facts["final"] = _final(facts, events, spoken, life)
    facts["closes_at"] = _closes_at(facts, events, life)
    return facts, [{k: v for k, v in m.items() if k != "row"} for m in spoken]


def _from_elsewhere(kind: str) -> bool:
    return kind.startswith(("meeting_", "deal_")) or kind in ELSEWHERE


def _messages(events: list[Row]) -> list[Row]:
    named = {e["keyword"] for e in events if e["event_type"] == "opted_out" and e["keyword"] is not None}
    latest = {e["message_id"]: e["status"] for e in events if e["event_type"] == "message_status" and e["message_id"]}
    made: list[Row] = []
    channel, before = None, None
    for event in events:
        channel = event["channel"] or channel
        if not _is_message(event):
            continue
        same_side = before is not None and (before["sender"] == "prospect") == (event["sender"] == "prospect")
        words = named | (CARRIER_WORDS if channel in ("sms", "whatsapp") and event["sender"] == "prospect" else set())
        delivered = latest.get(event["message_id"], "delivered") == "delivered"
        gap = None if before is None or same_side else (event["timestamp"] - before["timestamp"]) / SECOND
        made.append(
            {
                **{k: event[k] for k in ("conversation_id", "timestamp", "sender", "intent", "intent_confidence")},
                **{k: event[k] for k in ("sentiment", "variant", "label_source", "appropriateness")},
                "id": event["message_id"] or event["id"],
                "event_id": event["id"],
                "response_seconds": gap,
                "position": len(made) + 1,
                "turn": made[-1]["turn"] + (not same_side) if made else 1,
                "delivered": delivered,
                "counted": delivered and not event["auto_reply"] and event["keyword"] not in words,
                "cost_micros": event["micros"],
                "cost_currency": event["currency"] if event["micros"] is not None else None,
                "row": event,
            }
        )
        before = event
    return made


def _talk(facts: Row, starts: list[Row], spoken: list[Row]) -> Row:
    bot = [m for m in spoken if m["sender"] == "bot"]
    prospect = [m for m in spoken if m["sender"] == "prospect"]
    agents = len(spoken) - len(bot) - len(prospect)
    replies = [m for m in prospect if m["counted"]]
    answers = [m for m in replies if facts["direction"] != "inbound" or (bot and m["position"] > bot[0]["position"])]
    felt = [m["sentiment"] for m in prospect if m["sentiment"] is not None]
    delivered = [m for m in bot if m["delivered"]]
    variants = [delivered[0]["variant"] if delivered else None, *(s["variant"] for s in starts)]
    return {
        "message_count": len(spoken),
        "bot_messages": len(bot),
        "human_messages": len(prospect) + agents,
        "prospect_messages": len(prospect),
        "agent_messages": agents,
        "counted_replies": len(replies),
        "delivered_bot_messages": len(delivered),
        "sentiment_start": felt[0] if felt else None,
        "sentiment_end": felt[-1] if felt else None,
        "sentiment_trend": felt[-1] - felt[0] if len(felt) > 1 else None,
        "intents_detected": list(dict.fromkeys(m["intent"] for m in prospect if m["intent"] is not None)),
        "first_response_seconds": _first(m["response_seconds"] for m in spoken if m["sender"] != "prospect"),
        "first_message_variant": _first(variants),
        "responded_at": answers[0]["timestamp"] if answers else None,
        "cost": _sum((m["cost_currency"], m["cost_micros"]) for m in spoken),
    }


def _path(events: list[Row]) -> Row:
    steps = [e for e in events if _is_message(e) or e["event_type"] in ("objection_raised", "fallback", "escalated")]
    objections = dict.fromkeys(o for o in map(_objection, steps) if o is not None)
    names = [_step(e) for e in steps]
    alike: dict[tuple[Any, ...], set[str]] = {}
    for step, name in zip(steps, names, strict=True):
        alike.setdefault(_place(step)[:-1], set()).add(name)
    return {"path": names, "objections_raised": list(objections), "tied": any(len(n) > 1 for n in alike.values())}


def _objection(event: Row) -> str | None:
    if event["event_type"] == "objection_raised":
        return event["objection"]
    if not _is_message(event) or event["sender"] != "prospect" or event["intent"] is None:
        return None
    found = re.match(r"objection[\W_]+([^\W_].*)$", event["intent"], re.IGNORECASE)
    return found[1] if found else None


def _step(event: Row) -> str:
    if _is_message(event):
        return event["sender"] + (f":{event['intent']}" if event["intent"] is not None else "")
    return f"objection:{event['objection']}" if event["event_type"] == "objection_raised" else event["event_type"]


def _life(events: list[Row], zone: ZoneInfo) -> Row:
    meetings, deals = _meetings(events), _deals(events)
    won = [d for d in deals if d["state"] == "won"]
    lost = [d for d in deals if d["state"] == "lost" and not won]
    been = [m["since"] for m in meetings if m["state"] == "attended"]
    waits = [_wait(m, zone) for m in meetings if m["state"] == "live"]
    facts = {
        "attended_at": min(been, default=None),
        "converted_at": min((d["since"] for d in won), default=None),
        "lost_at": min((d["since"] for d in lost), default=None),
        "revenue": _sum((d["currency"], d["micros"]) for d in won),
    }
    pending = [*waits, *([max(been) + 90 * DAY] if been else [])]
    return {"facts": facts, "pending": max(pending, default=None), "losses": [d["event"] for d in lost]}


def _meetings(events: list[Row]) -> list[Row]:
    meetings: list[Row] = []
    for event in (e for e in events if e["event_type"] in MEETINGS):
        name, kind = event["object_id"], event["event_type"].removeprefix("meeting_")
        fitting = [m for m in meetings if (m["state"] == "live" if name is None else m["name"] == name)]
        if not fitting:
            fitting = [{"name": name, "state": None, "booked": None, "due": None}]
            meetings += fitting
        meeting = fitting[-1]
        state = "live" if kind in ("booked", "rescheduled") else kind
        if state != meeting["state"]:
            meeting |= {"state": state, "since": event["timestamp"]}
        if kind == "booked" and meeting["booked"] is None:
            meeting["booked"] = event["timestamp"]
        meeting["due"] = event["due"] or meeting["due"]
    return meetings


def _wait(meeting: Row, zone: ZoneInfo) -> int:
    due = meeting["due"]
    if due is None:
        return (meeting["since"] if meeting["booked"] is None else meeting["booked"]) + 14 * DAY
    if "-" not in due:
        return int(due) + 2 * DAY
    following = datetime.combine(datetime.fromisoformat(due).date() + timedelta(days=1), time(), zone)
    return round(following.timestamp()) * SECOND + 2 * DAY


def _deals(events: list[Row]) -> list[Row]:
    deals: dict[str | None, Row] = {}
    for event in (e for e in events if e["event_type"] in ("deal_closed", "deal_reopened")):
        deal = deals.setdefault(event["object_id"], {"state": None, "currency": None, "micros": None})
        state = "open" if event["event_type"] == "deal_reopened" else "won" if event["won"] else "lost"
        if state != deal["state"]:
            deal |= {"state": state, "since": event["timestamp"]}
        deal["event"] = event
        if event["micros"] is not None:
            deal |= {"micros": event["micros"], "currency": event["currency"]}
    return list(deals.values())


def _sum(amounts: Iterable[tuple[str | None, int | None]]) -> str | None:
    sums: dict[str, Decimal] = {}
    for currency, micros in amounts:
        if micros is not None and currency is not None:
            sums[currency] = sums.get(currency, Decimal(0)) + Decimal(micros) / SECOND
    return json.dumps({c: _text(sums[c]) for c in sorted(sums)}) if sums else None


def _text(amount: Decimal) -> str:
    whole, _, part = f"{amount:.6f}".partition(".")
    part = part.rstrip("0")
    return f"{whole}.{part.ljust(2, '0')}" if part else whole


def _final(facts: Row, events: list[Row], spoken: list[Row], life: Row) -> str | None:
    if facts["converted_at"] is not None:
        return "converted"
    went_on = [i for i, e in enumerate(events) if e["event_type"] in STAGE_EVENTS or _wins(e)]
    counted = [m["row"] for m in spoken if m["sender"] == "prospect" and m["counted"]]
    went_on += [i for i, e in enumerate(events) if any(e is row for row in counted)]
    last = max(went_on, default=-1)
    losses = life["losses"]
    if any(any(e is loss for loss in losses) for e in events[last + 1 :]):
        return "lost"
    after = {e["event_type"] for e in events[last + 1 :]}
    return next((name for name in ("opted_out", "disqualified") if name in after), None)


def _wins(event: Row) -> bool:
    return event["event_type"] == "deal_closed" and event["won"]


def _closes_at(facts: Row, events: list[Row], life: Row) -> int:
    fallen = [e["timestamp"] for e in events if e["event_type"] in ("meeting_canceled", "meeting_no_show")]
    goodbyes = [e["timestamp"] for e in events if e["event_type"] == "conversation_ended"]
    active = max([facts["ended_at"], *fallen])
    due = life["pending"] if life["pending"] is not None else max(goodbyes, default=None)
    if due is not None and due >= active:
        return due
    return active + IDLE.get(facts["channel"], 86_400) * SECOND
