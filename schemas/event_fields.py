"""What fields of several event types share: choices, and the names of the fields for people."""

from __future__ import annotations

from typing import Final, Literal

Session = Literal["morning", "afternoon", "full_day"]
Status = Literal["present", "absent_excused", "absent_unexcused", "late"]
Symptom = Literal["digestive", "fever", "respiratory", "rash", "injury", "other"]

SCHOOL: Final = ("Mã trường", "School code")
CLASS: Final = ("Lớp", "Class code")
DAY: Final = ("Ngày học", "School day")
PUPIL: Final = ("Mã học sinh", "Pupil code")
SESSION: Final = ("Buổi học", "Session")
VENDOR: Final = ("Nhà cung cấp phần mềm", "Software vendor")
KITCHEN: Final = ("Mã bếp ăn", "Kitchen code")
SYMPTOM: Final = ("Triệu chứng", "Symptom")
