"""`dropoff serve` and `dropoff demo`: the server process."""

import http.client
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import IO
from zoneinfo import ZoneInfo

import msgspec
import uvicorn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dropoff.control.access import Access
from dropoff.control.base import Control
from dropoff.demo import generate
from dropoff.demo.planted import TIMEZONE
from dropoff.errors import InvalidInput, Unavailable
from dropoff.periods import parse_instant
from dropoff.project.settings import Settings, unread_file
from dropoff.server.app import check_exposure, first_admin_token, web
from dropoff.server.engine import Engine
from dropoff.server.log import log_to_stderr
from dropoff.server.serverfile import ServerFile

_DEMO = "demo"


def run(settings: Settings, console: Console, on_ready: Callable[[Engine, ServerFile], None] | None = None) -> None:
    """Serve until interrupted. `on_ready` runs in a thread of its own once the server answers."""
    log_to_stderr(settings.log_level)
    with Engine(settings) as engine, _listen(settings) as listening:
        check_exposure(settings, engine)
        token = first_admin_token(engine)
        url = _url(settings.host, listening.getsockname()[1])
        with ServerFile(settings.data if settings.role == "all" else None, url) as file:
            reader = Access(engine.control, file.token, may_be_open=settings.is_loopback)
            if (file_beside := unread_file(settings)) is not None:
                told = f"{file_beside} is not read: settings are in the working directory, or where DROPOFF_CONFIG says"
                console.print(told, markup=False, soft_wrap=True)
            _announce(console, url, settings.role, reader.open, token)
            engine.link = settings.public_url or url
            config = uvicorn.Config(
                web(engine, reader), log_level="warning", access_log=False, server_header=False, lifespan="off",
                timeout_graceful_shutdown=5,
            )  # fmt: skip
            server = uvicorn.Server(config)
            if on_ready is not None:
                threading.Thread(target=_when_ready, args=(server, on_ready, engine, file), daemon=True).start()
            _stop_in_order(server)
            server.run(sockets=[listening])


def _stop_in_order(server: uvicorn.Server) -> None:
    """A signal ends the server and nothing else: uvicorn raises it once more afterwards, before the store is closed."""

    def stop(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _when_ready(
    server: uvicorn.Server, then: Callable[[Engine, ServerFile], None], engine: Engine, file: ServerFile
) -> None:
    while not server.started:
        time.sleep(0.01)
    then(engine, file)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        place = f"{settings.host}:{settings.port}"
        raise Unavailable(f"cannot listen on {place}: {error.strerror} (--port 0 takes a free one)") from None
    return listening


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _announce(console: Console, url: str, role: str, is_open: bool, token: str | None) -> None:
    part = "" if role == "all" else f" ({role})"
    console.print(f"Dropoff{part} is at {url}", markup=False, soft_wrap=True)
    if is_open:
        console.print("No key is configured: every program of this machine can read and write.", soft_wrap=True)
        console.print("To change that: dropoff keys create NAME", soft_wrap=True)
    if token is not None:
        console.print(f"Admin token, shown this once: {token}")


@dataclass(frozen=True)
class World:
    """What a demo is made of; without `end` it ends with the start of the day on which it is made."""

    conversations: int
    seed: int
    end: datetime | None

    def __str__(self) -> str:
        end = "today" if self.end is None else f"{self.end:%Y-%m-%d}"
        return f"{self.conversations} conversations up to {end}, seed {self.seed}"


def end_of(text: str) -> datetime:
    """`--end` of a demo. Raises `InvalidInput` for what is no day or instant, or has not come."""
    end = parse_instant("end", text, ZoneInfo("UTC"))
    if end > datetime.now(UTC):
        raise InvalidInput("end", text, "a day that has begun")
    return end


def print_demo(world: World, out: IO[bytes]) -> None:
    """The demo's events as NDJSON."""
    for event in generate(world.conversations, world.seed, world.end or _today()):
        out.write(msgspec.json.encode(event) + b"\n")


def run_demo(settings: Settings, console: Console, world: World, *, browser: bool) -> None:
    """Serve, and send the generated events through the front door once."""

    def load(engine: Engine, file: ServerFile) -> None:
        here = held(engine.control, world)
        if here != replace(world, end=world.end or here.end):
            console.print(f"{settings.data} already holds {here}: give another --data", markup=False, soft_wrap=True)
        if not engine.analytics.filters()["has_data"]:
            _send(console, file, here)
            engine.drain()
        console.print(f"The funnel: {file.url}/", style="bold")
        if browser and sys.stdout.isatty():
            webbrowser.open(file.url)

    run(in_its_zone(settings), console, load)


def in_its_zone(settings: Settings) -> Settings:
    """In the zone where the people of the demo live, unless another is set: the clocks change for them and for it."""
    if "timezone" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"timezone": TIMEZONE})


def held(control: Control, wanted: World) -> World:
    """The demo that a data directory was made for: the wanted one, from the first time on."""
    known = control.get(_DEMO)
    if known is None:
        made = replace(wanted, end=wanted.end or _today())
        control.put(_DEMO, msgspec.json.encode(made))
        return made
    return msgspec.json.decode(known.value, type=World)


def _send(console: Console, file: ServerFile, world: World) -> None:
    host = file.url.removeprefix("http://")
    headers = {"Authorization": f"Bearer {file.token}", "Content-Type": "application/x-ndjson"}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    connection = http.client.HTTPConnection(host, timeout=60)
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("sending conversations", total=world.conversations)
        events = generate(world.conversations, world.seed, world.end or _today())
        while batch := list(islice(events, 5000)):
            _post(connection, b"\n".join(map(msgspec.json.encode, batch)), headers)
            progress.update(task, advance=sum(e["event_type"] == "conversation_started" for e in batch))
    connection.close()


def _post(connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> None:
    while True:
        connection.request("POST", "/v1/events", body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status == 202:
            return
        if response.status not in (429, 503):
            raise Unavailable(f"the door answered {response.status}: {answer[:500]!r}")
        time.sleep(float(response.headers.get("Retry-After", 1)))


def _today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
