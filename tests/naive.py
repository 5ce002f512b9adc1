"""SEMANTICS §1 and §3 once more, in plain Python and on its own: what the processing must agree with.

It takes rows of the table `events` (dictionaries; instants as integers of microseconds), each event once, and gives
the rows of the tables that are made of them, without keys.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
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


def interpret(events: Iterable[Row], zone: str = "UTC") -> dict[str, list[Row]]:
    """The rows of each table that `events` make."""
    told, loose = _standing_by_owner(events)
    labels = {name: [e for e in own if e["event_type"] == "message_labelled"] for name, own in told.items()}
    named = {name: [e for e in own if e["event_type"] != "message_labelled"] for name, own in told.items()}
    same = canonical([e for own in [*named.values(), *loose.values()] for e in own])
    attributions = _attributions(named, loose, same)
    found: dict[str, list[Row]] = {"attributions": attributions}
    by_event = {(a["contact_id"], a["event_id"]): a["conversation_id"] for a in attributions}
    for event in (e for own in loose.values() for e in own):
        target = by_event.get((event["contact_id"], event["id"]))
        if target is not None:
            (labels if event["event_type"] == "message_labelled" else named)[target].append(event)
    for name, own in named.items():
        spoken = [_with_label(e, labels[name]) for e in sorted(own, key=_place)]
        for table, rows in _conversation(name, spoken, ZoneInfo(zone), same).items():
            found.setdefault(table, []).extend(rows)
    return found


def _with_label(event: Row, labels: list[Row]) -> Row:
    """A prospect's message that came without any label has that of the last event which gives it one."""
    words = ("intent", "intent_confidence", "sentiment", "label_source")
    if not _is_message(event) or event["sender"] != "prospect" or any(event[w] is not None for w in words):
        return event
    mine = [e for e in labels if e["message_id"] == (event["message_id"] or event["id"])]

    def rank(e: Row) -> tuple[Any, ...]:
        return (e["revision"], e["timestamp"], e["id"], e["conversation_id"] is None, e["contact_id"] or "")

    last = max(mine, key=rank, default=None)
    if last is None or all(last[w] is None for w in words[:3]):
        return event
    return _Event({**event, "facts": None, **{w: last[w] for w in words}})


def _standing_by_owner(events: Iterable[Row]) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    """The events that stand, by conversation and by contact."""
    named: dict[str, list[Row]] = {}
    loose: dict[str, list[Row]] = {}
    for event in map(_Event, events):
        if event["conversation_id"] is None:
            loose.setdefault(event["contact_id"], []).append(event)
        else:
            named.setdefault(event["conversation_id"], []).append(event)
    kept = {name: standing(own) for name, own in named.items()}
    happened = {name: own for name, own in kept.items() if _happened(own)}
    return happened, {k: standing(v) for k, v in loose.items()}


def _happened(events: list[Row]) -> bool:
    return any(e["event_type"] not in ("event_retracted", "message_labelled") for e in events)


def all_standing(events: Iterable[Row]) -> list[Row]:
    """The events that no standing retraction undoes."""
    named, loose = _standing_by_owner(events)
    return [e for own in [*named.values(), *loose.values()] for e in own]


def canonical(events: Iterable[Row]) -> dict[str, str]:
    """For each id that standing events merge with others the smallest of them; not where they are more than 50."""
    groups: list[set[str]] = []
    for event in events:
        if event["event_type"] == "contact_identified":
            group = {event["contact_id"], *event["aliases"]} - {None}
            apart = [g for g in groups if not g & group]
            groups = [*apart, group.union(*(g for g in groups if g & group))]
    return {name: min(group) for group in groups if 1 < len(group) <= 50 for name in group}


def _attributions(named: dict[str, list[Row]], loose: dict[str, list[Row]], same: Mapping[str, str]) -> list[Row]:
    contact_of = {c: _last(e["contact_id"] for e in own) for c, own in named.items()}
    who = {c: same.get(contact, contact) for c, contact in contact_of.items() if contact is not None}
    found: list[Row] = []
    for contact in {same.get(c, c) for c in loose}:
        mine = sorted((c for c in who if who[c] == contact), key=lambda c: (_began(named[c]), c))
        of_contact = [e for c, own in loose.items() if same.get(c, c) == contact for e in own]
        line = sorted([e for c in mine for e in named[c]] + of_contact, key=_place)
        found += _along(line, {c: named[c] for c in mine})
    return found


def _along(line: list[Row], mine: dict[str, list[Row]]) -> list[Row]:
    """One contact's contact events, each judged by what precedes it; `mine`: its conversations by their start."""
    so_far: dict[str, list[Row]] = {c: [] for c in mine}
    found: list[Row] = []
    for event in line:
        target = event["conversation_id"]
        if target is None:
            if event["event_type"] in ("contact_identified", "event_retracted", "experiment_exposed"):
                continue
            target, rule = _judge(event, line, mine, so_far)
            row = {k: event[k] for k in ("contact_id", "event_type", "timestamp")}
            found.append({**row, "event_id": event["id"], "conversation_id": target, "attributed_by": rule})
        if target is not None:
            so_far[target].append(event)
    return found


