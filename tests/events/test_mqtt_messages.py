import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.events.mqtt_messages import GROUP_BYTES, Message, Messages


def message(text="x", mid=1, qos=1, size=None) -> Message:
    """A message as the network hands it over."""
    payload = text.encode()
    size = len(payload) if size is None else size
    return Message("andon/main/events", payload, size=size, qos=qos, mid=mid)


class Acknowledged(list):
    """What was acknowledged, as (number, QoS)."""

    def __call__(self, mid: int, qos: int) -> None:
        """Acknowledge."""
        self.append((mid, qos))


@pytest.fixture
def messages() -> Messages:
    """Messages of a first connection."""
    made = Messages()
    made.opened(session_present=False)
    return made


def test_they_come_out_in_the_order_they_came(messages):
    """And are acknowledged in it."""
    acknowledged = Acknowledged()
    for mid in (5, 3, 9):
        messages.put(message(mid=mid), again=False)
    group = messages.take(0)
    assert [one.mid for one in group] == [5, 3, 9]
    assert len(messages) == 3
    messages.settle(group, acknowledged)
    assert acknowledged == [(5, 1), (3, 1), (9, 1)]
    assert len(messages) == 0


def test_nothing_is_acknowledged_on_another_connection(messages):
    """The numbers are handed out anew there: it would be another message's."""
    acknowledged = Acknowledged()
    messages.put(message(mid=1), again=False)
    group = messages.take(0)
    messages.lost()
    messages.settle(group, acknowledged)
    assert acknowledged == []
    messages.put(message(mid=2), again=False)
    group = messages.take(0)
    messages.opened(session_present=True)
    messages.settle(group, acknowledged)
    assert acknowledged == []


def test_what_waited_when_the_connection_broke_is_stored_once(messages):
    """It comes again, and is known: one message, acknowledged on the new connection."""
    acknowledged = Acknowledged()
    messages.put(message("a", mid=1), again=False)
    messages.lost()
    messages.opened(session_present=True)
    messages.put(message("a", mid=1), again=True)
    group = messages.take(0)
    assert len(group) == 1
    messages.settle(group, acknowledged)
    assert acknowledged == [(1, 1)]


def test_what_was_stored_when_the_connection_broke_is_only_acknowledged(messages):
    """A measurement without a time of its own would count twice."""
    acknowledged = Acknowledged()
    messages.put(message("a", mid=1), again=False)
    group = messages.take(0)
    messages.lost()
    messages.settle(group, acknowledged)
    messages.opened(session_present=True)
    messages.put(message("a", mid=1), again=True)
    (one,) = messages.take(0)
    assert one.stored
    messages.settle([one], acknowledged)
    assert acknowledged == [(1, 1)]


@pytest.mark.parametrize(
    ("payload", "again", "session_present"),
    [("b", True, True), ("a", False, True), ("a", True, False)],
)
def test_a_number_alone_makes_no_message_a_known_one(messages, payload, again, session_present):
    """Another content, a first delivery, a broker that forgot us: it is a new message."""
    messages.put(message("a", mid=1), again=False)
    messages.settle(messages.take(0), Acknowledged())
    messages.put(message("a", mid=1), again=False)
    group = messages.take(0)
    messages.lost()
    messages.settle(group, Acknowledged())
    messages.opened(session_present=session_present)
    messages.put(message(payload, mid=1), again=again)
    (one,) = messages.take(0)
    assert not one.stored


def test_what_could_not_be_worked_off_is_the_oldest_again(messages):
    """Those of its group that were settled before are not."""
    acknowledged = Acknowledged()
    for mid in (1, 2, 3):
        messages.put(message(mid=mid), again=False)
    group = messages.take(0)
    messages.put(message(mid=4), again=False)
    messages.settle(group[:1], acknowledged)
    messages.put_back(group)
    assert len(messages) == 3
    messages.settle(messages.take(0), acknowledged)
    assert [mid for mid, _ in acknowledged] == [1, 2, 3, 4]


def test_messages_of_qos_0_are_never_acknowledged(messages):
    """Nobody waits for it."""
    acknowledged = Acknowledged()
    messages.put(message(qos=0, mid=0), again=False)
    messages.settle(messages.take(0), acknowledged)
    assert acknowledged == []


