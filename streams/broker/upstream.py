"""The one connection through which everything that changes the log goes to Tansu, in order."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from dataclasses import dataclass

from schemas.errors import BrokerAway
from streams.broker import frames
from streams.broker.frames import Head

MAX_FRAME_BYTES = 100 * 1024 * 1024
STREAM_LIMIT = 1 << 20
_CORRELATIONS = 1 << 31
_LENGTH = struct.Struct(">i")


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Next frame of a connection.

    Raises asyncio.IncompleteReadError at its end, BadFrame for an impossible length.
    """
    (size,) = _LENGTH.unpack(await reader.readexactly(4))
    if not 0 <= size <= MAX_FRAME_BYTES:
        raise frames.BadFrame(f"a frame of {size} bytes; at most {MAX_FRAME_BYTES} are taken")
    return await reader.readexactly(size)


def write_frame(writer: asyncio.StreamWriter, frame: bytes) -> None:
    """Queue one frame."""
    writer.write(_LENGTH.pack(len(frame)))
    writer.write(frame)


@dataclass(frozen=True, slots=True)
class _Asked:
    correlation: int
    head: Head
    produce: frames.Produce | None
    deleted: tuple[str, ...]
    answer: asyncio.Future[bytes]


class OrderedUpstream:
    """Sends requests in the order of the calls and hands each the answer that belongs to it.

    ``ends`` is the end (next offset) of every partition that was written through here.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ends: dict[tuple[str, int], int] = {}
        self.answered = 0
        """Requests that Tansu has answered."""
        self._reader = reader
        self._writer = writer
        self._asked: deque[_Asked] = deque()
        self._sent = 0
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection has ended; the exception says why."""
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, host: str, port: int) -> OrderedUpstream:
        """Raises OSError where nobody listens."""
        return cls(*await asyncio.open_connection(host, port, limit=STREAM_LIMIT))

    def send(self, frame: bytes, answer: asyncio.Future[bytes]) -> None:
        """Queue a request; ``answer`` gets Tansu's response (its correlation id is ours)."""
        if self.lost.done():
            return
        correlation = self._sent % _CORRELATIONS
        self._sent += 1
        head = frames.read_head(frame)
        produce = frames.read_produce(frame, head) if head.api == frames.PRODUCE else None
        deleted = frames.topics_deleted(frame, head) if head.api == frames.DELETE_TOPICS else ()
        self._asked.append(_Asked(correlation, head, produce, tuple(deleted), answer))
        write_frame(self._writer, frames.with_correlation(frame, 4, correlation))

    async def drain(self) -> None:
        """Wait until the connection takes more."""
        await self._writer.drain()

    async def close(self) -> None:
        """End the connection; requests without an answer stay without."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()
        if not self.lost.done():
            self.lost.cancel()
        elif not self.lost.cancelled():
            self.lost.exception()  # whoever closes knows

    async def _read(self) -> None:
        try:
            while True:
                self._take(await read_frame(self._reader))
        except (asyncio.IncompleteReadError, OSError, frames.BadFrame, BrokerAway) as error:
            if not self.lost.done():
                self.lost.set_exception(BrokerAway(f"the connection to Tansu ended: {error}"))

    def _take(self, frame: bytes) -> None:
        (correlation,) = _LENGTH.unpack_from(frame)
        if not self._asked or self._asked[0].correlation != correlation:
            raise BrokerAway(f"Tansu answered {correlation}, which is not the oldest open request")
        asked = self._asked.popleft()
        self._note(asked, frame)
        self.answered += 1
        if not asked.answer.done():
            asked.answer.set_result(frame)

    def _note(self, asked: _Asked, frame: bytes) -> None:
        """Keep the ends of the partitions up to date."""
        if asked.produce is not None:
            bases = frames.read_produced(frame, asked.head.version)
            for batch in asked.produce.batches:
                base = bases.get((batch.topic, batch.partition))
                if base is not None:
                    self.ends[batch.topic, batch.partition] = base + batch.records
        for topic in asked.deleted:
            for known in [key for key in self.ends if key[0] == topic]:
                del self.ends[known]
