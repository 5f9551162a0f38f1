"""The load generator of the benchmark, against a server that answers by rote."""

import socketserver
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from bench.load import drive_all, request


class _Handler(socketserver.StreamRequestHandler):
    """Takes requests in and answers 201 in two pieces; hangs up after `patience` of them."""

    disable_nagle_algorithm = True

    def handle(self):
        for _ in range(self.server.patience):
            length = 0
            while (line := self.rfile.readline()) not in {b"\r\n", b""}:
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if line == b"":
                return
            self.server.seen[self.rfile.read(length)] += 1
            self.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{")
            self.wfile.write(b"}")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64
    patience = 1_000_000

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: Counter[bytes] = Counter()

    def handle_error(self, request, client_address):
        """Clients that go away say so themselves."""


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("clients", [1, 2, 32])
def test_every_message_is_sent_exactly_once(server, clients):
    """Whatever the number of connections."""
    port = server.server_address[1]
    bodies = [b'{"number": %d}' % number for number in range(100)]
    load = drive_all(
        port, [request(port, "/", body, "application/json") for body in bodies], clients=clients
    )
    assert load.statuses == {201: 100}
    assert load.ok == len(load.latencies) == 100
    assert server.seen == Counter(bodies)


@pytest.mark.parametrize("clients", [1, 2])
def test_a_message_may_be_longer_than_a_connection_takes_at_once(server, clients):
    """What did not fit is sent when there is room."""
    port = server.server_address[1]
    bodies = [bytes([number]) * 8_000_000 for number in range(3)]
    load = drive_all(
        port, [request(port, "/", body, "text/plain") for body in bodies], clients=clients
    )
    assert load.statuses == {201: 3}
    assert server.seen == Counter(bodies)


@pytest.mark.parametrize("clients", [1, 2])
def test_a_server_that_hangs_up_makes_the_run_unusable(server, clients):
    """Half a run gives no figure."""
    server.patience = 1
    port = server.server_address[1]
    messages = [request(port, "/", b"{}", "application/json")] * 5
    with pytest.raises((RuntimeError, ConnectionError)):
        drive_all(port, messages, clients=clients)
