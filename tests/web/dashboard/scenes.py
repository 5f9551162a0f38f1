"""Page contexts in every state a page can be in, for rendering without a server."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from andon import charts
from andon.store.clock import now
from andon.web.dashboard import contexts as c
from andon.web.dashboard.overview import strip

NOW = now().replace(microsecond=0)
LABELS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
LONG = "a-very-long-name-that-nobody-would-choose-but-somebody-will-" * 3


def minutes_ago(minutes: float) -> datetime:
    """So long before now."""
    return NOW - timedelta(minutes=minutes)


def lamp(color: c.Color = "green", **given) -> c.Lamp:
    """A lamp; yellow and red ones have a reason and a step."""
    told = {"green": "Running", "yellow": "Look here", "red": "Stopped"}
    values = {
        "color": color,
        "word": told[color],
        "headline": {
            "green": "The line is running",
            "yellow": "v1 runs, but something needs you",
            "red": "The line is stopped",
        }[color],
        "since": minutes_ago(190),
    }
    if color != "green":
        values["reasons"] = (
            c.Reason(
                text="The file of v2 is damaged: its SHA-256 is not what it was at registration. "
                "v1 serves. Deploy v2's file again, or delete it.",
                since=minutes_ago(12),
            ),
        )
        values["step"] = c.Step(text="Look at the models", href="/models?model=pcb")
    return c.Lamp(**{**values, **given})


def shell(page: str = "overview", color: c.Color | None = "green", **given) -> c.Shell:
    """A frame."""
    values = {
        "page": page,
        "title": page.capitalize(),
        "model": "pcb",
        "models": ("pcb",),
        "lamp": lamp(color) if color else None,
        "release": "0.1.0",
    }
    return c.Shell(**{**values, **given})


def version(number: int = 1, **given) -> c.Version:
    """A version that has served for a while."""
    values = {
        "number": number,
        "model": "pcb",
        "name": "PCB defects",
        "filename": f"pcb-line-{number}.onnx",
        "format": "onnx",
        "size": 2_900_000,
        "hash": f"{number:x}" * 64,
        "notes": "",
        "source": "upload",
        "status": "archived",
        "active": False,
        "loaded": False,
        "damaged": "",
        "uploaded": minutes_ago(3000 - number),
        "deployed": minutes_ago(2000 - number),
        "inspections": 12_345 * number,
        "detections": 2_345,
        "latency_ms": 8.4,
        "confidence": 0.83,
        "proof_ms": 8.1,
        "threshold": 0.5,
        "labels": LABELS,
    }
    return c.Version(**{**values, **given})


def serving(number: int = 1, **given) -> c.Version:
    """The version that serves."""
    return version(number, **{"active": True, "loaded": True, "status": "production", **given})


def found(count: int = 3) -> tuple[c.Found, ...]:
    """Detections in a picture of 640 by 480."""
    return tuple(
        c.Found(
            number=place + 1,
            label=LABELS[place % 6],
            confidence=0.95 - place / 100,
            x=20 + place * 53 % 560,
            y=30 + place * 91 % 400,
            width=40,
            height=30,
            color=place % 6,
        )
        for place in range(count)
    )


def inspection(number: int = 0, count: int = 3, **given) -> c.Inspection:
    """A logged inspection; every seventh failed, every third found nothing."""
    ok = number % 7 != 6
    count = 0 if number % 3 == 2 else count
    values = {
        "id": f"0193-{number:04}",
        "name": f"board-{number:04}.png",
        "version": 1,
        "when": minutes_ago(number * 3),
        "ok": ok,
        "count": count if ok else 0,
        "verdict": (
            "Invalid image: the PNG data is damaged or incomplete. Send the complete file."
            if not ok
            else f"{count} defects: open 0.95, short 0.94, mousebite 0.93"
            if count
            else "Nothing found above 0.50"
        ),
        "picture": f"/api/predictions/{number}/image" if ok and number % 5 != 4 else "",
        "width": 640 if ok else 0,
        "height": 480 if ok else 0,
        "found": found(count) if ok else (),
        "href": f"/inspect?id={number}",
    }
    return c.Inspection(**{**values, **given})


def events(count: int = 5) -> tuple[c.EventLine, ...]:
    """A history with every kind of event."""
    kinds = ("activate", "rollback", "rejected", "delete", "other")
    return tuple(
        c.EventLine(
            kind=kinds[place % 5],
            text=f"v{place + 2} took over from v{place + 1}",
            reason="" if place % 2 else "Too many false alarms on station 4",
            actor="over HTTP" if place % 3 else "",
            when=minutes_ago(place * 700),
        )
        for place in range(count)
    )


def an_hour(base: int = 40, failed: int = 2) -> c.Strip:
    """Throughput of an hour with ups, downs and failures."""
    return strip(
        [
            (
                minutes_ago(60 - place),
                base * (place % 13) // 6,
                8.0 + place / 10,
                failed if place in {20, 41} else 0,
            )
            for place in range(60)
        ]
    )


def overview(**given) -> c.OverviewPage:
    """A line that runs."""
    values = {
        "shell": shell(),
        "lamp": lamp(),
        "active": serving(),
        "strip": an_hour(),
        "inspections": 1_234_567,
        "detections": 45_678,
        "confidence": 0.87,
        "latency_p50": 8.4,
        "latency_p95": 14.2,
        "waiting": 3,
        "queue_size": 256,
        "jobs": 1,
        "latest": tuple(inspection(number) for number in range(12)),
        "events": events(),
    }
    return c.OverviewPage(**{**values, **given})


def empty_overview(color: c.Color = "yellow", **given) -> c.OverviewPage:
    """A line without a model."""
    light = lamp(
        color,
        word="No model",
        headline="Waiting for a first model",
        since=None,
        reasons=(c.Reason(text="Nothing can be inspected until a model is deployed."),),
        step=c.Step(text="Deploy a model", href="/models?model=pcb#deploy"),
    )
    values = {
        "shell": shell(lamp=light),
        "lamp": light,
        "active": None,
        "strip": strip([(minutes_ago(60 - place), 0, 0.0, 0) for place in range(60)]),
        "inspections": 0,
        "detections": 0,
        "confidence": None,
        "latency_p50": None,
        "latency_p95": None,
        "waiting": 0,
        "jobs": 0,
        "latest": (),
        "events": (),
    }
    return overview(**{**values, **given})


def gallery(count: int = 24, **given) -> c.Gallery:
    """Past inspections."""
    values = {
        "items": tuple(inspection(number) for number in range(count)),
        "older": "model=pcb&before=0193" if count == 24 else "",
        "newer": "",
        "label": "",
        "labels": LABELS,
        "only": "all",
        "filtered": False,
    }
    return c.Gallery(**{**values, **given})


def shown(count: int = 3, **given) -> c.Shown:
    """An opened inspection."""
    values = {
        "inspection": inspection(0, count),
        "image": "/api/predictions/0/image",
        "width": 640,
        "height": 480,
        "found": found(count),
        "classes": (),
        "anomaly": None,
        "latency_ms": 9.1,
        "inference_ms": 8.0,
        "cached": False,
        "threshold": 0.5,
    }
    return c.Shown(**{**values, **given})


def inspect(**given) -> c.InspectPage:
    """The Inspect page with a gallery."""
    values = {
        "shell": shell("inspect"),
        "active": serving(),
        "shown": None,
        "missing": "",
        "gallery": gallery(),
        "floor": 0.05,
        "max_bytes": 10 * 1024 * 1024,
        "samples": True,
    }
    return c.InspectPage(**{**values, **given})


def models(**given) -> c.ModelsPage:
    """Three versions, the middle one serves."""
    values = {
        "shell": shell("models"),
        "active": serving(2),
        "versions": (
            serving(2, notes="Trained on line 2 boards as well.\nFewer false alarms."),
            version(
                3, deployed=None, status="staging", inspections=0, latency_ms=None, confidence=None
            ),
            version(1),
        ),
        "previous": version(1),
        "pair": (2, 3),
        "events": events(),
        "max_bytes": 512 * 1024 * 1024,
        "watch_folder": "/var/lib/andon/deploy",
    }
    return c.ModelsPage(**{**values, **given})


def version_page(**given) -> c.VersionPage:
    """The starter's page."""
    values = {
        "shell": shell("models"),
        "version": serving(1, source="starter", notes="Starter detector."),
        "task": "finds and locates defects",
        "facts": (("Input", "640 × 640 pixels, grey"), ("Resizing", "letterbox")),
        "metadata": (("author", "Andon"), ("description", LONG)),
        "options": (("threshold", "0.4"),),
        "warnings": ("The class names were not in the file; they are numbered.",),
        "card": "<h2>pcb</h2><p>Finds six defects.</p><table><tr><td>0.9</td></tr></table>",
        "events": events(2),
    }
    return c.VersionPage(**{**values, **given})


