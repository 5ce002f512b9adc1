"""How numbers, shares, durations, instants and foreign text are written on a page. Nothing else formats."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from dropoff.analyse.stats import ENOUGH
from dropoff.currencies import decimals_of
from dropoff.periods import FIRST

NONE = "–"
_SPACE = "\u00a0"
_BUCKETS = {"day": "%a %Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_SYMBOLS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"} | {0x7F: "\u2421"}
_CODES = [*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029]
_VISIBLE = _SYMBOLS | {code: f"⟨U+{code:04X}⟩" for code in _CODES} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def number(value: float | None, digits: int = 0) -> str:
    """`6526` → `6,526`; with `digits` decimals. None is an en dash."""
    return NONE if value is None else _minus(f"{value:,.{digits}f}")


def counted(count: float, one: str, many: str = "") -> str:
    """`1 conversation`, `2 conversations`; `many` where it is no `s` that is added."""
    shown = number(count)
    return f"{shown} {one if shown == '1' else many or one + 's'}"


def signed(value: float | None, digits: int = 2) -> str:
    """A difference or a sentiment, with its sign: `+0.30`, `−0.15`, `0.00`."""
    if value is None:
        return NONE
    text = f"{value:+,.{digits}f}"
    return text[1:] if not any(character in "123456789" for character in text) else _minus(text)


def percent(share: float | None, digits: int = 1) -> str:
    """`0.4231` → `42.3 %`. A share that is not exactly 0 or 1 is never rounded to look like it."""
    if share is None:
        return NONE
    step = 10.0**-digits
    value = share * 100
    if 0 < share < 1:
        value = min(max(value, step), 100 - step)
    return f"{number(value, digits)}{_SPACE}%"


def points(difference: float | None) -> str:
    """A difference of shares, in percentage points: `+4.2 pp`, `−0.1 pp`."""
    return NONE if difference is None else f"{signed(difference * 100, 1)}{_SPACE}pp"


def apart(difference: float | None, metric: str) -> str:
    """A difference of a goal per unit: in percentage points, of the sentiment in its own unit."""
    return signed(difference, 3) if metric.startswith("sentiment") else points(difference)


def apart_interval(bounds: Sequence[float] | None, metric: str) -> str:
    """Its interval: `+15.0 to +26.5 pp`."""
    if bounds is None:
        return NONE
    scale, digits, unit = (1, 3, "") if metric.startswith("sentiment") else (100, 1, f"{_SPACE}pp")
    low, high = (signed(bound * scale, digits) for bound in bounds)
    return f"{low} to {high}{unit}"


def in_arm(found: Mapping, metric: str) -> tuple[str, str]:
    """The value of a goal in an arm, and its interval."""
    if metric.startswith("sentiment"):
        return signed(found["value"], 3), apart_interval(found["interval"], metric)
    return percent(found["value"]), interval(found["interval"])


def chance(p: float | None) -> str:
    """A p- or q-value: `0.032`, `< 0.001`."""
    if p is None:
        return NONE
    return f"<{_SPACE}0.001" if p < 0.001 else number(p, 3)


def sure(p: float | None, name: str = "q") -> str:
    """A p- or q-value with its name: `q = 0.032`, `q < 0.001`."""
    return f"{name} {'' if p is not None and p < 0.001 else '= '}{chance(p)}"


def interval(bounds: Sequence[float] | None, digits: int = 1) -> str:
    """A 95 % interval of a share: `90.7–92.1 %`."""
    if bounds is None:
        return NONE
    low, high = (number(bound * 100, digits) for bound in bounds)
    return f"{low}–{high}{_SPACE}%"


def fraction(rate: Mapping) -> str:
    """Numerator and denominator of a NUMBER: `5,966 / 6,526`."""
    return f"{number(rate['numerator'])}{_SPACE}/{_SPACE}{number(rate['denominator'])}"


def measure(row: Mapping) -> str:
    """The value of a metric in its unit: `42.3 %`, `3 min 20 s`, `1,200.50 EUR`, `0.17`, `6,526`."""
    if row["value"] is None:
        return NONE
    match row["unit"]:
        case "share":
            return percent(row["value"])
        case "seconds":
            return duration(row["value"])
        case "money":
            return f"{_grouped(row)}{_SPACE}{visible(row.get('currency') or '?')}"
        case "count":
            return number(row["value"])
        case _:
            return number(row["value"], 2)


def bounds(row: Mapping) -> str:
    """The interval of a segment's value in its unit."""
    return span(row["confidence"], row["unit"], signs=False)


def span(both: Sequence[float] | None, unit: str, *, signs: bool = True) -> str:
    """Two numbers of a unit: `90.7–92.1 %`; of a difference with `signs`: `−1.2 to +3.4 pp`."""
    if both is None:
        return NONE
    if not signs:
        return interval(both) if unit == "share" else f"{_plain(both[0], unit)} to {_plain(both[1], unit)}"
    low, high = (moved(bound, unit) for bound in both)
    return f"{low.removesuffix(_SPACE + 'pp')} to {high}"


