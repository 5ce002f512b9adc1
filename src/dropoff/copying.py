"""`dropoff copy`: a running installation carried over to another store, and both sides compared.

Only what came in is copied: events in the order of their arrival, refused events, control state. Everything else the
worker's own code makes of them at the target, so that the target's tables are those of its fold.

All of a run is read in one scan, hence as it was at one moment. After each batch that the target has committed the
source's control store remembers the `seq` it reached. A kill in between repeats a batch, whose events the target then
knows; a later run carries what came since.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from dropoff.aggregate.rollups import refresh
from dropoff.app import plan_of, rules_of
from dropoff.connect import Connection, connect, identity
from dropoff.control.base import Control
from dropoff.control.sqlite import SqliteControl
from dropoff.errors import InvalidInput
from dropoff.process import changes, frames
from dropoff.process.contacts import Contacts
from dropoff.settings import Settings
from dropoff.store.base import Change, Part, Store
from dropoff.store.duckdb import DuckStore
from dropoff.store.tables import TABLES

_ROLLUPS = ("metrics_hourly", "metrics_daily")
_OWN = ("session/", "lease/", "workers/", "import/", "copy/", "identity")
"""Control state that stays: logins, leases, what workers do, and what names this installation or how far it came."""
_NOT_COMPARED = {"events": ("seq",), **dict.fromkeys(_ROLLUPS, ("value",))}
"""The order of arrival is each store's own; a rollup's value follows from its numerator and denominator."""


class Mark(msgspec.Struct, frozen=True):
    """How far the target has come: the last `seq` of the source, and how many events it held at least by then."""

    seq: int = -1
    events: int = 0


class Target(NamedTuple):
    """Where to, as it was given; its name for good; its store; and its control state, if that lies there too."""

    given: str
    name: str
    store: Store
    control: Control | None


class Digest:
    """The number of rows of a table, and the sum of a hash of each: the same in whatever order and frames they come.

    A row is hashed as the JSON of its values in the order of our columns, so no engine has a say in it.
    """

    def __init__(self, table: str) -> None:
        self._columns = [c for c in TABLES[table] if c.name not in _NOT_COMPARED.get(table, ())]
        self.rows = 0
        self._sum = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Take in some rows."""
        lines = frame.select(_canonical(column.name, column.type) for column in self._columns).write_ndjson()
        for line in lines.encode().splitlines():
            self._sum += int.from_bytes(hashlib.blake2b(line, digest_size=16).digest(), "little")
        self.rows += len(frame)

    def to_dict(self) -> dict[str, Any]:
        """`{"rows", "checksum"}`."""
        return {"rows": self.rows, "checksum": f"{self._sum % 2**128:032x}"}


def _canonical(name: str, kind: str) -> pl.Expr:
    column = pl.col(name)
    match kind:
        case "instant":
            return column.cast(pl.Datetime("us")).cast(pl.Int64)
        case "exact":
            return column.cast(pl.Decimal(38, 6)).cast(pl.String)
    return column


