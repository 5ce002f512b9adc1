"""Somebody's own SELECT over the views: `dropoff query` and `POST /api/v1/query`."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from dropoff.analyse.answers import instant
from dropoff.control.whole import check_whole
from dropoff.store.base import Store

SECONDS = 10.0
ROWS = 10_000


def answer(store: Store, text: str) -> dict[str, Any]:
    """`{"columns": […], "rows": [[…]], "truncated"}`; exact decimals as text, instants in RFC 3339."""
    check_whole(sql=text)
    found = store.query(text, SECONDS, ROWS + 1)
    rows = [[_shown(value) for value in row] for row in found.rows[:ROWS]]
    return {"columns": found.columns, "rows": rows, "truncated": len(found.rows) > ROWS}


def _shown(value: Any) -> Any:
    match value:
        case datetime():
            return instant(value)
        case Decimal() | timedelta():
            return str(value)
        case date():
            return value.isoformat()
        case list() | tuple():
            return [_shown(one) for one in value]
        case dict():
            return {str(name): _shown(one) for name, one in value.items()}
        case None | bool() | int() | float() | str():
            return value
    return str(value)
