"""What an answer means for the batch it answers: the rules of delivery, free of input and output.

Only an answer that is certainly Andon's may cost an event its place in the spool. A captive
portal's page, a proxy's 404 or a wrong address leave everything where it is.
"""

from typing import Any

import msgspec

from andon import typed
from andon.client.link import Reply

_PROBLEM = "application/problem+json"
_SILENT = "The server gave no reason."


class _Row(msgspec.Struct):
    index: int
    detail: str = ""


class _Report(msgspec.Struct):
    total: int
    ingested: int
    duplicates: int
    rejected: int
    errors: list[_Row] = []
    errors_omitted: int = 0


class Settled(msgspec.Struct, frozen=True):
    """The server has dealt with the rows.

    Args:
        stored: Rows it did not know before.
        duplicates: Rows it had already.
        refused: Reasons by place in the batch.
        unnamed: Whether further rows were refused without being named: all rows that
            `refused` does not name have to be sent again.
    """

    stored: int
    duplicates: int
    refused: dict[int, str]
    unnamed: bool = False


class Halve(msgspec.Struct, frozen=True):
    """Try again with fewer rows.

    Args:
        lasting: Whether larger batches will be refused from now on as well.
    """

    lasting: bool


class Trouble(msgspec.Struct, frozen=True):
    """Nothing was taken; everything stays and is sent again later.

    Args:
        why: A sentence for people.
        lasting: Whether a person has to do something (key, address), not only time pass.
        retry_after: Seconds the server asked for.
    """

    why: str
    lasting: bool = False
    retry_after: float | None = None


def judge(reply: Reply, path: str, rows: int) -> Settled | Halve | Trouble:
    """What to do after an answer to a batch of `rows` rows."""
    if reply.status in {200, 201, 400, 422}:
        report = _report(reply, rows)
        if report is not None:
            reasons = {row.index: row.detail or _SILENT for row in report.errors}
            return Settled(
                report.ingested, report.duplicates, reasons, unnamed=len(reasons) < report.rejected
            )
    if reply.status == 413:
        if rows > 1:
            return Halve(lasting=True)
        return Settled(0, 0, {0: "Larger than the server or a proxy before it takes."})
    if reply.status in {400, 409, 422} and reply.kind == _PROBLEM:
        if rows > 1:
            return Halve(lasting=False)
        return Settled(0, 0, {0: _detail(reply)})
    return _trouble(reply, path)


def _trouble(reply: Reply, path: str) -> Trouble:
    status = reply.status
    if status in {408, 425, 429} or status >= 500:
        why = f"The server cannot take events now ({status}). {_detail(reply)}"
        return Trouble(why.strip(), retry_after=reply.retry_after)
    if status in {401, 403}:
        return Trouble(
            f"The server does not let this sender in ({status}): check the API key. "
            f"{_detail(reply)}".strip(),
            lasting=True,
        )
    if 300 <= status < 400:
        where = f" to {reply.location[:200]}" if reply.location.isprintable() else ""
        return Trouble(
            f"The server redirects{where}, which is not followed: give the address it "
            "redirects to, if you trust it.",
            lasting=True,
        )
    if 200 <= status < 300 or status in {400, 422}:
        return Trouble(f"What answered ({status}) is not Andon: check the address.", lasting=True)
    return Trouble(
        f"The server does not take events at {path} ({status}): check the address, and that it "
        "is no older Andon.",
        lasting=True,
    )


def _report(reply: Reply, rows: int) -> _Report | None:
    """The counters of the answer, if they can be about this batch."""
    try:
        report = typed.decode(reply.body, _Report)
    except msgspec.MsgspecError:
        return None
    counted = report.ingested + report.duplicates + report.rejected
    named = {row.index for row in report.errors}
    fits = (
        report.total == rows == counted
        and min(report.ingested, report.duplicates, report.rejected) >= 0
        and all(0 <= index < rows for index in named)
        and len(named) <= report.rejected
        # Otherwise sending again would never end.
        and (named or not report.rejected)
    )
    return report if fits else None


def _detail(reply: Reply) -> str:
    """The sentence of the server's problem details, or nothing."""
    if reply.kind != _PROBLEM:
        return ""
    try:
        problem: Any = msgspec.json.decode(reply.body)
    except msgspec.MsgspecError:
        return ""
    detail = problem.get("detail") if isinstance(problem, dict) else None
    return detail[:500] if isinstance(detail, str) and detail.isprintable() else ""