def copy(settings: Settings, to: str, console: Console) -> dict[str, Any]:
    """Carry everything over and compare: `{"carried", "later", "tables", "equal"}`.

    `later`: events that came to the source meanwhile. `equal` is false if a table differs; one that the source was
    still rolling up is not compared. Raises `InvalidInput` for a target that holds other data.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()
    with ExitStack() as stack:
        source = stack.enter_context(connect(settings))
        control = stack.enter_context(closing(SqliteControl(settings.data / "control.db")))
        target = stack.enter_context(_open(to, settings))
        progress = stack.enter_context(
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        )
        return Copy(source, control, target, settings, progress).run()


@contextmanager
def _open(to: str, settings: Settings) -> Iterator[Target]:
    if "://" in to:
        with closing(_open_clickhouse(to)) as store:
            yield Target(to, to, store, None)
        return
    folder = Path(to)
    if folder.resolve() == settings.data.resolve():
        raise InvalidInput("to", to, "another directory than the data's own")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (
        closing(DuckStore(folder / "store.duckdb", settings.store_memory)) as store,
        closing(SqliteControl(folder / "control.db")) as control,
    ):
        yield Target(to, identity(control), store, control)


class Rate(ProgressColumn):
    """Events a second."""

    def render(self, task: Task) -> Text:
        """The rate so far."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class Copy:
    """One run."""

    def __init__(
        self, source: Connection, control: Control, target: Target, settings: Settings, progress: Progress
    ) -> None:
        self._source = source
        self._control = control
        self._target = target
        self._progress = progress
        self._rules = rules_of(settings)
        self._plan = plan_of(settings)
        self._place = f"copy/{target.name}"
        self._mark = self._found_mark()

    def _found_mark(self) -> Mark:
        entry = self._control.get(self._place)
        held = self._held()
        if entry is None:
            if held:
                raise InvalidInput("to", self._target.given, "empty, or what an earlier copy of this data made")
            # Before anything is there: from now on what is there is ours.
            self._control.put(self._place, msgspec.json.encode(Mark()))
            return Mark()
        mark = msgspec.json.decode(entry.value, type=Mark)
        # Emptied since: from the start again. What is still there would be recognised.
        return mark if held >= mark.events else Mark()

    def run(self) -> dict[str, Any]:
        """Carry over, then compare."""
        since = self._mark.seq
        parts = [Part("dirty_slots"), Part("events", since), Part("rejected_events")]
        # The first time the events that go by are all there are.
        parts += [Part(name) for name in TABLES if Part(name) not in parts]
        source = {name: Digest(name) for name in TABLES}
        carried = {"events": 0, "refused events": 0, "control entries": self._carry_control()}
        rolling = False
        for part, frames_ in groupby(self._source.scan(parts), key=itemgetter(0)):
            read = (frame for _, frame in frames_)
            if part.table == "dirty_slots":
                rolling = sum(map(len, read)) > 0
            elif part == parts[1]:
                carried["events"] = self._carry_events(read, source["events"] if since < 0 else None)
            elif part.table == "rejected_events":
                carried["refused events"] = self._carry_refused(read, source[part.table])
            else:
                self._compare("source", part.table, read, source[part.table])
        refresh(self._target.store, self._plan, datetime.now(UTC))
        tables = self._verdicts(source, rolling)
        return {
            "carried": carried, "later": self._waiting(), "tables": tables,
            "equal": all(one["equal"] is not False for one in tables),
        }  # fmt: skip

    def _carry_events(self, read: Iterator[pl.DataFrame], digest: Digest | None) -> int:
        """The events through the fold into the target, and the mark behind each batch."""
        store, count = self._target.store, 0
        contacts = Contacts(store)
        task = self._progress.add_task("events", total=self._waiting())
        for frame in read:
            if frame.is_empty():
                continue
            work = changes.prepare(frames.write_lines(frame), store, contacts, self._rules)
            store.commit(Change(work.events, work.superseded, work.rows, _no_refused(), store.offset()))
            contacts.keep(work.contacts)
            self._mark = Mark(int(frame["seq"][-1]), self._held())
            self._control.put(self._place, msgspec.json.encode(self._mark))
            if digest is not None:
                digest.add(frame)
            count += len(frame)
            self._progress.advance(task, len(frame))
        return count

    def _carry_refused(self, read: Iterator[pl.DataFrame], digest: Digest) -> int:
        """The refused events, those already there left alone, those forgotten at the source forgotten."""
        store = self._target.store
        there = {id for _, frame in store.scan([Part("rejected_events")]) for id in frame["id"]}  # noqa: A001
        gone, count = set(there), 0
        for frame in read:
            digest.add(frame)
            gone.difference_update(frame["id"])
            new = frame.filter(~pl.col("id").is_in(list(there)))
            if len(new):
                as_stored = new.with_columns(pl.col("received_at").cast(pl.Int64))
                store.commit(Change.of_nothing(store.offset(), as_stored))
            count += len(new)
        if gone:
            store.delete_rejected(sorted(gone))
        return count

    def _carry_control(self) -> int:
        """Keys and what else is not this installation's own; sessions end with it."""
        entries = {key: e.value for key, e in self._control.list("").items() if not key.startswith(_OWN)}
        if self._target.control is None:
            return 0
        for key, value in entries.items():
            self._target.control.put(key, value)
        return len(entries)

    def _compare(self, side: str, table: str, read: Iterator[pl.DataFrame], digest: Digest) -> None:
        task = self._progress.add_task(f"compare {side}: {table}", total=None)
        for frame in read:
            digest.add(frame)
            self._progress.advance(task, len(frame))
        self._progress.remove_task(task)

    def _verdicts(self, source: dict[str, Digest], rolling: bool) -> list[dict[str, Any]]:
        target = {name: Digest(name) for name in TABLES}
        for part, frames_ in groupby(self._target.store.scan([Part(name) for name in TABLES]), key=itemgetter(0)):
            self._compare("target", part.table, (frame for _, frame in frames_), target[part.table])
        found = []
        for name in TABLES:
            both = {"source": source[name].to_dict(), "target": target[name].to_dict()}
            equal = None if rolling and name in _ROLLUPS else both["source"] == both["target"]
            found.append({"table": name, "equal": equal, **both})
        return found

    def _held(self) -> int:
        """How many events the target holds."""
        return self._target.store.select("SELECT count(*) FROM events_all").rows[0][0]

    def _waiting(self) -> int:
        """How many events of the source lie behind the mark."""
        count = f"SELECT count(*) FROM events_all WHERE seq > {self._mark.seq}"
        return self._source.query(count)["rows"][0][0]


def _no_refused() -> pl.DataFrame:
    return pl.DataFrame(schema=frames.frame_schema("rejected_events"))


def _open_clickhouse(url: str) -> Store:
    raise InvalidInput("to", url, "a directory")
