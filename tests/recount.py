"""SEMANTICS §1, §3, §5 and §6 in plain Python, from events as they are sent: what every metric must agree with.

    talks = tell(events, now)
    figures(talks, "booking_rate", start, end, by="channel", zone="America/New_York", bucket="day")

Slow and literal. Events carry an `event_id` and are spelled as SEMANTICS spells them; aliases of contacts, retractions
and revisions are not part of it. Instants are integers of microseconds.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

Dict = dict[str, Any]

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STAGES = ("started", "responded", "qualified", "booked", "attended", "opportunity", "converted")
IDLE_MINUTES = {"chat": 30, "voice": 10, "whatsapp": 24 * 60, "sms": 3 * 24 * 60, "email": 7 * 24 * 60}
NONE = "(none)"
EVERY = "*"
"""In place of a currency: for each currency that there is."""

STOP = {"stop", "stopall", "stop all", "unsubscribe", "opt out", "optout", "revoke", "quit", "end", "cancel"}
OUTSIDE = {"opportunity_created", "message_status", "feedback", "contact_identified"}
MEETING_WORDS = ("booked", "rescheduled", "canceled", "attended", "no_show")
PROSPECT = ("industry", "company_size", "role", "country", "lead_score")


# Events


@dataclass(eq=False)
class Told:
    """One event."""

    raw: Dict
    at: int
    attributed: bool = False

    @property
    def kind(self) -> str:
        return self.raw["event_type"]

    def __getitem__(self, name: str) -> Any:
        return self.raw["properties"].get(name)

    @property
    def side(self) -> str | None:
        default = {"message_sent": "bot", "message_received": "prospect"}.get(self.kind)
        return default and (self["sender"] or default)

    @property
    def order(self) -> tuple:
        given = self.raw.get("sequence")
        rank = {"conversation_started": 0, "conversation_ended": 4}.get(self.kind, 2)
        if self.side is not None:
            rank = 1 if self.side == "prospect" else 3
        return self.at, given is None, given or 0, rank, self.raw["event_id"]

    @property
    def thing(self) -> str | None:
        """The id of the meeting, opportunity or deal."""
        name = self["meeting_id"] or self["opportunity_id"] or self["deal_id"]
        return None if name is None else str(name)

    @property
    def family(self) -> str:
        return self.kind.partition("_")[0]

    @property
    def wins(self) -> bool:
        return self.kind == "deal_closed" and self["won"] is not False

    @property
    def price(self) -> tuple[str, Fraction] | None:
        """Currency and exact amount."""
        given = self["cost"] if self.side else self["amount"]
        return None if given is None else (self["currency"], Fraction(str(given)))


def micros(given: str | float) -> int:
    if isinstance(given, str):
        return (datetime.fromisoformat(given) - EPOCH) // timedelta(microseconds=1)
    return round(given * (SECOND if given < 1e11 else 1000))


def moment(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=at)


# Meetings and deals


@dataclass(eq=False)
class Meeting:
    name: str | None
    state: str = ""
    since: int = 0
    booked: int | None = None
    due: int | None = None

    @property
    def live(self) -> bool:
        return self.state == "booked"


@dataclass(eq=False)
class Deal:
    state: str = ""
    since: int = 0
    last: Told | None = None
    price: tuple[str, Fraction] | None = None


def meet(meetings: list[Meeting], event: Told, zone: str) -> None:
    word = event.kind.removeprefix("meeting_")
    known = [m for m in meetings if (m.live if event.thing is None else m.name == event.thing)]
    meeting = known[-1] if known else Meeting(event.thing)
    if not known:
        meetings.append(meeting)
    if word == "booked" and meeting.booked is None:
        meeting.booked = event.at
    state = "booked" if word == "rescheduled" else word
    if state != meeting.state:
        meeting.state, meeting.since = state, event.at
    if event["meeting_date"]:
        meeting.due = due(event["meeting_date"], zone)


def due(text: str, zone: str) -> int:
    """A date without a time is due at the end of that day."""
    if "T" in text:
        return micros(text)
    end = date.fromisoformat(text) + timedelta(days=1)
    return micros(datetime(end.year, end.month, end.day, tzinfo=ZoneInfo(zone)).isoformat())


def deal(deals: dict[str | None, Deal], event: Told) -> None:
    one = deals.setdefault(event.thing, Deal())
    state = "open" if event.kind == "deal_reopened" else "won" if event.wins else "lost"
    if state != one.state:
        one.state, one.since = state, event.at
    one.last, one.price = event, event.price or one.price


# Contact events


def attribute(named: dict[str, list[Told]], loose: list[Told], zone: str) -> None:
    """Put each event that names only a contact among the events of its conversation, if it has one."""
    contacts: dict[str, list[str]] = defaultdict(list)
    for name, own in named.items():
        contact = last(e.raw.get("contact_id") for e in own)
        if contact is not None:
            contacts[contact].append(name)
    waiting: dict[str, list[Told]] = defaultdict(list)
    for event in loose:
        waiting[event.raw["contact_id"]].append(event)
    for contact, events in waiting.items():
        for name, event in _places(contacts[contact], named, events, zone):
            named[name] = sorted([*named[name], event], key=lambda e: e.order)


def _places(names: list[str], named: dict[str, list[Told]], loose: list[Told], zone: str) -> list[tuple[str, Told]]:
    """Replay one contact's events: each one without a conversation is decided by what came before it."""
    started = {name: begin(named[name]) for name in names}
    names = sorted(names, key=lambda name: (started[name], name))
    owners: dict[tuple[str, str], str] = {}
    line = [(e, name) for name in names for e in named[name] if e.family in ("meeting", "opportunity", "deal")]
    line.sort(key=lambda pair: _contact_order(pair[0]))
    for event, name in line:
        if event.thing is not None:
            owners.setdefault((event.family, event.thing), name)
    meetings: dict[str, list[Meeting]] = {name: [] for name in names}
    opportunities: set[str] = set()
    found: list[tuple[str, Told]] = []
    everything: list[tuple[Told, str | None]] = [*line, *((e, None) for e in loose)]
    for event, name in sorted(everything, key=lambda pair: _contact_order(pair[0])):
        owner = name
        if owner is None:
            event.attributed = True
            same = owners.get((event.family, event.thing or ""))
            owner = same or _guess(event, names, started, meetings, opportunities)
            if owner is None:
                continue
            found.append((owner, event))
            if event.thing is not None:
                owners.setdefault((event.family, event.thing), owner)
        if event.family == "meeting":
            meet(meetings[owner], event, zone)
        elif event.family == "opportunity":
            opportunities.add(owner)
    return found


