from dropoff.dashboard.pages import cohorts
from dropoff.phrases.addresses import url


def number(numerator, denominator):
    return {"value": numerator / denominator, "numerator": numerator, "denominator": denominator, "interval": (0, 1)}


def cell(age, numerator, denominator, incomplete=False):
    return {"age": age, **number(numerator, denominator), "incomplete": incomplete}


def cohort(day, n, *cells):
    total = max((c["numerator"] for c in cells if c), default=0)
    return {
        "from": f"2024-01-{day:02}T00:00:00Z", "to": f"2024-01-{day + 7:02}T00:00:00Z", "partial": False, "n": n,
        "total": number(total, n or 1), "cells": list(cells),
    }  # fmt: skip


ANSWER = {
    "period": {"timezone": "UTC"},
    "definition": {"stage": "booked", "interval": "week"},
    "cohorts": [
        cohort(1, 100, cell(0, 1, 100), cell(1, 60, 100), cell(2, 60, 100)),
        cohort(8, 100, cell(0, 0, 100), cell(1, 90, 100, incomplete=True), None),
        cohort(15, 10, cell(0, 10, 10), None, None),
        cohort(22, 0, None, None, None),
    ],
}


def shown():
    return cohorts.rows(ANSWER, lambda **changes: url("/conversations", {}, **changes))


def test_only_what_is_complete_and_enough_is_shaded():
    shades = [[c.shade if c else None for c in row.cells] for row in shown()]
    assert shades == [[1, 6, 6], [0, 0, None], [0, None, None], [None, None, None]]


def test_rows_and_cells_lead_to_their_lists():
    first, second, _, nobody = shown()
    of = "/conversations?from=2024-01-01&to=2024-01-08"
    assert first.url == of
    assert [c and c.url for c in first.cells] == [f"{of}&stage=booked&within={week}w" for week in (1, 2, 3)]
    assert first.total.url == f"{of}&stage=booked"
    assert [c.url for c in second.cells[:1] if c] == [None]  # nobody
    assert (nobody.url, nobody.total.url) == (None, None)
    assert first.name == "2024-W01"


def test_where_nothing_is_to_be_shaded():
    answer = ANSWER | {"cohorts": [cohort(1, 100, cell(0, 0, 100)), cohort(8, 3, cell(0, 3, 3))]}
    assert [c and c.shade for row in cohorts.rows(answer, lambda **_: "") for c in row.cells] == [0, 0]
