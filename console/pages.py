"""The pages as HTML. Present state comes from the feed; what is history says so when it is away."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from console import history
from console.chart import measure_svg
from console.feed import Feed, Published
from console.inside import look_inside, scrape
from console.render import Renderer, chosen, number_text
from console.roll import closed_of, hides, minute_of, shown
from console.state import since_of
from console.view import Alert, alert_of, clock_text
from console.words import Lang, measure_text, reason_text, state_text
from schemas.civil import day_text
from schemas.errors import SettingsError, StoreAway, StoreError
from schemas.wire import Transition
from store.rejected import RejectedGroup

if TYPE_CHECKING:
    from console.server import ConsoleSettings

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Pages:
    """Renders every page; each method gives an HTTP status and the HTML."""

    def __init__(self, settings: ConsoleSettings, feed: Feed) -> None:
        self._settings = settings
        self._feed = feed
        self._renderer = Renderer()
        self._kept: dict[Lang, tuple[int, str]] = {}
        self._live: dict[Lang, tuple[int, bytes]] = {}

    # --- the wall --------------------------------------------------------------------------------

    def wall(self, lang: Lang, _about: str) -> tuple[int, str]:
        """The wall; rendered once for each published state and language."""
        now = self._feed.published
        kept = self._kept.get(lang)
        if kept is None or kept[0] != now.number:
            kept = self._kept[lang] = now.number, self._render("wall.html", lang, now)
        return 200, kept[1]

    def phone(self, lang: Lang, _about: str) -> tuple[int, str]:
        """The firing alerts for a narrow screen."""
        return 200, self._render("phone.html", lang, self._feed.published)

    def live(self, now: Published, lang: Lang) -> bytes:
        """What a stream carries of a state; made once for each language."""
        kept = self._live.get(lang)
        if kept is None or kept[0] != now.number:
            kept = self._live[lang] = now.number, self._renderer.live(lang, now, self._settings.files())
        return kept[1]

    def commune(self, lang: Lang, code: str) -> tuple[int, str]:
        """A commune's schools."""
        now = self._feed.published
        found = next((commune for commune in now.wall.communes if commune.code == code), None)
        if found is None:
            return self._absent(lang, "not_found")
        return 200, self._render("commune.html", lang, now, commune=found)

    # --- one school, one alert -------------------------------------------------------------------

    def group(self, lang: Lang, about: str) -> tuple[int, str]:
        """One class, ``SCHOOL/CLASS``: its rolls today and before, and its alerts."""
        school, _, code = about.partition("/")
        return self.school(lang, school, code)

    def school(self, lang: Lang, code: str, group: str = "") -> tuple[int, str]:
        """A school's classes and alerts, or only those of one class (``group``: its code)."""
        with self._feed.lock:
            state = self._feed.state
            plan = state.plan()
            school = plan.schools.get(code) if plan else None
            if school is None or (group and group not in {entry.code for entry in school.classes}):
                return self._absent(lang, "not_found")
            roll = state.roll(code)
            minute = minute_of(state.clock)
            due = school.due(minute)
            limit = school.deadline(minute)
            late = limit is not None and minute >= limit
            rows = []
            for entry in school.classes:
                if group not in {"", entry.code}:
                    continue
                for session in entry.sessions:
                    closing = roll.closed.get((entry.code, session)) if roll else None
                    marks = roll.marks.get((entry.code, session), 0) if roll else 0
                    rows.append(
                        {
                            "code": entry.code,
                            "session": session,
                            "state": "closed"
                            if closing
                            else _class_state((entry.code, session) in due, school.open, late),
                            "enrolled": shown(closing.enrolled if closing else entry.enrolled),
                            "absent": shown(closing.absent) if closing else "",
                            "marks": shown(marks) if marks else "",
                            "at": clock_text(closing.at) if closing else "",
                        }
                    )  # fmt: skip
            seen = state.seen.get(code)
            facts = {
                "commune": next((name for key, name, _ in plan.communes if key == school.commune), ""),
                "vendor": school.vendor,
                "last_seen": clock_text(seen, seconds=True) if seen else "–",
                "deadline": "–" if limit is None else f"{limit // 60:02}:{limit % 60:02}",
            } if plan else {}  # fmt: skip
            closed = closed_of(roll, due)
            alerts = [
                (alert_of(state, one, since), self._holder(one))
                for one, since in state.about(code)
                if group in {"", one.group.get("class")}
            ]
        tile = next(
            (one for com in self._feed.published.wall.communes for one in com.schools if one.code == code),
            None,
        )
        past = self._asked(lambda url: history.closings_of(url, code, group)) if group else []
        more = {"group": group, "past": past, "school": school, "rows": rows, "facts": facts,
                "own": alerts, "closed": closed,
                "due": len(due), "tile": tile}  # fmt: skip
        return 200, self._render("school.html", lang, self._feed.published, **more)

    def alert(self, lang: Lang, alert: str) -> tuple[int, str]:
        """An alert: its timeline, why, its measure against the limit, and the events it stands on."""
        with self._feed.lock:
            changes = list(self._feed.state.alerts.get(alert, ()))
            shown_as = alert_of(self._feed.state, changes[-1], since_of(changes)) if changes else None
            held = [alert_of(self._feed.state, one, since) for one, since in self._feed.state.held(alert)
                    if "pupil" not in one.group]  # fmt: skip
            holder = self._holder(changes[-1]) if changes else None
        if not changes or shown_as is None:
            return self._absent(lang, "not_found")
        last = changes[-1]
        if "pupil" in last.group:
            return self._absent(lang, "pupil_page", 403)
        hidden = hides(last.measures)
        against = history.compared(last.limits.get("when", ""), last.measures)
        svg = ""
        values: list[tuple[str, float]] | None = []
        if against and not hidden:
            measure, limit = against
            values = self._asked(lambda url: history.measure_history(url, last, measure))
            if values:
                svg = measure_svg(values, limit, f"{measure}: {last.limits['when']}")
        events = self._asked(lambda url: history.events_of(url, last.event_ids))
        more = {
            "alert": shown_as,
            "last": last,
            "held": held,
            "holder": holder,
            "why": next((c.reason for c in reversed(changes) if not c.revision), last.reason),
            "timeline": [_step(change, lang) for change in reversed(told(changes))],
            "measures": [] if hidden else _measures(last, lang),
            "hidden": hidden,
            "against": against,
            "svg": svg,
            "values": values,
            "events": events,
        }
        return 200, self._render("alert.html", lang, self._feed.published, **more)

    def _holder(self, change: Transition) -> Alert | None:
        """The alert that holds another; to be called under the feed's lock."""
        history = self._feed.state.alerts.get(change.held_by)
        return alert_of(self._feed.state, history[-1], since_of(history)) if history else None

    # --- seeing inside ---------------------------------------------------------------------------

    def engine(self, lang: Lang, _about: str) -> tuple[int, str]:
        """Watermarks, and what the processes' own metrics say."""
        with self._feed.lock:
            state = self._feed.state
            watermarks = [
                (number, clock_text(reached, seconds=True), max(0, state.clock - reached) / 1000,
                 state.partition_behind(number) is not None)
                for number, reached in sorted(state.watermarks.items())
            ]  # fmt: skip
        processes = {name: scrape(port) for name, port in self._settings.process_ports().items() if port}
        read_at = self._settings.files().at
        more = {
            "watermarks": watermarks,
            "inside": look_inside(processes, time.time()),
            "number": lambda value: number_text(value, lang),
            "read_at": clock_text(read_at, seconds=True) if read_at else "",
        }
        return 200, self._render("engine.html", lang, self._feed.published, **more)

    def rejected(self, lang: Lang, _about: str) -> tuple[int, str]:
        """Rejected events with reason and count by source."""
        groups = self._asked(history.rejected)
        with self._feed.lock:
            plan = self._feed.state.plan()
        known = set(plan.schools) if plan else set()
        commands = [(group, replay_command(self._settings.data_dir, group, known))
                    for group in groups or [] if group.school]  # fmt: skip
        now = self._feed.published
        return 200, self._render("rejected.html", lang, now, groups=groups, commands=commands)

    # ---------------------------------------------------------------------------------------------

    def _asked(self, question: Callable[[str], T]) -> T | None:
        """An answer of ClickHouse; None while it is away."""
        try:
            return question(self._settings.clickhouse())
        except (StoreAway, SettingsError):
            return None  # the page says so
        except StoreError as error:
            log.error("ClickHouse refused what a page asked", error=str(error))  # noqa: TRY400
            return None

    def _absent(self, lang: Lang, key: str, status: int = 404) -> tuple[int, str]:
        return status, self._render("absent.html", lang, self._feed.published, key=key)

    def _render(self, name: str, lang: Lang, now: Published, **more: Any) -> str:
        return self._renderer.render(name, lang, now, self._settings.files(), **more)


