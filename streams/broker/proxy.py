"""The proxy on the public port: journal first, then Tansu, answers in the order of the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import structlog

from schemas.errors import LogError
from streams.broker import frames
from streams.broker.frames import Head
from streams.broker.journal import Journal
from streams.broker.upstream import STREAM_LIMIT, OrderedUpstream, read_frame, write_frame

log = structlog.get_logger(__name__)

GROUP_BYTES = 16 * 1024 * 1024
"""At most this much goes to disk with one fsync."""
PENDING_BYTES = 64 * 1024 * 1024
"""With this much waiting, clients are no longer read."""
OPEN_REQUESTS = 256
"""Requests of one client that may wait for their answers."""
_TANSU_READS_MS = 1000
"""Bound for a Fetch of records that are there; with less than some milliseconds Tansu gives none."""
_TANSU_LOOKS_MS = 1
"""For a Fetch at the end of the log; with 0 Tansu leaves the partitions out of its answer."""


class Committer:
    """Appends requests to the journal, many with one fsync, then sends them to Tansu in that order."""

    def __init__(self, journal: Journal, upstream: OrderedUpstream) -> None:
        self._journal = journal
        self._upstream = upstream
        self._waiting: list[tuple[bytes, asyncio.Future[bytes]]] = []
        self._pending_bytes = 0
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="journal")

    @property
    def ends(self) -> dict[tuple[str, int], int]:
        """End (next offset) of every partition that was written."""
        return self._upstream.ends

    async def wait_for_more(self, offsets: Iterable[tuple[tuple[str, int], int]], seconds: float) -> bool:
        """Wait until a partition does not end at its offset any more; False after so many seconds."""
        return await self._upstream.wait_for_more(offsets, seconds)

    async def submit(self, frame: bytes) -> asyncio.Future[bytes]:
        """Queue a request. The future gets Tansu's response when the request is on disk and applied."""
        await self._room.wait()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((frame, answer))
        self._pending_bytes += len(frame)
        size = len(frame)
        answer.add_done_callback(lambda _: self._release(size))
        if self._pending_bytes >= PENDING_BYTES:
            self._room.clear()
        self._work.set()
        return answer

    def _release(self, size: int) -> None:
        self._pending_bytes -= size
        if self._pending_bytes < PENDING_BYTES:
            self._room.set()

    async def run(self) -> None:
        """Commit groups until cancelled. Raises LogError when the disk refuses."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._work.wait()
                group = self._next_group()
                try:
                    await loop.run_in_executor(
                        self._disk, self._journal.append, [frame for frame, _ in group]
                    )
                except OSError as error:
                    raise LogError(f"the broker's journal cannot be written: {error}") from error
                for frame, answer in group:
                    self._upstream.send(frame, answer)
                await self._upstream.drain()
        finally:
            self._disk.shutdown(wait=True)

    def _next_group(self) -> list[tuple[bytes, asyncio.Future[bytes]]]:
        size = count = 0
        for frame, _ in self._waiting:
            if count and size + len(frame) > GROUP_BYTES:
                break
            size += len(frame)
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        if not self._waiting:
            self._work.clear()
        return group


class ClientSession:
    """One client's connection: its requests in, their answers out, in the same order."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        committer: Committer,
        connect: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._committer = committer
        self._connect = connect
        self._own: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._answers: asyncio.Queue[Awaitable[bytes | None]] = asyncio.Queue(OPEN_REQUESTS)
        self._last_journalled = False

    async def run(self) -> None:
        """Serve until the client leaves, or sends what cannot be read."""
        sender = asyncio.create_task(self._send_answers())
        receiver = asyncio.create_task(self._receive())
        try:
            await asyncio.wait((sender, receiver), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sender, receiver):
                task.cancel()
            for result in await asyncio.gather(sender, receiver, return_exceptions=True):
                self._report(result)
            self._close()

    def _report(self, result: BaseException | None) -> None:
        match result:
            case None | asyncio.CancelledError() | asyncio.IncompleteReadError() | OSError():
                return
            case frames.BadFrame():
                log.warning("broker: a client's connection is closed", reason=str(result))
            case _:
                raise result

    def _close(self) -> None:
        while not self._answers.empty():
            answer = self._answers.get_nowait()
            if asyncio.iscoroutine(answer):
                answer.close()
        self._writer.close()
        if self._own is not None:
            self._own[1].close()

    async def _receive(self) -> None:
        while True:
            frame = await read_frame(self._reader)
            head = frames.read_head(frame)
            if head.api == frames.API_VERSIONS:
                await self._answers.put(_ready(frames.api_versions(head)))
                continue
            if not frames.is_offered(head):
                raise frames.BadFrame(f"request {head.api} in version {head.version} is not offered here")
            journalled = head.api in frames.JOURNALLED
            if journalled != self._last_journalled:
                await self._answers.join()  # a request sees what the one before it did
                self._last_journalled = journalled
            await self._answers.put(await (self._journalled if journalled else self._relayed)(frame, head))

    async def _journalled(self, frame: bytes, head: Head) -> Awaitable[bytes | None]:
        if head.api == frames.PRODUCE:
            return await self._produce(frame, head)
        if head.api == frames.INIT_PRODUCER_ID:
            transaction, timeout_ms = frames.read_init_producer(frame, head)
            if transaction is not None:
                return _ready(frames.refuse_producer(head, frames.UNSUPPORTED_VERSION))
            answer = await self._committer.submit(frames.new_producer(timeout_ms))
            return _translated(answer, head)
        if head.api == frames.DELETE_TOPICS:
            frames.topics_deleted(frame, head)  # unreadable ones must not reach the journal
        return _renumbered(await self._committer.submit(frame), head)

    async def _produce(self, frame: bytes, head: Head) -> Awaitable[bytes | None]:
        produce = frames.read_produce(frame, head)
        if not produce.sound:
            refusal = frames.refuse_produce(head, produce, frames.CORRUPT_MESSAGE)
            return _ready(refusal if produce.acks else None)
        if produce.acks == 0:
            return _silenced(await self._committer.submit(frames.with_all_acks(frame, produce)))
        return _renumbered(await self._committer.submit(frame), head)

    async def _relayed(self, frame: bytes, head: Head) -> Awaitable[bytes | None]:
        if self._own is None:
            self._own = await self._connect()
        if head.api == frames.FETCH:
            frame = await self._when_there_is_more(frame, head)
        reader, writer = self._own
        write_frame(writer, frame)
        await writer.drain()
        if head.api == frames.LIST_OFFSETS:
            return self._ended(reader, head, frames.latest_asked(frame, head))
        return read_frame(reader)

    async def _when_there_is_more(self, frame: bytes, head: Head) -> bytes:
        """The long poll of a Fetch, done here: Tansu would notice new records late."""
        fetch = frames.read_fetch(frame, head)
        if fetch is None:
            return frame
        more = await self._committer.wait_for_more(fetch.offsets, max(fetch.wait_ms, 0) / 1000)
        return frames.with_wait(frame, fetch, _TANSU_READS_MS if more else _TANSU_LOOKS_MS)

    async def _ended(self, reader: asyncio.StreamReader, head: Head, asked: set[tuple[str, int]]) -> bytes:
        answer = await read_frame(reader)
        known = self._committer.ends
        return frames.with_ends(answer, head.version, {key: known[key] for key in asked if key in known})

    async def _send_answers(self) -> None:
        while True:
            answer = await (await self._answers.get())
            if answer is not None:
                write_frame(self._writer, answer)
                await self._writer.drain()
            self._answers.task_done()


