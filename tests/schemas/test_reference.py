from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.civil import parse_day
from schemas.errors import DocumentError
from schemas.reference import DIMENSIONS, Reference, SchoolClass, Unit, load_reference, parse_reference
from tests.support.places import CALENDAR, CLASSES, UNITS

REFERENCE = parse_reference(UNITS, CLASSES, CALENDAR)
OLD, NEW = parse_day("2025-05-05"), parse_day("2025-09-08")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def joined(reference: Reference, rows: list[tuple[str, str, int]]) -> list[dict[str, Any]]:
    schema: dict[str, Any] = {"school": pl.String, "class": pl.String, "_day": pl.Int32}
    return reference.join(pl.DataFrame(rows, schema=schema, orient="row")).rows(named=True)


def test_dimensions_are_those_of_the_day() -> None:
    before, after, gone, nowhere = joined(
        REFERENCE, [("A", "1A", OLD), ("A", "1A", NEW), ("B", "6B", parse_day("2026-06-01")), ("?", "", NEW)]
    )
    assert before == {
        "school": "A", "class": "1A", "_day": OLD, "level": "primary", "ownership": "public", "vendor": "v1",
        "commune": "X1", "district": "TT", "city": "HN", "school_name": "Tiểu học A", "grade": None,
        "_known": True,
    }  # fmt: skip
    assert after == before | {"_day": NEW, "vendor": "v2", "commune": "X2", "district": None, "grade": "1"}
    for row in (gone, nowhere):
        assert {row[name] for name in DIMENSIONS} == {None}
        assert row["_known"] is False


def test_a_field_of_the_event_keeps_its_name() -> None:
    frame = pl.DataFrame({"school": ["A"], "vendor": ["mine"], "_day": [NEW]})
    assert REFERENCE.join(frame).row(0, named=True) == {
        "school": "A", "vendor": "mine", "_day": NEW, "level": "primary", "ownership": "public",
        "commune": "X2", "district": None, "city": "HN", "school_name": "Tiểu học A", "grade": None,
        "_known": True,
    }  # fmt: skip


def test_join_of_nothing_has_all_columns() -> None:
    frame = pl.DataFrame(schema={"school": pl.String, "_day": pl.Int32})
    columns = REFERENCE.join(frame).schema
    assert dict(columns) == {
        "school": pl.String,
        "_day": pl.Int32,
        **dict.fromkeys(DIMENSIONS, pl.String),
        "_known": pl.Boolean,
    }
    assert Reference.of().join(frame.clear(2)).shape == (2, 11)


def naive(reference: Reference, school: str, class_name: str, day: int) -> dict[str, Any]:
    """What a row must get, looked up the slow way."""
    valid = {unit.code: unit for unit in reference.units if unit.holds(day)}
    row: dict[str, Any] = dict.fromkeys(DIMENSIONS)
    grades = [
        c.grade for c in reference.classes if (c.school, c.code) == (school, class_name) and c.holds(day)
    ]
    row |= {"school": school, "class": class_name, "_day": day, "_known": False}
    row["grade"] = (grades[0] or None) if grades else None
    unit = valid.get(school)
    if unit is None or unit.kind != "school":
        return row
    row |= {"level": unit.level or None, "ownership": unit.ownership or None, "vendor": unit.vendor or None}
    row |= {"school_name": unit.name, "_known": True}
    while unit.parent:
        unit = valid[unit.parent]
        row.setdefault(unit.kind, None)
        row[unit.kind] = unit.code
    return row


DAYS = st.one_of(
    st.integers(OLD - 60, OLD + 60), st.integers(NEW - 80, NEW + 300), st.sampled_from([0, 30_000])
)
ROW = st.tuples(st.sampled_from(["A", "B", "C", "X2", "?"]), st.sampled_from(["1A", "2A", "6B", "?"]), DAYS)


@given(st.lists(ROW, min_size=1, max_size=12))
@settings(deadline=None)
def test_join_is_a_look_up_of_each_row(rows: list[tuple[str, str, int]]) -> None:
    assert joined(REFERENCE, rows) == [naive(REFERENCE, *row) for row in rows]


@pytest.mark.parametrize(
    ("group", "size"),
    [
        ({"school": "A"}, 62),
        ({"school": "A", "session": "morning"}, 62),
        ({"school": "A", "session": "afternoon"}, 30),
        ({"school": "A", "session": "full_day"}, None),
        ({"school": "A", "class": "2A"}, 32),
        ({"grade": "1"}, 30),
        ({"commune": "X2"}, 102),
        ({"level": "lower_secondary", "city": "HN"}, 40),
        ({}, 102),
        ({"school": "C"}, None),
        ({"pupil": "p"}, None),
    ],
)
def test_roster_of_a_group(group: dict[str, str], size: int | None) -> None:
    assert REFERENCE.roster_size(group, NEW) == size


def test_roster_has_dates() -> None:
    assert REFERENCE.roster_size({"school": "A"}, OLD) is None
    assert REFERENCE.roster_size({"school": "A"}, parse_day("2026-06-01")) == 60
    assert REFERENCE.roster_size({"school": "B"}, parse_day("2026-06-01")) is None


