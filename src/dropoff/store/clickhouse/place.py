"""Where a store in ClickHouse is, how it is reached, and what is told when it is not."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from dropoff.errors import InvalidInput, Unavailable
from dropoff.store import sql

try:
    import clickhouse_connect
    from clickhouse_connect.driver.client import Client
    from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
except ImportError as error:  # pragma: no cover - the extra is part of the development environment
    raise ImportError("a store in ClickHouse needs an extra: pip install 'dropoff[clickhouse]'") from error

# What its driver would say of a server that is away is told once, as `Unavailable`.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

DATABASE = "dropoff"
TIMEOUT_EXCEEDED = 159
_UNKNOWN_DATABASE = 81
PASSING = frozenset(
    (159, 160, 198, 202, 203, 209, 210, 236, 241, 242, 243, 252, 279, 285, 286, 289, 319, 394, 425, 439, 473, 516, 999)
)
"""Codes of errors that are the server's or the network's and not the data's: limits, memory, replicas, logins."""


class Place(NamedTuple):
    """What a URL says."""

    scheme: str
    host: str
    port: int | None
    user: str | None
    path: str
    database: str
    cluster: str | None
    shown: str

    @classmethod
    def parse(cls, url: str) -> "Place":
        """Raises `InvalidInput`; what it shows of the URL holds no password."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InvalidInput("store", _without_password(url), "a URL") from None
        options = parse_qs(parts.query)
        shown = _without_password(url)
        if parts.scheme not in ("clickhouse", "clickhouses", "chdb"):
            raise InvalidInput("store", shown, "a URL that begins with clickhouse://, clickhouses:// or chdb://")
        if parts.password:
            raise InvalidInput("store", shown, "without a password: it belongs into the environment or a file")
        unknown = options.keys() - {"cluster", "database"}
        if unknown:
            raise InvalidInput("store", shown, "with no other parameters than cluster and database")
        inside = parts.scheme == "chdb"
        named = options.get("database", [DATABASE if inside else parts.path.strip("/") or DATABASE])[0]
        return cls(
            parts.scheme, parts.hostname or "", port, unquote(parts.username) if parts.username else None,
            parts.path, named, options.get("cluster", [None])[0], shown,
        )  # fmt: skip

    @property
    def on_cluster(self) -> str:
        """What DDL has to say."""
        return on_cluster(self.cluster)

    def connect(self, password: str | None, ca: str | None, database: str | None) -> Client:
        """A client; without a session of its own, so that several threads may use it."""
        settings = {**sql.CLICKHOUSE.SETTINGS, **_WIDE}
        if self.cluster:
            settings |= _CLUSTER
        if self.scheme == "chdb":
            if find_spec("chdb") is None:
                raise InvalidInput("store", self.shown, "chdb:// where it is installed: pip install chdb")
            path = ":memory:" if self.host == "memory" else self.path
            return clickhouse_connect.get_client(interface="chdb", path=path, database=database, settings=settings)
        secure = self.scheme == "clickhouses"
        return clickhouse_connect.get_client(
            interface="https" if secure else "http", host=self.host, port=self.port or (8443 if secure else 8123),
            username=self.user, password=password or "", database=database or "default", settings=settings,
            ca_cert=ca, autogenerate_session_id=False, compress="lz4", connect_timeout=10, send_receive_timeout=300,
        )  # fmt: skip


_WIDE = {
    # Statements hold the keys of a batch; a batch may bring the events of many months.
    "max_query_size": 1 << 30,
    "max_ast_elements": 10_000_000,
    "max_expanded_ast_elements": 10_000_000,
    "max_partitions_per_insert_block": 0,
}
_CLUSTER = {
    # What a worker has written all workers must see, on whichever replica they read.
    "insert_quorum": "auto",
    "insert_quorum_parallel": 0,
    "select_sequential_consistency": 1,
    "distributed_foreground_insert": 1,
    "distributed_product_mode": "global",
    "distributed_ddl_task_timeout": 180,
}


def connect(place: Place, password: str | None, ca: str | None) -> Client:
    """A client of the place's database, which is made only where there is none: who may use it may not make one."""
    try:
        return place.connect(password, ca, place.database)
    except DatabaseError as error:
        if error.code != _UNKNOWN_DATABASE:
            raise
    with closing(place.connect(password, ca, database=None)) as first:
        first.command(f"CREATE DATABASE IF NOT EXISTS {quoted(place.database)}{place.on_cluster}")
        return place.connect(password, ca, place.database)


@contextmanager
def told(what: str) -> Iterator[None]:
    """What the server or the network cannot do now is `Unavailable`; what is wrong with a statement stays as it is."""
    try:
        yield
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        if code is None or code in PASSING:
            raise Unavailable(f"{what} does not answer: {_short(error)}") from error
        raise


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:500]


def on_cluster(cluster: str | None) -> str:
    """What DDL has to say so that it holds for all of a cluster."""
    return f" ON CLUSTER {quoted(cluster)}" if cluster else ""


def quoted(name: str) -> str:
    """An identifier as SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.partition(':')[0]}@{tail}" if at else url
