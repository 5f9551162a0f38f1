"""A real Mosquitto of the test's own: on a free port, with a session store in its folder.

It can be killed and started again on the same port; `Publisher` sends as a camera would.
"""

import contextlib
import getpass
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.support.policy import absent

# Debian keeps it out of the search path of users.
_PLACES = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto")
_WAIT = 20.0
_OPEN = ("allow_anonymous true", "max_queued_messages 0")


def until(condition: Callable[[], Any], what: str = "", seconds: float = _WAIT) -> Any:
    """Wait until a condition holds, and return what it says; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what or condition}"
        time.sleep(0.01)


def mosquitto() -> str:
    """The program; skips the test (or fails it in CI) where it is not installed."""
    found = shutil.which("mosquitto") or next((one for one in _PLACES if Path(one).exists()), None)
    return found or absent("no Mosquitto here: apt-get install mosquitto")


class Broker:
    """A broker with persistence.

    Args:
        folder: Of its own, empty.
        extra: Further lines of its configuration; without any, everybody is let in.
    """

    def __init__(self, folder: Path, *extra: str) -> None:
        self.program = mosquitto()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = _free_port()
        self.configuration = folder / "mosquitto.conf"
        self.configuration.write_text(
            "\n".join(
                [
                    f"listener {self.port} 127.0.0.1",
                    # Started by root it would become a user who may not write to the folder.
                    f"user {getpass.getuser()}",
                    "persistence true",
                    f"persistence_location {folder}/",
                    # Every change is written at once, so that even a kill loses none.
                    "autosave_on_changes true",
                    "autosave_interval 1",
                    f"log_dest file {folder}/log",
                    *(extra or _OPEN),
                ]
            )
            + "\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address for the setting `mqtt_url`."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> "Broker":
        """Start it; it answers when this returns."""
        assert self._process is None
        command = [self.program, "-c", str(self.configuration)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self.answers, f"mosquitto on {self.port}")
        return self

    def answers(self) -> bool:
        """Whether somebody listens on its port."""
        assert self._process is None or self._process.poll() is None, self.log()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it in good order: it saves what it holds."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """`kill -9`."""
        self._end(signal.SIGKILL)

    def log(self) -> str:
        """What it wrote."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=_WAIT)
            self._process = None


@contextlib.contextmanager
def running(folder: Path, *extra: str) -> Iterator[Broker]:
    """A broker that is ended with the block."""
    broker = Broker(folder, *extra).start()
    try:
        yield broker
    finally:
        broker.stop()


class Publisher:
    """Publishes as a camera does, and waits until the broker has taken it."""

    def __init__(self, broker: Broker, **login: str) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if login:
            self._client.username_pw_set(login["username"], login["password"])
        self._client.reconnect_delay_set(1, 1)
        ready = threading.Event()
        self._client.on_connect = lambda *_: ready.set()
        self._sent = self._taken = 0
        self._client.on_publish = self._on_publish
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", broker.port, clean_start=True, properties=properties)
        self._client.loop_start()
        assert ready.wait(_WAIT)

    def send(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish and wait until the broker has taken this and all before."""
        self.later(topic, payload, qos=qos, retain=retain)
        self.wait()

    def later(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish without waiting; without a connection, as soon as there is one."""
        self._sent += 1
        self._client.publish(topic, payload, qos=qos, retain=retain)

    def wait(self) -> None:
        """Until the broker has taken everything."""
        until(lambda: self._taken == self._sent, "the broker's acknowledgements")

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_publish(self, *_: Any) -> None:
        self._taken += 1


@contextlib.contextmanager
def publishing(broker: Broker, **login: str) -> Iterator[Publisher]:
    """A publisher that is ended with the block."""
    publisher = Publisher(broker, **login)
    try:
        yield publisher
    finally:
        publisher.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
