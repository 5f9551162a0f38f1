"""Every error a caller of Andon can meet, each with what to do about it.

`AndonError` is the root. A class carries the HTTP status and the problem type
(RFC 9457) once; an instance carries what happened to what (`detail`) and the next
step (`hint`). The web layer turns them into problem details, the command line into
one line and an exit code. Anything else that escapes is a bug (500).
"""

from typing import Any, ClassVar


class AndonError(Exception):
    """Something a caller can understand and act on.

    Args:
        detail: What happened, to what: a full sentence naming the object.
        hint: The next step, a full sentence. Empty where there is none.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, hint: str = "") -> None:
        super().__init__(f"{detail} {hint}".strip())
        self.detail = detail
        self.hint = hint
        self.members: dict[str, Any] = {}
        """More members of the problem details."""

    def problem(self) -> dict[str, Any]:
        """The RFC 9457 members of this error, without `instance`."""
        body: dict[str, Any] = {
            "type": f"/docs/errors#{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": str(self),
        }
        return body | self.members

    def headers(self) -> dict[str, str]:
        """Extra HTTP headers this error asks for."""
        return {}


class UnusableUpload(AndonError):
    """A file or row was received but cannot be used: wrong content, damaged, empty."""

    status = 400
    slug = "unusable-upload"
    title = "Unusable upload"


class UnreadableEvents(AndonError):
    """The body is not JSON, or holds no event at all; nothing was stored."""

    status = 400
    slug = "unreadable-events"
    title = "Unreadable events"


class EventsRejected(AndonError):
    """None of the events could be stored; each has its reason (unknown worker, retired, …)."""

    status = 400
    slug = "events-rejected"
    title = "Events rejected"


class Unauthenticated(AndonError):
    """The route needs a principal and the request names none that is known."""

    status = 401
    slug = "unauthenticated"
    title = "Authentication required"

    def headers(self) -> dict[str, str]:
        """RFC 9110 wants a challenge with every 401."""
        return {"WWW-Authenticate": "ApiKey"}


class Forbidden(AndonError):
    """The caller is known, or a web page drives the browser, and may not do this."""

    status = 403
    slug = "forbidden"
    title = "Forbidden"


class NotFound(AndonError):
    """The model, version, prediction, job or file that was named does not exist."""

    status = 404
    slug = "not-found"
    title = "Not found"


class Conflict(AndonError):
    """The request makes sense, but not in the present state (active model, no predecessor)."""

    status = 409
    slug = "conflict"
    title = "Conflict"


class TooLarge(AndonError):
    """The body, file or picture exceeds a limit."""

    status = 413
    slug = "too-large"
    title = "Too large"


class UnsupportedMedia(AndonError):
    """The declared content type or file kind is not one Andon takes here."""

    status = 415
    slug = "unsupported-media-type"
    title = "Unsupported media type"


class InvalidRequest(AndonError):
    """The request is well-formed but a field is missing, mistyped or out of range.

    Args:
        errors: One entry per field: ``{"field": "limit", "detail": "must be at least 1"}``.
    """

    status = 422
    slug = "invalid-request"
    title = "Invalid request"

    def __init__(
        self, detail: str, *, hint: str = "", errors: list[dict[str, str]] | None = None
    ) -> None:
        super().__init__(detail, hint=hint)
        self.errors = errors or []

    def problem(self) -> dict[str, Any]:
        """The problem details with the list of field errors."""
        body = super().problem()
        if self.errors:
            body["errors"] = self.errors
        return body


class Unavailable(AndonError):
    """Cannot be answered now; the same request may succeed after `retry_after` seconds."""

    status = 503
    slug = "unavailable"
    title = "Temporarily unavailable"

    def __init__(self, detail: str, *, hint: str = "", retry_after: float = 1.0) -> None:
        super().__init__(detail, hint=hint)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds, at least one."""
        return {"Retry-After": str(max(1, round(self.retry_after)))}


class Saturated(Unavailable):
    """The bounded queue is full: answering later beats answering nobody."""

    slug = "saturated"
    title = "Too many requests in flight"


class DeadlineExceeded(Unavailable):
    """The request waited or ran longer than its deadline and was given up."""

    slug = "deadline-exceeded"
    title = "Deadline exceeded"


class ModelNotLoaded(Unavailable):
    """There is no loaded version of the model that was asked for."""

    slug = "model-not-loaded"
    title = "Model not loaded"


class RuntimeFailed(Unavailable):
    """The model's runtime crashed, hung or answered garbage; it is being restarted."""

    slug = "runtime-failed"
    title = "Model runtime failed"


class StorageFull(Unavailable):
    """The disk or database cannot take the write; nothing was acknowledged."""

    slug = "storage-full"
    title = "Storage unavailable"


class UploadInterrupted(Unavailable):
    """A streamed upload stopped half-way. What `detail` counts is stored; send all of it again.

    Args:
        cause: What stopped it; it decides the HTTP status.
    """

    slug = "upload-interrupted"
    title = "Upload interrupted"

    def __init__(self, detail: str, *, hint: str = "", cause: AndonError) -> None:
        super().__init__(detail, hint=hint)
        self._cause = cause

    def problem(self) -> dict[str, Any]:
        """The problem details, under the status of what stopped it."""
        return super().problem() | {"status": self._cause.status}

    def headers(self) -> dict[str, str]:
        """The headers of what stopped it."""
        return self._cause.headers()


class ModelRejected(UnusableUpload):
    """A model file is not what it must be: wrong format, architecture, damaged, cannot run."""

    slug = "model-rejected"
    title = "Model rejected"


class ModelDamaged(Unavailable):
    """A stored model file is missing or its SHA-256 no longer matches its registration."""

    slug = "model-damaged"
    title = "Model file damaged"


class ConfigurationError(AndonError):
    """The settings or the installation make a start impossible or unsafe."""

    slug = "configuration"
    title = "Configuration error"


class DatabaseDamaged(AndonError):
    """The database file cannot be read as what it should be. It is never overwritten."""

    status = 503
    slug = "database-damaged"
    title = "Database damaged"
