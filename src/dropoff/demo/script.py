"""The course of a conversation: greeting, three questions, pitch, objections, a meeting."""

from dropoff.demo.deals import book
from dropoff.demo.planted import DIVERGENCE, DROP_OFF, INCIDENT, SEGMENTS, VARIANTS
from dropoff.demo.talk import Talk
from dropoff.demo.world import DAY, HOUR, MINUTE, SECOND, pick, spread, weighted

REPLIES = {
    ("sms", "outbound"): 0.76,
    ("email", "outbound"): 0.62,
    ("whatsapp", "outbound"): 0.76,
    ("voice", "outbound"): 0.68,
    ("chat", "outbound"): 0.70,
    ("sms", "inbound"): 0.90,
    ("email", "inbound"): 0.86,
    ("whatsapp", "inbound"): 0.90,
    ("voice", "inbound"): 0.92,
    ("chat", "inbound"): 0.86,
}
"""The chance of a reply to the better first message."""
MOST_REPLIES = 0.97

UNDELIVERED = {"sms": ("failed", 0.02), "email": ("bounced", 0.03)}
AUTO_REPLY = 0.07
OPTS_OUT = 0.015
OPTS_OUT_LATER = 0.02
REPLIES_TO_FOLLOW_UP = 0.12
FOLLOWED_UP = 0.8
FEEDBACK = 0.14

GREETED = weighted(
    {"interested": 76, "question_product": 9, "question_pricing": 7, "smalltalk": 5, "not_interested": 3}
)
OPENERS = weighted({"interested": 60, "question_product": 25, "question_pricing": 15})
ASKED = weighted({"interested": 88, "question_product": 6, "question_pricing": 4, "smalltalk": 2})
PITCHED = weighted(
    {
        "objection_price": 42,
        "interested": 36,
        "objection_timing": 8,
        "objection_trust": 6,
        "question_product": 5,
        "not_interested": 3,
    }
)
ANSWERED = weighted({"interested": 100})
DECLINED = weighted({"not_interested": 45, "reschedule": 55})
ACCEPTED = weighted({"confirm": 100})

ANSWERS = {"question_pricing": "answer_pricing", "question_product": "answer_product"}
OBJECTION_ANSWERS = {"objection_timing": "answer_timing", "objection_trust": "answer_trust"}
SILENT_AFTER_OBJECTION = 0.22
SILENT_AFTER_PITCH = 0.06
SILENT_AFTER_PROPOSAL = 0.10
ACCEPT = 0.68
AGENT_BOOKS = 0.22

DISQUALIFIED = weighted({"no_budget": 45, "too_small": 30, "wrong_role": 15, "student": 10})
PATHS = weighted({"standard": 70, "fast_track": 20, "enterprise": 10})


def hold(talk: Talk) -> None:
    """One whole conversation and what comes of it."""
    _open(talk)
    if _delivered(talk) and _replies(talk):
        _lead(talk)
    if talk.end == "human":
        _take_over(talk)
    elif talk.end != "complete":
        talk.close()
    _feedback(talk)


def _lead(talk: Talk) -> None:
    intent = talk.hear(GREETED)
    if _react(talk, intent) and _qualify(talk):
        _sell(talk)


def _open(talk: Talk) -> None:
    contact = talk.contact
    talk.emit("conversation_started", lead_score=contact.lead_score, variant=contact.variant, **contact.attributes)
    if talk.base["direction"] == "inbound" and talk.channel != "chat":
        talk.at += SECOND
        talk.receive(pick(talk.rng, OPENERS))
    talk.emit("experiment_exposed", experiment=VARIANTS.experiment, variant=contact.variant)
    if talk.base["bot_version"] == DROP_OFF.new_version:
        talk.emit("experiment_exposed", experiment=VARIANTS.null_experiment, variant=contact.signature)
    talk.say("greet", "greet:broken" if talk.disturbed else f"greet:{contact.variant}", variant=contact.variant)


def _delivered(talk: Talk) -> bool:
    if talk.channel not in UNDELIVERED:
        return True
    failure, share = UNDELIVERED[talk.channel]
    failed = talk.chance(share)
    talk.emit(
        "message_status",
        at=talk.at + 2 * SECOND,
        message_id=f"{talk.key}-m{talk.messages}",
        status=failure if failed else "delivered",
    )
    return not failed


def _replies(talk: Talk) -> bool:
    """Whether the prospect answers the first message: the variant, the segment and the incident all act here."""
    outbound = talk.base["direction"] == "outbound"
    if outbound and talk.channel == "email" and talk.chance(AUTO_REPLY):
        talk.receive("auto_reply", auto_reply=True)
    if outbound and talk.slow and talk.chance(OPTS_OUT):
        return _opt_out(talk)
    if talk.chance(_reply_chance(talk)):
        if outbound and talk.slow and talk.chance(REPLIES_TO_FOLLOW_UP):
            _follow_up(talk)
        return True
    return outbound and talk.slow and talk.chance(FOLLOWED_UP) and _chase(talk)


