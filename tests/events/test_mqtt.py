"""Events by MQTT, through a real Mosquitto into real databases."""

import contextlib
import itertools
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from sqlalchemy import make_url
from structlog.testing import capture_logs
from tests.support.broker import Broker, Publisher, publishing, running, until
from tests.support.floor import Told, at, register, state, stored_sums, sums, units
from tests.support.forks import Forks
from tests.support.gate import Gate, gated
from tests.support.policy import absent

from andon.events import mqtt as mqtt_module
from andon.events import mqtt_client
from andon.events.counting import EventMetrics
from andon.events.intake import EventIntake
from andon.events.mqtt import MqttIntake
from andon.settings import Settings
from andon.store.database import Database

EVENTS = "andon/main/events"


class Floor:
    """An intake on a broker and a database; `start` and `stop` as often as wanted."""

    def __init__(self, db: Database, broker: Broker, home: Path, **given: Any) -> None:
        self.db = db
        self.broker = broker
        home.mkdir(exist_ok=True)
        self.settings = Settings(home=home, _env_file=None, **{"mqtt_url": broker.url, **given})
        self.mqtt: MqttIntake | None = None

    def start(self, *, wait: bool = True) -> "Floor":
        """Begin, and wait for the connection."""
        self.metrics = EventMetrics()
        intake = EventIntake(self.db, self.settings, self.metrics)
        self.mqtt = MqttIntake(self.settings, intake, self.db, self.metrics)
        self.mqtt.start()
        if wait:
            until(lambda: self.mqtt.state().connected, "the connection")
        return self

    def stop(self) -> None:
        """End in good order."""
        if self.mqtt is not None:
            self.mqtt.stop()
            self.mqtt = None

    def stored(self) -> list[str]:
        """Type of every stored event, by time."""
        found, _ = self.db.factory.page(limit=1000)
        return [one.event_type for one in reversed(found)]

    def count(self) -> int:
        """How many events are stored."""
        with self.db.read() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM factory_events").scalar() or 0

    def counted(self) -> dict[str, float]:
        """How many factory events were stored, repeats and rejected since the start."""
        return {
            outcome: self.value(
                "andon_events_total", kind="factory", source="mqtt", outcome=outcome
            )
            for outcome in ("stored", "duplicate", "rejected")
        }

    def value(self, name: str, **labels: str) -> float | None:
        """A sample of the metrics."""
        return self.metrics.registry.get_sample_value(name, labels)

    def settled(self) -> bool:
        """Whether nothing waits for its acknowledgement."""
        return self.mqtt.state().waiting == 0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of this test."""
    with running(tmp_path / "broker") as made:
        yield made


@pytest.fixture
def camera(broker: Broker) -> Iterator[Publisher]:
    """Publishes on it."""
    with publishing(broker) as made:
        yield made


@pytest.fixture
def floor(db: Database, broker: Broker, tmp_path: Path) -> Iterator[Floor]:
    """A connected intake."""
    register(db)
    made = Floor(db, broker, tmp_path / "home").start()
    yield made
    made.stop()


@pytest.fixture
def sqlite_floor(sqlite_db: Database, broker: Broker, tmp_path: Path) -> Iterator[Floor]:
    """The same where the database makes no difference."""
    register(sqlite_db)
    made = Floor(sqlite_db, broker, tmp_path / "home").start()
    yield made
    made.stop()


def numbered(count: int, first: int = 0) -> list[Told]:
    """Counts of one unit, a second apart."""
    return [units(1, at(8, 0, number)) for number in range(first, first + count)]


def test_a_message_is_one_event_or_many(floor: Floor, camera: Publisher):
    """An object, an array, an object with `events`; repeats are duplicates."""
    one, two, three = state("working", at(8)), units(2, at(8, 1)), state("idle", at(8, 2))
    camera.send(EVENTS, one.json())
    camera.send(EVENTS, json.dumps([two.body()]).encode())
    camera.send(EVENTS, json.dumps({"events": [three.body(), one.body()]}).encode())
    until(lambda: floor.count() == 3)
    until(floor.settled)
    assert floor.stored() == ["working", "product_count", "idle"]
    assert stored_sums(floor.db, at(8), at(9)) == sums([one, two, three], at(8), at(9))
    assert floor.counted() == {"stored": 3, "duplicate": 1, "rejected": 0}
    assert floor.value("andon_events_mqtt_connected") == 1


def test_the_site_is_the_topics(floor: Floor, camera: Publisher):
    """An event needs not name it."""
    body = state("working", at(8)).body()
    del body["site_id"]
    camera.send("andon/north/events", json.dumps(body).encode())
    until(lambda: floor.count() == 1)
    (event,), _ = floor.db.factory.page(limit=10)
    assert (event.site_id, event.source) == ("north", "mqtt")


def test_telemetry_has_a_topic_of_its_own(floor: Floor, camera: Publisher):
    """A measurement needs no time; the site is the topic's."""
    camera.send("andon/cab/telemetry", b'{"ear_value": 0.2, "is_drowsy": true, "duration_ms": 90}')
    until(lambda: floor.db.telemetry.overall().events == 1)
    (measurement,), _ = floor.db.telemetry.page(limit=10)
    assert (measurement.site_id, measurement.source) == ("cab", "mqtt")


