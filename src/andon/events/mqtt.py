"""Events by MQTT: a message is acknowledged when everything in it is on disk.

Three parties: paho's thread receives and never waits (`mqtt_client`), the messages wait
(`mqtt_messages`), and one thread here stores what has gathered in one go, keeps aside what
cannot be used, and acknowledges in order. Whatever is not acknowledged the broker sends again,
and storing an event twice is storing it once: so nothing is lost and nothing counts twice.
"""

import random
import threading
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from andon.errors import AndonError, DatabaseDamaged, Unavailable
from andon.events.counting import EventMetrics
from andon.events.intake import EventIntake, Report
from andon.events.mqtt_address import SESSION_NAME, check_prefix, client_id, read_address
from andon.events.mqtt_messages import MAX_PAYLOAD, Message, Messages
from andon.events.reading import Kind, Reading, checked_id
from andon.settings import Settings
from andon.store.clock import now
from andon.store.database import Database

if TYPE_CHECKING:
    from andon.events.mqtt_client import Connection

log = structlog.get_logger("andon.mqtt")

_KINDS: dict[str, Kind] = {"events": "factory", "telemetry": "telemetry"}
# How often the thread looks up when nothing comes, seconds.
_TICK = 15.0
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 30.0
# A broker that was restarted is back within this time, seconds.
_BLINK = 10.0
# Waits for the group in work when stopping: as long as SQLite waits for a lock, and more.
_STOP_SECONDS = 15.0
# What fails so often without anybody knowing why is the message's own fault.
_ODD_FAILURES = 5
_SAID = 20


class MqttState(msgspec.Struct, frozen=True):
    """How the intake is.

    Attributes:
        broker: Host and port.
        connected: Whether it is connected and subscribed.
        since: Since when it is, or is not.
        why: Why it is not; empty while it is.
        waiting: Messages received and not yet acknowledged.
        held_up: Why they cannot be stored now; empty while they can.
    """

    broker: str
    connected: bool
    since: datetime
    why: str
    waiting: int
    held_up: str


