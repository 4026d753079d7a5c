from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import pytest

from feeds.nyc import event_of, index_rows, load_index, parse_row, reference_of, replay, reports_of
from feeds.outlet import MemoryOutlet
from rules.engine.configured import decode_config
from schemas.civil import day_text, parse_day
from schemas.errors import DocumentError, SettingsError
from schemas.organisation import Reference
from schemas.topics import EVENTS, partition_of
from schemas.validate import Event, validate

HEADER = "School DBN,Date,Enrolled,Absent,Present,Released\n"
ROWS = (
    "01M015,20180907,172,16,155,1\n"
    "01M015,20180905,172,19,153,0\n"
    "02M003,20180905,10,1,9,0\n"
    "\n"
    "02M003,20180910,10,2,8,0\n"
)
SHARED = Path(__file__).parents[3] / "shared" / "data" / "nyc-attendance-2018-19.csv"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "nyc.csv"
    path.write_text(HEADER + ROWS)
    return path


def faults(rows: str, header: str = HEADER) -> str:
    with pytest.raises(DocumentError) as caught:
        index_rows(io.BytesIO((header + rows).encode()), "f.csv")
    return str(caught.value)


def test_rows_are_found_by_day_in_event_time_order(file: Path) -> None:
    index = load_index(file)
    assert (index.rows, index.schools) == (4, {"01M015", "02M003"})
    assert [day_text(day) for day in sorted(index.days)] == ["2018-09-05", "2018-09-07", "2018-09-10"]
    with file.open("rb") as stream:
        found = reports_of(stream, index, parse_day("2018-09-05"))
    assert {report.school for report in found} == {"01M015", "02M003"}
    assert found == sorted(found, key=lambda report: report.time)


def test_all_faults_with_their_places() -> None:
    rows = (
        "1M015,20180905,1,0,1,0\n"
        "01M015,20180931,1,0,1,0\n"
        "01M015,20180905,1,x,1,0\n"
        "01M015,20180905,5,1,1,0\n"
        "01M015,20180905,5\n"
    )
    assert faults(rows) == (
        'f.csv:2:1: "1M015" is no DBN; expected such as 01M015\n'
        'f.csv:3:8: "20180931" is no date; expected YYYYMMDD\n'
        'f.csv:4:19: "x" is no number of pupils; expected 0 to 999999\n'
        "f.csv:5:17: Enrolled is 5, Absent + Present + Released is 2; expected equal numbers\n"
        "f.csv:6:1: 3 cells; expected 6: School DBN,Date,Enrolled,Absent,Present,Released"
    )


def test_another_file() -> None:
    assert faults("", "a,b\n") == (
        "f.csv:1:1: this is not the header of the file; "
        "expected School DBN,Date,Enrolled,Absent,Present,Released"
    )


def test_an_empty_file() -> None:
    assert faults("") == "f.csv:2:0: there are no rows; expected at least one school's day"


def test_a_school_that_reports_a_day_twice() -> None:
    assert faults("01M015,20180905,1,0,1,0\n01M015,20180905,2,1,1,0\n") == (
        "f.csv:0:0: 01M015 reports 2018-09-05 twice; expected one row a school and day"
    )


def test_bytes_that_are_no_text() -> None:
    fault = parse_row(b"01M\xff15,20180905,1,0,1,0\n", "f.csv", 7)
    assert str(fault) == "f.csv:7:4: the line is not UTF-8"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_index(tmp_path / "none.csv")
    assert str(caught.value) == f"{tmp_path}/none.csv cannot be read: No such file or directory"


def test_the_events_are_valid_and_stable(file: Path) -> None:
    index = load_index(file)
    with file.open("rb") as stream:
        for day in index.days:
            for report in reports_of(stream, index, day):
                event = validate(event_of(report), report.time)
                assert isinstance(event, Event)
                assert (event.time, event.day) == (report.time, report.day)
                assert event.id == f"{report.school}-{day_text(day).replace('-', '')}"
                assert event_of(report) == event_of(report)


def test_the_reference_has_districts_and_the_files_days(file: Path) -> None:
    reference = reference_of(load_index(file))
    assert [unit.code for unit in reference.units] == ["01M015", "02M003", "nyc", "nyc-01", "nyc-02"]
    days = ["2018-09-04", "2018-09-05", "2018-09-06", "2018-09-07", "2018-09-08", "2018-09-10", "2018-09-11"]
    school = [reference.is_school_day(parse_day(day)) for day in days]
    assert school == [False, True, False, True, False, True, False]


def test_replay_puts_the_reference_first_and_events_between_pulses(file: Path) -> None:
    outlet = MemoryOutlet(partitions=2)
    assert replay(file, load_index(file), outlet, lambda day, sent, rows: None) == 4
    assert {topic for topic, *_ in outlet.records} == {EVENTS}
    for partition in range(2):
        records = [record for record in outlet.records if record[1] == partition]
        kinds = [dict(headers).get("kind", b"event") for *_, headers in records]
        assert kinds[0] == b"control"
        assert Counter(kinds)[b"pulse"] == 7 * 8 + 1  # 5 to 11 September, each third hour, and the end
        config = decode_config(records[0][3])
        assert config.rules is None
        assert config.reference is not None
        assert Reference.from_json(config.reference) == reference_of(load_index(file))
        clock = 0
        for _, _, key, value, headers in records[1:]:
            arrived = int(dict(headers)["arrived"])
            assert arrived >= clock
            clock = arrived
            if key is not None:
                assert partition_of(key.decode(), 2) == partition
                assert json.loads(value)["data"]["school"] == key.decode()


def test_replayed_again_it_is_the_same(file: Path) -> None:
    first, second = MemoryOutlet(), MemoryOutlet()
    for outlet in (first, second):
        replay(file, load_index(file), outlet, lambda day, sent, rows: None)
    assert first.records == second.records


def test_the_real_file() -> None:
    if not SHARED.exists():
        pytest.skip("the shared data is not beside the checkout")
    index = load_index(SHARED)
    assert (index.rows, len(index.schools), len(index.days)) == (59_399, 1_608, 38)
