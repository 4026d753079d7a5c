from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import pytest

from feeds.clock import Anchor
from feeds.outlet import MemoryOutlet, Meta, decode_meta, tells_of_drill
from feeds.send import Sent, read_lines, send_lines
from schemas.civil import parse_time
from schemas.errors import BrokerAway
from schemas.topics import EVENTS, REJECTED, partition_of
from schemas.wire import Rejected

NOW = parse_time("2026-09-07T08:00:00+07:00")
WALL = Anchor("wall", NOW, NOW, 1.0)


def heartbeat(time: str = "2026-09-07T07:00:00+07:00", **changes: Any) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": "1",
            "source": "s",
            "type": "source.heartbeat",
            "time": time,
            "data": {"school": "A", "vendor": "v"},
        }
        | changes
    ).encode()


def send(lines: list[bytes], anchor: Anchor = WALL) -> tuple[Sent, MemoryOutlet, list[str]]:
    outlet, told = MemoryOutlet(8), list[str]()
    return send_lines(lines, outlet, anchor, lambda: NOW, told.append), outlet, told


def test_a_valid_line_goes_under_its_school_as_it_is() -> None:
    sent, outlet, told = send([heartbeat()])
    assert (sent, told) == (Sent(1, 0), [])
    assert outlet.records == [
        (EVENTS, partition_of("A", 8), b"A", heartbeat(), [("arrived", str(NOW).encode())])
    ]


def test_a_refused_line_is_told_and_kept_and_the_others_go_on() -> None:
    bad = heartbeat(type="source.heartbeet", id="2")
    sent, outlet, told = send([heartbeat(), b"", bad, heartbeat(id="3")])
    assert sent == Sent(2, 1)
    assert told == [
        (
            'line 3: unknown_type: type: there is no event type "source.heartbeet"; '
            'did you mean "source.heartbeat"?'
        )
    ]
    [(_, _, _, value, _)] = [record for record in outlet.records if record[0] == REJECTED]
    assert msgspec.json.decode(value, type=Rejected) == Rejected(
        partition=-1,
        position=3,
        arrived=NOW,
        reason="unknown_type",
        field="type",
        message='there is no event type "source.heartbeet"; did you mean "source.heartbeat"?',
        value=bad,
        source="s",
        event_id="2",
        event_type="source.heartbeet",
    )


def test_arrival_is_business_time() -> None:
    _, outlet, _ = send([heartbeat()], Anchor("demo", NOW - 1000, NOW - 50_000, 10.0))
    assert outlet.records[0][4] == [("arrived", str(NOW - 40_000).encode())]


def test_in_data_mode_an_event_arrives_at_its_own_time_but_not_in_the_future() -> None:
    data = Anchor("data", 0, 0, 1.0)
    sent, outlet, told = send([heartbeat(), heartbeat("2099-09-07T07:00:00+07:00", id="2")], data)
    assert sent == Sent(1, 1)
    arrived = parse_time("2026-09-07T07:00:00+07:00")
    assert outlet.records[0][4] == [("arrived", str(arrived).encode())]
    assert told == ["line 2: time_out_of_range: time: the time is more than 2 days after the event's arrival"]


def test_lines_are_bounded() -> None:
    stream = io.BytesIO(b"ab\r\n" + b"x" * 25 + b"\ncd\n" + b"y" * 30)
    assert list(read_lines(stream, limit=10)) == [b"ab", b"x" * 11, b"cd", b"y" * 11]


def test_five_megabytes_are_refused() -> None:
    big = b'{"specversion": "' + b"x" * 5_000_000 + b'"}'
    sent, _, told = send([big])
    assert sent == Sent(0, 1)
    assert told == [f"line 1: too_large: {len(big)} bytes; expected at most 524288"]


def test_meta_records_are_told_apart_from_the_epoch() -> None:
    assert decode_meta(b'{"epoch":"0123"}') == Meta()
    assert decode_meta(msgspec.json.encode(Meta(clock=WALL))).clock == WALL


def test_a_demo_is_a_drill_and_nobody_knows_before_its_clock_is_told() -> None:
    assert tells_of_drill(Meta(clock=Anchor("demo", 0, 0, 10.0)), "b:1")
    assert not tells_of_drill(Meta(clock=WALL), "b:1")
    with pytest.raises(BrokerAway) as raised:
        tells_of_drill(Meta(), "b:1")
    assert str(raised.value) == "no clock is told at b:1 yet: `trucban pulse` does that"
