"""Each fault of the files, with its place and full text."""

# ruff: noqa: E501 -- a fault and its whole message stay on one line, to be read side by side
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DocumentError
from schemas.reference import parse_calendar, parse_classes, parse_reference, parse_units
from schemas.table import read_table
from tests.support.places import CALENDAR, CLASSES, UNITS

HEAD = "code,name,kind,parent,level,ownership,vendor,valid_from,valid_to\n"
COLUMNS = "code, name, kind, parent, level, ownership, vendor, kitchen, valid_from, valid_to"
ONE = "; expected one valid entry for each code and day"

UNIT_FAULTS = [
    ("", "units.csv:1:1: the file is empty; expected the columns code, name, kind"),
    ("code,name\nA,a\n", 'units.csv:1:1: column "kind" is missing; expected the columns code, name, kind'),
    ("code,name,kind,venda\n", f'units.csv:1:16: unknown column "venda"; expected one of {COLUMNS}; did you mean \'vendor\'?'),
    ("code,name,kind,name\n", 'units.csv:1:16: column "name" occurs twice; expected each column once'),
    ("code,name,kind\nA,a\n", "units.csv:2:1: 2 cells; expected 3 as in the first line"),
    ('code,name,kind\nA,"a,school\n', 'units.csv:2:3: the quotes of this cell are not closed or not alone; expected a quoted cell as "a ""b"" c"'),
    ("code,name,kind\n,a,city\n", 'units.csv:2:1: "" is not valid here; expected text of 1 to 64 characters without control characters'),
    ('code,name,kind\nA,"a\tb",city\n', 'units.csv:2:3: "a\tb" is not valid here; expected text of 1 to 500 characters without control characters'),
    ("code,name,kind\nA,a,scool\n", "units.csv:2:5: \"scool\" is not known; expected one of city, district, commune, school; did you mean 'school'?"),
    (HEAD + "A,a,school,,primry,,,,\n", "units.csv:2:13: \"primry\" is not known; expected one of an empty cell, preschool, primary, lower_secondary, upper_secondary, combined, continuing, special; did you mean 'primary'?"),
    (HEAD + "A,a,school,,,,,2025-02-30,\n", 'units.csv:2:16: "2025-02-30" is not a date; expected a date such as 2026-09-07 or an empty cell'),
    (HEAD + "A,a,school,,,,,2025-02-02,2025-02-01\n", "units.csv:2:27: it ends on 2025-02-01, before it begins on 2025-02-02; expected a date not before valid_from"),
    (HEAD + "A,a,school,,,,,,\nA,a,school,,,,,2025-01-01,\n", f'units.csv:3:16: "A" has another entry that is valid on 2025-01-01{ONE}'),
    (HEAD + "A,a,school,,,,,,\nA,a,school,,,,,,\n", f'units.csv:3:16: "A" has another entry that is valid in the distant past{ONE}'),
    (HEAD + "A,a,city,,,,,,2024-12-31\nA,a,school,,,,,2025-01-01,\n", 'units.csv:3:5: "A" is also the code of a city; expected one kind for each code'),
    ("code,name,kind,kitchen\nA,a,city,B1\n", "units.csv:2:10: a city has no kitchen; expected an empty cell"),
    (HEAD + "A,a,city,,,,v1,,\n", "units.csv:2:13: a city has no vendor; expected an empty cell"),
    (HEAD + "HN01,a,city,,,,,,\nB,b,school,HN1,,,,,\n", "units.csv:3:12: there is no unit \"HN1\"; expected the code of a unit; did you mean 'HN01'?"),
    (HEAD + "A,a,school,,,,,,\nB,b,city,A,,,,,\n", 'units.csv:3:10: a city cannot be under "A", a school; expected a unit of a higher kind (city, district, commune, school)'),
    (HEAD + "A,a,commune,A,,,,,\n", 'units.csv:2:13: a commune cannot be under "A", a commune; expected a unit of a higher kind (city, district, commune, school)'),
    (HEAD + "A,a,city,,,,,,2025-06-30\nB,b,school,A,,,,2025-01-01,\n", 'units.csv:3:12: parent "A" is not valid on 2025-07-01; expected a parent that is valid as long as the unit'),
]  # fmt: skip

CLASS_FAULTS = [
    ("code,school,enrolled\n1A,AA,x\n", 'classes.csv:2:7: "x" is not a number of pupils; expected an integer from 0 to 100000'),
    ("code,school,enrolled,sessions\n1A,AA,3,moning\n", "classes.csv:2:9: \"moning\" is not known; expected one of morning, afternoon, full_day; did you mean 'morning'?"),
    ("code,school,enrolled,sessions\n1A,AA,3,morning morning\n", 'classes.csv:2:9: "morning morning" names a session twice; expected each session once, separated by blanks'),
    ("code,school,enrolled\n1A,AAA,3\n", "classes.csv:2:4: there is no school \"AAA\"; expected the code of a school; did you mean 'AA'?"),
    ("code,school,enrolled\n1A,AA,3\n1A,AA,4\n", f'classes.csv:3:1: "1A" has another entry that is valid in the distant past{ONE}'),
    ("code,school,enrolled\n1A,BB,3\n", 'classes.csv:2:4: school "BB" is not valid in the distant past; expected a school that is valid as long as the class'),
]  # fmt: skip

