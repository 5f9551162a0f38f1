"""Reading forms while they arrive."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.web.conftest import form

from andon.errors import AndonError, TooLarge, UnsupportedMedia, UnusableUpload
from andon.web.multipart import Form, FormLimits, read_form
from andon.web.problems import ClientGone

TYPE = b"multipart/form-data; boundary=XX"


def limits(**given) -> FormLimits:
    defaults = {
        "file_fields": frozenset({"image"}),
        "max_file_bytes": 1000,
        "file_kind": "picture",
        "check": lambda upload: None,
    }
    return FormLimits(**{**defaults, **given})


def read(pieces: Iterable[bytes], content_type: bytes = TYPE, ends=True, **given) -> Form:
    """Read a form that arrives in these pieces."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append(
        {"type": "http.request", "body": b"", "more_body": False}
        if ends
        else {"type": "http.disconnect"}
    )

    async def receive():
        return messages.pop(0)

    extra = {key: given.pop(key) for key in ("spill", "received") if key in given}
    return asyncio.run(read_form(receive, content_type, limits(**given), **extra))


def test_fields_and_the_file_are_told_apart():
    """A form is its fields and one file."""
    body = form(("notes", None, "grün".encode()), ("image", "a.png", b"123"), ("a", None, b""))
    found = read([body])
    assert found.fields == {"notes": "grün", "a": ""}
    assert found.file is not None
    assert (found.file.filename, found.file.data, found.file.size) == ("a.png", b"123", 3)


@given(
    content=st.binary(max_size=300),
    cuts=st.lists(st.integers(0, 700), max_size=12),
    tail=st.sampled_from([b"", b"\r\n", b"\r\n--XX", b"--XX--", b"\r\n--X"]),
)
@settings(max_examples=150, deadline=None)
def test_how_the_form_is_cut_into_pieces_does_not_matter(content, cuts, tail):
    """Any content in any pieces comes out as it was, boundary look-alikes included."""
    content += tail
    if b"\r\n--XX" in content:
        content = content.replace(b"\r\n--XX", b"\r\n--XY")
    body = form(("note", None, b"n"), ("image", "a.png", content))
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    found = read([body[a:b] for a, b in pairwise(edges)])
    assert found.file is not None
    assert found.file.data == content
    assert found.fields == {"note": "n"}


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_nonsense_is_refused_and_never_crashes(body):
    """Whatever arrives, the answer is a form or one of Andon's errors."""
    with pytest.raises(AndonError):
        read([b"--XX\r\n" + body])


def test_a_large_file_is_spilled_piece_by_piece():
    """With `spill` the content never collects in memory."""
    pieces: list[bytes] = []
    content = bytes(range(256)) * 4096 * 5
    body = form(("image", "a.png", content), ("notes", None, b"after"))
    chunks = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    found = read(chunks, max_file_bytes=len(content), spill=pieces.append)
    assert b"".join(pieces) == content
    assert len(pieces) > 3
    assert max(map(len, pieces)) < 2 * 1024 * 1024
    assert found.file is not None
    assert (found.file.data, found.file.size) == (b"", len(content))
    assert found.fields == {"notes": "after"}


def test_a_file_is_refused_by_its_name_before_its_content():
    """`check` sees the header; nothing of the content is needed."""

    def check(upload):
        raise UnusableUpload(f"no {upload.filename}")

    head = form(("image", "a.exe", b"x" * 10))[:80]
    with pytest.raises(UnusableUpload, match=r"no a\.exe"):
        read([head], ends=False, check=check)


def test_a_file_is_refused_as_soon_as_it_is_too_large():
    """The rest is not read."""
    asked = []

    def received(size):
        asked.append(size)

    body = form(("image", "a.png", bytes(5000)))
    with pytest.raises(TooLarge, match="File too large"):
        read([body[at : at + 100] for at in range(0, len(body), 100)], received=received)
    assert sum(asked) < 1300


@pytest.mark.parametrize(
    "content_type",
    [b"", b"text/plain", b"application/json", b"multipart/mixed; boundary=XX"],
)
def test_another_content_type_is_no_form(content_type):
    """415."""
    with pytest.raises(UnsupportedMedia):
        read([b""], content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary=""',
    ],
)
def test_a_form_needs_its_boundary(content_type):
    """400: the header is cut off."""
    with pytest.raises(UnusableUpload, match="boundary"):
        read([form(("image", "a.png", b"1"))], content_type)


def test_the_wrong_boundary_is_a_damaged_form():
    """The body does not start with what the header says."""
    with pytest.raises(UnusableUpload, match="damaged"):
        read([form(("image", "a.png", b"1"), boundary="YY")])


@pytest.mark.parametrize("keep", [0, 10, 60, 100, -1, -3, -4])
def test_a_truncated_form_is_refused(keep):
    """A form that stops before its last boundary may be half a picture."""
    body = form(("image", "a.png", b"1234567890" * 5)).removesuffix(b"\r\n")
    with pytest.raises(UnusableUpload, match="ends in the middle"):
        read([body[:keep] if keep else b""])


def test_a_client_that_leaves_ends_the_reading():
    """There is nobody to answer."""
    with pytest.raises(ClientGone):
        read([form(("image", "a.png", b"1"))[:40]], ends=False)


def test_many_parts_are_bounded():
    """A form has a file and a few fields."""
    with pytest.raises(TooLarge, match="parts"):
        read([form(*((f"f{n}", None, b"") for n in range(40)))])


def test_a_long_field_is_bounded():
    """Fields are words, not files."""
    with pytest.raises(TooLarge, match="notes"):
        read([form(("notes", None, bytes(70_000)))], max_file_bytes=10**6)


def test_part_headers_are_bounded():
    """In size and in number."""
    huge = b'--XX\r\nContent-Disposition: form-data; name="' + b"a" * 20_000
    with pytest.raises(UnusableUpload, match="header size"):
        read([huge])
    many = b"--XX\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(50)) + b"\r\n"
    with pytest.raises(UnusableUpload, match="header count"):
        read([many])


def test_files_nobody_asked_for_count_and_are_dropped():
    """They cannot be used to send without end."""
    body = form(("other", "b.png", bytes(500)), ("image", "a.png", b"1"))
    found = read([body])
    assert found.file is not None
    assert found.file.data == b"1"
    with pytest.raises(TooLarge):
        read([form(("other", "b.png", bytes(400_000)))])


def test_a_part_without_a_name_is_refused():
    """RFC 7578, section 4.2."""
    with pytest.raises(UnusableUpload, match="no name"):
        read([b"--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n--XX--\r\n"])
