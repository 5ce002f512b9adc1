"""What follows a booking: reminders, the meeting itself, an opportunity, a deal weeks later."""

from typing import Any

from dropoff.demo.talk import Event, Talk, stamp
from dropoff.demo.texts import REPS
from dropoff.demo.world import DAY, HOUR, MINUTE, pick, spread, weighted

CONTACT_ONLY = {"meeting_attended": 0.06, "opportunity_created": 0.08, "deal_closed": 0.10}
"""The share of events that a calendar or CRM reports by contact, without the conversation."""

OPPORTUNITY = 0.66
WON = 0.66

FATES = weighted({"attended": 64, "no_show": 16, "rescheduled": 12, "canceled": 8})
SECOND_FATES = weighted({"attended": 78, "no_show": 22})
MEETING_TYPES = weighted({"demo": 70, "discovery": 22, "technical": 8})
BY = weighted({"guest": 80, "host": 20})
CURRENCIES = {"DE": "EUR", "FR": "EUR", "JP": "JPY"}
FROM_DOLLARS = {"USD": 100, "EUR": 92, "JPY": 15000}
"""Units of the currency for 100 dollars."""
SIZE_AMOUNTS = {"1-10": 1800, "11-50": 5400, "51-200": 12400, "201-1000": 31000, "1000+": 74000}
LOST_REASONS = weighted({"price": 35, "competitor": 25, "no_decision": 40})


def book(talk: Talk) -> None:
    """Confirm and book; then everything that comes of it, each at its own later time."""
    talk.end = "complete"
    talk.say("confirm_meeting")
    due = talk.calendar.slot(talk.at, 1 + int(talk.rng.random() * 9), int(talk.rng.random() * 15))
    meeting: Event = {"meeting_id": f"{talk.key}-meeting", "meeting_type": pick(talk.rng, MEETING_TYPES)}
    meeting["assigned_rep"] = talk.rng.choice(REPS)
    talk.emit("meeting_booked", **meeting, meeting_date=stamp(due))
    talk.close()
    _meet(talk, meeting, due)


def _meet(talk: Talk, meeting: Event, due: int) -> None:
    fate = pick(talk.rng, FATES)
    if fate in {"rescheduled", "canceled"}:
        change = talk.at + int((due - talk.at) * (0.2 + 0.6 * talk.rng.random()))
        due = _change(talk, meeting, fate, change)
        fate = pick(talk.rng, SECOND_FATES) if fate == "rescheduled" else fate
    else:
        _remind(talk, due)
    if fate == "no_show":
        talk.emit("meeting_no_show", at=due + 15 * MINUTE, **meeting, by="guest")
    elif fate == "attended":
        _attend(talk, meeting, due + 20 * MINUTE + spread(talk.rng, 15 * MINUTE))


def _change(talk: Talk, meeting: Event, fate: str, at: int) -> int:
    due = talk.calendar.slot(at, 3 + int(talk.rng.random() * 6), int(talk.rng.random() * 15))
    date: Event = {"meeting_date": stamp(due)} if fate == "rescheduled" else {}
    talk.emit(f"meeting_{fate}", at=at, **meeting, **date, by=pick(talk.rng, BY))
    return due


def _remind(talk: Talk, due: int) -> None:
    if talk.slow and due - DAY > talk.at + 2 * HOUR:
        talk.at = due - DAY
        talk.say("reminder")


def _attend(talk: Talk, meeting: Event, at: int) -> None:
    _report(talk, "meeting_attended", at, **meeting)
    if talk.chance(OPPORTUNITY * (0.8 + 0.4 * talk.contact.fit)):
        _opportunity(talk, at + HOUR + spread(talk.rng, 8 * HOUR))


def _opportunity(talk: Talk, at: int) -> None:
    attributes = talk.contact.attributes
    currency = CURRENCIES.get(attributes["country"], "USD")
    dollars = SIZE_AMOUNTS[attributes["company_size"]] * (0.6 + 0.8 * talk.rng.random())
    money = {"amount": _amount(dollars, currency), "currency": currency}
    _report(talk, "opportunity_created", at, opportunity_id=f"{talk.key}-opportunity", **money)
    won = talk.chance(WON * talk.win * (0.8 + 0.4 * talk.contact.fit))
    closed = at + 2 * DAY + spread(talk.rng, (11 if won else 16) * DAY)
    reason = {} if won else {"reason": pick(talk.rng, LOST_REASONS)}
    _report(talk, "deal_closed", closed, deal_id=f"{talk.key}-deal", won=won, **money, **reason)


def _amount(dollars: float, currency: str) -> str:
    whole = int(dollars) * FROM_DOLLARS[currency] // 100 // 10 * 10
    return str(whole) if currency == "JPY" else f"{whole}.00"


def _report(talk: Talk, event_type: str, at: int, **properties: Any) -> None:
    """Told by the bot's own integration, or by a CRM that knows only the contact."""
    envelope = {"contact_id": talk.contact.id, **({"is_test": True} if talk.contact.is_test else {})}
    known = not talk.chance(CONTACT_ONLY[event_type])
    talk.emit(event_type, at=at, base=None if known else envelope, **properties)