def _contact_order(event: Told) -> tuple:
    given = event.raw.get("sequence")
    return event.at, given is None, given or 0, event.raw["event_id"]


def _guess(
    event: Told, names: list[str], started: dict[str, int], meetings: dict[str, list[Meeting]], opportunities: set[str]
) -> str | None:
    """The rules after the first, in order; of several conversations the latest."""
    if event.family == "meeting":
        live = [n for n in names if any(m.live for m in meetings[n])]
        if live:
            return live[-1]
    if event.family in ("opportunity", "deal"):
        better = [n for n in names if n in opportunities] or [n for n in names if meetings[n]]
        if better:
            return better[-1]
    recent = [n for n in names if started[n] <= event.at <= started[n] + 180 * DAY]
    return recent[-1] if recent else None


# Conversations


@dataclass(eq=False)
class Said:
    """One message."""

    event: Told
    side: str
    counted: bool
    delivered: bool
    response: float | None
    understood: bool | None = None


@dataclass(eq=False)
class Turn:
    """A bot's turn."""

    at: int
    events: list[Told] = field(default_factory=list)

    def has(self, kind: str) -> bool:
        return any(e.kind == kind for e in self.events)


@dataclass(eq=False)
class Talk:
    """One conversation with what is known of it at `now`."""

    name: str
    events: list[Told]
    now: int
    start: int
    end: int
    said: list[Said]
    turns: list[Turn]
    meetings: list[Meeting]
    deals: list[Deal]
    times: dict[str, int | None]
    ending: str | None = None
    closed: bool = False
    outcome: str = ""
    objections: list[str] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Told]:
        return [e for e in self.events if e.kind in kinds]

    def by(self, *sides: str) -> list[Said]:
        return [m for m in self.said if m.side in sides]

    def first(self, name: str) -> Any:
        return first(e.raw.get(name) for e in self.events)

    @property
    def is_test(self) -> bool:
        return any(e.raw.get("is_test") for e in self.events)

    @property
    def lead(self) -> tuple[str, str]:
        contact = last(e.raw.get("contact_id") for e in self.events)
        return ("conversation", self.name) if contact is None else ("contact", contact)

    @property
    def level(self) -> int:
        return max(i for i, stage in enumerate(STAGES) if self.times[stage] is not None)

    @property
    def escalated(self) -> bool:
        return bool(self.of("escalated"))


