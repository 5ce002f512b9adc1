"""Funnels over raw events: Dropoff beside windowFunnel, SQL, pandas and retentioneering, on the same events.

The units of all of them are the conversations of one store, test traffic included. Everybody is asked in turns, each in
a process of its own; that of retentioneering has an environment of its own, as it is no dependency of Dropoff's.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import duckdb

from bench.data import Timeline
from bench.funnel_peers import WINDOW
from bench.grown import grow, seed
from bench.rows import Plan, Row
from dropoff.store import sql
from dropoff.store.duckdb import DuckStore

COPIES = 50  # of the timeline: a million conversations
NAMES = {
    "ChDB": "chDB, windowFunnel",
    "DuckSQL": "DuckDB, SQL by hand",
    "Pandas": "pandas, in memory",
    "Retentioneering": "retentioneering, in memory",
}


class Found(NamedTuple):
    """What one peer answered to one question, each time; `first`: seconds while nothing was kept."""

    counts: Sequence[int]
    first: float
    seconds: Sequence[float]
    cpu: Sequence[float]
    peak: int


def measure(plan: Plan, timeline: Timeline, folder: Path) -> Iterator[Row]:
    """The default funnel and an ordered one, over all conversations and all their events."""
    seed(folder, timeline)
    grow(folder / "store.duckdb", COPIES)
    export(folder)
    yield from ask(folder, plan.rounds)


def export(folder: Path) -> None:
    """The raw events for the peers: as Dropoff counts them, so contact events under their conversation."""
    DuckStore(folder / "store.duckdb").close()
    with duckdb.connect(str(folder / "store.duckdb"), read_only=True) as connection:
        connection.execute(
            f"""COPY (SELECT key AS unit, event_type, epoch_us(timestamp) AS moment FROM {sql.DUCKDB.standing_events()}
                WHERE conversation_id IS NOT NULL ORDER BY timestamp) TO '{folder / "raw.parquet"}' (FORMAT parquet)"""
        )


def ask(folder: Path, rounds: int) -> Iterator[Row]:
    """Everybody in turns; what they counted must agree where it means the same."""
    found = _asked(folder, rounds)
    with duckdb.connect() as connection:
        events, units = connection.execute(
            f"SELECT count(*), count(DISTINCT unit) FROM read_parquet('{folder / 'raw.parquet'}')"
        ).fetchall()[0]
    agreed = {name: one["ordered"].counts for name, one in found.items() if name != "Retentioneering"}
    assert len(set(map(tuple, agreed.values()))) == 1, f"the counts differ: {agreed}"
    for question, text in (
        ("default", f"default funnel, {units:,} conversations"),
        ("ordered", f"ordered funnel, {events:,} raw events, window {WINDOW}"),
    ):
        yield from _rows(question, text, found)


def _asked(folder: Path, rounds: int) -> dict[str, dict[str, Found]]:
    answers: dict[str, dict[str, list[Any]]] = {}
    peaks: dict[str, int] = {}
    with ExitStack() as stack:
        peers = {name: stack.enter_context(Asked(name, python, folder)) for name, python in _pythons(folder).items()}
        for _ in range(rounds + 1):  # the first is for the caches
            for name, peer in peers.items():
                for question in peer.questions:
                    answers.setdefault(name, {}).setdefault(question, []).append(peer.ask(question))
        for name, peer in peers.items():
            peaks[name] = peer.finish()
    return {
        name: {
            question: Found(
                given[0]["counts"], given[0]["seconds"], [one["seconds"] for one in given[1:]],
                [one["cpu"] for one in given[1:]], peaks[name],
            )
            for question, given in of_peer.items()
        }
        for name, of_peer in answers.items()
    }  # fmt: skip


class Asked:
    """A peer's process, which has what it needs on disk."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        self._command = [python, "-m", "bench.funnel_peers", name, str(folder)]
        self._options: dict[str, Any] = {
            "cwd": Path(__file__).parents[1], "env": os.environ | {"RETENTIONEERING_NO_TRACK": "1"},
        }  # fmt: skip

    def __enter__(self) -> "Asked":
        subprocess.run([*self._command, "prepare"], check=True, **self._options)
        self._process = subprocess.Popen(
            [*self._command, "ask"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **self._options
        )
        self.questions: list[str] = self._answer()
        return self

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._command)} ended with {self._process.wait()}")
        return json.loads(line)

    def ask(self, question: str) -> dict[str, Any]:
        """Counts, seconds, CPU seconds."""
        assert self._process.stdin
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._answer()

    def finish(self) -> int:
        """The most memory it ever held, in bytes."""
        assert self._process.stdin
        self._process.stdin.close()
        return self._answer()["peak"]

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def _pythons(folder: Path) -> dict[str, str]:
    """The interpreter of each peer; no retentioneering where it cannot be installed."""
    found = dict.fromkeys(("Dropoff", "ChDB", "DuckSQL", "Pandas"), sys.executable)
    own = os.environ.get("RETENTIONEERING_PYTHON") or installed(folder / "retentioneering", "retentioneering")
    return found | ({"Retentioneering": own} if own else {})


def installed(folder: Path, *packages: str) -> str | None:
    """The interpreter of a new environment with these packages in it; None where they cannot be installed."""
    python = folder / "bin" / "python"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(install, check=True, capture_output=True, timeout=1200)
    except (subprocess.SubprocessError, OSError):
        return None
    return str(python)


def _rows(question: str, text: str, found: dict[str, dict[str, Found]]) -> Iterator[Row]:
    ours = found["Dropoff"][question]
    memory = "≤ 1,000 MB" if question == "ordered" else ""
    note = f"counts {_list(ours.counts)}"
    yield Row(f"{text}: memory, peak", "MB", ours.peak / 1e6, bar=memory, note=note)
    for name, label in NAMES.items():
        if name not in found:
            yield Row(text, "ms", median(ours.seconds) * 1e3, peer_name=f"{label}: not installed")
        elif question in found[name]:
            yield _row(question, text, ours, found[name][question], name)


def _row(question: str, text: str, ours: Found, peer: Found, name: str) -> Row:
    bars = {("default", "ChDB"): "≤ 0.1 ×", ("ordered", "ChDB"): "≤ 2 ×"}
    ratio, cpu = (_ratio(mine, its) for mine, its in ((ours.seconds, peer.seconds), (ours.cpu, peer.cpu)))
    same = "same counts" if list(ours.counts) == list(peer.counts) else f"counts {_list(peer.counts)}: {WHY[name]}"
    return Row(
        text, "ms", median(ours.seconds) * 1e3, median(peer.seconds) * 1e3, ratio, NAMES[name],
        bars.get((question, name), ""),
        f"CPU {median(ours.cpu) * 1e3:,.0f} and {median(peer.cpu) * 1e3:,.0f} ms, {cpu:.2f} ×; "
        f"the first time {ours.first * 1e3:,.0f} and {peer.first * 1e3:,.0f} ms; "
        f"its peak {peer.peak / 1e6:,.0f} MB; {same}",
    )  # fmt: skip


WHY = {
    "ChDB": "a stage counts only after all before it, in order",
    "DuckSQL": "any event of the type counts, a deal that was lost too",
    "Retentioneering": "it knows no window, and of equal times no order",
}
"""Why a peer's counts may differ from ours."""


def _ratio(ours: Sequence[float], peer: Sequence[float]) -> float:
    return median(mine / its for mine, its in zip(ours, peer, strict=True))


def _list(counts: Sequence[int]) -> str:
    assert all(a >= b for a, b in pairwise(counts))
    return ", ".join(f"{count:,}" for count in counts)
