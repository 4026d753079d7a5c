"""The pages as HTML. Present state comes from the feed; what is history says so when it is away."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from prometheus_client.parser import text_string_to_metric_families

from console import history
from console.chart import measure_svg, progress_svg
from console.feed import Feed, Published
from console.roll import closed_of, minute_of, shown
from console.state import since_of
from console.view import Tile, Wall, alert_of, clock_text
from console.words import STATES, Lang, reason_text, state_text, word
from schemas.civil import day_text
from schemas.errors import SettingsError, StoreError
from schemas.wire import Transition

if TYPE_CHECKING:
    from console.server import ConsoleSettings

T = TypeVar("T")

TEMPLATES: Final = Path(__file__).parent / "templates"
_SHOWN_METRICS: Final = ("trucban_worker_position", "trucban_worker_backlog", "trucban_worker_records",
                         "trucban_worker_snapshots")  # fmt: skip


class Pages:
    """Renders every page; each method gives an HTTP status and the HTML."""

    def __init__(self, settings: ConsoleSettings, feed: Feed) -> None:
        self._settings = settings
        self._feed = feed
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
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
        """What a stream carries: the state and code of every tile, and the parts that change, as HTML."""
        kept = self._live.get(lang)
        if kept is None or kept[0] != now.number:
            wall = now.wall
            body = msgspec.json.encode(
                {
                    "clock": wall.clock,
                    "date": wall.date,
                    "mode": wall.mode,
                    "rate": wall.rate,
                    "firing": wall.firing,
                    "tiles": {tile.code: _tile(tile, lang) for com in wall.communes for tile in com.schools},
                    "alerts": self._render("alerts.html", lang, now),
                    "totals": self._render("totals.html", lang, now),
                }
            )
            kept = self._live[lang] = now.number, body
        return kept[1]

    # --- one school, one alert -------------------------------------------------------------------

    def school(self, lang: Lang, code: str) -> tuple[int, str]:
        """A school's classes and alerts."""
        with self._feed.lock:
            state = self._feed.state
            plan = state.plan()
            school = plan.schools.get(code) if plan else None
            if school is None:
                return self._absent(lang, "not_found")
            roll = state.roll(code)
            minute = minute_of(state.clock)
            due = school.due(minute)
            limit = school.deadline(minute)
            late = limit is not None and minute >= limit
            rows = []
            for entry in school.classes:
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
                            "marks": marks or "",
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
            alerts = [alert_of(state, one, since) for one, since in state.firing()
                      if one.group.get("school") == code and "pupil" not in one.group]  # fmt: skip
        tile = next(
            (one for com in self._feed.published.wall.communes for one in com.schools if one.code == code),
            None,
        )
        more = {"school": school, "rows": rows, "facts": facts, "own": alerts, "closed": closed,
                "due": len(due), "tile": tile}  # fmt: skip
        return 200, self._render("school.html", lang, self._feed.published, **more)

    def alert(self, lang: Lang, alert: str) -> tuple[int, str]:
        """An alert: its timeline, why, its measure against the limit, and the events it stands on."""
        with self._feed.lock:
            changes = list(self._feed.state.alerts.get(alert, ()))
            shown_as = alert_of(self._feed.state, changes[-1], since_of(changes)) if changes else None
        if not changes or shown_as is None:
            return self._absent(lang, "not_found")
        last = changes[-1]
        if "pupil" in last.group:
            return self._absent(lang, "pupil_page", 403)
        hidden = history.hides(last.measures)
        against = history.compared(last.limits.get("when", ""))
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
            "timeline": [_step(change, lang) for change in reversed(changes)],
            "measures": [] if hidden else _measures(last),
            "hidden": hidden,
            "against": against,
            "svg": svg,
            "values": values,
            "events": events,
        }
        return 200, self._render("alert.html", lang, self._feed.published, **more)

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
        processes = {name: _scrape(port) for name, port in self._settings.worker_ports().items() if port}
        more = {"watermarks": watermarks, "processes": processes}
        return 200, self._render("engine.html", lang, self._feed.published, **more)

    def rejected(self, lang: Lang, _about: str) -> tuple[int, str]:
        """Rejected events with reason and count by source."""
        groups = self._asked(history.rejected_groups)
        return 200, self._render("rejected.html", lang, self._feed.published, groups=groups)

    # ---------------------------------------------------------------------------------------------

    def _asked(self, question: Callable[[str], T]) -> T | None:
        """An answer of ClickHouse; None while it is away."""
        try:
            return question(self._settings.clickhouse())
        except (StoreError, SettingsError):
            return None  # the page says so

    def _absent(self, lang: Lang, key: str, status: int = 404) -> tuple[int, str]:
        return status, self._render("absent.html", lang, self._feed.published, key=key)

    def _render(self, name: str, lang: Lang, now: Published, **more: Any) -> str:
        wall = now.wall
        labels = (f"{word('rolls', lang)}: {wall.closed}/{wall.due}", word("deadline", lang))
        return self._environment.get_template(name).render(
            w=lambda key: word(key, lang),
            lang=lang,
            q="?lang=en" if lang == "en" else "",
            wall=wall,
            now=now,
            states=STATES,
            progress=progress_svg(wall.progress, wall.due, wall.minute, wall.deadline, labels),
            reason=lambda code: reason_text(code, lang),
            state_name=lambda code: state_text(code, lang),
            text=lambda pair: _in(pair, lang),
            tile_of=lambda tile: _tile(tile, lang),
            **more,
        )


def _measures(change: Transition) -> list[tuple[str, float]]:
    """Measures as shown; a rule without a condition (silence) has only a time, which its text tells."""
    return [(name, value) for name, value in change.measures.items() if value is not None and change.limits]


def _in(pair: dict[str, str], lang: Lang) -> str:
    return pair.get(lang) or pair.get("vi") or next(iter(pair.values()), "")


def _tile(tile: Tile, lang: Lang) -> tuple[str, str]:
    """A tile's state, and the words below its name."""
    text = word(tile.state, lang)
    if tile.state in {"filling", "late"}:
        text = f"{tile.closed}/{tile.due}" if tile.state == "filling" else f"{text} {tile.closed}/{tile.due}"
    elif tile.since:
        text += f" {word('since', lang)} {tile.since}"
    return tile.state, text


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
        "text": _in(change.text, lang),
    }


def _scrape(port: int) -> list[tuple[str, str, str, float]] | None:
    """Metric, agent, partition and value of a process on this machine; None: it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1.0) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    return [
        (family.name.removeprefix("trucban_worker_"), sample.labels["agent"], sample.labels["partition"], sample.value)  # noqa: E501
        for family in text_string_to_metric_families(text)
        if family.name in _SHOWN_METRICS
        for sample in family.samples
        if "agent" in sample.labels
    ]  # fmt: skip


def wall_size(wall: Wall) -> int:
    """Number of schools on a wall."""
    return sum(len(commune.schools) for commune in wall.communes)
