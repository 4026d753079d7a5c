from pathlib import Path

import pytest

from oncall import Channel, Person, load_roster, parse_roster
from schemas.errors import DocumentError
from tests.support.alerts import ROSTER

PERSON = "people: [{code: an, name: An, channels: [{kind: webhook, url: 'http://h/', secret: s}]}]\n"
REST = "targets: {duty-officer: an}\n"


def faults(text: str) -> list[str]:
    with pytest.raises(DocumentError) as raised:
        parse_roster(text)
    return [str(fault) for fault in raised.value.faults]


def person(channels: str, more: str = "") -> str:
    return f"people: [{{code: an, name: An, {more}channels: {channels}}}]\n{REST}"


def test_reads_people_targets_and_defaults() -> None:
    roster = parse_roster(ROSTER)
    assert roster.people["binh"] == Person(
        "binh",
        "Lê Văn Bình",
        (
            Channel("webhook", "webhook", "http://127.0.0.1:9/binh", "binh-secret"),
            Channel("apprise", "apprise", "json://127.0.0.1:9/binh"),
        ),
        ("en",),
    )
    assert roster.people["an"].languages == ("vi", "en")
    assert roster.default == "duty-officer"
    assert roster.targets["principal"].people({"school": "001"}, "P2") == ("binh",)
    assert roster.targets["principal"].people({"school": "003"}, "P2") == ()
    assert roster.targets["principal"].people({"commune": "001"}, "P2") == ()
    assert roster.targets["leader"].people({}, "P1") == ("chi",)
    assert roster.targets["leader"].people({}, "P2") == ()
    assert [roster.policy(severity) for severity in ("P1", "P2", "P3", "P4", "P9")] == [
        "push",
        "push",
        "push",
        "digest",
        "push",
    ]


def test_codes_keep_their_zeros_and_words_that_yaml_reads_otherwise() -> None:
    roster = parse_roster(PERSON + "targets: {duty-officer: [an, {people: an, only: {school: [001, no]}}]}\n")
    assert roster.targets["duty-officer"].assignments[1].only == {"school": frozenset({"001", "no"})}


def test_severities_can_be_set() -> None:
    roster = parse_roster(PERSON + REST + "severities: {P3: digest}\n")
    assert roster.severities == {"P1": "push", "P2": "push", "P3": "digest", "P4": "digest"}


