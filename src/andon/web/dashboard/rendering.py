"""From a page context to HTML: one Jinja2 environment, strict about what templates use."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse

from andon.web.dashboard import wording
from andon.web.dashboard.contexts import as_variables

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

HERE = Path(__file__).parent
TEMPLATES_DIR = HERE / "templates"
STATIC_DIR = HERE / "static"


@functools.cache
def environment() -> "Environment":
    """The templates with their filters, made when the first page is asked for."""
    # Jinja2 takes 3 MB, which a box that nobody looks at need not pay.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    made = Environment(
        loader=FileSystemLoader(TEMPLATES_DIR),
        autoescape=True,
        # A name that a template uses and a context lacks is a bug: say so, do not print nothing.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for words in (
        wording.exact,
        wording.machine,
        wording.clock,
        wording.short,
        wording.ago,
        wording.count,
        wording.size,
        wording.millis,
        wording.score,
        wording.interval,
        wording.plural,
        wording.percent,
        wording.hours,
        wording.lasting,
        wording.decimal,
        wording.whole,
    ):
        made.filters[words.__name__] = words
    made.filters |= {"coded": coded, "breakable": breakable}
    return made


def coded(text: str) -> "Markup":
    """What stands between backticks, as the checks of data write names, set as code."""
    from markupsafe import Markup, escape  # noqa: PLC0415 - as Jinja2

    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def breakable(name: str) -> "Markup":
    """A name that may be broken behind its underscores, and is whole when it is copied."""
    from markupsafe import Markup  # noqa: PLC0415 - as Jinja2

    return Markup("_<wbr>").join(str(name).split("_"))


def drawable() -> bool:
    """Whether the library that draws charts was made when Andon was installed."""
    return (STATIC_DIR / "vega.js").is_file()


def render(page: Any) -> str:
    """The HTML of a page context (one of the ``PAGES`` of the modules with contexts)."""
    return environment().get_template(page.template).render(as_variables(page))


def respond(page: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
    """A page as an answer that no cache keeps: it shows the state of this moment."""
    answer = HTMLResponse(render(page), status_code=status, headers=headers)
    answer.headers["Cache-Control"] = "no-store"
    return answer
