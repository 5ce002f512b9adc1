"""The rules that come with the product: quiet where there is too little data, and where nothing is out of the usual."""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dropoff.alerts.files import Place, of_toml
from dropoff.alerts.rules import Rule, merged, parse
from dropoff.errors import InvalidInput
from dropoff.metrics import Metric
from dropoff.project.settings import FILE, Settings

# Each is evaluated every two seconds over a sliding window: a few hundred independent looks a week. An anomaly has to
# be so unlikely, and to last so long, that looking so often does not find one by chance.
_UNLIKELY = 1e-5

_TABLES: tuple[dict[str, Any], ...] = (
    {
        "name": "volume_drop", "metric": "conversations_started", "condition": "anomaly", "direction": "down",
        "threshold": _UNLIKELY, "window": "4_hours", "severity": "high", "for": "15m", "keep_firing_for": "1h",
        "description": "far fewer conversations than at this time of the week",
    },
    {
        "name": "volume_spike", "metric": "conversations_started", "condition": "anomaly", "direction": "up",
        "threshold": _UNLIKELY, "window": "1_hour", "severity": "medium", "for": "10m", "keep_firing_for": "1h",
        "min_n": 10, "description": "far more conversations than at this time of the week",
    },
    {
        "name": "response_drop", "metric": "response_rate", "condition": "anomaly", "direction": "down",
        "threshold": _UNLIKELY, "window": "4_hours", "severity": "high", "for": "15m", "keep_firing_for": "1h",
        "description": "far fewer answers to the bot's first message than usual",
    },
    {
        "name": "replies_drop", "metric": "human_messages", "condition": "anomaly", "direction": "down",
        "threshold": _UNLIKELY, "window": "4_hours", "severity": "high", "for": "15m", "keep_firing_for": "1h",
        "min_n": 100, "description": "far fewer messages of people than at this time of the week",
    },
    {
        "name": "fallbacks", "metric": "fallback_rate", "condition": "exceeds", "threshold": 0.3,
        "window": "30m", "severity": "high", "for": "2m", "keep_firing_for": "30m", "min_n": 15,
        "description": "the bot does not understand",
    },
    {
        "name": "errors", "metric": "error_rate", "condition": "exceeds", "threshold": 0.15,
        "window": "30m", "severity": "high", "for": "2m", "keep_firing_for": "30m", "min_n": 20,
        "description": "what the bot calls fails",
    },
    {
        "name": "sentiment_drop", "metric": "sentiment_average", "condition": "drops_below", "threshold": -0.2,
        "window": "1_hour", "severity": "high", "for": "5m", "keep_firing_for": "1h",
        "description": "prospects are annoyed",
    },
    {
        "name": "escalations", "metric": "escalation_rate", "condition": "anomaly", "direction": "up",
        "threshold": _UNLIKELY, "window": "4_hours", "severity": "medium", "for": "15m", "keep_firing_for": "1h",
        "description": "far more conversations are handed to a human than usual",
    },
    {
        "name": "booking_drop", "metric": "booking_rate", "condition": "anomaly", "direction": "down",
        "threshold": _UNLIKELY, "window": "1_day", "severity": "high", "for": "1h", "keep_firing_for": "6h",
        "description": "far fewer of the qualified book a meeting than usual",
    },
    {
        "name": "bookings_drop", "metric": "meetings_booked", "condition": "anomaly", "direction": "down",
        "threshold": _UNLIKELY, "window": "1_day", "severity": "high", "for": "1h", "keep_firing_for": "6h",
        "description": "far fewer meetings booked than on this day of the week",
    },
    {
        "name": "conversion_drop", "metric": "conversion_rate", "condition": "anomaly", "direction": "down",
        "threshold": _UNLIKELY, "window": "7_days", "severity": "medium", "for": "6h", "keep_firing_for": "1d",
        "description": "far fewer of the attended meetings end in a deal than usual",
    },
    {
        "name": "deals_drop", "metric": "deals_closed", "condition": "anomaly", "direction": "down",
        "threshold": _UNLIKELY, "window": "7_days", "severity": "medium", "for": "6h", "keep_firing_for": "1d",
        "description": "far fewer deals won than in the weeks before",
    },
)  # fmt: skip


def starters() -> list[Rule]:
    """The starter set, in the order of the docs."""
    found = parse([dict(table) for table in _TABLES], Place("starters"))
    return [replace(rule, starter=True) for rule in found]


def tables() -> tuple[Mapping[str, Any], ...]:
    """The same as they would stand in `dropoff.toml`."""
    return _TABLES


def configured(settings: Settings, registry: Mapping[str, Metric]) -> list[Rule]:
    """The rules of a project: its own, and the starter set unless `starter_alerts` is off.

    Raises `InvalidInput` for the first that is wrong.
    """
    own = parse(settings.alerts, _place(settings.alerts), registry, settings.funnels)
    return merged(own, starters() if settings.starter_alerts else ())


def check_notified(settings: Settings, registry: Mapping[str, Metric], receivers: Collection[str]) -> None:
    """Refuse the first rule of a project that tells a receiver who is none of these. Raises `InvalidInput`."""
    place = _place(settings.alerts)
    for number, rule in enumerate(parse(settings.alerts, place, registry, settings.funnels)):
        for name in rule.notify:
            if rule.enabled and name not in receivers:
                known = ", ".join(receivers) or "none is configured"
                raise place.refusal(number, "notify", name, f"a receiver: {known}")


def _place(raw: Sequence[Any]) -> Place:
    """Where the settings' rules stand: the lines of their file, if that is where they are from."""
    file = os.environ.get("DROPOFF_CONFIG", FILE)
    with suppress(OSError, UnicodeDecodeError, InvalidInput):
        found, place = of_toml(Path(file).read_text(), file)
        if found == list(raw):
            return place
    return Place("alerts")