def test_secrets_and_addresses_are_not_printed() -> None:
    text = repr(parse_roster(ROSTER))
    assert "binh-secret" not in text
    assert "127.0.0.1" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["oncall.yaml:1:1: the file is empty; expected a mapping"]),
        ("- a\n", ["oncall.yaml:1:1: the roster is a list; expected a mapping"]),
        ("a: [1\n", ["oncall.yaml:2:1: not YAML: expected ',' or ']', but got '<stream end>'"]),
        ("a: \x07\n", ["oncall.yaml:1:4: not YAML: special characters are not allowed"]),
        ("{}", ["oncall.yaml:1:1: the roster lacks 'people'", "oncall.yaml:1:1: the roster lacks 'targets'"]),
        (
            PERSON + REST + "tragets: {}\n",
            [
                (
                    "oncall.yaml:3:1: the roster has no key 'tragets'; "
                    "expected one of default, severities, people, targets; did you mean 'targets'?"
                )
            ],
        ),
        (PERSON + REST + REST, ["oncall.yaml:3:1: the roster has the key 'targets' twice (first in line 2)"]),
        (
            PERSON + "targets: {duty-officer: an, [a]: an}\n",
            ["oncall.yaml:2:29: a key of targets is a list; expected a plain word"],
        ),
        (
            PERSON + "targets: {duty-office: an}\n",
            [
                (
                    "oncall.yaml:2:10: the default target 'duty-officer' is not among the targets; "
                    "did you mean 'duty-office'?"
                )
            ],
        ),
        (
            "default: boss\n" + PERSON + "targets: {boss: [{people: an, severities: [P1]}]}\n",
            [
                (
                    "oncall.yaml:1:10: the default target 'boss' has nobody without 'only' or 'severities'; "
                    "expected somebody who is told when nobody else is"
                )
            ],
        ),
        (
            PERSON + "targets: {duty-officer: ann}\n",
            ["oncall.yaml:2:25: there is no person 'ann'; did you mean 'an'?"],
        ),
        (
            PERSON + "targets: {duty-officer: [an], x: [an, [an]]}\n",
            ["oncall.yaml:2:39: an entry of the target 'x' is a list; expected a mapping"],
        ),
        (
            PERSON + "targets: {duty-officer: an, x: {people: an}}\n",
            ["oncall.yaml:2:32: the target 'x' is a mapping; expected a list"],
        ),
        (
            PERSON + "targets: {duty-officer: an, x: [{people: [an, an]}]}\n",
            ["oncall.yaml:2:47: people has 'an' twice"],
        ),
        (
            PERSON + "targets: {duty-officer: an, x: [{only: {school: []}}]}\n",
            [
                "oncall.yaml:2:33: an entry of the target 'x' lacks 'people'",
                "oncall.yaml:2:49: only.school is empty; expected at least one value",
            ],
        ),
        (
            PERSON + "targets: {duty-officer: an, x: [{people: an, severities: P5}]}\n",
            ["oncall.yaml:2:58: a severity is 'P5'; expected one of P1, P2, P3, P4"],
        ),
        (
            PERSON + REST + "severities: {P3: digset}\n",
            ["oncall.yaml:3:18: P3 is 'digset'; expected one of push, digest; did you mean 'digest'?"],
        ),
        (person("[]"), ["oncall.yaml:1:41: the person 'an' has no channel; expected at least one"]),
        (
            person("[{kind: webhok, url: 'http://h/', secret: s}]"),
            ["oncall.yaml:1:49: kind is 'webhok'; expected one of webhook, apprise; did you mean 'webhook'?"],
        ),
        (
            person("[{kind: webhook, url: 'http://h/'}]"),
            ["oncall.yaml:1:42: a webhook lacks 'secret'; expected the key with which its pushes are signed"],
        ),
        (
            person("[{kind: webhook, url: 'ftp://h/', secret: s}]"),
            [
                (
                    "oncall.yaml:1:63: the url of a webhook is not usable; "
                    "expected http:// or https:// with a host"
                )
            ],
        ),
        (
            person("[{kind: webhook, url: 'h/x', secret: s}]"),
            ["oncall.yaml:1:63: url has no scheme; expected an address such as https://…"],
        ),
        (
            person("[{kind: webhook, url: 'http://h/', secret: }]"),
            ["oncall.yaml:1:83: secret is empty; expected a text"],
        ),
        (
            person("[{kind: apprise, url: 'json://h/', secret: s}]"),
            ["oncall.yaml:1:84: an apprise channel has no 'secret'; expected what is secret in its url"],
        ),
        (
            person("[{kind: apprise, url: 'json://h/'}, {kind: apprise, url: 'json://i/'}]"),
            [
                (
                    "oncall.yaml:1:77: the person 'an' has two channels named 'apprise'; "
                    "expected a 'name' for each"
                )
            ],
        ),
        (
            person("[{kind: apprise, url: 'json://h/'}]", "languages: [fr], "),
            ["oncall.yaml:1:43: a language is 'fr'; expected one of vi, en"],
        ),
        (
            "people:\n"
            + 2 * "- {code: an, name: An, channels: [{kind: apprise, url: 'json://h/'}]}\n"
            + REST,
            ["oncall.yaml:3:3: the code 'an' belongs to two people"],
        ),
        (
            "people: [{code: an, nam: An}]\n" + REST,
            [
                "oncall.yaml:1:10: a person lacks 'channels'",
                "oncall.yaml:1:10: a person lacks 'name'",
                (
                    "oncall.yaml:1:21: a person has no key 'nam'; "
                    "expected one of code, name, languages, channels; did you mean 'name'?"
                ),
            ],
        ),
    ],
)
def test_each_fault_has_its_place_and_words(text: str, expected: list[str]) -> None:
    assert faults(text) == expected


def test_all_faults_come_at_once_sorted_by_place() -> None:
    text = "severities: {P7: push}\npeople: [{code: an}]\ntargets: {duty-officer: bn}\n"
    assert faults(text) == [
        "oncall.yaml:1:14: severities has no key 'P7'; expected one of P1, P2, P3, P4",
        "oncall.yaml:2:10: a person lacks 'channels'",
        "oncall.yaml:2:10: a person lacks 'name'",
        "oncall.yaml:3:25: there is no person 'bn'",
    ]


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "oncall.yaml"
    path.write_text(ROSTER, encoding="utf-8")
    assert load_roster(path) == parse_roster(ROSTER)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    with pytest.raises(DocumentError) as raised:
        load_roster(path)
    assert str(raised.value) == f"{path}:0:0: cannot be read: No such file or directory"
    path.write_bytes(b"people: \xff")
    with pytest.raises(DocumentError) as raised:
        load_roster(path)
    assert str(raised.value) == f"{path}:0:0: is not UTF-8; expected UTF-8 text"
