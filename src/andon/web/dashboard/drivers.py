"""The Drivers page: whose eyes close, how often, and since when that is known."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from andon import charts
from andon.events.drowsiness import HOUR, status_of
from andon.events.eyes import EyeStream, Features
from andon.platform import Platform
from andon.settings import Settings
from andon.store.clock import micros, moment, now
from andon.store.drowsiness_events import Driver, Sums
from andon.web.dashboard import periods, reading, state
from andon.web.dashboard.contexts import (
    Chooser,
    DriverLine,
    DriversPage,
    EyeEvent,
    Figure,
    Filters,
    Freshness,
    Level,
)
from andon.web.dashboard.periods import Period, address
from andon.web.dashboard.rendering import drawable
from andon.web.dashboard.wording import count, decimal, plural

PATH = "/drivers"
# After so long without a measurement somebody should look at the device or the network.
QUIET = timedelta(minutes=5)
LATEST = 10
# Drivers with a chart of their own; beyond, one has to be chosen.
CHARTS = 6
# Widths of the points, seconds, each for periods up to this long.
_WIDTHS = (
    (timedelta(hours=2), 60),
    (timedelta(hours=12), 300),
    (timedelta(hours=48), 900),
    (timedelta(days=8), 3600),
)
_WIDEST = 86_400
_PER = {60: "minute", 300: "5 minutes", 900: "15 minutes", 3600: "hour", 86_400: "day"}
# PERCLOS and blinks are made of every point, so they are told of a driver's last minutes in the
# period, and of so many drivers; a camera that sends 40 points a second fits.
EYES = timedelta(minutes=15)
EYES_POINTS = 36_000
EYES_DRIVERS = 10
_LEVELS: dict[str, Level] = {"normal": "good", "warning": "look", "critical": "stop"}
_UNKNOWN = "Unknown driver"
# Stands for the driver nobody named, in addresses; no id begins with a blank.
UNNAMED = " "


def page(
    platform: Platform, *, driver: str = "", period: str = "", start: str = "", end: str = ""
) -> tuple[DriversPage, int]:
    """The context of the page, and its HTTP status: 422 where the address made no sense."""
    db, settings = platform.db, platform.settings
    at = now()
    window = periods.chosen(period, start, end, at)
    problem = window.problem
    ever = db.telemetry.drivers()
    if driver and driver not in {_value(one.driver_id) for one in ever}:
        problem = f"{problem} There is no driver {driver[:64]}. What you see is of all.".strip()
        driver = ""
    only = None if not driver else driver.strip()
    since, until = micros(window.start), micros(window.end)
    sums = db.telemetry.window(since, until, only)
    there = [one for one in db.telemetry.drivers(since, until) if only in {None, one.driver_id}]
    few = len(there) <= EYES_DRIVERS
    latest, _ = db.telemetry.page(driver=only, since=since, until=until, limit=LATEST)
    level, headline, sentence = _state(db.telemetry.window(micros(at) - HOUR, None), settings)
    context = DriversPage(
        shell=reading.shell(
            platform,
            page="drivers",
            title="Drivers",
            model=reading.chosen_model(platform),
            lamp=state.judge(state.look(platform, reading.chosen_model(platform))),
            names=[],
        ),
        filters=_filters(window, driver, problem, ever),
        freshness=_freshness(db.telemetry.last(), at),
        level=level,
        headline=headline,
        sentence=sentence,
        events=sums.events,
        drowsy=sums.drowsy,
        rate=sums.drowsy_percent,
        mean=sums.average_ear,
        threshold=settings.ear_threshold,
        drivers=tuple(
            _driver(one, _features(platform, window, one) if few else None, settings, window)
            for one in there
        ),
        eyes_minutes=round(EYES.total_seconds() / 60),
        eyes_drivers=0 if few else EYES_DRIVERS,
        figures=_figures(platform, window, only, there) if there else (),
        unshown=max(0, len(there) - CHARTS),
        latest=tuple(
            EyeEvent(
                id=one.event_id,
                when=moment(one.timestamp),
                driver=_name(one.driver_id),
                device=one.device_id,
                ear=one.ear_value,
                drowsy=one.is_drowsy,
                seconds=one.duration_ms / 1000,
            )
            for one in latest
        ),
        rejected=db.rejected.tally(at - state.RECENT, ending="/telemetry")[0],
        drawable=drawable(),
    )
    return context, 422 if problem else 200


def _value(driver_id: str) -> str:
    return driver_id or UNNAMED


def _name(driver_id: str) -> str:
    return driver_id or _UNKNOWN


def _filters(window: Period, driver: str, problem: str, ever: Iterable[Driver]) -> Filters:
    anything = driver or window.key != periods.DEFAULT
    return Filters(
        path=PATH,
        period=window.key,
        periods=periods.choices(PATH, window, {"driver": driver}),
        choosers=(
            Chooser(
                name="driver",
                label="Driver",
                everything="All drivers",
                options=tuple((_value(one.driver_id), _name(one.driver_id)) for one in ever),
                chosen=driver,
            ),
        ),
        start=window.asked[0],
        end=window.asked[1],
        words=window.words,
        problem=problem,
        reset=PATH if anything else "",
    )


def _freshness(last: int | None, at: datetime) -> Freshness:
    if last is None:
        return Freshness(level="none", last=None)
    if at - moment(last) > QUIET:
        return Freshness(
            level="look",
            last=moment(last),
            hint="Is nobody driving, or is a device or the network down?",
        )
    return Freshness(level="good", last=moment(last))


def _level(rate: float, settings: Settings) -> Level:
    return _LEVELS[status_of(rate, settings)]


def _state(sums: Sums, settings: Settings) -> tuple[Level, str, str]:
    """The state as `/dashboard` tells it, in words, with the numbers behind it."""
    rate = sums.drowsy_percent
    limits = (
        f"warning from {settings.drowsiness_warning_rate:g} %, "
        f"critical from {settings.drowsiness_critical_rate:g} %"
    )
    if rate is None:
        return "none", "Not known", f"No measurement in the last hour; {limits}."
    status = status_of(round(rate, 2), settings)
    told = f"{rate:.2f} % of {plural(sums.events, 'measurement')} drowsy; {limits}."
    return _LEVELS[status], status.capitalize(), told


def _features(platform: Platform, window: Period, one: Driver) -> Features:
    """What the driver's eyes did in the last minutes that were measured of the period."""
    telemetry, since = platform.db.telemetry, micros(window.start)
    newest, _ = telemetry.page(driver=one.driver_id, since=since, until=micros(window.end), limit=1)
    last = newest[0].timestamp if newest else since
    begin = max(since, last - round(EYES.total_seconds() * 1e6))
    measured = telemetry.measurements(begin, last + 1, one.driver_id, EYES_POINTS)
    seconds = [(at - begin) / 1e6 for at in measured.timestamps]
    threshold = platform.settings.ear_threshold
    return EyeStream(seconds, measured.ears, threshold=threshold).features()


