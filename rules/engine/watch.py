"""The engine watches itself: input that is not judged for two minutes is an alert of its own (promise 5).

One judge partition looks for all. Every source partition tells every judge partition how far it has
come, so a partition whose worker is gone shows by its clock falling behind the newest one; so does a
configuration that not every source has come to. A function of the panes' log, as everything else.
"""

from __future__ import annotations

from typing import Final

import msgspec

from rules.engine.intake import NEVER
from rules.engine.life import alert_id, transition_id
from rules.message import render
from rules.model import Text
from schemas.wire import PanesRecord, State, Transition

RULE: Final = "engine-behind"
"""The alert's rule. It is no file: an installation cannot switch it off by mistake."""
LIMIT: Final = 2 * 60_000
"""How far what is judged may lie behind what is known, ms of business time."""
NEAR: Final = 30_000
"""At this distance all is well again, ms."""
TITLE: Final = {"vi": "Số liệu chưa được xét", "en": "Input is not judged"}
MESSAGE: Final = Text(
    vi="Một phần số liệu chưa được xét từ {since:time} ngày {since:date}: {partitions} phân vùng bị chậm. "
    "Bảng theo dõi có thể thiếu cảnh báo. Đề nghị kỹ thuật viên kiểm tra hệ thống (trucban status).",
    en="Part of the input has not been judged since {since:time} on {since:date} (partitions behind: "
    "{partitions}). Alerts may be missing. Please have a technician look at the system (trucban status).",
)
NOTIFY: Final = ("technician", "duty-officer")


class Watch(msgspec.Struct):
    """What one judge partition has heard, and its live alert (``alert`` empty: none)."""

    clocks: dict[int, int] = {}
    """Source partition → newest clock that was heard, judged or not, ms."""
    first: int = NEVER
    """Where clocks began: sources that were never heard are behind from here."""
    alert: str = ""
    start: int = 0
    ordinal: int = 0

    def hear(self, record: PanesRecord) -> None:
        """Note a record's clock, whatever becomes of the record."""
        if self.first == NEVER:
            self.first = record.clock
        self.clocks[record.source] = max(self.clocks.get(record.source, NEVER), record.clock)

    def look(self, judged: dict[int, int], sources: int) -> Transition | None:
        """The transition that is due. ``judged``: source partition → newest clock that was judged, ms."""
        newest = max(self.clocks.values(), default=NEVER)
        if newest == NEVER:
            return None
        reached = [max(self.first, judged.get(source, NEVER)) for source in range(sources)]
        slowest = min(reached)
        if not self.alert and newest - slowest > LIMIT:
            self.alert, self.start, self.ordinal = alert_id(RULE, {}, slowest, 0), slowest, 0
            return self._step("firing", "input_stopped", slowest + LIMIT, newest, reached)
        if self.alert and newest - slowest <= NEAR:
            step = self._step("resolved", "input_goes_on", slowest, newest, reached)
            self.alert = ""
            return step
        return None

    def _step(self, state: State, reason: str, at: int, newest: int, reached: list[int]) -> Transition:
        self.ordinal += 1
        behind = sum(newest - clock > LIMIT for clock in reached)
        seconds = (newest - min(reached)) / 1000
        return Transition(
            id=transition_id(self.alert, self.ordinal),
            alert=self.alert,
            ordinal=self.ordinal,
            rule=RULE,
            rule_hash="",
            severity="P1",
            status="active",
            group={},
            window_start=self.start,
            window_end=self.start,
            state=state,
            at=at,
            decided_at=newest,
            reason=reason,
            measures={"partitions": float(behind), "seconds": seconds},
            limits={"when": f"seconds > {LIMIT // 1000}"},
            positions={},
            event_ids=[],
            title=TITLE,
            text=render(MESSAGE, {"since": self.start, "at": at, "partitions": behind}),
            notify=list(NOTIFY),
        )
