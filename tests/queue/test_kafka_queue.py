"""What is special about the queue on Kafka."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from brokers import KAFKA_ADDRESS, kafka_queue, name_of
from dropoff.errors import Unavailable
from dropoff.queue import kafka as kafka_module
from dropoff.queue.kafka import KafkaQueue


@pytest.fixture
def queue(kafka: None, tmp_path: Path) -> Iterator[KafkaQueue]:
    with closing(kafka_queue(tmp_path)) as queue:
        yield queue


def told_by_somebody_else(topic: str) -> None:
    """A message in our topic that no Dropoff wrote."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": os.environ[KAFKA_ADDRESS]})
    producer.produce(topic, b"hello", partition=0)
    assert producer.flush(10) == 0


def test_messages_of_somebody_else_are_no_records_and_take_none_with_them(queue: KafkaQueue, tmp_path: Path):
    for payload in (b"a", b"b"):
        queue.append(payload, 1).result(10)
        told_by_somebody_else(name_of(tmp_path))
    queue.append(b"c", 1).result(10)
    found = []
    while records := queue.read(10, 0):
        found += records
    assert [record.payload for record in found] == [b"a", b"b", b"c"]
    queue.commit(found[-1].offset)
    assert queue.lag() == (0, 0, 0)


def test_a_dead_letter_of_somebody_else_has_no_reason(queue: KafkaQueue, tmp_path: Path):
    queue.dead_letter(b"a", "odd")
    told_by_somebody_else(f"{name_of(tmp_path)}-dead")
    assert [(letter.payload, letter.reason) for letter in queue.dead_letters()] == [(b"hello", ""), (b"a", "odd")]


def test_what_was_closed_sets_nothing_aside(queue: KafkaQueue):
    queue.close()
    with pytest.raises(Unavailable, match="closed"):
        queue.dead_letter(b"a", "odd")


def test_a_queue_that_could_not_be_opened_closes_its_consumer(
    kafka: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import confluent_kafka

    closed = []

    class Watched(confluent_kafka.Consumer):
        def close(self) -> None:
            closed.append(self)
            super().close()

    monkeypatch.setattr(confluent_kafka, "Consumer", Watched)
    monkeypatch.setattr(kafka_module, "_producer", lambda _: {"no.such.setting": 1})
    with pytest.raises(Unavailable, match="No such configuration"):
        kafka_queue(tmp_path)
    assert len(closed) == 1


def test_positions_that_cannot_be_saved_do_not_keep_it_open(queue: KafkaQueue, monkeypatch: pytest.MonkeyPatch):
    class Gone:
        """The consumer, whose broker has gone."""

        closed = False

        def commit(self, **_: object) -> None:
            raise RuntimeError("no broker")

        def close(self) -> None:
            Gone.closed = True

    with closing(queue._consumer):
        monkeypatch.setattr(queue, "_consumer", Gone())
        queue.close()
    assert Gone.closed
