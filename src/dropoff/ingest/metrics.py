"""What Dropoff tells Prometheus of itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
ACCEPTED = Counter("dropoff_events_accepted", "Events taken at the door", registry=REGISTRY)
REJECTED = Counter("dropoff_events_rejected", "Events refused at the door", ["reason"], registry=REGISTRY)
STORED = Counter("dropoff_events_stored", "Events written to the store", registry=REGISTRY)
DROPPED = Counter("dropoff_events_dropped", "Events dropped in processing", ["reason"], registry=REGISTRY)
DEAD = Counter("dropoff_events_dead", "Events that could not be processed (dead letters)", registry=REGISTRY)
BATCH = Histogram(
    "dropoff_batch_events", "Events of a batch", buckets=(1, 10, 100, 1_000, 10_000, 100_000), registry=REGISTRY
)
LAG_EVENTS = Gauge("dropoff_queue_lag_events", "Events waiting to be processed", registry=REGISTRY)
LAG_SECONDS = Gauge("dropoff_queue_lag_seconds", "Age of the oldest of them", registry=REGISTRY)
