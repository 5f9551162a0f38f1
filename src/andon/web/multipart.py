"""Reads `multipart/form-data` while it arrives, within limits.

`read_form` takes one file and some short fields. The file's name and declared type are
checked as soon as its header is there, its size with every piece: what is refused is
refused before it is received. Pictures stay in memory; a model file goes to `spill`
piece by piece and is never in memory as a whole. RFC 7578 is the format.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive

from andon.errors import TooLarge, UnsupportedMedia, UnusableUpload
from andon.web.problems import ClientGone

# A form has a file and a handful of words. What is beyond is an attack or a mistake.
MAX_PARTS = 32
MAX_FIELD_BYTES = 64 * 1024
# Boundaries, part headers and fields around the file.
OVERHEAD_BYTES = 256 * 1024
# A file name may be long (it is cut when it is cleaned); a header line longer than this is not
# a name any more.
_MAX_HEADER_BYTES = 16 * 1024
# Writing in pieces of this size keeps the number of hops to a thread small.
_SPILL_BYTES = 1024 * 1024

_TRUNCATED = "Send the complete form; its last line is the boundary followed by two hyphens."


class Upload(msgspec.Struct):
    """A received file.

    Attributes:
        field: Name of the form field.
        filename: As sent, not cleaned.
        content_type: Declared type without parameters, lower case; empty when not declared.
        data: The content; empty when it was spilled.
        size: Bytes received.
    """

    field: str
    filename: str
    content_type: str
    data: bytes = b""
    size: int = 0


class Form(msgspec.Struct):
    """What a form held: at most one file, and its fields (the last one of a name wins)."""

    fields: dict[str, str]
    file: Upload | None


class FormLimits(msgspec.Struct, frozen=True):
    """What a route takes.

    Attributes:
        file_fields: Names under which the file may come. Files of other names are skipped.
        max_file_bytes: Largest file.
        file_kind: What the file is called in messages: "picture", "model file".
        check: Called with the file's name and type before its content is read; raises to refuse.
    """

    file_fields: frozenset[str]
    max_file_bytes: int
    file_kind: str
    check: Callable[[Upload], None]


def boundary_of(content_type: bytes) -> bytes:
    """The boundary named in a Content-Type header.

    Raises:
        UnsupportedMedia: The header does not say multipart/form-data.
        UnusableUpload: It names no usable boundary.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        named = kind.decode("latin-1")[:100] or "nothing"
        raise UnsupportedMedia(
            f"The body is declared as {named}.", hint="Send multipart/form-data."
        )
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise UnusableUpload(
            "The Content-Type names no usable boundary.",
            hint="Let the HTTP client build the form and its header.",
        )
    return boundary


async def read_form(
    receive: Receive,
    content_type: bytes,
    limits: FormLimits,
    *,
    spill: Callable[[bytes], Any] | None = None,
    received: Callable[[int], None] | None = None,
) -> Form:
    """Read a whole form.

    Args:
        receive: The request's ASGI channel.
        content_type: The request's Content-Type header.
        limits: What the route takes.
        spill: Takes the file's content, piece by piece, in a worker thread; without it the
            content is collected in memory.
        received: Told the size of every piece that arrives; may raise to stop.

    Raises:
        TooLarge: The file, a field or the form exceeds its limit.
        UnusableUpload: The form is damaged, truncated or holds two files.
        UnsupportedMedia: It is no form.
        ClientGone: The client went away in the middle.
    """
    reader = _Reader(boundary_of(content_type), limits)
    total = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        more = message.get("more_body", False)
        piece = message.get("body", b"")
        total += len(piece)
        if received is not None:
            received(len(piece))
        if total > limits.max_file_bytes + OVERHEAD_BYTES:
            raise too_large(limits)
        reader.feed(piece)
        if spill is not None and reader.held >= _SPILL_BYTES:
            await run_in_threadpool(spill, reader.take())
    if not reader.ended:
        raise UnusableUpload(f"The form ends in the middle, after {total} bytes.", hint=_TRUNCATED)
    if reader.file is not None:
        rest = reader.take()
        if spill is None:
            reader.file.data = rest
        elif rest:
            await run_in_threadpool(spill, rest)
    return Form(reader.fields, reader.file)


