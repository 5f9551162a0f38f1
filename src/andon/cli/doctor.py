"""``andon doctor``: what is wrong with this installation, and how to mend it."""

import sys

import typer

from andon.cli import output
from andon.cli.opening import load_settings
from andon.cli.options import Home, Json

_MARKS = {"ok": "\x1b[32mok\x1b[0m  ", "warn": "\x1b[33mwarn\x1b[0m", "fail": "\x1b[31mfail\x1b[0m"}


def doctor(home: Home = None, as_json: Json = False) -> None:
    """Look over this installation: what is wrong and how to mend it.

    Changes nothing and works beside a running server. The exit code is 1 when something fails.
    """
    # SQLAlchemy and msgspec come with the checks.
    from andon.cli.checkup import State, examine  # noqa: PLC0415

    findings = []
    for finding in examine(load_settings(home)):
        findings.append(finding)
        if as_json:
            continue
        mark = _MARKS[finding.state] if sys.stdout.isatty() else f"{finding.state:<4}"
        output.say(f"  {finding.check:<13} {finding.detail}", mark=mark)
        if finding.advice:
            output.say(f"{'':<20}→ {finding.advice}")
    states = [finding.state for finding in findings]
    failed, warned = states.count(State.FAIL), states.count(State.WARN)
    if as_json:
        output.print_json({"ok": failed == 0, "findings": findings})
    elif failed or warned:
        output.say(f"\n{failed} failing, {warned} to look at.")
    else:
        output.say("\nNothing is wrong.")
    if failed:
        raise typer.Exit(1)
