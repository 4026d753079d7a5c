"""YAML as nodes with places: what a rule document is read from.

Keys that are unknown or repeated are faults, values keep the place of each of their characters,
and all faults of a document are collected in one `Report`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from rules.listing import listing
from rules.sql import ExpressionError
from schemas.errors import DocumentError, Fault
from schemas.nearest import nearest

MAX_BYTES = 256 * 1024
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp")
)


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar value as text. ``null`` (or nothing) is the empty text."""

    text: str
    node: yaml.ScalarNode = field(compare=False, repr=False)
    source: str = field(compare=False, repr=False)
    """The whole document."""

    def place(self, offset: int = 0) -> Place:
        """Where the character ``offset`` of the value stands in the document."""
        return _place_inside(self.node, self.source, offset)


@dataclass(slots=True)
class Report:
    """Faults of one document, and what they have in common."""

    file: str
    source: str
    rule: str = ""
    faults: list[Fault] = field(default_factory=list)

    def fault(self, place: Place, message: str, expected: str = "", suggestion: str = "") -> None:
        """Note one fault."""
        found = Fault(self.file, place.line, place.column, message, expected, suggestion, self.rule)
        if found not in self.faults:
            self.faults.append(found)

    def has_fault_at(self, place: Place) -> bool:
        """Whether something is wrong there already."""
        return any((fault.line, fault.column) == (place.line, place.column) for fault in self.faults)

    def unknown(self, place: Place, message: str, word: str, known: Iterable[str]) -> None:
        """Note a word that is not known: with its nearest spelling, or else all right ones."""
        words = list(known)
        close = nearest(word, words)
        self.fault(place, message, "" if close else listing(words), close)

    def problems(self, scalar: Scalar, error: ExpressionError, shift: int = 0) -> None:
        """Note what is wrong inside an expression that begins ``shift`` characters into a scalar."""
        for problem in error.problems:
            place = scalar.place(problem.offset + shift)
            self.fault(place, problem.message, problem.expected, problem.suggestion)

    def result(self) -> None:
        """Raise `DocumentError` when there are faults."""
        if self.faults:
            raise DocumentError(self.faults)


def place_of(node: yaml.Node) -> Place:
    """Where a node begins."""
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def compose(text: str, file: str) -> yaml.Node:
    """The root node of one YAML document. Raises `DocumentError`."""
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise DocumentError([Fault(file, 1, 1, f"the file has more than {MAX_BYTES // 1024} KiB")])
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise DocumentError([_yaml_fault(error, file)]) from error
    except yaml.YAMLError as error:
        raise DocumentError([Fault(file, 1, 1, f"this is not YAML: {error}".splitlines()[0])]) from error
    except RecursionError as error:
        raise DocumentError([Fault(file, 1, 1, "the document is nested too deeply")]) from error
    if node is None:
        raise DocumentError([Fault(file, 1, 1, "the document is empty", "a rule: its keys and values")])
    _refuse_aliases(node, file)
    return node


def _yaml_fault(error: yaml.MarkedYAMLError, file: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if "single document" in (error.context or ""):
        return Fault(file, line, column, "a second document begins here", "one rule in one file")
    return Fault(file, line, column, f"this is not YAML: {error.problem or error.context}")


def _refuse_aliases(root: yaml.Node, file: str) -> None:
    faults: list[Fault] = []
    seen: set[int] = set()
    todo = [root]
    while todo:
        node = todo.pop()
        if id(node) in seen:
            place = place_of(node)
            message = "this value is used again by an alias (*name); aliases are not allowed"
            faults.append(Fault(file, place.line, place.column, message, "the value written out"))
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            todo += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value
        elif node.tag not in _PLAIN_TAGS:
            place = place_of(node)
            faults.append(Fault(file, place.line, place.column, f"the tag {node.tag} is not allowed"))
    if faults:
        raise DocumentError(list(dict.fromkeys(faults)))


def scalar(node: yaml.Node, report: Report, what: str) -> Scalar | None:
    """The node as a scalar, or a fault and None."""
    if isinstance(node, yaml.ScalarNode):
        null = node.tag.endswith(":null") and node.style is None
        return Scalar("" if null else str(node.value), node, report.source)
    shape = "a list" if isinstance(node, yaml.SequenceNode) else "a group of keys"
    report.fault(place_of(node), f"{what} is {shape}", "a single value, in quotes if it begins with { or [")
    return None


def scalars(node: yaml.Node, report: Report, what: str) -> tuple[Scalar, ...]:
    """The node as a list of scalars."""
    if not isinstance(node, yaml.SequenceNode):
        report.fault(place_of(node), f"{what} is not a list", "[a, b]")
        return ()
    return tuple(item for part in node.value if (item := scalar(part, report, f"an entry of {what}")))


def items(node: yaml.Node, report: Report, what: str) -> Sequence[yaml.Node]:
    """The nodes of a list."""
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    report.fault(place_of(node), f"{what} is not a list", "entries that begin with '-'")
    return []


def entries(
    node: yaml.Node, report: Report, what: str, allowed: Sequence[str] | None = None
) -> Mapping[str, tuple[Scalar, yaml.Node]]:
    """Keys and values of a mapping; unknown (unless ``allowed`` is None) and repeated keys are faults."""
    if not isinstance(node, yaml.MappingNode):
        report.fault(place_of(node), f"{what} is not a group of keys", "key: value")
        return {}
    found: dict[str, tuple[Scalar, yaml.Node]] = {}
    for key_node, value in node.value:
        key = scalar(key_node, report, f"a key of {what}")
        if key is None:
            continue
        if key.text in found:
            first = found[key.text][0].place()
            report.fault(
                key.place(), f"{key.text!r} is here for the second time (first in line {first.line})"
            )
        elif allowed is not None and key.text not in allowed:
            report.unknown(key.place(), f"{key.text!r} is not a key of {what}", key.text, allowed)
        else:
            found[key.text] = key, value
    return found


def _place_inside(node: yaml.ScalarNode, source: str, offset: int) -> Place:
    raw = _raw_index(node, source, offset)
    line_start = source.rfind("\n", 0, raw) + 1
    return Place(source.count("\n", 0, raw) + 1, raw - line_start + 1)


def _raw_index(node: yaml.ScalarNode, source: str, offset: int) -> int:
    """Follow the value through the raw text: quotes, folded lines and indentation are stepped over."""
    raw = node.start_mark.index
    if node.style in ("|", ">"):
        raw = source.find("\n", raw) + 1
    elif node.style in ("'", '"'):
        raw += 1
    value: str = node.value
    for index in range(min(offset, len(value)) + 1):
        raw = _next_raw(node, source, raw, value[index] if index < len(value) else "")
        if index < offset:
            raw += _width(node, source, raw)
    return min(raw, max(node.end_mark.index - 1, node.start_mark.index)) if node.style else raw


def _next_raw(node: yaml.ScalarNode, source: str, raw: int, wanted: str) -> int:
    """Index of the raw text that stands for the next character of the value."""
    if wanted and not wanted.isspace():
        while raw < node.end_mark.index and source[raw].isspace():
            raw += 1
    return raw


def _width(node: yaml.ScalarNode, source: str, raw: int) -> int:
    """How much raw text stands for the character of the value at ``raw``."""
    if node.style == "'" and source.startswith("''", raw):
        return 2
    if node.style == '"' and source[raw : raw + 1] == "\\":
        return {"x": 4, "u": 6, "U": 10}.get(source[raw + 1 : raw + 2], 2)
    return 1