def filters(path: str = "/floor", **given) -> c.Filters:
    """Whom, where and when; nothing chosen."""
    values = {
        "path": path,
        "period": "8h",
        "periods": tuple(
            c.Choice(text=text, href=f"{path}?period={key}", current=key == "8h")
            for key, text in (("1h", "1 h"), ("8h", "8 h"), ("30d", "30 days"))
        ),
        "choosers": (
            c.Chooser(
                name="worker",
                label="Worker",
                everything="All workers",
                options=(("W1", "W1 – Aiko"), ("W2", "W2")),
                chosen="W1",
            ),
        ),
        "start": "",
        "end": "",
        "words": "the last 8 hours",
        "problem": "",
        "reset": "",
    }
    return c.Filters(**{**values, **given})


def figure(**given) -> c.Figure:
    """A chart with one bar, and its table."""
    values = {
        "id": "units",
        "title": "Units per hour",
        "spec": charts.units(
            [charts.Units(minutes_ago(60), minutes_ago(0), 36)], minutes_ago(60), NOW, "Units"
        ),
        "height": charts.UNITS_HEIGHT,
        "summary": "most 36, from 08:00 UTC",
        "columns": ("From (UTC)", "Units"),
        "rows": (("08:00", "36"),),
    }
    return c.Figure(**{**values, **given})


