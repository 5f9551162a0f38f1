import ast
from datetime import UTC, timedelta
from pathlib import Path

import andon.store
from andon.store.clock import now


def test_the_time_is_aware_and_in_utc():
    """Nobody has to guess what zone a time is in."""
    assert now().tzinfo is UTC
    assert now().utcoffset() == timedelta(0)


def test_only_the_clock_asks_for_the_date():
    """`datetime.now` and its like are called in clock.py alone."""
    asked = {"now", "utcnow", "today"}
    for path in Path(andon.store.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in asked:
                assert path.name == "clock.py", f"{path}:{node.lineno}"