GOOD = json.dumps(state("working", at(8)).body())


@pytest.mark.parametrize(
    ("topic", "payload", "reason", "label"),
    [
        (EVENTS, "not JSON", "not JSON", "unreadable"),
        (EVENTS, "", "empty", "unreadable"),
        (EVENTS, '"text"', "object", "unreadable"),
        (EVENTS, "[]", "empty", "unreadable"),
        (EVENTS, "[" * 100_000, "not JSON", "unreadable"),
        (EVENTS, GOOD.replace("0.9", "7"), "confidence", "events"),
        (EVENTS, GOOD.replace("W1", "W9"), "W9", "events"),
        (EVENTS, GOOD + " " * 2**20, "1048", "too_large"),
        (EVENTS, "\x00\x01", "not JSON", "unreadable"),
        ("andon/north/events", GOOD, "north", "events"),
        ("andon//events", GOOD, "site in the topic", "topic"),
        (f"andon/{'x' * 65}/events", GOOD, "site in the topic", "topic"),
    ],
)
def test_what_cannot_be_used_is_kept_aside_with_the_reason(
    sqlite_floor: Floor, camera: Publisher, topic: str, payload: str, reason: str, label: str
):
    """Nobody waits for an answer there; whoever looks finds topic, payload and reason."""
    camera.send(topic, payload.encode())
    until(lambda: sqlite_floor.db.rejected.count() == 1)
    until(sqlite_floor.settled)
    (kept,) = sqlite_floor.db.rejected.recent()
    assert reason in kept.reason
    assert kept.topic == topic
    assert kept.payload[:5] == payload.replace("\x00", "\\x00")[:5]
    assert len(kept.payload) < 20_000
    assert sqlite_floor.count() == 0
    assert sqlite_floor.value("andon_events_rejected_messages_total", reason=label) == 1


def test_a_bad_event_costs_itself_alone(floor: Floor, camera: Publisher):
    """The good ones of its message are stored, and the next message is too."""
    rows = [one.body() for one in numbered(5)]
    rows[2]["count"] = -1
    rows[3]["worker_id"] = "nobody"
    camera.send(EVENTS, json.dumps(rows).encode())
    camera.send(EVENTS, state("idle", at(9)).json())
    until(lambda: floor.count() == 4)
    until(floor.settled)
    (kept,) = floor.db.rejected.recent()
    assert kept.reason.startswith("2 of 5 not stored. event 2: count")
    assert "event 3" in kept.reason
    assert "nobody" in kept.reason
    assert floor.counted() == {"stored": 4, "duplicate": 0, "rejected": 2}


def test_a_message_that_breaks_the_program_stops_nothing(
    floor: Floor, camera: Publisher, monkeypatch: pytest.MonkeyPatch
):
    """Neither what fails in reading nor what fails in storing comes again for ever."""
    monkeypatch.setattr(mqtt_module, "_FIRST_WAIT", 0.001)
    intake = floor.mqtt._intake
    real_read, real_submit = intake.read, intake.submit

    def read(kind, data, **more):
        if b"unreadable" in data:
            raise RuntimeError
        return real_read(kind, data, **more)

    def submit(kind, reading):
        if reading.rows[0].camera_id == "unstorable":
            raise RuntimeError
        return real_submit(kind, reading)

    monkeypatch.setattr(intake, "read", read)
    monkeypatch.setattr(intake, "submit", submit)
    for camera_id in ("unreadable", "unstorable", "good"):
        camera.send(EVENTS, state("idle", at(9), camera=camera_id).json())
    until(lambda: floor.count() == 1)
    until(floor.settled)
    assert floor.db.rejected.count() == 2


def test_messages_of_qos_0_are_taken_too(floor: Floor, camera: Publisher):
    """For devices that know no better."""
    camera.send(EVENTS, state("working", at(8)).json(), qos=0)
    until(lambda: floor.count() == 1)


