"""Messages of the Edge Impulse protocol: what is sent, and whatever may come back."""

import contextlib
import json
import socket
import threading

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtimes.contract import soon

from andon.errors import DeadlineExceeded, ModelRejected, RuntimeFailed
from andon.runtimes.base import Resize
from andon.runtimes.eim_protocol import (
    Connection,
    ErrorReply,
    boxes_of,
    classify_message,
    features_of,
    read_hello,
    shared_names,
)

# A real program's words (2026-02), and those of an older one (2023).
NEW = json.loads(
    '{"features_shm":{"elements":9216,"name":"/shm-a4c3a40e790a","size_bytes":36864,'
    '"type":"float32"},"id":1,"inferencing_engine":{"engine_type":2,"properties":[]},'
    '"model_parameters":{"axis_count":1,"frequency":0,"has_anomaly":0,"has_object_tracking":false,'
    '"has_performance_calibration":false,"image_channel_count":3,"image_input_frames":1,'
    '"image_input_height":96,"image_input_width":96,"image_resize_mode":"fit-shortest",'
    '"inferencing_engine":2,"input_features_count":9216,"interval_ms":1,"label_count":2,'
    '"labels":["scratch","spot"],"model_type":"constrained_object_detection","sensor":3,'
    '"slice_size":2304,"thresholds":[{"id":5,"min_score":0.5,"type":"object_detection"}],'
    '"use_continuous_mode":false},"project":{"deploy_version":1,"id":1001,"impulse_id":1,'
    '"impulse_name":"Impulse #1","name":"andon-fomo-synthetic","owner":"local"},"success":true}'
)
OLD = json.loads(
    '{"id":1,"model_parameters":{"axis_count":1,"frequency":0,"has_anomaly":0,'
    '"image_channel_count":3,"image_input_frames":1,"image_input_height":96,'
    '"image_input_width":96,"input_features_count":9216,"interval_ms":1,"label_count":1,'
    '"labels":["face"],"model_type":"constrained_object_detection","sensor":3,"slice_size":2304,'
    '"use_continuous_mode":false},"project":{"deploy_version":98},"success":true}'
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.fixture
def pair():
    """A connection and the other end of it."""
    here, there = socket.socketpair()
    connection = Connection(here)
    yield connection, there
    connection.close()
    there.close()


def reply(there, *parts: bytes) -> None:
    """Answer the next message."""

    def answer() -> None:
        there.recv(100_000)
        for part in parts:
            there.sendall(part)

    threading.Thread(target=answer, daemon=True).start()


def test_a_new_programs_hello_is_understood():
    """Word for word as real programs say it."""
    hello = read_hello(NEW)
    assert (hello.kind, hello.name, hello.labels) == (
        "fomo",
        "andon-fomo-synthetic",
        ("scratch", "spot"),
    )
    assert (hello.resize, hello.shm, hello.min_score) == (Resize.CROP, "/shm-a4c3a40e790a", 0.5)
    assert hello.block is None
    assert hello.metadata["impulse"] == "Impulse #1"


def test_an_old_programs_hello_is_understood():
    """Every field may be missing that came later."""
    hello = read_hello(OLD)
    assert (hello.name, hello.resize, hello.shm) == ("Edge Impulse model", None, "")
    assert (hello.min_score, hello.features) == (None, 9216)


@settings(deadline=None)
@given(st.sampled_from(sorted(NEW["model_parameters"])), anything)
def test_whatever_stands_in_a_field_of_hello_it_is_understood_or_rejected(field, value):
    """No program gets another error out of Andon."""
    with contextlib.suppress(ModelRejected):
        read_hello({**NEW, "model_parameters": {**NEW["model_parameters"], field: value}})


@settings(deadline=None)
@given(st.sampled_from(["features_shm", "freeform_output_shm", "project"]), anything)
def test_whatever_stands_around_hello_it_is_understood(field, value):
    """Shared memory, project, model parameters."""
    said = {**NEW, field: value}
    assert read_hello(said).width == 96
    assert all(name.startswith("/") for name in shared_names(said))


@pytest.mark.parametrize("name", ["/../etc/passwd", "/a/b", "shm", "/", "/..", 7, None, "/a\n"])
def test_names_of_shared_memory_are_flat(name):
    """They are opened and unlinked; nothing else must be."""
    block = {**NEW["features_shm"], "name": name}
    said = {**NEW, "features_shm": block}
    assert read_hello(said).shm == ""
    assert shared_names(said) == []


@settings(deadline=None)
@given(anything)
def test_whatever_stands_where_boxes_belong_it_is_understood_or_refused(value):
    """A garbled answer is a failed answer."""
    try:
        labels, scores, corners = boxes_of(value)
    except RuntimeFailed:
        return
    assert len(labels) == len(scores) == len(corners)


def test_a_message_is_numbers_and_fixed_keys_alone():
    """A brace in a string would desynchronise the program for ever."""
    message = classify_message(features_of(np.full((2, 2, 3), 255, np.uint8)))
    assert message == b'"classify":[16777215,16777215,16777215,16777215],"debug":false'


def test_a_message_carries_an_id_and_a_newline(pair):
    """Without the newline the program's timing adds up."""
    connection, there = pair
    with pytest.raises(DeadlineExceeded):
        connection.ask(b'"hello":1', soon(0.01))
    assert there.recv(1000) == b'{"id":1,"hello":1}\n'


def test_a_reply_may_come_in_pieces(pair):
    """And the next one with it."""
    connection, there = pair
    reply(there, b'{"id":1,"suc', b'cess":true}\n', b'\0{"id":2,"success":true,"more":1}\n\0')
    assert connection.ask(b'"hello":1', soon())["id"] == 1
    assert connection.ask(b'"hello":1', soon())["more"] == 1


@pytest.mark.parametrize(
    "text", [b"nonsense", b"[1]", b'{"id":9,"success":true}', b"[" * 100_000, b"\xff\xfe", b""]
)
def test_a_reply_that_is_none_fails(pair, text):
    """Not JSON, no object, another id, nested without end."""
    connection, there = pair
    reply(there, text + b"\n\0")
    with pytest.raises(RuntimeFailed):
        connection.ask(b'"hello":1', soon())


def test_an_error_reply_is_told_with_and_without_an_id(pair):
    """Some carry none."""
    connection, there = pair
    for text in (b'{"error":"no","id":1,"success":false}', b'{"error":"no","success":false}'):
        reply(there, text + b"\n\0")
        with pytest.raises(ErrorReply, match="no"):
            connection.ask(b'"hello":1', soon())


def test_a_program_that_takes_half_a_message_is_not_asked_again(pair):
    """Whatever followed would be misread."""
    connection, _ = pair
    with pytest.raises(DeadlineExceeded):
        connection.ask(b'"classify":[' + b"1," * 3_000_000 + b"1]", soon(0.05))
    with pytest.raises(RuntimeFailed, match="half-way"):
        connection.late(soon())


def test_a_program_that_is_gone_fails_at_once(pair):
    """In both directions."""
    connection, there = pair
    there.close()
    for _ in range(2):
        with pytest.raises(RuntimeFailed, match="hung up"):
            connection.ask(b'"hello":1', soon())


def test_features_survive_the_way_through_json():
    """All 24 bits of them."""
    rng = np.random.default_rng(0)
    features = features_of(rng.integers(0, 256, (50, 50, 3), np.uint8))
    sent = msgspec.json.decode(b"{%b}" % classify_message(features))["classify"]
    assert sent == features.tolist()