def _plain(value: float, unit: str) -> str:
    return duration(value) if unit == "seconds" else number(value, 2)


def moved(difference: float | None, unit: str) -> str:
    """A difference in a unit: `+4.2 pp`, `−3 min 20 s`, `+0.12`."""
    if difference is None:
        return NONE
    if unit == "share":
        return points(difference)
    if unit == "seconds":
        return f"+{duration(difference)}" if difference > 0 else duration(difference)
    return signed(difference, 3)


def _grouped(row: Mapping) -> str:
    """An amount with its thousands marked, to its currency's minor unit; what is no sum with two decimals."""
    if row["denominator"] is not None or row.get("amount") is None:
        return number(row["value"], 2)
    return _minus(f"{Decimal(row['amount']):,.{decimals(row)}f}")


def decimals(row: Mapping) -> int:
    """How many decimals an amount of a row has: those of its currency's minor unit; what is no sum has two."""
    is_sum = row.get("denominator") is None and row.get("amount") is not None
    return decimals_of(row.get("currency")) if is_sum else 2


def sample(row: Mapping) -> float | None:
    """How many stand behind a metric's value; None for what is no rate and no mean: a count, a sum of money."""
    return row["n"] if "n" in row else row["denominator"]


def basis(row: Mapping) -> str:
    """What a metric's value is made of: `5,966 / 6,526`, of a median `n = 300`, of a count nothing."""
    if "n" in row:
        return f"n = {number(row['n'])}"
    if row["denominator"] is None:
        return NONE
    digits = 0 if float(row["numerator"]).is_integer() else 2
    return f"{number(row['numerator'], digits)}{_SPACE}/{_SPACE}{number(row['denominator'])}"


def remarks(row: Mapping) -> str:
    """What is to be said of a value beside the number itself."""
    n = sample(row)
    small = n is not None and row["value"] is not None and is_small(n)
    said = [
        "not enough data" if small else "",
        "not over or cut" if row.get("partial") else "",
        "immature" if row.get("immature") else "",
        f"unknown: {number(row['unknown'])}" if row.get("unknown") else "",
        f"labelled: {percent(row['labelled_share'])}" if row.get("labelled_share") is not None else "",
        f"p90 {duration(row['p90'])}, p99 {duration(row['p99'])}" if row.get("p90") else "",
    ]
    return ", ".join(text for text in said if text)


def bucket(when: str, interval: str, timezone: str) -> str:
    """What the part of a trend that begins then is called: `2024-01-15 09:00`, `Mon 2024-01-15`, `2024-W03`."""
    moment = local(when, timezone)
    if interval == "hour":  # the hour that the clock runs through twice has two names
        return f"{moment:%Y-%m-%d %H:%M}" + (" (second)" if moment.fold else "")
    return f"{moment:{_BUCKETS[interval]}}"


def matured(rate: Mapping) -> str:
    """The matured rate of a NUMBER: `64.5 % of 107 within 1 h 36 min`, or that nobody is old enough."""
    found = rate.get("matured")
    if not found:
        return NONE
    value = percent(found["value"]) if found["n"] else NONE
    return f"{value} of {number(found['n'])} within {duration(found['maturity_days'] * 86400)}"


def matured_first(rate: Mapping) -> str:
    """The matured rate by what it is: `within 4 h 47 min: 64.0 % (n = 107)`."""
    found = rate["matured"]
    value = percent(found["value"]) if found["n"] else NONE
    return f"within {duration(found['maturity_days'] * 86400)}: {value} (n = {number(found['n'])})"


def projected(rate: Mapping) -> str:
    """The projected rate of a NUMBER: `4.3 % [3.2–5.7 %] by 112 d, 70 % borrowed`."""
    found = rate.get("projected")
    if not found:
        return NONE
    by = duration(found["horizon_days"] * 86400)
    said = f"{percent(found['value'])} [{interval(found['interval'])}] by {by}"
    return f"{said}, {percent(found['borrowed'], 0)} borrowed" if found["borrowed"] else said


def is_small(denominator: float | None) -> bool:
    """Whether a rate over `denominator` says too little to act on."""
    return denominator is None or denominator < ENOUGH


def says_little(alert: Mapping) -> bool:
    """Whether so little stands behind a rate that its value would mislead: of one that does not fire."""
    n = alert.get("denominator")
    return n is not None and alert["state"] != "firing" and n < max(alert["min_n"], 1)


def standing_behind(alert: Mapping) -> str:
    """How many stand behind the value of an alert, and of too few, how many it takes: `1, needs 30`."""
    n = number(round(alert["n"]))
    return f"{n}, needs {number(alert['min_n'])}" if alert["state"] == "insufficient" else n