def tell(events: Iterable[Dict], now: int, zone: str = "UTC", *, include_test: bool = False) -> list[Talk]:
    """All conversations of these events. `zone` is the project's."""
    named: dict[str, list[Told]] = defaultdict(list)
    loose: list[Told] = []
    for raw in events:
        event = Told(raw, micros(raw["timestamp"]))
        named[raw["conversation_id"]].append(event) if "conversation_id" in raw else loose.append(event)
    for own in named.values():
        own.sort(key=lambda e: e.order)
    attribute(named, loose, zone)
    talks = [talk(name, own, now, zone) for name, own in named.items()]
    return [t for t in talks if include_test or not t.is_test]


def first(values: Iterable[Any]) -> Any:
    return next((v for v in values if v is not None), None)


def last(values: Iterable[Any]) -> Any:
    return first(reversed(list(values)))


def begin(events: list[Told]) -> int:
    own = [e for e in events if not e.attributed]
    starts = [e.at for e in events if e.kind == "conversation_started"]
    return min(starts or [e.at for e in events if e.side] or [e.at for e in own])


def talk(name: str, events: list[Told], now: int, zone: str) -> Talk:
    meetings: list[Meeting] = []
    deals: dict[str | None, Deal] = {}
    for event in events:
        if event.kind.removeprefix("meeting_") in MEETING_WORDS and event.family == "meeting":
            meet(meetings, event, zone)
        elif event.kind in ("deal_closed", "deal_reopened"):
            deal(deals, event)
    start = begin(events)
    own = [e for e in events if not e.attributed and e.kind not in OUTSIDE and e.family not in ("meeting", "deal")]
    inside = [e.at for e in own]
    one = Talk(name, events, now, start, max([start, *inside]), spoken(events), [], meetings, [*deals.values()], {})
    one.turns = turns(one)
    one.times = stages(one)
    one.closed = now >= closes(one)
    one.ending = ending(one)
    one.outcome = outcome(one)
    one.objections = objections(events)
    return one


def spoken(events: list[Told]) -> list[Said]:
    statuses = {e.raw.get("message_id"): e["status"] for e in events if e.kind == "message_status"}
    words = {plain(e["keyword"]) for e in events if e.kind == "opted_out" and e["keyword"]}
    found: list[Said] = []
    channel = None
    for event in events:
        channel = event.raw.get("channel") or channel
        if event.side is None:
            continue
        before = found[-1] if found else None
        turned = before is not None and (before.side == "prospect") != (event.side == "prospect")
        response = (event.at - before.event.at) / SECOND if before and turned else None
        delivered = statuses.get(event.raw.get("message_id"), "delivered") == "delivered"
        stops = words | (STOP if channel in ("sms", "whatsapp") else set())
        content = event["content"]
        keyword = event.side == "prospect" and content is not None and len(content) <= 24 and plain(content) in stops
        counted = delivered and not event["auto_reply"] and not keyword
        found.append(Said(event, event.side, counted, delivered, response))
    return found


def plain(text: str) -> str:
    return text.strip(" \t\r\n.!").casefold()


def turns(one: Talk) -> list[Turn]:
    """Runs of bot messages with the troubles in or directly before them; other troubles are turns of their own.

    Sets for each prospect message whether it was understood.
    """
    messages = {id(m.event): m for m in one.said}
    line = [e for e in one.events if e.side or e.kind in ("fallback", "error")]
    voices = []
    following = None
    for event in reversed(line):
        following = event.side or following
        voices.append(event.side or ("bot" if following == "bot" else "alone"))
    found: list[Turn] = []
    waiting: list[Said] = []
    run: list[tuple[str, list[Told]]] = []
    for event, voice in zip(line, reversed(voices), strict=True):
        if not run or run[-1][0] != voice:
            run.append((voice, []))
        run[-1][1].append(event)
    for voice, events in run:
        if voice in ("bot", "alone"):
            found.append(Turn(next((e.at for e in events if e.side), events[0].at), events))
        failed = voice in ("bot", "alone") and found[-1].has("fallback")
        for message in waiting:
            sure = message.event["intent_confidence"]
            message.understood = False if failed else None if sure is None else sure >= 0.5
        waiting = [messages[id(e)] for e in events] if voice == "prospect" else []
    for message in waiting:
        sure = message.event["intent_confidence"]
        message.understood = None if sure is None else sure >= 0.5
    return found


