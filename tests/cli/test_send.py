"""`andon send`: from files and pipes to the server, and a calm word about what came of it."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Andon
from tests.support.receiver import Answer, Receiver

ANDON = [sys.executable, "-m", "andon.cli.main"]
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes everything, until it is told otherwise."""
    running = Receiver()
    yield running
    running.stop()


def rows(count: int) -> list[dict[str, Any]]:
    """Factory events, a minute apart, without ids."""
    return [
        {
            "timestamp": f"2026-11-21T06:{number:02}:00Z",
            "worker_id": "W1",
            "workstation_id": "S1",
            "event_type": "product_count",
            "confidence": 0.9,
            "count": number,
        }
        for number in range(count)
    ]


def ndjson(path: Path, items: list[dict[str, Any]]) -> Path:
    """A file of one object per line."""
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


def test_a_file_of_lines_arrives_as_it_is(andon: Andon, receiver: Receiver, tmp_path: Path) -> None:
    """NDJSON: every object unchanged, and the counts."""
    file = ndjson(tmp_path / "shift.ndjson", rows(30))
    done = andon("send", "factory", file, "--url", receiver.address)
    assert done.code == 0, done.err
    assert done.out.split() == ["sent", "30", "stored", "30"]
    assert receiver.items == rows(30)


def test_sending_a_file_again_changes_nothing(
    andon: Andon, receiver: Receiver, tmp_path: Path
) -> None:
    """Events that carry their time get no id of the moment."""
    file = ndjson(tmp_path / "shift.ndjson", rows(5))
    andon("send", "factory", file, "--url", receiver.address)
    again = andon("send", "factory", file, "--url", receiver.address, "--json")
    assert again.code == 0
    assert (again.json["stored"], again.json["duplicates"]) == (0, 5)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_spreadsheet_is_told_by_its_content(
    andon: Andon, receiver: Receiver, tmp_path: Path, delimiter: str
) -> None:
    """CSV as any program writes it: numbers are numbers, empty cells are absent."""
    file = tmp_path / "shift.txt"
    lines = [
        ["\ufefftimestamp", "worker_id", "workstation_id", "event_type", "confidence", "count"],
        ["2026-11-21T06:00:00Z", "W1", '"S1"', "product_count", "0.9", "3"],
        ["2026-11-21T06:00:01Z", "W1", "S1", "working", "1", ""],
    ]
    file.write_text("".join(delimiter.join(line) + "\r\n" for line in lines), encoding="utf-8")
    assert andon("send", "factory", file, "--url", receiver.address).code == 0
    counted, working = receiver.items
    assert counted == {**rows(1)[0], "count": 3}
    assert working["confidence"] == 1
    assert "count" not in working


def test_telemetry_without_a_time_gets_the_present(
    andon: Andon, receiver: Receiver, tmp_path: Path
) -> None:
    """And an id, so that a retry is a repeat; the site of --site."""
    file = tmp_path / "eyes.csv"
    file.write_text("ear_value,is_drowsy,duration_ms\n0.31,false,0\n0.12,1,650\n")
    assert andon("send", "telemetry", file, "--url", receiver.address, "--site", "bus-7").code == 0
    first, second = receiver.items
    assert (first["is_drowsy"], second["is_drowsy"]) == (False, True)
    assert first["event_id"] != second["event_id"]
    assert first["timestamp"].endswith("Z")
    assert first["site_id"] == "bus-7"


def test_bad_lines_are_named_and_the_others_sent(
    andon: Andon, receiver: Receiver, tmp_path: Path
) -> None:
    """A line that is no JSON, no object, or a row that does not fit its header: code 1."""
    good = json.dumps(rows(1)[0])
    file = tmp_path / "shift.ndjson"
    file.write_bytes(f"{good}\n{{oops\n[1]\n\n\xff\n{'x' * 70_000}\n".encode("latin-1"))
    done = andon("send", "factory", file, "--url", receiver.address)
    assert done.code == 1
    assert len(receiver.items) == 1
    assert "unreadable  4" in done.out
    for word in ("Line 2: not JSON", "Line 3: not a JSON object", "Line 5: not UTF-8", "Line 6: "):
        assert word in done.err


