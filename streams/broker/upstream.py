"""The one connection through which everything that changes the log goes to Tansu, in order."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from schemas.errors import BrokerAway
from streams.broker import frames
from streams.broker.frames import Head

MAX_FRAME_BYTES = 100 * 1024 * 1024
STREAM_LIMIT = 1 << 20
_CORRELATIONS = 1 << 31
_REMEMBERED_BATCHES = 8  # an idempotent producer has at most five on the way
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
        self._waiters: dict[tuple[str, int], set[asyncio.Future[None]]] = {}
        self._placed: dict[tuple[tuple[int, int], tuple[str, int]], dict[int, int]] = {}
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

    async def wait_for_more(self, offsets: Iterable[tuple[tuple[str, int], int]], seconds: float) -> bool:
        """Wait until a partition does not end at its offset any more; False after so many seconds."""
        wanted = list(offsets)
        at_end = [place for place, offset in wanted if self.ends.get(place, 0) == offset]
        if len(at_end) < len(wanted):
            return True
        more: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for place in at_end:
            self._waiters.setdefault(place, set()).add(more)
        try:
            done, _ = await asyncio.wait({more}, timeout=seconds)
            return bool(done)
        finally:
            for place in at_end:
                self._drop_waiter(place, more)

    def _drop_waiter(self, place: tuple[str, int], more: asyncio.Future[None]) -> None:
        waiting = self._waiters.get(place)
        if waiting is not None:
            waiting.discard(more)
            if not waiting:
                del self._waiters[place]

    def _wake(self, place: tuple[str, int]) -> None:
        for more in self._waiters.get(place, ()):
            if not more.done():
                more.set_result(None)

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
        if asked.produce is not None:
            frame = self._note_produced(asked.produce, asked.head.version, frame)
        for topic in asked.deleted:
            self._forget(topic)
        self.answered += 1
        if not asked.answer.done():
            asked.answer.set_result(frame)

    def _note_produced(self, produce: frames.Produce, version: int, frame: bytes) -> bytes:
        """Keep ends up to date; a batch that Tansu has already is answered with its place, as Kafka does."""
        batches = {(batch.topic, batch.partition): batch for batch in produce.batches}
        for row in frames.read_produced(frame, version):
            place = (row.topic, row.partition)
            batch = batches.get(place)
            if batch is None:
                raise BrokerAway(f"Tansu answered for {place}, to which nothing was sent")
            if row.error == 0:
                self.ends[place] = row.base + batch.records
                self._remember(batch, row.base)
                self._wake(place)
            elif row.error == frames.DUPLICATE_SEQUENCE:
                known = self._placed.get((batch.producer, place), {})
                frame = frames.as_stored(frame, row, known.get(batch.sequence, -1))
        return frame

    def _remember(self, batch: frames.Batch, base: int) -> None:
        if batch.producer[0] < 0:
            return
        known = self._placed.setdefault((batch.producer, (batch.topic, batch.partition)), {})
        known[batch.sequence] = base
        if len(known) > _REMEMBERED_BATCHES:
            del known[next(iter(known))]

    def _forget(self, topic: str) -> None:
        for place in [place for place in self.ends if place[0] == topic]:
            del self.ends[place]
            self._wake(place)
        for key in [key for key in self._placed if key[1][0] == topic]:
            del self._placed[key]
