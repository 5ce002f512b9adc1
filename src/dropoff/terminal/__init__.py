"""Answers as readable tables: what each command prints."""

from dropoff.terminal.alerts import alerts, backtest, episodes, rehearsals, silences
from dropoff.terminal.comparisons import experiments, explain, messages, plan, segments
from dropoff.terminal.conversations import conversation, conversations, filters, sample
from dropoff.terminal.dashboards import doctor, executive, operations, optimization
from dropoff.terminal.funnels import cohorts, drop_offs, funnel, waiting
from dropoff.terminal.keeping import (
    copied,
    dead,
    enriched,
    exported,
    imported,
    keys,
    query,
    rejected,
    replayed,
    retried,
)
from dropoff.terminal.metrics import definitions, metrics, trend
from dropoff.terminal.patterns import patterns
from dropoff.terminal.tables import Answer, interval, output, plain, progress, rate, table

__all__ = [
    "Answer",
    "alerts",
    "backtest",
    "cohorts",
    "conversation",
    "conversations",
    "copied",
    "dead",
    "definitions",
    "doctor",
    "drop_offs",
    "enriched",
    "episodes",
    "executive",
    "experiments",
    "explain",
    "exported",
    "filters",
    "funnel",
    "imported",
    "interval",
    "keys",
    "messages",
    "metrics",
    "operations",
    "optimization",
    "output",
    "patterns",
    "plain",
    "plan",
    "progress",
    "query",
    "rate",
    "rehearsals",
    "rejected",
    "replayed",
    "retried",
    "sample",
    "segments",
    "silences",
    "table",
    "trend",
    "waiting",
]
