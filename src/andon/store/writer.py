"""Durable writes made cheap: one flush to disk for everybody who waits.

One thread takes all rows that are waiting, inserts them in one transaction together with the
versions' running totals, commits, and only then lets the callers go on. While the disk
flushes, the next group gathers: the slower the disk, the larger the groups.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from concurrent.futures import Future
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from andon.errors import Conflict, DatabaseDamaged, InvalidRequest, Saturated, StorageFull
from andon.store.connections import Connections
from andon.store.insertion import Insertion, Row
from andon.store.tables import jobs, model_versions, predictions

_log = logging.getLogger(__name__)

_LARGEST_GROUP = 1000
_COUNTED = "predictions"

_SQLITE_TOTALS = """
UPDATE model_versions SET
    total_inferences = total_inferences + ?,
    total_detections = total_detections + ?,
    total_inference_time = total_inference_time + ?,
    total_confidence = total_confidence + ?
WHERE id = ?
"""


class _Waiting:
    """Rows, stored all or none, and who waits for them: a future of a thread or a loop."""

    __slots__ = ("encoded", "loop", "rows", "table", "waiter")

    def __init__(
        self,
        table: str,
        rows: list[Row],
        encoded: list[tuple[Any, ...]],
        waiter: "Future[None] | asyncio.Future[None]",
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.table = table
        self.rows = rows
        self.encoded = encoded
        self.waiter = waiter
        self.loop = loop


# By id: a complete row, and the same as SQLite's values.
_Rows = dict[str, tuple[Row, tuple[Any, ...]]]


class _Marker:
    """Not a row: everything before it is committed when it is set."""

    __slots__ = ("reached", "stop")

    def __init__(self, *, stop: bool) -> None:
        self.reached = threading.Event()
        self.stop = stop


class GroupWriter:
    """Writes rows in groups. Starts its thread with the first row.

    Args:
        connections: The database.
        linger: Extra time a group waits for more rows, seconds.
        limit: Rows that may wait.
    """

    def __init__(
        self, connections: Connections, *, linger: float = 0.0, limit: int = 10_000
    ) -> None:
        self._connections = connections
        self._linger = linger
        self._limit = limit
        self._waiting: queue.SimpleQueue[list[_Waiting] | _Marker] = queue.SimpleQueue()
        self._tables = {table.name: Insertion(table) for table in (predictions, jobs)}
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._sqlite: sqlite3.Connection | None = None
        self.problem = ""
        """Why the last group could not be written; empty while all is well."""

    def write(self, row: Row, table: str = _COUNTED) -> "Future[None]":
        """Queue a row; the future is done when it is on disk.

        Args:
            row: Value by column; missing columns get their default. A row whose `id` is in
                the table already is left out and counts as written: writing twice is safe.
            table: "predictions" or "jobs".

        Raises:
            ValueError: The row does not fit the table.
            Saturated: Too many rows wait.
            StorageFull: The writer was closed.
        """
        future: Future[None] = Future()
        self._put([self._item([row], table, future, None)])
        return future

    def write_rows(self, rows: list[Row]) -> "Future[None]":
        """Queue rows of "predictions" that are stored together or not at all.

        Args:
            rows: As for `write`.

        Raises:
            As `write`.
        """
        future: Future[None] = Future()
        self._put([self._item(rows, _COUNTED, future, None)])
        return future

    def write_for(
        self,
        loop: asyncio.AbstractEventLoop,
        rows: list[Row],
        waiters: "list[asyncio.Future[None]]",
    ) -> None:
        """Queue rows of "predictions", each with a future of a loop that is done with it.

        They are handed over at once, which wakes the writer once; each is stored by itself.

        Raises:
            As `write`; nothing was queued then.
        """
        pairs = zip(rows, waiters, strict=True)
        self._put([self._item([row], _COUNTED, waiter, loop) for row, waiter in pairs])

    async def write_async(self, row: Row, table: str = _COUNTED) -> None:
        """Write a row and wait, without blocking the event loop, until it is on disk.

        Raises:
            ValueError: The row does not fit the table.
            Saturated: Too many rows wait.
            StorageFull: It could not be written; nothing was stored.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._put([self._item([row], table, future, loop)])
        await future

    def flush(self) -> None:
        """Wait until every row queued before is on disk or was given up."""
        if self._thread is None or self._closed:
            return
        marker = _Marker(stop=False)
        self._waiting.put(marker)
        marker.reached.wait()

    def close(self) -> None:
        """Commit what waits and end the thread. Safe to call twice."""
        with self._starting:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
            if thread is not None:
                self._waiting.put(_Marker(stop=True))
        if thread is not None:
            thread.join()

    def _item(
        self,
        rows: list[Row],
        table: str,
        waiter: "Future[None] | asyncio.Future[None]",
        loop: asyncio.AbstractEventLoop | None,
    ) -> _Waiting:
        insertion = self._tables[table]
        complete = [insertion.complete(row) for row in rows]
        on_sqlite = self._connections.path is not None
        encoded = [insertion.encoded(row) for row in complete] if on_sqlite else []
        return _Waiting(table, complete, encoded, waiter, loop)

    def _put(self, items: list[_Waiting]) -> None:
        if self._waiting.qsize() >= self._limit:
            raise Saturated(
                f"{self._limit} answers already wait to be written to disk.",
                hint="Send fewer requests at a time, or look for a very slow disk.",
            )
        if self._thread is None or self._closed:
            self._start()
        self._waiting.put(items)

    def _start(self) -> None:
        with self._starting:
            if self._closed:
                raise StorageFull("The database is being closed.", hint="Start Andon again.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="andon-writer", daemon=True)
                self._thread.start()

    # -- The thread ---------------------------------------------------------------------

    def _run(self) -> None:
        stop = False
        while not stop:
            group, markers = self._take()
            if group:
                self._write_group(group)
            for marker in markers:
                stop = stop or marker.stop
                marker.reached.set()
        self._drain()
        if self._sqlite is not None:
            self._sqlite.close()

    def _take(self) -> tuple[list[_Waiting], list[_Marker]]:
        """Everything that waits, up to a full group or a marker."""
        group: list[_Waiting] = []
        item = self._waiting.get()
        if self._linger and isinstance(item, list):
            time.sleep(self._linger)
        count = 0
        while isinstance(item, list):
            group += item
            count += sum(len(one.rows) for one in item)
            if count >= _LARGEST_GROUP:
                return group, []
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return group, []
        return group, [item]

    def _drain(self) -> None:
        """Rows that slipped in while closing are written too: their callers wait."""
        while not self._waiting.empty():
            group, markers = self._take()
            if group:
                self._write_group(group)
            for marker in markers:
                marker.reached.set()

    def _write_group(self, group: list[_Waiting]) -> None:
        try:
            self._commit(group)
        except Exception as error:
            self._recover(group, error)
            return
        self.problem = ""
        _resolve(group, None)

    def _recover(self, group: list[_Waiting], error: Exception) -> None:
        """Find out whether the disk or a row is to blame; a bad row must not sink the others."""
        known = self._connections.translate(error)
        if isinstance(known, (StorageFull, DatabaseDamaged)):
            self.problem = str(known)
            count = sum(len(item.rows) for item in group)
            _log.error("%d rows could not be written: %s", count, known)
            _resolve(group, known)
            return
        if len(group) == 1:
            table = group[0].table
            _log.error("a row of %s could not be written: %s", table, error)
            _resolve(group, _blame_row(table, known))
            return
        # Halving finds one bad row among a thousand with twenty commits.
        middle = len(group) // 2
        self._write_group(group[:middle])
        self._write_group(group[middle:])

    def _commit(self, group: list[_Waiting]) -> None:
        # The same id twice in a group counts once, as it would in two groups.
        by_table: dict[str, _Rows] = {}
        on_sqlite = self._connections.path is not None
        for item in group:
            rows = by_table.setdefault(item.table, {})
            encoded = item.encoded if on_sqlite else [()] * len(item.rows)
            for row, values in zip(item.rows, encoded, strict=True):
                rows.setdefault(row["id"], (row, values))
        if self._connections.path is None:
            self._commit_postgresql(by_table)
        else:
            self._commit_sqlite(by_table)

    def _commit_sqlite(self, by_table: dict[str, _Rows]) -> None:
        with self._connections.writing_turn():
            connection = self._sqlite
            if connection is None:
                connection = self._sqlite = self._connections.open_sqlite()
            try:
                connection.execute("BEGIN IMMEDIATE")
                if not self._insert_sqlite(connection, by_table):
                    # Some were there already: find out which, so that none is counted twice.
                    connection.execute("ROLLBACK")
                    connection.execute("BEGIN IMMEDIATE")
                    for name, items in by_table.items():
                        for key in self._tables[name].ids_in_sqlite(connection, items):
                            del items[key]
                    self._insert_sqlite(connection, by_table)
                connection.execute("COMMIT")
            except BaseException:
                # SQLite has undone the transaction itself after some errors.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _insert_sqlite(self, connection: sqlite3.Connection, by_table: dict[str, _Rows]) -> bool:
        """Insert rows and count them; False when some were there already."""
        for name, items in by_table.items():
            rows = [encoded for _, encoded in items.values()]
            if rows and self._tables[name].into_sqlite(connection, rows) != len(rows):
                return False
            if name == _COUNTED:
                totals = _totals(row for row, _ in items.values())
                values = [(*total, version_id) for version_id, total in sorted(totals.items())]
                connection.executemany(_SQLITE_TOTALS, values)
        return True

    def _commit_postgresql(self, by_table: dict[str, _Rows]) -> None:
        try:
            self._try_postgresql(by_table)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # The server was restarted. Whether the commit happened is unknown, and need not
            # be known: rows that are there are left out the second time.
            self._try_postgresql(by_table)

    def _try_postgresql(self, by_table: dict[str, _Rows]) -> None:
        with self._connections.engine.begin() as connection:
            for name, items in by_table.items():
                rows = [row for row, _ in items.values()]
                new = self._tables[name].into_postgresql(connection, rows)
                if name != _COUNTED:
                    continue
                totals = _totals(row for row in rows if row["id"] in new)
                if totals:
                    # In the order of their ids: two writers never wait for each other.
                    connection.execute(
                        _POSTGRESQL_TOTALS,
                        [
                            dict(zip(_TOTAL_NAMES, (*total, version_id), strict=True))
                            for version_id, total in sorted(totals.items())
                        ],
                    )


_TOTAL_NAMES = ("inferences", "detections", "seconds", "confidence", "version_id")
_POSTGRESQL_TOTALS = (
    update(model_versions)
    .where(model_versions.c.id == bindparam("version_id"))
    .values(
        total_inferences=model_versions.c.total_inferences + bindparam("inferences"),
        total_detections=model_versions.c.total_detections + bindparam("detections"),
        total_inference_time=model_versions.c.total_inference_time + bindparam("seconds"),
        total_confidence=model_versions.c.total_confidence + bindparam("confidence"),
    )
)


def _totals(rows: Any) -> dict[int, list[float]]:
    """What rows add to their versions: answers, detections, seconds, mean confidences.

    Only successful answers that somebody got count; a shadow's answers do not.
    """
    totals: dict[int, list[float]] = {}
    for row in rows:
        if row["status"] != "success" or row["role"] not in {"active", "canary"}:
            continue
        total = totals.setdefault(row["model_id"], [0, 0, 0.0, 0.0])
        scores = row["confidence_scores"]
        total[0] += 1
        total[1] += row["detection_count"]
        total[2] += row["inference_time"]
        total[3] += sum(scores) / len(scores) if scores else 0.0
    return totals


def _blame_row(table: str, error: BaseException) -> BaseException:
    if isinstance(error, (sqlite3.IntegrityError, IntegrityError)):
        return Conflict(f"A row of {table} contradicts the rows there are: {error}.")
    if isinstance(error, (ValueError, sqlite3.Error, DBAPIError)):
        return InvalidRequest(f"A row of {table} cannot be stored: {error}.")
    return error


def _resolve(group: list[_Waiting], error: BaseException | None) -> None:
    """Let the callers go on: threads one by one, an event loop with one call for all."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for item in group:
        if item.loop is not None and isinstance(item.waiter, asyncio.Future):
            loops.setdefault(item.loop, []).append(item.waiter)
        elif isinstance(item.waiter, Future) and item.waiter.set_running_or_notify_cancel():
            if error is None:
                item.waiter.set_result(None)
            else:
                item.waiter.set_exception(error)
    for loop, waiters in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve_in_loop, waiters, error)
        except RuntimeError:
            # The loop was closed meanwhile: nobody waits there any more.
            _log.debug("an event loop was closed before its rows were written")


def _resolve_in_loop(waiters: list["asyncio.Future[None]"], error: BaseException | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
