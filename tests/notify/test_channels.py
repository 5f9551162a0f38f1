import base64
import socket
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.hooks import DRIP, HANG, Hooks

from andon.errors import ConfigurationError
from andon.notify.channels import LogChannel, NotDelivered, WebhookChannel, sentence
from andon.store.ids import uuid7
from andon.store.outbox import Notification

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def notification(event: str = "alert", attempts: int = 1, **data: Any) -> Notification:
    return Notification(
        id=uuid7(), channel="webhook", event=event, data=data, attempts=attempts, created_at=NOON
    )


def test_a_webhook_gets_event_timestamp_and_data(hooks: Hooks):
    """S0-160 and S0-161; the time is when it happened, and the headers tell repeats apart."""
    channel = WebhookChannel(hooks.url, 5)
    told = notification("rollback", 3, from_version=4, to_version=3, reason="errors")
    channel.deliver(told)
    ((headers, body),) = hooks.got
    assert body == {
        "event": "rollback",
        "timestamp": "2026-11-21T12:00:00Z",
        "data": {"from_version": 4, "to_version": 3, "reason": "errors"},
    }
    assert headers["path"] == "/hook/secret-path"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Andon-Notification"] == told.id
    assert headers["X-Andon-Attempt"] == "3"


@pytest.mark.parametrize("fault", [HANG, DRIP])
def test_a_receiver_that_hangs_or_drips_costs_the_deadline_and_no_more(hooks: Hooks, fault: str):
    """The deadline is for everything together, not for each byte."""
    hooks.always = fault
    channel = WebhookChannel(hooks.url, 0.4)
    begin = time.monotonic()
    with pytest.raises(NotDelivered, match=r"did not answer within 0\.4 s"):
        channel.deliver(notification())
    assert time.monotonic() - begin < 2
    hooks.always = 200
    time.sleep(0.1)
    channel.deliver(notification())


def test_a_redirect_is_not_followed(hooks: Hooks):
    """The address was chosen by a person; where it sends others was not."""
    elsewhere = Hooks()
    try:
        hooks.always, hooks.location = 302, elsewhere.url
        with pytest.raises(NotDelivered, match="redirects are not followed") as raised:
            WebhookChannel(hooks.url, 5).deliver(notification())
        assert not raised.value.final
        assert elsewhere.got == []
    finally:
        elsewhere.stop()


@pytest.mark.parametrize(("status", "final"), [(500, False), (404, False), (422, True)])
def test_what_a_receiver_says_no_to_is_not_delivered(hooks: Hooks, status: int, final: bool):
    """Where it refuses the content itself, trying again would not help."""
    hooks.always = status
    with pytest.raises(NotDelivered, match=f"answered {status}") as raised:
        WebhookChannel(hooks.url, 5).deliver(notification())
    assert raised.value.final is final


def test_nobody_listens(unused: int):
    """The error says where, without the address's path and password."""
    channel = WebhookChannel(f"http://user:pass@127.0.0.1:{unused}/secret?token=x", 5)
    with pytest.raises(NotDelivered, match=f"http://127.0.0.1:{unused}: Connection refused") as why:
        channel.deliver(notification())
    assert "secret" not in str(why.value)
    assert "pass" not in str(why.value)
    assert "Connection refused" in channel.probe()


def test_something_else_than_http_answers():
    """A port of another service, or TLS where there is none."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]

    def greet() -> None:
        for _ in range(2):
            connection, _ = server.accept()
            connection.recv(10)
            connection.sendall(b"220 mail ready\r\n")
            connection.close()

    thread = threading.Thread(target=greet)
    thread.start()
    with pytest.raises(NotDelivered, match=r"no HTTP answer|reset|Broken pipe|aborted"):
        WebhookChannel(f"http://127.0.0.1:{port}/", 5).deliver(notification())
    with pytest.raises(NotDelivered, match=r"no secure connection|reset"):
        WebhookChannel(f"https://127.0.0.1:{port}/", 5).deliver(notification())
    thread.join()
    server.close()


def test_a_probe_connects_and_sends_nothing(hooks: Hooks):
    """So that the doctor can try a webhook without a false alarm."""
    assert WebhookChannel(hooks.url, 5).probe() == ""
    assert hooks.got == []


def test_user_and_password_of_the_address_go_into_the_header(hooks: Hooks):
    """Decoded; the query stays in the path and the fragment does not."""
    url = hooks.url.replace("//", "//an%40a:s3cret@").replace("/hook", "/?x=1&y=2#/hook")
    WebhookChannel(url, 5).deliver(notification())
    headers, _ = hooks.got[0]
    assert headers["Authorization"] == f"Basic {base64.b64encode(b'an@a:s3cret').decode()}"
    assert headers["path"] == "/?x=1&y=2"


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/x", "example.org/x", "http://", "https://host:99999/", "http://h/a b",
     "http://[::1/", "file:///etc/passwd", "http://host:0/", "http://h/ä"],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused(url: str):
    """Without repeating it: it may hold a secret."""
    with pytest.raises(ConfigurationError, match="address of the webhook") as raised:
        WebhookChannel(url, 5)
    assert url not in str(raised.value)


def test_the_log_says_one_line_as_loud_as_it_is_bad():
    """The severity is the level; an event without a title is its name."""
    with capture_logs() as said:
        LogChannel().deliver(notification(severity="critical", title="pcb", message="a\nb"))
        LogChannel().say("approval_needed", {"severity": "warning", "title": "Roll back pcb"})
        LogChannel().say("drill", {})
    assert [(one["log_level"], one["event"]) for one in said] == [
        ("error", "Alert: pcb: a b"),
        ("warning", "Approval needed: Roll back pcb"),
        ("info", "Drill"),
    ]


def test_a_rollback_is_told_in_words():
    """Both versions, the model and the reason."""
    told = {"from_version": 4, "to_version": 3, "reason": "It crashed.", "model": "pcb"}
    assert sentence("rollback", told) == "Rollback: v4 of pcb replaced by v3: It crashed."


@pytest.fixture
def unused() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
