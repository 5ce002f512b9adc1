"""The page of definitions: every metric, stage, dimension and word, each with an address of its own."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.frame.frame import Analytics
from dropoff.dashboard.frame.rendering import render
from dropoff.metrics import RATES
from dropoff.phrases import words
from dropoff.phrases.meanings import DIMENSION_MEANINGS, UNITS, wait
from dropoff.query import DIMENSIONS

TERMS: Mapping[str, Mapping[str, str]] = {
    "Executive": words.EXECUTIVE_TERMS,
    "Operations": words.OPERATION_TERMS,
    "Optimization": words.OPTIMIZATION_TERMS,
    "Funnel": words.TERMS,
    "Drop-offs": words.DROP_OFF_TERMS,
    "Cohorts": words.COHORT_TERMS,
    "Trends": words.TREND_TERMS,
    "Segments": words.SEGMENT_TERMS,
    "Experiments": words.EXPERIMENT_TERMS,
    "Patterns": words.PATTERN_TERMS,
    "Messages": words.MESSAGE_TERMS,
    "Alerts": words.ALERT_TERMS,
}


def definitions_page(analytics: Analytics, request: Request) -> Response:
    """`/definitions`: what every name and word means."""
    metrics = analytics.definitions({})["metrics"]
    return render(
        "definitions.html", request, metrics=metrics, waits={row["metric"]: wait(row) for row in metrics},
        units=UNITS, dimension_meanings={name: DIMENSION_MEANINGS[name] for name in DIMENSIONS}, terms=TERMS,
        rates=RATES,
    )  # fmt: skip