@pytest.mark.parametrize("text", ["[]\n", "hello\n", "one line, and prose\n"])
def test_a_file_that_is_neither_is_explained(
    andon: Andon, receiver: Receiver, tmp_path: Path, text: str
) -> None:
    """What it is, and what it should be."""
    file = tmp_path / "letter.txt"
    file.write_text(text)
    done = andon("send", "factory", file, "--url", receiver.address)
    assert done.code == 1
    assert "JSON" in done.err
    assert "line" in done.err


def test_refused_events_are_told_with_the_reason(
    andon: Andon, receiver: Receiver, tmp_path: Path
) -> None:
    """Grouped by reason; kept; sent again when the reason is mended."""
    receiver.refuse = lambda row: "Worker W1 is not registered." if row["count"] > 2 else ""
    file = ndjson(tmp_path / "shift.ndjson", rows(5))
    done = andon("send", "factory", file, "--url", receiver.address)
    assert done.code == 1
    assert "Refused 2: Worker W1 is not registered." in done.err
    shown = andon("send", "rejected", "--url", receiver.address)
    assert shown.code == 0
    assert shown.out.count("Worker W1 is not registered.") == 2
    receiver.refuse = lambda _: ""
    assert andon("send", "rejected", "--retry", "--url", receiver.address).code == 0
    assert receiver.items == [*rows(3), *rows(5)[3:]]
    assert andon("send", "rejected", "--url", receiver.address).out == "Nothing was refused.\n"


def test_refusals_that_differ_in_the_value_alone_are_told_once(
    andon: Andon, receiver: Receiver, tmp_path: Path
) -> None:
    """With an example, how many there were, and how many more texts are like it."""
    receiver.refuse = lambda item: f"timestamp: is in the future ('{item['timestamp']}')"
    file = ndjson(tmp_path / "shift.ndjson", rows(5))
    done = andon("send", "factory", file, "--url", receiver.address)
    assert done.code == 1
    (told,) = [line for line in done.err.splitlines() if "Refused" in line]
    assert told.startswith("Refused 5: timestamp: is in the future ('20")
    assert told.endswith("(and 4 like it)")


def test_without_a_server_everything_waits_for_the_next_time(
    andon: Andon, receiver: Receiver, tmp_path: Path
) -> None:
    """Code 1 and where it is; the next command to the same server sends it."""
    receiver.stop()
    file = ndjson(tmp_path / "shift.ndjson", rows(7))
    done = andon("send", "factory", file, "--url", receiver.address, "--wait", 0.2)
    assert done.code == 1
    assert "waiting  7" in done.out
    assert "cannot be reached" in done.err
    back = Receiver(receiver.port)
    try:
        empty = tmp_path / "empty.ndjson"
        empty.write_text("")
        again = andon("send", "factory", empty, "--url", receiver.address)
        assert again.code == 0
        assert "7 events" in again.err
        assert back.items == rows(7)
    finally:
        back.stop()


def test_each_server_has_a_spool_of_its_own(
    andon: Andon, receiver: Receiver, tmp_path: Path
) -> None:
    """What waits for one is never sent to another."""
    file = ndjson(tmp_path / "shift.ndjson", rows(3))
    folder = tmp_path / "kept"
    andon("send", "factory", file, "--url", NOWHERE, "--wait", 0, "--spool", folder)
    other = ndjson(tmp_path / "other.ndjson", rows(1))
    assert andon("send", "factory", other, "--url", receiver.address, "--spool", folder).code == 0
    assert len(receiver.items) == 1
    assert len(list(folder.glob("*.db"))) == 2


