from datetime import UTC, datetime, timedelta

import pytest

from andon.web.dashboard import wording

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (9, "just now"),
        (19, "10 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (86400, "1 day ago"),
        (5 * 86400, "5 days ago"),
        (20 * 86400, "1 Nov 2026"),
        (-5, "just now"),
    ],
)
def test_time_is_told_as_people_tell_it(seconds, words):
    """How long ago, in the largest unit that fits, and the date after a week."""
    assert wording.ago(NOON - timedelta(seconds=seconds), NOON) == words


def test_the_exact_time_is_in_utc():
    """The title and the machine form name the zone."""
    assert wording.exact(NOON) == "21 Nov 2026 12:00:00 UTC"
    assert wording.machine(NOON) == "2026-11-21T12:00:00Z"


@pytest.mark.parametrize(
    ("value", "words"),
    [(512, "512 bytes"), (10 * 1024**2, "10 MB"), (1_500_000, "1.4 MB"), (3 * 1024**3, "3 GB")],
)
def test_sizes_are_told_as_limits_are_set(value, words):
    """Ten mebibytes are what everybody calls 10 MB."""
    assert wording.size(value) == words


def test_numbers_keep_their_digits_together():
    """Thousands are set off by a narrow space, milliseconds lose digits as they grow."""
    assert wording.count(1234567) == "1\u202f234\u202f567"
    assert [wording.millis(one) for one in (None, 8.44, 31.6, 12_000)] == [
        "–",
        "8.4 ms",
        "32 ms",
        "12 s",
    ]
    assert wording.plural(1, "defect") == "1 defect"
    assert wording.plural(2, "defect") == "2 defects"


def seen(*scores: float) -> list[dict[str, object]]:
    """Detections with these confidences."""
    return [{"label": f"l{place}", "confidence": score} for place, score in enumerate(scores)]


def test_a_verdict_names_the_surest_finds_first():
    """Up to three are named, the rest is counted."""
    assert wording.verdict(seen(0.7, 0.9), 0.5) == "2 defects: l1 0.90, l0 0.70"
    assert wording.verdict(seen(0.6, 0.7, 0.8, 0.9), 0.5).endswith("l1 0.70 and 1 more")
    assert wording.verdict(seen(0.6), 0.5) == "1 defect: l0 0.60"


def test_a_verdict_of_nothing_names_the_threshold():
    """What lies below the threshold does not count, and the reader is told where it lies."""
    assert wording.verdict(seen(0.4), 0.5) == "Nothing found above 0.50"


@pytest.mark.parametrize(
    ("seconds", "clock", "words"),
    [
        (0, "0:00", "0 s"),
        (29, "0:00", "29 s"),
        (45, "0:01", "45 s"),
        (12 * 60, "0:12", "12 min"),
        (3 * 3600 + 5 * 60, "3:05", "3 h 05 min"),
        (3600 - 1, "1:00", "1 h 00 min"),
        (47.5 * 3600, "47:30", "47 h 30 min"),
        (52 * 3600, "52:00", "2 d 4 h"),
    ],
)
def test_how_long_something_lasted(seconds, clock, words):
    """In columns as hours and minutes, in sentences in words."""
    assert wording.hours(seconds) == clock
    assert wording.lasting(seconds) == words


def test_what_is_unknown_is_a_dash():
    """And never a zero."""
    for words in (wording.hours, wording.percent, wording.decimal, wording.whole):
        assert words(None) == "–"
    assert (wording.percent(0.0), wording.decimal(0.0), wording.whole(0)) == ("0 %", "0.0", "0")
    assert (wording.percent(0.825), wording.decimal(1.25, 3)) == ("82 %", "1.250")


def test_numbers_have_no_powers_of_ten_and_a_real_minus():
    """As limits of a form are told."""
    told = [wording.number(value) for value in (86_400_000.0, 0.25, -10, 1.5)]
    assert told == ["86\u202f400\u202f000", "0.25", "\u221210", "1.5"]


def test_whoever_acted_in_a_terminal_is_named_with_it():
    """And nobody is not."""
    assert wording.by("cli:root") == "by root, in the terminal"
    assert wording.by("mia") == "by mia"
    assert wording.by("") == ""


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("grün, 電灯 und \t\n", "grün, 電灯 und \t\n"),
        ("a\r\nb\rc", "a\nb\\rc"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x1b[31m\x00\x7f", "\\x1b[31m\\x00\\x7f"),
        ("a\u200bb\U000e0041", "a\\u200bb\\U000e0041"),
        ("\u2028", "\\u2028"),
    ],
)
def test_what_strangers_sent_is_seen_as_it_is(sent, shown):
    """Letters stay; what hides, or turns the line round, is written out."""
    assert wording.visible(sent) == shown


def test_a_stranger_gets_one_line_and_no_more():
    """However long a name is, and however much longer it is written out."""
    assert wording.brief("a\nb", 3) == "a b"
    assert wording.brief("abcd", 3) == "abc…"
    assert len(wording.brief("\u202e" * 1000, 80)) == 81