def worker(number: int = 1, **given) -> c.WorkerLine:
    """A worker who works."""
    values = {
        "id": f"W{number}",
        "name": f"W{number}",
        "retired": False,
        "state": "working",
        "since": minutes_ago(12),
        "station": f"S{number}",
        "active": 18_000.0,
        "idle": 3_600.0,
        "absent": 900.0,
        "silent": 6_300.0,
        "utilization": 0.83,
        "units": 1_234,
        "rate": 246.8,
        "href": f"/floor?worker=W{number}",
    }
    return c.WorkerLine(**{**values, **given})


def unknown_worker(number: int = 2) -> c.WorkerLine:
    """A worker of whom nothing is known."""
    nothing = ("since", "active", "idle", "absent", "silent", "utilization", "units", "rate")
    return worker(number, state="", station="", **dict.fromkeys(nothing))


def station(number: int = 1, **given) -> c.StationLine:
    """A workstation in use."""
    values = {
        "id": f"S{number}",
        "name": f"S{number}",
        "retired": False,
        "present": ("W1", "W2"),
        "occupancy": 21_600.0,
        "utilization": 0.83,
        "units": 1_234,
        "throughput": 205.7,
        "href": f"/floor?station=S{number}",
    }
    return c.StationLine(**{**values, **given})


def unknown_station(number: int = 2) -> c.StationLine:
    """A workstation of which nothing is known."""
    nothing = ("occupancy", "utilization", "units", "throughput")
    return station(number, present=(), **dict.fromkeys(nothing))


def floor(**given) -> c.FloorPage:
    """A floor that reports."""
    values = {
        "shell": shell("floor"),
        "filters": filters(),
        "freshness": c.Freshness(level="good", last=minutes_ago(0.2)),
        "present": c.Present(working=1, idle=0, absent=0, unknown=1),
        "utilization": 0.83,
        "active": 18_000.0,
        "units": 1_234,
        "rate": 246.8,
        "workers": (worker(), unknown_worker()),
        "stations": (station(), unknown_station()),
        "figures": (figure(id="states", title="States by worker"), figure()),
        "notes": ("No report for 1 h 45 min of the workers' time (22 %).",),
        "rejected": 0,
        "table_href": "/metrics/workers?format=csv",
        "drawable": True,
    }
    return c.FloorPage(**{**values, **given})


def silent_floor(**given) -> c.FloorPage:
    """A floor without a number in the period."""
    values = {
        "present": c.Present(working=0, idle=0, absent=0, unknown=1),
        "utilization": None,
        "active": None,
        "units": None,
        "rate": None,
        "workers": (unknown_worker(),),
        "stations": (unknown_station(),),
        "figures": (figure(id="states", rows=()), figure(rows=())),
        "notes": (),
    }
    return floor(**{**values, **given})


def driver(number: int = 1, **given) -> c.DriverLine:
    """A driver who is awake."""
    values = {
        "id": f"D{number}",
        "name": f"D{number}",
        "last": minutes_ago(1),
        "events": 1_920,
        "drowsy": 96,
        "rate": 5.0,
        "level": "good",
        "mean": 0.293,
        "lowest": 0.053,
        "perclos": 0.02,
        "blinks": 14.2,
        "href": f"/drivers?driver=D{number}",
    }
    return c.DriverLine(**{**values, **given})


