"""The documentation is in step with the code: what exists is documented, and the reverse."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from scripts import reference
from typer.main import get_command

from andon.cli.main import app
from andon.platform import Platform
from andon.settings import Settings
from andon.web.app import create_app

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

# What the browser asks for and nobody calls by hand.
_NOT_FOR_CALLERS = re.compile(r"^/(static|favicon|docs/|login|logout|session|assets|pages|robots)")


def test_the_generated_pages_are_what_the_code_says() -> None:
    """Configuration, command line and problem types: `make docs` would change nothing."""
    behind = [path.name for path in reference.stale()]
    assert not behind, f"run `make docs`: {behind}"


def test_every_setting_is_documented() -> None:
    """Each environment name of each setting, the older ones too, stands in configuration.md."""
    page = _read("docs/configuration.md")
    names = [
        name
        for field, info in Settings.model_fields.items()
        for name in reference.environment_names(field, info)
    ]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_setting_says_its_meaning() -> None:
    """A setting without a description could not be documented."""
    silent = [name for name, field in Settings.model_fields.items() if not field.description]
    assert silent == []


def test_every_command_is_documented_and_says_what_it_does() -> None:
    """Each command has a help line and a heading in cli.md."""
    page = _read("docs/cli.md")
    for path, command in _commands(get_command(app), "andon"):
        assert command.help, path
        assert re.search(rf"^##+ {re.escape(path)}$", page, re.MULTILINE), path


@pytest.fixture
def routes(tmp_path: Path) -> Iterator[list[str]]:
    """The paths of the OpenAPI document."""
    platform = Platform(Settings(home=tmp_path))
    yield list(create_app(platform).openapi()["paths"])
    platform.stop()


def test_every_route_is_documented(routes: list[str]) -> None:
    """Each route a program may call stands in http.md."""
    page = _read("docs/http.md")
    callable_ones = [path for path in routes if not _NOT_FOR_CALLERS.match(path)]
    assert len(callable_ones) > 10
    assert [path for path in callable_ones if path not in page] == []


def test_every_documented_route_exists(routes: list[str]) -> None:
    """An address in an example of http.md is answered by some route."""
    patterns = [re.sub(r"\{[^}]+\}", "[^/]+", path) for path in routes]
    examples = re.findall(r"http://127\.0\.0\.1:8080(/[^\s'?#]*)", _read("docs/http.md"))
    assert len(examples) > 10
    unknown = [
        path for path in examples if not any(re.fullmatch(pattern, path) for pattern in patterns)
    ]
    assert unknown == []


def test_every_problem_type_is_documented() -> None:
    """Each error that can reach a caller has its row and anchor in http.md."""
    page = _read("docs/http.md")
    missing = [kind.slug for kind in reference.errors() if f'<a id="{kind.slug}">' not in page]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file, and its anchor a heading or an id in it."""
    for text, target in re.findall(r"!?\[([^\]]*)\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: [{text}]({target})"
        if anchor:
            assert anchor in _anchors(file), f"{page.name}: [{text}]({target})"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_examples_exist(page: Path) -> None:
    """`make …` names a target and `andon …` a command with those options."""
    targets = set(re.findall(r"^([a-z-]+):", _read("Makefile"), re.MULTILINE))
    known = dict(_commands(get_command(app), "andon"))
    for line in _console_lines(page):
        if found := re.match(r"make ([a-z-]+)", line):
            assert found[1] in targets, line
        for call in re.findall(r"(?:^|\s|/bin/)(andon(?: [^|;&#]+)?)", line):
            _check_call(call.split("'")[0], known, line)


def test_the_python_example_runs(tmp_path: Path) -> None:
    """What docs/python.md shows works as it stands, in a home that was never used."""
    (example,) = re.findall(r"```python\n(.*?)```", _read("docs/python.md"), re.DOTALL)
    shutil.copy(ROOT / "src/andon/starter/pcb.onnx", tmp_path / "board.onnx")
    Image.new("L", (640, 640), 255).save(tmp_path / "board.jpg")
    subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        check=True,
        timeout=60,
    )
    with Image.open(tmp_path / "result_board.jpg") as drawn:
        assert drawn.size == (640, 640)


def test_the_readme_is_short() -> None:
    """A newcomer reads it to the end."""
    assert len(_read("README.md").splitlines()) <= 150


def test_every_make_target_has_a_line_of_help() -> None:
    """`make` alone lists every target that is meant for people."""
    makefile = _read("Makefile")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony
    for target in phony[1].split():
        assert re.search(rf"^{target}:.*## \w", makefile, re.MULTILINE), target


def test_ci_runs_what_a_developer_runs() -> None:
    """The workflow calls .ci/run, and that calls make check and make test."""
    assert "run: .ci/run" in _read(".github/workflows/ci.yml")
    script = _read(".ci/run")
    assert "\nmake check\n" in script
    assert "\nmake test\n" in script


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _commands(command: object, path: str) -> Iterator[tuple[str, object]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, f"{path} {name}")


def _console_lines(page: Path) -> Iterator[str]:
    """The lines of the blocks that a reader would paste into a terminal."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip():
                yield line.strip().partition("  #")[0]


def _check_call(call: str, known: dict[str, object], line: str) -> None:
    words = call.split()
    path = "andon"
    for word in words[1:]:
        if f"{path} {word}" not in known:
            break
        path += f" {word}"
    bare = len(words) == 1 or words[1].startswith("-")
    assert bare or path != "andon", f"no such command: {line}"
    options = {opt for one in getattr(known[path], "params", []) for opt in one.opts}
    options |= {opt for one in getattr(known["andon"], "params", []) for opt in one.opts}
    for word in words:
        if word.startswith("--") and word != "--help":
            assert word.partition("=")[0] in options, f"no such option: {line}"


def _anchors(page: Path) -> set[str]:
    """The anchors of a Markdown page, as GitHub makes them."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', text))
