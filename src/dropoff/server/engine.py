"""The composition root: the parts that a role needs, opened and wired together."""

import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import structlog

from dropoff.aggregate.rollups import Plan
from dropoff.alerts.answers import Answers
from dropoff.alerts.evaluate import Alerts, Evaluator
from dropoff.alerts.job import Job
from dropoff.alerts.memory import label
from dropoff.alerts.starters import check_notified, configured
from dropoff.alerts.values import Reader
from dropoff.analyse.analytics import Analytics, no_past
from dropoff.analyse.custom import registry
from dropoff.analyse.health import Live
from dropoff.errors import InvalidInput, Unavailable
from dropoff.ingest import metrics
from dropoff.notify.base import Correspondent, Notice
from dropoff.notify.delivery import Delivery
from dropoff.notify.outbox import Outbox
from dropoff.process.fold import Rules
from dropoff.process.worker import Tally, Worker
from dropoff.project.settings import Settings
from dropoff.project.wording import rules as wording_rules
from dropoff.query import Params
from dropoff.queue.base import Lag, Queue, Shared
from dropoff.report.job import Post
from dropoff.report.reports import Reports
from dropoff.report.sent import Memory
from dropoff.server.ahead import Ahead
from dropoff.server.imports import Imports
from dropoff.server.parts import (
    EMBEDDED,
    check_role,
    has_shared_store,
    open_control,
    open_notifier,
    open_queue,
    open_store,
)
from dropoff.server.pasts import Pasts
from dropoff.server.shares import LEASE_SECONDS, Shares
from dropoff.server.working import Rollups, WorkerThread
from dropoff.store.base import Store

log = structlog.get_logger()

T = TypeVar("T")


class Jobs(NamedTuple):
    """What a process does: take events at the door, bring them from the queue to the store, answer questions, alert,
    make ahead what pages ask."""

    door: bool = False
    work: bool = False
    read: bool = False
    watch: bool = False
    ahead: bool = False


ROLES = {
    "all": Jobs(True, True, True, True, True), "ingest": Jobs(door=True), "worker": Jobs(work=True),
    "web": Jobs(read=True, ahead=True), "alerts": Jobs(watch=True),
}  # fmt: skip


def rules_of(settings: Settings) -> Rules:
    """What the fold goes by."""
    return Rules(
        settings.zone, settings.idle_seconds, settings.idle_default_seconds, settings.deal_horizon_days,
        settings.attribution_days,
    )  # fmt: skip


def plan_of(settings: Settings) -> Plan:
    """What is rolled up."""
    return Plan(settings.timezone, tuple(settings.rollups), settings.test)


