from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry

from console.files import FilesState, read_files_state
from console.history import compared
from console.pages import told
from console.render import by_commune, commune_words, date_text, holds_text
from console.roll import hides, natural, shown
from console.server import CSP, Console, ConsoleSettings
from console.state import since_of
from console.view import Commune, level_of, short_name, wall_of
from console.words import measure_text
from notify.message import compose
from oncall.model import Decision, Person
from rules.engine.configured import encode_config
from schemas.errors import StoreAway
from schemas.reference import Reference
from schemas.topics import CONTROL, KIND
from schemas.wire import Config, Headers, Pulse
from tests.support.morning_wall import StillFeed, at, change, district, morning


def states(state: Any) -> dict[str, str]:
    return {t.code: t.state for c in wall_of(state, 5).communes for t in c.schools}


def test_states_are_honest() -> None:
    found = states(morning())
    assert found["S0001"] == "closed"
    assert found["S0010"] == "late"
    assert found["S0007"] == "silent"
    assert found["S0005"] == "never"
    assert set(states(morning(minute=6 * 60)).values()) >= {"not_due", "closed"}
    assert states(morning(minute=8 * 60))["S0010"] == "filling"


def test_a_partition_that_lags_hides_every_calm_state() -> None:
    state = morning()
    state.pulse(Pulse(at(8 * 60 + 30), "demo", 10_000))
    assert set(states(state).values()) == {"unjudged"}
    assert {t.since for c in wall_of(state, 5).communes for t in c.schools} == {"08:20"}


def test_no_session_on_a_sunday() -> None:
    state = morning()
    state.pulse(Pulse(at(8 * 60) + 6 * 86_400_000, "demo", 10_000))
    assert set(states(state).values()) == {"no_session"}


def test_alerts_gravest_and_newest_first_and_pupils_only_counted() -> None:
    wall = wall_of(morning(), 5)
    assert [alert.id for alert in wall.alerts] == ["spike", "outage", "silent-11", "silent-7"]
    assert wall.pupil_alerts == 1
    state = morning()
    state.transition(change("spike", "P1", "absence-spike", {}, 505, "resolved", ordinal=2))
    assert [alert.id for alert in wall_of(state, 5).alerts] == ["outage", "silent-11", "silent-7"]


def test_held_alerts_are_counted_with_their_holder_and_given_back() -> None:
    state = morning()
    outage = wall_of(state, 5).alerts[1]
    assert (outage.holds, outage.of_schools, holds_text(outage, "vi")) == (4, True, "gồm 4 trường")
    assert holds_text(outage, "en") == "4 schools"
    assert {held.group["school"] for held, _ in state.held("outage")} == {"S0002", "S0006", "S0014", "S0018"}
    assert states(state)["S0002"] == "silent"  # held or not, it sends nothing
    held = state.alerts["held-2"][-1]
    state.transition(msgspec.structs.replace(held, id="x", revision=0, held_by=""))
    assert "held-2" not in [one.id for one in wall_of(state, 5).alerts]
    back = msgspec.structs.replace(held, id="y", revision=2, held_by="", held_how="", reason="given_back")
    state.transition(back)
    assert "held-2" in [one.id for one in wall_of(state, 5).alerts]
    assert len(state.held("outage")) == 3
    assert since_of(state.alerts["held-2"]) == at(471)


def test_of_steps_that_only_count_children_anew_the_newest_is_shown() -> None:
    first = change("p", "P1", "outage", {}, 480)
    again = [
        msgspec.structs.replace(first, id=f"p-{n}", revision=n, reason="children_changed") for n in (1, 2)
    ]
    ended = msgspec.structs.replace(first, ordinal=2, state="resolved")
    assert told([first, *again]) == [first, again[1]]
    assert told([first, *again, ended]) == [first, ended]
    assert measure_text("members", "vi") == "tổng số"
    assert measure_text("rate", "vi") == "rate"


def test_a_school_that_sends_is_not_silent_because_its_vendor_is_out() -> None:
    state = morning()
    assert states(state)["S0022"] == "closed"  # of the vendor that is out; its newest event is later
    state.seen["S0022"] = at(471)
    assert states(state)["S0022"] == "silent"