CALENDAR_FAULTS = [
    ('deadlines: [{level: primary, session: morning, by: "8:15"}]\n', "calendar.yaml:1:48: '8:15' is not valid here; expected a time of day such as 08:15"),
    ("term: []\n", "calendar.yaml:1:1: unknown key \"term\"; expected a key of the calendar; did you mean 'terms'?"),
    ("terms: []\nterms: []\n", 'calendar.yaml:2:1: the key "terms" occurs twice; expected each key once'),
    ("? [a]\n: 1\n", "calendar.yaml:1:3: a key is not plain text; expected a word"),
    ("terms: [\n", "calendar.yaml:2:1: not YAML: expected the node content, but found '<stream end>'"),
    ("terms: &a []\nholidays: *a\n", "calendar.yaml:2:11: an alias is not allowed; expected the value itself"),
    ("- 1\n", "calendar.yaml:1:1: (1,) is not valid here; expected a mapping"),
    ("weekdays: mon\n", "calendar.yaml:1:1: 'mon' is not valid here; expected a list"),
    ("weekdays: [mo]\n", "calendar.yaml:1:12: 'mo' is not valid here; expected 'mon', 'tue', 'wed', 'thu', 'fri', 'sat' or 'sun'; did you mean 'mon'?"),
    ("timezone: Asia/Tokyo\n", "calendar.yaml:1:1: 'Asia/Tokyo' is not valid here; expected 'Asia/Ho_Chi_Minh'"),
    ("terms:\n  - {from: 2025-09-05}\n", 'calendar.yaml:2:5: "to" is missing; expected a value for it'),
    ("terms:\n  - {from: 2025-09-05, to: 2025-09-04}\n", "calendar.yaml:2:5: the period ends on 2025-09-04, before it begins on 2025-09-05; expected a date not before its beginning"),
    ("holidays:\n  - date: 2025-99-01\n", "calendar.yaml:2:5: '2025-99-01' is not valid here; expected a date such as 2026-09-07"),
    ("holidays:\n  - {name: 3, date: 2025-09-01}\n", "calendar.yaml:2:6: 3 is not valid here; expected text, or a mapping of vi and en"),
    ("\x00", "calendar.yaml:1:1: not YAML: unacceptable character #x0000: special characters are not allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), UNIT_FAULTS)
def test_faults_of_units(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_units(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(("text", "message"), CLASS_FAULTS)
def test_faults_of_classes(text: str, message: str) -> None:
    units = parse_units(HEAD + "AA,a,school,,,,,,\nBB,b,school,,,,,2025-01-01,\n")
    with pytest.raises(DocumentError) as caught:
        parse_classes(text, units)
    assert str(caught.value) == message


@pytest.mark.parametrize(("text", "message"), CALENDAR_FAULTS)
def test_faults_of_the_calendar(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_calendar(text)
    assert str(caught.value) == message


def test_all_faults_of_all_files_at_once() -> None:
    with pytest.raises(DocumentError) as caught:
        parse_reference(
            HEAD + "A,a,skool,,,,,,\nB,b,school,A,,,,,\nC,c,school,Q,,,,,\n",
            "code,school,enrolled\n1,A,x\n",
            "term: []\nweekdays: [mo]\n",
        )
    assert [(fault.file, fault.line, fault.column) for fault in caught.value.faults] == [
        ("calendar.yaml", 1, 1), ("calendar.yaml", 2, 12), ("classes.csv", 2, 5),
        ("units.csv", 2, 5), ("units.csv", 4, 12),
    ]  # fmt: skip


def test_the_parsers_of_single_files() -> None:
    units = parse_units(UNITS)
    assert (units[2].name, units[4].parent, len(units)) == ("Xã Tả, cũ", "X1", 8)
    assert [entry.enrolled for entry in parse_classes(CLASSES, units)] == [30, 28, 32, 40]
    assert len(parse_calendar(CALENDAR).terms) == 2
    assert parse_calendar("") == parse_calendar("# nothing yet\n")


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85\x1c\x1d\x1e"), max_size=6)


@given(st.lists(st.tuples(cells, cells), max_size=5), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_quoted_cells_come_back(rows: list[tuple[str, str]], end: str, closed: bool) -> None:
    lines = ["a,b", *(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)]
    table = read_table(end.join(lines) + (end if closed else ""), "x.csv", ("a",), ("b",))
    assert table.faults == []
    found = [(row["a"].text, row["b"].text) for row in table.rows]
    assert found == [(a.strip(), b.strip()) for a, b in rows]


def test_places_after_a_cell_of_several_lines() -> None:
    table = read_table('a,b\n"1\n2",x\ny,z\n', "x.csv", ("a",), ("b",))
    places = [(cell.text, cell.line, cell.column) for row in table.rows for cell in row.values()]
    assert places == [("1\n2", 2, 1), ("x", 3, 4), ("y", 4, 1), ("z", 4, 3)]