def eye_event(number: int = 1, **given) -> c.EyeEvent:
    """A measurement; every third is drowsy."""
    values = {
        "id": f"0193-{number}",
        "when": minutes_ago(number),
        "driver": "D1",
        "device": "cab-1" if number % 2 else "",
        "ear": 0.12 if number % 3 == 0 else 0.29,
        "drowsy": number % 3 == 0,
        "seconds": 1.5,
    }
    return c.EyeEvent(**{**values, **given})


def drivers(**given) -> c.DriversPage:
    """Drivers who are awake."""
    values = {
        "shell": shell("drivers"),
        "filters": filters("/drivers"),
        "freshness": c.Freshness(level="good", last=minutes_ago(0.2)),
        "level": "good",
        "headline": "Normal",
        "sentence": "5.00 % of 960 measurements drowsy; warning from 20 %, critical from 50 %.",
        "events": 5_280,
        "drowsy": 442,
        "rate": 8.4,
        "mean": 0.282,
        "threshold": 0.2,
        "drivers": (
            driver(),
            driver(2, level="stop", rate=61.0),
            driver(3, id="", name="Unknown driver", perclos=None, blinks=None),
        ),
        "eyes_minutes": 15,
        "eyes_drivers": 0,
        "figures": (figure(id="alerts"), figure(id="eyes-0"), figure(id="eyes-1")),
        "unshown": 0,
        "latest": tuple(eye_event(number) for number in range(1, 11)),
        "rejected": 0,
        "drawable": True,
    }
    return c.DriversPage(**{**values, **given})


def error(status: int = 404, **given) -> c.ErrorPage:
    """A failed request."""
    values = {
        "shell": shell("error", None, model="", models=()),
        "status": status,
        "heading": "There is nothing here",
        "detail": "Version 9 of model pcb does not exist. Models lists what there is.",
        "step": c.Step(text="Go to Models", href="/models"),
        "request_id": "",
    }
    return c.ErrorPage(**{**values, **given})


def login(**given) -> c.LoginPage:
    """The sign-in page."""
    values = {"shell": shell("none", None, model="", models=()), "error": "", "next": ""}
    return c.LoginPage(**{**values, **given})


_DAMAGE = "models/pcb/model_v2.onnx does not have the SHA-256 it was registered with."
_HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"