@pytest.mark.parametrize(
    ("date", "level", "units", "expected"),
    [
        ("2025-09-08", None, (), True),
        ("2025-09-06", None, (), False),
        ("2025-09-06", "lower_secondary", (), True),
        ("2025-09-07", "lower_secondary", (), False),
        ("2026-01-18", "lower_secondary", (), False),
        ("2026-02-18", None, (), False),
        ("2026-01-21", "primary", (), False),
        ("2026-01-21", "preschool", (), True),
        ("2026-01-21", None, (), True),
        ("2025-10-01", None, (), True),
        ("2025-10-01", None, ("A", "X2"), False),
        ("2026-07-01", None, (), False),
    ],
)
def test_school_days(date: str, level: str | None, units: tuple[str, ...], expected: bool) -> None:
    assert REFERENCE.is_school_day(parse_day(date), level, units) is expected


def test_without_a_calendar_weekdays_are_school_days() -> None:
    assert [Reference.of().is_school_day(day) for day in range(7)] == [
        True,
        True,
        False,
        False,
        True,
        True,
        True,
    ]


def test_json_brings_back_the_same() -> None:
    text = REFERENCE.to_json()
    again = Reference.from_json(text)
    assert again == REFERENCE
    assert again.to_json() == text
    assert Reference.from_json(text.decode()) is again


def test_the_hash_does_not_depend_on_order() -> None:
    units, classes = reversed(REFERENCE.units), reversed(REFERENCE.classes)
    again = Reference.of(units, classes, REFERENCE.calendar)
    assert again.hash == REFERENCE.hash
    assert Reference.of(REFERENCE.units, REFERENCE.classes).hash != REFERENCE.hash


@given(st.data())
@settings(deadline=None)
def test_another_value_has_another_hash(data: st.DataObject) -> None:
    text = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=4)
    one, other = (
        Unit(code=data.draw(text), name=data.draw(text), kind="school", vendor=data.draw(text))
        for _ in range(2)
    )
    assert (Reference.of([one]).hash == Reference.of([other]).hash) is (one == other)


def test_contradictions_are_refused_without_files_too() -> None:
    units = [Unit(code="A", name="a", kind="school", parent="B")]
    with pytest.raises(DocumentError) as caught:
        Reference.of(units, [SchoolClass(code="1", school="Z")])
    assert str(caught.value) == (
        'reference:0:0: class "1" of "Z": there is no school "Z"; expected the code of a school\n'
        'reference:0:0: unit "A": there is no unit "B"; expected the code of a unit'
    )


def test_json_that_is_no_reference() -> None:
    with pytest.raises(DocumentError) as caught:
        Reference.from_json('{"units": [{"code": "A", "name": 3, "kind": "school"}], "x": 1}')
    assert str(caught.value) == (
        "reference:0:0: units.0.name: Input should be a valid string\n"
        "reference:0:0: x: Extra inputs are not permitted"
    )


def test_files_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "units.csv").write_text("\ufeff" + UNITS, encoding="utf-8")
    assert load_reference(tmp_path) == parse_reference(UNITS)
    (tmp_path / "classes.csv").write_text(CLASSES.replace("\n", "\r\n"), encoding="utf-8", newline="")
    (tmp_path / "calendar.yaml").write_text(CALENDAR, encoding="utf-8")
    assert load_reference(tmp_path) == REFERENCE


def test_a_missing_and_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        load_reference(tmp_path)
    assert str(caught.value) == f"units.csv:0:0: the file is missing; expected units.csv in {tmp_path.name}"
    (tmp_path / "units.csv").write_bytes(b"code\n\xff")
    (tmp_path / "classes.csv").mkdir()
    with pytest.raises(DocumentError) as caught:
        load_reference(tmp_path)
    assert str(caught.value) == (
        "classes.csv:0:0: cannot be read: Is a directory\nunits.csv:2:1: not valid UTF-8; expected UTF-8 text"
    )


def test_hanoi_before_and_after_july_2025() -> None:
    """Real units: districts end, communes change; a school has a district only before."""
    old_file, new_file = (SHARED / f"vn-admin-hanoi-{part}-2025-07.json" for part in ("pre", "post"))
    if not old_file.exists():
        pytest.skip("the shared data is not beside this checkout")
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (old_file, new_file))
    end, start = dt.date(2025, 6, 30), dt.date(2025, 7, 1)
    units = [Unit(code="HN", name=old["FullName"], kind="city")]
    for district in old["District"]:
        code = f"Q{district['Code']}"
        units.append(Unit(code=code, name=district["FullName"], kind="district", parent="HN", valid_to=end))
        units += [
            Unit(code=ward["Code"], name=ward["FullName"], kind="commune", parent=code, valid_to=end)
            for ward in district["Ward"]
        ]
    units += [
        Unit(code=ward["Code"], name=ward["FullName"], kind="commune", parent="HN", valid_from=start)
        for ward in new["Wards"]
    ]
    kept = sorted(
        {unit.code for unit in units if unit.valid_to} & {unit.code for unit in units if unit.valid_from}
    )
    units += [Unit(code=f"S{code}", name="Trường", kind="school", parent=code) for code in kept]
    reference = Reference.of(units)
    rows = joined(reference, [(f"S{code}", "", day) for code in kept for day in (OLD, NEW)])
    assert len(kept) > 50
    assert all(row["_known"] and row["city"] == "HN" and row["commune"] == row["school"][1:] for row in rows)
    assert all((row["district"] is not None) == (row["_day"] == OLD) for row in rows)
