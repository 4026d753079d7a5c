"""What the pages ask of a real ClickHouse, and what they say while it is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from console import history
from console.pages import Pages, meant_school
from console.server import ConsoleSettings
from schemas.topics import ACCEPTED, AGGREGATES, EVENTS, REJECTED
from schemas.wire import Aggregate, Rejected
from store.archive import Slice
from store.archive_clickhouse import ClickHouseArchive
from store.rejected import rejected_values
from streams.consumer import KafkaReader
from streams.topics import ensure_topics
from tests.feeds.test_mapped import closing
from tests.support.archive import accepted, events, part
from tests.support.broker import BrokerProcess
from tests.support.clickhouse import ClickHouseProcess
from tests.support.morning_wall import StillFeed, at, change, morning
from trucban.cli import main

GROUP = {"school": "S0013", "session": "morning"}
DAY = 86_400_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    process = ClickHouseProcess(tmp_path_factory.mktemp("clickhouse"))
    process.start()
    archive = ClickHouseArchive(process.url)
    archive.open("epoch")
    archive.write([aggregates(), events(["e1", "e2"], time=at(490)), refused(), closings()])
    archive.close()
    yield process
    process.stop()


def aggregates() -> Slice:
    rows = [
        Aggregate(
            "absence-spike", "h", GROUP, at(-1440 * ago), at(-1440 * (ago - 1)), {"rate": rate}, version
        )
        for ago, rate, version in ((2, 0.03, 1), (1, 0.05, 1), (0, 0.1, 1), (0, 0.14, 2))
    ]
    other = Aggregate("absence-spike", "h", GROUP | {"school": "S0014"}, at(0), at(1440), {"rate": 0.9}, 1)
    return part(AGGREGATES, 0, 0, [msgspec.json.encode([*rows, other])])


def closings() -> Slice:
    """Two days of one class, the second closed twice; and another class."""
    found = [("1", "03", "0A", 485, 3), ("2", "04", "0A", 480, 9), ("3", "04", "0A", 485, 7),
             ("4", "04", "1A", 485, 8)]  # fmt: skip
    raw = []
    for _, day, group, _, absent in found:
        body = {"school": "S0013", "class": group, "date": f"2026-09-{day}", "session": "morning"}
        numbers = {"enrolled": 35, "absent_excused": 1, "absent_unexcused": absent - 1}
        raw.append(json.dumps({"data": body | numbers}).encode())
    columns: dict[str, list[object]] = {
        "school": ["S0013"] * 4, "raw": list(raw),
        "time": [at(minute) - (7 - int(day)) * DAY for _, day, _, minute, _ in found]}  # fmt: skip
    value = accepted(["c" + one[0] for one in found], first=10, event_type="attendance.class_closed",
                     columns=columns)  # fmt: skip
    return part(ACCEPTED, 0, 1, [value])


def refused() -> Slice:
    told = "unknown school 'S00I1'; expected a school of the reference data valid that day"
    records = [
        Rejected(0, n, at(480 + n), "unknown_school", "data.school", told, closing("S00I1"), "smas", str(n))
        for n in (1, 2)
    ]
    records.append(Rejected(0, 3, at(483), "not_json", "", "not JSON", b"\xff", ""))
    return part(REJECTED, 0, 0, [msgspec.json.encode(record) for record in records])


def pages(url: str) -> Pages:
    state = morning()
    standing = msgspec.structs.replace(
        change("ids", "P1", "absence-spike", GROUP, 498), event_ids=["e2", "e1"]
    )
    state.transition(standing)
    settings = ConsoleSettings("none", lambda: url, dict, data_dir="d d")
    return Pages(settings, StillFeed(state))  # type: ignore[arg-type]


def test_the_measure_of_earlier_windows_of_the_same_group_and_the_events(server: ClickHouseProcess) -> None:
    one = change("ids", "P1", "absence-spike", GROUP, 498)
    assert history.measure_history(server.url, one, "rate") == [
        ("05/09 00:00", 0.03), ("06/09 00:00", 0.05), ("07/09 00:00", 0.14)]  # fmt: skip
    assert [event.id for event in history.events_of(server.url, ["e2", "e1", "e9"])] == ["e1", "e2"]


def test_an_alerts_page_draws_the_measure_against_its_limit(server: ClickHouseProcess) -> None:
    status, text = pages(server.url).alert("vi", "ids")
    assert status == 200
    assert text.count('class="bar"') == 2
    assert text.count('class="over"') == 1
    assert 'class="limit">0.08</text>' in text
    assert "<code>e1</code>" in text
    assert "ClickHouse không trả lời" not in text


def test_a_class_shows_its_earlier_rolls(server: ClickHouseProcess) -> None:
    assert history.closings_of(server.url, "S0013", "0A") == [
        history.ClosingRow("2026-09-04", "morning", "08:05", 35, 7),
        history.ClosingRow("2026-09-03", "morning", "08:05", 35, None),
    ]
    status, text = pages(server.url).group("vi", "S0013/0A")
    assert status == 200
    assert "2026-09-04" in text
    assert "&lt;5" in text


def test_while_clickhouse_is_away_the_page_says_so() -> None:
    status, text = pages("http://u:p@127.0.0.1:1/trucban").alert("vi", "ids")
    assert status == 200
    assert "Diễn biến" in text
    assert text.count("ClickHouse không trả lời: phần lịch sử này tạm thời không có.") == 2


def test_unknown_schools_are_named_with_the_command_that_replays_them(server: ClickHouseProcess) -> None:
    groups = history.rejected(server.url)
    assert [(g.source, g.reason, g.school, g.count) for g in groups] == [
        ("smas", "unknown_school", "S00I1", 2), ("", "not_json", "", 1)]  # fmt: skip
    _, text = pages(server.url).rejected("vi", "")
    assert "trucban rejected replay --data-dir &#39;d d&#39; --source smas --map S00I1=S0011" in text


def test_a_school_is_proposed_only_where_its_code_reads_the_same() -> None:
    known = {"TT-THCS-10", "TT-THCS-20", "AB-1", "A-B1"}
    assert [meant_school(code, known) for code in ("tt-thcs-lO", "TT-THCS-30", "AB1")] == [
        "TT-THCS-10",
        "",
        "",
    ]


def test_rejected_events_are_listed_and_sent_again(
    server: ClickHouseProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--clickhouse", server.url, "--data-dir", str(tmp_path)]
    assert main(["rejected", "list", "--reason", "unknown_school", *where]) == 0
    told = "unknown school 'S00I1'; expected a school of the reference data valid that day"
    assert capsys.readouterr().out == f"      2  smas  unknown_school  data.school  {told}\n"
    assert main(["rejected", "list", "--source", "none", *where]) == 0
    assert capsys.readouterr().out == "nothing was rejected\n"
    assert main(["rejected", "replay", *where]) == 2
    assert capsys.readouterr().err == (
        "trucban rejected replay: say which: --reason REASON, or --map OLD=NEW for unknown schools\n"
    )
    broker = BrokerProcess(tmp_path / "broker")
    broker.start()
    try:
        ensure_topics(broker.address, 1)
        replay = ["rejected", "replay", "--broker", broker.address, "--map", "S00I1=S0011", *where]
        assert main(replay) == 0
        assert capsys.readouterr().out == "accepted 2, rejected 0\n"
        reader = KafkaReader(broker.address, {(EVENTS, 0): 0})
        values: list[bytes] = []
        while len(values) < 2:
            values += [value or b"" for found in reader.poll(10, 1.0) for value in found.batch.values]
        reader.close()
    finally:
        broker.stop()
    assert [json.loads(value) for value in values] == [json.loads(closing("S0011"))] * 2


def test_rejected_bytes_come_in_order_of_arrival(server: ClickHouseProcess) -> None:
    from store.clickhouse.client import ClickHouse

    client = ClickHouse(server.url)
    assert list(rejected_values(client)) == [closing("S00I1"), closing("S00I1"), b"\xff"]
    client.close()