def stages(one: Talk) -> dict[str, int | None]:
    """The first time of each stage by its own event."""
    replies = [m for m in one.said if m.side == "prospect" and m.counted]
    if one.first("direction") == "inbound":
        bot = [i for i, m in enumerate(one.said) if m.side == "bot"]
        replies = [m for i, m in enumerate(one.said) if bot and i > bot[0] and m in replies]

    def earliest(*kinds: str) -> int | None:
        return min((e.at for e in one.of(*kinds)), default=None)

    return {
        "started": one.start,
        "responded": min((m.event.at for m in replies), default=None),
        "qualified": earliest("qualified"),
        "booked": earliest("meeting_booked"),
        "attended": min((m.since for m in one.meetings if m.state == "attended"), default=None),
        "opportunity": earliest("opportunity_created"),
        "converted": min((d.since for d in one.deals if d.state == "won"), default=None),
    }


def closes(one: Talk) -> int:
    active = max([one.end, *(e.at for e in one.of("meeting_canceled", "meeting_no_show"))])
    waits = [m.since + 90 * DAY for m in one.meetings if m.state == "attended"]
    for meeting in one.meetings:
        if meeting.live and meeting.due is not None:
            waits.append(meeting.due + 2 * DAY)
        elif meeting.live:
            waits.append((meeting.since if meeting.booked is None else meeting.booked) + 14 * DAY)
    goodbyes = [e.at for e in one.of("conversation_ended")]
    until = max(waits or goodbyes, default=None)
    if until is not None and until >= active:
        return until
    return active + IDLE_MINUTES.get(one.first("channel"), 24 * 60) * 60 * SECOND


def ending(one: Talk) -> str | None:
    """A negative end counts only if no stage event and no counted prospect message follows it."""
    if one.times["converted"] is not None:
        return "converted"
    going = {"qualified", "meeting_booked", "meeting_attended", "opportunity_created"}
    counted = {id(m.event) for m in one.said if m.side == "prospect" and m.counted}
    went_on = [i for i, e in enumerate(one.events) if e.kind in going or e.wins or id(e) in counted]
    rest = one.events[went_on[-1] + 1 :] if went_on else one.events
    if any(d.state == "lost" and d.last in rest for d in one.deals):
        return "lost"
    kinds = {e.kind for e in rest}
    return next((k for k in ("opted_out", "disqualified") if k in kinds), "dropped" if one.closed else None)


def outcome(one: Talk) -> str:
    if one.ending in ("converted", "lost", "opted_out", "disqualified"):
        return one.ending
    for word in ("attended", "booked"):
        if one.times[word] is not None:
            return word
    if one.escalated:
        return "escalated"
    said = last(e["outcome"] for e in one.of("conversation_ended"))
    said = said and re.sub(r"\W+", "_", said.strip()).strip("_").lower()
    words = {"converted", "lost", "opted_out", "disqualified", "attended", "booked", "escalated", "qualified"}
    if said in words | {"dropped", "open"}:
        return said
    if one.times["qualified"] is not None:
        return "qualified"
    return "dropped" if one.closed else "open"


def objections(events: list[Told]) -> list[str]:
    found: dict[str, None] = {}
    for event in events:
        intent = event["intent"] if event.side == "prospect" else None
        match = re.match(r"objection[\W_]+([^\W_].*)$", intent or "", re.IGNORECASE)
        name = event["objection"] if event.kind == "objection_raised" else match and match[1]
        if name:
            found[name] = None
    return list(found)


# Segments and buckets


def segments(one: Talk, by: str | None, zone: str) -> list[str]:
    """The values of a dimension: one, but for objections."""
    if by is None:
        return [""]
    if by == "objection":
        return one.objections or [NONE]
    if by in ("day_of_week", "hour_of_day", "week", "month"):
        local = moment(one.start).astimezone(ZoneInfo(zone))
        year, week, day = local.isocalendar()
        names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
        made = {"day_of_week": names[day - 1], "hour_of_day": f"{local.hour:02}", "week": f"{year}-W{week:02}"}
        return [made.get(by, f"{local.year}-{local.month:02}")]
    value = _value(one, by)
    return [NONE if value is None else value]


