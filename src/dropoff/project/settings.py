"""Every setting: its name, its default and what it does. From `dropoff.toml`, `DROPOFF_*` or the command line."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from tomllib import TOMLDecodeError, loads
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from dropoff.errors import InvalidInput, Missing, Unknown, path_of
from dropoff.events import channel_of
from dropoff.metrics import HORIZON, MOST_DAYS, STEP_DAYS
from dropoff.periods import parse_zone
from dropoff.project import targets as wanted
from dropoff.project.annotations import Annotation, Mark, marks
from dropoff.project.custom import CustomMetric, check_name
from dropoff.project.experiments import Experiment
from dropoff.project.funnels import named
from dropoff.project.labelling import LabelRules
from dropoff.project.receivers import Receiver, check_names
from dropoff.project.schedules import Schedule
from dropoff.project.wording import WordingRule
from dropoff.query import TestTraffic
from dropoff.tomltext import line_of, no_toml, value_at

FILE = "dropoff.toml"


class Settings(BaseSettings):
    """The command line wins over the environment, the environment over `dropoff.toml`."""

    model_config = SettingsConfigDict(env_prefix="DROPOFF_", env_nested_delimiter="__", extra="forbid", frozen=True)

    data: Path = Field(Path("dropoff-data"), description="directory that holds everything Dropoff keeps")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8787, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    role: Literal["all", "ingest", "worker", "web", "alerts"] = Field(
        "all", description="what this process does ([scale.md](scale.md)): all, ingest, worker, web or alerts"
    )
    queue: str = Field(
        "embedded", description="where events wait: embedded, or nats://HOST:PORT/NAME, nats+tls://…, kafka://…"
    )
    queue_partitions: int = Field(
        16, ge=1, le=1024, description="parts of a queue on NATS or Kafka, fixed when it is made"
    )
    queue_replicas: int = Field(1, ge=1, le=5, description="servers that keep a copy of it")
    queue_credentials: Path | None = Field(None, description="file of NATS credentials (.creds)")
    queue_password: SecretStr | None = Field(None, description="password of the user in the queue's address")
    queue_password_file: Path | None = Field(None, description="file that holds it")
    queue_ca: Path | None = Field(None, description="file of certificates that sign the queue's")
    store: str = Field(
        "embedded", description="where facts rest: embedded, or clickhouse://HOST:PORT/DB, clickhouses://…, chdb:///DIR"
    )
    store_password: SecretStr | None = Field(None, description="password of the user in the store's address")
    store_password_file: Path | None = Field(None, description="file that holds it")
    store_ca: Path | None = Field(None, description="file of certificates that sign the store's")
    control: str | None = Field(
        None, description="where keys and leases rest: nats://HOST:PORT/NAME or embedded; else beside the queue"
    )
    allowed_hosts: list[str] = Field([], description="names under which the server may be reached, beside its address")
    timezone: str = Field("UTC", description="IANA zone of days, hours and weeks")
    idle_seconds: dict[str, Annotated[int, Field(gt=0)]] = Field(
        {"chat": 1800, "voice": 600, "whatsapp": 86_400, "sms": 259_200, "email": 604_800},
        description="silence after which a conversation of a channel counts as closed",
    )
    idle_default_seconds: int = Field(86_400, gt=0, description="the same for every other channel")
    deal_horizon_days: int = Field(
        90, gt=0, le=36_500, description="how long after an attended meeting a deal may still come"
    )
    attribution_days: int = Field(
        180,
        gt=0,
        le=36_500,
        description="how long after the start of a conversation an event of its contact may belong to it",
    )
    queue_retention_hours: float = Field(24, ge=0, description="how long processed events stay in the queue's log")
    backlog_limit_mb: int = Field(2000, gt=0, description="unprocessed backlog at which the door answers 429")
    rollups: list[str] = Field(
        ["channel", "bot_version"], description="dimensions by which metrics are rolled up by hour and day"
    )
    store_memory: str | None = Field(
        None, description="memory that DuckDB may use, such as 2GB; left out, what machine and data call for"
    )
    test_contacts: list[str] = Field([], description="contact ids whose conversations count as test traffic")
    test_domains: list[str] = Field([], description="the same for contact ids that end with @ and one of these")
    test_channels: list[str] = Field([], description="the same for channels")
    test_bots: list[str] = Field([], description="the same for bot ids")
    metrics: dict[str, CustomMetric] = Field({}, description="metrics of your own, by name ([metrics.md](metrics.md))")
    funnels: dict[str, Any] = Field({}, description="funnels of your own, by name ([funnels.md](funnels.md))")
    maturity: dict[str, float] = Field(
        {}, description="days that stages are waited for, and the horizon of projections ([maturity.md](maturity.md))"
    )
    experiments: dict[str, Experiment] = Field(
        {}, description="what is planned for experiments, by name ([experiments.md](experiments.md))"
    )
    wording: dict[str, WordingRule] = Field(
        {}, description="rules by which texts are one message, by name ([messages.md](messages.md))"
    )
    targets: dict[str, Any] = Field({}, description="wanted values of metrics ([dashboards.md](dashboards.md#targets))")
    annotations: list[Annotation] = Field(
        [], description="what is marked in charts over time ([dashboards.md](dashboards.md#annotations))"
    )
    alerts: list[Any] = Field([], description="rules that alert ([alerts.md](alerts.md))")
    starter_alerts: bool = Field(True, description="whether the rules that come with Dropoff alert, too")
    receivers: list[Receiver] = Field([], description="who is told about alerts ([notifications.md](notifications.md))")
    reports: list[Schedule] = Field([], description="reports that are sent by a schedule ([reports.md](reports.md))")
    public_url: str | None = Field(
        None, description="where people reach the pages, for the links in messages; else host and port"
    )
    labels: LabelRules | None = Field(
        None,
        description="words by which the labeller `rules` knows intents and sentiment ([labels.md](labels.md))",
    )
    log_level: str = Field("info", description="debug, info, warning or error")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        parse_zone(name)
        return name

    @field_validator("store_memory")
    @classmethod
    def _is_size(cls, size: str | None) -> str | None:
        if size is not None and not re.fullmatch(r"[1-9]\d* ?[MG]B", size):
            raise ValueError("a size such as 512MB or 2GB")
        return size

    @field_validator("idle_seconds")
    @classmethod
    def _spelt_as_kept(cls, seconds: dict[str, int]) -> dict[str, int]:
        return {channel_of(channel): idle for channel, idle in seconds.items()}

    @field_validator("test_domains")
    @classmethod
    def _bare(cls, domains: list[str]) -> list[str]:
        return [domain.removeprefix("@") for domain in domains]

    @field_validator("test_channels")
    @classmethod
    def _known_spelling(cls, channels: list[str]) -> list[str]:
        return [channel_of(channel) for channel in channels]

    @field_validator("test_contacts", "test_domains", "test_channels", "test_bots")
    @classmethod
    def _not_empty(cls, texts: list[str]) -> list[str]:
        for text in texts:
            if not text or "\x00" in text:
                raise ValueError("a text that is not empty")
        return texts

    @field_validator("metrics")
    @classmethod
    def _free_names(cls, metrics: dict[str, CustomMetric]) -> dict[str, CustomMetric]:
        return {check_name(name): metric for name, metric in metrics.items()}

    @field_validator("funnels")
    @classmethod
    def _parsed(cls, funnels: dict[str, Any]) -> dict[str, Any]:
        return named(funnels)

    @field_validator("targets")
    @classmethod
    def _wanted(cls, targets: dict[str, Any], info: ValidationInfo) -> dict[str, tuple[wanted.Target, ...]]:
        return wanted.parse(targets, info.data.get("metrics", {}))

    @field_validator("receivers")
    @classmethod
    def _one_of_each_name(cls, receivers: list[Receiver]) -> list[Receiver]:
        return check_names(receivers)

    @field_validator("public_url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s?#@]+", url):
            raise ValueError("an address like https://dropoff.example.com")
        return url and url.rstrip("/")

    @field_validator("maturity")
    @classmethod
    def _known_stages(cls, days: dict[str, float]) -> dict[str, float]:
        for name, value in days.items():
            if name not in (*STEP_DAYS, HORIZON):
                raise Unknown("stage", name, [*STEP_DAYS, HORIZON], name, value)
            if not 0 < value <= MOST_DAYS:
                raise InvalidInput(name, value, f"days, more than 0 and at most {MOST_DAYS}")
        return days

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Init arguments, environment, file: in this order."""
        file = TomlConfigSettingsSource(settings_cls, _file())
        return init_settings, env_settings, file

    @cached_property
    def zone(self) -> ZoneInfo:
        """The project's zone."""
        return ZoneInfo(self.timezone)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The annotations, their days in the project's zone."""
        return marks(self.annotations, self.zone)

    @property
    def test(self) -> TestTraffic:
        """What counts as test traffic beside events that say so."""
        rules = (self.test_contacts, self.test_domains, self.test_channels, self.test_bots)
        return TestTraffic(*map(tuple, rules))

    def secret(self, name: str) -> str | None:
        """The setting `name`, or what its file holds; None if neither is given. Raises `InvalidInput`."""
        given: SecretStr | None = getattr(self, name)
        file: Path | None = getattr(self, f"{name}_file")
        if given is not None or file is None:
            return given.get_secret_value() if given is not None else None
        try:
            return file.read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise InvalidInput(f"{name}_file", str(file), "a text file that can be read") from None

    @property
    def is_loopback(self) -> bool:
        """Only programs of this machine can reach the server."""
        return self.host in ("127.0.0.1", "::1", "localhost")