def replay_command(data_dir: str, group: RejectedGroup, known: set[str]) -> str:
    """The command that sends a source's events again under another school, to be filled in where in doubt."""
    new = meant_school(group.school, known) or "MÃ_ĐÚNG"
    where = f" --data-dir {shlex.quote(data_dir)}" if data_dir else ""
    pair = shlex.quote(f"{group.school}={new}")
    return f"trucban rejected replay{where} --source {shlex.quote(group.source)} --map {pair}"


def meant_school(code: str, known: set[str]) -> str:
    """The one school whose code reads the same (O and 0, l, I and 1, case, dashes); else empty.

    Not the nearest spelling: that may be another school, and its pupils would be counted there.
    """
    found = [one for one in known if _read(one) == _read(code)]
    return found[0] if len(found) == 1 else ""


def _read(code: str) -> str:
    return "".join(one for one in code.lower().translate(_CONFUSED) if one.isalnum())


_CONFUSED = str.maketrans({"o": "0", "l": "1", "i": "1"})


def _measures(change: Transition, lang: Lang) -> list[tuple[str, float]]:
    """Measures as shown; a rule without a condition (silence) has only a time, which its text tells."""
    known = change.measures.items() if change.limits else ()
    return [(measure_text(name, lang), value) for name, value in known if value is not None]


def told(changes: Sequence[Transition]) -> list[Transition]:
    """An alert's steps; of those that only count its children anew the newest."""
    last = len(changes) - 1
    return [step for at, step in enumerate(changes) if at == last or step.reason != "children_changed"]


def _class_state(due: bool, open_: bool, late: bool) -> str:
    if not open_:
        return "no_session"
    if not due:
        return "not_due"
    return "late" if late else "filling"


def _step(change: Transition, lang: Lang) -> dict[str, str]:
    return {
        "at": clock_text(change.at, seconds=True),
        "day": day_text((change.at + 7 * 3_600_000) // 86_400_000),
        "state": change.state,
        "name": state_text(change.state, lang),
        "reason": reason_text(change.reason, lang),
        "text": chosen(change.text, lang),
    }
