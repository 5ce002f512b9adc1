"""Opens queue, store and control state by their addresses: the only place that names concrete adapters."""

import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dropoff.broker import Place
from dropoff.control.base import Control
from dropoff.control.sqlite import SqliteControl
from dropoff.errors import InvalidInput
from dropoff.notify.base import Correspondent
from dropoff.notify.webhook import WebhookNotifier
from dropoff.project.receivers import Receiver
from dropoff.project.settings import Settings
from dropoff.queue.base import Queue
from dropoff.queue.sqlite import SqliteQueue
from dropoff.store.base import Store
from dropoff.store.duckdb import DuckStore, PassingStore

EMBEDDED = "embedded"
NATS = ("nats", "nats+tls")
KAFKA = ("kafka", "kafka+tls")
CLICKHOUSE = ("clickhouse", "clickhouses")
CHDB = ("chdb",)
PAST_MEMORY = "512MB"
"""What the engine may use for each store of the past."""


class Address(NamedTuple):
    """`SCHEME://[USER@]HOST:PORT[,HOST:PORT…]/NAME`, taken apart."""

    scheme: str
    servers: tuple[str, ...]
    user: str | None
    name: str


_NEEDS = {
    "ingest": ("queue", "control"), "worker": ("queue", "store", "control"), "web": ("store", "control"),
    "alerts": ("store", "control"),
}  # fmt: skip


def check_role(settings: Settings) -> None:
    """Refuse a role whose parts live in one process: then there is nothing to share. Raises `InvalidInput`."""
    places = {"queue": settings.queue, "store": settings.store, "control": control_address(settings)}
    for part in _NEEDS.get(settings.role, ()):
        if places[part] == EMBEDDED or places[part].partition("://")[0] in CHDB:
            rule = f"all while {part} is {places[part]}, which lives in one process (set {part}: see docs/scale.md)"
            raise InvalidInput("role", settings.role, rule)


def has_shared_store(settings: Settings) -> bool:
    """Several processes may have the store open at once."""
    return settings.store.partition("://")[0] in CLICKHOUSE


def open_store(settings: Settings) -> Store:
    """The store. Raises `StoreBusy` while another process holds the embedded one."""
    if settings.store == EMBEDDED:
        return DuckStore(_directory(settings) / "store.duckdb", settings.store_memory, settings.test)
    _check_scheme("store", settings.store, (*CLICKHOUSE, *CHDB))
    _check_no_password("store", settings.store)
    try:
        from dropoff.store.clickhouse import open_store as open_clickhouse
    except ImportError:
        raise InvalidInput("store", settings.store, "installed: pip install 'dropoff[clickhouse]'") from None
    return open_clickhouse(
        settings.store,
        password=settings.secret("store_password"),
        ca=str(settings.store_ca) if settings.store_ca else None,
        test=settings.test,
    )


def open_past_store(directory: Path, settings: Settings) -> Store:
    """A store for what another one knew before: in this directory, which goes with it."""
    return PassingStore(directory, PAST_MEMORY, settings.test)


def open_queue(settings: Settings) -> Queue:
    """The queue."""
    retention = settings.queue_retention_hours * 3600
    if settings.queue == EMBEDDED:
        return SqliteQueue(_directory(settings) / "queue.db", retention=retention)
    address = parse("queue", settings.queue, (*NATS, *KAFKA))
    if address.scheme in NATS:
        from dropoff.queue.nats import NatsQueue

        return NatsQueue(
            _place(settings, address), address.name, partitions=settings.queue_partitions,
            replicas=settings.queue_replicas, retention=retention,
        )  # fmt: skip
    from dropoff.queue.kafka import KafkaQueue

    return KafkaQueue(
        address.servers, address.name, partitions=settings.queue_partitions, replicas=settings.queue_replicas,
        user=address.user, password=settings.secret("queue_password"), tls=address.scheme == "kafka+tls",
        ca=settings.queue_ca, retention=retention,
    )  # fmt: skip


def open_control(settings: Settings) -> Control:
    """The control state: beside the queue, unless it has an address of its own."""
    where = control_address(settings)
    if where == EMBEDDED:
        return SqliteControl(_directory(settings) / "control.db")
    from dropoff.control.nats import NatsControl

    address = parse("control", where, NATS)
    return NatsControl(_place(settings, address), f"{address.name}-control", replicas=settings.queue_replicas)


def open_notifier(receiver: Receiver) -> Correspondent:
    """Who takes the messages for a receiver. Raises `InvalidInput`, without its secrets."""
    if receiver.kind == "webhook":
        return WebhookNotifier(receiver)
    from dropoff.notify.chat import AppriseNotifier

    return AppriseNotifier(receiver)


def control_address(settings: Settings) -> str:
    """Where the control state is."""
    if settings.control:
        return settings.control
    return settings.queue if settings.queue.partition("://")[0] in NATS else EMBEDDED


def parse(setting: str, text: str, schemes: tuple[str, ...]) -> Address:
    """An address of a queue, taken apart. Raises `InvalidInput`."""
    _check_scheme(setting, text, schemes)
    _check_no_password(setting, text)
    parts = urlsplit(text)
    user, _, hosts = parts.netloc.rpartition("@")
    servers = tuple(hosts.split(","))
    name = parts.path.removeprefix("/")
    if not all(re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}", server) for server in servers):
        raise InvalidInput(setting, text, f"{parts.scheme}://HOST:PORT/NAME, or several HOST:PORT with commas")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) or parts.query or parts.fragment:
        raise InvalidInput(setting, text, "an address that ends with /NAME, of letters, digits, _ and -")
    return Address(parts.scheme, servers, user or None, name)


def _check_scheme(setting: str, text: str, schemes: tuple[str, ...]) -> None:
    if text.partition("://")[0] not in schemes or "://" not in text:
        shown = text if "@" not in text else text.rpartition("@")[2]
        raise InvalidInput(setting, shown, f"{EMBEDDED}, or an address that begins {' or '.join(schemes)}://")


def _check_no_password(setting: str, text: str) -> None:
    before, at, after = text.partition("://")[2].rpartition("@")
    if at and ":" in before:
        scheme, user = text.partition("://")[0], before.partition(":")[0]
        rule = f"without a password: give it as {setting}_password or {setting}_password_file"
        raise InvalidInput(setting, f"{scheme}://{user}:…@{after}", rule)


def _place(settings: Settings, address: Address) -> Place:
    return Place(
        address.servers, address.user, settings.secret("queue_password"), settings.queue_credentials,
        address.scheme == "nats+tls", settings.queue_ca,
    )  # fmt: skip


def _directory(settings: Settings) -> Path:
    with suppress(FileExistsError):
        settings.data.mkdir(parents=True, mode=0o700)
    return settings.data
