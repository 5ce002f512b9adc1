"""Accepted events that could not be processed: the queue keeps them, and takes them once more."""

from datetime import UTC, datetime
from typing import Any

from dropoff.intake import part_again
from dropoff.queue.base import Queue


def dead(queue: Queue, limit: int) -> dict[str, Any]:
    """`{"dead": [{"at", "reason", "body"}], "total"}`: the latest accepted events that could not be processed."""
    letters = queue.dead_letters(None)
    rows = [
        {"at": datetime.fromtimestamp(at, UTC).isoformat(), "reason": reason, "body": payload.decode(errors="replace")}
        for _, at, reason, payload in letters[:limit]
    ]
    return {"dead": rows, "total": len(letters)}


def replay_dead(queue: Queue) -> dict[str, Any]:
    """`{"replayed": n}`: all dead letters are appended once more, and forgotten. What still cannot be processed comes
    back."""
    letters = queue.dead_letters(None)
    for future in [queue.append(*part_again(letter.payload, queue.partitions)) for letter in letters]:
        future.result()
    if letters:
        queue.forget_dead_letters(letters[0].id)
    return {"replayed": len(letters)}
