"""The engine from inside: the processes' own metrics, put in order for a page. Pure but `scrape`."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

Samples = tuple["Sample", ...]

TIMEOUT: Final = 1.0
_PARTITION_COLUMNS: Final = {
    "trucban_worker_records_total": "records",
    "trucban_worker_backlog": "backlog",
    "trucban_worker_batches_total": "batches",
    "trucban_worker_snapshot_bytes_total": "snapshot_bytes",
    "trucban_worker_snapshots_total": "snapshots",
    "trucban_worker_snapshot_time_seconds": "snapshot_time",
    "trucban_count_live_panes": "panes",
    "trucban_count_counted_total": "counted",
    "trucban_count_repeats_total": "repeats",
    "trucban_count_late_total": "late",
}
_SINGLE: Final = {
    "trucban_outbox_rows": "outbox_rows",
    "trucban_outbox_age_seconds": "outbox_age",
    "trucban_archiver_insert_age_seconds": "insert_age",
    "trucban_archiver_rows_total": "archived_rows",
}
AGENTS: Final = ("count", "judge", "correlate")


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of a process."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent's partition; None: its process does not say."""

    agent: str
    partition: int
    process: str
    backlog: float | None
    records: float | None
    batch_size: float | None
    """Records of a batch, on average since the process began."""
    panes: float | None
    snapshot_age: float | None
    """Seconds of real time since the newest snapshot; None: none since the process began."""
    snapshot_bytes: float | None
    """Bytes that a snapshot wrote on average."""


@dataclass(frozen=True, slots=True)
class Inside:
    """Everything of the engine page that comes from metrics."""

    rows: tuple[AgentRow, ...]
    facts: dict[str, float | None]
    """Name of a word of the page → number over all processes; None: nobody says."""
    rejected: tuple[tuple[str, float], ...]
    """Reason and number of events that `count` refused, most first."""
    away: tuple[str, ...]
    """Processes that do not answer."""


def parse(text: str) -> Samples:
    """Samples of a Prometheus exposition, those of this project."""
    return tuple(
        Sample(sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        if family.name.startswith("trucban_")
        for sample in family.samples
    )


def scrape(port: int) -> Samples | None:
    """What a process on this machine says; None: it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT) as answer:
            return parse(answer.read().decode())
    except (OSError, ValueError):
        return None


def look_inside(processes: Mapping[str, Samples | None], now: float) -> Inside:
    """Put what all processes say in order. ``now``: seconds since the Unix epoch."""
    tables: dict[tuple[str, str, int], dict[str, float]] = {}
    facts: dict[str, float] = {}
    rejected: dict[str, float] = {}
    for process, samples in processes.items():
        for sample in samples or ():
            labels = sample.labels
            if sample.name in _PARTITION_COLUMNS and labels.get("partition", "").isdigit():
                key = labels.get("agent", "count"), process, int(labels["partition"])
                tables.setdefault(key, {})[_PARTITION_COLUMNS[sample.name]] = sample.value
            elif sample.name == "trucban_count_rejected_total":
                rejected[labels["reason"]] = rejected.get(labels["reason"], 0) + sample.value
            elif sample.name in _SINGLE and process.startswith(_SAYS[sample.name]):
                facts[_SINGLE[sample.name]] = sample.value
            elif sample.name == "trucban_worker_position" and labels.get("agent") == "correlate":
                facts["transitions"] = max(facts.get("transitions", 0), sample.value)
    rows = tuple(
        _row(key, tables[key], now)
        for key in sorted(tables, key=lambda key: (_order(key[0]), key[2], key[1]))
        if "records" in tables[key] or "backlog" in tables[key]
    )
    return Inside(
        rows,
        {**_sums(tables), **{name: facts.get(name) for name in ("transitions", *_SINGLE.values())}},
        tuple(sorted(rejected.items(), key=lambda entry: (-entry[1], entry[0]))),
        tuple(name for name, samples in processes.items() if samples is None),
    )


_SAYS: Final = {
    "trucban_outbox_rows": "notifier",
    "trucban_outbox_age_seconds": "notifier",
    "trucban_archiver_insert_age_seconds": "archiver",
    "trucban_archiver_rows_total": "archiver",
}
"""Which process fills a metric that every process shows."""


def _order(agent: str) -> int:
    return AGENTS.index(agent) if agent in AGENTS else len(AGENTS)


def _row(key: tuple[str, str, int], found: dict[str, float], now: float) -> AgentRow:
    agent, process, partition = key
    snapshots, at = found.get("snapshots", 0), found.get("snapshot_time", 0)
    return AgentRow(
        agent,
        partition,
        process,
        found.get("backlog"),
        found.get("records"),
        _ratio(found.get("records"), found.get("batches")),
        found.get("panes"),
        max(0.0, now - at) if at else None,
        _ratio(found.get("snapshot_bytes"), snapshots),
    )


def _sums(tables: Mapping[tuple[str, str, int], dict[str, float]]) -> dict[str, float | None]:
    def total(column: str) -> float | None:
        known = [found[column] for key, found in tables.items() if key[0] == "count" and column in found]
        return sum(known) if known else None

    return {
        "lag": total("backlog"),
        "counted": total("counted"),
        "repeats": total("repeats"),
        "late_events": total("late"),
        "live_panes": total("panes"),
    }


def _ratio(whole: float | None, parts: float | None) -> float | None:
    return whole / parts if whole is not None and parts else None
