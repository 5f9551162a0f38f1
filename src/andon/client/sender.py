"""`Sender`: records events and measurements at once, and delivers them from a thread of its own."""

import contextlib
import logging
import os
import random
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from andon.client.link import Link, Unreachable
from andon.client.spool import MAX_BYTES, Item, Rejected, Spool, WhenFull
from andon.client.verdict import Halve, Settled, Trouble, judge
from andon.errors import AndonError, ConfigurationError, InvalidRequest
from andon.store.ids import uuid7

_log = logging.getLogger("andon.client")

Kind = Literal["factory", "telemetry"]

ROUTES: dict[str, str] = {"factory": "/events/batch", "telemetry": "/telemetry/batch"}
"""Where each kind goes."""

MAX_ITEM = 64 * 1024
"""Largest event recorded, bytes of JSON: the longest line the server reads."""

# Common proxies refuse bodies beyond one megabyte.
_MAX_BODY = 512 * 1024
_FIRST_PAUSE = 0.5
_LONGEST_RETRY_AFTER = 3600.0
# How long `close` lets a request in flight end before it is cut.
_GRACE = 2.0


class Status(msgspec.Struct, frozen=True):
    """How a sender stands; the counts are since it was opened, `waiting` and `dropped` the spool's.

    Args:
        recorded: Events recorded.
        sent: Events the server has answered for: stored + duplicates + refused.
        stored: Events the server did not know before.
        duplicates: Events it had already (an answer was lost, or the same file was sent twice).
        refused: Events it refused; `Sender.rejected` tells why.
        waiting: Events still in the spool.
        dropped: Events that ever had to make room for newer ones (`drop_oldest`).
        problem: Why nothing can be sent now, a sentence; empty when all is well.
    """

    recorded: int = 0
    sent: int = 0
    stored: int = 0
    duplicates: int = 0
    refused: int = 0
    waiting: int = 0
    dropped: int = 0
    problem: str = ""


