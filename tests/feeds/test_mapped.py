from __future__ import annotations

import json

import pytest

from feeds.mapped import map_school, map_schools, parse_map
from rules.engine.configured import encode_config
from rules.engine.count import CountCore
from schemas.errors import SettingsError
from schemas.topics import ARRIVED, CONTROL, KIND
from schemas.wire import Config, CoreOptions, Headers, LogBatch
from tests.support.morning_wall import at, district


def closing(school: str) -> bytes:
    body = {"school": school, "class": "0A", "date": "2026-09-07", "session": "morning", "enrolled": 35,
            "absent_excused": 1, "absent_unexcused": 2}  # fmt: skip
    event = {"specversion": "1.0", "id": "1", "source": "x", "type": "attendance.class_closed",
             "time": "2026-09-07T08:00:00+07:00", "data": body}  # fmt: skip
    return json.dumps(event).encode()


def test_pairs_are_read_and_faults_are_told() -> None:
    assert parse_map(["A=B", "C=D", "A=B"]) == {"A": "B", "C": "D"}
    for text in ("A", "=B", "A="):
        with pytest.raises(SettingsError) as raised:
            parse_map([text])
        assert str(raised.value) == f"--map '{text}' is not OLD=NEW, two school codes"
    with pytest.raises(SettingsError) as raised:
        parse_map(["A=B", "A=C"])
    assert str(raised.value) == "--map names A twice: B and C"


def test_only_the_school_changes() -> None:
    changed = map_school(closing("OLD"), {"OLD": "S0001"})
    assert changed is not None
    assert json.loads(changed) == json.loads(closing("S0001"))
    envelope = b'{"op":"c","after":{"school":"OLD","note":"OLD"}}'
    assert map_school(envelope, {"OLD": "N"}) == b'{"op":"c","after":{"school":"N","note":"OLD"}}'


def test_others_are_left_out_and_without_a_map_all_go_as_they_are() -> None:
    values = [b"\xff", closing("X"), closing("OLD")]
    assert len(list(map_schools(values, {"OLD": "N"}))) == 1
    assert list(map_schools(values, {})) == values


def test_a_mapped_event_is_counted_once_however_often_it_is_sent() -> None:
    core = CountCore(0, CoreOptions(1, 1))
    control = encode_config(Config(reference=district(2, 1).to_json(), rules=[]))
    mapped = map_school(closing("OLD"), {"OLD": "S0001"}) or b""
    values: list[bytes | None] = [control, closing("OLD"), mapped, mapped]
    arrived = [(ARRIVED, str(at(480)).encode())]
    heads: list[Headers] = [[(KIND, CONTROL)], arrived, arrived, arrived]
    core.apply(LogBatch(0, [0, 1, 2, 3], [None] * 4, values, heads, [at(480)] * 4))
    assert core.stats.rejected == {"unknown_school": 1}
    assert (core.stats.counted, core.stats.repeats) == (1, 1)
