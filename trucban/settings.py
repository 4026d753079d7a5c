"""All settings: one frozen object, read once, at the edge.

A setting comes from an option (``--data-dir``), else the environment (``TRUCBAN_DATA_DIR``), else
the settings file (``data_dir`` in ``trucban.toml``), else its default. Each is described here and
nowhere else: options, error messages and docs/settings.md are made from these fields.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from feeds.clock import EXPECTED, ClockSpec, parse_clock
from feeds.scenarios import cause_of
from schemas.errors import SettingsError
from schemas.nearest import did_you_mean

PREFIX = "TRUCBAN_"
DEFAULT_FILE = Path("trucban.toml")

Port = Annotated[int, Field(ge=0, le=65535)]
_ADDRESS = re.compile(
    r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}(,(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5})*"
)


class Settings(BaseSettings):
    """What an installation can choose. Empty address: the embedded server of ``trucban up``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, validate_default=False
    )

    data_dir: Path = Field(
        Path(".trucban"),
        description="Directory of this installation: logs, run files, the embedded servers' data.",
    )
    broker: str = Field(
        "",
        description="Kafka to use, HOST:PORT (several with commas). Empty: the one of `trucban up` "
        "with the same data directory, which is the embedded broker unless told otherwise.",
    )
    clickhouse: str = Field(
        "",
        repr=False,
        description="ClickHouse to use, http(s)://USER:PASSWORD@HOST:PORT. Empty: the address in "
        "DATA_DIR/run/clickhouse.url, which `trucban up` writes.",
    )
    database: str = Field(
        "",
        repr=False,
        description="PostgreSQL to use, postgresql://USER:PASSWORD@HOST:PORT/NAME. Empty: the address "
        "in DATA_DIR/run/database.url, which `trucban up` writes.",
    )
    rules: Path | None = Field(
        None, description="Directory of rule files (YAML, one rule a file). Empty: the built-in catalogue."
    )
    reference: Path | None = Field(
        None,
        description="Directory of reference data (organisation tree, rosters, calendar). Empty: none is "
        "published, and what the log already holds stays in force.",
    )
    oncall: Path | None = Field(
        None, description="File that says who is told over which channel. Empty: nobody is pushed."
    )
    feed: Literal["day", "none"] = Field(
        "none",
        description="What `trucban up` feeds by itself: `none`, or `day`, the simulated school day of the "
        "reference data.",
    )
    scenario: str = Field(
        "ordinary",
        description="What happens on the simulated day: ordinary, flu, silent-vendor, late-rolls, "
        "sync-trouble or demo (some of each).",
    )
    seed: int = Field(1, ge=0, description="Seed of the simulated day: the same seed, the same events.")
    clock: str = Field(
        "wall",
        description="Business clock: `wall` (real time), `HH:MM@RATE` (a demo that begins at this civil "
        "time and runs RATE times faster; with a day before it, such as `2026-10-05T07:05@10`, on that "
        "day, else today) or `data` (moved only by what is fed).",
    )
    workers: int = Field(1, ge=1, le=64, description="Worker processes that `trucban up` starts.")
    partitions: int = Field(
        8,
        ge=1,
        le=1024,
        description="Partitions of school.events where the topics are made: fixed from then on.",
    )
    host: str = Field("127.0.0.1", description="Address that the servers of `trucban up` listen on.")
    broker_port: Port = Field(9092, description="Port of the embedded broker.")
    clickhouse_port: Port = Field(8123, description="Port of the embedded ClickHouse (HTTP).")
    console_port: Port = Field(8600, description="Port of the console and its wall (HTTP).")
    public_url: str = Field(
        "",
        description="Address under which people reach the console, such as https://trucban.example.vn. "
        "Links in pushes begin with it. Empty: the console's own address.",
    )
    metrics_port: Port = Field(
        8601,
        description="First of the ports on which the processes of `trucban up` serve Prometheus metrics; "
        "for a single process: its port. 0: none. Always on 127.0.0.1.",
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="Form of the log lines: for people, or one JSON object a line."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level of a log line that is written."
    )

    @field_validator("broker")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and _ADDRESS.fullmatch(value) is None:
            raise ValueError("expected HOST:PORT, several with commas")
        return value

    @field_validator("clickhouse")
    @classmethod
    def _clickhouse_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("expected http://USER:PASSWORD@HOST:PORT")
        return value

    @field_validator("database")
    @classmethod
    def _database_url(cls, value: str) -> str:
        if value and not value.startswith(("postgresql://", "postgresql+psycopg://")):
            raise ValueError("expected postgresql://USER:PASSWORD@HOST:PORT/NAME")
        return value

    @field_validator("scenario")
    @classmethod
    def _scenario(cls, value: str) -> str:
        try:
            cause_of(value)
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("clock")
    @classmethod
    def _clock(cls, value: str) -> str:
        try:
            parse_clock(value)
        except SettingsError as error:
            raise ValueError(f"expected {EXPECTED}") from error
        return value

    @property
    def clock_spec(self) -> ClockSpec:
        """The parsed clock."""
        return parse_clock(self.clock)


def option_of(name: str) -> str:
    """The command-line option of a setting."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def load_settings(options: Mapping[str, object], file: Path | None = None) -> Settings:
    """Read the settings: ``options`` (those that were given), environment, settings file.

    ``file`` None: ``TRUCBAN_CONFIG``, else ``trucban.toml`` in the working directory if it is there.
    Raises `SettingsError` that names every wrong value.
    """
    named = file or (Path(os.environ["TRUCBAN_CONFIG"]) if os.environ.get("TRUCBAN_CONFIG") else None)
    path = named or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    values = parse_settings(_read(path), str(path)) if path else {}
    check_environment(os.environ)
    values |= EnvSettingsSource(Settings)()
    return make_settings(values | dict(options))


def make_settings(values: Mapping[str, object]) -> Settings:
    """Validate; all faults in one `SettingsError`, in the order of the fields."""
    try:
        return Settings(**dict(values))  # type: ignore[arg-type]
    except ValidationError as error:
        order = list(Settings.model_fields)
        faults = sorted(error.errors(), key=lambda fault: order.index(str(fault["loc"][0])))
        raise SettingsError("\n".join(_sentence(dict(fault)) for fault in faults)) from None


def parse_settings(text: str, file: str) -> dict[str, Any]:
    """The values in a settings file. Raises `SettingsError` for bad TOML and unknown names."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not TOML: {error}") from error
    unknown = [_unknown(f"{file}: ", name, list(Settings.model_fields)) for name in values
               if name not in Settings.model_fields]  # fmt: skip
    if unknown:
        raise SettingsError("\n".join(unknown))
    return values


def check_environment(environ: Mapping[str, str]) -> None:
    """Raise `SettingsError` for variables that begin like ours and are none."""
    known = [variable_of(name) for name in Settings.model_fields] + [PREFIX + "CONFIG"]
    unknown = [_unknown("environment: ", name, known) for name in sorted(environ)
               if name.startswith(PREFIX) and name not in known]  # fmt: skip
    if unknown:
        raise SettingsError("\n".join(unknown))


def _unknown(where: str, name: str, known: list[str]) -> str:
    return f'{where}there is no setting "{name}"{did_you_mean(name, known)}'


def _sentence(fault: dict[str, Any]) -> str:
    name = str(fault["loc"][0])
    shown = "" if name in {"clickhouse", "database"} else f" {fault['input']!r}"  # may hold a password
    message = str(fault["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"setting {name} ({option_of(name)}, {variable_of(name)}): wrong value{shown}: {message}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}") from error
