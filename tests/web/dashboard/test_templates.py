import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import get_args, get_origin, get_type_hints

import msgspec
import pytest
from jinja2 import meta, nodes
from tests.web.dashboard import (
    scenes,
    scenes_acting,
    scenes_drift,
    scenes_rejected,
    scenes_watching,
    training_scenes,
)

from andon.web.dashboard import (
    acting_contexts,
    contexts,
    rejected_contexts,
    traffic_contexts,
    training_contexts,
    watching_contexts,
)
from andon.web.dashboard.rendering import STATIC_DIR, TEMPLATES_DIR, environment, render

SCENES = {
    **scenes.SCENES,
    **training_scenes.SCENES,
    **scenes_watching.SCENES,
    **scenes_drift.SCENES,
    **scenes_acting.SCENES,
    **scenes_rejected.SCENES,
}
CONTEXTS = (
    contexts,
    training_contexts,
    traffic_contexts,
    watching_contexts,
    acting_contexts,
    rejected_contexts,
)
PAGES = tuple(
    page for module in CONTEXTS if module is not traffic_contexts for page in module.PAGES
)

_VOID = {"meta", "link", "img", "input", "br", "hr"}
scene = pytest.mark.parametrize("page", SCENES.values(), ids=SCENES.keys())


class Page(HTMLParser):
    """A rendered page: its elements in order, and whether they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        """An element begins."""
        self.elements.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), f"{tag} says an attribute twice: {attrs}"
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """An element that is whole."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """An element ends."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Text."""
        self.words += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        """The attributes of every element of these kinds."""
        return [attributes for tag, attributes in self.elements if tag in tags]


@scene
def test_a_page_renders_in_every_state(page):
    """Each template takes each state of its context, and its elements nest."""
    read = Page(render(page))
    assert len(read.all("h1")) == 1
    assert len(read.all("main")) == 1
    assert read.all("title")


@scene
def test_a_page_obeys_the_strict_content_security_policy(page):
    """No inline script, style or handler, nothing from elsewhere."""
    text = render(page)
    for tag, attributes in Page(text).elements:
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        assert "style" not in attributes
        assert [name for name in attributes if name.startswith("on")] == []
        for name in ("src", "href", "action"):
            address = attributes.get(name)
            assert address is None or address.startswith(("/", "#", "?")), address
            assert address is None or not address.startswith("//")


@scene
def test_ids_are_unique_and_references_lead_somewhere(page):
    """Labels, descriptions and jumps inside the page name elements that are there."""
    read = Page(render(page))
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in read.elements:
        for name in ("for", "aria-labelledby", "aria-describedby"):
            for target in (attributes.get(name) or "").split():
                assert target in ids
        if (attributes.get("href") or "").startswith("#"):
            assert attributes["href"][1:] in ids


@scene
def test_every_control_has_a_name(page):
    """Pictures have alternatives, fields have labels, headings do not skip a level."""
    text = render(page)
    read = Page(text)
    assert all("alt" in image for image in read.all("img"))
    labelled = {label.get("for") for label in read.all("label")}
    inside = _inputs_inside_labels(text)
    for field in read.all("input", "select", "textarea"):
        if field.get("type") == "hidden":
            continue
        assert field.get("id") in labelled or (field.get("id") or field.get("name")) in inside
    levels = [int(tag[1]) for tag, _ in read.elements if tag in {"h1", "h2", "h3", "h4"}]
    for before, after in pairwise(levels):
        assert after <= before + 1, levels


def _inputs_inside_labels(text: str) -> set[str]:
    """The id or name of every field that stands inside a label."""
    found = set()
    for label in re.findall(r"<label.*?</label>", text, re.DOTALL):
        for field in re.findall(r"<(?:input|select|textarea)[^>]*>", label):
            found |= set(re.findall(r' (?:id|name)="([^"]+)"', field))
    return found


@scene
def test_the_styles_and_scripts_a_page_names_are_there(page):
    """Nothing under /static is missing."""
    read = Page(render(page))
    named = [one.get("href") for one in read.all("link")] + [
        one["src"] for one in read.all("script")
    ]
    for address in named:
        assert (STATIC_DIR / address.removeprefix("/static/")).is_file(), address


def test_words_from_outside_stay_words():
    """What comes from a file name or a reason never becomes markup."""
    text = render(SCENES["hostile words"])
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not any(one.get("onerror") for one in Page(text).all("img"))


def test_each_state_of_the_lamp_says_a_colour_a_word_and_a_step():
    """Colour never stands alone, and trouble names the next step."""
    for name, color in (("running", "green"), ("degraded", "yellow"), ("stopped", "red")):
        page = SCENES[f"overview, {name}"]
        text = render(page)
        assert f'data-color="{color}"' in text
        assert page.lamp.headline in text
        if color != "green":
            assert page.lamp.step.href.replace("&", "&amp;") in text


def test_an_empty_installation_leads_to_deploying():
    """Every page without a model has a way to the deploy form."""
    for name in ("overview, no model", "inspect, no model"):
        assert "/models#deploy" in render(SCENES[name]) or "#deploy" in render(SCENES[name])
    assert 'id="deploy-form"' in render(SCENES["models, none"])


@pytest.mark.parametrize("kind", PAGES, ids=lambda kind: kind.__name__)
def test_a_template_and_its_context_name_the_same_things(kind):
    """Every variable of a template is a field of its context, and every field is used."""
    used = _variables(kind.template)
    known = set(kind.__struct_fields__)
    assert used <= known, f"{kind.template} uses what {kind.__name__} lacks: {used - known}"
    assert known <= used, f"{kind.__name__} has what {kind.template} never uses: {known - used}"


def _variables(template: str) -> set[str]:
    source = (TEMPLATES_DIR / template).read_text("utf-8")
    tree = environment().parse(source)
    # Blocks see what their template imports at its top; the analysis does not.
    imported = {name for node in tree.find_all(nodes.FromImport) for name in node.names}
    names = meta.find_undeclared_variables(tree) - imported
    for other in meta.find_referenced_templates(tree):
        if other and not other.startswith("parts"):
            names |= _variables(other)
    return names


def test_every_field_of_a_context_is_explained():
    """The second part of each `Annotated` type says what the field means."""
    for kind in [kind for module in CONTEXTS for kind in vars(module).values()]:
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            continue
        hints = get_type_hints(kind, include_extras=True)
        for name in kind.__struct_fields__:
            assert get_origin(hints[name]) is not None, f"{kind.__name__}.{name}"
            words = get_args(hints[name])[1]
            assert words.endswith("."), f"{kind.__name__}.{name}: {words}"


def test_every_template_is_a_page_or_a_part():
    """No template lies about unused."""
    pages = {kind.template for kind in PAGES}
    assert {path.name for path in TEMPLATES_DIR.glob("*.html")} == pages | {
        "base.html",
        "parts.html",
        "parts_training.html",
        "parts_watching.html",
        "parts_acting.html",
        "parts_rejected.html",
    }