def test_many_schools_are_shown_by_commune() -> None:
    few, city = wall_of(morning(), 5), wall_of(morning(440), 5)
    assert [by_commune(wall) for wall in (few, city)] == [False, True]
    totals = {"closed": 17, "late": 2, "silent": 1}
    quiet = Commune("C1", "Nam Phù", (few.communes[0].schools[0],) * 20, totals, 200, 240, "08:03")
    state, words, marks = commune_words(quiet, "vi")
    assert (state, words) == ("some", "Trễ 2 · Mất kết nối 1 từ 08:03 83 %")
    assert '<rect x="10.00" width="5.00" height="8" class="silent"/>' in marks
    assert commune_words(msgspec.structs.replace(quiet, totals={"late": 4, "closed": 16}), "vi")[0] == "late"
    assert commune_words(msgspec.structs.replace(quiet, totals={"closed": 20}), "vi")[0] == "closed"


def test_before_a_demo_begins_it_says_that_it_loads() -> None:
    state = morning()
    assert not wall_of(state, 5).loading
    state.mode = "data"
    state.preparing(at(24 * 60), at(0))
    wall = wall_of(state, 5)
    assert (wall.loading, wall.prepared, wall.mode) == (True, "2026-09-07", "demo")
    state.pulse(Pulse(at(24 * 60), "demo", 10_000))
    assert not wall_of(state, 5).loading


