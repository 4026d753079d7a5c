"""A morning on the wall: a made-up district and a feed that stands still, for tests of the console."""

from __future__ import annotations

import json
import threading
import time

import msgspec

from console.feed import Published
from console.roll import Closing
from console.state import WatchState
from console.view import wall_of
from schemas.civil import day_start, day_text, parse_day
from schemas.reference import Calendar, Reference, SchoolClass, Unit
from schemas.units import Level
from schemas.wire import Pulse, State, Transition

DAY = parse_day("2026-09-07")
COMMUNES = ("Thanh Trì", "Đại Thanh", "Nam Phù", "Ngọc Hồi", "Hoàng Liệt")
NAMES = ("Hoa Sen", "Kim Đồng", "Chu Văn An", "Lê Lợi", "Ánh Dương", "Nguyễn Du")
LEVELS: tuple[tuple[Level, str], ...] = (
    ("preschool", "Mầm non"),
    ("primary", "Tiểu học"),
    ("lower_secondary", "Trung học cơ sở"),
)


def at(minute: int, second: int = 0) -> int:
    return day_start(DAY) + minute * 60_000 + second * 1000


def district(schools: int = 100, classes: int = 12) -> Reference:
    units = [Unit(code=f"C{i}", name=name, kind="commune") for i, name in enumerate(COMMUNES)]
    units += [Unit(code=f"C{i}", name=f"Phường số {i}", kind="commune") for i in range(5, schools // 22)]
    communes = len(units)
    rooms = []
    for n in range(schools):
        level, word = LEVELS[n % 3]
        name = f"Trường {word} {NAMES[n % len(NAMES)]} {n // 6 + 1}"
        units.append(Unit(code=f"S{n:04}", name=name, kind="school", parent=f"C{n % communes}", level=level,
                          vendor=f"V{n % 4}"))  # fmt: skip
        rooms += [SchoolClass(code=f"{c}A", school=f"S{n:04}", sessions=("morning",), enrolled=35)
                  for c in range(classes)]  # fmt: skip
    times = (("preschool", "08:45"), ("primary", "08:15"), ("lower_secondary", "08:15"))
    deadlines = [{"level": level, "session": "morning", "by": by} for level, by in times]
    return Reference.of(units, rooms, Calendar.model_validate_json(json.dumps({"deadlines": deadlines})))


def change(alert: str, severity: str, rule: str, group: dict[str, str], minute: int, state: State = "firing",  # noqa: PLR0917
           title: str = "", text: str = "", ordinal: int = 1) -> Transition:  # fmt: skip
    return Transition(
        id=f"{alert}-{ordinal}", alert=alert, ordinal=ordinal, rule=rule, rule_hash="h", severity=severity,
        status="active", group=group, window_start=at(0), window_end=at(1440), state=state, at=at(minute),
        decided_at=at(minute), reason="threshold", measures={"rate": 0.14, "marked": 410.0},
        limits={"when": "marked >= 15 and rate > greatest(0.08, usual.mean)"}, positions={},
        event_ids=[], title={"vi": title, "en": "Unusual absence"}, text={"vi": text, "en": "14 % absent"},
        notify=[],
    )  # fmt: skip


def morning(schools: int = 100, minute: int = 8 * 60 + 20) -> WatchState:
    state = WatchState(8)
    state.control(district(schools), "demo")
    state.pulse(Pulse(at(minute, 12), "demo", 10_000))
    for partition in range(8):
        state.watermark(partition, at(minute, 2))
    for n in range(schools):
        code = f"S{n:04}"
        if n % 37 == 5:
            continue  # never connected
        state.alive([code], [at(minute - 1)])
        closed = 12 if n % 10 else n % 11
        for c in range(closed):
            closing = Closing(at(7 * 60 + 15 + (n * 7 + c * 5) % 58), 35, (n + c) % 9)
            state.closed(code, (f"{c}A", "morning"), day_text(DAY), closing)
    for n in (7, 11):
        state.transition(change(f"silent-{n}", "P2", "school-silent", {"school": f"S{n:04}"}, 482 + n,
                                title="Trường mất kết nối",
                                text="Hệ thống của trường không gửi tín hiệu từ 07:47. Số liệu có thể thiếu."))  # fmt: skip  # noqa: E501
    state.transition(change("spike", "P1", "absence-spike", {"school": "S0013", "session": "morning"}, 498,
                            title="Vắng học bất thường", text="Vắng 58/410 (14 %), thường lệ 3,1 %."))  # fmt: skip  # noqa: E501
    state.transition(
        change("pupil", "P2", "streak", {"school": "S0001", "pupil": "HS-SECRET"}, 480, title="Bí mật")
    )
    hold_four(state)
    state.arrived(0, 5000)
    return state


def hold_four(state: WatchState) -> None:
    """A vendor that is out holds the alerts of four of its schools."""
    title, text = "Phần mềm ngừng gửi dữ liệu", "4/25 trường của V2 không gửi tín hiệu từ 07:51."
    holder = change("outage", "P1", "vendor-outage", {"vendor": "V2"}, 472, title=title, text=text)
    state.transition(msgspec.structs.replace(holder, measures={"firing": 4.0, "members": 25.0}, holds=4))
    for n in (2, 6, 14, 18):
        group = {"school": f"S{n:04}"}
        held = change(f"held-{n}", "P2", "school-silent", group, 471, title="Trường mất kết nối")
        state.transition(held)
        again = msgspec.structs.replace(held, id=f"held-{n}-1.1", revision=1, reason="absorbed")
        state.transition(msgspec.structs.replace(again, held_by="outage", held_how="absorbed"))


class StillFeed:
    """Stands in for `console.feed.Feed` where the state does not move."""

    def __init__(self, state: WatchState) -> None:
        self.state = state
        self.lock = threading.Lock()
        self.failure: BaseException | None = None
        self.number = 1
        self.pulsing = True
        self.wall = wall_of(state, 5)

    def publish(self) -> None:
        """Make a new wall of the state as it is now, as the feed does each half second."""
        with self.lock:
            self.wall = wall_of(self.state, 5)
        self.number += 1

    @property
    def published(self) -> Published:
        now = time.monotonic()
        return Published(self.number, self.wall, now if self.pulsing else now - 60, now, False, False)
