"""What is written to a terminal is text: nobody who calls the server commands it."""

from andon.cli import output

EVIL = "\x1b[2Jgone\x07 \u202edesrever \x9b31m\r\ud800"


def test_what_a_terminal_obeys_is_written_out(capsys):
    """In lines, notes, fields and tables; ends of lines stay."""
    output.say(f"one\ntwo {EVIL}", mark="\x1b[32mok\x1b[0m")
    output.note(EVIL)
    output.fields({"Reason": EVIL})
    output.table(["NAME"], [[EVIL]])
    done = capsys.readouterr()
    first, _, rest = done.out.partition("two")
    assert first == "\x1b[32mok\x1b[0mone\n"
    for text in (rest, done.err):
        assert "\\x1b[2Jgone\\x07 \\u202edesrever \\x9b31m\\r\\ud800" in text
        assert not set("\x1b\x07\u202e\x9b\r\ud800") & set(text)
