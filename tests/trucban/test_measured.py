"""What notifier and archiver tell: metrics, and whether they are well."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Mapping, Sequence
from urllib.error import HTTPError

import pytest

from notify.watch import Fitness
from schemas.errors import StoreAway, SupervisionError
from store.archive import Place, Slice
from store.archive_memory import MemoryArchive
from store.desk import OutboxSummary
from streams.archiver import Archiver, BatchBounds
from tests.support.archive import accepted, part
from trucban.measured import ArchiverMeter, NotifierMeter
from trucban.metrics import Meter, serve_metrics

NOW = 1_700_000_000_000


def value(meter: Meter, name: str, **labels: str) -> float | None:
    return meter.registry.get_sample_value(name, labels)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_each_process_says_whether_it_is_well_beside_its_metrics() -> None:
    meter, port = Meter(), free_port()
    serve_metrics(meter, port)
    assert ask(port, "/healthz") == (200, "ok\n")
    meter.ailment = lambda: "PostgreSQL does not answer: x"
    assert ask(port, "/healthz?now") == (503, "PostgreSQL does not answer: x\n")
    status, text = ask(port, "/metrics")
    assert status == 200
    assert "trucban_outbox_age_seconds 0.0" in text
    assert ask(port, "/elsewhere") == (404, "/metrics or /healthz\n")
    with pytest.raises(SupervisionError) as raised:
        serve_metrics(meter, port)
    assert str(raised.value) == (
        f"port {port} for metrics is taken; choose another with --metrics-port (0: none)"
    )


def test_the_notifier_tells_of_its_outbox_and_its_attempts() -> None:
    now = NOW
    meter, fitness = Meter(), Fitness(lambda: now)
    measured = NotifierMeter(meter)
    measured.follow(fitness)
    summary = OutboxSummary(3, 1, 20, 2, NOW - 2_000, None, 0)
    measured.outbox(summary)
    fitness.saw(summary)
    measured.attempted("webhook", "delivered")
    measured.attempted("webhook", "delivered")
    measured.attempted("apprise", "retry")
    assert value(meter, "trucban_outbox_rows", state="waiting") == 3
    assert value(meter, "trucban_outbox_rows", state="failed") == 2
    assert value(meter, "trucban_pushes_total", channel="webhook", outcome="delivered") == 2
    assert value(meter, "trucban_pushes_total", channel="apprise", outcome="retry") == 1
    assert value(meter, "trucban_outbox_age_seconds") == 2
    assert meter.ailment() == ""
    now += 60_000  # and nobody looked again
    assert value(meter, "trucban_outbox_age_seconds") == 62
    assert meter.ailment() == "4 pushes are open, the oldest for 62 s"
    fitness.missed(StoreAway("PostgreSQL does not answer: refused"))
    assert meter.ailment() == "PostgreSQL does not answer: refused"
    fitness.saw(OutboxSummary(0, 0, 24, 2, None, NOW, 0))
    assert (value(meter, "trucban_outbox_age_seconds"), meter.ailment()) == (0, "")


class Source:
    """One record, then nothing."""

    def __init__(self) -> None:
        self.waiting: list[Sequence[Slice]] = [
            [part("school.events.accepted", 0, 0, [accepted(["e1", "e2"])])]
        ]

    def epoch(self) -> str:
        return "e1"

    def assign(self, positions: Mapping[Place, int]) -> None:
        """From the start."""

    def poll(self, bounds: BatchBounds) -> Sequence[Slice]:
        return self.waiting.pop() if self.waiting else []

    def close(self) -> None:
        """Nothing to let go."""


def test_the_archiver_tells_what_it_wrote_and_for_how_long_nothing() -> None:
    time = 100.0
    meter, archive = Meter(), MemoryArchive()
    measured = ArchiverMeter(meter)

    def wait(seconds: float) -> None:
        nonlocal time
        assert value(meter, "trucban_archiver_insert_age_seconds") == time - 100.0
        time += 31.0
        assert meter.ailment() == ("nothing was archived for 31 s: ClickHouse or the broker does not answer")
        archive.away = False

    archiver = Archiver(Source(), archive, pause=wait, wrote=measured.wrote, clock=lambda: time)
    measured.follow(archiver)
    archive.open("e1")
    archive.away = True
    archiver.step()
    assert value(meter, "trucban_archiver_rows_total", table="event_log") == 2
    assert value(meter, "trucban_archiver_insert_seconds_total") == 31
    assert (value(meter, "trucban_archiver_insert_age_seconds"), meter.ailment()) == (0, "")
    time += 5
    assert value(meter, "trucban_archiver_insert_age_seconds") == 5
    archiver.step()
    assert value(meter, "trucban_archiver_insert_age_seconds") == 0