def test_a_retained_message_is_stored_once(floor: Floor, camera: Publisher, tmp_path: Path):
    """The broker sends it to every new subscription."""
    camera.send(EVENTS, state("working", at(8)).json(), retain=True)
    until(lambda: floor.count() == 1)
    second = Floor(floor.db, floor.broker, tmp_path / "other").start()
    until(lambda: second.counted()["duplicate"] == 1)
    second.stop()
    assert floor.count() == 1


def test_what_is_published_while_andon_is_down_is_delivered_later(floor: Floor, camera: Publisher):
    """The broker keeps the session; after it was fetched nothing comes again."""
    floor.stop()
    for event in numbered(150):
        camera.later(EVENTS, event.json())
    camera.wait()
    floor.start()
    until(lambda: floor.count() == 150)
    until(floor.settled)
    assert floor.counted() == {"stored": 150, "duplicate": 0, "rejected": 0}
    floor.stop()
    # The broker reads packet by packet, and would rather greet than read on.
    name = (floor.settings.home / "mqtt-client-id").read_text().strip()
    until(lambda: floor.broker.log().count(f"{name} disconnected") == 2)
    floor.start()
    camera.send(EVENTS, state("idle", at(9)).json())
    until(lambda: floor.count() == 151)
    assert floor.counted() == {"stored": 1, "duplicate": 0, "rejected": 0}


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_broker_that_is_restarted_loses_nothing(floor: Floor, camera: Publisher, how: str):
    """In good order or by `kill -9`: all that the broker kept or handed over is stored, once."""
    for event in numbered(100):
        camera.later(EVENTS, event.json())
    # Killed, it forgets what it has not written to its disk: that we must have by then, though
    # it may have forgotten that we acknowledged it.
    until(lambda: floor.count() >= (10 if how == "stop" else 100))
    getattr(floor.broker, how)()
    until(lambda: not floor.mqtt.state().connected)
    assert floor.mqtt.state().why
    for event in numbered(100, first=100):
        camera.later(EVENTS, event.json())
    floor.broker.start()
    camera.wait()
    until(lambda: floor.count() == 200)
    until(floor.settled)
    assert floor.value("andon_events_mqtt_reconnects_total") >= 1
    assert floor.counted()["stored"] == 200
    assert stored_sums(floor.db, at(8), at(9)) == sums(numbered(200), at(8), at(9))


def test_a_broker_that_has_forgotten_the_session_is_complained_about(sqlite_floor: Floor):
    """What waited there is lost, and somebody must mend its settings."""

    def said() -> str:
        sqlite_floor.stop()
        sqlite_floor.broker.stop()
        with capture_logs() as lines:
            sqlite_floor.broker.start()
            sqlite_floor.start()
        return repr(lines)

    assert "forgotten" not in said(), "it was kept over the restart"
    sqlite_floor.stop()
    sqlite_floor.broker.stop()
    (sqlite_floor.broker.folder / "mosquitto.db").unlink()
    assert "forgotten" in said()


def test_a_broker_that_comes_later_is_found(db: Database, tmp_path: Path):
    """Andon starts without it, says so, and stops without waiting for it."""
    register(db)
    broker = Broker(tmp_path / "broker")
    floor = Floor(db, broker, tmp_path / "home").start(wait=False)
    until(lambda: "cannot be reached" in floor.mqtt.state().why)
    assert floor.value("andon_events_mqtt_connected") == 0
    broker.start()
    try:
        until(lambda: floor.mqtt.state().connected)
        assert floor.mqtt.state().why == ""
    finally:
        floor.stop()
        broker.stop()


@pytest.fixture
def impatient(where: str, broker: Broker, tmp_path: Path) -> Iterator[Floor]:
    """An intake on a database that can be taken away: locked, or behind a gate."""
    first = Database(where)
    register(first)
    first.close()
    if "://" in where:
        with gated(where, tmp_path) as gate:
            db = Database(gate.url)
            floor = Floor(db, broker, tmp_path / "home").start()
            yield floor, gate
            gate.open() if gate._listener is None else None
            floor.stop()
            db.close()
    else:
        db = Database(where, busy_timeout=0.2)
        floor = Floor(db, broker, tmp_path / "home").start()
        yield floor, Lock(where)
        floor.stop()
        db.close()


