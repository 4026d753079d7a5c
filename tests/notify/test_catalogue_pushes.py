"""What a push of each rule of the catalogue says, in full."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from notify.message import TEXT_CHARS, TITLE_CHARS, compose, words
from oncall import decide
from rules.cases import Case
from rules.load import CATALOGUE, load_rules, parse_rule
from rules.stage import play
from schemas.wire import RuleFile, Transition
from tests.support.alerts import roster

URL = "https://trucban.example.vn"
FILES = {parse_rule(file.text, file.path).name: file for file in load_rules(CATALOGUE)}
PUSHES = {
    "absence-spike": (
        "[P2] Vắng học bất thường: Tiểu học Ngọc Hồi",
        (
            "Tiểu học A, buổi sáng: vắng 10/40 học sinh đã điểm danh (25 %) từ 07:32, thường lệ 5 %. "
            "Đề nghị nhà trường tìm nguyên nhân (bệnh, xe đưa đón, thời tiết) và báo lại."
        ),
    ),
    "class-absence-cluster": (
        "[P3] Một lớp vắng nhiều: Tiểu học Ngọc Hồi",
        (
            "Tiểu học A, lớp 1A, buổi sáng: vắng 6/30 học sinh (20 %) từ 07:32, thường lệ –. "
            "Đề nghị nhà trường tìm nguyên nhân (bệnh, xe đưa đón, ngộ độc) và báo lại."
        ),
    ),
    "class-roll-not-closed": (
        "[P3] Lớp chưa chốt sĩ số: Tiểu học Ngọc Hồi",
        (
            "Tiểu học A, buổi sáng: 2/3 lớp chưa chốt sĩ số từ hạn 08:15 ngày 07/09/2026: 1A, 2A. "
            "Thường lệ không còn lớp nào. Đề nghị nhà trường nhắc giáo viên chốt ngay."
        ),
    ),
    "school-day-absence": (
        "[P2] Vắng học bất thường cả ngày: Tiểu học Ngọc Hồi",
        (
            "TH-A: vắng 40/200 học sinh (20 %) cả ngày 07/09/2026, thường lệ 5 %. "
            "Đề nghị nhà trường tìm nguyên nhân và báo lại."
        ),
    ),
    "school-silent": (
        "[P2] Trường mất kết nối: Tiểu học Ngọc Hồi",
        (
            "Tiểu học A: hệ thống không gửi tín hiệu từ 07:15 ngày 07/09/2026, thường lệ 5 phút một lần; "
            "số liệu của trường có thể thiếu. "
            "Đề nghị kiểm tra mạng và phần mềm của trường, gọi nhà trường nếu cần."
        ),
    ),
    "sync-failing": (
        "[P3] Đồng bộ dữ liệu bị từ chối: Tiểu học Ngọc Hồi",
        (
            "Tiểu học A: đồng bộ lên moet qua V1 hỏng 30/300 bản ghi (10,0 %) trong 1/3 lần gửi, từ 09:25; "
            "mức cho phép 2 %. Đề nghị bộ phận kỹ thuật kiểm tra lý do từ chối và gửi lại."
        ),
    ),
    "vendor-sync-failing": (
        "[P2] Nhà cung cấp đồng bộ lỗi: V1",
        (
            "Nhà cung cấp V1: đồng bộ lên moet bị từ chối ở 3 trường từ 09:25: Tiểu học A, Tiểu học B, "
            "Tiểu học C; mức cho phép là 2 % số bản ghi. Đề nghị gọi nhà cung cấp và gửi lại sau khi sửa."
        ),
    ),
    "vendor-outage": (
        "[P1] Nhà cung cấp mất kết nối: V1",
        (
            "Nhà cung cấp V1: 5/6 trường mất tín hiệu từ 07:00: Tiểu học A, Tiểu học B, Tiểu học C, "
            "Tiểu học D, Tiểu học E. Số liệu các trường này có thể thiếu. Đề nghị gọi nhà cung cấp ngay."
        ),
    ),
}
"""Title and text without the link; the school's name in the title is set by the test."""


def fired(file: RuleFile) -> Transition:
    """The first firing transition of the rule's own tests."""
    rule = parse_rule(file.text, file.path)
    below = [FILES[name] for name in (rule.over, *rule.inhibited_by) if name]
    played = (play([file, *below], case) for case in rule.tests if isinstance(case, Case))
    steps = (
        step
        for one in played
        for step in one.transitions
        if step.state == "firing" and step.rule == rule.name
    )
    return msgspec.structs.replace(next(steps), places={"school_name": "Tiểu học Ngọc Hồi"})


def test_each_rule_is_here() -> None:
    assert set(PUSHES) == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_push_says_what_where_since_when_how_bad_and_what_is_asked(name: str) -> None:
    item = msgspec.structs.replace(fired(FILES[name]), notify=["duty-officer"])
    person = roster().people["an"]
    decision = decide(item, roster(), 0)[0]
    said = words(compose(item, decision, person, URL))
    link = f"{URL}/alert/{item.alert} #{decision.push[:8]}"
    title, text = PUSHES[name]
    assert (said.title, said.text) == (title, f"{text}\n{link}")
    assert "Đề nghị " in text
    english = words(compose(item, decision, replace(person, languages=("en",)), URL))
    assert "Please " in english.text
    for each in (said, english, words(compose(item, decision, person, URL, drill=True))):
        assert len(each.title) <= TITLE_CHARS
        assert len(each.text) <= TEXT_CHARS
        assert "…" not in each.title + each.text
