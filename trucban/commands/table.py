"""The commands of ``trucban``: names, arguments, settings they take, and where their code is.

The parser, the error messages and docs/commands.md are made from this table. It imports none of the
commands' machinery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

_LOGS = ("log_format", "log_level")
_STACK = ("data_dir", "broker")
_ALL = (*_STACK, "clickhouse", "database", "rules", "reference", "oncall", "clock", "partitions", *_LOGS)


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument, or a flag that is no setting; ``options`` go to argparse as they are."""

    name: str
    help: str
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """``run`` is ``module:function``, called with the settings and the parsed arguments."""

    name: str
    help: str
    run: str
    settings: tuple[str, ...]
    arguments: tuple[Argument, ...] = ()
    internal: bool = False
    """Started by ``trucban up`` only; not listed."""


_JSON = Argument("--json", "print JSON for programs", (("action", "store_true"),))
_NAME = Argument("--name", "name of this process in run files and logs", (("default", ""),))
_REASON = Argument("--reason", "only this reason, such as unknown_school", (("default", ""),))
_SOURCE = Argument("--source", "only events of this source", (("default", ""),))

COMMANDS: Final[tuple[Command, ...]] = (
    Command(
        "up",
        "run everything on this machine, supervised",
        "trucban.commands.up:run",
        (
            *_STACK,
            "clickhouse",
            "database",
            "rules",
            "reference",
            "oncall",
            "feed",
            "scenario",
            "seed",
            "clock",
            "workers",
            "partitions",
            "host",
            "broker_port",
            "clickhouse_port",
            "console_port",
            "public_url",
            "metrics_port",
            *_LOGS,
        ),
        (Argument("--fresh", "empty the data directory first", (("action", "store_true"),)),),
    ),
    Command(
        "worker",
        "run the agents count, judge and correlate",
        "trucban.commands.processes:worker",
        (*_STACK, "partitions", "clock", "metrics_port", *_LOGS),
        (_NAME,),
    ),
    Command(
        "archiver",
        "write events, aggregates, transitions and deliveries into ClickHouse",
        "trucban.commands.processes:archiver",
        (*_STACK, "clickhouse", "metrics_port", *_LOGS),
        (_NAME,),
    ),
    Command(
        "notifier",
        "decide who is told, and deliver pushes",
        "trucban.commands.processes:notifier",
        (*_STACK, "database", "oncall", "host", "console_port", "public_url", "metrics_port", *_LOGS),
        (_NAME,),
    ),
    Command(
        "console",
        "serve the wall and the pages beside it",
        "trucban.commands.processes:console",
        (*_STACK, "clickhouse", "host", "console_port", "metrics_port", *_LOGS),
        (_NAME,),
    ),
    Command(
        "pulse",
        "make the topics, publish rules and reference data, tell the business time each second",
        "trucban.commands.processes:pulse",
        (*_STACK, "rules", "reference", "clock", "feed", "partitions", "metrics_port", *_LOGS),
        (_NAME,),
    ),
    Command(
        "feed",
        "send the simulated school day of the reference data as the business clock reaches it",
        "trucban.commands.feed:day",
        (*_STACK, "reference", "scenario", "seed", "metrics_port", *_LOGS),
        (_NAME,),
    ),
    Command(
        "broker",
        "run the embedded broker",
        "trucban.commands.processes:broker",
        ("data_dir", "host", "broker_port", "metrics_port", *_LOGS),
        (_NAME,),
        internal=True,
    ),
    Command(
        "clickhouse",
        "run the embedded ClickHouse",
        "trucban.commands.processes:clickhouse",
        ("data_dir", "host", "clickhouse_port", "metrics_port", *_LOGS),
        (_NAME,),
        internal=True,
    ),
    Command(
        "postgres",
        "run the embedded PostgreSQL",
        "trucban.commands.processes:postgres",
        ("data_dir", "metrics_port", *_LOGS),
        (_NAME,),
        internal=True,
    ),
    Command(
        "send",
        "publish CloudEvents, one a line, after validation",
        "trucban.commands.feed:send",
        (*_STACK, *_LOGS),
        (Argument("file", "a file of JSON lines, or - for standard input"),),
    ),
    Command(
        "replay",
        "publish a known foreign file in event-time order, with its pulses; needs a stack with --clock data",
        "trucban.commands.feed:replay",
        (*_STACK, *_LOGS),
        (
            Argument("file", "the file"),
            Argument("--format", "what the file is", (("choices", ("nyc-attendance",)), ("required", True))),
        ),
    ),
    Command(
        "status",
        "every process, lag, last event, last push; not zero when something is wrong",
        "trucban.commands.status:run",
        (*_STACK, "clickhouse", "database", *_LOGS),
        (_JSON,),
    ),
    Command(
        "schema",
        "JSON Schema of an event type, or the list of types",
        "trucban.commands.schema:run",
        (),
        (Argument("type", "name of an event type", (("nargs", "?"),)),),
    ),
    Command(
        "notify test",
        "send a test push to a person of the on-call file, over each of their channels or one",
        "trucban.commands.notify:test",
        ("oncall", "host", "console_port", "public_url"),
        (
            Argument("person", "code of the person"),
            Argument("--channel", "only the channel of this name", (("metavar", "NAME"), ("default", ""))),
        ),
    ),
    Command(
        "doctor",
        "what this machine and this installation lack, and what to do about it",
        "trucban.commands.doctor:run",
        (
            *_STACK,
            "clickhouse",
            "database",
            "rules",
            "reference",
            "oncall",
            "clock",
            "workers",
            "host",
            "broker_port",
            "clickhouse_port",
            "console_port",
            "metrics_port",
        ),
        (_JSON,),
    ),
    Command(
        "rejected list",
        "rejected events by source and reason, with their number",
        "trucban.commands.rejected:show",
        ("data_dir", "clickhouse", *_LOGS),
        (_REASON, _SOURCE, _JSON),
    ),
    Command(
        "rejected replay",
        "send rejected events again, as they are or under another school code; what was counted is a repeat",
        "trucban.commands.rejected:replay",
        (*_STACK, "clickhouse", *_LOGS),
        (
            _REASON,
            _SOURCE,
            Argument(
                "--map",
                "send only events of school OLD, as school NEW; may be given again",
                (("action", "append"), ("default", []), ("metavar", "OLD=NEW")),
            ),
        ),
    ),
    Command(
        "rules check",
        "all faults in the rule files, with line and column",
        "trucban.commands.rules:check",
        ("rules",),
        (_JSON,),
    ),
    Command(
        "rules test",
        "run the examples that the rule files carry",
        "trucban.commands.rules:test",
        ("rules",),
        (_JSON,),
    ),
)

GROUPS: Final = {
    "notify": "who is told, tried out",
    "rejected": "events that were refused",
    "rules": "the rule authors' tools",
}

EXIT_CODES: Final[tuple[tuple[int, str], ...]] = (
    (0, "done; for `up`: stopped cleanly"),
    (1, "the answer is no: lines were rejected, rules have faults, a test failed, something is not running"),
    (2, "a wrong option, argument, environment variable, settings file or input file"),
    (3, "the broker, ClickHouse or PostgreSQL does not answer or refuses"),
    (4, "a port is taken, the data directory is locked, or a child cannot be started"),
    (5, "the log lost records that were not processed yet"),
    (70, "a fault of the program itself; its traceback is printed"),
    (130, "interrupted"),
)
