"""``oncall.yaml`` → `OncallRoster`, or all of its faults at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from yaml.nodes import Node, ScalarNode

from oncall.document import Document
from oncall.model import (
    SEVERITIES,
    Assignment,
    Channel,
    ChannelKind,
    Language,
    OncallRoster,
    Person,
    Policy,
    Target,
)
from schemas.errors import DocumentError, Fault
from schemas.nearest import nearest

DEFAULT_TARGET = "duty-officer"
DEFAULT_POLICIES: dict[str, Policy] = {"P1": "push", "P2": "push", "P3": "push", "P4": "digest"}
KINDS = ("webhook", "apprise")
LANGUAGES = ("vi", "en")
POLICIES = ("push", "digest")
WEBHOOK_URL = re.compile(r"https?://(\[[0-9a-f:.]+\]|[^\s/:?#\[\]]+)(:\d{1,5})?([/?#]\S*)?")


def load_roster(path: Path) -> OncallRoster:
    """Read ``oncall.yaml``. Raises `DocumentError` with all faults, also where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DocumentError([Fault(str(path), 0, 0, f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise DocumentError([Fault(str(path), 0, 0, "is not UTF-8", "UTF-8 text")]) from error
    return parse_roster(text, str(path))


def parse_roster(text: str, file: str = "oncall.yaml") -> OncallRoster:
    """The roster a YAML text describes. Raises `DocumentError` with all faults, sorted by place."""
    document = Document(text, file)
    roster = _roster(document, document.root) if document.root is not None else None
    if document.faults or roster is None:
        raise DocumentError(document.faults)
    return roster


def _roster(document: Document, root: Node) -> OncallRoster:
    known = ("default", "severities", "people", "targets")
    fields = document.fields(root, "the roster", known, ("people", "targets"))
    people = _people(document, fields["people"]) if "people" in fields else {}
    targets = _targets(document, fields["targets"], people) if "targets" in fields else {}
    policies = _policies(document, fields["severities"]) if "severities" in fields else {}
    default = document.text(fields["default"], "default") if "default" in fields else DEFAULT_TARGET
    if "targets" in fields:
        _check_default(document, fields.get("default", fields["targets"]), default, targets)
    return OncallRoster(people, targets, default, {**DEFAULT_POLICIES, **policies})


def _check_default(document: Document, node: Node, default: str, targets: dict[str, Target]) -> None:
    target = targets.get(default)
    if target is None:
        message = f"the default target {default!r} is not among the targets"
        document.fault(node, message, suggestion=nearest(default, targets))
    elif not any(not item.only and not item.severities and item.people for item in target.assignments):
        message = f"the default target {default!r} has nobody without 'only' or 'severities'"
        document.fault(node, message, "somebody who is told when nobody else is")


def _policies(document: Document, node: Node) -> dict[str, Policy]:
    fields = document.fields(node, "severities", SEVERITIES, ())
    read = {name: document.choice(value, name, POLICIES) for name, value in fields.items()}
    return {name: cast(Policy, policy) for name, policy in read.items() if policy}


def _people(document: Document, node: Node) -> dict[str, Person]:
    people: dict[str, Person] = {}
    for item in document.sequence(node, "people"):
        person = _person(document, item)
        if person.code in people:
            document.fault(item, f"the code {person.code!r} belongs to two people")
        elif person.code:
            people[person.code] = person
    return people


def _person(document: Document, node: Node) -> Person:
    known = ("code", "name", "languages", "channels")
    fields = document.fields(node, "a person", known, ("code", "name", "channels"))
    code = document.text(fields["code"], "code") if "code" in fields else ""
    name = document.text(fields["name"], "name") if "name" in fields else ""
    channels = _channels(document, fields["channels"], code) if "channels" in fields else ()
    languages = _languages(document, fields["languages"]) if "languages" in fields else ("vi", "en")
    return Person(code, name, channels, cast(tuple[Language, ...], languages))


def _languages(document: Document, node: Node) -> tuple[str, ...]:
    words = document.texts(node, "languages")
    for word, place in words:
        if word not in LANGUAGES:
            document.fault(place, f"a language is {word!r}", f"one of {', '.join(LANGUAGES)}")
    return tuple(word for word, _ in words) or LANGUAGES


def _channels(document: Document, node: Node, person: str) -> tuple[Channel, ...]:
    items = document.sequence(node, "channels")
    if not items:
        document.fault(node, f"the person {person!r} has no channel", "at least one")
    channels: dict[str, Channel] = {}
    for item in items:
        channel = _channel(document, item)
        if channel.name in channels:
            message = f"the person {person!r} has two channels named {channel.name!r}"
            document.fault(item, message, "a 'name' for each")
        elif channel.name:
            channels[channel.name] = channel
    return tuple(channels.values())


def _channel(document: Document, node: Node) -> Channel:
    fields = document.fields(node, "a channel", ("kind", "name", "url", "secret"), ("kind", "url"))
    kind = document.choice(fields["kind"], "kind", KINDS) if "kind" in fields else ""
    name = document.text(fields["name"], "name") if "name" in fields else kind
    url = document.text(fields["url"], "url") if "url" in fields else ""
    secret = document.text(fields["secret"], "secret") if "secret" in fields else ""
    if kind == "webhook" and url:
        _check_webhook(document, node, fields, url)
    elif kind == "apprise" and "secret" in fields:
        document.fault(fields["secret"], "an apprise channel has no 'secret'", "what is secret in its url")
    if url and "://" not in url:
        document.fault(fields["url"], "url has no scheme", "an address such as https://…")
    return Channel(name, cast(ChannelKind, kind), url, secret)


def _check_webhook(document: Document, node: Node, fields: dict[str, Node], url: str) -> None:
    if "secret" not in fields:
        document.fault(node, "a webhook lacks 'secret'", "the key with which its pushes are signed")
    if "://" in url and not WEBHOOK_URL.fullmatch(url):
        document.fault(fields["url"], "the url of a webhook is not usable", "http:// or https:// with a host")


def _targets(document: Document, node: Node, people: dict[str, Person]) -> dict[str, Target]:
    targets: dict[str, Target] = {}
    for key, value in document.mapping(node, "targets"):
        what = f"the target {key.value!r}"
        items = [value] if isinstance(value, ScalarNode) else document.sequence(value, what)
        assignments = tuple(_assignment(document, item, what, people) for item in items)
        targets[key.value] = Target(key.value, assignments)
    return targets


def _assignment(document: Document, node: Node, what: str, people: dict[str, Person]) -> Assignment:
    if isinstance(node, ScalarNode):
        return Assignment(_codes(document, node, what, people))
    fields = document.fields(node, f"an entry of {what}", ("people", "only", "severities"), ("people",))
    codes = _codes(document, fields["people"], "people", people) if "people" in fields else ()
    only = _only(document, fields["only"]) if "only" in fields else {}
    severities = document.texts(fields["severities"], "severities") if "severities" in fields else []
    for word, place in severities:
        if word not in SEVERITIES:
            document.fault(place, f"a severity is {word!r}", f"one of {', '.join(SEVERITIES)}")
    return Assignment(codes, only, frozenset(word for word, _ in severities))


def _codes(document: Document, node: Node, what: str, people: dict[str, Person]) -> tuple[str, ...]:
    codes = document.texts(node, what)
    for code, place in codes:
        if code not in people:
            document.fault(place, f"there is no person {code!r}", suggestion=nearest(code, people))
    return tuple(code for code, _ in codes)


def _only(document: Document, node: Node) -> dict[str, frozenset[str]]:
    restrictions: dict[str, frozenset[str]] = {}
    for key, value in document.mapping(node, "only"):
        values = document.texts(value, f"only.{key.value}")
        if not values:
            document.fault(value, f"only.{key.value} is empty", "at least one value")
        restrictions[key.value] = frozenset(word for word, _ in values)
    return restrictions
