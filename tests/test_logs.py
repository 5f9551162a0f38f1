from andon import logs
from andon.logs import escaped, logging_setup, logging_stop
from andon.settings import Settings


def settings_of(home, **given) -> Settings:
    """Settings of an installation under test."""
    return Settings(home=home, _env_file=None, **given)


def lines_of(home) -> list[str]:
    """The log."""
    return (home / "andon.log").read_text(encoding="utf-8").splitlines()


def test_one_event_is_one_line(tmp_path):
    """Nobody writes lines of their own into the log, nor turns text around."""
    logging_setup(settings_of(tmp_path))
    name = "a\n2026-01-01T00:00:00Z INFO Model v9 activated\x1b[31m\u202e.png"
    logs.structlog.get_logger("andon.test").warning(f"Odd: {name}", image=name)
    logging_stop()
    (line,) = lines_of(tmp_path)
    assert "\\n2026-01-01" in line
    assert "\x1b" not in line
    assert "\u202e" not in line


def test_escaping_leaves_ordinary_text_alone():
    """Umlauts and spaces are text; tabs and separators are not."""
    assert escaped("Größe 5 µm") == "Größe 5 µm"
    assert escaped("a\tb\u2028c") == "a\\tb\\u2028c"


def test_secrets_never_reach_the_log(tmp_path):
    """Neither by value, nor by name, nor inside a database URL."""
    settings = settings_of(tmp_path, api_key="0123456789abcdef0123")
    logging_setup(settings)
    log = logs.structlog.get_logger("andon.test")
    log.error("Refused 0123456789abcdef0123", password="hunter2")
    log.error("Lost postgresql://andon:hunter3@db/andon")
    logging_stop()
    text = "\n".join(lines_of(tmp_path))
    assert "postgresql://andon:***@db/andon" in text
    for secret in ("0123456789abcdef0123", "hunter2", "hunter3"):
        assert secret not in text


def test_a_traceback_is_indented_below_its_line(tmp_path):
    """So that it cannot pass for log lines."""
    logging_setup(settings_of(tmp_path))
    try:
        raise RuntimeError("first\n2026 forged")
    except RuntimeError:
        logs.structlog.get_logger("andon.test").exception("It broke")
    logging_stop()
    head, *trace = lines_of(tmp_path)
    assert head.endswith("It broke")
    assert trace
    assert all(line.startswith("    | ") for line in trace)


def test_the_log_rotates_by_size(tmp_path, monkeypatch):
    """It never grows without limit."""
    monkeypatch.setattr(logs, "MAX_BYTES", 2000)
    logging_setup(settings_of(tmp_path))
    for number in range(500):
        logs.structlog.get_logger("andon.test").info(f"line {number}")
    logging_stop()
    assert len(list(tmp_path.glob("andon.log.*"))) == logs.KEEP
    assert all(path.stat().st_size <= 2000 for path in tmp_path.glob("andon.log*"))


def test_a_log_file_that_cannot_be_written_is_no_reason_to_fail(tmp_path, capsys):
    """The console has the lines then."""
    (tmp_path / "andon.log").mkdir()
    logging_setup(settings_of(tmp_path))
    logs.structlog.get_logger("andon.test").info("Still here")
    logging_stop()
    said = capsys.readouterr().err
    assert "cannot be written" in said
    assert "Still here" in said


def test_commands_show_warnings_only(tmp_path, capsys):
    """Their own output is what people read; the file still has everything."""
    logging_setup(settings_of(tmp_path), serve=False)
    logs.structlog.get_logger("andon.test").info("quiet")
    logs.structlog.get_logger("andon.test").warning("loud")
    logging_stop()
    said = capsys.readouterr().err
    assert "quiet" not in said
    assert "loud" in said
    assert len(lines_of(tmp_path)) == 2