class Engine:
    """The parts of one process. `jobs`: those of the role in the settings, unless given.

    Raises `InvalidInput` where a role cannot have the parts it is told to use, `StoreBusy` while another process holds
    the data directory, `Unavailable` where a part on another machine does not answer.
    """

    def __init__(self, settings: Settings, jobs: Jobs | None = None) -> None:
        check_role(settings)
        self.settings = settings
        self.jobs = jobs or ROLES[settings.role]
        self.shared = has_shared_store(settings)
        # Where people find the pages: with port 0 only the server knows it, and says so here.
        self.link = settings.public_url or f"http://{settings.host}:{settings.port}"
        # A store of one worker is known by its place, so that its worker may come back at once after a crash.
        self.name = secrets.token_hex(8) if self.shared else f"{socket.gethostname()}:{settings.data.resolve()}"
        self._since, self._seen = datetime.now(UTC), Counter[str]()
        with ExitStack() as opened:
            self._open(opened)
            if self.jobs.read or self.jobs.watch:
                self._prepare_answers(opened)
            self._worker = self._worker_thread() if self.jobs.work else None
            self._watch = self._watchers() if self.jobs.watch else ()
            self._ahead = Ahead(self.analytics) if self.jobs.ahead else None
            self._opened = opened.pop_all()

    def _open(self, opened: ExitStack) -> None:
        """The parts, each to be closed with the others."""
        settings = self.settings
        self._store: Store | None = None
        self._queue: Queue | None = None
        # The store first: it is what tells that another process is at work here.
        if self.jobs.work or self.jobs.read or self.jobs.watch:
            self._store = open_store(settings)
            opened.callback(self._store.close)
        if self.jobs.door or self.jobs.work:
            self._queue = open_queue(settings)
            opened.callback(self._queue.close)
        self.control = open_control(settings)
        opened.callback(self.control.close)
        self.imports = Imports(self.control, self.name)
        self.outbox = Outbox(self.control, [receiver.name for receiver in settings.receivers], metrics.count_notice)

    def _prepare_answers(self, opened: ExitStack) -> None:
        """What answers questions, and what judges rules."""
        settings = self.settings
        known = registry(settings.metrics)
        reader = Reader(self.store, settings.timezone, known, settings.funnels, settings.test, settings.maturity)
        self.alerts = Alerts(reader, self.control, configured(settings, known))
        past = no_past
        if self.jobs.read:
            pasts = Pasts(self.store, settings, rules_of(settings))
            opened.callback(pasts.close)
            past = pasts.at
        self.of_alerts = Answers(self.alerts, settings.funnels, past=past)
        self.analytics = Analytics(
            self.store, settings.timezone, test=settings.test, registry=known,
            funnels=settings.funnels, maturity=settings.maturity, past=past,
            planned=settings.experiments, wording=wording_rules(settings.wording), targets=settings.targets,
            marks=settings.marks, live=self.live,
        )  # fmt: skip
        self.reports = Reports(self.ask, settings.timezone, settings.public_url)
        self.sent = Memory(self.control)

    @property
    def store(self) -> Store:
        """The store, of roles that have one."""
        return self._of(self._store, "store")

    @property
    def queue(self) -> Queue:
        """The queue, of roles that have one."""
        return self._of(self._queue, "queue")

    def __enter__(self) -> "Engine":
        try:
            if self._worker:
                self._worker.start()
            for job in self._watch:
                job.start()
            if self._ahead:
                self._ahead.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._ahead:
            self._ahead.stop()
        for job in reversed(self._watch):
            job.stop()
        if self._worker:
            self._worker.stop()
        self._opened.close()

    def ask(self, question: str, params: Params) -> dict[str, Any]:
        """The answer to a question of `Analytics`, or about alerts, by its name."""
        if question.partition("/")[0] == "alerts":
            return self.of_alerts.ask(question, params)
        return getattr(self.analytics, question)(params)

    def drain(self) -> None:
        """Wait until everything in the queue is processed and rolled up."""
        while self.working and (self.queue.lag().bytes or not self._rolled_up):
            time.sleep(0.01)

    @property
    def working(self) -> bool:
        """The worker is alive."""
        return self._worker is not None and self._worker.alive

    def missing(self) -> dict[str, str]:
        """What keeps this process from doing its jobs now, and why; empty if nothing does."""
        found = {}
        if self.jobs.work and not self.working:
            found["worker"] = "it has stopped"
        if not all(job.alive for job in self._watch):
            found["alerts"] = "they have stopped"
        checks: dict[str, Callable[[], object]] = {"control": lambda: self.control.get("ready")}
        if self._store is not None:
            checks["store"] = lambda: self.store.select("SELECT 1")
        if self._queue is not None:
            checks["queue"] = self.queue.lag
        for part, check in checks.items():
            try:
                check()
            except Unavailable as error:
                found[part] = str(error)
        return found

    def lag(self) -> Lag | None:
        """What waits in the queue; None if it cannot be told, or is no business of this role."""
        with suppress(Unavailable):
            return self._queue.lag() if self._queue else None
        return None

    def live(self) -> Live:
        """What this process knows of the data that no store keeps."""
        lag, counts = self.lag(), (None,) * 4
        if self.jobs.work:
            counts = tuple(self._seen[name] for name in ("stored", "duplicate", "conflict", "dead"))
        waits = (lag.events, lag.seconds) if lag else (None, None)
        return Live(*waits, self._since if self.jobs.work else None, *counts)

    def standing(self) -> tuple[list[tuple[str, str, str, str]], dict[str, int]]:
        """For Prometheus: how alerts stand as rule, severity, segment and state, and how many notices wait for each
        receiver. Nothing of roles that have no business with alerts, nor while the control state is away."""
        if not (self.jobs.read or self.jobs.watch):
            return [], {}
        rules = {rule.name: rule for rule in self.alerts.rules}
        with suppress(Unavailable):
            written = [(rules[name], segment, state) for name, segment, state in self.alerts.firing() if name in rules]
            found = [(rule.name, rule.severity, label(rule, s) or "", state.name) for rule, s, state in written]
            named = {rule.name for rule, _, _ in written}
            found += [(name, rule.severity, "", "idle") for name, rule in rules.items() if name not in named]
            waiting = self.outbox.waiting()
            return found, {name: len(waiting.get(name, ())) for name in self.outbox.receivers}
        return [], {}

    @property
    def _rolled_up(self) -> bool:
        return self._worker is None or self._worker.rollups.current

    def _worker_thread(self) -> WorkerThread:
        settings = self.settings
        rollups = Rollups(self.store, plan_of(settings), self._may_roll_up if self.shared else None)
        worker = Worker(self.queue, self.store, rules_of(settings), self._count)
        return WorkerThread(worker, rollups, self._shares(), self.imports)

    def _evaluator(self) -> Job:
        # Of one name, like the worker: after a crash it goes on at once.
        evaluator = Evaluator(self.alerts.reader, self.control, self.alerts.rules, self._tell, self.name)
        return Job(evaluator, self.alerts)

    def _watchers(self) -> "tuple[Delivery, Job, Post]":
        settings = self.settings
        receivers = [open_notifier(receiver) for receiver in settings.receivers]
        post = Post(
            self.control, self.reports, settings.reports, receivers, self.name, lambda: self.link, settings.zone
        )
        return self._deliverer(receivers), self._evaluator(), post

    def _deliverer(self, notifiers: Sequence[Correspondent]) -> Delivery:
        settings = self.settings
        check_notified(settings, self.alerts.reader.registry, self.outbox.receivers)
        return Delivery(self.control, self.outbox, notifiers, self.name, lambda: self.link, settings.zone)

    def _tell(self, notice: Notice) -> None:
        log.warning("alert", kind=notice.kind, rule=notice.rule, segment=notice.segment, value=notice.value, n=notice.n)
        self.outbox.put(notice, datetime.now(UTC))

    def _shares(self) -> Shares | None:
        if self.settings.queue == EMBEDDED:
            return None
        alone, queue = not self.shared, self.queue
        key = "workers/" + quote(self.settings.queue.rpartition("/")[2], safe="")
        if isinstance(queue, Shared):
            return Shares(self.control, key, self.name, queue.partitions, queue.own, alone=alone)
        return Shares(self.control, key, self.name, 0, lambda _: set(), alone=alone)

    def _may_roll_up(self) -> bool:
        return self.control.lease("rollups", self.name, 5 * LEASE_SECONDS, time.time())

    def _count(self, tally: Tally) -> None:
        metrics.BATCH.observe(tally.events)
        metrics.STORED.inc(sum(tally.stored.values()))
        self._seen["stored"] += sum(tally.stored.values())
        for (_, reason), count in tally.dropped.items():
            metrics.DROPPED.labels(reason).inc(count)
            self._seen[reason] += count
        metrics.DEAD.inc(tally.dead)
        self.imports.add(tally)

    def _of(self, part: T | None, name: str) -> T:
        if part is None:
            raise InvalidInput("role", self.settings.role, f"one that has a {name}")
        return part
