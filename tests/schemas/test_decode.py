from __future__ import annotations

import json
from typing import Any

import msgspec
import polars as pl
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.decode import Decoded, decode, event_key
from schemas.events import EVENT_TYPES
from schemas.validate import Event, Reject, validate
from tests.support.strategies import ARRIVED, any_document, documents, encoded, mutated

SLOW = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


def rows_of(decoded: Decoded) -> dict[int, dict[str, Any]]:
    return {
        row["_row"]: row | {"type": name}
        for name, frame in decoded.frames.items()
        for row in frame.iter_rows(named=True)
    }


def row_of(event: Event, row: int, arrived: int) -> dict[str, Any]:
    """What the decoder must make of an event, written down independently of it."""
    fields = {field.name: getattr(event.data, field.attribute) for field in event.type.fields}
    content = [event.type.name, event.time, *fields.values()]
    while len(content) > 2 and content[-1] is None:
        content.pop()
    key = xxhash.xxh3_128_intdigest(f"{len(event.source)}:{event.source}{event.id}".encode())
    return {
        "_row": row,
        "id": event.id,
        "source": event.source,
        "type": event.type.name,
        "time": event.time,
        "arrived": arrived,
        "school": fields[event.type.school_field],
        "key_hi": key >> 64,
        "key_lo": key & (2**64 - 1),
        "content": xxhash.xxh3_64_intdigest(msgspec.json.encode(content)),
        "_day": event.day,
        **fields,
        **changed(event, content),
    }


def changed(event: Event, content: list[Any]) -> dict[str, Any]:
    """The columns of a change; nothing for an ordinary event."""
    change = event.change
    if change is None:
        return {}
    names = [field.name for field in event.type.fields]
    after = {name: value for name, value in zip(names, content[2:], strict=False) if value is not None}
    before = None
    if change.before is not None:
        before = {"values": change.before.values, "time": change.before.time, "day": change.before.day}
    told = [event.type.name, event.time, change.operation, change.order, before]
    told.append(None if change.operation == "delete" else after)
    encode = msgspec.json.Encoder(order="sorted").encode
    return {
        "_operation": {"put": 1, "delete": 2, "snapshot": 3}[change.operation],
        "_changed": change.order,
        "_before": None if before is None else encode(before).decode(),
        "content": xxhash.xxh3_64_intdigest(encode(told)),
    }


def check_agreement(values: list[bytes | None]) -> Decoded:
    arrived = [ARRIVED + row for row in range(len(values))]
    decoded = decode(values, arrived)
    truth = [validate(value, arrived[row], row) for row, value in enumerate(values)]
    rejects = [result for result in truth if isinstance(result, Reject)]
    events = {row: result for row, result in enumerate(truth) if isinstance(result, Event)}
    assert decoded.rejects == rejects
    found = rows_of(decoded)
    for row, event in events.items():
        if event.change is None and found[row].get("_operation") == 0:  # ordinary, beside changes
            assert (found[row].pop("_changed"), found[row].pop("_before")) == (event.time, None)
            del found[row]["_operation"]
    assert found == {row: row_of(event, row, arrived[row]) for row, event in events.items()}
    for frame in decoded.frames.values():
        assert frame["_row"].is_sorted()
    return decoded


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
@given(st.data())
@SLOW
def test_decoder_and_model_agree_on_mutated_events(name: str, data: st.DataObject) -> None:
    check_agreement(data.draw(st.lists(mutated(EVENT_TYPES[name]), min_size=1, max_size=6)))


@given(st.lists(st.one_of(any_document.flatmap(encoded), st.binary(max_size=30), st.none()), max_size=8))
@SLOW
def test_decoder_and_model_agree_on_mixed_batches(values: list[bytes | None]) -> None:
    check_agreement(values)


@given(st.lists(any_document.flatmap(encoded), min_size=1, max_size=6))
@SLOW
def test_valid_events_are_accepted(values: list[bytes]) -> None:
    assert check_agreement(list(values)).rejects == []


@given(st.lists(any_document, min_size=1, max_size=6), st.data())
@SLOW
def test_ordinary_events_go_the_fast_way(found: list[dict[str, Any]], data: st.DataObject) -> None:
    values = [data.draw(encoded(document, escapes=False)) for document in found]
    if any(b"\\" in value for value in values):
        return
    assert check_agreement(list(values)).checked_singly == 0


