"""sqlglot's tree → our typed tree. Problems are collected, so that one look shows all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlglot import exp

from rules.listing import listing
from rules.sql.problems import Problem
from rules.sql.source import Source
from rules.sql.text import to_sql
from rules.sql.tree import (
    Arithmetic,
    ArithmeticOp,
    Between,
    Call,
    Case,
    Comparison,
    ComparisonOp,
    FunctionName,
    In,
    IsNull,
    Literal,
    Logical,
    Name,
    Negative,
    Node,
    Not,
    Type,
)
from schemas.nearest import nearest

FUNCTIONS = ("abs", "coalesce", "greatest", "if", "least", "nullif", "round")
AGGREGATES = ("count", "sum", "min", "max", "distinct", "avg")

_WORDS: dict[Type, str] = {
    "number": "a number",
    "text": "text",
    "bool": "a condition",
    "null": "null",
    "any": "a value",
}
_OPEN: tuple[Type, ...] = ("null", "any")
_ARITHMETIC: dict[type[exp.Expr], ArithmeticOp] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
}
_COMPARISONS: dict[type[exp.Expr], ComparisonOp] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_VALUE_CALLS: dict[type[exp.Expr], FunctionName] = {
    exp.Coalesce: "coalesce",
    exp.Greatest: "greatest",
    exp.Least: "least",
    exp.Nullif: "nullif",
}


class Typing:
    """One walk over one expression; ``problems`` grows as it goes."""

    def __init__(self, source: Source, names: Mapping[str, Type] | None) -> None:
        self.source = source
        self.names = names
        self.problems: list[Problem] = []
        self._build: dict[type[exp.Expr], Callable[[exp.Expr], Node]] = {
            exp.Literal: self._literal,
            exp.Boolean: self._boolean,
            exp.Null: self._null,
            exp.Column: self._name,
            exp.Neg: self._negative,
            exp.And: self._and,
            exp.Or: self._or,
            exp.Not: self._not,
            exp.In: self._in,
            exp.Between: self._between,
            exp.Is: self._is,
            exp.Case: self._case,
            exp.If: self._if,
            exp.Abs: self._abs,
            exp.Round: self._round,
        }

    def problem(self, offset: int, message: str, expected: str = "", suggestion: str = "") -> None:
        """Note one thing that is wrong."""
        self.problems.append(Problem(offset, message, expected, suggestion))

    def want(self, node: Node, want: Type | None) -> None:
        """The whole expression must have this type."""
        if want is not None and node.type not in (want, "any") and not self.problems:
            self.problem(node.offset, f"this is {_WORDS[node.type]}", _WORDS[want])

    def node(self, tree: exp.Expr) -> Node:
        """The typed node of a sqlglot node; after a problem a stand-in of type null."""
        kind = type(tree)
        if kind is exp.Paren:
            return self.node(tree.this)
        if kind in _ARITHMETIC:
            return self._arithmetic(tree, _ARITHMETIC[kind])
        if kind in _COMPARISONS:
            return self._comparison(tree, _COMPARISONS[kind])
        if kind in _VALUE_CALLS:
            return self._value_call(tree, _VALUE_CALLS[kind])
        build = self._build.get(kind)
        return build(tree) if build else self._refuse(tree)

    # --- leaves ---------------------------------------------------------------------------------

    def _literal(self, tree: exp.Expr) -> Node:
        offset = self.source.start(tree)
        text = str(tree.this)
        if tree.args.get("is_string"):
            return Literal(text, "text", offset)
        number = float(text)
        whole = number.is_integer() and abs(number) < 2**53
        return Literal(int(number) if whole else number, "number", offset)

    def _boolean(self, tree: exp.Expr) -> Node:
        return Literal(bool(tree.this), "bool", self.source.word(tree, ("true", "false")))

    def _null(self, tree: exp.Expr) -> Node:
        return Literal(None, "null", self.source.word(tree, ("null",)))

    def _name(self, tree: exp.Expr) -> Node:
        offset = self.source.start(tree)
        parts = [part for part in (tree.args.get(key) for key in ("catalog", "db", "table", "this")) if part]
        name = ".".join(str(part.name) for part in parts)
        if any(part.args.get("quoted") for part in parts):
            self.problem(offset, f'"{name}" in double quotes is a name in SQL', f"'{name}' for text")
            return _stand_in(offset)
        if self.names is None:
            return Name(name, "any", offset)
        if name not in self.names:
            self._unknown_name(offset, name, self.names)
            return _stand_in(offset)
        return Name(name, self.names[name], offset)

    def _unknown_name(self, offset: int, name: str, names: Mapping[str, Type]) -> None:
        parts = [known for known in names if known.startswith(f"{name}.")]
        if parts:
            self.problem(offset, f"{name!r} has several values", listing(parts))
            return
        close = nearest(name, names)
        expected = "" if close else (listing(sorted(names)) or "no name: none is known here")
        self.problem(offset, f"{name!r} is not known here", expected, close)

    # --- operators ------------------------------------------------------------------------------

    def _negative(self, tree: exp.Expr) -> Node:
        operand = self.node(tree.this)
        self._need(operand, "number", "'-'")
        return Negative(operand, max(operand.offset - 1, 0))

    def _arithmetic(self, tree: exp.Expr, op: ArithmeticOp) -> Node:
        left, right = self.node(tree.this), self.node(tree.expression)
        for operand in (left, right):
            self._need(operand, "number", f"'{op}'")
        return Arithmetic(op, left, right, left.offset)

    def _comparison(self, tree: exp.Expr, op: ComparisonOp) -> Node:
        left, right = self.node(tree.this), self.node(tree.expression)
        if left.type == "bool" and right.type == "number" and isinstance(left, Comparison):
            self.problem(left.offset, "comparisons cannot be chained", "two comparisons joined by 'and'")
        elif left.type == right.type == "bool" and op not in ("=", "<>"):
            self.problem(left.offset, f"conditions have no order, so '{op}' has no meaning", "'=' or '<>'")
        else:
            self._same(left, right)
        return Comparison(op, left, right, left.offset)

    def _and(self, tree: exp.Expr) -> Node:
        return self._logical(tree, "and")

    def _or(self, tree: exp.Expr) -> Node:
        return self._logical(tree, "or")

    def _logical(self, tree: exp.Expr, op: str) -> Node:
        left, right = self.node(tree.this), self.node(tree.expression)
        for operand in (left, right):
            self._need(operand, "bool", f"'{op}'")
        return Logical("and" if op == "and" else "or", left, right, left.offset)

    def _not(self, tree: exp.Expr) -> Node:
        operand = self.node(tree.this)
        self._need(operand, "bool", "'not'")
        return Not(operand, operand.offset)

    def _in(self, tree: exp.Expr) -> Node:
        if any(tree.args.get(key) for key in ("query", "unnest", "field", "is_global")):
            return self._refuse(tree)
        subject = self.node(tree.this)
        items = tuple(self.node(item) for item in tree.expressions)
        if not items:
            self.problem(subject.offset, "'in' needs a list with at least one value", "in ('a', 'b')")
        for item in items:
            self._same(subject, item, at=item)
        return In(subject, items, subject.offset)

    def _between(self, tree: exp.Expr) -> Node:
        subject = self.node(tree.this)
        low, high = self.node(tree.args["low"]), self.node(tree.args["high"])
        if subject.type == "bool":
            self._need(subject, "number", "'between'")
        else:
            self._same(subject, low, at=low)
            self._same(subject, high, at=high)
        return Between(subject, low, high, subject.offset)

    def _is(self, tree: exp.Expr) -> Node:
        if not isinstance(tree.expression, exp.Null):
            offset = self.source.start(tree)
            self.problem(offset, "'is' only tests for null", "'is null', 'is not null' or '='")
            return _stand_in(offset)
        subject = self.node(tree.this)
        return IsNull(subject, subject.offset)

    # --- case and functions -----------------------------------------------------------------------

    def _case(self, tree: exp.Expr) -> Node:
        offset = self.source.word(tree, ("case",))
        subject = self.node(tree.this) if tree.this else None
        branches = []
        for arm in tree.args.get("ifs") or []:
            condition = self.node(arm.this)
            if subject is None:
                self._need(condition, "bool", "'when'")
            else:
                self._same(subject, condition, at=condition)
                condition = Comparison("=", subject, condition, condition.offset)
            branches.append((condition, self.node(arm.args["true"])))
        default = self._default(tree.args.get("default"), offset)
        kind = self._common([value for _, value in branches] + [default])
        return Case(tuple(branches), default, kind, offset)

    def _if(self, tree: exp.Expr) -> Node:
        condition = self.node(tree.this)
        offset = self.source.call(condition.offset)
        self._need(condition, "bool", "'if'")
        value = self.node(tree.args["true"])
        default = self._default(tree.args.get("false"), offset)
        return Case(((condition, value),), default, self._common([value, default]), offset)

    def _default(self, tree: exp.Expr | None, offset: int) -> Node:
        return self.node(tree) if tree is not None else Literal(None, "null", offset)

    def _value_call(self, tree: exp.Expr, function: FunctionName) -> Node:
        parts = [tree.this, tree.expression] if function == "nullif" else [tree.this, *tree.expressions]
        args = [self.node(part) for part in parts]
        if function in ("greatest", "least"):
            for arg in args:
                self._need(arg, "number", f"'{function}'")
        return Call(function, tuple(args), self._common(args), self.source.start(tree))

    def _abs(self, tree: exp.Expr) -> Node:
        operand = self.node(tree.this)
        self._need(operand, "number", "'abs'")
        return Call("abs", (operand,), "number", self.source.start(tree))

    def _round(self, tree: exp.Expr) -> Node:
        operand = self.node(tree.this)
        self._need(operand, "number", "'round'")
        decimals = self.node(tree.args["decimals"]) if tree.args.get("decimals") else Literal(0, "number")
        if not (
            isinstance(decimals, Literal) and isinstance(decimals.value, int) and 0 <= decimals.value <= 9
        ):
            self.problem(
                decimals.offset, "'round' needs a fixed number of decimals", "a whole number from 0 to 9"
            )
        if tree.args.get("truncate"):
            self.problem(self.source.start(tree), "'round' takes one or two values", "round(x, 1)")
        return Call("round", (operand, decimals), "number", self.source.start(tree))

    # --- rules of types ---------------------------------------------------------------------------

    def _need(self, node: Node, want: Type, user: str) -> None:
        if node.type not in (want, *_OPEN):
            message = f"{user} needs {_WORDS[want]}, but {to_sql(node)} is {_WORDS[node.type]}"
            self.problem(node.offset, message)

    def _same(self, left: Node, right: Node, at: Node | None = None) -> None:
        if left.type in _OPEN or right.type in _OPEN or left.type == right.type:
            return
        message = (
            f"{to_sql(left)} is {_WORDS[left.type]} and {to_sql(right)} is {_WORDS[right.type]}:"
            " they cannot be compared"
        )
        self.problem((at or left).offset, message)

    def _common(self, nodes: Sequence[Node]) -> Type:
        typed = [node for node in nodes if node.type not in _OPEN]
        if not typed:
            return "any" if any(node.type == "any" for node in nodes) else "null"
        first = typed[0]
        for other in typed[1:]:
            if other.type != first.type:
                message = (
                    f"{to_sql(other)} is {_WORDS[other.type]}, but {to_sql(first)} is {_WORDS[first.type]}:"
                    " all results need one type"
                )
                self.problem(other.offset, message)
        return first.type

    def _refuse(self, tree: exp.Expr) -> Node:
        offset = self.source.start(tree)
        if _is_function(tree):
            word = self.source.word_at(offset) or tree.key
            if word.lower() in AGGREGATES:
                message = f"{word!r} is an aggregate and stands alone"
                self.problem(offset, message, "a measure of its own, used here by its name")
            else:
                close = nearest(word, FUNCTIONS)
                expected = "" if close else listing(FUNCTIONS)
                self.problem(offset, f"function {word!r} is not known", expected, close)
        else:
            word = tree.key.replace("_", " ").upper()
            self.problem(offset, f"{word} is not part of the rule language")
        return _stand_in(offset)


def _is_function(tree: exp.Expr) -> bool:
    return isinstance(tree, exp.Func) and tree.key not in ("cast", "trycast")


def _stand_in(offset: int) -> Node:
    return Literal(None, "null", offset)
