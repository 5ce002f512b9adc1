"""The states of an alert, and the one function that changes them.

inactive ──breach──▶ pending ──`for`──▶ firing ──recovery──▶ resolved ──▶ inactive
insufficient, no_data, error: what can be said while there is nothing to judge by
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from dropoff.alerts.hours import watches
from dropoff.alerts.rules import Rule

Name = Literal["inactive", "pending", "firing", "resolved", "insufficient", "no_data", "error"]
Blank = Literal["insufficient", "no_data", "error"]
"""Why an evaluation says neither breached nor fine: too little behind the value, nothing at all, or it failed."""

UNSEEN = timedelta(minutes=5)
"""A longer pause between two evaluations, as while the server is down, interrupts what has to last: nobody saw it."""
SHOWN = timedelta(minutes=15)
"""How long an alert that is over stands as resolved."""


@dataclass(frozen=True, slots=True)
class State:
    """What is known of one alert: a rule, and a segment of it.

    `since`: when it came into this state. `seen`: the last evaluation that did not fail. `began`: the first breach of
    what is pending or firing. `fired`: when this episode began to fire; it stays after it has resolved. `missed`: the
    first evaluation since the last breach that found none, while it keeps firing. `told`: when the episode was last
    told, `repeats`: how often again.
    """

    name: Name = "inactive"
    since: datetime | None = None
    seen: datetime | None = None
    began: datetime | None = None
    fired: datetime | None = None
    missed: datetime | None = None
    told: datetime | None = None
    repeats: int = 0


INACTIVE = State()


def transition(state: State, breached: bool | Blank, now: datetime, rule: Rule) -> State:
    """The state after an evaluation at `now` that found this. Pure.

    A failed evaluation changes nothing but what an idle alert is called. Too little data drops what is pending and
    holds what fires: it is no recovery. No data is what the rule's `no_data` says: as good as fine, no news, or a
    breach. `keep_firing_for` runs from the first evaluation that missed, and never for what is only pending.
    """
    if breached == "error":
        return state if state.name in ("pending", "firing") else _into(state, "error", now)
    if state.seen is not None and now - state.seen > UNSEEN:
        state = _interrupted(state)
    found = _seen(state, breached, now, rule)
    return replace(found, seen=now)


def step(state: State, breached: bool | Blank, now: datetime, rule: Rule, zone: ZoneInfo) -> State:
    """`transition`, but for the hours of the rule: outside of them nothing begins; what fires goes on to its end."""
    may_wait = (rule.schedule or rule.mute) and state.name != "firing" and breached in (True, "no_data")
    if may_wait and not watches(rule.schedule, rule.mute, now, zone):
        breached = False
    return transition(state, breached, now, rule)


def _interrupted(state: State) -> State:
    if state.name == "pending":
        return INACTIVE
    return replace(state, missed=None)


def _seen(state: State, breached: bool | Blank, now: datetime, rule: Rule) -> State:
    if breached == "no_data" and rule.no_data == "alert":
        breached = True
    if breached is True:
        return _breached(state, now, rule)
    if state.name != "firing":
        return _idle(state, breached, now)
    if breached == "insufficient" or (breached == "no_data" and rule.no_data == "keep"):
        return state
    missed = state.missed or now
    if now - missed < rule.keep_firing_for:
        return replace(state, missed=missed)
    return replace(_into(state, "resolved", now), missed=None, began=None)


def _breached(state: State, now: datetime, rule: Rule) -> State:
    if state.name == "firing":
        return replace(state, missed=None)
    began = state.began if state.name == "pending" and state.began else now
    if now - began >= rule.hold:
        return State("firing", since=now, began=began, fired=now, told=now)
    return replace(_into(state, "pending", now), began=began)


def _idle(state: State, breached: bool | Blank, now: datetime) -> State:
    if breached is False and state.name == "resolved" and state.since and now - state.since < SHOWN:
        return state
    name: Name = "inactive" if breached is False else breached if isinstance(breached, str) else "inactive"
    return replace(_into(state, name, now), began=None)


def _into(state: State, name: Name, now: datetime) -> State:
    return state if state.name == name else replace(state, name=name, since=now)


def repeated(state: State, now: datetime, rule: Rule) -> State | None:
    """The state after a firing alert is told again; None while it is not time."""
    if state.name != "firing" or not rule.repeat or state.told is None or now - state.told < rule.repeat:
        return None
    return replace(state, told=now, repeats=state.repeats + 1)
