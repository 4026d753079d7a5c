"""Templates and the words on them; what changes on the wall as it travels to the browser."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from console.chart import progress_svg, share_svg, span_of
from console.feed import Published
from console.files import FilesState
from console.view import TILES_AT_MOST, Alert, Commune, Tile, Wall
from console.words import STATES, WEEKDAYS, Lang, reason_text, state_text, word

TEMPLATES: Final = Path(__file__).parent / "templates"
GRAVE: Final = ("late", "silent", "unjudged", "never")
"""States of a school that need somebody."""
MANY: Final = 0.2
"""Share of a commune's schools from which on a grave state is the commune's."""


class Renderer:
    """Renders templates; everything on them that is the same for all pages is here."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        for name in self._environment.list_templates(["html"]):
            self._environment.get_template(name)  # compiled now, not while the first browser waits

    def render(self, name: str, lang: Lang, now: Published, rules: FilesState, **more: Any) -> str:
        """One template. ``more``: what only this one needs."""
        wall = now.wall
        return self._environment.get_template(name).render(
            w=lambda key: word(key, lang),
            lang=lang,
            q="?lang=en" if lang == "en" else "",
            wall=wall,
            by_commune=by_commune(wall),
            rules=rules,
            date=date_text(wall.date, lang),
            rate=number_text(wall.rate, lang),
            states=STATES,
            grave=GRAVE,
            ticks=_ticks(wall),
            progress=_progress(wall, lang),
            reason=lambda code: reason_text(code, lang),
            state_name=lambda code: state_text(code, lang),
            text=lambda pair: chosen(pair, lang),
            holds=lambda alert: holds_text(alert, lang),
            tile_of=lambda tile: tile_words(tile, lang),
            commune_of=lambda commune: commune_words(commune, lang),
            grouped=lambda number: grouped(number, lang),
            **more,
        )

    def live(self, lang: Lang, now: Published, rules: FilesState) -> bytes:
        """What a stream carries: state and words of every tile, and the parts that change, as HTML."""
        wall = now.wall
        return msgspec.json.encode(
            {
                "clock": wall.clock,
                "date": date_text(wall.date, lang),
                "mode": wall.mode,
                "rate": number_text(wall.rate, lang),
                "firing": wall.firing,
                "unjudged": wall.totals.get("unjudged", 0),
                "tiles": _tiles(wall, lang),
                "alerts": self.render("alerts.html", lang, now, rules),
                "totals": self.render("totals.html", lang, now, rules),
                "rules": self.render("rules.html", lang, now, rules).strip(),
            }
        )


def by_commune(wall: Wall) -> bool:
    """Whether the wall has a tile for each commune, not for each school."""
    return sum(len(commune.schools) for commune in wall.communes) > TILES_AT_MOST


def chosen(pair: dict[str, str], lang: Lang) -> str:
    """A text in the language asked for, or what there is."""
    return pair.get(lang) or pair.get("vi") or next(iter(pair.values()), "")


def grouped(number: int, lang: Lang) -> str:
    """An integer with its thousands apart: 30.789, in English 30,789."""
    return f"{number:,}".replace(",", "," if lang == "en" else ".")


def number_text(value: float | None, lang: Lang) -> str:
    """A number of a table: whole from 100 on, else with one decimal if it has any; None: a dash."""
    if value is None:
        return "–"
    if value >= 100 or value == int(value):
        return grouped(round(value), lang)
    return f"{value:.1f}".replace(".", "." if lang == "en" else ",")


def date_text(date: str, lang: Lang) -> str:
    """A civil date as people say it: "Thứ Hai 07/09/2026"; nothing before there is one."""
    if not date:
        return ""
    known = dt.date.fromisoformat(date)
    return f"{WEEKDAYS[known.weekday()][lang == 'en']} {known:%d/%m/%Y}"


def holds_text(alert: Alert, lang: Lang) -> str:
    """How many alerts it holds: "gồm 38 trường"."""
    return word("holds_schools" if alert.of_schools else "holds_alerts", lang).format(alert.holds)


def tile_words(tile: Tile, lang: Lang) -> tuple[str, str]:
    """A school's state, and the words below its name."""
    text = word(tile.state, lang)
    if tile.state in {"filling", "late"}:
        text = f"{tile.closed}/{tile.due}" if tile.state == "filling" else f"{text} {tile.closed}/{tile.due}"
    elif tile.since:
        text += f" {word('since', lang)} {tile.since}"
    return tile.state, text


def commune_words(commune: Commune, lang: Lang) -> tuple[str, str, str]:
    """A commune's state, its grave states in words, and the same as marks over a bar of its schools."""
    grave = [(name, commune.totals[name]) for name in GRAVE if commune.totals.get(name)]
    text = " · ".join(f"{word(name, lang)} {count}" for name, count in grave)
    if commune.since:
        text += f" {word('since', lang)} {commune.since}"
    done = f"{commune.closed * 100 // commune.due} %" if commune.due else word("no_session", lang)
    marks = "".join(f'<u class="{name}">{count}</u>' for name, count in grave)
    bar = share_svg([(name, commune.totals.get(name, 0)) for name in STATES])
    return commune_state(commune), f"{text} {done}".strip(), f"{marks}<s>{done}</s>{bar}"


def commune_state(commune: Commune) -> str:
    """The gravest state of many of its schools; ``some`` where only a few need somebody."""
    least = MANY * len(commune.schools)
    many = next((name for name in GRAVE if commune.totals.get(name, 0) >= least), "")
    if many:
        return many
    if any(commune.totals.get(name) for name in GRAVE):
        return "some"
    return commune.state


def _tiles(wall: Wall, lang: Lang) -> dict[str, tuple[str, ...]]:
    if by_commune(wall):
        return {commune.code: commune_words(commune, lang) for commune in wall.communes}
    return {tile.code: tile_words(tile, lang) for commune in wall.communes for tile in commune.schools}


def _ticks(wall: Wall) -> tuple[int, ...]:
    start, end = span_of(wall.minute)
    return tuple(range(start, end + 1, 30))


def _progress(wall: Wall, lang: Lang) -> str:
    labels = (f"{word('rolls', lang)}: {wall.closed}/{wall.due}", word("deadline", lang))
    return progress_svg(wall.progress, wall.due, wall.minute, wall.deadline, labels)
