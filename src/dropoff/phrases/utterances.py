"""The bot's messages in plain words: what they are, where they stand, what came of them; for page, terminal, report."""

from collections.abc import Mapping

from dropoff.phrases.formats import NONE, moved, number, percent, quoted, signed, span, sure, visible

_CAME_OF_IT = {
    "reply_rate": "are answered", "objection_rate": "bring an objection", "opt_out_rate": "bring an opt-out",
    "booking_rate": "lead to a booking", "conversion_rate": "lead to a won deal",
    "sentiment_change": "is how the sentiment changes",
}  # fmt: skip
MEASURES = (
    "reply_rate", "objection_rate", "opt_out_rate", "sentiment_change", "booking_rate", "conversion_rate",
)  # fmt: skip
"""What is said of a message, in this order."""


def name(row: Mapping, longest: int = 200) -> str:
    """A message in quotation marks, cut where it is longer."""
    return quoted(row["message"], longest)


def place(row: Mapping) -> str:
    """Where it stands: `message 4, ask_budget`."""
    return f"message {row['position']}" + (f", {visible(row['intent'])}" if row["intent"] else "")


def said(row: Mapping, definition: Mapping) -> str:
    """What is seen of a message, and thought of it beside its place; its name and place not included."""
    rank, unit = definition["rank"], definition["unit"]
    return (
        f"{measured(row, rank)} {_CAME_OF_IT[rank]} (95 %: {interval(row, rank)}; n = {old_enough(row, rank)}); "
        f"shrunk to its place {shrunk(row, unit)}, {moved(row['lead'], unit)} beside all that is said there; "
        f"{verdict(row)}."
    )


def sentence(row: Mapping, definition: Mapping, longest: int) -> str:
    """All of it in one."""
    return f"{name(row, longest)} ({place(row)}): {said(row, definition)}"


def verdict(row: Mapping) -> str:
    """Whether a message differs from the others at its place."""
    if not row["enough"]:
        return "not enough data"
    if row["q_value"] is None:
        return "nothing to compare with"
    q = sure(row["q_value"])
    return f"{row['verdict']} than the others ({q})" if row["verdict"] else f"may be chance ({q})"


def measured(row: Mapping, measure: str) -> str:
    """A measure of a message, of those old enough."""
    if row[measure] is None:
        return NONE
    value = row[measure]["matured"]["value"]
    return signed(value, 3) if measure == "sentiment_change" else percent(value)


def interval(row: Mapping, measure: str) -> str:
    """Its interval."""
    unit = "score" if measure == "sentiment_change" else "share"
    return NONE if row[measure] is None else span(row[measure]["matured"]["interval"], unit, signs=False)


def old_enough(row: Mapping, measure: str) -> str:
    """How many were old enough for a measure: what its value is a share or a mean of."""
    return NONE if row[measure] is None else number(row[measure]["matured"]["n"])


def shrunk(row: Mapping, unit: str) -> str:
    """The measure messages are ranked by, drawn towards the mean of its place."""
    if row["shrunk"] is None:
        return NONE
    value = row["shrunk"]["value"]
    return percent(value) if unit == "share" else signed(value, 3)


FILTERS = {
    "message_name": name, "message_place": place, "message_said": said, "message_verdict": verdict,
    "of_message": measured, "message_interval": interval, "message_old_enough": old_enough, "message_shrunk": shrunk,
}  # fmt: skip
