"""One side of the comparison of patterns, in a process of its own: it reads the same paths and says what it found.

python -m bench.pattern_peers NAME FILE SUPPORT
"""

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from bench.memory import peak_bytes

LONGEST = 5
SHOWN = 100
"""Dropoff gives so many transitions, the most frequent ones."""


def findings(path: str, support: float) -> dict[str, int]:
    """The whole of Dropoff's analysis, from paths as texts to confirmed findings."""
    import polars as pl

    from dropoff.analyse.patterns import findings
    from dropoff.analyse.patterns.paths import of, parse

    paths = of(pl.read_parquet(path), parse({}))
    found = findings.findings(paths, support)
    return {"conversations": paths.units.height, "distinct": len(paths.starts) - 1, "tested": found.tested,
            "confirmed": len(found.confirmed)}  # fmt: skip


def mining(path: str, support: float) -> dict[str, int]:
    """Frequent subsequences with gaps, nothing else: what prefixspan gives."""
    import polars as pl

    from dropoff.analyse.patterns import mining as own
    from dropoff.analyse.patterns.findings import sequences
    from dropoff.analyse.patterns.paths import of, parse

    paths = of(pl.read_parquet(path), parse({}))
    found = own.subsequences(sequences(paths), own.at_least(support * paths.units.height), LONGEST)
    return {"patterns": len(found), "support": sum(int(table.sum()) for table in found.values())}


def prefixspan(path: str, support: float) -> dict[str, int]:
    """The same by prefixspan, in Python."""
    import pyarrow.parquet as pq

    paths = pq.read_table(path, columns=["path"])["path"].to_pylist()
    miner = import_module("prefixspan").PrefixSpan(paths)
    miner.maxlen = LONGEST
    found = miner.frequent(max(1, round(support * len(paths))))
    return {"patterns": len(found), "support": sum(n for n, _ in found)}


def transitions(path: str, _: float) -> dict[str, int]:
    """How often one step follows another."""
    import polars as pl

    from dropoff.analyse.patterns.flows import flows
    from dropoff.analyse.patterns.paths import of, parse

    found = flows(of(pl.read_parquet(path), parse({})), ("successful", "failed"), None)["transitions"]
    return {"transitions": sum(sum(one["counts"]) for one in found)}


def retentioneering(path: str, _: float) -> dict[str, int]:
    """The same by retentioneering, beginnings and ends among them; the most frequent ones."""
    import pandas as pd
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["id", "path"]).to_pandas()
    frame = table.explode("path").dropna().rename(columns={"path": "event"}).reset_index(drop=True)
    frame["timestamp"] = pd.to_datetime(frame.index, unit="s")
    schema = {"path_cols": ["id"], "event_col": "event", "timestamp_col": "timestamp"}
    stream = import_module("retentioneering.eventstream").Eventstream(frame, schema)
    found: Any = stream.transition_graph_data(edge_weight="count")
    return {"transitions": sum(sorted(found.to_numpy().ravel().astype(int).tolist())[-SHOWN:])}


PEERS: dict[str, Callable[[str, float], dict[str, int]]] = {
    peer.__name__: peer for peer in (findings, mining, prefixspan, transitions, retentioneering)
}


def main() -> None:
    """Once, from the file to the answer; what was imported before is not counted."""
    name, path, support = sys.argv[1:]
    for module in {"prefixspan": ("prefixspan",), "retentioneering": ("retentioneering.eventstream",)}.get(
        name, ("scipy.special", "polars", "dropoff.analyse.patterns.patterns")
    ):
        import_module(module)
    begin, busy = time.perf_counter(), time.process_time()
    found = PEERS[name](path, float(support))
    seconds, cpu = time.perf_counter() - begin, time.process_time() - busy
    print(json.dumps({"found": found, "seconds": seconds, "cpu": cpu, "peak": peak_bytes()}))


if __name__ == "__main__":
    main()