SCENES = {
    "overview, no model": empty_overview(),
    "overview, ready": overview(
        inspections=0,
        latest=(),
        events=events(1),
        latency_p50=None,
        latency_p95=None,
        confidence=None,
        strip=empty_overview().strip,
        lamp=lamp(headline="Ready", since=None),
    ),
    "overview, running": overview(),
    "overview, degraded": overview(lamp=lamp("yellow"), shell=shell(color="yellow")),
    "overview, many worries": overview(
        lamp=lamp("yellow", reasons=lamp("yellow").reasons * 5), shell=shell(color="yellow")
    ),
    "overview, stopped": overview(
        lamp=lamp("red"), shell=shell(color="red"), active=serving(loaded=False, damaged=_DAMAGE)
    ),
    "overview, database gone": empty_overview(
        "red", lamp=lamp("red"), shell=shell(color="red", models=())
    ),
    "overview, several models": overview(shell=shell(models=("gaskets", "pcb"))),
    "overview, long words": overview(
        active=serving(name=LONG, model="pcb", labels=(LONG,) * 12),
        latest=(inspection(0, name=LONG, verdict=f"1 defect: {LONG} 0.93"),),
        events=(replace(events(1)[0], reason=LONG),),
    ),
    "inspect, no model": inspect(active=None, gallery=gallery(0), samples=False),
    "inspect, nothing yet": inspect(gallery=gallery(0)),
    "inspect, nothing matches": inspect(
        gallery=gallery(0, filtered=True, only="found", label="spur")
    ),
    "inspect, many": inspect(),
    "inspect, older page": inspect(gallery=gallery(5, newer="model=pcb")),
    "inspect, opened": inspect(shown=shown()),
    "inspect, opened with many": inspect(shown=shown(60)),
    "inspect, opened, nothing found": inspect(shown=shown(0)),
    "inspect, opened, picture gone": inspect(shown=shown(image="")),
    "inspect, opened, size unknown": inspect(shown=shown(image="", width=0, height=0)),
    "inspect, classification": inspect(
        shown=shown(0, classes=(("scratched", 0.91), ("fine", 0.09)), cached=True)
    ),
    "inspect, anomaly": inspect(shown=shown(0, anomaly=1.42)),
    "inspect, not there": inspect(missing="This inspection is not in the log."),
    "models, none": models(
        active=None, versions=(), previous=None, pair=None, events=(), watch_folder=""
    ),
    "models, one": models(versions=(serving(1),), previous=None, pair=None, events=events(1)),
    "models, several": models(),
    "models, damaged": models(
        versions=(serving(2, damaged=_DAMAGE, loaded=False), version(1, damaged=_DAMAGE))
    ),
    "models, none active": models(active=None, versions=(version(1, status="staging"),)),
    "models, many": models(versions=(serving(40), *(version(n) for n in range(39, 0, -1)))),
    "models, long words": models(versions=(serving(1, name=LONG, notes=LONG, filename=LONG),)),
    "version, starter": version_page(),
    "version, damaged": version_page(version=version(2, damaged=_DAMAGE), card=""),
    "version, never served": version_page(
        version=version(
            3,
            deployed=None,
            inspections=0,
            latency_ms=None,
            confidence=None,
            proof_ms=None,
            labels=(),
        ),
        facts=(),
        metadata=(),
        options=(),
        warnings=(),
        card="",
        events=(),
    ),
    "version, active but not loaded": version_page(version=serving(1, loaded=False)),
    "floor, nothing ever": silent_floor(freshness=c.Freshness(level="none", last=None)),
    "floor, running": floor(),
    "floor, quiet": floor(
        freshness=c.Freshness(level="look", last=minutes_ago(14), hint="Is it a break?")
    ),
    "floor, nothing in the period": silent_floor(),
    "floor, nobody registered": silent_floor(workers=(), stations=()),
    "floor, own period, messages refused": floor(
        filters=filters(period="", start="2026-03-02T08:00", reset="/floor"), rejected=3
    ),
    "floor, nothing but refused messages": silent_floor(
        freshness=c.Freshness(level="none", last=None), rejected=12
    ),
    "floor, wrong address": floor(filters=filters(problem="There is no worker W9.")),
    "floor, never built": floor(drawable=False),
    "floor, many rows": floor(figures=(figure(omitted=12, rows=(("08:00", "36"),) * 500),)),
    "floor, hostile words": floor(
        workers=(worker(id=_HOSTILE, name=_HOSTILE, station=_HOSTILE, retired=True),),
        stations=(station(id=_HOSTILE, name=_HOSTILE, present=(_HOSTILE,), retired=True),),
        filters=filters(problem=_HOSTILE, words=_HOSTILE),
        figures=(
            figure(
                title=_HOSTILE,
                summary=_HOSTILE,
                rows=((_HOSTILE, _HOSTILE),),
                spec=charts.timeline(
                    [charts.Span(_HOSTILE, "idle", _HOSTILE, NOW, NOW)], [_HOSTILE], NOW, NOW
                ),
            ),
        ),
    ),
    "drivers, nothing ever": drivers(freshness=c.Freshness(level="none", last=None)),
    "drivers, awake": drivers(),
    "drivers, critical": drivers(level="stop", headline="Critical", unshown=4, eyes_drivers=10),
    "drivers, quiet": drivers(
        freshness=c.Freshness(level="look", last=minutes_ago(14), hint="Is nobody driving?"),
        level="none",
        headline="Not known",
        rate=None,
        mean=None,
        drivers=(),
        figures=(),
        latest=(),
    ),
    "drivers, messages refused": drivers(rejected=1),
    "drivers, never built": drivers(drawable=False),
    "drivers, hostile words": drivers(
        drivers=(driver(id=_HOSTILE, name=_HOSTILE),),
        latest=(eye_event(1, driver=_HOSTILE, device=_HOSTILE),),
    ),
    "error, 404": error(),
    "error, 503": error(503, heading="Not now", request_id="0193-42"),
    "login, first": login(),
    "login, wrong key": login(error="This is not the key of this server.", next="/models"),
    "hostile words": overview(
        active=serving(name=_HOSTILE, labels=(_HOSTILE,)),
        latest=(inspection(0, name=_HOSTILE, verdict=_HOSTILE),),
        events=(replace(events(1)[0], reason=_HOSTILE, text=_HOSTILE),),
        lamp=lamp("yellow", reasons=(c.Reason(text=_HOSTILE),)),
    ),
}
