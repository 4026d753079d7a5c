"""Reading YAML with places: every fault has its line and column, and none hides another."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from schemas.errors import Fault
from schemas.nearest import nearest

EMPTY_TAG = "tag:yaml.org,2002:null"


class Document:
    """A YAML text as nodes, and the faults found in it so far."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self.root = self._compose(text)

    def _compose(self, text: str) -> Node | None:
        try:
            root: Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            self.faults.append(Fault(self.file, *place, f"not YAML: {error.problem or error.context}"))
        except yaml.reader.ReaderError as error:
            before = text[: error.position]
            line, column = before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1
            self.faults.append(Fault(self.file, line, column, f"not YAML: {error.reason}"))
        else:
            if root is None:
                self.faults.append(Fault(self.file, 1, 1, "the file is empty", "a mapping"))
            return root
        return None

    def fault(self, node: Node, message: str, expected: str = "", suggestion: str = "") -> None:
        """Note a fault at a node."""
        mark = node.start_mark
        self.faults.append(Fault(self.file, mark.line + 1, mark.column + 1, message, expected, suggestion))

    def mapping(self, node: Node, what: str) -> list[tuple[ScalarNode, Node]]:
        """Key and value nodes of a mapping, without repeated keys, which are faults."""
        if not isinstance(node, MappingNode):
            self.fault(node, f"{what} is {_kind(node)}", "a mapping")
            return []
        seen: dict[str, Node] = {}
        pairs: list[tuple[ScalarNode, Node]] = []
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.fault(key, f"a key of {what} is {_kind(key)}", "a plain word")
            elif key.value in seen:
                first = seen[key.value].start_mark.line + 1
                self.fault(key, f"{what} has the key {key.value!r} twice (first in line {first})")
            else:
                seen[key.value] = key
                pairs.append((key, value))
        return pairs

    def fields(self, node: Node, what: str, known: Sequence[str], required: Sequence[str]) -> dict[str, Node]:
        """Values of a mapping whose keys are given: unknown and missing ones are faults."""
        found: dict[str, Node] = {}
        for key, value in self.mapping(node, what):
            if key.value in known:
                found[key.value] = value
            else:
                expected = f"one of {', '.join(known)}"
                self.fault(key, f"{what} has no key {key.value!r}", expected, nearest(key.value, known))
        if isinstance(node, MappingNode):
            for name in required:
                if name not in found:
                    self.fault(node, f"{what} lacks {name!r}")
        return found

    def sequence(self, node: Node, what: str) -> list[Node]:
        """Items of a list."""
        if not isinstance(node, SequenceNode):
            self.fault(node, f"{what} is {_kind(node)}", "a list")
            return []
        return list(node.value)

    def text(self, node: Node, what: str) -> str:
        """A scalar exactly as written (so ``001`` keeps its zeros); empty after a fault."""
        if not isinstance(node, ScalarNode) or node.tag == EMPTY_TAG or not node.value:
            self.fault(node, f"{what} is {_kind(node)}", "a text")
            return ""
        return str(node.value)

    def texts(self, node: Node, what: str) -> list[tuple[str, Node]]:
        """One scalar, or a list of them, each with its node; repeated ones are faults."""
        items = [node] if isinstance(node, ScalarNode) else self.sequence(node, what)
        read: dict[str, Node] = {}
        for item in items:
            value = self.text(item, f"an entry of {what}")
            if value and value in read:
                self.fault(item, f"{what} has {value!r} twice")
            elif value:
                read[value] = item
        return list(read.items())

    def choice(self, node: Node, what: str, known: Sequence[str]) -> str:
        """One of the known words; empty after a fault."""
        value = self.text(node, what)
        if value and value not in known:
            self.fault(node, f"{what} is {value!r}", f"one of {', '.join(known)}", nearest(value, known))
            return ""
        return value


def _kind(node: Node) -> str:
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    return "empty" if node.tag == EMPTY_TAG or not node.value else "a text"