def _driver(one: Driver, eyes: Features | None, settings: Settings, window: Period) -> DriverLine:
    rate = one.sums.drowsy_percent or 0.0
    return DriverLine(
        id=one.driver_id,
        name=_name(one.driver_id),
        last=moment(one.last),
        events=one.sums.events,
        drowsy=one.sums.drowsy,
        rate=rate,
        level=_level(rate, settings),
        mean=one.sums.average_ear or 0.0,
        lowest=one.sums.lowest_ear or 0.0,
        perclos=eyes.perclos if eyes else None,
        blinks=eyes.blink_rate if eyes else None,
        href=address(PATH, {"driver": _value(one.driver_id), **periods.parameters(window)}),
    )


def _figures(
    platform: Platform, window: Period, only: str | None, there: list[Driver]
) -> tuple[Figure, ...]:
    width = next((seconds for most, seconds in _WIDTHS if window.length <= most), _WIDEST)
    since, until = micros(window.start), micros(window.end)
    telemetry = platform.db.telemetry
    figures = [_rate(telemetry.series(since, until, width, only), window, width, platform.settings)]
    mine: dict[str, list[Sums]] = {one.driver_id: [] for one in there}
    for sums in telemetry.series_by_driver(since, until, width, only):
        mine.setdefault(sums.driver_id, []).append(sums)
    # Those who were measured most; the rest has to be chosen.
    most = sorted(there, key=lambda one: -one.sums.events)[:CHARTS]
    chosen = {one.driver_id for one in most}
    top = _top(platform.settings, [one for name in chosen for one in mine[name]])
    figures += [
        _eyes(number, one, mine[one.driver_id], window, width, platform.settings, top)
        for number, one in enumerate(there)
        if one.driver_id in chosen
    ]
    return tuple(figures)


