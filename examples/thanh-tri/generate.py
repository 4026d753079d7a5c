"""Writes units.csv and classes.csv beside itself. Schools, vendors, kitchens and classes are invented.

The five communes and the old district with its communes are real (names, General Statistics codes).
The same seed gives the same bytes: ``python examples/thanh-tri/generate.py``.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
NEW = {
    "00640": "Xã Thanh Trì", "00643": "Phường Thanh Liệt", "00664": "Xã Đại Thanh",
    "00679": "Xã Ngọc Hồi", "00685": "Xã Nam Phù",
}  # fmt: skip
OLD = {
    "00640": "Thị trấn Văn Điển",
    "00643": "Xã Tân Triều",
    "00646": "Xã Thanh Liệt",
    "00649": "Xã Tả Thanh Oai",
    "00652": "Xã Hữu Hoà",
    "00655": "Xã Tam Hiệp",
    "00658": "Xã Tứ Hiệp",
    "00661": "Xã Yên Mỹ",
    "00664": "Xã Vĩnh Quỳnh",
    "00667": "Xã Ngũ Hiệp",
    "00670": "Xã Duyên Hà",
    "00673": "Xã Ngọc Hồi",
    "00676": "Xã Vạn Phúc",
    "00679": "Xã Đại áng",
    "00682": "Xã Liên Ninh",
    "00685": "Xã Đông Mỹ",
}
LEVELS = (
    ("preschool", "Trường Mầm non", "MN", 36, 14, (20, 30), ("nt", "mgb", "mgn", "mgl")),
    ("primary", "Trường Tiểu học", "TH", 36, 25, (32, 40), ("1", "2", "3", "4", "5")),
    ("lower_secondary", "Trường THCS", "THCS", 28, 25, (32, 40), ("6", "7", "8", "9")),
)
FIRST = ("Hoa", "Ánh", "Bình", "Minh", "Sơn", "Hương", "Tân", "Thanh", "Phú")
SECOND = ("Mai", "Dương", "Yên", "Khôi", "Lâm", "Giang", "Quang", "Phong", "Lộc", "Sen", "Trúc", "Đào")
VENDORS = ("hocba",) * 8 + ("lopso",) * 5 + ("anlanh",) * 4 + ("sotay",) * 3
"""Of twenty schools, eight have the first."""
CHANGE = "2025-07-01"
MOVED, FROM, TO, MOVES = "TT-TH-07", "00664", "00640", ("2026-10-31", "2026-11-01")
CLOSED, CLOSES = ("TT-TH-02", "5E"), "2026-10-31"
COLUMNS = (
    "code", "name", "kind", "parent", "level", "ownership", "vendor", "kitchen", "valid_from", "valid_to",
)  # fmt: skip
GROUPS = ("code", "school", "grade", "sessions", "enrolled", "valid_from", "valid_to")


def main() -> None:
    """Write both files."""
    chance = random.Random(2026)
    units: list[list[object]] = [["01", "Thành phố Hà Nội", "city", *[""] * 7]]
    units.append(["020", "Huyện Thanh Trì", "district", "01", *[""] * 5, "2025-06-30"])
    units += [[code, name, "commune", "020", *[""] * 5, "2025-06-30"] for code, name in OLD.items()]
    units += [[code, name, "commune", "01", *[""] * 4, CHANGE, ""] for code, name in NEW.items()]
    classes: list[list[object]] = []
    names = [f"{one} {two}" for one in FIRST for two in SECOND]
    chance.shuffle(names)
    number = 0
    for level, title, short, count, size, pupils, grades in LEVELS:
        for index in range(1, count + 1):
            code, name = f"TT-{short}-{index:02d}", f"{title} {names.pop()}"
            commune = list(NEW)[number % 5]
            vendor, kitchen = VENDORS[number * 7 % 20], f"bep-{number // 3 + 1:02d}"
            number += 1
            ownership = "private" if index % 9 == 0 else "public"
            head, tail = [code, name, "school"], [level, ownership, vendor, kitchen]
            if code == MOVED:
                units.append([*head, FROM, *tail, CHANGE, MOVES[0]])
                units.append([*head, TO, *tail, MOVES[1], ""])
            else:
                units.append([*head, commune, *tail, CHANGE, ""])
            both = "morning afternoon" if level == "primary" or index % 10 < 7 else "morning"
            for at in range(size):
                group = f"{grades[at % len(grades)]}{'ABCDEFGH'[at // len(grades)]}"
                session = "full_day" if level == "preschool" else both
                end = CLOSES if (code, group) == CLOSED else ""
                grade = grades[at % len(grades)]
                classes.append([group, code, grade, session, chance.randint(*pupils), CHANGE, end])
    _write("units.csv", COLUMNS, units)
    _write(
        "classes.csv", ["code", "school", "grade", "sessions", "enrolled", "valid_from", "valid_to"], classes
    )


def _write(name: str, columns: Sequence[str], rows: list[list[object]]) -> None:
    with (HERE / name).open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([columns, *rows])


if __name__ == "__main__":
    main()
