"""Event types of the schools' systems: that they are alive, and what they pass on."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from schemas.event_fields import SCHOOL, VENDOR
from schemas.fields import Code, Count, about
from schemas.registry import DAY_MS, EventData, EventType, Sum, Title


class Heartbeat(EventData):
    """A school's system says that it is alive."""

    school: Code = about(*SCHOOL)
    vendor: Code = about(*VENDOR)


class SyncPushed(EventData):
    """A school's system passed a batch of records on."""

    sums: ClassVar = (Sum("sent", ("accepted", "failed")),)

    school: Code = about(*SCHOOL)
    vendor: Code = about(*VENDOR)
    target: Literal["moet", "city"] = about("Nơi nhận (Bộ, Thành phố)", "Where to: ministry or city")
    kind: Code = about("Loại dữ liệu", "Kind of records")
    sent: Count = about("Số bản ghi gửi", "Records sent", unit="records")
    accepted: Count = about("Số bản ghi được nhận", "Records accepted", unit="records")
    failed: Count = about("Số bản ghi lỗi", "Records that failed", unit="records")


HEARTBEAT: Final = EventType(
    name="source.heartbeat",
    title=Title("Nhịp báo của hệ thống nguồn", "A source is alive"),
    description=Title(
        "Hệ thống của trường gửi đều đặn; thiếu nhịp nghĩa là trường im lặng.",
        "Sent regularly by a school's system; a school without it is silent.",
    ),
    data=Heartbeat,
    dimensions=("school", "vendor"),
    repeat_horizon=DAY_MS,
)

SYNC_PUSHED: Final = EventType(
    name="sync.pushed",
    title=Title("Đẩy dữ liệu lên hệ thống cấp trên", "A batch of records was passed on"),
    description=Title(
        "Một lần đẩy dữ liệu của trường: số gửi, số được nhận, số lỗi.",
        "One push of a school's records: how many were sent, accepted, and failed.",
    ),
    data=SyncPushed,
    dimensions=("school", "vendor", "target", "kind"),
    repeat_horizon=14 * DAY_MS,
)