def _value(one: Talk, by: str) -> str | None:
    if by.startswith("property:"):
        value = last(e[by.removeprefix("property:")] for e in one.events if not e.side and not e.attributed)
        return value if isinstance(value, str | None) else {True: "true", False: "false"}.get(value, str(value))
    if by in ("channel", "direction", "bot_id", "bot_version"):
        return one.first(by)
    starts = one.of("conversation_started")
    if by in ("source", "medium"):
        return first(e[by] for e in starts)
    if by == "first_message_variant":
        bot = [m.event for m in one.by("bot") if m.delivered]
        return first([*(e["variant"] for e in bot[:1]), *(e["variant"] for e in starts)])
    if by == "qualification_path":
        return last(e["path"] for e in one.of("qualified", "disqualified"))
    if by == "outcome":
        return one.outcome
    assert by in PROSPECT
    return last(e[by] for e in one.events if not e.side and e.kind not in ("fallback", "error"))


@cache
def buckets(zone: str, name: str, day: date) -> list[tuple[int, Any]]:
    """Where hours, or the day, the week and the month of a day in a zone begin, each with its name."""
    here = ZoneInfo(zone)
    midnight = micros(datetime(day.year, day.month, day.day, tzinfo=here).isoformat())
    if name == "hour":
        hours, at = [], midnight
        while moment(at).astimezone(here).date() == day:
            hours.append((at, moment(at).replace(tzinfo=None)))
            at += HOUR
        return hours
    week = day - timedelta(days=day.weekday())
    return [(midnight, {"day": day, "week": week, "month": day.replace(day=1)}[name])]


def bucket_of(at: int, name: str | None, zone: str) -> Any:
    if name is None:
        return None
    found = buckets(zone, name, moment(at).astimezone(ZoneInfo(zone)).date())
    return found[bisect_right([begins for begins, _ in found], at) - 1][1]


# Metrics


class Item(NamedTuple):
    """One thing that a metric counts. `top` is a number, a sample of a median, or whom a distinct count is of."""

    at: int
    top: Any
    bottom: int = 0
    currency: str | None = None
    beside: int = 0


class Figure(NamedTuple):
    """`n` of a median is its number of samples; `beside` what is shown apart."""

    value: float | None
    numerator: Fraction
    denominator: int | None = None
    quantiles: tuple[float | None, float | None, float | None] | None = None
    beside: int = 0


Items = Iterator[Item]


def _per_talk(top: Callable[[Talk], Any], bottom: Callable[[Talk], Any] = lambda _: 1) -> Callable[[Talk], Items]:
    def items(one: Talk) -> Items:
        yield Item(one.start, Fraction(top(one)), int(bottom(one)))

    return items


def _share(part: Callable[[Talk], Any], whole: Callable[[Talk], Any] = lambda _: True) -> Callable[[Talk], Items]:
    return _per_talk(lambda one: bool(whole(one) and part(one)), lambda one: bool(whole(one)))


def _rate(top: str, bottom: str) -> Callable[[Talk], Items]:
    return _share(lambda one: one.level >= STAGES.index(top), lambda one: one.level >= STAGES.index(bottom))


def _decimal(value: float) -> Fraction:
    return Fraction(str(value))


def _leads(level: int) -> Callable[[Talk], Items]:
    return lambda one: iter([Item(one.start, one.lead)] if one.level >= level else [])


def _messages(*sides: str) -> Callable[[Talk], Items]:
    return lambda one: (Item(m.event.at, Fraction(1)) for m in one.by(*sides))


def _booked(one: Talk) -> Items:
    return (Item(m.booked, Fraction(1)) for m in one.meetings if m.booked is not None)


def _won(one: Talk) -> Items:
    return (Item(d.since, Fraction(1)) for d in one.deals if d.state == "won")


def _revenue(one: Talk) -> Items:
    for d in one.deals:
        if d.state == "won" and d.price is not None:
            yield Item(d.since, d.price[1], 0, d.price[0])


def _shown(one: Talk) -> Items:
    for m in one.meetings:
        at = m.since if m.due is None else m.due
        if at + HOUR <= one.now:
            known = m.state in ("attended", "no_show")
            yield Item(at, Fraction(m.state == "attended"), known, beside=m.live and m.due is not None)


def _attended(one: Talk) -> Items:
    for m in one.meetings:
        at = m.since if m.due is None else m.due
        if m.state == "attended" and at + HOUR <= one.now:
            yield Item(at, Fraction(1))


