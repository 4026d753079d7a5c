"""A small organisation over time, as the files an office would keep."""

from __future__ import annotations

from typing import Final

UNITS: Final = """\
code,name,kind,parent,level,ownership,vendor,valid_from,valid_to
HN,Hà Nội,city,,,,,,
TT,Thanh Trì,district,HN,,,,,2025-06-30
X1,"Xã Tả, cũ",commune,TT,,,,,2025-06-30
X2,Xã Thanh Trì,commune,HN,,,,2025-07-01,
A,Tiểu học A,school,X1,primary,public,v1,,2025-06-30
A,Tiểu học A,school,X2,primary,public,v2,2025-07-01,
B,THCS B,school,X2,lower_secondary,private,,2025-07-01,2026-05-31
C,Trường C,school,HN,,,,,
"""

CLASSES: Final = """\
code,school,grade,sessions,enrolled,valid_from,valid_to
1A,A,1,morning afternoon,30,2025-09-05,2026-05-31
1A,A,1,morning afternoon,28,2026-06-01,
2A,A,2,morning,32,2025-09-05,
6B,B,6,full_day,40,2025-09-05,2026-05-31
"""

CALENDAR: Final = """\
timezone: Asia/Ho_Chi_Minh
terms:
  - {name: {vi: Học kỳ 1, en: Term 1}, from: 2025-09-05, to: 2026-01-17}
  - {name: Học kỳ 2, from: 2026-01-19, to: 2026-05-31}
weekdays: [mon, tue, wed, thu, fri]
weekdays_by_level:
  lower_secondary: [mon, tue, wed, thu, fri, sat]
holidays:
  - {name: {vi: Tết Nguyên đán, en: Lunar New Year}, from: 2026-02-16, to: 2026-02-20}
  - {name: Nghỉ rét, date: 2026-01-21, levels: [primary]}
closures:
  - {name: Mất nước, date: 2025-10-01, units: [X2]}
"""
