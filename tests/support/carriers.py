"""A carrier in memory."""

from __future__ import annotations

from collections import deque

from notify.carriers import Answer, Message


class MemoryCarrier:
    """`Carrier` in memory: gives the planned answers one by one, then ``delivered``."""

    def __init__(self, *plan: Answer | Exception) -> None:
        self.sent: list[Message] = []
        self.plan: deque[Answer | Exception] = deque(plan)

    async def send(self, message: Message) -> Answer:
        """See `Carrier.send`."""
        self.sent.append(message)
        answer = self.plan.popleft() if self.plan else Answer("delivered", "memory")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing to give back."""