def _paid(one: Talk) -> Items:
    for m in one.said:
        if m.event.price is not None:
            yield Item(one.start, m.event.price[1], 0, m.event.price[0])


def _felt(one: Talk) -> Items:
    scored = [m for m in one.by("prospect") if m.event["sentiment"] is not None]
    return (Item(m.event.at, _decimal(m.event["sentiment"]), 1) for m in scored)


def _trend(one: Talk) -> Items:
    felt = [_decimal(m.event["sentiment"]) for m in one.by("prospect") if m.event["sentiment"] is not None]
    if len(felt) > 1:
        yield Item(one.start, felt[-1] - felt[0], 1)


def _csat(one: Talk) -> Items:
    rated = [e for e in one.of("feedback") if e["score"] is not None]
    if rated:
        low, high = map(_decimal, rated[-1]["scale"] or [1, 5])
        yield Item(one.start, (_decimal(rated[-1]["score"]) - low) / (high - low), 1)


def _taken_over(one: Talk) -> bool:
    escalations = one.of("escalated")
    agents = [m.event for m in one.by("agent")]
    return bool(escalations and agents) and agents[-1].order > escalations[0].order


def _resolved(one: Talk) -> bool:
    stuck = bool(one.turns) and one.turns[-1].has("fallback")
    return not (one.escalated or one.by("agent") or stuck or one.ending in ("dropped", "opted_out"))


def _understood(one: Talk) -> Items:
    known = [m for m in one.by("prospect") if m.understood is not None]
    return (Item(m.event.at, Fraction(bool(m.understood)), 1) for m in known)


def _turns(kind: str) -> Callable[[Talk], Items]:
    return lambda one: (Item(t.at, Fraction(t.has(kind)), 1) for t in one.turns)


def _appropriate(one: Talk) -> Items:
    for m in one.by("bot"):
        given = m.event["appropriate"]
        yield Item(m.event.at, Fraction(0) if given is None else _decimal(float(given)), given is not None, beside=1)


def _answers(one: Talk) -> Items:
    return (Item(m.event.at, m.response) for m in one.by("bot") if m.response is not None)


def _time_to(stage: str) -> Callable[[Talk], Items]:
    def items(one: Talk) -> Items:
        reached = one.times[stage]
        if reached is not None:
            yield Item(one.start, (reached - one.start) / SECOND)

    return items


def _duration(one: Talk) -> Items:
    return iter([Item(one.start, (one.end - one.start) / SECOND)] if one.closed else [])


def _touches(one: Talk) -> int:
    won = one.times["converted"]
    return 0 if won is None else sum(m.event.at <= won for m in one.by("bot", "agent"))


def _costs(one: Talk) -> Items:
    for m in one.said:
        if m.event.price is not None:
            yield Item(one.start, m.event.price[1], 0, m.event.price[0])
    for m in one.meetings:
        if m.state == "attended":
            yield Item(one.start, Fraction(0), 1, EVERY)


