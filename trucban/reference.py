"""Reference pages made from the code: ``python -m trucban.reference docs`` writes them.

A test proves that the pages in ``docs`` are what this makes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trucban.commands.table import COMMANDS, EXIT_CODES
from trucban.metrics import METRICS
from trucban.settings import Settings, option_of, variable_of

_MADE = "<!-- Made by `make docs` from the code: change it there. -->\n"


def settings_page() -> str:
    """docs/settings.md."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "") else f"`{field.default}`"
        taken = ", ".join(
            f"`{command.name}`" for command in COMMANDS if name in command.settings and not command.internal
        )
        text = _cell(field.description or "")
        rows.append(
            f"| `{name}` | `{option_of(name)}` | `{variable_of(name)}` | {default} | {text} | {taken} |"
        )
    return (
        f"# Settings\n\n{_MADE}\n"
        "A setting is taken from the command line, else from the environment, else from the settings\n"
        "file, else it has its default. The settings file is TOML: `--config FILE`, else the one that\n"
        "`TRUCBAN_CONFIG` names, else `trucban.toml` in the working directory. A name that does not\n"
        "exist, in the file or as `TRUCBAN_…` in the environment, is an error.\n\n"
        "| Name | Option | Variable | Default | Meaning | Taken by |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def commands_page() -> str:
    """docs/commands.md."""
    commands = "\n".join(
        f"| `trucban {_usage(command.name)}` | {_cell(command.help)} |"
        for command in COMMANDS
        if not command.internal
    )
    codes = "\n".join(f"| {code} | {_cell(meaning)} |" for code, meaning in EXIT_CODES)
    return (
        f"# Commands\n\n{_MADE}\n`trucban COMMAND --help` tells the options of each.\n\n"
        f"| Command | What it does |\n|---|---|\n{commands}\n\n"
        f"## Exit status\n\n| Status | Meaning |\n|---|---|\n{codes}\n"
    )


def metrics_page() -> str:
    """docs/metrics.md."""
    rows = "\n".join(
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} "
        f"| {_cell(metric.help)} |"
        for metric in METRICS
    )
    return (
        f"# Metrics\n\n{_MADE}\n"
        "Each process serves Prometheus metrics on 127.0.0.1: `trucban up` gives broker 8601, clickhouse\n"
        "8602, postgres 8603, pulse 8604, archiver 8605, notifier 8606 and the workers 8611, 8612 …\n"
        "(`--metrics-port` moves them together, 0 turns them off). All serve the process's own\n"
        "`process_…` metrics (CPU seconds, memory, open files); each process fills those\n"
        "below that are its own. Beside it `/healthz` answers 200, or 503 with a sentence: the notifier's\n"
        "where PostgreSQL does not answer or the oldest push is open for a minute, the archiver's where\n"
        "nothing was archived for 30 s.\n\n"
        f"| Name | Type | Labels | Meaning |\n|---|---|---|---|\n{rows}\n"
    )


PAGES = {"settings.md": settings_page, "commands.md": commands_page, "metrics.md": metrics_page}


def write(directory: Path) -> None:
    """Write all pages."""
    for name, make in PAGES.items():
        (directory / name).write_text(make(), encoding="utf-8")


def _usage(name: str) -> str:
    command = next(known for known in COMMANDS if known.name == name)
    return " ".join([name, *(a.name.upper() for a in command.arguments if not a.name.startswith("-"))])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