def _judge(
    event: Row, line: list[Row], mine: dict[str, list[Row]], so_far: dict[str, list[Row]]
) -> tuple[str | None, str]:
    family, named = event["event_type"].split("_")[0], event["object_id"]
    told = [(e["conversation_id"], e) for e in line if e["conversation_id"] is not None]
    told += [(c, e) for c, own in so_far.items() for e in own]
    for conversation, other in told:
        if named is not None and (family, named) == (other["event_type"].split("_")[0], other["object_id"]):
            return conversation, "object_id"
    rules: list[tuple[str, Callable[[str], bool]]] = [
        ("latest", lambda c: 0 <= event["timestamp"] - _began(mine[c]) <= 180 * DAY)
    ]
    if family == "meeting":
        rules.insert(0, ("live_booking", lambda c: any(m["state"] == "live" for m in _meetings(so_far[c]))))
    if family in ("opportunity", "deal"):
        rules.insert(0, ("booking", lambda c: bool(_meetings(so_far[c]))))
        rules.insert(0, ("opportunity", lambda c: any(e["event_type"] == "opportunity_created" for e in so_far[c])))
    for rule, fits in rules:
        for conversation in reversed(mine):
            if fits(conversation):
                return conversation, rule
    return None, "unmatched"


def _began(events: list[Row]) -> int:
    own = [e for e in events if e["conversation_id"] is not None]
    starts = [e for e in own if e["event_type"] == "conversation_started"]
    return min(e["timestamp"] for e in starts or [e for e in own if _is_message(e)] or own)


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
    owner = event["conversation_id"] or event["contact_id"]  # one id may name an event of each of several owners
    number = (event["timestamp"], sequence is None, sequence or 0, _kind(event))
    return (*number, event["id"], event["conversation_id"] is None, owner)


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


def _conversation(name: str, events: list[Row], zone: ZoneInfo, same: Mapping[str, str]) -> dict[str, list[Row]]:
    def of(*kinds: str) -> list[Row]:
        return [e for e in events if e["event_type"] in kinds]

    def first_at(*kinds: str) -> int | None:
        return min((e["timestamp"] for e in of(*kinds)), default=None)

    spoken, turns = _messages(name, events), _turns(events)
    starts, began = of("conversation_started"), _began(events)
    inside = [e for e in events if e["conversation_id"] is not None and not _from_elsewhere(e["event_type"])]
    over = max([began, *(e["timestamp"] for e in inside)])
    judged = of("qualified", "disqualified")
    known = [e for e in events if not _is_message(e) and e["event_type"] not in ("fallback", "error")]
    life = _life(events, zone)
    facts: Row = {
        "id": name,
        **{k: _first(e[k] for e in events) for k in ("channel", "direction", "bot_id", "bot_version")},
        "contact_id": _last(same.get(e["contact_id"], e["contact_id"]) for e in events),
        "account_id": _last(e["account_id"] for e in events),
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
        "taken_over": _taken_over(events),
        "ends_in_fallback": bool(turns) and turns[-1]["fallback"],
    }
    facts["touches"] = _touches(facts, spoken)
    facts |= _talk(facts, starts, spoken) | _path(events)
    facts["final"] = _final(facts, events, spoken, life)
    facts["closes_at"] = _closes_at(facts, events, life)
    _understand(spoken, turns, events)
    return {
        "conversations": [facts],
        "messages": [{k: v for k, v in m.items() if k != "row"} for m in spoken],
        "turns": [_turn_row(name, t) for t in turns if t["fallback"] or t["error"]],
        "meetings": [_meeting_row(name, m, zone) for m in _meetings(events)],
        "deals": [_deal_row(name, d) for d in _deals(events)],
    }


def _taken_over(events: list[Row]) -> bool:
    kinds = [e["event_type"] for e in events]
    after = events[kinds.index("escalated") :] if "escalated" in kinds else []
    return any(_is_message(e) and e["sender"] == "agent" for e in after)


def _touches(facts: Row, spoken: list[Row]) -> int:
    won = facts["converted_at"]
    return 0 if won is None else sum(m["sender"] != "prospect" and m["timestamp"] <= won for m in spoken)


def _turns(events: list[Row]) -> list[Row]:
    """The bot's turns: the events of each. One without a message stands alone."""
    talk = [e for e in events if _is_message(e) or e["event_type"] in ("fallback", "error")]
    turns: list[Row] = []
    current: Row | None = None
    for i, event in enumerate(talk):
        following = next((e["sender"] for e in talk[i:] if _is_message(e)), None)
        if _is_message(event) and event["sender"] != "bot":
            current = None
            continue
        alone = following != "bot"
        if current is None or current["alone"] != alone:
            current = {"alone": alone, "events": []}
            turns.append(current)
        current["events"].append(event)
    for turn in turns:
        turn |= {word: any(e["event_type"] == word for e in turn["events"]) for word in ("fallback", "error")}
    return turns