COUNTS = {
    "conversations_started": lambda one: iter([Item(one.start, Fraction(1))]),
    "inbound_conversations": lambda one: iter([Item(one.start, Fraction(one.first("direction") == "inbound"))]),
    "outbound_conversations": lambda one: iter([Item(one.start, Fraction(one.first("direction") == "outbound"))]),
    "bot_messages": _messages("bot"),
    "human_messages": _messages("prospect", "agent"),
    "meetings_booked": _booked,
    "meetings_attended": _attended,
    "deals_closed": _won,
}
DISTINCT = {"leads": _leads(0), "qualified_leads": _leads(2)}
QUOTIENTS = {
    "messages_per_conversation": _per_talk(lambda one: len(one.said)),
    "response_rate": _rate("responded", "started"),
    "qualification_rate": _rate("qualified", "responded"),
    "booking_rate": _rate("booked", "qualified"),
    "show_rate": _rate("attended", "booked"),
    "opportunity_rate": _rate("opportunity", "attended"),
    "conversion_rate": _rate("converted", "attended"),
    "win_rate": _rate("converted", "started"),
    "engagement_rate": _share(lambda one: sum(m.counted for m in one.by("prospect")) >= 2),
    "delivery_rate": _share(lambda one: any(m.delivered for m in one.by("bot")), lambda one: one.by("bot")),
    "delivered_response_rate": _share(lambda one: one.level >= 1, lambda one: any(m.delivered for m in one.by("bot"))),
    "meeting_show_rate": _shown,
    "sentiment_average": _felt,
    "sentiment_trend": _trend,
    "csat": _csat,
    "escalation_rate": _share(lambda one: one.escalated),
    "human_takeover_rate": _share(_taken_over),
    "human_intervention_rate": _share(lambda one: one.by("agent")),
    "automation_rate": _share(lambda one: not one.by("agent") and not one.escalated, lambda one: one.by("bot")),
    "resolution_rate": _share(_resolved, lambda one: one.closed),
    "understanding_rate": _understood,
    "fallback_rate": _turns("fallback"),
    "error_rate": _turns("error"),
    "appropriateness_rate": _appropriate,
    "opt_out_rate": _share(lambda one: one.of("opted_out")),
    "touches_per_conversion": _per_talk(_touches, lambda one: one.times["converted"] is not None),
    "cost_per_meeting": _costs,
}
MONEY = {"revenue": _revenue, "cost": _paid}
MEDIANS = {
    "response_time": _answers,
    "time_to_qualification": _time_to("qualified"),
    "time_to_booking": _time_to("booked"),
    "conversation_duration": _duration,
}
STAGES_OF = {
    "response_rate": ("responded", "started"),
    "qualification_rate": ("qualified", "responded"),
    "booking_rate": ("booked", "qualified"),
    "show_rate": ("attended", "booked"),
    "opportunity_rate": ("opportunity", "attended"),
    "conversion_rate": ("converted", "attended"),
    "win_rate": ("converted", "started"),
}
"""The stages of a rate of the funnel: it is null where one of them has no event anywhere."""

ALL: dict[str, Callable[[Talk], Items]] = {**COUNTS, **DISTINCT, **QUOTIENTS, **MONEY, **MEDIANS}


def figures(
    talks: list[Talk],
    name: str,
    start: int,
    end: int,
    by: str | None = None,
    zone: str = "UTC",
    bucket: str | None = None,
) -> dict[tuple[str, Any, str | None], Figure]:
    """The metric in [start, end) for each segment, bucket (hour, day, week, month) and currency that has any."""
    cells: dict[tuple[str, Any, str | None], list[Item]] = defaultdict(list)
    for one in talks:
        items = [item for item in ALL[name](one) if start <= item.at < end]
        names = segments(one, by, zone) if items else []
        for item in items:
            for segment in names:
                cells[segment, bucket_of(item.at, bucket, zone), item.currency].append(item)
    found = {cell: _figure(name, items) for cell, items in _spread(cells).items()}
    kept = {cell: f for cell, f in found.items() if f.numerator or f.denominator or f.beside}
    return _judged(talks, name, kept)


def _spread(cells: dict[tuple[str, Any, str | None], list[Item]]) -> dict[tuple[str, Any, str | None], list[Item]]:
    """What stands under every currency, put under each that there is."""
    currencies = {currency for _, _, currency in cells} - {EVERY, None}
    made = {cell: list(items) for cell, items in cells.items() if cell[2] != EVERY}
    for (segment, bucket, currency), items in cells.items():
        if currency == EVERY:
            for each in currencies:
                made.setdefault((segment, bucket, each), []).extend(items)
    return made


def _figure(name: str, items: list[Item]) -> Figure:
    if name in DISTINCT:
        n = Fraction(len({item.top for item in items}))
        return Figure(float(n), n)
    if name in MEDIANS:
        values = sorted(item.top for item in items)
        quantiles = (quantile(values, 0.5), quantile(values, 0.9), quantile(values, 0.99))
        return Figure(quantiles[0], Fraction(len(values)), None, quantiles)
    top, bottom = sum((item.top for item in items), Fraction(0)), sum(item.bottom for item in items)
    if name in QUOTIENTS:
        return Figure(float(top / bottom) if bottom else None, top, bottom, None, sum(item.beside for item in items))
    return Figure(float(top), top)


def quantile(values: list[float], share: float) -> float:
    """Of sorted values, by linear interpolation."""
    place = share * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def _judged(talks: list[Talk], name: str, found: dict) -> dict:
    """A rate into or out of a stage that has no event of its own anywhere is null."""
    if all(stage == "started" or any(t.times[stage] is not None for t in talks) for stage in STAGES_OF.get(name, ())):
        return found
    return {cell: figure._replace(value=None) for cell, figure in found.items()}