def test_what_pulse_says_of_the_files(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    assert read_files_state(path) == FilesState()
    path.write_text('{"at": 5, "hash": "h", "errors": ["a.yaml:3:7: no"], "reference": "r"}')
    assert read_files_state(path) == FilesState(5, "h", ["a.yaml:3:7: no"])
    path.write_text('{"at"')
    assert read_files_state(path) == FilesState()


def test_small_numbers_are_hidden() -> None:
    assert [shown(n) for n in (0, 4, 5)] == [None, None, 5]
    assert hides({"absent": 3.0})
    assert not hides({"absent": 5.0, "rate": 0.2, "missing": 2.0})
    state = morning()
    small = state.alerts["spike"][-1]
    few = msgspec.structs.replace(small, ordinal=2, state="recovering", measures={"absent": 3.0})
    state.transition(few)
    assert wall_of(state, 5).alerts[0].text == {}


async def test_absentees_are_marked_first_so_few_marks_are_hidden_too() -> None:
    state = morning(minute=7 * 60 + 30)
    for name, count in (("8A", 3), ("9A", 12)):
        state.marked("S0000", (name, "morning"), "2026-09-07", count)
    rows: list[str] = []
    async for address in serve(StillFeed(state)):
        async with ClientSession() as session, session.get(address + "/school/S0000") as answer:
            rows = (await answer.text()).split("<tr>")
    told = [next(row for row in rows if f">{name}</a>" in row).split("</td>")[-3] for name in ("8A", "9A")]
    assert told == ['<td class="n">&lt;5', '<td class="n">12']


def test_names_and_conditions() -> None:
    assert short_name("Trường Tiểu học Kim Đồng") == "TH Kim Đồng"
    names = ("Trường THCS Phú Đào", "Mầm non Hoa Sen 2", "Trường Hoa Mai")
    assert [level_of(name) for name in names] == [("THCS", "Phú Đào"), ("MN", "Hoa Sen 2"), ("", "Hoa Mai")]
    assert sorted(["Lê Lợi 10", "Lê Lợi 2", "Ánh"], key=natural) == ["Lê Lợi 2", "Lê Lợi 10", "Ánh"]
    assert [date_text("2026-09-07", "vi"), date_text("", "en")] == ["Thứ Hai 07/09/2026", ""]
    when = "marked >= 15 and rate > greatest(0.08, usual.mean + 3 * usual.sd)"
    assert compared(when, {"rate": 0.2, "usual.mean": 0.25, "usual.sd": 0.125}) == ("rate", 0.625)
    assert compared(when, {"rate": 0.2}) == ("rate", 0.08)  # what is usual is not known
    assert compared("absent >= 5", {}) == ("absent", 5.0)
    assert [compared(text, {}) for text in ("", "silent", "absent > usual.mean", "(")] == [None] * 4


def away() -> str:
    raise StoreAway("away")


async def serve(feed: StillFeed) -> AsyncIterator[str]:
    console = Console(ConsoleSettings("none", away, dict), feed, CollectorRegistry())  # type: ignore[arg-type]
    runner = web.AppRunner(console.application(), shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async for address in serve(StillFeed(morning())):
        yield address


async def test_every_page_says_drill_and_stands_without_clickhouse(url: str) -> None:
    async with ClientSession() as session:
        for path, status in (("/", 200), ("/?lang=en", 200), ("/phone", 200), ("/school/S0013", 200),
                             ("/alert/spike", 200), ("/alert/pupil", 403), ("/alert/none", 404),
                             ("/school/none", 404), ("/school/S0013/0A", 200),
                             ("/school/S0013/9Z", 404), ("/commune/C1", 200), ("/commune/C9", 404),
                             ("/engine", 200), ("/rejected", 200)):  # fmt: skip
            async with session.get(url + path) as answer:
                text = await answer.text()
                assert answer.status == status, path
                assert "DIỄN TẬP" in text
                assert "HS-SECRET" not in text
                assert answer.headers["Content-Security-Policy"] == CSP
                assert "http://" not in text.replace("http://www.w3.org", "")
        async with session.get(url + "/rejected") as answer:
            assert "ClickHouse không trả lời: phần lịch sử này tạm thời không có." in await answer.text()
        async with session.get(url + "/healthz") as answer:
            assert answer.status == 200


async def test_the_stream_begins_with_the_whole_wall(url: str) -> None:
    async with ClientSession() as session, session.get(url + "/events") as answer:
        read = b""
        async for line in answer.content:
            read += line
            if b"event: tick" in read:
                break
    assert b"retry: 1000" in read
    assert b'"S0010":["late"' in read


def test_deadlines_are_the_calendars() -> None:
    before, after = morning(minute=8 * 60 + 14), morning(minute=8 * 60 + 16)
    assert [states(state)["S0010"] for state in (before, after)] == ["filling", "late"]
    assert [states(state)["S0030"] for state in (before, after)] == ["filling", "filling"]  # a preschool
    assert wall_of(after, 5).deadline == 8 * 60 + 15


def test_without_deadlines_nothing_is_late() -> None:
    state = morning()
    state.control(Reference.of(district().units, district().classes), None)
    assert "late" not in states(state).values()
    assert wall_of(state, 5).deadline is None


async def test_the_link_in_a_push_leads_to_the_alerts_page(url: str) -> None:
    told = change("spike", "P1", "absence-spike", {"school": "S0013"}, 498, title="Vắng", text="Vắng 58/410")
    decision = Decision(
        transition=told.id, alert=told.alert, ordinal=1, rule=told.rule, episode=told.alert,
        window_start=told.window_start, severity="P1", person="an", channel="webhook", phase="opening",
        outcome="pushed", push="p", reason="", at=told.at,
    )  # fmt: skip
    body = json.loads(compose(told, decision, Person("an", "An", ()), url + "/"))
    async with ClientSession() as session, session.get(body["link"]) as answer:
        assert answer.status == 200
        assert "Vắng 58/410" in await answer.text()


def test_what_count_accepts_is_what_the_feed_reads() -> None:
    from console.feed import Feed
    from rules.engine.count import CountCore
    from schemas.topics import ACCEPTED, ARRIVED
    from schemas.wire import CoreOptions, LogBatch

    body = {"school": "S0001", "class": "0A", "date": "2026-09-07", "session": "morning", "enrolled": 35,
            "absent_excused": 1, "absent_unexcused": 2}  # fmt: skip
    event = {"specversion": "1.0", "id": "1", "source": "x", "type": "attendance.class_closed",
             "time": "2026-09-07T08:00:00+07:00", "data": body}  # fmt: skip
    core = CountCore(0, CoreOptions(1, 1))
    control = encode_config(Config(reference=district(2, 1).to_json(), rules=[]))
    arrived = [(ARRIVED, str(at(480)).encode())]
    heads: list[Headers] = [[(KIND, CONTROL)], arrived]
    core.apply(
        LogBatch(0, [0, 1], [None, b"S0001"], [control, json.dumps(event).encode()], heads, [at(480)] * 2)
    )
    values = [record.value or b"" for record in core.flush() if record.topic == ACCEPTED]
    feed = Feed("127.0.0.1:1")
    for value in values:
        feed._accepted(value)
    assert not feed.state.counted  # what is read again is no event of this second
    assert list(feed.state.rolls) == ["2026-09-07"]
    assert feed.state.rolls["2026-09-07"]["S0001"].closed[("0A", "morning")].absent == 3