class Lock:
    """Another program that writes to an SQLite file; the same verbs as a gate's."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def shut(self) -> None:
        """Take the lock."""
        self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=20)
        self._connection.execute("BEGIN IMMEDIATE")

    def open(self) -> None:
        """Let go."""
        self._connection.close()


def test_a_database_that_is_away_holds_events_up_and_loses_none(
    impatient: tuple[Floor, Gate | Lock], camera: Publisher
):
    """Nothing is acknowledged meanwhile; it goes on by itself, on the same connection."""
    floor, database = impatient
    for event in numbered(200):
        camera.later(EVENTS, event.json())
    until(lambda: floor.counted()["stored"] > 0)
    database.shut()
    for event in numbered(200, first=200):
        camera.later(EVENTS, event.json())
    camera.send(EVENTS, b"poison")
    until(lambda: floor.mqtt.state().held_up)
    assert floor.mqtt.state().waiting > 0
    assert "wait" in floor.mqtt.trouble()
    assert floor.mqtt.state().connected
    database.open()
    camera.wait()
    until(lambda: floor.count() == 400)
    until(floor.settled)
    until(lambda: floor.db.rejected.count() == 1)
    until(lambda: not floor.mqtt.trouble())
    assert floor.value("andon_events_mqtt_reconnects_total") == 0
    assert floor.value("andon_events_mqtt_dropped_messages_total", qos="1") == 0


@pytest.mark.postgres
def test_a_database_server_that_throws_everybody_out_loses_nothing(
    postgres_db: Database, broker: Broker, camera: Publisher, tmp_path: Path
):
    """As a restart does in mid-commit: again and again while events stream in."""
    register(postgres_db)
    floor = Floor(postgres_db, broker, tmp_path / "home").start()
    for event in numbered(300):
        camera.later(EVENTS, event.json())
    marker = postgres_db.url.query["options"].partition("=")[2]
    for _ in range(5):
        before = floor.counted()["stored"]
        throw_out(postgres_db, marker)
        until(lambda before=before: floor.counted()["stored"] > min(before, 299))
    camera.wait()
    until(lambda: floor.count() == 300)
    until(floor.settled)
    floor.stop()
    assert postgres_db.factory_totals.sums(at(8), at(9))[0].units == 300


def throw_out(db: Database, schema: str) -> None:
    """End every other connection that works in a schema."""
    import psycopg

    address = make_url(db.url).set(drivername="postgresql").update_query_dict({"options": ""})
    with psycopg.connect(address.render_as_string(hide_password=False)) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_class ON relation = oid "
            "WHERE relnamespace = %s::regnamespace AND pid <> pg_backend_pid()",
            [schema],
        )


# -- kill -9 --------------------------------------------------------------------------------

_DYING = """
import sys
from tests.serving.crashing import arm
arm(*sys.argv[1:3])
sys.argv = ["andon", "serve", "--port", "0"]
from andon.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Where the servers that die come from."""
    modules = ("tests.serving.crashing", "andon.cli.main", "andon.cli.serve", "andon.web.server")
    with contextlib.closing(Forks(tmp_path_factory.mktemp("forks"), *modules)) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("when", "what"),
    [
        ("before", "andon.events.intake:EventIntake.submit"),
        ("before", "andon.events.mqtt_messages:Messages.settle"),
        ("before", "andon.store.rejected_messages:RejectedMessages.add_all"),
    ],
)
def test_kill_9_loses_nothing_and_doubles_nothing(
    where: str,
    broker: Broker,
    camera: Publisher,
    forks: Forks,
    tmp_path: Path,
    when: str,
    what: str,
):
    """`andon serve` dies between receipt, commit and acknowledgement; the next one goes on."""
    db = Database(where)
    register(db)
    home = tmp_path / "home"
    floor = Floor(db, broker, home).start()
    floor.stop()
    events = numbered(20)
    for event in events:
        camera.send(EVENTS, event.json())
    camera.send(EVENTS, b"poison")
    done = forks.run(
        _DYING,
        when,
        what,
        ANDON_HOME=str(home),
        ANDON_MQTT_URL=broker.url,
        ANDON_DATABASE_URL=where if "://" in where else f"sqlite:///{where}",
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    floor.start()
    until(lambda: floor.count() == 20)
    until(floor.settled)
    until(lambda: floor.db.rejected.count() >= 1)
    assert stored_sums(db, at(8), at(9)) == sums(events, at(8), at(9))
    floor.stop()
    db.close()


# -- Brokers that do not want us ------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Broker]:
    """A broker with one user, "andon", whose password is "s3cret"."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    command = ["mosquitto_passwd", "-b", str(passwords), "andon", "s3cret"]
    subprocess.run(command, check=True, capture_output=True)
    with running(
        tmp_path / "broker", "allow_anonymous false", f"password_file {passwords}"
    ) as made:
        yield made