class Sender:
    """Delivers events to a server, whatever happens to either of them. Safe in threads.

    Each event gets its `event_id` when it is recorded, so that sending it again after a lost
    answer counts once. Its time is kept, however late it arrives.

    Args:
        server: Address, such as ``https://andon.example``.
        spool: The file that keeps events until they are delivered; each program needs its own.
        api_key: The server's key, where it wants one.
        site: `site_id` of events that name none; empty: the server's.
        batch: Events sent at a time, at most.
        linger: Longest time recorded events are gathered in memory before they are written
            with one sync, seconds. 0 writes each at once: nothing recorded is ever lost. An
            SD card lives longer with 0.5; then ``kill -9`` or a power cut may cost that time.
        timeout: Longest silence of the server before a try is given up, seconds.
        max_backoff: Longest pause between two tries, seconds.
        max_bytes: Room for waiting events, bytes of JSON.
        when_full: ``refuse``: `event` raises when there is no room. ``drop_oldest``: the
            oldest make room; `Status.dropped` counts them.
        ca_file: Certificates to trust instead of the system's.

    Raises:
        ConfigurationError: The address or key cannot be used, or another process has the spool.
        DatabaseDamaged: The spool file is damaged or not a spool.
    """

    def __init__(
        self,
        server: str,
        *,
        spool: str | os.PathLike[str],
        api_key: str = "",
        site: str = "",
        batch: int = 500,
        linger: float = 0.0,
        timeout: float = 30.0,
        max_backoff: float = 60.0,
        max_bytes: int = MAX_BYTES,
        when_full: WhenFull = "refuse",
        ca_file: Path | None = None,
    ) -> None:
        if batch < 1 or linger < 0 or timeout <= 0 or max_backoff <= 0 or max_bytes < 1:
            raise ConfigurationError("Sizes and times of a sender must be positive.")
        self._link = Link(server, api_key=api_key, timeout=timeout, ca_file=ca_file)
        self._spool = Spool(Path(spool), max_bytes=max_bytes, when_full=when_full)
        self._site = site
        self._linger = linger
        self._max_backoff = max_backoff
        self._most = self._limit = batch
        # Everything below is guarded by this condition.
        self._changed = threading.Condition()
        self._counts = Status()
        self._trouble: Trouble | None = None
        self._tries = 0
        self._hurry = self._closing = False
        self._ended = threading.Event()
        # Rows to be named among duplicates that were stored in an answer before.
        self._counted = 0
        self._unwritten: list[tuple[str, bytes]] = []
        self._lingering = 0
        self._writing = threading.Lock()
        self._threads = [threading.Thread(target=self._run, name="andon-client", daemon=True)]
        if linger:
            writer = threading.Thread(target=self._write_often, name="andon-spool", daemon=True)
            self._threads.append(writer)
        for thread in self._threads:
            thread.start()

    def event(
        self,
        *,
        worker_id: str,
        workstation_id: str,
        event_type: str,
        confidence: float = 1.0,
        count: int | None = None,
        timestamp: datetime | None = None,
        **further: Any,
    ) -> str:
        """Record what a camera saw on the floor.

        Args:
            worker_id: Who.
            workstation_id: Where.
            event_type: ``working``, ``idle``, ``absent`` or ``product_count``.
            confidence: Of the detection, 0 to 1.
            count: Units, for ``product_count``.
            timestamp: When, with a zone; None: now.
            further: `camera_id`, `site_id`, `model_version`, `event_id`.

        Returns:
            Its `event_id`.

        Raises:
            StorageFull: It could not be recorded: the spool or the disk is full.
            InvalidRequest: The time has no zone, or a value is nothing JSON can hold.
        """
        item = {
            "worker_id": worker_id,
            "workstation_id": workstation_id,
            "event_type": event_type,
            "confidence": confidence,
            "count": count,
        }
        return self._record("factory", item, timestamp, further)

    def telemetry(
        self,
        *,
        ear_value: float,
        is_drowsy: bool,
        duration_ms: float,
        driver_id: str = "",
        timestamp: datetime | None = None,
        **further: Any,
    ) -> str:
        """Record a measurement of a driver's eyes.

        Args:
            ear_value: Eye aspect ratio.
            is_drowsy: What the device concludes.
            duration_ms: How long the eyes have been closed, milliseconds.
            driver_id: Who; empty: unknown.
            timestamp: When, with a zone; None: now.
            further: `device_id`, `site_id`, `event_id`.

        Returns:
            Its `event_id`.

        Raises:
            StorageFull: It could not be recorded: the spool or the disk is full.
            InvalidRequest: The time has no zone, or a value is nothing JSON can hold.
        """
        item = {
            "ear_value": ear_value,
            "is_drowsy": is_drowsy,
            "duration_ms": duration_ms,
            "driver_id": driver_id or None,
        }
        return self._record("telemetry", item, timestamp, further)

    def add_all(self, kind: Kind, items: Iterable[Mapping[str, Any]]) -> int:
        """Record objects as they are, all or none, with one sync; how many there were.

        An `event_id` is added only where there is no `timestamp` either: what carries its time
        is known to the server by its content, so that sending the same file twice counts once.

        Raises:
            StorageFull: Not enough room; none of them was recorded.
            InvalidRequest: A value is nothing JSON can hold, an object is too large, or there
                is no such kind.
        """
        if kind not in ROUTES:
            raise InvalidRequest(f"{kind!r} is no kind of event: {', '.join(ROUTES)} are.")
        bodies = [self._body(kind, item) for item in items]
        self._write_lingering()  # they came first
        self._write(kind, bodies)
        return len(bodies)

    def flush(self, timeout: float | None = None) -> bool:
        """Send what waits, now, and wait until it is delivered.

        Args:
            timeout: Longest time to wait, seconds; None: for ever.

        Returns:
            Whether nothing waits any more. False comes before the time is over when only a
            person can help (a wrong key or address): `status` says what is wrong.

        Raises:
            StorageFull: Lingering events cannot be written to the spool.
        """
        self._write_lingering()
        with self._changed:
            before, self._tries, self._hurry = self._trouble, 0, True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._flushed_or_hopeless(before), timeout)
            return self._spool.waiting == 0

    def pending(self) -> int:
        """How many recorded events the server has not answered for."""
        return self._spool.waiting + len(self._unwritten)

    def status(self) -> Status:
        """How this sender stands."""
        with self._changed:
            return msgspec.structs.replace(
                self._counts,
                waiting=self.pending(),
                dropped=self._spool.dropped,
                problem=self._trouble.why if self._trouble else "",
            )

    def rejected(self, limit: int = 100) -> list[Rejected]:
        """What the server refused, and why, newest first; the spool keeps the last 10,000."""
        return self._spool.rejected(limit)

    def retry_rejected(self) -> int:
        """Send what was refused again (a worker was registered meanwhile); how many they are."""
        count = self._spool.retry_rejected()
        self._tell()
        return count

    def close(self, timeout: float = 5.0) -> None:
        """Write what lingers, try for a moment to deliver, and stop. Safe to call twice.

        Args:
            timeout: Longest time to deliver what waits, seconds. Where the server is away,
                closing does not wait for it: the spool keeps everything for the next start.

        Raises:
            StorageFull: Lingering events cannot be written to the spool; they are lost.
        """
        try:
            self._write_lingering()
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closing or self._trouble or not self._spool.waiting, timeout
                )
        finally:
            with self._changed:
                self._closing = True
                self._changed.notify_all()
            self._ended.set()
            self._threads[0].join(_GRACE)
            self._link.cut()
            # One that still waits for a connection meets a closed spool, and ends.
            for thread in self._threads:
                thread.join(_GRACE)
            self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- Recording ------------------------------------------------------------------------

    def _record(
        self, kind: Kind, item: dict[str, Any], at: datetime | None, further: dict[str, Any]
    ) -> str:
        moment = datetime.now(UTC) if at is None else at
        if moment.tzinfo is None:
            raise InvalidRequest(
                f"The time {moment.isoformat()} names no moment: it has no UTC offset.",
                hint="Use datetime.now(timezone.utc), or leave the timestamp out for now.",
            )
        item = {"timestamp": moment.astimezone(UTC), **item, **further}
        item["event_id"] = event_id = str(further.get("event_id") or uuid7())
        body = self._body(kind, item)
        if self._linger:
            self._linger_with(kind, body)
        else:
            self._write(kind, [body])
        return event_id

    def _body(self, kind: Kind, item: Mapping[str, Any]) -> bytes:
        """The event as JSON, without what is None."""
        filled = {name: value for name, value in item.items() if value is not None}
        if self._site:
            filled.setdefault("site_id", self._site)
        if kind == "telemetry":
            # Otherwise the server would take the time of arrival, and every retry for a new one.
            if "timestamp" not in filled:
                filled.setdefault("event_id", uuid7())
            filled.setdefault("timestamp", datetime.now(UTC))
        try:
            body = msgspec.json.encode(filled, enc_hook=_number)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"An event cannot be written as JSON: {error}.") from error
        if len(body) > MAX_ITEM:
            raise InvalidRequest(f"An event of {len(body)} bytes is too large; {MAX_ITEM} fit.")
        return body

    def _write(self, kind: str, bodies: list[bytes]) -> None:
        if bodies:
            self._spool.add(kind, bodies)
            self._tell(recorded=len(bodies))

    def _linger_with(self, kind: str, body: bytes) -> None:
        with self._changed:
            if self._closing:
                raise ConfigurationError("The sender is closed already.")
            full = self._lingering > _MAX_BODY
        if full:  # the disk is full, or events come faster than the card takes them
            self._write_lingering()
        with self._changed:
            self._unwritten.append((kind, body))
            self._lingering += len(body)

    def _write_often(self) -> None:
        while not self._ended.wait(self._linger):
            # Kept in memory and tried again; `event` raises once they are too many.
            with contextlib.suppress(AndonError):
                self._write_lingering()

    def _write_lingering(self) -> None:
        with self._writing:
            with self._changed:
                taken = list(self._unwritten)
            start = 0
            while start < len(taken):
                kind, end = taken[start][0], start
                while end < len(taken) and taken[end][0] == kind:
                    end += 1
                self._write(kind, [body for _, body in taken[start:end]])
                with self._changed:
                    del self._unwritten[: end - start]
                    self._lingering -= sum(len(body) for _, body in taken[start:end])
                start = end

    def _tell(self, **counts: int) -> None:
        """Add to the counts and wake whoever waits for a change."""
        with self._changed:
            self._count(**counts)
            self._changed.notify_all()

    def _count(self, **counts: int) -> None:
        new = {name: getattr(self._counts, name) + more for name, more in counts.items()}
        self._counts = msgspec.structs.replace(self._counts, **new)

    # -- Delivering -----------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._spool.waiting)
                if self._closing:
                    self._link.close()
                    return
            try:
                trouble = self._deliver()
            except AndonError as error:  # the disk is full: nothing can be removed
                trouble = Trouble(str(error))
            except Exception as error:
                _log.exception("delivering events failed; it is tried again")
                trouble = Trouble(f"Delivering failed: {error}.")
            self._pause(trouble)

    def _deliver(self) -> Trouble | None:
        """Send one batch; what hinders, if anything."""
        found = self._spool.head(self._limit, _MAX_BODY)
        if found is None:
            return None
        kind, items = found
        path = ROUTES.get(kind)
        if path is None:
            self._spool.settle(kind, [], [(item, f"Unknown kind {kind}.") for item in items])
            return None
        body = b"[" + b",".join(item.body for item in items) + b"]"
        try:
            reply = self._link.post(path, body)
        except Unreachable as error:
            return Trouble(f"{self._link.server} cannot be reached: {error}.")
        verdict = judge(reply, path, len(items))
        if isinstance(verdict, Trouble):
            return verdict
        if isinstance(verdict, Halve):
            self._limit = max(1, len(items) // 2)
            if verdict.lasting:
                self._most = self._limit
            return None
        self._settle(kind, items, verdict)
        return None

    def _settle(self, kind: str, items: list[Item], answer: Settled) -> None:
        refused = [(items[index], reason) for index, reason in sorted(answer.refused.items())]
        stored, repeats = answer.stored, answer.duplicates
        done = [item for index, item in enumerate(items) if index not in answer.refused]
        # Which rows are stored is not known where some refused ones are not named: all but the
        # named go again, fewer at a time, and what was stored now comes back as a duplicate.
        self._spool.settle(kind, [] if answer.unnamed else done, refused)
        again = min(repeats, self._counted)
        if answer.unnamed:
            self._limit = max(1, min(self._limit, len(answer.refused)))
            self._counted += stored + repeats - again
        else:
            self._limit = min(self._most, self._limit * 2)
            self._counted -= again
        repeats -= again
        self._tell(
            sent=stored + repeats + len(refused),
            stored=stored,
            duplicates=repeats,
            refused=len(refused),
        )
        if refused:
            item, reason = refused[0]
            _log.warning("%d events refused; first: %s %r", len(refused), reason, item.body)

    def _pause(self, trouble: Trouble | None) -> None:
        """Note how it went; after trouble, wait: longer each time, with jitter."""
        with self._changed:
            if trouble is None:
                if self._trouble is not None:
                    _log.info("%s takes events again", self._link.server)
                self._trouble, self._tries = None, 0
                self._changed.notify_all()
                return
            if self._closing:
                return
            if self._trouble is None or self._trouble.why != trouble.why:
                _log.warning("%s %d events wait.", trouble.why, self._spool.waiting)
            self._trouble = trouble
            self._hurry = False
            self._changed.notify_all()
            # Half of it is chance: cameras that lost one server come back one by one.
            longest = min(self._max_backoff, _FIRST_PAUSE * 2 ** min(self._tries, 16))
            pause = longest * random.uniform(0.5, 1.0)
            self._tries += 1
            if trouble.retry_after is not None:
                asked = min(trouble.retry_after, _LONGEST_RETRY_AFTER)
                pause = max(pause, asked * random.uniform(1.0, 1.1))
                self._changed.wait_for(lambda: self._closing, pause)
            else:
                self._changed.wait_for(lambda: self._closing or self._hurry, pause)

    def _flushed_or_hopeless(self, before: Trouble | None) -> bool:
        """Whether all is sent, or a try since `before` has met what only a person can mend."""
        now = self._trouble
        hopeless = now is not None and now is not before and now.lasting
        return self._closing or hopeless or not self._spool.waiting


def _number(value: Any) -> Any:
    """A NumPy number as Python's: what detectors hand out."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} is nothing JSON knows")
