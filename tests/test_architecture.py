"""The shape of the project: imports point down, and nothing is in it that does not belong."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.support.policy import absent

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "andon"

_MIB = 1024 * 1024
_LARGEST = {".onnx": 3 * _MIB}
_BINARY = {".onnx", ".png", ".jpg", ".jpeg", ".bmp", ".ico", ".eim", ".woff2"}
_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _tracked() -> list[Path]:
    """Every file that is, or would be, committed."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("This is no git checkout.")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_between_rooms_point_down() -> None:
    """A room imports the rooms under it only; import-linter holds the contracts."""
    if find_spec("importlinter") is None:
        absent("import-linter is not installed here: `make check` brings it.")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--config", "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_core_has_few_direct_dependencies() -> None:
    """An edge box installs at most 25 packages by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert len(project["dependencies"]) <= 25


def test_the_lock_pins_every_direct_dependency() -> None:
    """requirements.lock knows each package that pyproject.toml names, and no place or index."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = document["dependency-groups"]
    wanted = [*document["project"]["dependencies"], *groups["test"], *groups["check"]]
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    pinned = set(re.findall(r"^([a-z0-9_.-]+)==", lock, re.MULTILINE))
    names = {re.split(r"[\[<>=~! ]", requirement)[0].lower() for requirement in wanted}
    assert names - pinned == set()
    assert "://" not in lock


def test_no_file_is_large() -> None:
    """The repository stays quick to clone: 1 MiB a file, 3 MiB for a model."""
    large = [
        f"{_shown(path)}: {path.stat().st_size} bytes"
        for path in _tracked()
        if path.stat().st_size > _LARGEST.get(path.suffix, _MIB)
    ]
    assert large == []


def test_no_file_names_a_place_of_one_machine() -> None:
    """Paths of whoever wrote a file mean nothing to whoever reads it."""
    place = re.compile(r"/(?:root|work|home/(?!pi\b)\w+)/")
    found = [
        f"{_shown(path)}: {match[0]}"
        for path in _tracked()
        if path.suffix not in _BINARY
        and (match := place.search(path.read_text("utf-8", errors="replace")))
    ]
    assert found == []


def test_every_module_opens_with_what_it_is_for() -> None:
    """A module, and each public class and function in it, has a docstring."""
    # Migrations hold Alembic's two functions, the same in every file.
    trees = {path: _tree(path) for path in _modules() if "migrations" not in path.parts}
    silent = [_shown(path) for path, tree in trees.items() if ast.get_docstring(tree) is None]
    silent += [
        f"{_shown(path)}: {node.name}"
        for path, tree in trees.items()
        for node in tree.body
        if isinstance(node, _NAMED)
        and not node.name.startswith("_")
        # Of overloads the last one, which does it, says what it does.
        and "overload" not in [ast.unparse(one) for one in node.decorator_list]
        and ast.get_docstring(node) is None
    ]
    assert silent == []


def test_no_module_outgrows_reading() -> None:
    """Past 550 lines a file holds more than one concept."""
    long = {
        _shown(path): count
        for path in _modules()
        if (count := len(path.read_text("utf-8").splitlines())) > 550
    }
    assert long == {}


def test_a_note_for_later_carries_an_issue_number() -> None:
    """Notes without one are forgotten."""
    note = re.compile(r"#\s*(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b(?!.*#\d+)")
    found = [
        f"{_shown(path)}:{number}"
        for path in _modules()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if note.search(line)
    ]
    assert found == []


def test_every_test_says_what_it_shows() -> None:
    """A test has a docstring of its own: the behaviour, in a sentence."""
    silent = [
        f"{_shown(path)}: {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and ast.get_docstring(node) is None
    ]
    assert silent == []


def test_help_starts_quickly_because_heavy_rooms_stay_unloaded() -> None:
    """`andon --help` imports neither NumPy, nor ONNX Runtime, nor SQLAlchemy, nor pydantic."""
    code = (
        "import sys, andon.cli.main\n"
        "heavy = {'numpy', 'onnxruntime', 'sqlalchemy', 'pydantic', 'PIL', 'fastapi', 'alembic'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_types_are_learned_in_one_place() -> None:
    """First used by two threads at once, msgspec's own calls may end the process: see typed.py."""
    found = []
    for path in _modules():
        if path.name == "typed.py":
            continue
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            typed = any(keyword.arg == "type" for keyword in node.keywords)
            if called == "msgspec.convert" or (called == "msgspec.json.decode" and typed):
                found.append(f"{_shown(path)}:{node.lineno}")
    assert found == []