def test_credentials_are_in_the_url_and_nowhere_else(
    sqlite_db: Database, guarded: Broker, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    """A wrong password is said to be refused, and neither is shown."""
    address = f"127.0.0.1:{guarded.port}"
    wrong = Floor(sqlite_db, guarded, tmp_path / "a", mqtt_url=f"mqtt://andon:wr0ng@{address}")
    wrong.start(wait=False)
    until(lambda: "Not authorized" in wrong.mqtt.state().why)
    said = repr(wrong.mqtt.state()) + repr(wrong.settings)
    wrong.stop()
    right = Floor(sqlite_db, guarded, tmp_path / "b", mqtt_url=f"mqtt://andon:s3cret@{address}")
    right.start()
    said += repr(right.mqtt.state()) + "".join(capfd.readouterr())
    right.stop()
    assert "s3cret" not in said
    assert "wr0ng" not in said


def test_another_client_of_the_same_name_is_told_apart_from_a_failure(
    sqlite_floor: Floor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two servers with one session would throw each other out for ever; the reason is there."""
    monkeypatch.setattr(mqtt_client, "_FIRST_DELAY", 0.02)
    name = (sqlite_floor.settings.home / "mqtt-client-id").read_text().strip()
    other = Floor(sqlite_floor.db, sqlite_floor.broker, tmp_path / "b", mqtt_client_id=name)
    other.start()
    until(lambda: "ANDON_MQTT_CLIENT_ID" in sqlite_floor.mqtt.state().why)
    other.stop()
    until(lambda: sqlite_floor.mqtt.state().connected)


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[tuple[Broker, Path]]:
    """A broker with TLS, and its certificate."""
    if shutil.which("openssl") is None:
        absent("no openssl here: apt-get install openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out",
         str(certificate), "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    lines = ("allow_anonymous true", f"certfile {certificate}", f"keyfile {key}")
    with running(tmp_path / "broker", *lines) as broker:
        yield broker, certificate


# paho leaves a socket whose certificate was refused to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_trusts_the_systems_authorities_only(
    sqlite_db: Database,
    certified: tuple[Broker, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """An unknown certificate is refused with the reason; a trusted one is not."""
    broker, certificate = certified
    url = f"mqtts://127.0.0.1:{broker.port}"
    floor = Floor(sqlite_db, broker, tmp_path / "home", mqtt_url=url).start(wait=False)
    until(lambda: "certificate" in floor.mqtt.state().why.lower())
    floor.stop()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    floor.start()
    assert floor.mqtt.state().connected
    floor.stop()


def test_a_broker_that_sends_garbage_is_left_and_tried_again(sqlite_db: Database, tmp_path: Path):
    """The thread survives what it cannot read."""
    with Garbage() as garbage:
        floor = Floor(sqlite_db, garbage, tmp_path / "home").start(wait=False)
        until(lambda: garbage.calls >= 3)
        assert floor.mqtt.state().why
        floor.stop()


class Garbage:
    """Listens, takes a connection's greeting, and answers what is no MQTT."""

    def __init__(self) -> None:
        self.calls = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        # Accepted, then a PUBLISH whose topic is longer than the packet.
        for answer in itertools.cycle(
            [b"\x20\x03\x00\x00\x00\x32\x03\xff\xff\x00", b"HTTP/1.1 400\r\n"]
        ):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.calls += 1
                connection.recv(4096)
                connection.sendall(answer)
                connection.settimeout(0.2)
                with contextlib.suppress(OSError):
                    connection.recv(4096)


# -- What the documentation says ------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "mqtt.md"


def block(beginning: str) -> str:
    """The code block of docs/mqtt.md that begins so."""
    (found,) = re.findall(rf"```\w+\n({re.escape(beginning)}.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


def test_the_documented_command_publishes_an_event(sqlite_floor: Floor):
    """As it stands there, but for the port."""
    if shutil.which("mosquitto_pub") is None:
        absent("no mosquitto_pub here: apt-get install mosquitto-clients")
    command = block("mosquitto_pub").replace(
        "mosquitto_pub", f"mosquitto_pub -h 127.0.0.1 -p {sqlite_floor.broker.port}"
    )
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    until(lambda: sqlite_floor.count() == 1)


def test_the_documented_configuration_is_taken_by_mosquitto(tmp_path: Path):
    """A misspelt line would keep it from starting."""
    lines = [
        line
        for line in block("# Keep sessions").splitlines()
        if line and not line.startswith(("#", "persistence", "autosave"))
    ]
    assert len(lines) == 2
    access = tmp_path / "access"
    access.write_text(block("user andon"))
    access.chmod(0o600)
    with running(tmp_path / "broker", *lines, f"acl_file {access}", "allow_anonymous true"):
        pass
