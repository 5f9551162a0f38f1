"""`andon doctor`: what is wrong with an installation is found, named and has a next step."""

import hashlib
import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from andon.cli.checkup import State, examine, machine, server, storage, variables
from andon.cli.checkup.finding import Finding
from andon.settings import Settings
from andon.store.database import Database

Check = Callable[..., list[Finding]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation that was never started."""
    return Settings(home=tmp_path / "home", port=0)


@pytest.fixture
def used(settings: Settings) -> Settings:
    """An installation whose database is there."""
    settings.home.mkdir()
    Database(settings.home / "andon.db").close()
    return settings


def register(settings: Settings, content: bytes, *, file_format: str = "onnx") -> Path:
    """An active version with its file, as the registry leaves it."""
    db = Database(settings.home / "andon.db")
    db.models.ensure_model("pcb", "object-detection")
    version = db.models.add(
        "pcb",
        filename=f"a.{file_format}",
        file_hash=hashlib.sha256(content).hexdigest(),
        file_size=len(content),
        format=file_format,
        source="cli",
        notes="",
        options={},
        description={},
    )
    db.models.set_active("pcb", version.version, event_type="ACTIVATE", reason="", actor="test")
    db.close()
    path = settings.models / "pcb" / f"model_v{version.version}.{file_format}"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def about(findings: list[Finding] | Iterator[Finding], check: str) -> list[Finding]:
    """The findings of one check."""
    return [finding for finding in findings if finding.check == check]


def test_a_fresh_installation_has_nothing_failing(settings: Settings) -> None:
    """Before the first start all is well but for the missing model."""
    findings = list(examine(settings))
    assert [finding for finding in findings if finding.state is State.FAIL] == []
    assert about(findings, "active model")[0].state is State.WARN


def test_every_finding_that_is_not_ok_says_what_to_do(settings: Settings) -> None:
    """Advice stands beside trouble, and nowhere else."""
    for finding in examine(settings):
        assert bool(finding.advice) == (finding.state is not State.OK), finding


def test_looking_changes_nothing(used: Settings) -> None:
    """The doctor leaves every file of the home as it is."""
    before = {path: path.read_bytes() for path in used.home.rglob("*") if path.is_file()}
    list(examine(used))
    after = {path: path.read_bytes() for path in used.home.rglob("*") if path.is_file()}
    assert {p: v for p, v in after.items() if not p.name.endswith(("-shm", "-wal"))} == {
        p: v for p, v in before.items() if not p.name.endswith(("-shm", "-wal"))
    }


def test_a_sound_installation_is_all_ok(used: Settings) -> None:
    """A database, an active version with its file: nothing about models is amiss."""
    register(used, b"weights")
    findings = list(examine(used))
    assert about(findings, "database")[0].state is State.OK
    assert about(findings, "active model")[0].detail == "Active: pcb v1."
    assert [f.state for f in about(findings, "model files")] == [State.OK]


def test_a_changed_model_file_is_found(used: Settings) -> None:
    """An active version whose file is not the one that was registered fails."""
    register(used, b"weights").write_bytes(b"weightz")
    (finding,) = about(examine(used), "model files")
    assert finding.state is State.FAIL
    assert "SHA-256 differs" in finding.detail
    assert "rollback" in finding.advice


def test_a_missing_model_file_is_found(used: Settings) -> None:
    """An active version without its file fails."""
    register(used, b"weights").unlink()
    (finding,) = about(examine(used), "model files")
    assert finding.state is State.FAIL
    assert "is missing" in finding.detail


def test_a_model_program_without_its_mode_is_found(used: Settings) -> None:
    """An .eim that is not executable is named with the command that mends it."""
    path = register(used, b"\x7fELF", file_format="eim")
    path.chmod(0o644)
    found = [f for f in about(examine(used), "model files") if f.state is State.WARN]
    assert found[0].detail == f'Model file "{path}" of pcb v1 is not executable.'
    assert f"chmod 755 {path}" in found[0].advice


def test_a_file_that_no_version_owns_is_found(used: Settings) -> None:
    """Strays under the models folder are named."""
    path = register(used, b"weights")
    path.with_name("copy of model.onnx").write_bytes(b"stray")
    found = [f for f in about(examine(used), "model files") if f.state is State.WARN]
    assert "copy of model.onnx" in found[0].detail


def test_a_rejected_file_is_pointed_out(used: Settings) -> None:
    """Files refused by the watch folder are counted, and the newest reason named."""
    folder = used.deploy / "rejected"
    folder.mkdir(parents=True)
    (folder / "a.onnx.reason.txt").write_text("no", encoding="utf-8")
    (finding,) = about(examine(used), "watch folder")
    assert "a.onnx.reason.txt" in finding.detail


def test_a_file_that_is_no_database_is_refused_and_kept(settings: Settings) -> None:
    """A damaged database fails, and the advice is to keep it."""
    settings.home.mkdir()
    (settings.home / "andon.db").write_bytes(b"no database at all, but long enough" * 100)
    (finding,) = about(examine(settings), "database")
    assert finding.state is State.FAIL
    assert "never overwrites" in finding.advice


def test_a_damaged_database_is_found(used: Settings) -> None:
    """Pages overwritten in the middle of the file fail the check."""
    path = used.home / "andon.db"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(bytes(data))
    (finding,) = about(examine(used), "database")
    assert finding.state is State.FAIL


def test_a_misspelt_setting_is_named_with_the_nearest_one(
    settings: Settings, tmp_path: Path
) -> None:
    """ANDON_PROT is noticed, in the environment as in .env, and ANDON_PORT suggested."""
    env_file = tmp_path / ".env"
    env_file.write_text("# ports\nexport ANDON_HOSTT=x\nOTHER=1\n", encoding="utf-8")
    given = {"ANDON_PROT": "8081", "ANDON_PORT": "8081", "PATH": "/bin"}
    findings = list(variables.unknown_variables(settings, given, env_file))
    assert [finding.advice for finding in findings] == [
        "Did you mean ANDON_HOST?",
        "Did you mean ANDON_PORT?",
    ]


@pytest.mark.parametrize("key", ["", "changeme", "short", "aaaaaaaaaaaaaaaaaaaaaaaa"])
def test_an_address_without_a_secret_key_fails(tmp_path: Path, key: str) -> None:
    """Off loopback, a missing, placeholder or short key is what keeps the server from starting."""
    (finding,) = variables.access(Settings(home=tmp_path, host="0.0.0.0", api_key=key))
    assert finding.state is State.FAIL
    assert "will not start" in finding.detail


def test_an_open_server_is_warned_about(tmp_path: Path) -> None:
    """ANDON_AUTH=off beyond loopback lets everybody upload programs."""
    (finding,) = variables.access(Settings(home=tmp_path, host="0.0.0.0", auth="off"))
    assert finding.state is State.WARN


def test_a_folder_that_cannot_be_written_fails(tmp_path: Path) -> None:
    """A home below a file cannot be made."""
    (tmp_path / "file").write_text("")
    findings = list(storage.examine(Settings(home=tmp_path / "file" / "home")))
    assert about(findings, "home")[0].state is State.FAIL


def test_little_disk_is_warned_about(tmp_path: Path) -> None:
    """Below the limit at which pictures are no longer kept, a warning says so."""
    findings = storage.examine(Settings(home=tmp_path, min_free_bytes=1 << 60))
    assert about(findings, "disk")[0].state is State.WARN


def test_an_sd_card_is_noticed(tmp_path: Path) -> None:
    """A home on an SD card gets the setting that spares it."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\n/dev/mmcblk0p2 {tmp_path} ext4 rw 0 0\n")
    (finding,) = storage._medium(Settings(home=tmp_path / "home"), mounts)
    assert "ANDON_COMMIT_LINGER=0.01" in finding.advice
    assert list(storage._medium(Settings(home=tmp_path, commit_linger=0.01), mounts)) == []