@pytest.mark.parametrize("limits", [{"limit": 2}, {"limit_bytes": 20}])
def test_too_many_of_qos_0_are_given_up(limits):
    """Nothing else would hold them back."""
    dropped = []
    messages = Messages(**limits, dropped=dropped.append)
    messages.opened(session_present=False)
    for _ in range(5):
        messages.put(message("0123456789", qos=0, mid=0), again=False)
    assert len(messages.take(0)) == 2
    assert dropped == [0, 0, 0]


def test_what_this_connection_brought_with_qos_1_is_never_given_up():
    """The broker waits for its acknowledgement; older ones make room."""
    dropped = []
    messages = Messages(limit=2, dropped=dropped.append)
    messages.opened(session_present=False)
    messages.put(message("old", mid=1), again=False)
    messages.put(message("old", mid=2), again=False)
    messages.lost()
    messages.opened(session_present=True)
    for mid in (3, 4, 5):
        messages.put(message("new", mid=mid), again=False)
    assert [one.mid for one in messages.take(0)] == [3, 4, 5]
    assert dropped == [1, 1]
    # One that was given up is a new message when it comes again.
    messages.put(message("old", mid=1), again=True)
    assert [one.mid for one in messages.take(0)] == [1]


def test_a_group_is_no_larger_than_the_database_gets_at_a_time(messages):
    """But never empty: a large message goes alone."""
    for mid, size in enumerate((GROUP_BYTES // 2, GROUP_BYTES // 2, GROUP_BYTES * 2, 1), 1):
        messages.put(message(mid=mid, size=size), again=False)
    sizes = [len(messages.take(0)) for _ in range(4)]
    assert sizes == [2, 1, 1, 0]


def test_whoever_waits_is_let_go_when_it_ends(messages):
    """Stopping does not wait for the next message."""
    taken = []
    thread = threading.Thread(target=lambda: taken.append(messages.take(60)))
    thread.start()
    messages.close()
    thread.join(10)
    assert taken == [[]]


class Line:
    """A broker and a connection that may break anywhere; what it counts as delivered."""

    def __init__(self) -> None:
        self.messages = Messages(limit=1000)
        self.unacknowledged: dict[int, str] = {}
        self.sent: set[int] = set()
        self.stored: list[str] = []
        self.next = 0
        self.up()

    def up(self) -> None:
        """Connect; the broker sends again what it did not see acknowledged."""
        self.messages.opened(session_present=True)
        for mid, text in self.unacknowledged.items():
            self.messages.put(message(text, mid=mid), again=mid in self.sent)
            self.sent.add(mid)

    def publish(self) -> None:
        """A camera publishes, as long as there is a free number."""
        # Three numbers for all: they are handed out again and again.
        free = [mid for mid in (1, 2, 3) if mid not in self.unacknowledged]
        if free:
            self.next += 1
            text = "same" if self.next % 3 == 0 else f"event {self.next}"
            self.unacknowledged[free[0]] = text
            self.sent.add(free[0])
            self.messages.put(message(text, mid=free[0]), again=False)

    def work(self, *, broken: bool, arrives: bool) -> None:
        """Store what waits, on a connection that is sound, breaks before or unnoticed."""
        group = self.messages.take(0)
        self.stored += [one.payload.decode() for one in group if not one.stored]
        if broken:
            self.messages.lost()
            self.messages.settle(group, self.acknowledge)
            self.up()
        elif not arrives:
            # Acknowledged into a connection that was dead already.
            self.messages.settle(group, lambda mid, qos: None)
            self.messages.lost()
            self.up()
        else:
            self.messages.settle(group, self.acknowledge)

    def acknowledge(self, mid: int, _qos: int) -> None:
        """What only the holder of the number may do, and only once."""
        del self.unacknowledged[mid]
        self.sent.discard(mid)


@given(st.lists(st.sampled_from(["publish", "work", "break", "swallow", "reconnect"]), max_size=60))
def test_whatever_breaks_nothing_is_lost(steps):
    """Every published message is stored at least once, and none is acknowledged unstored."""
    line = Line()
    for step in steps:
        if step == "publish":
            line.publish()
        elif step == "reconnect":
            line.messages.lost()
            line.up()
        else:
            line.work(broken=step == "break", arrives=step != "swallow")
    line.work(broken=False, arrives=True)
    assert line.unacknowledged == {}
    expected = {"same" if n % 3 == 0 else f"event {n}" for n in range(1, line.next + 1)}
    assert set(line.stored) == expected
    if "swallow" not in steps:
        assert len(line.stored) == line.next
