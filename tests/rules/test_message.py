from __future__ import annotations

import pytest

from rules.message import check, render
from rules.model import Text

AT = 1_788_741_300_000  # 2026-09-07 00:35 UTC


def both(template: str, **values: float | str | None) -> tuple[str, str]:
    texts = render(Text(template, template), values)
    return texts["vi"], texts["en"]


@pytest.mark.parametrize(
    ("template", "values", "vi", "en"),
    [
        ("{x}", {"x": 1234567}, "1.234.567", "1,234,567"),
        ("{x}", {"x": 12.0}, "12", "12"),
        ("{x}", {"x": 0.125}, "0,13", "0.13"),
        ("{x}", {"x": -0.001}, "0", "0"),
        ("{x}", {"x": -1.5}, "-1,5", "-1.5"),
        ("{x:.1}", {"x": 2.0}, "2,0", "2.0"),
        ("{x:.0}", {"x": 2.5}, "3", "3"),
        ("{x:%}", {"x": 0.125}, "12,5 %", "12.5%"),
        ("{x:%}", {"x": 0.2}, "20 %", "20%"),
        ("{x:%}", {"x": 0.07}, "7 %", "7%"),
        ("{x:%0}", {"x": 0.125}, "13 %", "13%"),
        ("{x:%2}", {"x": 0.125}, "12,50 %", "12.50%"),
        ("{x:%}", {"x": 12.5}, "1.250 %", "1,250%"),
        ("{x}", {"x": None}, "–", "–"),
        ("{x:%}", {}, "–", "–"),
        ("{school}", {"school": "TH-A"}, "TH-A", "TH-A"),
        ("{school_name}", {"school": "TH-A"}, "TH-A", "TH-A"),
        ("{school_name}", {"school": "TH-A", "school_name": "Tiểu học A"}, "Tiểu học A", "Tiểu học A"),
        ("{commune}", {"commune": ""}, "–", "–"),
        ("{at:time} {at:date}", {"at": AT}, "07:35 07/09/2026", "07:35 07/09/2026"),
        ("{since}", {"since": AT}, "07:35 07/09/2026", "07:35 07/09/2026"),
        ("{{{x}}}", {"x": 1}, "{1}", "{1}"),
        ("{usual.mean:%}", {"usual.mean": 0.05}, "5 %", "5%"),
        ("no placeholder", {}, "no placeholder", "no placeholder"),
    ],
)
def test_values_as_each_language_writes_them(
    template: str, values: dict[str, float | str | None], vi: str, en: str
) -> None:
    assert both(template, **values) == (vi, en)


def test_each_language_has_its_own_text() -> None:
    assert render(Text("vắng {n}", "{n} absent"), {"n": 1.5}) == {"vi": "vắng 1,5", "en": "1.5 absent"}


@pytest.mark.parametrize(
    ("template", "problems"),
    [
        ("{rate:%} {school} {at:time} {{x}}", []),
        ("{rat}", ["2: placeholder 'rat' is not known; did you mean 'rate'?"]),
        ("{zzz}", ["2: placeholder 'zzz' is not known; expected at, rate, school or since"]),
        ("{}", ["2: placeholder '' is not known; expected at, rate, school or since"]),
        ("{school:%}", ["2: '%' is not a format for {school}; expected {school}"]),
        ("{at:%}", ["2: '%' is not a format for {at}; expected {at}, {at:time} or {at:date}"]),
        ("{rate", ["1: a single '{' stands here; expected {{ for a brace itself"]),
        ("rate}", ["5: a single '}' stands here; expected }} for a brace itself"]),
        (
            "{rate:time}",
            [
                (
                    "2: 'time' is not a format for {rate}; expected {rate}, {rate:%}, {rate:%0}, {rate:%1},"
                    " {rate:%2}, {rate:.0}, {rate:.1}, {rate:.2} or {rate:.3}"
                )
            ],
        ),
    ],
)
def test_templates_are_checked(template: str, problems: list[str]) -> None:
    assert [str(problem) for problem in check(template, ["rate"], ["school"])] == problems