class MqttIntake:
    """Takes events from a broker.

    Args:
        settings: With `mqtt_url`.
        intake: Stores what was read.
        db: Keeps aside what could not be.
        metrics: Where it counts.

    Raises:
        ConfigurationError: The URL, the prefix or the session's name cannot be used.
    """

    def __init__(
        self, settings: Settings, intake: EventIntake, db: Database, metrics: EventMetrics
    ) -> None:
        self._address = read_address(settings.mqtt_url.get_secret_value())
        self._prefix = check_prefix(settings.mqtt_topic_prefix)
        self._intake = intake
        self._db = db
        self._meters = metrics.mqtt()
        self._messages = Messages(dropped=self._dropped)
        self._meters.waiting.set_function(lambda: float(len(self._messages)))
        self._lock = threading.Lock()
        self._connected = False
        self._since = now()
        self._why = "Not connected yet."
        self._held_up = ""
        self._connections = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._known = (settings.home / SESSION_NAME).exists()
        self._client_id = client_id(settings.mqtt_client_id, settings.home)

    def start(self) -> None:
        """Begin; returns at once, whether the broker is there or not."""
        # paho-mqtt takes memory that only those who use it should pay for.
        from andon.events.mqtt_client import Connection  # noqa: PLC0415

        topics = [f"{self._prefix}/+/{name}" for name in _KINDS]
        self._connection = Connection(
            self._address,
            self._client_id,
            topics,
            self._messages,
            expected=self._known,
            connected=self._on_connected,
            failed=self._on_failed,
        )
        self._thread = threading.Thread(target=self._run, name="andon-mqtt", daemon=True)
        self._thread.start()
        self._connection.start()

    def stop(self) -> None:
        """End: the group in work is stored and acknowledged, the rest comes again. Repeatable."""
        self._stopping.set()
        self._messages.close()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            self._thread = None
        if self._connection is not None:
            self._connection.stop()
            self._connection = None

    def state(self) -> MqttState:
        """How it is now."""
        with self._lock:
            return MqttState(
                broker=str(self._address),
                connected=self._connected,
                since=self._since,
                why=self._why,
                waiting=len(self._messages),
                held_up=self._held_up,
            )

    def trouble(self) -> str:
        """What is wrong, for strangers: no names, no addresses. Empty while all is well."""
        state = self.state()
        if state.held_up:
            return f"Events received by MQTT wait: {state.held_up}"
        if state.connected or (now() - state.since).total_seconds() < _BLINK:
            return ""
        # A certificate's error may name the host.
        why = state.why.replace(self._address.host, "…")
        return f"No MQTT broker since {state.since:%Y-%m-%dT%H:%M:%SZ}. {why}"

    # -- Called by the connection -----------------------------------------------------------

    def _on_connected(self) -> None:
        with self._lock:
            if not self._connected:
                self._since = now()
            self._connected, self._why = True, ""
            again = self._connections > 0
            self._connections += 1
        self._meters.connected.set(1)
        if again:
            self._meters.reconnects.inc()
        log.info("Connected to the MQTT broker", broker=str(self._address))

    def _on_failed(self, why: str) -> None:
        with self._lock:
            news = self._connected or self._why != why
            if self._connected:
                self._since = now()
            self._connected, self._why = False, why
        self._meters.connected.set(0)
        if news:
            log.warning(f"No MQTT: {why}", broker=str(self._address))

    def _dropped(self, qos: int) -> None:
        self._meters.dropped.labels(str(qos)).inc()

    # -- The thread -------------------------------------------------------------------------

    def _run(self) -> None:
        group: list[Message] = []
        while not self._stopping.is_set():
            try:
                group = self._messages.take(_TICK)
                if group and not self._stopping.is_set():
                    self._work_off(group)
                elif self._connection is not None:
                    self._connection.subscribe_again()
            # A thread that dies silently would leave the floor unheard for good.
            except Exception:
                log.exception("The MQTT intake failed")
                self._messages.put_back(group)
                self._stopping.wait(_FIRST_WAIT)

    def _work_off(self, group: list[Message]) -> None:
        """Store and acknowledge; tries until it succeeds or Andon stops."""
        parcels = [self._open(message) for message in group if not message.stored]
        failures = 0
        while not self._stored(parcels):
            longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2**failures)
            failures = min(failures + 1, 10)
            if self._stopping.wait(random.uniform(longest / 2, longest)):
                return
        connection = self._connection
        if connection is not None:
            self._messages.settle(group, connection.acknowledge)
        if self._held_up:
            log.info("MQTT events are stored again")
            self._held_up = ""

    def _open(self, message: Message) -> "_Parcel":
        """Read a message; what it says wrong becomes a reason to keep it aside."""
        parcel = _Parcel(message)
        site, _, name = message.topic.removeprefix(f"{self._prefix}/").partition("/")
        try:
            checked_id(site)
        except ValueError as error:
            parcel.set_aside("topic", f"The site in the topic {error}.")
            return parcel
        parcel.kind = _KINDS[name]
        if message.size > len(message.payload):
            parcel.set_aside(
                "too_large",
                f"The message has {message.size} bytes; {MAX_PAYLOAD} are read. Send fewer events "
                "in one message.",
            )
            return parcel
        try:
            parcel.reading = self._intake.read(
                parcel.kind, message.payload, source="mqtt", site=site, shape="any"
            )
        except AndonError as error:
            parcel.set_aside("unreadable", str(error))
        # Whatever a stranger sends must not stop what comes after it.
        except Exception as error:
            log.exception("An MQTT message could not be read", topic=message.topic)
            parcel.set_aside("unreadable", f"It cannot be read ({type(error).__name__}).")
        return parcel

    def _stored(self, parcels: list["_Parcel"]) -> bool:
        """Store what is not yet; whether all is done."""
        waiting = [(parcel, self._submit(parcel)) for parcel in parcels if parcel.to_store]
        trouble: list[BaseException] = []
        for parcel, future in waiting:
            try:
                parcel.done(future.result())
            except (Unavailable, DatabaseDamaged) as error:
                trouble.append(error)
            except AndonError as error:
                parcel.set_aside("unstorable", str(error))
            except Exception as error:
                parcel.failures += 1
                if parcel.failures < _ODD_FAILURES:
                    trouble.append(error)
                    continue
                log.exception("An MQTT message could not be stored", topic=parcel.message.topic)
                parcel.set_aside("unstorable", f"It cannot be stored ({type(error).__name__}).")
        try:
            self._keep_aside(parcels)
        except AndonError as error:
            trouble.append(error)
        if trouble:
            self._hold_up(trouble[0])
        return not trouble

    def _submit(self, parcel: "_Parcel") -> "Future[Report]":
        """Hand over a message's rows; never raises, the future does."""
        try:
            assert parcel.reading is not None
            return self._intake.submit(parcel.kind, parcel.reading)
        except Exception as error:
            failed: Future[Report] = Future()
            failed.set_exception(error)
            return failed

    def _keep_aside(self, parcels: list["_Parcel"]) -> None:
        """Keep what could not be used, before it is acknowledged."""
        aside = [parcel for parcel in parcels if parcel.label and not parcel.to_store]
        if not aside:
            return
        self._db.rejected.add_all(
            [(one.message.topic, one.message.payload, one.reason) for one in aside]
        )
        for parcel in aside:
            self._meters.rejected.labels(parcel.label).inc()
            parcel.label = ""

    def _hold_up(self, error: BaseException) -> None:
        title = error.title if isinstance(error, AndonError) else type(error).__name__
        said = f"{title}. The log tells more."
        if said != self._held_up:
            log.warning(f"MQTT events wait to be stored: {error}")
            self._held_up = said


class _Parcel:
    """A message on its way into the database."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.kind: Kind = "factory"
        self.reading: Reading[Any] | None = None
        self.failures = 0
        self.label = ""
        self.reason = ""

    @property
    def to_store(self) -> bool:
        """Whether it holds rows that are not stored yet."""
        return self.reading is not None

    def set_aside(self, label: str, reason: str) -> None:
        """It cannot be stored."""
        self.reading = None
        self.label, self.reason = label, reason

    def done(self, report: "Report") -> None:
        """It is stored, but perhaps for some of its events."""
        self.reading = None
        if not report.rejected:
            return
        said = [f"event {error.index}: {error.detail}" for error in report.errors[:_SAID]]
        more = report.rejected - len(said)
        if more:
            said.append(f"and {more} more")
        self.label = "events"
        self.reason = f"{report.rejected} of {report.total} not stored. {'; '.join(said)}"
