"""The project's exception tree.

TrucbanError
├── SchemaError        an event type or schema that does not exist or is inconsistent
├── DocumentError      one or more faults in YAML/CSV documents, each with its place
├── LogError           the log cannot be read or written as the engine needs it
│   ├── LogLost        records that were not yet processed are gone
│   └── BrokerAway     the broker does not answer
├── StoreError         ClickHouse or PostgreSQL refused or is away
│   └── StoreAway      it does not answer: wait and try again
├── SettingsError      an option, environment variable or settings file is wrong
└── SupervisionError   a lock is held, a port is taken, a child cannot be started
"""

from __future__ import annotations

from dataclasses import dataclass


class TrucbanError(Exception):
    """Root of everything this project raises on purpose."""


class SchemaError(TrucbanError):
    """An event type or schema does not exist or is inconsistent."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault in a document: where it is, what is wrong, what was expected.

    ``line`` and ``column`` count from 1; 0 means the place is not known.
    """

    file: str
    line: int
    column: int
    message: str
    expected: str = ""
    suggestion: str = ""
    rule: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: "
        if self.rule:
            text += f"rule {self.rule}: "
        text += self.message
        if self.expected:
            text += f"; expected {self.expected}"
        if self.suggestion:
            text += f"; did you mean {self.suggestion!r}?"
        return text


class DocumentError(TrucbanError):
    """All faults found in a set of documents, sorted by place."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = sorted(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class LogError(TrucbanError):
    """The log cannot be read or written as the engine needs it."""


class LogLost(LogError):
    """Records that were not yet processed are gone from the log."""


class BrokerAway(LogError):
    """The broker does not answer."""


class StoreError(TrucbanError):
    """ClickHouse or PostgreSQL refused a request."""


class StoreAway(StoreError):
    """ClickHouse or PostgreSQL does not answer: wait and try again."""


class SettingsError(TrucbanError):
    """An option, an environment variable or the settings file is wrong."""


class SupervisionError(TrucbanError):
    """A lock is held, a port is taken, a child cannot be started."""
