"""An expression's text as sqlglot reads it, and where its parts begin."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import cached_property

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from rules.sql.problems import ExpressionError, Problem

MAX_LENGTH = 4000
MAX_DEPTH = 32
MAX_TOKENS = 600


class Source:
    """An expression's text with its tokens, to find the place of a sqlglot node.

    Raises `ExpressionError` when the text cannot be cut into tokens.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if not text.strip():
            raise ExpressionError([Problem(0, "the expression is empty")])
        if len(text) > MAX_LENGTH:
            raise ExpressionError([Problem(0, f"the expression has more than {MAX_LENGTH} characters")])
        try:
            self.tokens: list[Token] = list(sqlglot.tokenize(text))
        except TokenError as error:
            raise ExpressionError([_unclosed(text)]) from error
        self._refuse_comments()
        self._refuse_depth()

    def _refuse_comments(self) -> None:
        end = 0
        for token in self.tokens:
            gap = self.text[end : token.start]
            if gap.strip():
                raise ExpressionError([_comment(end + len(gap) - len(gap.lstrip()))])
            if token.token_type == TokenType.SEMICOLON:
                raise ExpressionError([Problem(token.start, "';' is not expected here", "one expression")])
            end = token.end + 1
        rest = self.text[end:]
        if rest.strip():
            raise ExpressionError([_comment(end + len(rest) - len(rest.lstrip()))])

    def _refuse_depth(self) -> None:
        if len(self.tokens) > MAX_TOKENS:
            raise ExpressionError([Problem(0, f"the expression has more than {MAX_TOKENS} words and signs")])
        depth = 0
        for token in self.tokens:
            depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
            if depth > MAX_DEPTH:
                message = f"brackets are nested more than {MAX_DEPTH} deep"
                raise ExpressionError([Problem(token.start, message)])

    @cached_property
    def starts(self) -> dict[int, int]:
        """Offset where a token begins → its index."""
        return {token.start: index for index, token in enumerate(self.tokens)}

    def tree(self) -> exp.Expr:
        """sqlglot's tree of the whole text. Raises `ExpressionError`."""
        self._refuse_bare_if()
        try:
            return sqlglot.parse_one(self.text, into=exp.Condition)
        except ParseError as error:
            raise ExpressionError([self._syntax(error)]) from error
        except RecursionError as error:
            raise ExpressionError([Problem(0, "the expression is nested too deeply")]) from error

    def _refuse_bare_if(self) -> None:
        for token, following in zip(self.tokens, [*self.tokens[1:], None], strict=True):
            if token.text.lower() != "if" or token.token_type == TokenType.STRING:
                continue
            if following is None or following.token_type != TokenType.L_PAREN:
                raise ExpressionError([Problem(token.start, "'if' needs brackets", "if(condition, a, b)")])

    def _syntax(self, error: ParseError) -> Problem:
        details = error.errors[0] if error.errors else {}
        highlight = str(details.get("highlight") or "")
        offset = (
            self._offset(int(details.get("line") or 1), int(details.get("col") or 1)) - len(highlight) + 1
        )
        offset = max(offset, 0)
        description = str(details.get("description") or "")
        if description.startswith("Required keyword"):
            if highlight == "%":
                return self._percent(offset)
            return Problem(offset, f"something is missing after {highlight!r}", "a value")
        if description.startswith("Expecting )"):
            return Problem(self._open_bracket(), "this bracket is not closed", "')'")
        if description.startswith("Expected END"):
            return Problem(offset, "'case' is not closed", "'end'")
        if not highlight:
            return Problem(offset, "this is not a SQL expression")
        return Problem(offset, f"{highlight!r} is not expected here")

    def _percent(self, offset: int) -> Problem:
        number = self.tokens[max(self.starts.get(offset, 0) - 1, 0)].text
        try:
            share = f"{Decimal(number) / 100} for {number}%"
        except InvalidOperation:
            share = "a share such as 0.08 for 8%"
        return Problem(offset, "percent signs are not numbers", share)

    def _offset(self, line: int, column: int) -> int:
        lines = self.text.splitlines(keepends=True)
        return sum(len(part) for part in lines[: line - 1]) + column - 1

    def _open_bracket(self) -> int:
        opened: list[int] = []
        for token in self.tokens:
            if token.token_type == TokenType.L_PAREN:
                opened.append(token.start)
            elif token.token_type == TokenType.R_PAREN and opened:
                opened.pop()
        return opened[-1] if opened else 0

    def start(self, node: exp.Expr) -> int:
        """Offset where a node's text begins."""
        own = node.meta.get("start")
        found = [int(own)] if own is not None else []
        found += [int(part.meta["start"]) for part in node.walk() if "start" in part.meta]
        offset = min(found, default=0)
        placeless = isinstance(node, exp.Func) and own is None and not isinstance(node, exp.Case)
        return self._before_bracket(offset) if placeless else offset

    def _before_bracket(self, offset: int) -> int:
        """Step from a first argument back to the function's name."""
        index = self.starts.get(offset, 0)
        if index >= 2 and self.tokens[index - 1].token_type == TokenType.L_PAREN:
            return self.tokens[index - 2].start
        return offset

    def call(self, offset: int) -> int:
        """Offset of the function's name whose first argument begins at ``offset``."""
        return self._before_bracket(offset)

    def word_at(self, offset: int) -> str:
        """The word that begins at an offset, or an empty string."""
        index = self.starts.get(offset)
        return "" if index is None else self.tokens[index].text

    def word(self, node: exp.Expr, words: tuple[str, ...]) -> int:
        """Offset of a node that sqlglot gives no place: its words appear in the tree's own order."""
        kind = type(node)
        alike = [part for part in node.root().dfs() if type(part) is kind]
        places = [
            token.start
            for token in self.tokens
            if token.token_type != TokenType.STRING and token.text.lower() in words
        ]
        index = next((place for place, part in enumerate(alike) if part is node), 0)
        return places[index] if index < len(places) else self.start(node)


def _unclosed(text: str) -> Problem:
    opened, quote = 0, ""
    for offset, sign in enumerate(text):
        if not quote and sign in "'\"":
            opened, quote = offset, sign
        elif sign == quote:
            quote = ""
    if not quote:
        return Problem(0, "this cannot be read as SQL")
    return Problem(opened, "the quote that begins here is not closed", f"a closing {quote}")


def _comment(offset: int) -> Problem:
    return Problem(offset, "comments are not allowed inside an expression", "a YAML comment with #")
