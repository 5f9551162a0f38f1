"""The Models page and the page of one version."""

from importlib.resources import files

from andon.platform import Platform
from andon.store.records import ModelVersion
from andon.web.dashboard import reading, state, traffic_panel
from andon.web.dashboard.contexts import ModelsPage, Version, VersionPage

EVENTS = 30

_TASKS = {
    "object-detection": "finds and locates defects",
    "image-classification": "sorts pictures into classes",
    "anomaly-detection": "finds what looks unusual",
}
_HEADS = {"end2end": "end to end (boxes ready)", "fomo": "heat map (FOMO)", "rtdetr": "RT-DETR"}
_CARD = "pcb.md"


def page(platform: Platform, model: str) -> ModelsPage:
    """The context of the Models page."""
    facts = state.look(platform, model)
    versions = [reading.version(platform, record) for record in platform.db.models.list(model)]
    versions.sort(key=lambda one: (not one.active, -one.number))
    previous = platform.db.models.previous(model)
    events, _ = platform.db.events.page(model=model, limit=EVENTS)
    settings = platform.settings
    return ModelsPage(
        shell=reading.shell(
            platform,
            page="models",
            title="Models",
            model=model,
            lamp=state.judge(facts),
            names=platform.db.models.names(),
        ),
        active=next((one for one in versions if one.active), None),
        versions=tuple(versions),
        previous=reading.version(platform, previous) if previous else None,
        pair=_pair(versions),
        events=tuple(reading.event(one) for one in events),
        max_bytes=settings.max_model_bytes,
        watch_folder=str(settings.deploy) if settings.watch else "",
        traffic=traffic_panel.panel(platform, model) if versions else None,
    )


def _pair(versions: list[Version]) -> tuple[int, int] | None:
    """The active and the newest other version, of those that can be loaded."""
    usable = [one.number for one in versions if not one.damaged]
    return (usable[0], usable[1]) if len(usable) > 1 else None


def version_page(platform: Platform, model: str, number: int) -> VersionPage:
    """The context of one version's page.

    Raises:
        NotFound: There is no such version.
    """
    record = platform.db.models.get(model, number)
    facts = state.look(platform, model)
    events, _ = platform.db.events.page(model=model, limit=200)
    about = record.description
    return VersionPage(
        shell=reading.shell(
            platform,
            page="models",
            title=f"{model} v{number}",
            model=model,
            lamp=state.judge(facts),
            names=platform.db.models.names(),
        ),
        version=reading.version(platform, record),
        task=_TASKS.get(str(about.get("task")), "answers pictures"),
        facts=_facts(record),
        metadata=pairs(about.get("metadata") or {}),
        options=pairs(record.options),
        warnings=tuple(str(one) for one in about.get("warnings") or ()),
        card=model_card() if record.source == "starter" else "",
        events=tuple(
            reading.event(one)
            for one in events
            if number in {one.model_version, one.previous_version}
        ),
        traffic=traffic_panel.panel(platform, model, record),
    )


def _facts(record: ModelVersion) -> tuple[tuple[str, str], ...]:
    about = record.description
    if not about.get("width"):
        return ()
    channels = "colour" if about.get("channels") == 3 else "grey"
    head = str(about.get("head", ""))
    return (
        ("Input", f"{about['width']} × {about['height']} pixels, {channels}"),
        ("Resizing", str(about.get("resize", ""))),
        ("Output layout", _HEADS.get(head, head)),
    )


def pairs(values: dict[str, object]) -> tuple[tuple[str, str], ...]:
    """Options and metadata as name and value, in order of the name."""
    return tuple(
        (name, ", ".join(str(one) for one in value) if isinstance(value, list) else str(value))
        for name, value in sorted(values.items())
    )


def model_card() -> str:
    """The starter's model card as HTML; empty where it is not installed."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - one page wants it; starting does not

    card = files("andon.starter").joinpath(_CARD)
    if not card.is_file():
        return ""
    # html=False: what looks like HTML in the card stays text.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(card.read_text("utf-8"))
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            # The page has its h1 already; the card's title comes below it.
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    return str(markdown.renderer.render(tokens, markdown.options, {}))