def _top(settings: Settings, rows: Iterable[Sums]) -> float:
    """Where the scale of every driver's chart ends: a tenth above everything."""
    highest = max((row.average_ear or 0.0 for row in rows), default=0.0)
    return max(0.4, (int(max(highest, settings.ear_threshold) * 10) + 1) / 10)


def _edges(sums: Sums, window: Period, width: int) -> tuple[datetime, datetime]:
    start = moment(sums.start)
    return max(start, window.start), min(start + timedelta(seconds=width), window.end)


def _rate(rows: list[Sums], window: Period, width: int, settings: Settings) -> Figure:
    worst = max(rows, key=lambda row: row.drowsy_percent or 0.0, default=None)
    summary = "No measurement in this period."
    if worst is not None:
        at = _edges(worst, window, width)[0]
        summary = f"highest {worst.drowsy_percent or 0:.1f} %, from {_said(at, width)} UTC"
    return Figure(
        id="alerts",
        title=f"Alert rate per {_PER[width]}",
        spec=charts.alert_rate(
            [charts.Alerts(*_edges(row, window, width), row.events, row.drowsy) for row in rows],
            settings.drowsiness_warning_rate,
            settings.drowsiness_critical_rate,
            window.start,
            window.end,
        ),
        height=charts.RATE_HEIGHT,
        summary=summary,
        columns=("From (UTC)", "Measurements", "Drowsy", "Rate"),
        rows=tuple(
            (
                _said(_edges(row, window, width)[0], width),
                count(row.events),
                count(row.drowsy),
                f"{decimal(row.drowsy_percent)} %",
            )
            for row in rows
        ),
    )


def _eyes(
    number: int,
    driver: Driver,
    rows: list[Sums],
    window: Period,
    width: int,
    settings: Settings,
    top: float,
) -> Figure:
    points = [
        charts.Eyes(
            *_edges(row, window, width), row.average_ear or 0.0, row.lowest_ear or 0.0, row.events
        )
        for row in rows
    ]
    return Figure(
        id=f"eyes-{number}",
        title=f"{_name(driver.driver_id)}: eye aspect ratio (EAR)",
        spec=charts.eyes(points, settings.ear_threshold, window.start, window.end, top),
        height=charts.EYES_HEIGHT,
        summary=(
            f"{decimal(driver.sums.average_ear, 3)} on average, lowest "
            f"{decimal(driver.sums.lowest_ear, 3)}; line: mean per {_PER[width]}, band: down to "
            "the lowest"
        ),
        columns=("From (UTC)", "Measurements", "Mean EAR", "Lowest EAR", "Drowsy"),
        rows=tuple(
            (
                _said(_edges(row, window, width)[0], width),
                count(row.events),
                decimal(row.average_ear, 3),
                decimal(row.lowest_ear, 3),
                count(row.drowsy),
            )
            for row in rows
        ),
    )


def _said(when: datetime, width: int) -> str:
    return when.strftime("%-d %b" if width == _WIDEST else "%-d %b, %H:%M")
