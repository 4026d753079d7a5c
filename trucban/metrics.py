"""Every metric of the engine, in one typed list, and Prometheus behind it.

The rooms count through small protocols of their own (`streams.metrics.Metrics`); `Meter` is what
the front door gives them. docs/metrics.md is made from `METRICS`, and a test keeps the two equal.
"""

from __future__ import annotations

import errno
import functools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client import Gauge as PrometheusGauge

from schemas.errors import SupervisionError
from streams.metrics import Count, Gauge


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its Prometheus name, type, what it means (with the unit), and its labels."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()


_AGENT: Final = ("agent", "partition")

COUNTS: Final[dict[Count, str]] = {
    Count.RECORDS: "Records applied by an agent.",
    Count.BATCHES: "Fetched batches applied by an agent.",
    Count.OUTPUTS: "Records sent by an agent.",
    Count.OUTPUT_BYTES: "Bytes of keys and values sent by an agent.",
    Count.REWINDS: "Times an agent sought back because a fetch began after its position.",
    Count.RESTORES: "Partitions taken over.",
    Count.SNAPSHOTS: "Snapshots committed.",
    Count.SNAPSHOT_BYTES: "Bytes of snapshot blocks written.",
    Count.SNAPSHOTS_TORN: "Snapshots given up before their commit record.",
}
GAUGES: Final[dict[Gauge, str]] = {
    Gauge.POSITION: "Offset of the next record an agent will apply.",
    Gauge.BACKLOG: "Records in the partition not yet applied, by the newest fetch.",
    Gauge.SNAPSHOT_TIME: "When the newest snapshot was committed, in seconds since the Unix epoch.",
    Gauge.BYTES_IN_FLIGHT: "Output bytes sent and not yet acknowledged.",
}

PULSES: Final = Metric("trucban_pulses_total", "counter", "Pulses acknowledged, all partitions together.")
CLOCK: Final = Metric(
    "trucban_business_clock_seconds", "gauge", "Newest business time told, in seconds since the Unix epoch."
)
CONTROLS: Final = Metric(
    "trucban_control_records_total", "counter", "Versions of rules and reference data published."
)
CONTROL_FAULTS: Final = Metric(
    "trucban_control_faults",
    "gauge",
    "Faults in the rule and reference files as they are now; what was in force stays in force.",
)

_PARTITION: Final = ("partition",)

COUNTED: Final = Metric("trucban_count_counted_total", "counter", "Events counted.", _PARTITION)
REJECTED: Final = Metric(
    "trucban_count_rejected_total", "counter", "Events refused, by reason.", ("partition", "reason")
)
REPEATS: Final = Metric(
    "trucban_count_repeats_total", "counter", "Events that were counted before and came again.", _PARTITION
)
LATE: Final = Metric(
    "trucban_count_late_total",
    "counter",
    "Events beyond what can be corrected: archived, not counted.",
    _PARTITION,
)
LIVE_PANES: Final = Metric("trucban_count_live_panes", "gauge", "Panes in memory.", _PARTITION)

CORE_METRICS: Final = (COUNTED, REJECTED, REPEATS, LATE, LIVE_PANES)
"""Read from the worker's cores when somebody asks (`trucban.core_metrics`), not counted by a `Meter`."""

CONSOLE_RECORDS: Final = Metric("trucban_console_records_total", "counter", "Records read by the console.")
CONSOLE_STREAMS: Final = Metric("trucban_console_streams", "gauge", "Browsers that listen to the console.")


OUTBOX_AGE: Final = Metric(
    "trucban_outbox_age_seconds",
    "gauge",
    "Age of the oldest push that is due and neither delivered nor given up; 0: none.",
)
OUTBOX_ROWS: Final = Metric("trucban_outbox_rows", "gauge", "Pushes in the outbox.", ("state",))
PUSHES: Final = Metric(
    "trucban_pushes_total",
    "counter",
    "Attempts to deliver a push, by kind of channel and what came of it (delivered, retry, failed).",
    ("channel", "outcome"),
)
INSERT_AGE: Final = Metric(
    "trucban_archiver_insert_age_seconds",
    "gauge",
    "Seconds since everything that the archiver had read stood in ClickHouse.",
)
ARCHIVED_ROWS: Final = Metric(
    "trucban_archiver_rows_total", "counter", "Rows written into ClickHouse, repeats included.", ("table",)
)
INSERT_SECONDS: Final = Metric(
    "trucban_archiver_insert_seconds_total", "counter", "Seconds spent writing into ClickHouse."
)


