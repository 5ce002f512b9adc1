"""Patterns: Dropoff beside prefixspan and retentioneering, on the same paths, each in a process of its own.

The paths are drawn at random, eight steps on average, so nearly all of them are distinct: real ones repeat, and are
mined once. prefixspan has a tenth of them, as it is written in Python.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.data import Timeline
from bench.funnels import installed
from bench.rows import Plan, Row

SUPPORT = 0.05
COPIES = 50  # conversations of the plan: a million
MEAN, STEPS = 8, 30


def measure(plan: Plan, _: Timeline, folder: Path) -> Iterator[Row]:
    """The whole analysis; then its parts beside those who do the same."""
    n = plan.conversations * COPIES
    whole, tenth = draw(folder / "paths.parquet", n), draw(folder / "tenth.parquet", n // 10)
    own = os.environ.get("PATTERNS_PYTHON") or installed(folder / "peers", "prefixspan", "retentioneering")
    one = _ask(sys.executable, "findings", whole)
    of = one["found"]
    note = f"{of['distinct']:,} distinct, {of['tested']} tested, {of['confirmed']} confirmed; CPU {one['cpu']:.1f} s"
    yield Row(f"patterns of {n:,} conversations, from paths to findings", "s", one["seconds"], bar="≤ 30 s", note=note)
    yield Row("the same: memory, peak", "MB", one["peak"] / 1e6, bar="≤ 2,000 MB")
    for work, mine, peer, path, many in (
        ("frequent subsequences, 5 %, up to 5 steps", "mining", "prefixspan", tenth, n // 10),
        ("transitions", "transitions", "retentioneering", whole, n),
    ):
        text = f"{work}, {many:,} paths"
        ours = _ask(sys.executable, mine, path)
        if own is None:
            yield Row(text, "s", ours["seconds"], peer_name=f"{peer}: not installed")
            continue
        theirs = _ask(own, peer, path)
        same = "same answer" if ours["found"] == theirs["found"] else f"{ours['found']} and {theirs['found']}"
        yield Row(
            text, "s", ours["seconds"], theirs["seconds"], ours["seconds"] / theirs["seconds"], peer,
            note=f"peaks {ours['peak'] / 1e6:,.0f} and {theirs['peak'] / 1e6:,.0f} MB; {same}",
        )  # fmt: skip


def draw(path: Path, n: int) -> Path:
    """So many paths as `paths.of` takes them: steps by Zipf's law, lengths by Poisson's, a fifth won by chance."""
    rng = np.random.default_rng(7)
    lengths = rng.poisson(MEAN, n)
    chance = 1 / np.arange(1, STEPS + 1)
    names = np.array([f"{'bot' if i % 2 else 'prospect'}:step_{i}" for i in range(STEPS)])
    steps = pl.Series(rng.choice(STEPS, lengths.sum(), p=chance / chance.sum()))
    flat = steps.replace_strict(list(range(STEPS)), names.tolist(), return_dtype=pl.String)
    rows = pl.DataFrame({"row": np.repeat(np.arange(n), lengths), "path": flat})
    paths = pl.DataFrame({"row": np.arange(n), "group": rng.choice([0, 2], n, p=[0.8, 0.2])}).join(
        rows.group_by("row", maintain_order=True).agg("path"), on="row", how="left", maintain_order="left"
    )
    paths.select(
        pl.format("c{}", "row").alias("id"), pl.lit(None, pl.String).alias("contact_id"), "group",
        pl.col("path").fill_null([]), pl.lit(None, pl.Int64).alias("kept"),
    ).write_parquet(path)  # fmt: skip
    return path


def _ask(python: str, name: str, path: Path) -> dict[str, Any]:
    command = [python, "-m", "bench.pattern_peers", name, str(path), str(SUPPORT)]
    options: Any = {"cwd": Path(__file__).parents[1], "env": os.environ | {"RETENTIONEERING_NO_TRACK": "1"}}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout)