def test_the_key_comes_from_the_environment(
    andon: Andon, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ANDON_API_KEY is sent, and a refused one ends the command early with a word about it."""
    monkeypatch.setenv("ANDON_API_KEY", "k9-Zx7-Qw3-Lm5-Tt1")
    file = ndjson(tmp_path / "shift.ndjson", rows(1))
    receiver.always = Answer(401)
    done = andon("send", "factory", file, "--url", receiver.address, "--wait", 60)
    assert receiver.requests[0][3]["X-API-Key"] == "k9-Zx7-Qw3-Lm5-Tt1"
    assert done.code == 1
    assert "API key" in done.err
    assert "k9-Zx7" not in done.err


def test_a_pipe_is_sent_while_it_is_open(home: Path, receiver: Receiver) -> None:
    """`camera | andon send factory -`: an event arrives before the camera has finished."""
    words = [*ANDON, "send", "factory", "-", "--url", receiver.address]
    program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdin is not None
    for number, row in enumerate(rows(3), start=1):
        program.stdin.write(json.dumps(row) + "\n")
        program.stdin.flush()
        while len(receiver.items) < number:
            assert program.poll() is None
    out, _ = program.communicate(timeout=60)
    assert program.returncode == 0
    assert "stored  3" in out


def test_a_last_line_needs_no_end(
    andon: Andon, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a pipe wrote before it closed counts."""
    text = io.TextIOWrapper(io.BytesIO(json.dumps(rows(1)[0]).encode()))
    monkeypatch.setattr(sys, "stdin", text)
    assert andon("send", "factory", "--url", receiver.address).code == 0
    assert receiver.items == rows(1)


TRACE = "Frame,EAR_r,EAR_l\n" + "".join(
    f"{number},{0.1 if 10 <= number < 30 else 0.3},0.3\n" for number in range(60)
).replace("0.1,0.3", "0.1,0.1")


def test_a_trace_is_replayed_as_telemetry(andon: Andon, receiver: Receiver, tmp_path: Path) -> None:
    """One measurement per frame, its time from the frame rate, closures judged."""
    file = tmp_path / "trace.csv"
    file.write_text(TRACE)
    words = ("send", "drowsiness", file, "--speed", 0, "--start", "2026-11-21T02:00:00Z")
    done = andon(*words, "--driver", "D7", "--url", receiver.address)
    assert done.code == 0, done.err
    assert "60 frames at 30 per second: 2.0 s from 2026-11-21 02:00:00" in done.err
    assert len(receiver.items) == 60
    assert sum(item["is_drowsy"] for item in receiver.items) == 6
    assert max(item["duration_ms"] for item in receiver.items) == pytest.approx(666.667)
    assert receiver.items[30]["timestamp"] == "2026-11-21T02:00:01Z"
    assert {item["driver_id"] for item in receiver.items} == {"D7"}
    again = andon(*words, "--driver", "D7", "--url", receiver.address, "--json")
    assert again.json["duplicates"] == 60


def test_a_trace_can_be_played_faster(andon: Andon, receiver: Receiver, tmp_path: Path) -> None:
    """Paced, in several batches, and its end is now at the latest."""
    file = tmp_path / "trace.csv"
    file.write_text(TRACE)
    done = andon("send", "drowsiness", file, "--speed", 40, "--url", receiver.address)
    assert done.code == 0, done.err
    assert len(receiver.items) == 60


def test_the_threshold_is_the_settings(
    andon: Andon, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ANDON_EAR_THRESHOLD, unless --threshold says otherwise."""
    file = tmp_path / "trace.csv"
    file.write_text(TRACE)
    monkeypatch.setenv("ANDON_EAR_THRESHOLD", "0.05")
    words = ("send", "drowsiness", file, "--speed", 0, "--url", receiver.address)
    andon(*words)
    assert not any(item["duration_ms"] for item in receiver.items)
    andon(*words, "--threshold", 0.2)
    assert any(item["is_drowsy"] for item in receiver.items)
