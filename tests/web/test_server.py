"""Starting and stopping the server."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from andon.errors import ConfigurationError
from andon.platform import Platform
from andon.settings import Settings
from andon.web.server import address_of, listen, run

PROGRAM = """
import sys
from pathlib import Path
from andon.platform import Platform
from andon.settings import Settings
from andon.web.server import run

settings = Settings(home=Path(sys.argv[1]), port=0, _env_file=None)
run(Platform(settings), lambda address: print(address, flush=True))
print("stopped in good order", flush=True)
"""


@pytest.fixture
def program(tmp_path):
    """A server in a process of its own, and its address."""
    started = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "home")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert started.stdout is not None
    address = started.stdout.readline().strip()
    yield started, address
    started.kill()
    started.wait()
    started.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(program, number):
    """What is in flight is finished, the platform is stopped, the exit code is 0."""
    process, address = program
    assert httpx.get(f"{address}/health").status_code == 200
    process.send_signal(number)
    rest, _ = process.communicate(timeout=20)
    assert "stopped in good order" in rest
    assert process.returncode == 0


def test_a_port_in_use_is_explained_before_anything_starts(tmp_path):
    """One sentence and the next step, for whoever starts it twice."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        platform = Platform(Settings(home=tmp_path / "home", port=port, _env_file=None))
        try:
            with pytest.raises(ConfigurationError, match="already in use") as caught:
                run(platform)
            assert "ANDON_PORT" in caught.value.hint
            assert not platform.engine.states()
        finally:
            platform.stop()


@pytest.mark.parametrize(
    ("host", "words"), [("203.0.113.7", "not an address of this machine"), ("127.0.0.1", "")]
)
def test_an_address_of_somebody_else_is_explained(host, words):
    """EADDRNOTAVAIL in words."""
    settings = Settings(host=host, port=0, _env_file=None)
    if not words:
        listen(settings).close()
        return
    with pytest.raises(ConfigurationError, match=words):
        listen(settings)


def test_the_address_is_one_to_open():
    """0.0.0.0 is no address for a browser."""
    for host in ("0.0.0.0", "127.0.0.1"):
        with socket.socket() as listener:
            listener.bind((host, 0))
            assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_without_a_key_it_does_not_start_elsewhere(tmp_path):
    """Refused before the port is taken."""
    settings = Settings(home=tmp_path / "home", host="0.0.0.0", port=0, _env_file=None)
    platform = Platform(settings)
    try:
        with pytest.raises(ConfigurationError, match="API key"):
            run(platform)
    finally:
        platform.stop()


@pytest.mark.slow
def test_a_request_in_flight_is_answered_while_the_server_stops(program):
    """SIGTERM during a slow upload: the client still gets its answer."""
    process, address = program
    port = int(address.rpartition(":")[2])
    body = b"x" * 2000
    head = (
        f"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    raw = head.replace("text/plain", "multipart/form-data; boundary=XX").encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(raw + body[:10].replace(b"x" * 4, b"--XX"))
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.sendall(body[10:])
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")
    rest, _ = process.communicate(timeout=20)
    assert "stopped in good order" in rest
