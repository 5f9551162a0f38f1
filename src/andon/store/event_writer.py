"""Events made durable together: one transaction and one flush for every parcel that waits.

It works like `andon.store.writer`: one thread takes all that waits, and while the disk
flushes, the next group gathers. A parcel is what one sender sent at once; it is stored whole
or not at all, and the answer is one outcome for each of its rows.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Literal, Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from andon.errors import AndonError, DatabaseDamaged, InvalidRequest, Saturated, StorageFull
from andon.store.connections import Connections
from andon.store.factory_records import Refused

_log = logging.getLogger(__name__)

Kind = Literal["factory", "telemetry"]
Outcomes = list[str | Refused]


class Store(Protocol):
    """Stores rows of one kind in the caller's transaction; the outcome of each."""

    def __call__(  # noqa: D102 - said above
        self,
        connection: Connection | sqlite3.Connection,
        rows: Sequence[Any],
        *,
        auto_register: bool,
    ) -> Outcomes: ...


# Rows of a group; a single parcel may have more.
_LARGEST_GROUP = 2000
_ATTEMPTS = 4


class _Parcel:
    """Rows and who waits for them: a thread's future, or a future of an event loop."""

    __slots__ = ("auto_register", "kind", "loop", "outcomes", "rows", "waiter")

    def __init__(
        self,
        kind: Kind,
        rows: Sequence[Any],
        auto_register: bool,
        waiter: "Future[Outcomes] | asyncio.Future[Outcomes]",
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.kind = kind
        self.rows = rows
        self.auto_register = auto_register
        self.waiter = waiter
        self.loop = loop
        self.outcomes: Outcomes | BaseException = []


class EventWriter:
    """Writes parcels of events in groups. Starts its thread with the first.

    Args:
        connections: The database.
        stores: How rows of each kind are stored.
        linger: Extra time a group waits for more parcels, seconds.
        limit: Rows that may wait.
    """

    def __init__(
        self,
        connections: Connections,
        stores: dict[str, Store],
        *,
        linger: float = 0.0,
        limit: int = 100_000,
    ) -> None:
        self._connections = connections
        self._stores = stores
        self._linger = linger
        self._limit = limit
        self._waiting: queue.SimpleQueue[_Parcel | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._rows = 0
        self._thread: threading.Thread | None = None
        self._closed = False
        self._sqlite: sqlite3.Connection | None = None
        self.problem = ""
        """Why the last group could not be written; empty while all is well."""

    def submit(
        self, kind: Kind, rows: Sequence[Any], *, auto_register: bool = False
    ) -> "Future[Outcomes]":
        """Queue a parcel; the future holds the outcome of each row when all is on disk.

        It fails with `StorageFull` or `DatabaseDamaged` where the parcel cannot be written
        now, with `InvalidRequest` where it never can; nothing of it is stored then.

        Raises:
            Saturated: Too many rows wait.
            StorageFull: The writer was closed.
        """
        future: Future[Outcomes] = Future()
        self._put(_Parcel(kind, rows, auto_register, future, None))
        return future

    async def submit_async(
        self, kind: Kind, rows: Sequence[Any], *, auto_register: bool = False
    ) -> Outcomes:
        """The same, waiting without blocking the event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcomes] = loop.create_future()
        self._put(_Parcel(kind, rows, auto_register, future, loop))
        return await future

    @property
    def waiting(self) -> int:
        """Rows that wait to be written."""
        return self._rows

    def close(self) -> None:
        """Commit what waits and end the thread. Safe to call twice."""
        with self._lock:
            closed, self._closed = self._closed, True
            thread = self._thread
            if thread is not None and not closed:
                self._waiting.put(None)
        if thread is not None:
            thread.join()

    def _put(self, parcel: _Parcel) -> None:
        count = len(parcel.rows)
        with self._lock:
            if self._closed:
                raise StorageFull("The database is being closed.", hint="Start Andon again.")
            # A parcel greater than the limit must find an empty queue.
            if self._rows and self._rows + count > self._limit:
                raise Saturated(
                    f"{self._rows} events already wait to be written to disk.",
                    hint="Send again in a moment, or look for a very slow disk.",
                )
            self._rows += count
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="andon-events", daemon=True)
                self._thread.start()
            self._waiting.put(parcel)

    # -- The thread ---------------------------------------------------------------------

    def _run(self) -> None:
        stop = False
        while not stop:
            group: list[_Parcel] = []
            stop = self._take(group)
            if group:
                self._write(group)
                with self._lock:
                    self._rows -= sum(len(parcel.rows) for parcel in group)
                _resolve(group)
        if self._sqlite is not None:
            self._sqlite.close()

    def _take(self, group: list[_Parcel]) -> bool:
        """Fill the group with what waits; True when nothing will come any more."""
        rows = 0
        parcel = self._waiting.get()
        if self._linger and parcel is not None:
            time.sleep(self._linger)
        while parcel is not None:
            group.append(parcel)
            rows += len(parcel.rows)
            if rows >= _LARGEST_GROUP:
                return False
            try:
                parcel = self._waiting.get_nowait()
            except queue.Empty:
                return False
        return True

    def _write(self, group: list[_Parcel]) -> None:
        """Give every parcel its outcomes, or the error that is its own or everybody's."""
        try:
            self._commit(group)
        except Exception as error:
            self._recover(group, error)
        else:
            self.problem = ""

    def _recover(self, group: list[_Parcel], error: Exception) -> None:
        known = self._connections.translate(error)
        if isinstance(known, (StorageFull, DatabaseDamaged)):
            self.problem = str(known)
            number = len(group)
            parcels = "1 parcel" if number == 1 else f"{number} parcels"
            _log.error("%s of events could not be written: %s", parcels, known)
        elif len(group) > 1:
            # A bad parcel must not sink the others: halving finds it with few commits.
            middle = len(group) // 2
            self._write(group[:middle])
            self._write(group[middle:])
            return
        else:
            _log.error("a parcel of %s events could not be written: %s", group[0].kind, error)
            if not isinstance(known, AndonError) and isinstance(
                error, (ValueError, sqlite3.Error, DBAPIError)
            ):
                known = InvalidRequest(f"The events cannot be stored: {error}.")
        for parcel in group:
            parcel.outcomes = known

    def _commit(self, group: list[_Parcel]) -> None:
        attempt = 1
        while True:
            try:
                self._commit_once(group)
            except Exception as error:
                if attempt == _ATTEMPTS or not _passes(error):
                    raise
                attempt += 1
            else:
                return

    def _commit_once(self, group: list[_Parcel]) -> None:
        together: dict[tuple[str, bool], list[_Parcel]] = {}
        for parcel in group:
            together.setdefault((parcel.kind, parcel.auto_register), []).append(parcel)
        with self._transaction() as connection:
            # Kinds always in the same order: else two programs may wait for each other's locks.
            for (kind, auto_register), parcels in sorted(together.items(), key=_kind_of):
                rows = [row for parcel in parcels for row in parcel.rows]
                outcomes = self._stores[kind](connection, rows, auto_register=auto_register)
                start = 0
                for parcel in parcels:
                    parcel.outcomes = outcomes[start : start + len(parcel.rows)]
                    start += len(parcel.rows)

    @contextmanager
    def _transaction(self) -> Iterator[Connection | sqlite3.Connection]:
        """A transaction; on SQLite on a bare connection of the writer's own, which is quicker."""
        if self._connections.path is None:
            with self._connections.write() as wrapped:
                yield wrapped
            return
        with self._connections.writing_turn():
            if self._sqlite is None:
                self._sqlite = self._connections.open_sqlite()
            connection = self._sqlite
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite has undone the transaction itself after some errors.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def _kind_of(entry: tuple[tuple[str, bool], list[_Parcel]]) -> str:
    return entry[0][0]


def _passes(error: BaseException) -> bool:
    """Whether the same transaction may succeed at once, which is safe: repeats are noticed.

    The server was restarted; or another process was in the way, by a deadlock (class 40) or
    by storing one of the events first (23505).
    """
    cause = error if isinstance(error, DBAPIError) else error.__cause__
    if not isinstance(cause, DBAPIError):
        return False
    state = getattr(cause.orig, "sqlstate", None) or ""
    return cause.connection_invalidated or state.startswith("40") or state == "23505"


def _resolve(group: list[_Parcel]) -> None:
    """Let the senders go on: threads one by one, an event loop with one call for all."""
    loops: dict[asyncio.AbstractEventLoop, list[_Parcel]] = {}
    for parcel in group:
        if parcel.loop is not None:
            loops.setdefault(parcel.loop, []).append(parcel)
        elif isinstance(parcel.waiter, Future) and parcel.waiter.set_running_or_notify_cancel():
            _answer(parcel)
    for loop, parcels in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve_in_loop, parcels)
        except RuntimeError:
            # The loop was closed meanwhile: nobody waits there any more.
            _log.debug("an event loop was closed before its events were written")


def _resolve_in_loop(parcels: list[_Parcel]) -> None:
    for parcel in parcels:
        if not parcel.waiter.done():
            _answer(parcel)


def _answer(parcel: _Parcel) -> None:
    if isinstance(parcel.outcomes, BaseException):
        parcel.waiter.set_exception(parcel.outcomes)
    else:
        parcel.waiter.set_result(parcel.outcomes)
