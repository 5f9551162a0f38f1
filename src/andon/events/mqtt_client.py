"""The connection to the MQTT broker: kept up, subscribed, never in anybody's way.

Everything that knows paho-mqtt is here, and only imported where a broker is set. MQTT 5 with a
session that the broker keeps: what is published while Andon is away waits there. Section
numbers are those of https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html.
"""

import random
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from andon.events.mqtt_address import BrokerAddress
from andon.events.mqtt_messages import MAX_PAYLOAD, Message, Messages

log = structlog.get_logger("andon.mqtt")

_KEPT_OF_TOO_LARGE = 16 * 1024
# What the broker may send at most (3.1.2.11.4): beyond it, it throws a message away unsent.
_MAX_PACKET = 16 * 1024**2
# Messages on their way that were not acknowledged (3.1.2.11.3).
_RECEIVE_MAXIMUM = 100
# How long the broker keeps the session while we are away (3.1.2.11.2), seconds.
_SESSION_EXPIRY = 30 * 86_400
_KEEP_ALIVE = 30
_REFUSED = 0x80

_STOP_SECONDS = 5.0
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 60.0
# A connection that stood this long was a good one: the next one may follow quickly.
_PROVEN = 30.0
# A broker ends the older of two connections with one name, and so on for ever.
_SUSPICIOUS = 3


class Connection:
    """A connection that comes back.

    Args:
        address: The broker.
        client_id: Name of the session at the broker.
        topics: Subscribed to with QoS 1.
        messages: Where what arrives is put.
        expected: Whether the broker should have a session of that name already.
        connected: Told when the topics are subscribed to.
        failed: Told why there is no connection, a sentence without credentials.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        topics: Sequence[str],
        messages: Messages,
        *,
        expected: bool,
        connected: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self._address = address
        self._topics = list(topics)
        self._messages = messages
        self._expected = expected
        self._connected = connected
        self._failed = failed
        self._failures = 0
        self._since = 0.0
        self._refused = ""
        self._stopping = threading.Event()
        self._client = client = _Client(address, client_id, manual_ack=True)
        client.broken = self._on_broken
        client.ending = self._stopping
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = self._on_socket_close

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._client.connect_soon(_session_properties())
        self._client.loop_start()

    def stop(self) -> None:
        """Say good-bye; the broker keeps the session."""
        self._stopping.set()
        self._client.disconnect()
        # Its thread may be in the middle of a greeting that nobody answers.
        ending = threading.Thread(target=self._client.loop_stop, daemon=True)
        ending.start()
        ending.join(_STOP_SECONDS)

    def acknowledge(self, mid: int, qos: int) -> None:
        """Tell the broker that a message of the present connection is stored."""
        self._client.ack(mid, qos)

    def subscribe_again(self) -> None:
        """Ask once more where the broker refused a subscription: rights may have changed."""
        if self._refused and self._client.is_connected():
            self._subscribe()

    # -- Called by paho's thread ------------------------------------------------------------

    def _on_connect(
        self, _client: Any, _data: Any, flags: paho.ConnectFlags, code: ReasonCode, _more: Any
    ) -> None:
        if code.is_failure:
            self._refused = f"The broker refuses the connection: {code}."
            return
        self._refused = ""
        self._since = time.monotonic()
        self._messages.opened(session_present=flags.session_present)
        if self._expected and not flags.session_present:
            log.warning(
                "The MQTT broker has forgotten Andon's session, and with it what was published "
                "and not yet fetched: look at its persistence and its limits"
            )
        self._expected = True
        self._subscribe()

    def _subscribe(self) -> None:
        # Messages kept by the broker (retained) come with a new subscription only (3.8.3.1).
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        self._client.subscribe([(topic, options) for topic in self._topics])

    def _on_subscribe(
        self, _client: Any, _data: Any, _mid: int, codes: list[ReasonCode], _more: Any
    ) -> None:
        refused = [
            f"{topic} ({code})"
            for topic, code in zip(self._topics, codes, strict=False)
            if code.value >= _REFUSED
        ]
        if refused:
            self._refused = f"The broker refuses the subscription to {', '.join(refused)}."
            self._failed(self._refused)
            return
        self._refused = ""
        self._connected()

    def _on_message(self, _client: Any, _data: Any, received: paho.MQTTMessage) -> None:
        try:
            topic = received.topic
        except UnicodeDecodeError:
            topic = "(not UTF-8)"
        payload = bytes(received.payload)
        size = len(payload)
        if size > MAX_PAYLOAD:
            payload = payload[:_KEPT_OF_TOO_LARGE]
        message = Message(topic, payload, size=size, qos=received.qos, mid=received.mid)
        self._messages.put(message, again=received.dup)

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self._wait_longer()
        self._failed(f"The broker cannot be reached{self._client.why()}.")

    def _on_disconnect(
        self, _client: Any, _data: Any, flags: paho.DisconnectFlags, code: ReasonCode, _more: Any
    ) -> None:
        if self._stopping.is_set():
            return
        if time.monotonic() - self._since > _PROVEN:
            self._failures = 0
        self._wait_longer()
        if self._refused:
            # It says more than "protocol error", which follows it.
            self._failed(self._refused)
            return
        why = "The connection was lost."
        if flags.is_disconnect_packet_from_server:
            why = f"The broker ended the connection ({code})."
        if self._failures > _SUSPICIOUS:
            why += " Perhaps another client has the same ANDON_MQTT_CLIENT_ID."
        self._failed(why)

    def _on_socket_close(self, _client: Any, _data: Any, _socket: Any) -> None:
        self._messages.lost()

    def _on_broken(self, error: Exception) -> None:
        log.error("The MQTT client failed", exc_info=error)
        self._wait_longer()
        self._failed(f"The broker sent what cannot be read ({type(error).__name__}).")

    def _wait_longer(self) -> None:
        """Twice as long as last time, and never in step with other clients."""
        longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2**self._failures)
        self._failures = min(self._failures + 1, 10)
        self._client.delay(random.uniform(longest / 2, longest))


class _Client(paho.Client):
    """paho's client with a time limit on nothing but waiting, and a thread that does not die."""

    def __init__(self, address: BrokerAddress, client_id: str, *, manual_ack: bool) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5,
            manual_ack=manual_ack,
        )
        self._address = address
        self._error = ""
        self._pause = _FIRST_DELAY
        self.broken: Callable[[Exception], None] = lambda _error: None
        self.ending = threading.Event()
        self.username = address.username
        self.password = address.password
        if address.tls:
            self.tls_set_context(ssl.create_default_context())

    def delay(self, seconds: float) -> None:
        """Wait this long before the next attempt."""
        self._pause = seconds
        # paho declares whole seconds, and does nothing with them but add.
        self.reconnect_delay_set(seconds, seconds)  # type: ignore[arg-type]

    def connect_soon(self, properties: Properties) -> None:
        """Connect when the loop starts, to the session that is there."""
        self._wanted = properties
        self.connect_async(
            self._address.host,
            self._address.port,
            keepalive=_KEEP_ALIVE,
            clean_start=False,
            properties=properties,
        )

    def reconnect(self) -> MQTTErrorCode:
        """As paho's; remembers why it failed."""
        self._error = ""
        try:
            return super().reconnect()
        except OSError as error:
            # Not the error itself: it would keep the socket.
            said = error.strerror or str(error)
            self._error = f"{type(error).__name__}: {said}" if said else type(error).__name__
            raise

    def why(self) -> str:
        """What the last attempt failed with, to be put behind a sentence; empty if unknown."""
        return f" ({self._error})" if self._error else ""

    def loop_forever(
        self, timeout: float = 1.0, retry_first_connection: bool = False
    ) -> MQTTErrorCode:
        """As paho's; starts over where a packet that it cannot read would end the thread."""
        while True:
            try:
                return super().loop_forever(timeout, retry_first_connection)
            except Exception as error:
                self.broken(error)
                if self.ending.wait(self._pause):
                    return MQTTErrorCode.MQTT_ERR_PROTOCOL
                self.connect_soon(self._wanted)


