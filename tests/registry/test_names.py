import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from andon.errors import InvalidRequest
from andon.registry.names import clean_filename, clean_model_name


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("pcb", "pcb"),
        ("heart-disease", "heart-disease"),
        ("  PCB_v2.1 ", "pcb_v2.1"),
        ("7", "7"),
        ("a" * 64, "a" * 64),
    ],
)
def test_a_model_name_has_one_spelling(name: str, cleaned: str):
    """Lower case, without outer spaces."""
    assert clean_model_name(name) == cleaned


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "a/b", "../pcb", ".incoming", "-x", "x-", "a..b", "a b", "ü", "a" * 65,
     "a\0b", "a\nb", "x" * 10_000],
)  # fmt: skip
def test_a_model_name_that_could_be_more_than_a_name_is_refused(name: str):
    """No paths, no hidden folders; the message stays short."""
    with pytest.raises(InvalidRequest, match="cannot be called") as caught:
        clean_model_name(name)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("board.jpg", "board.jpg"),
        ("Größe 7.png", "Größe 7.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system.ini", "system.ini"),
        ("/", "unnamed"),
        ("", "unnamed"),
        (".", "unnamed"),
        ("..", "unnamed"),
        (".bashrc", "bashrc"),
        ("a\0b.jpg", "a_b.jpg"),
        ("a\r\nSet-Cookie: x.jpg", "a__Set-Cookie_ x.jpg"),
        ("\u202egpj.exe", "_gpj.exe"),
        ("CON.jpg", "_CON.jpg"),
        ("nul", "_nul"),
        ('a<b>"c|d?e*.png', "a_b__c_d_e_.png"),
        ("x" * 500 + ".onnx", "x" * 115 + ".onnx"),
        ("ü" * 500 + ".onnx", "ü" * 87 + ".onnx"),
        ("name.", "name"),
        ("\ud800.jpg", "_.jpg"),
    ],
)
def test_a_file_name_is_made_harmless(name: str, cleaned: str):
    """Traversal, control and turning characters, devices, length; the suffix survives."""
    assert clean_filename(name) == cleaned


_nasty = st.text(
    alphabet=st.sampled_from("./\\:\0\n\r\t .aA~ü漢\u202e\u0301\ud800\U0001f600%con"), max_size=400
)


@given(_nasty | st.text(max_size=300) | st.binary(max_size=300).map(lambda b: b.decode("latin-1")))
@example("x" * 10_000)
@example("漢" * 10_000 + ".jpg")
@example("a." * 5_000)
@example("." + "ab" * 200 + ". .")
def test_every_text_becomes_a_safe_file_name(name: str):
    """Whatever comes: short, printable, no path, and cleaning it again changes nothing."""
    cleaned = clean_filename(name)
    assert 1 <= len(cleaned) <= 120
    assert len(cleaned.encode()) <= 180
    assert cleaned.isprintable()
    assert not set(cleaned) & set("/\\\0:")
    assert not cleaned.startswith(".")
    assert cleaned not in {".", ".."}
    assert cleaned == unicodedata.normalize("NFC", cleaned)
    assert clean_filename(cleaned) == cleaned