def load(**given: Any) -> Settings:
    """The settings, with what was given on the command line (None: not given). Raises `InvalidInput`."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except TOMLDecodeError as error:
        raise no_toml(_file(), error, Path(_file()).read_text("utf-8", "replace")) from None
    except ValidationError as error:
        first, *others = error.errors()
        raise _refusal(_with_all_missing(first, others)) from None


def unread_file(settings: Settings) -> Path | None:
    """A file of settings beside the data, which is not the one that is read."""
    file, read = settings.data / FILE, Path(_file())
    return file if file.is_file() and not (read.is_file() and file.samefile(read)) else None


def _with_all_missing(error: Any, others: Sequence[Any]) -> Any:
    """The first mistake; where something is missing with all that is missing in the same place."""
    *place, name = error["loc"]
    names = [one["loc"][-1] for one in others if one["type"] == "missing" and [*one["loc"][:-1]] == place]
    return error | {"loc": (*place, ", ".join([name, *names]))} if error["type"] == "missing" else error


def _refusal(error: Any) -> InvalidInput:
    """The first mistake: where it is, what stands there, and the rule."""
    where, path = [str(part) for part in error["loc"]], path_of(error["loc"])
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInput):
        place = _place(where, path, cause.name, error.get("input"))
        return cause.renamed(_in_file(error, where, re.split(r"[.\[\]]+", cause.name)) + place)
    given = "…" if where[0] == "receivers" else error.get("input")  # which hold secrets
    if error["type"] == "extra_forbidden":
        name = (_in_file(error, where) or f"{_file()}: ") + path
        return Unknown("setting", where[-1], _fields(where[:-1]), name, given)
    name = _in_file(error, where) + path
    if error["type"] == "missing":
        return Missing(name, "given")
    return InvalidInput(name, given, error["msg"].removeprefix("Value error, ").removeprefix("Input should be "))


def _in_file(error: Any, where: list[str], inside: Sequence[str] = ()) -> str:
    """`dropoff.toml:7: ` where the mistake stands in the file: not if another source of settings comes before it."""
    with suppress(OSError, UnicodeDecodeError, TOMLDecodeError):
        text = Path(_file()).read_text()
        held = where[:-1] if error["type"] == "missing" else where
        if value_at(loads(text), held) == error.get("input"):
            line = line_of(text, where if where[-1:] == list(inside) else [*where, *inside])
            return f"{_file()}:{line}: " if line else ""
    return ""


def _place(where: list[str], path: str, name: str, table: Any) -> str:
    """`maturity.started`; of an entry of a list that has a name `receivers[0] (ops): secret`."""
    if where[-1:] == [name]:
        return path
    named = (
        where[-1:] != [] and where[-1].isdecimal() and isinstance(table, dict) and isinstance(table.get("name"), str)
    )
    if named:
        return f"{path} ({table['name']}): {name}"
    return f"{path}.{name}" if path else name


def _fields(where: list[str]) -> list[str]:
    """The keys that a table of the settings may have; names and numbers of entries have none of their own."""
    model: type[BaseModel] = Settings
    for part in where:
        if part in model.model_fields:
            model = _model(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model(hint: Any) -> type[BaseModel] | None:
    """The model in a type like `list[Receiver]`."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint
    return next((found for one in get_args(hint) if (found := _model(one))), None)


def _file() -> str:
    return os.environ.get("DROPOFF_CONFIG", FILE)