async def _ready(frame: bytes | None) -> bytes | None:
    return frame


async def _silenced(answer: asyncio.Future[bytes]) -> None:
    await answer


async def _renumbered(answer: asyncio.Future[bytes], head: Head) -> bytes:
    return frames.with_correlation(await answer, 0, head.correlation)


async def _translated(answer: asyncio.Future[bytes], head: Head) -> bytes:
    return frames.producer_answer(frames.with_correlation(await answer, 0, head.correlation))


class Proxy:
    """Listens on the public port and serves each client in a session of its own."""

    def __init__(self, committer: Committer, tansu_port: int) -> None:
        self._committer = committer
        self._tansu_port = tansu_port
        self._sessions: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the exception of a session that failed for a reason of ours."""

    async def open(self, host: str, port: int) -> int:
        """Listen; gives the port. Raises OSError where it is taken."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=STREAM_LIMIT, backlog=256)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end all sessions."""
        if self._server is not None:
            self._server.close()
        for task in self._sessions:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await ClientSession(reader, writer, self._committer, self._to_tansu).run()
        except asyncio.CancelledError:
            return  # we stop
        except Exception as error:  # noqa: BLE001 - handed on: the broker's process ends with it
            if not self.failed.done():
                self.failed.set_exception(error)
        finally:
            self._sessions.discard(task)

    async def _to_tansu(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._tansu_port, limit=STREAM_LIMIT)
