"""CSV with places: RFC 4180 text in which each cell knows its line and column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.errors import Fault
from schemas.nearest import nearest

_CELL: Final = re.compile(r'"((?:[^"]|"")*)"|([^",\r\n]*)')
_END: Final = re.compile(r",|\r\n|\n|\r|\Z")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's text, without surrounding blanks, and where it begins (from 1)."""

    text: str
    line: int
    column: int


@dataclass(slots=True)
class Table:
    """The rows of a file by column name, and the faults of its form."""

    file: str
    rows: list[dict[str, Cell]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, cell: Cell, message: str, expected: str = "", suggestion: str = "") -> None:
        """Note a fault at a cell."""
        self.faults.append(Fault(self.file, cell.line, cell.column, message, expected, suggestion))


def read_table(text: str, file: str, required: Sequence[str], optional: Sequence[str]) -> Table:
    """Read CSV whose first line names the columns. Faults are collected in the result."""
    table = Table(file)
    lines = _lines(text.removeprefix("\ufeff"), table)
    header = next(lines, None)
    if header is None:
        table.faults.append(Fault(file, 1, 1, "the file is empty", f"the columns {', '.join(required)}"))
        return table
    names = _header(header, table, required, optional)
    for cells in lines:
        if len(cells) == 1 and not cells[0].text:
            continue
        if len(cells) != len(header):
            table.fault(cells[0], f"{len(cells)} cells", f"{len(header)} as in the first line")
            continue
        table.rows.append({name: cell for name, cell in zip(names, cells, strict=True) if name})
    return table


def _header(cells: list[Cell], table: Table, required: Sequence[str], optional: Sequence[str]) -> list[str]:
    known = (*required, *optional)
    names: list[str] = []
    for cell in cells:
        if cell.text not in known:
            expected = "one of " + ", ".join(known)
            table.fault(cell, f'unknown column "{cell.text}"', expected, nearest(cell.text, known))
        elif cell.text in names:
            table.fault(cell, f'column "{cell.text}" occurs twice', "each column once")
        else:
            names.append(cell.text)
            continue
        names.append("")
    for name in required:
        if name not in names:
            table.fault(cells[0], f'column "{name}" is missing', "the columns " + ", ".join(required))
    return names


def _lines(text: str, table: Table) -> Iterator[list[Cell]]:
    at, line, begin = 0, 1, 0
    cells: list[Cell] = []
    while at < len(text) or cells:
        found = _CELL.match(text, at)
        end = _END.match(text, found.end()) if found else None
        if found is None or end is None:
            table.faults.append(
                Fault(
                    table.file,
                    line,
                    at - begin + 1,
                    "the quotes of this cell are not closed or not alone",
                    'a quoted cell as "a ""b"" c"',
                )
            )
            return
        quoted, plain = found.groups()
        content = quoted.replace('""', '"') if quoted is not None else plain
        cells.append(Cell(content.strip(), line, at - begin + 1))
        if quoted is not None and "\n" in quoted:
            line += quoted.count("\n")
            begin = found.start() + 1 + quoted.rindex("\n") + 1
        at = end.end()
        if end.group() != ",":
            yield cells
            cells = []
            line, begin = line + 1, at
            if end.group() == "":
                return