def _reply_chance(talk: Talk) -> float:
    chance = REPLIES[talk.channel, talk.base["direction"]]
    chance *= SEGMENTS.reply_factor if talk.contact.referred else 1
    chance = min(chance, MOST_REPLIES)
    chance /= VARIANTS.ratio if talk.contact.variant == VARIANTS.worse else 1
    return chance * (INCIDENT.reply_factor if talk.disturbed else 1)


def _follow_up(talk: Talk) -> None:
    talk.at += DAY + spread(talk.rng, HOUR)
    talk.say("follow_up")


def _chase(talk: Talk) -> bool:
    """Follow-ups to somebody who never answers: always False."""
    _follow_up(talk)
    if talk.chance(OPTS_OUT_LATER):
        return _opt_out(talk)
    if talk.chance(0.5):
        talk.at += DAY
        _follow_up(talk)
    return False


def _opt_out(talk: Talk) -> bool:
    talk.at += spread(talk.rng, 20 * MINUTE)
    talk.receive("opt_out")
    talk.emit("opted_out", keyword="STOP")
    return False


def _react(talk: Talk, intent: str | None) -> bool:
    """Answer a question, let go who is not interested: True while the talk goes on."""
    if intent is None:
        return False
    if intent == "not_interested":
        talk.emit("disqualified", reason="not_interested", score=talk.contact.lead_score)
        return _part(talk)
    if intent in ANSWERS:
        talk.say(ANSWERS[intent])
    return True


def _part(talk: Talk) -> bool:
    talk.end = "parted"
    talk.say("goodbye")
    return False


def _qualify(talk: Talk) -> bool:
    need, size = DROP_OFF.silent_elsewhere
    version = talk.base["bot_version"]
    if not _react(talk, talk.ask("ask_need", ASKED, need)) or not _react(talk, talk.ask("ask_team_size", ASKED, size)):
        return False
    silent = DROP_OFF.silent(version, talk.channel)
    if not _react(talk, talk.ask(DROP_OFF.intent, ASKED, silent, f"ask_budget:{version[0]}", final=True)):
        return False
    return _decide(talk)


def _decide(talk: Talk) -> bool:
    score = round(20 + 75 * talk.contact.fit)
    if talk.chance(0.50 - 0.44 * talk.contact.fit):
        talk.emit("disqualified", reason=pick(talk.rng, DISQUALIFIED), score=score)
        return _part(talk)
    talk.emit("qualified", score=score, path=pick(talk.rng, PATHS))
    return True


def _sell(talk: Talk) -> None:
    intent = talk.ask("pitch", PITCHED, SILENT_AFTER_PITCH)
    if intent == "not_interested":
        _part(talk)
    elif intent is not None and _persuade(talk, intent):
        _propose(talk, "propose_meeting")


def _persuade(talk: Talk, intent: str) -> bool:
    if intent == f"objection_{DIVERGENCE.objection}":
        return _answer_price(talk)
    if intent in OBJECTION_ANSWERS:
        return talk.ask(OBJECTION_ANSWERS[intent], ANSWERED, SILENT_AFTER_OBJECTION, final=True) is not None
    return _react(talk, intent)


def _answer_price(talk: Talk) -> bool:
    """The planted fork: a fair coin decides what the bot answers to a price objection."""
    good = talk.chance(0.5)
    answer, silent = (DIVERGENCE.good, DIVERGENCE.silent_good) if good else (DIVERGENCE.bad, DIVERGENCE.silent_bad)
    if not good:
        talk.accept *= DIVERGENCE.accept_bad
        talk.win *= DIVERGENCE.win_bad
    return talk.ask(answer, ANSWERED, silent, final=True) is not None


def _propose(talk: Talk, intent: str) -> None:
    accept = ACCEPT * talk.accept * (SEGMENTS.accept_factor if talk.contact.referred else 1)
    accepts = talk.chance(accept)
    reply = talk.ask(intent, ACCEPTED if accepts else DECLINED, 0.0 if accepts else SILENT_AFTER_PROPOSAL)
    if reply == "confirm":
        book(talk)
    elif reply == "reschedule" and intent == "propose_meeting":
        _propose(talk, "propose_other_time")
    elif reply == "not_interested":
        _part(talk)


def _take_over(talk: Talk) -> None:
    """A human writes after an escalation, and now and then books the meeting."""
    talk.at += spread(talk.rng, 12 * MINUTE if talk.slow else MINUTE)
    talk.say("agent", sender="agent")
    talk.mood += 0.2
    talk.at += spread(talk.rng, 3 * MINUTE)
    talk.receive("interested")
    if talk.chance(AGENT_BOOKS):
        book(talk)
    else:
        talk.say("agent", sender="agent")
        talk.close()


def _feedback(talk: Talk) -> None:
    if talk.messages > 4 and talk.chance(FEEDBACK):
        score = 3.6 + 2.2 * talk.mood + 2.4 * (talk.rng.random() - 0.5)
        talk.emit("feedback", at=talk.at + 5 * MINUTE, score=min(5, max(1, round(score))), scale=[1, 5])
