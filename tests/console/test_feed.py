from __future__ import annotations

import io
import time
from pathlib import Path

import msgspec
import polars as pl

from console.feed import Feed
from rules.engine.configured import encode_config
from schemas.civil import day_text
from schemas.topics import ACCEPTED, ALERTS, CONTROL, EVENTS, KIND, META, PANES, PULSE
from schemas.wire import Config, PanesRecord, Pulse
from streams.producer import KafkaWriter
from streams.topics import ensure_topics
from tests.support.broker import BrokerProcess
from tests.support.morning_wall import DAY, at, change, district

NOW = at(8 * 60 + 20)


def closing() -> bytes:
    frame = pl.DataFrame({"school": ["S0001"], "type": ["attendance.class_closed"], "time": [NOW - 60_000],
                          "f_class": ["0A"], "f_session": ["morning"], "f_date": [day_text(DAY)],
                          "f_enrolled": [35], "f_absent_excused": [1], "f_absent_unexcused": [2]})  # fmt: skip  # noqa: E501
    out = io.BytesIO()
    frame.write_ipc_stream(out, compression="zstd")
    return out.getvalue()


def test_from_the_topics_of_a_real_broker_to_the_wall(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path)
    broker.start()
    try:
        ensure_topics(broker.address, 1)
        writer = KafkaWriter(broker.address)
        control = encode_config(Config(reference=district(2, 1).to_json(), clock_mode="demo"))
        writer.send(EVENTS, None, control, partition=0, headers=[(KIND, CONTROL)])
        told = msgspec.json.encode({"hold": at(7 * 60), "prepared": at(6 * 60)})
        writer.send(META, None, told, partition=0)
        pulse = msgspec.json.encode(Pulse(NOW, "demo", 10_000))
        writer.send(EVENTS, None, pulse, partition=0, headers=[(KIND, PULSE)])
        writer.send(PANES, None, msgspec.msgpack.encode(PanesRecord(0, 1, 2, NOW, "", [])), partition=0)
        writer.send(ACCEPTED, None, closing(), partition=0)
        alert = change("spike", "P1", "absence-spike", {"school": "S0001"}, 498)
        writer.send(ALERTS, b"spike", msgspec.json.encode(alert), partition=0)
        writer.flush()
        feed = Feed(broker.address)
        feed.start()
        deadline = time.monotonic() + 30
        while feed.published.catching_up or not feed.published.wall.alerts:
            assert time.monotonic() < deadline, feed.failure
            time.sleep(0.05)
        wall = feed.published.wall
        told_of = feed.state.hold, feed.state.prepared
        feed.stop()
    finally:
        broker.stop()
    found = {tile.code: tile.state for commune in wall.communes for tile in commune.schools}
    assert (wall.mode, wall.clock, wall.closed, wall.due) == ("demo", "08:20:00", 1, 2)
    assert (told_of, wall.loading) == ((at(7 * 60), at(6 * 60)), False)
    assert found == {"S0000": "never", "S0001": "closed"}
    assert [one.id for one in wall.alerts] == ["spike"]