def _session_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = _SESSION_EXPIRY
    properties.ReceiveMaximum = _RECEIVE_MAXIMUM
    properties.MaximumPacketSize = _MAX_PACKET
    return properties


def probe(address: BrokerAddress, topics: Sequence[str], *, timeout: float = 5.0) -> str:
    """Connect and subscribe once, under another name, leaving nothing at the broker.

    Returns:
        What is wrong, a sentence; empty when the broker takes us.
    """
    client = _Client(address, f"andon-doctor-{random.getrandbits(48):012x}", manual_ack=False)
    answered = threading.Event()
    found: list[str] = ["The broker does not answer."]

    def on_connect(_client: Any, _data: Any, _flags: Any, code: ReasonCode, _more: Any) -> None:
        if code.is_failure:
            found[0] = f"The broker refuses the connection: {code}."
            answered.set()
            return
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        client.subscribe([(topic, options) for topic in topics])

    def on_subscribe(
        _client: Any, _data: Any, _mid: int, codes: list[ReasonCode], _more: Any
    ) -> None:
        refused = [str(code) for code in codes if code.value >= _REFUSED]
        found[0] = f"The broker refuses the subscription: {refused[0]}." if refused else ""
        answered.set()

    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    try:
        client.connect(address.host, address.port, keepalive=_KEEP_ALIVE, clean_start=True)
    except OSError:
        return f"The broker cannot be reached{client.why()}."
    client.loop_start()
    answered.wait(timeout)
    client.disconnect()
    client.loop_stop()
    return found[0]
