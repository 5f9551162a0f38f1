"""Looking into ONNX files without running them."""

import contextlib

import onnx as onnx_library
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support import onnx_models as onnx

from andon.errors import ModelRejected
from andon.runtimes import onnx_file
from andon.runtimes.base import ModelOptions, RuntimeConfig
from andon.runtimes.onnx import OnnxRuntime


@pytest.fixture
def file(tmp_path):
    """Where the model goes."""
    return tmp_path / "model.onnx"


def test_a_whole_model_passes(file):
    """Of every builder alike."""
    onnx_file.check(onnx.yolov8_spot(file, loops=3, metadata=onnx.ultralytics()))
    onnx_file.check(onnx.classifier(file))


@pytest.mark.parametrize("where", ["initializer", "node"])
def test_weights_in_another_file_are_refused(file, where):
    """With the other file present or not: one file is one model."""
    onnx.external_weights(file, where=where)
    with pytest.raises(ModelRejected, match="another file"):
        onnx_file.check(file)
    file.with_name(f"{file.name}.data").unlink()
    with pytest.raises(ModelRejected, match="another file"):
        OnnxRuntime().load(file, ModelOptions(), RuntimeConfig())


def test_weights_in_another_file_are_found_in_subgraphs_too(file):
    """A loop's body has tensors of its own."""
    onnx.yolov8_spot(file, loops=3)
    model = onnx_library.load(file)
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    tensor = loop.attribute[0].g.initializer[0]
    tensor.data_location = onnx_library.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ModelRejected, match="another file"):
        onnx_file.check(file)


def test_a_truncated_model_is_refused_wherever_it_ends(file):
    """In the header, in the graph, before the operator set."""
    onnx.yolov8_spot(file)
    whole = file.read_bytes()
    for length in [*range(0, 60, 3), *range(60, len(whole) - 6, 97), len(whole) - 5]:
        file.write_bytes(whole[:length])
        with pytest.raises(ModelRejected):
            onnx_file.check(file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\x09",
        b"\x08\x09\x12\x02hi",
        b"\x08\x09\x3a\x00\x42\x00",
        b"\x08" + b"\xff" * 20,
        b"\x08\x09\x3a\xff\xff\xff\xff\x7f",
        b"\x08\x09\x3b\x00",
        b"\x00\x00\x00\x00",
    ],
)
def test_what_is_no_model_is_refused(file, content):
    """Empty, without graph, with lengths and wire types out of this world."""
    file.write_bytes(content)
    with pytest.raises(ModelRejected):
        onnx_file.check(file)


def test_a_file_of_a_million_fields_is_given_up(file):
    """Cheap to make, costly to read."""
    file.write_bytes(b"\x08\x09" + b"\x10\x00" * 1_100_000)
    with pytest.raises(ModelRejected, match="fields"):
        onnx_file.check(file)


def test_graphs_nested_without_end_are_given_up(file):
    """No recursion error."""

    def field(number: int, body: bytes) -> bytes:
        size, rest = bytearray(), len(body)
        while rest > 127:
            size.append(rest & 127 | 128)
            rest >>= 7
        return bytes([number << 3 | 2]) + bytes([*size, rest]) + body

    graph = b""
    for _ in range(40):
        graph = field(1, field(5, field(6, graph)))
    file.write_bytes(b"\x08\x09" + field(7, graph) + field(8, b""))
    with pytest.raises(ModelRejected, match="nested"):
        onnx_file.check(file)


def test_a_missing_file_is_refused(file):
    """As a model, not as a crash."""
    with pytest.raises(ModelRejected):
        onnx_file.check(file)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6))
def test_whatever_is_changed_in_a_file_it_passes_or_is_refused(file, changes):
    """Never another error."""
    if not file.exists():
        onnx.yolov8_spot(file, size=16)
    content = bytearray(file.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    changed = file.with_name("changed.onnx")
    changed.write_bytes(content)
    with contextlib.suppress(ModelRejected):
        onnx_file.check(changed)