def test_vietnamese_in_ascii_escapes_goes_the_fast_way() -> None:
    document = event() | {"subject": 'Trường "Lê Lợi"'}
    decoded = decode([json.dumps(document).encode()], [ARRIVED])
    assert (len(decoded.rejects), decoded.checked_singly) == (0, 0)


@given(any_document, st.data())
@SLOW
def test_content_does_not_depend_on_how_it_is_written(document: dict[str, Any], data: st.DataObject) -> None:
    one, other = data.draw(encoded(document)), data.draw(encoded(document))
    first, second = rows_of(decode([one, other], [ARRIVED, ARRIVED])).values()
    assert first["content"] == second["content"]


@given(st.sampled_from(sorted(EVENT_TYPES)).flatmap(lambda n: st.tuples(*[documents(EVENT_TYPES[n])] * 2)))
@SLOW
def test_other_content_has_another_hash(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    values = [json.dumps(document).encode() for document in pair]
    first, second = rows_of(decode(values, [ARRIVED, ARRIVED])).values()
    names = [field.name for field in EVENT_TYPES[pair[0]["type"]].fields]
    same = [first[name] for name in ("time", *names)] == [second[name] for name in ("time", *names)]
    assert (first["content"] == second["content"]) is same


@given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_keys_keep_source_and_id_apart(a: str, b: str, c: str, d: str) -> None:
    assert (event_key(a, b) == event_key(c, d)) is ((a, b) == (c, d))


def event(**data: Any) -> dict[str, Any]:
    known = {
        "school": "01M015", "date": "2026-09-07", "enrolled": 30, "present": 28, "absent": 2, "released": 0,
    }  # fmt: skip
    return {
        "specversion": "1.0",
        "id": "a-1",
        "source": "/nyc",
        "type": "attendance.day_reported",
        "time": "2026-09-07T07:15:00.5+07:00",
        "data": known | data,
    }


def test_hashes_stay_what_they_are() -> None:
    """They are kept in snapshots and in the archive: a new version must not change them."""
    row = rows_of(decode([json.dumps(event()).encode()], [ARRIVED]))[0]
    key = event_key("/nyc", "a-1").hex()
    assert f"{row['key_hi']:016x}{row['key_lo']:016x}" == key == "1c88b3371a91318adc47e90566896048"
    assert row["content"] == 5448837225336981700


def test_columns_and_their_types() -> None:
    frame = decode([json.dumps(event()).encode()], [ARRIVED]).frames["attendance.day_reported"]
    assert dict(frame.schema) == {
        "_row": pl.Int64, "id": pl.String, "source": pl.String, "time": pl.Int64, "arrived": pl.Int64,
        "school": pl.String, "key_hi": pl.UInt64, "key_lo": pl.UInt64, "content": pl.UInt64, "_day": pl.Int32,
        "date": pl.String, "enrolled": pl.Int64, "present": pl.Int64, "absent": pl.Int64,
        "released": pl.Int64,
    }  # fmt: skip


def test_a_bad_row_leaves_the_batch_around_it() -> None:
    good = json.dumps(event()).encode()
    decoded = decode([good, b"{", None, good, json.dumps(event(absent=3)).encode(), good], [ARRIVED] * 6)
    assert decoded.frames["attendance.day_reported"]["_row"].to_list() == [0, 3, 5]
    assert [(reject.row, reject.reason) for reject in decoded.rejects] == [
        (1, "not_json"), (2, "not_json"), (4, "invalid"),
    ]  # fmt: skip


def test_an_empty_batch() -> None:
    assert decode([], []) == Decoded({}, [])


def test_a_thousand_ordinary_events_go_the_fast_way() -> None:
    values = [
        json.dumps(event() | {"id": f"e{n}", "datacontenttype": "application/json"}).encode()
        for n in range(1000)
    ]
    decoded = decode(values, [ARRIVED] * 1000)
    assert (len(decoded.frames["attendance.day_reported"]), decoded.checked_singly) == (1000, 0)


def test_an_unusual_extension_is_checked_singly_and_accepted() -> None:
    values = [json.dumps(event() | extra).encode() for extra in ({"tenant": "x"}, {}, {"subject": None})]
    decoded = decode(values, [ARRIVED] * 3)
    assert decoded.frames["attendance.day_reported"]["_row"].to_list() == [0, 1, 2]
    assert decoded.checked_singly == 2
