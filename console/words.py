"""Every word of the pages, in Vietnamese and English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Lang = Literal["vi", "en"]

STATES: Final = (
    "late", "silent", "unjudged", "never", "filling", "closed", "not_due", "no_session",
)  # fmt: skip
"""States of a school, those that need somebody first."""

WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "title": ("Trực ban", "Duty watch"),
    "drill": ("DIỄN TẬP", "DRILL"),
    "drill_note": ("DIỄN TẬP · dữ liệu mô phỏng", "DIỄN TẬP (drill) · simulated data"),
    "late": ("Trễ", "Late"),
    "silent": ("Mất kết nối", "Silent"),
    "unjudged": ("Chưa đánh giá", "Not judged"),
    "never": ("Chưa kết nối", "Never connected"),
    "filling": ("Đang điểm danh", "Filling"),
    "closed": ("Đã chốt", "Closed"),
    "not_due": ("Chưa đến giờ", "Not yet due"),
    "no_session": ("Không có buổi học", "No session today"),
    "since": ("từ", "since"),
    "alerts": ("Cảnh báo", "Alerts"),
    "no_alerts": ("Không có cảnh báo nào", "No alert is firing"),
    "pupil_alerts": ("cảnh báo về học sinh (chỉ đếm)", "alerts about pupils (counted only)"),
    "more_alerts": ("cảnh báo nữa", "more alerts"),
    "classes_closed": ("lớp đã chốt", "classes closed"),
    "rolls": ("Điểm danh", "Roll call"),
    "per_second": ("sự kiện/giây", "events/s"),
    "updated": ("cập nhật", "updated"),
    "seconds_ago": ("giây trước", "s ago"),
    "lost_stream": (
        "MẤT KẾT NỐI MÁY CHỦ · số liệu đã cũ",
        "NO CONTACT WITH THE SERVER · what you see is old",
    ),
    "engine_silent": ("BỘ XỬ LÝ ĐÃ DỪNG · số liệu đã cũ", "THE ENGINE HAS STOPPED · what you see is old"),
    "broker_away": (
        "KHÔNG ĐỌC ĐƯỢC LUỒNG SỰ KIỆN · số liệu đã cũ",
        "THE LOG DOES NOT ANSWER · what you see is old",
    ),
    "loading": ("ĐANG NẠP DỮ LIỆU…", "LOADING DATA…"),
    "catching_up": ("ĐANG ĐỌC LẠI NHẬT KÝ…", "READING THE LOG AGAIN…"),
    "unjudged_banner": ("CHƯA ĐÁNH GIÁ", "NOT JUDGED"),
    "unjudged_schools": ("trường chưa được đánh giá", "schools are not judged"),
    "rule_faults": (
        "TỆP QUY TẮC CÓ LỖI · bản cũ vẫn đang chạy",
        "A RULE FILE HAS A FAULT · the old version is still at work",
    ),
    "rule_files": ("Tệp quy tắc và danh mục", "Rule and reference files"),
    "rules_good": ("Đã áp dụng, không có lỗi.", "In force, without a fault."),
    "rules_unknown": (
        "Chưa biết: tiến trình pulse chưa đọc tệp.",
        "Not known: pulse has not read the files yet.",
    ),
    "read_at": ("đọc lúc", "read at"),
    "holds_schools": ("gồm {} trường", "{} schools"),
    "holds_alerts": ("gồm {} cảnh báo", "{} alerts"),
    "held_alerts": ("Các cảnh báo được gộp hoặc tạm giữ", "Alerts that it holds"),
    "held_now": ("không báo riêng", "nobody is told of it by itself"),
    "absorbed_by": ("đã gộp vào", "absorbed by"),
    "inhibited_by": ("tạm giữ vì", "held back by"),
    "no_reference": ("Chưa có danh mục trường, lớp", "No reference data yet: no school is known"),
    "schools": ("trường", "schools"),
    "school": ("Trường", "School"),
    "class": ("Lớp", "Class"),
    "session": ("Buổi", "Session"),
    "morning": ("Sáng", "Morning"),
    "afternoon": ("Chiều", "Afternoon"),
    "full_day": ("Cả ngày", "Full day"),
    "state": ("Tình trạng", "State"),
    "enrolled": ("Sĩ số", "Enrolled"),
    "absent": ("Vắng", "Absent"),
    "marks": ("Lượt điểm danh", "Marks received"),
    "closed_at": ("Chốt lúc", "Closed at"),
    "deadline": ("Hạn chốt", "Deadline"),
    "last_seen": ("Tín hiệu cuối", "Last signal"),
    "vendor": ("Phần mềm", "Vendor"),
    "commune": ("Xã, phường", "Commune"),
    "wall": ("Màn hình chính", "Wall"),
    "phone": ("Điện thoại", "Phone"),
    "engine": ("Bộ xử lý", "Engine"),
    "rejected": ("Sự kiện bị từ chối", "Rejected events"),
    "timeline": ("Diễn biến", "Timeline"),
    "why": ("Vì sao", "Why"),
    "chart": ("Số đo so với ngưỡng", "The measure against its limit"),
    "events": ("Các sự kiện làm căn cứ", "Events it stands on"),
    "measure": ("Số đo", "Measure"),
    "limit": ("Ngưỡng", "Limit"),
    "value": ("Giá trị", "Value"),
    "time": ("Lúc", "Time"),
    "type": ("Loại", "Type"),
    "reason": ("Lý do", "Reason"),
    "rule": ("Quy tắc", "Rule"),
    "severity": ("Mức", "Severity"),
    "source": ("Nguồn", "Source"),
    "count": ("Số lượng", "Count"),
    "field": ("Trường dữ liệu", "Field"),
    "example": ("Ví dụ", "Example"),
    "newest": ("Gần nhất", "Newest"),
    "unknown_school": ("Trường không có trong danh mục", "Unknown schools"),
    "unknown_school_help": (
        (
            "Nếu mã đúng mà danh mục thiếu: thêm trường vào tệp đơn vị, rồi chạy trucban rejected replay "
            "--reason unknown_school. Nếu nguồn gửi sai mã: chạy lệnh dưới đây với mã đúng sau dấu =. Chạy "
            "lại không tính hai lần."
        ),
        (
            "Where the code is right and the reference data lacks it: add the school to the units file, then "
            "run trucban rejected replay --reason unknown_school. Where the source names a wrong code: run "
            "the command below with the right one after the =. Running it twice counts once."
        ),
    ),
    "history_away": (
        "ClickHouse không trả lời: phần lịch sử này tạm thời không có.",
        "ClickHouse does not answer: this part, which is history, is not there for now.",
    ),
    "no_history": ("Chưa có lịch sử cho số đo này.", "No history of this measure yet."),
    "no_limit": (
        "Quy tắc này không so một số đo với ngưỡng.",
        "This rule does not compare a measure with a limit.",
    ),
    "closings": ("Các buổi trước", "Earlier sessions"),
    "hidden": ("<5", "<5"),
    "hidden_note": ("Số liệu dưới 5 học sinh được ẩn.", "Numbers below 5 pupils are hidden."),
    "pupil_page": (
        "Cảnh báo về một học sinh không hiển thị ở đây.",
        "An alert about one pupil is not shown here.",
    ),
    "not_found": ("Không tìm thấy", "Not found"),
    "agents": ("Các tác tử", "Agents"),
    "refused": ("Sự kiện bị từ chối theo lý do", "Events refused, by reason"),
    "lag": ("Sự kiện còn chờ", "Events waiting"),
    "counted": ("Đã tính", "Counted"),
    "repeats": ("Trùng lặp", "Repeats"),
    "late_events": ("Quá muộn, không tính", "Too late to count"),
    "live_panes": ("Ô đang mở", "Live panes"),
    "transitions": ("Lần đổi trạng thái", "Transitions"),
    "outbox_rows": ("Tin chờ gửi", "Pushes waiting"),
    "outbox_age": ("Tin chờ lâu nhất (giây)", "Oldest push waiting (s)"),
    "insert_age": ("Lần ghi ClickHouse cuối (giây)", "Last ClickHouse insert (s ago)"),
    "archived_rows": ("Dòng đã lưu", "Rows archived"),
    "batch_size": ("Bản ghi mỗi lô", "Records a batch"),
    "snapshot_age": ("Tuổi ảnh chụp (giây)", "Snapshot age (s)"),
    "snapshot_bytes": ("Cỡ ảnh chụp (byte)", "Snapshot size (bytes)"),
    "partition": ("Phân vùng", "Partition"),
    "watermark": ("Đã đánh giá đến", "Judged up to"),
    "behind": ("Chậm so với đồng hồ", "Behind the clock"),
    "process": ("Tiến trình", "Process"),
    "agent": ("Tác tử", "Agent"),
    "position": ("Vị trí", "Position"),
    "backlog": ("Còn chờ", "Backlog"),
    "records": ("Bản ghi", "Records"),
    "snapshots": ("Ảnh chụp", "Snapshots"),
    "no_answer": ("không trả lời", "no answer"),
    "no_rows": ("Không có", "None"),
    "day": ("Ngày", "Day"),
    "now": ("bây giờ", "now"),
}

WEEKDAYS: Final = (
    ("Thứ Hai", "Mon"), ("Thứ Ba", "Tue"), ("Thứ Tư", "Wed"), ("Thứ Năm", "Thu"), ("Thứ Sáu", "Fri"),
    ("Thứ Bảy", "Sat"), ("Chủ nhật", "Sun"),
)  # fmt: skip

REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "threshold": ("số đo vượt ngưỡng", "the measure passed its limit"),
    "met": ("điều kiện đã đúng", "the condition is met"),
    "condition_met": ("điều kiện của quy tắc đã đúng", "the rule's condition is met"),
    "held": ("điều kiện đúng đủ lâu", "the condition held long enough"),
    "inhibited": ("tạm giữ: một cảnh báo khác đã giải thích", "held back: another alert explains it"),
    "absorbed": ("gộp vào cảnh báo chung", "absorbed by the alert above it"),
    "given_back": (
        "cảnh báo chung đã hết, cảnh báo này vẫn còn",
        "the alert above it ended, this one goes on",
    ),
    "children_changed": ("số cảnh báo được gộp thay đổi", "what it holds changed"),
    "silent": ("không còn tín hiệu", "no signal any more"),
    "event_seen": ("đã có tín hiệu trở lại", "a signal came again"),
    "recovered": ("đã trở lại bình thường", "back to normal"),
    "condition_ended": ("điều kiện không còn đúng", "the condition no longer holds"),
    "recovery_ended": ("lại vượt ngưỡng", "past its limit again"),
    "window_ended": ("hết buổi, hết khoảng tính", "its window ended"),
    "rule_changed": ("quy tắc được sửa", "the rule was changed"),
    "rule_removed": ("quy tắc được bỏ", "the rule was removed"),
    "roster_changed": ("danh mục trường, lớp thay đổi", "the reference data changed"),
    "corrected": ("dữ liệu được sửa", "the data was corrected"),
    "missing": ("thiếu khi đến hạn", "missing at its deadline"),
}

ALERT_STATES: Final[Mapping[str, tuple[str, str]]] = {
    "pending": ("chờ xác nhận", "pending"),
    "firing": ("đang báo", "firing"),
    "recovering": ("đang hồi phục", "recovering"),
    "inactive": ("không báo", "inactive"),
    "resolved": ("đã hết", "resolved"),
    "retracted": ("rút lại", "retracted"),
    "retired": ("quy tắc đã thôi", "retired"),
    "unknown": ("không đánh giá được", "unknown"),
}


def lang_of(text: str | None) -> Lang:
    """The language asked for; Vietnamese unless English is."""
    return "en" if text == "en" else "vi"


def word(key: str, lang: Lang) -> str:
    """A word of the pages. KeyError for one that does not exist: a fault of the program."""
    return WORDS[key][lang == "en"]


MEASURES: Final[Mapping[str, tuple[str, str]]] = {
    "live": ("đang có cảnh báo", "with the alert"),
    "pending": ("trong đó chờ xác nhận", "of these pending"),
    "firing": ("trong đó đang báo", "of these firing"),
    "members": ("tổng số", "of all"),
    "units": ("số đơn vị bên dưới", "units below"),
}
"""Measures of alerts over alerts; others have the names their rules give them."""


def measure_text(name: str, lang: Lang) -> str:
    """A measure's name in words."""
    found = MEASURES.get(name)
    return found[lang == "en"] if found else name


def reason_text(code: str, lang: Lang) -> str:
    """A transition's reason in words; a code without words as it is."""
    found = REASONS.get(code)
    return found[lang == "en"] if found else code.replace("_", " ")


def state_text(code: str, lang: Lang) -> str:
    """An alert's state in words."""
    found = ALERT_STATES.get(code)
    return found[lang == "en"] if found else code
