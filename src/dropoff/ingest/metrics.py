"""What Dropoff tells Prometheus of itself."""

from collections import Counter as Counting
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
ACCEPTED = Counter("dropoff_events_accepted", "Events taken at the door", registry=REGISTRY)
REJECTED = Counter("dropoff_events_rejected", "Events refused at the door", ["reason"], registry=REGISTRY)
BODIES_REJECTED = Counter(
    "dropoff_bodies_rejected", "Requests refused at the door as a whole", ["reason"], registry=REGISTRY
)
STORED = Counter("dropoff_events_stored", "Events written to the store", registry=REGISTRY)
DROPPED = Counter("dropoff_events_dropped", "Events dropped in processing", ["reason"], registry=REGISTRY)
DEAD = Counter("dropoff_events_dead", "Events that could not be processed (dead letters)", registry=REGISTRY)
BATCH = Histogram(
    "dropoff_batch_events", "Events of a batch", buckets=(1, 10, 100, 1_000, 10_000, 100_000), registry=REGISTRY
)
LAG_EVENTS = Gauge("dropoff_queue_lag_events", "Events waiting to be processed", registry=REGISTRY)
LAG_SECONDS = Gauge("dropoff_queue_lag_seconds", "Age of the oldest of them", registry=REGISTRY)
NOTICES = Counter(
    "dropoff_notices", "Notices of alerts, by what became of them", ["receiver", "outcome"], registry=REGISTRY
)
NOTICES_WAITING = Gauge(
    "dropoff_notices_waiting", "Notices that a receiver has not taken", ["receiver"], registry=REGISTRY
)

ALERT = Gauge(
    "dropoff_alert", "1 for each alert, by the state it is in", ["rule", "severity", "segment", "state"],
    registry=REGISTRY,
)  # fmt: skip
ALERTS_LEFT_OUT = Gauge("dropoff_alerts_left_out", "Segments of rules that are not among them", registry=REGISTRY)
MOST_SEGMENTS = 100
"""Segments of one rule that Prometheus is told of; those that fire first."""


def of_alerts(alerts: Iterable[tuple[str, str, str, str]], waiting: Mapping[str, int]) -> None:
    """How alerts stand (rule, severity, segment, state), and how many notices wait for each receiver."""
    ALERT.clear()
    told = Counting[str]()
    for rule, severity, segment, state in sorted(alerts, key=lambda row: (row[3] != "firing", row)):
        told[rule] += 1
        if told[rule] <= MOST_SEGMENTS:
            ALERT.labels(rule, severity, segment, state).set(1)
    ALERTS_LEFT_OUT.set(sum(max(0, count - MOST_SEGMENTS) for count in told.values()))
    NOTICES_WAITING.clear()
    for receiver, count in waiting.items():
        NOTICES_WAITING.labels(receiver).set(count)


def count_notice(receiver: str, outcome: str) -> None:
    """One more notice of which this became."""
    NOTICES.labels(receiver, outcome).inc()