def test_little_memory_is_warned_about(tmp_path: Path) -> None:
    """What /proc/meminfo calls available decides."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 900000 kB\nMemAvailable: 90000 kB\n")
    (finding,) = machine._memory(meminfo)
    assert finding.state is State.WARN
    assert "87.9 MiB" in finding.detail


def test_a_clock_before_the_release_fails() -> None:
    """A machine without a battery starts in 1970; its log would be out of order."""
    from datetime import UTC, datetime

    assert machine._clock(datetime(1970, 1, 1, tzinfo=UTC)).state is State.FAIL
    assert machine._clock(datetime(2027, 1, 1, tzinfo=UTC)).state is State.OK


class _Answering(http.server.BaseHTTPRequestHandler):
    """Answers every GET with the server's `document`."""

    def do_GET(self) -> None:
        body = json.dumps(self.server.document).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing on the console."""


@pytest.fixture
def listening() -> Iterator[Callable[[object], int]]:
    """Starts programs that answer HTTP on a free port."""
    running: list[http.server.HTTPServer] = []

    def start(document: object) -> int:
        program = http.server.HTTPServer(("127.0.0.1", 0), _Answering)
        program.document = document  # type: ignore[attr-defined]
        threading.Thread(target=program.serve_forever, daemon=True).start()
        running.append(program)
        return program.server_port

    yield start
    for program in running:
        program.shutdown()
        program.server_close()


def test_our_own_server_is_recognised(tmp_path: Path, listening: Callable[[object], int]) -> None:
    """An Andon on the port is no trouble, and its state is told."""
    port = listening({"status": "healthy", "active_model": 1})
    (finding,) = server.examine(Settings(home=tmp_path, port=port))
    assert finding.state is State.OK
    port = listening({"status": "degraded", "active_model": 1})
    (finding,) = server.examine(Settings(home=tmp_path, port=port))
    assert finding.state is State.WARN


def test_another_program_on_the_port_fails(
    tmp_path: Path, listening: Callable[[object], int]
) -> None:
    """A port that somebody else has is named with the command that finds them."""
    port = listening({"hello": "world"})
    (finding,) = server.examine(Settings(home=tmp_path, port=port))
    assert finding.state is State.FAIL
    assert f"ss -ltnp 'sport = :{port}'" in finding.advice


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_log_of_another_user_fails(settings: Settings) -> None:
    """A log that cannot be written, from an earlier `sudo andon`, is found."""
    settings.home.mkdir()
    settings.log.write_text("")
    settings.log.chmod(0o444)
    assert about(storage.examine(settings), "log")[0].state is State.FAIL
