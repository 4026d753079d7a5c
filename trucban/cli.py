"""The command line: parses, reads the settings, runs one command, and says in one sentence what failed.

argparse and not click: the options are made from the settings' fields, for which argparse needs a
loop and click decorators; and it starts faster.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from schemas.errors import (
    DocumentError,
    LogError,
    LogLost,
    SettingsError,
    StoreError,
    SupervisionError,
    TrucbanError,
)
from trucban.commands.table import COMMANDS, EXIT_CODES, GROUPS, Command
from trucban.settings import Settings, load_settings, option_of, variable_of

Run = Callable[[Settings, argparse.Namespace], int]

_EXIT: tuple[tuple[type[TrucbanError], int], ...] = (
    (LogLost, 5),
    (LogError, 3),
    (StoreError, 3),
    (SupervisionError, 4),
    (SettingsError, 2),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``trucban`` with ``argv`` and return the exit status (see `EXIT_CODES`)."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 2
    command: Command = args.command
    try:
        given = {name: value for name in command.settings if (value := getattr(args, name)) is not None}
        settings = load_settings(given, args.config)
        return find(command)(settings, args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) has gone
        return 1
    except DocumentError as error:
        print(error, file=sys.stderr)
        return 1
    except TrucbanError as error:
        print(f"trucban {command.name}: {error}", file=sys.stderr)
        return exit_status(error)
    except Exception:  # noqa: BLE001 - the last place that can tell it
        traceback.print_exc()
        print(f"trucban {command.name}: this is a fault of the program; please report it", file=sys.stderr)
        return 70


def exit_status(error: TrucbanError) -> int:
    """The exit status that stands for an error."""
    return next((status for kind, status in _EXIT if isinstance(error, kind)), 1)


def find(command: Command) -> Run:
    """Import a command's code."""
    module, _, function = command.run.partition(":")
    run: Run = getattr(importlib.import_module(module), function)
    return run


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command table."""
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES)
    parser = argparse.ArgumentParser(
        prog="trucban",
        description="Trực ban: real-time monitoring and alerting for an education operations centre.",
        epilog=f"exit status:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(metavar="COMMAND")
    groups: dict[str, argparse._SubParsersAction[argparse.ArgumentParser]] = {}
    for group, text in GROUPS.items():
        inner = commands.add_parser(group, help=text, description=text, allow_abbrev=False)
        groups[group] = inner.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        group, _, name = command.name.rpartition(" ")
        where = groups[group] if group else commands
        if command.internal:
            _fill(where.add_parser(name, description=command.help, allow_abbrev=False), command)
        else:
            _fill(
                where.add_parser(name, help=command.help, description=command.help, allow_abbrev=False),
                command,
            )
    return parser


def _fill(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.set_defaults(command=command)
    for argument in command.arguments:
        parser.add_argument(argument.name, help=argument.help, **dict(argument.options))
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings file (default: $TRUCBAN_CONFIG, else trucban.toml)",
    )
    for name in command.settings:
        field = Settings.model_fields[name]
        default = "" if field.default in (None, "") else f" (default: {field.default})"
        text = f"{field.description}{default} [{variable_of(name)}]"
        metavar = name.upper().rpartition("_")[2]
        parser.add_argument(option_of(name), dest=name, metavar=metavar, help=text.replace("%", "%%"))
