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
from dropoff.control.base import Control
from dropoff.control.identity import identity
from dropoff.errors import InvalidInput
from dropoff.process import frames
from dropoff.process.worker import made_by
from dropoff.project.settings import Settings
from dropoff.server.connect import Connection, connect
from dropoff.server.engine import plan_of, rules_of
from dropoff.server.parts import EMBEDDED, has_shared_store, open_control, open_store
from dropoff.store.base import Change, Part, Store
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


def copy(settings: Settings, to: str, console: Console, control: str | None = None) -> dict[str, Any]:
    """Carry everything over and compare: `{"carried", "later", "dead", "tables", "equal"}`.

    `to` is a data directory or the address of a store; there the keys go to `control`, the address of a control state.
    `later`: events that came to the source meanwhile. `dead`: its dead letters, which stay there. `equal` is false if a
    table differs; one that the source was still rolling up is not compared. Raises `InvalidInput` for a target that
    holds other data.
    """
    if has_shared_store(settings):
        raise InvalidInput("store", settings.store, "embedded: what several workers wrote has no order of arrival")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()
    with ExitStack() as stack:
        source = stack.enter_context(connect(settings))
        own = stack.enter_context(closing(open_control(settings)))
        target = stack.enter_context(_open(to, control, settings))
        progress = stack.enter_context(
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        )
        return Copy(source, own, target, settings, progress).run()


@contextmanager
def _open(to: str, control: str | None, settings: Settings) -> Iterator[Target]:
    there = _target_settings(to, control, settings)
    with ExitStack() as stack:
        store = stack.enter_context(closing(open_store(there)))
        if there.store != EMBEDDED and control is None:
            yield Target(to, to, store, None)
            return
        keys = stack.enter_context(closing(open_control(there)))
        yield Target(to, identity(keys) if there.store == EMBEDDED else to, store, keys)


def _target_settings(to: str, control: str | None, settings: Settings) -> Settings:
    """The settings with which the target's own processes find it."""
    if "://" in to:
        return settings.model_copy(update={"store": to, "queue": EMBEDDED, "control": control or EMBEDDED})
    if Path(to).resolve() == settings.data.resolve():
        raise InvalidInput("to", to, "another directory than the data's own")
    own = {"data": Path(to), "store": EMBEDDED, "queue": EMBEDDED, "control": EMBEDDED}
    return settings.model_copy(update=own)


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
            "carried": carried, "later": self._waiting(), "dead": self._source.dead(1)["total"], "tables": tables,
            "equal": all(one["equal"] is not False for one in tables),
        }  # fmt: skip

    def _carry_events(self, read: Iterator[pl.DataFrame], digest: Digest | None) -> int:
        """The events through the fold into the target, and the mark behind each batch."""
        store, count = self._target.store, 0
        made = made_by(store, self._rules)
        task = self._progress.add_task("events", total=self._waiting())
        for frame in read:
            if frame.is_empty():
                continue
            work = made.prepare(frames.write_lines(frame))
            store.commit(Change(work.events, work.superseded, work.rows, _no_refused(), store.offset(), work.versions))
            made.keep(work)
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
