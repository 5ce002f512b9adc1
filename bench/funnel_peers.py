"""Who is asked for a funnel: each in a process of its own, so that what it holds in memory is its own.

    python -m bench.funnel_peers KIND FOLDER prepare|ask

`prepare` makes what the peer keeps on disk of FOLDER/raw.parquet (unit, event_type, moment in microseconds, in the
order of time). `ask` reads the name of a question a line and answers with JSON: the counts of the steps, the wall time,
and the CPU time of all threads; at the end of its input the most memory that the process held.

Each peer is written for speed, and has only what the question needs: no other column, the unit as a number, contact
events already under their conversation. Dropoff answers from its own store, with all that it keeps there.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any

from bench.memory import peak_bytes

Question = Callable[[], Sequence[int]]

WINDOW = "3d"
WINDOW_MICROS = 3 * 86_400 * 1_000_000
EVER = 400 * 86_400 * 1_000_000  # longer than any conversation takes
ORDERED = ("message_sent", "message_received", "qualified", "meeting_booked")
STAGES = (
    "conversation_started", "message_received", "qualified", "meeting_booked", "meeting_attended",
    "opportunity_created", "deal_closed",
)  # fmt: skip


class Peer:
    """Prepared once, in a process that ends; then asked in another, which opens what was prepared."""

    def __init__(self, folder: Path) -> None:
        self.raw, self.place = str(folder / "raw.parquet"), folder / type(self).__name__

    def prepare(self) -> None:
        """What is done before anybody asks, and not measured."""

    def open(self) -> dict[str, Question]:
        """The questions it answers: counts of the steps by the name of the question."""
        raise NotImplementedError


class Dropoff(Peer):
    """The whole answer as page, API and command line give it: stages, intervals, drop-offs, times to convert."""

    def open(self) -> dict[str, Question]:
        from dropoff.analyse.analytics import Analytics
        from dropoff.store.duckdb import DuckStore

        analytics = Analytics(DuckStore(self.place.parent / "store.duckdb"), "UTC")
        everything = {"from": ["2000-01-01"], "to": ["2100-01-01"], "include_test": ["true"]}
        definition = {"steps": [{"event": event} for event in ORDERED], "window": WINDOW}

        def counts(**more: str) -> list[int]:
            answer = analytics.funnel(everything | {name: [value] for name, value in more.items()})
            return [stage["count"] for stage in answer["stages"]]

        return {"default": counts, "ordered": lambda: counts(definition=json.dumps(definition))}


class ChDB(Peer):
    """`windowFunnel` over a MergeTree table in the order of unit and time."""

    def prepare(self) -> None:
        session = self._session()
        session.query(
            """CREATE TABLE raw (unit UInt64, event_type LowCardinality(String), moment UInt64)
               ENGINE MergeTree ORDER BY (unit, moment)"""
        )
        session.query(f"INSERT INTO raw SELECT unit, event_type, moment FROM file('{self.raw}', Parquet)")
        session.query("OPTIMIZE TABLE raw FINAL")
        session.close()

    def _session(self) -> Any:
        from chdb.session import Session

        return Session(str(self.place))

    def open(self) -> dict[str, Question]:
        session = self._session()

        def levels(window: int, events: Sequence[str]) -> list[int]:
            steps = ", ".join(f"event_type = '{event}'" for event in events)
            found = session.query(
                f"""SELECT level, count() FROM (
                      SELECT windowFunnel({window})(moment, {steps}) AS level FROM raw WHERE event_type IN {events}
                      GROUP BY unit)
                    GROUP BY level""",
                "JSONCompact",
            )
            by_level = {int(level): int(n) for level, n in json.loads(str(found))["data"]}
            return _reached([by_level.get(i + 1, 0) for i in range(len(events))])

        return {"default": lambda: levels(EVER, STAGES), "ordered": lambda: levels(WINDOW_MICROS, ORDERED)}


class DuckSQL(Peer):
    """SQL written by hand for DuckDB, over a table in the order of unit and time."""

    def prepare(self) -> None:
        connection, raw = self._connection(), f"read_parquet('{self.raw}')"
        connection.execute(f"CREATE TYPE kind AS ENUM (SELECT DISTINCT event_type FROM {raw})")
        connection.execute(
            f"""CREATE TABLE raw AS SELECT unit, CAST(event_type AS kind) AS event_type, moment FROM {raw}
                ORDER BY unit, moment"""
        )

    def _connection(self) -> Any:
        import duckdb

        return duckdb.connect(str(self.place))

    def open(self) -> dict[str, Question]:
        connection = self._connection()

        def furthest() -> list[int]:
            """The furthest stage of each unit, a later one implying the earlier ones."""
            found = connection.execute(
                f"""SELECT level, count(*) FROM (
                      SELECT max(list_position({list(STAGES)}, event_type::VARCHAR)) AS level FROM raw
                      WHERE event_type IN {STAGES} GROUP BY unit)
                    GROUP BY level"""
            ).fetchall()
            return _reached([dict(found).get(i + 1, 0) for i in range(len(STAGES))])

        return {"default": furthest, "ordered": lambda: connection.execute(_chain()).fetchall()[0]}


def _chain() -> str:
    """Of each event the latest start from which its step is reached in time, step by step: a running maximum."""
    steps = " ".join(f"WHEN '{event}' THEN {i}" for i, event in enumerate(ORDERED))
    text = f"SELECT unit, moment, CASE event_type {steps} END AS step FROM raw WHERE event_type IN {ORDERED}"
    text = f"SELECT *, CASE WHEN step = 0 THEN moment END AS start FROM ({text})"
    for i in range(1, len(ORDERED)):
        text = f"""
          SELECT unit, moment, step,
            CASE WHEN step < {i} THEN start
              WHEN step = {i} AND moment - latest <= {WINDOW_MICROS} THEN latest END AS start
          FROM (SELECT *, max(CASE WHEN step = {i - 1} THEN start END) OVER (
            PARTITION BY unit ORDER BY moment, step ROWS UNBOUNDED PRECEDING) AS latest FROM ({text}))"""
    counts = ", ".join(f"count(*) FILTER (WHERE furthest >= {i})" for i in range(len(ORDERED)))
    return f"""SELECT {counts} FROM (
      SELECT max(step) FILTER (WHERE start IS NOT NULL) AS furthest FROM ({text}) GROUP BY unit)"""


class Pandas(Peer):
    """pandas and numpy over a frame that lies in memory: two sorts, then a running maximum for each step."""

    def open(self) -> dict[str, Question]:
        import numpy as np
        import pandas as pd

        frame = pd.read_parquet(self.raw).astype({"event_type": "category", "moment": "int64"})
        kinds = frame["event_type"].cat

        def ordered() -> list[int]:
            of_kind = np.full(len(kinds.categories), -1, np.int8)
            of_kind[kinds.categories.get_indexer(pd.Index(ORDERED))] = range(len(ORDERED))
            step = of_kind[kinds.codes.to_numpy()]
            unit, at, step = (
                column[step >= 0] for column in (frame["unit"].to_numpy(), frame["moment"].to_numpy(), step)
            )
            for by in ("instant", "unit"):
                order = np.argsort(at * 8 + step if by == "instant" else unit, kind="stable")
                unit, at, step = unit[order], at[order], step[order]
            row = np.arange(len(unit))
            first = np.maximum.accumulate(np.where(np.append(True, unit[1:] != unit[:-1]), row, 0))
            start = np.where(step == 0, row, -1)  # the row of the latest start from which this one is reached
            counts = [pd.unique(unit[step == 0]).size]
            for i in range(1, len(ORDERED)):
                latest = np.maximum.accumulate(start)
                reached = (step == i) & (latest >= first) & (at - at[latest] <= WINDOW_MICROS)
                start = np.where(reached, latest, -1)
                counts.append(pd.unique(unit[reached]).size)
            return counts

        return {"ordered": ordered}


class Retentioneering(Peer):
    """Its `funnel_data` over an event stream that was made before. It knows no window: its counts are higher."""

    def open(self) -> dict[str, Question]:
        import pandas as pd

        frame = pd.read_parquet(self.raw).rename(columns={"event_type": "event", "moment": "timestamp"})
        frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="us")
        schema = {"path_cols": ["unit"], "event_col": "event", "timestamp_col": "timestamp"}
        stream = import_module("retentioneering.eventstream").Eventstream(frame, schema)
        del frame
        return {
            "ordered": lambda: [s["unique_paths"] for s in stream.funnel_data(steps=list(ORDERED))["steps"]],
        }


def _reached(by_level: Sequence[int]) -> list[int]:
    """How many came at least so far."""
    return list(accumulate(reversed(by_level)))[::-1]


PEERS: dict[str, type[Peer]] = {peer.__name__: peer for peer in (Dropoff, ChDB, DuckSQL, Pandas, Retentioneering)}


def main() -> None:
    """Prepare, or answer until nobody asks any more."""
    kind, folder, what = sys.argv[1:]
    peer = PEERS[kind](Path(folder))
    if what == "prepare":
        peer.prepare()
        return
    questions = peer.open()
    print(json.dumps(sorted(questions)), flush=True)
    for line in sys.stdin:
        begin, busy = time.perf_counter(), time.process_time()
        counts = [int(count) for count in questions[line.strip()]()]
        found = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - busy, "counts": counts}
        print(json.dumps(found), flush=True)
    print(json.dumps({"peak": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
