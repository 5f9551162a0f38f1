"""What keeps an idle server small."""

import importlib
import sys

import pytest

from andon.web.memory import without


def test_a_hidden_module_is_not_there_for_a_while() -> None:
    """Whoever can do without it loads without; afterwards it can be imported as ever."""
    sys.modules.pop("colorsys", None)
    with without("colorsys"), pytest.raises(ImportError):
        importlib.import_module("colorsys")
    assert importlib.import_module("colorsys").__name__ == "colorsys"


def test_a_loaded_module_stays_as_it_is() -> None:
    """Hiding it would break those that use it already."""
    with without("sys", "json"):
        assert importlib.import_module("json") is sys.modules["json"]
    assert "sys" in sys.modules
