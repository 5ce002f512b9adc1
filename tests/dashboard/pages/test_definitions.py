from typing import Any, cast
from zoneinfo import ZoneInfo

from starlette.requests import Request

from dropoff.dashboard.pages import definitions
from dropoff.metrics import METRICS, Unit
from dropoff.phrases import meanings, words
from dropoff.query import DIMENSIONS


def test_every_dimension_and_unit_has_a_meaning():
    assert set(meanings.DIMENSION_MEANINGS) == set(DIMENSIONS)
    assert set(meanings.UNITS) == set(Unit.__args__)


def test_a_metric_in_one_line():
    metric = METRICS["opt_out_rate"]
    row = {name: getattr(metric, name) for name in ("clock", "good", "description")} | {"metric": "opt_out_rate"}
    assert meanings.known([row]) == {
        "opt_out_rate": "Opted out / started. By the start of the conversation. Lower is better."
    }


class Registry:
    """Nothing but its definitions."""

    def definitions(self, _):
        kinds = ("unit", "clock", "good", "description")
        return {
            "metrics": [
                {name: getattr(metric, name) for name in kinds}
                | {"metric": metric.name, "maturity_days": 1.5, "maturity_source": None}
                for metric in METRICS.values()
            ]
        }


def test_every_metric_stage_dimension_and_word_has_its_place():
    scope = {"type": "http", "method": "GET", "path": "/definitions", "query_string": b"", "headers": []}
    asked = Request({**scope, "scheme": "http", "server": ("dropoff.test", 80)})
    page = bytes(definitions.definitions_page(cast("Any", Registry()), asked).body).decode()
    names = [
        *METRICS,
        *words.STAGES,
        *(f"dimension-{name}" for name in DIMENSIONS),
        *(f"unit-{u}" for u in meanings.UNITS),
    ]
    assert [name for name in names if page.count(f'id="{name}"') != 1] == []
    assert all(f"<dt>{term}</dt>" in page for term in words.ALERT_TERMS)


def test_how_long_is_waited():
    assert meanings.wait({"maturity_days": 0.0, "maturity_source": None}) == "–"
    assert meanings.wait({"maturity_days": 2.0, "maturity_source": "learned"}) == "2\u00a0d (learned)"


def test_zones_that_are_offered_exist():
    assert {ZoneInfo(name).key for name in words.ZONES} == set(words.ZONES)
