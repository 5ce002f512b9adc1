"""What units, dimensions and metrics mean, in a line each."""

from collections.abc import Iterable, Mapping

from dropoff.phrases import words
from dropoff.phrases.formats import NONE, duration, label

UNITS = {
    "count": "How many.",
    "share": "A part of a whole, from 0 to 1, with its 95 % interval (Wilson).",
    "ratio": "A quotient that may exceed 1; without interval.",
    "seconds": "A median, with the values that half, nine in ten and 99 in 100 do not exceed.",
    "score": "A mean.",
    "money": "Exact amounts, one for each currency, never added up across currencies.",
}

DIMENSION_MEANINGS = {
    "channel": "How they talk: sms, chat, email, whatsapp, voice or another that was sent.",
    "direction": "Who began, as it was sent: inbound (the prospect) or outbound (the bot). Never guessed.",
    "medium": "By what the prospect came, such as paid or organic: the first that was sent.",
    "source": "From where the prospect came: the first that was sent.",
    "industry": "Industry of the prospect's company: the last that was sent.",
    "company_size": "Size of the prospect's company: the last that was sent.",
    "role": "The prospect's role there: the last that was sent.",
    "country": "The prospect's country: the last that was sent.",
    "first_message_variant": "Variant of the first delivered message of the bot, else that of the start.",
    "qualification_path": "The way on which the prospect was qualified, as it was sent.",
    "outcome": "How the conversation ended, or that it is open, in one word.",
    "bot_id": "Which bot.",
    "bot_version": "Which version of the bot.",
    "day_of_week": "Day of the week of the start, in the zone of the period.",
    "hour_of_day": "Hour of the start, in the zone of the period.",
    "week": "Week of the start (ISO), in the zone of the period.",
    "month": "Month of the start, in the zone of the period.",
    "objection": "An objection that was raised. A conversation stands under each of its objections.",
}


def wait(metric: Mapping) -> str:
    """How long a conversation is waited for before the metric judges it."""
    if not metric["maturity_days"]:
        return NONE
    source = metric["maturity_source"]
    return duration(metric["maturity_days"] * 86400) + (f" ({source})" if source else "")


def known(metrics: Iterable[Mapping]) -> dict[str, str]:
    """What is told at the name of each metric."""
    return {row["metric"]: told(row) for row in metrics}


def told(metric: Mapping) -> str:
    """A metric in one line: `Responded / started. By the start of the conversation. Higher is better.`"""
    parts = (label(metric["description"]) + ".", words.CLOCKS[metric["clock"]] + ".", words.GOOD[metric["good"]])
    return " ".join(filter(None, parts))