def too_large(limits: FormLimits) -> TooLarge:
    """The refusal of a file beyond its limit."""
    return TooLarge(
        f"File too large: the {limits.file_kind} exceeds {_megabytes(limits.max_file_bytes)}.",
        hint=f"Send a smaller {limits.file_kind}.",
    )


def _megabytes(size: int) -> str:
    return f"{size / 1024**2:.3g} MB"


class _Reader:
    """Turns the parser's callbacks into fields and one file."""

    def __init__(self, boundary: bytes, limits: FormLimits) -> None:
        self.fields: dict[str, str] = {}
        self.file: Upload | None = None
        self.ended = False
        self.held = 0
        self._pieces: list[bytes] = []
        self._limits = limits
        self._parts = 0
        self._name = ""
        self._value = bytearray()
        self._into: Callable[[bytes], None] = self._into_nothing
        self._headers: dict[bytes, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begins,
                    "on_header_field": self._on_header_name,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._on_data,
                    "on_part_end": self._part_ends,
                    "on_end": self._form_ends,
                },
                max_header_size=_MAX_HEADER_BYTES,
            )
        except FormParserError as error:
            raise _damaged(error) from None

    def feed(self, piece: bytes) -> None:
        """Parse what has arrived."""
        if not piece:
            return
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _damaged(error) from None

    def take(self) -> bytes:
        """The file's content held so far, which is forgotten here."""
        pieces = self._pieces
        self._pieces, self.held = [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # -- What the parser calls ----------------------------------------------------------
    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise TooLarge(f"The form has more than {MAX_PARTS} parts.", hint="Send fewer fields.")
        self._headers = {}

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_ends(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _headers_end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise UnusableUpload(
                "A part of the form has no name.",
                hint='Every part needs Content-Disposition: form-data; name="…".',
            )
        self._name = _text(options[b"name"])
        if b"filename" in options:
            self._file_begins(_text(options[b"filename"]))
        elif self._name in self._limits.file_fields:
            # A field called like the file: most likely `-F image=board.jpg` without the @.
            self._file_begins("")
        else:
            self._value = bytearray()
            self._into = self._into_field

    def _file_begins(self, filename: str) -> None:
        if self._name not in self._limits.file_fields:
            self._into = self._into_nothing
            return
        if self.file is not None:
            raise UnusableUpload(
                f"The form holds more than one {self._limits.file_kind}.",
                hint="Send one per request.",
            )
        declared, _ = parse_options_header(self._headers.get(b"content-type"))
        upload = Upload(self._name, filename, _text(declared))
        self._limits.check(upload)
        self.file = upload
        self._into = self._into_file

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._into(data[start:end])

    def _into_file(self, piece: bytes) -> None:
        assert self.file is not None
        self.file.size += len(piece)
        if self.file.size > self._limits.max_file_bytes:
            raise too_large(self._limits)
        self._pieces.append(piece)
        self.held += len(piece)

    def _into_field(self, piece: bytes) -> None:
        self._value += piece
        if len(self._value) > MAX_FIELD_BYTES:
            raise TooLarge(
                f"The field {self._name[:60]!r} exceeds {MAX_FIELD_BYTES} bytes.",
                hint="Shorten it.",
            )

    def _into_nothing(self, piece: bytes) -> None:
        """A file nobody asked for; it counts towards the form's size and is dropped."""

    def _part_ends(self) -> None:
        if self._into == self._into_field:
            self.fields[self._name] = _text(bytes(self._value))
        self._into = self._into_nothing

    def _form_ends(self) -> None:
        self.ended = True


def _text(raw: bytes) -> str:
    """UTF-8, as browsers and RFC 7578 have it; anything else keeps its readable part."""
    return raw.decode("utf-8", "replace")


def _damaged(error: Exception) -> UnusableUpload:
    return UnusableUpload(f"The form is damaged: {error}.", hint=_TRUNCATED)