def duration(seconds: float | None) -> str:
    """The two largest units: `0.4 s`, `42 s`, `3 min 20 s`, `2 h`, `3 d 4 h`."""
    if seconds is None:
        return NONE
    sign, rest = ("−" if seconds < 0 else ""), abs(seconds)
    if rest < 10:
        return f"{sign}{rest:.1f}".removesuffix(".0") + f"{_SPACE}s"
    return sign + _SPACE.join(_largest_units(round(rest)))


def instant(when: str | datetime | None, timezone: str = "UTC") -> str:
    """`2024-01-15 11:00` on the clock of `timezone`."""
    return NONE if when is None else f"{local(when, timezone):%Y-%m-%d %H:%M}"


def second(when: str | datetime | None, timezone: str = "UTC") -> str:
    """`2024-01-15 11:00:05` on the clock of `timezone`."""
    return NONE if when is None else f"{local(when, timezone):%Y-%m-%d %H:%M:%S}"


def clock(when: str | datetime | None, timezone: str = "UTC") -> str:
    """`11:00:05` on the clock of `timezone`."""
    return NONE if when is None else f"{local(when, timezone):%H:%M:%S}"


def day(when: str | datetime | None, timezone: str = "UTC") -> str:
    """The local day of an instant: `2024-01-15`."""
    return NONE if when is None else f"{local(when, timezone):%Y-%m-%d}"


def last_day(end: str | datetime | None, timezone: str = "UTC") -> str:
    """The last local day before `end`: what an exclusive end is called by people."""
    return NONE if end is None else f"{local(end, timezone) - timedelta(microseconds=1):%Y-%m-%d}"


_WRITTEN = re.compile(r"(\d+)[ _]?([smhdw])[a-z]*")
_WORDS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}


def window(written: str) -> str:
    """A duration as a rule has it in words: `4_hours` → `4 hours`, `30m` → `30 minutes`."""
    found = _WRITTEN.fullmatch(written.strip())
    return counted(int(found[1]), _WORDS[found[2]]) if found else visible(written)


def first_day(period: Mapping) -> str:
    """The first local day of a period; empty where it is of all time."""
    is_all = datetime.fromisoformat(period["from"]) <= FIRST
    return "" if is_all else day(period["from"], period["timezone"])


def days(period: Mapping, between: str = " to ") -> str:
    """The local days of a period: `2024-01-01 to 2024-01-31`, `All time to 2024-01-31`."""
    last = last_day(period["to"], period["timezone"])
    first = first_day(period)
    return f"{first}{between}{last}" if first else f"All time to {last}"


def local(when: str | datetime, timezone: str) -> datetime:
    """An RFC 3339 text or an aware datetime, on the clock of `timezone`."""
    moment = datetime.fromisoformat(when) if isinstance(when, str) else when
    return moment.astimezone(ZoneInfo(timezone))


_SPELT = {"csat": "CSAT", "opt_out_rate": "Opt-out rate", "sms": "SMS", "whatsapp": "WhatsApp"}
"""Names that are more than their words."""


def label(name: object) -> str:
    """An identifier as words: `meeting_booked` → `Meeting booked`, `csat` → `CSAT`."""
    text = _SPELT.get(str(name)) or visible(name).replace("_", " ")
    return text[:1].upper() + text[1:]


def visible(text: object) -> str:
    """Foreign text with control and direction-changing characters shown instead of obeyed; newline and tab stay."""
    return str(text).replace("\r\n", "\n").translate(_VISIBLE)


def cut(text: str, longest: int) -> str:
    """A text, with its end left out where it has more characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def quoted(text: object, longest: int) -> str:
    """Foreign text in quotation marks, in one line, cut where it is longer."""
    line = visible(text).replace("\n", " ")
    return f"“{cut(line, longest)}”"


def plain(value: object) -> str:
    """Any JSON value as one readable text: lists with commas, objects as `key: value`."""
    if value is None or value in ("", [], (), {}):
        return NONE
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return _minus(f"{value:,}".removesuffix(".0"))
        case Mapping():
            return ", ".join(f"{visible(key)}: {plain(item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(plain(item) for item in value)
        case _:
            return visible(value)


def _largest_units(seconds: int) -> list[str]:
    start = next((at for at, (_, size) in enumerate(_UNITS) if seconds >= size), len(_UNITS) - 1)
    parts = []
    for name, size in _UNITS[start : start + 2]:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{_SPACE}{name}")
    return parts


def _minus(text: str) -> str:
    return text.replace("-", "−", 1)


FILTERS: dict[str, Callable] = {
    function.__name__: function
    for function in (
        number,
        counted,
        signed,
        percent,
        points,
        apart,
        apart_interval,
        chance,
        interval,
        fraction,
        duration,
        instant,
        clock,
        day,
        last_day,
        first_day,
        days,
        label,
        visible,
        plain,
        measure,
        basis,
        remarks,
        bounds,
        span,
        moved,
    )
}
