"""What is wrong inside the text of an expression."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import TrucbanError


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong, at a character offset (from 0) of the expression's text."""

    offset: int
    message: str
    expected: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        text = f"{self.offset + 1}: {self.message}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.suggestion:
            text += f"; did you mean {self.suggestion!r}?"
        return text


class ExpressionError(TrucbanError):
    """All problems of one expression, in the order of the text."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))