def _understand(spoken: list[Row], turns: list[Row], events: list[Row]) -> None:
    """What the bot's turns say of the messages."""
    firsts = [next(e for e in t["events"] if _is_message(e)) for t in turns if not t["alone"]]
    talk = [e for e in events if _is_message(e) or e["event_type"] in ("fallback", "error")]
    for message in spoken:
        row, sure = message["row"], message["intent_confidence"]
        message |= {"opens_turn": any(row is e for e in firsts), "understood": None}
        if message["sender"] == "prospect":
            place = next(i for i, e in enumerate(talk) if e is row)
            answer = next((e for e in talk[place:] if not _is_message(e) or e["sender"] != "prospect"), None)
            failed = any(t["fallback"] for t in turns if any(e is answer for e in t["events"]))
            if failed or sure is not None:
                message["understood"] = not failed and sure >= 0.5


def _turn_row(name: str, turn: Row) -> Row:
    first = next((e for e in turn["events"] if _is_message(e)), turn["events"][0])
    flags = {k: turn[k] for k in ("fallback", "error", "alone")}
    return {"conversation_id": name, "timestamp": first["timestamp"], **flags}


def _meeting_row(name: str, meeting: Row, zone: ZoneInfo) -> Row:
    return {
        "conversation_id": name,
        "meeting_id": meeting["name"],
        "booked_at": meeting["booked"],
        "due_at": None if meeting["due"] is None else _due(meeting["due"], zone),
        "state": "booked" if meeting["state"] == "live" else meeting["state"],
        "state_at": meeting["since"],
        "by": meeting["by"],
        "reschedules": meeting["reschedules"],
    }


def _deal_row(name: str, deal: Row) -> Row:
    won = deal["since"] if deal["state"] == "won" else None
    state = {"state": deal["state"], "state_at": deal["since"], "won_at": won}
    return {"conversation_id": name, "deal_id": deal["name"], **state, **{k: deal[k] for k in ("micros", "currency")}}


def _from_elsewhere(kind: str) -> bool:
    return kind.startswith(("meeting_", "deal_")) or kind in ELSEWHERE


def _messages(name: str, events: list[Row]) -> list[Row]:
    named = {e["keyword"] for e in events if e["event_type"] == "opted_out" and e["keyword"] is not None}
    latest = {e["message_id"]: e["status"] for e in events if e["event_type"] == "message_status" and e["message_id"]}
    made: list[Row] = []
    channel, before = None, None
    for event in events:
        channel = (event["channel"] if event["conversation_id"] is not None else None) or channel
        if not _is_message(event):
            continue
        same_side = before is not None and (before["sender"] == "prospect") == (event["sender"] == "prospect")
        words = named | (CARRIER_WORDS if channel in ("sms", "whatsapp") and event["sender"] == "prospect" else set())
        delivered = latest.get(event["message_id"], "delivered") == "delivered"
        gap = None if before is None or same_side else (event["timestamp"] - before["timestamp"]) / SECOND
        made.append(
            {
                **{k: event[k] for k in ("timestamp", "sender", "intent", "intent_confidence")},
                **{k: event[k] for k in ("sentiment", "variant", "label_source", "appropriateness")},
                "conversation_id": name,
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
        alike.setdefault(_place(step)[:4], set()).add(name)
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
            fitting = [{"name": name, "state": None, "booked": None, "due": None, "by": None, "reschedules": 0}]
            meetings += fitting
        meeting = fitting[-1]
        state = "live" if kind in ("booked", "rescheduled") else kind
        moved = meeting["state"] == "live" and meeting["due"] is not None and event["due"] not in (None, meeting["due"])
        meeting["reschedules"] += kind == "rescheduled" or (kind == "booked" and moved)
        if state != meeting["state"]:
            meeting |= {"state": state, "since": event["timestamp"], "by": None}
        if kind == "booked" and meeting["booked"] is None:
            meeting["booked"] = event["timestamp"]
        if kind in ("canceled", "no_show"):
            meeting["by"] = event["by"] or meeting["by"]
        meeting["due"] = event["due"] or meeting["due"]
    return meetings


def _wait(meeting: Row, zone: ZoneInfo) -> int:
    if meeting["due"] is None:
        return (meeting["since"] if meeting["booked"] is None else meeting["booked"]) + 14 * DAY
    return _due(meeting["due"], zone) + 2 * DAY


def _due(due: str, zone: ZoneInfo) -> int:
    if "-" not in due:
        return int(due)
    following = datetime.combine(datetime.fromisoformat(due).date() + timedelta(days=1), time(), zone)
    return round(following.timestamp()) * SECOND


def _deals(events: list[Row]) -> list[Row]:
    deals: dict[str | None, Row] = {}
    for event in (e for e in events if e["event_type"] in ("deal_closed", "deal_reopened")):
        name = event["object_id"]
        deal = deals.setdefault(name, {"name": name, "state": None, "currency": None, "micros": None})
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
