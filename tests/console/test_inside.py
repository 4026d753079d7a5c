from __future__ import annotations

from prometheus_client import generate_latest

from console.inside import AgentRow, look_inside, parse
from console.render import number_text
from rules.engine.configured import encode_config
from rules.engine.count import CountCore
from schemas.topics import ARRIVED, CONTROL, KIND
from schemas.wire import Config, CoreOptions, Headers, LogBatch
from streams.metrics import Count, Gauge
from tests.feeds.test_mapped import closing
from tests.support.morning_wall import at, district
from trucban.core_metrics import CoreWatch
from trucban.metrics import CORE_METRICS, Meter


def worker() -> bytes:
    """What a worker tells whose `count` has taken four records of partition 0."""
    meter, watch = Meter(), CoreWatch()
    meter.registry.register(watch)
    core = watch.watch(CountCore(0, CoreOptions(1, 1)))
    control = encode_config(Config(reference=district(2, 1).to_json(), rules=[]))
    values: list[bytes | None] = [control, closing("S0001"), closing("S0001"), closing("none")]
    arrived = [(ARRIVED, str(at(480)).encode())]
    heads: list[Headers] = [[(KIND, CONTROL)], arrived, arrived, arrived]
    core.apply(LogBatch(0, [0, 1, 2, 3], [None] * 4, values, heads, [at(480)] * 4))
    meter.count(Count.RECORDS, "count", 0, 4)
    meter.count(Count.BATCHES, "count", 0, 2)
    meter.count(Count.SNAPSHOTS, "count", 0, 2)
    meter.count(Count.SNAPSHOT_BYTES, "count", 0, 3000)
    meter.gauge(Gauge.SNAPSHOT_TIME, "count", 0, 990)
    meter.gauge(Gauge.BACKLOG, "count", 0, 7)
    meter.gauge(Gauge.POSITION, "correlate", 0, 12)
    return generate_latest(meter.registry)


def test_a_workers_own_numbers_in_order() -> None:
    found = look_inside({"worker-1": parse(worker().decode()), "worker-2": None}, 1000)
    assert found.rows == (AgentRow("count", 0, "worker-1", 7, 4, 2, 0, 10, 1500),)
    assert found.rejected == (("unknown_school", 1.0),)
    assert found.away == ("worker-2",)
    facts = {"lag": 7, "counted": 1, "repeats": 1, "late_events": 0, "live_panes": 0, "transitions": 12}
    assert {name: value for name, value in found.facts.items() if value is not None} == facts


def test_each_process_tells_only_what_is_its_own() -> None:
    text = "# TYPE {0} gauge\n{0} {1}\n"
    notifier = text.format("trucban_outbox_age_seconds", 3) + text.format(
        "trucban_archiver_insert_age_seconds", 0
    )
    archiver = text.format("trucban_archiver_insert_age_seconds", 2) + text.format(
        "trucban_outbox_age_seconds", 0
    )
    facts = look_inside({"notifier": parse(notifier), "archiver": parse(archiver)}, 0).facts
    assert (facts["outbox_age"], facts["insert_age"], facts["lag"]) == (3, 2, None)


def test_a_worker_without_cores_tells_their_metrics_all_the_same() -> None:
    told = {family.name for family in CoreWatch().collect()}
    assert told == {metric.name.removesuffix("_total") for metric in CORE_METRICS}


def test_numbers_as_they_are_read() -> None:
    found = [number_text(value, "vi") for value in (None, 0.0, 1234567.0, 2.25, 250.4)]
    assert found == ["–", "0", "1.234.567", "2,2", "250"]
    assert number_text(1234.0, "en") == "1,234"