def count_metric(what: Count) -> Metric:
    """The Prometheus counter of a count of the streams."""
    return Metric(f"trucban_{what.value}_total", "counter", COUNTS[what], _AGENT)


def gauge_metric(what: Gauge) -> Metric:
    """The Prometheus gauge of a gauge of the streams."""
    return Metric(f"trucban_{what.value}", "gauge", GAUGES[what], _AGENT)


METRICS: Final[tuple[Metric, ...]] = (
    *(count_metric(what) for what in Count),
    *(gauge_metric(what) for what in Gauge),
    PULSES,
    CLOCK,
    CONTROLS,
    CONTROL_FAULTS,
    CONSOLE_RECORDS,
    CONSOLE_STREAMS,
    OUTBOX_AGE,
    OUTBOX_ROWS,
    PUSHES,
    INSERT_AGE,
    ARCHIVED_ROWS,
    INSERT_SECONDS,
    *CORE_METRICS,
)


class Meter:
    """Registers every metric of the list at once, so that a scrape also shows what is still zero."""

    def __init__(self, metrics: Iterable[Metric] = METRICS) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU seconds, memory, open files
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, PrometheusGauge] = {}
        for metric in metrics:
            if metric in CORE_METRICS:
                continue
            if metric.kind == "counter":
                self._counters[metric.name] = Counter(
                    metric.name, metric.help, metric.labels, registry=self.registry
                )
            else:
                self._gauges[metric.name] = PrometheusGauge(
                    metric.name, metric.help, metric.labels, registry=self.registry
                )
        self.ailment: Callable[[], str] = lambda: ""
        """Says in a sentence what is wrong with the process; empty: it is well. For ``/healthz``."""
        self._names = {what: count_metric(what).name for what in Count}
        self._gauge_names = {what: gauge_metric(what).name for what in Gauge}

    def add(self, metric: Metric, by: float = 1, *labels: str) -> None:
        """Add to a counter, with the values of its labels."""
        counter = self._counters[metric.name]
        (counter.labels(*labels) if labels else counter).inc(by)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge, with the values of its labels."""
        gauge = self._gauges[metric.name]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def follow(self, metric: Metric, value: Callable[[], float]) -> None:
        """Ask for a gauge's value at each scrape."""
        self._gauges[metric.name].set_function(value)

    def count(self, what: Count, agent: str, partition: int, by: int = 1) -> None:
        """Add ``by`` to a counter of one agent's partition."""
        self._counters[self._names[what]].labels(agent, str(partition)).inc(by)

    def gauge(self, what: Gauge, agent: str, partition: int, value: float) -> None:
        """Set a gauge of one agent's partition."""
        self._gauges[self._gauge_names[what]].labels(agent, str(partition)).set(value)


def serve_metrics(meter: Meter, port: int) -> None:
    """Serve ``/metrics`` and ``/healthz`` on 127.0.0.1 from a thread; ``port`` 0: not at all."""
    if port == 0:
        return
    disable_created_metrics()  # type: ignore[no-untyped-call]  # twice as many series, which nobody reads
    try:
        server = _Server(("127.0.0.1", port), functools.partial(_Handler, meter))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} for metrics is taken; choose another with --metrics-port (0: none)"
            raise SupervisionError(message) from error
        raise
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, meter: Meter, *arguments: Any) -> None:
        self._meter = meter
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Metrics, or whether the process is well: 200, or 503 with a sentence."""
        path = self.path.partition("?")[0]
        if path in ("/metrics", "/"):
            self._answer(200, generate_latest(self._meter.registry), CONTENT_TYPE_LATEST)
        elif path == "/healthz":
            wrong = self._meter.ailment()
            self._answer(503 if wrong else 200, f"{wrong or 'ok'}\n".encode(), "text/plain; charset=utf-8")
        else:
            self._answer(404, b"/metrics or /healthz\n", "text/plain; charset=utf-8")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Who scrapes is no news."""
