"""Where in a DuckDB file the events of a key are: without an index, and without a scan of all of them."""

from collections.abc import Sequence
from itertools import pairwise

import duckdb
import numpy as np

ROW_GROUP = 122_880  # DuckDB's: from so many rows an insert writes row groups directly, past the WAL
MAX_SPANS = 48  # more OR-ed spans than this cost more to plan than they save to read
AT_ONCE = 16_000_000  # events of which the keys are read together: a table of all keys would take much memory
_KEYS = 2**64
_SCATTERED = 3  # from so many row groups on, a key's own list is worth keeping


class KeySpans:
    """For each key the first and last `seq` of its events, so that its history is found without a full scan.

    Sorted arrays of 24 bytes a key, and a dictionary of what came since they were last merged. A late event makes a
    key's span long; the row groups of such a key are kept one by one.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        """Those of all events that are stored behind this connection."""
        self._keys: np.ndarray = np.empty(0, np.uint64)
        self._first: np.ndarray = np.empty(0, np.int64)
        self._last: np.ndarray = np.empty(0, np.int64)
        self._recent: dict[int, tuple[int, int]] = {}
        self._groups: dict[int, set[int]] = {}
        if connection is not None:
            self._load(connection)

    def _load(self, connection: duckdb.DuckDBPyConnection) -> None:
        events = connection.execute("SELECT count(*) FROM event_rows").fetchall()[0][0]
        parts = max(-(-events // AT_ONCE), 1)
        bounds = [i * (_KEYS // parts) for i in range(parts)] + [_KEYS]
        found = [
            connection.execute(
                """SELECT key, min(seq) AS first, max(seq) AS last FROM event_rows WHERE key BETWEEN ? AND ?
                   GROUP BY key ORDER BY key""",
                [low, high - 1],
            ).fetchnumpy()
            for low, high in pairwise(bounds)
        ]
        self._keys, self._first, self._last = (
            np.concatenate([np.asarray(part[name]) for part in found]) for name in ("key", "first", "last")
        )
        self._groups = {key: set(groups) for key, groups in self._scattered(connection)}

    def _scattered(self, connection: duckdb.DuckDBPyConnection) -> list[tuple[int, list[int]]]:
        """The keys with long spans, each with its row groups."""
        keys = self._keys[self._last // ROW_GROUP - self._first // ROW_GROUP >= _SCATTERED].tolist()
        if not keys:
            return []
        return connection.execute(
            f"""SELECT key, list(DISTINCT seq // {ROW_GROUP}) FROM event_rows
                WHERE key IN (SELECT unnest(CAST($keys AS UBIGINT[]))) GROUP BY key""",
            {"keys": keys},
        ).fetchall()

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Those of the keys that are stored, and the spans of `seq` in which all their events lie."""
        at = np.searchsorted(self._keys, keys)
        at[at == len(self._keys)] = 0
        known = self._keys[at] == keys if len(self._keys) else np.zeros(len(keys), bool)
        groups: set[int] = set()
        recent = [key for key in keys.tolist() if key in self._recent]
        for key in (k for k in keys.tolist() if k in self._groups):
            groups |= self._groups[key]
        plain = known & ~np.isin(keys, np.fromiter(self._groups, np.uint64, len(self._groups)))
        first, last = self._first[at[plain]] // ROW_GROUP, self._last[at[plain]] // ROW_GROUP
        for low, high in {*zip(first.tolist(), last.tolist(), strict=True)}:
            groups.update(range(low, high + 1))
        for low, high in {self._recent[k] for k in recent if k not in self._groups}:
            groups.update(range(low // ROW_GROUP, high // ROW_GROUP + 1))
        return np.union1d(keys[known], np.array(recent, np.uint64)), _merge(sorted(groups))

    def add(self, keys: np.ndarray, seqs: np.ndarray) -> None:
        """Take in inserted events."""
        if not len(keys):
            return
        unique, inverse = np.unique(keys, return_inverse=True)
        first = np.full(len(unique), np.iinfo(np.int64).max)
        last = np.zeros(len(unique), np.int64)
        np.minimum.at(first, inverse, seqs)
        np.maximum.at(last, inverse, seqs)
        at = np.searchsorted(self._keys, unique)
        at[at == len(self._keys)] = 0
        known = self._keys[at] == unique if len(self._keys) else np.zeros(len(unique), bool)
        self._scatter(unique[known], self._first[at[known]], self._last[at[known]], first[known], last[known])
        self._last[at[known]] = np.maximum(self._last[at[known]], last[known])
        for key, low, high in zip(unique[~known].tolist(), first[~known].tolist(), last[~known].tolist(), strict=True):
            self._recent[key] = (min(self._recent.get(key, (low,))[0], low), high)
        if len(self._recent) > 100_000:
            self._absorb_recent()

    def _scatter(self, keys: np.ndarray, *spans: np.ndarray) -> None:
        """Keep the row groups of keys whose span has become long."""
        old_first, old_last, first, last = (span // ROW_GROUP for span in spans)
        for i in np.flatnonzero(last - old_first >= _SCATTERED):
            known = self._groups.setdefault(int(keys[i]), set(range(old_first[i], old_last[i] + 1)))
            known.update(range(first[i], last[i] + 1))

    def _absorb_recent(self) -> None:
        keys = np.fromiter(self._recent, np.uint64, len(self._recent))
        spans = np.array(list(self._recent.values()), np.int64)
        merged = np.concatenate([self._keys, keys])
        order = np.argsort(merged)
        self._keys = merged[order]
        self._first = np.concatenate([self._first, spans[:, 0]])[order]
        self._last = np.concatenate([self._last, spans[:, 1]])[order]
        self._recent = {}


def _merge(groups: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted row groups as few spans of `seq`: neighbours joined, then the narrowest gaps."""
    if not groups:
        return []
    numbers = np.asarray(groups)
    gaps = np.diff(numbers)
    cuts = np.flatnonzero(gaps > 1)
    if len(cuts) >= MAX_SPANS:
        cuts = np.sort(cuts[np.argsort(gaps[cuts], kind="stable")[-(MAX_SPANS - 1) :]])
    starts = np.concatenate([[0], cuts + 1])
    ends = np.concatenate([cuts, [len(numbers) - 1]])
    return [
        (int(numbers[s]) * ROW_GROUP, (int(numbers[e]) + 1) * ROW_GROUP - 1) for s, e in zip(starts, ends, strict=True)
    ]
