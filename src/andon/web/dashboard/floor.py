"""The Floor page: who works, waits and is away, and what comes of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from andon import charts
from andon.events.factory import (
    Sums,
    factory_numbers,
    has_data,
    worker_numbers,
    workstation_numbers,
)
from andon.platform import Platform
from andon.store.clock import micros, moment, now
from andon.store.factory_records import StateSpan, Total
from andon.store.roster import RosterEntry
from andon.web.dashboard import periods, reading, state
from andon.web.dashboard.contexts import (
    Chooser,
    Figure,
    Filters,
    FloorPage,
    Freshness,
    Present,
    StationLine,
    WorkerLine,
)
from andon.web.dashboard.periods import Period, address
from andon.web.dashboard.rendering import drawable
from andon.web.dashboard.wording import count, decimal, hours, lasting, percent, plural, short

PATH = "/floor"
# After so long without an event somebody should look at the camera or the network.
QUIET = timedelta(minutes=5)
# Longer periods, more changes and more workers are shown as sums by hour or by day.
TIMELINE = timedelta(hours=48)
TIMELINE_SPANS = 1500
TIMELINE_WORKERS = 40
# How far back the begin of a present state is looked for where no timeline is drawn.
RECENT = timedelta(hours=8)
# Hours are bars of their own up to here; then days are.
BY_HOUR = timedelta(hours=72)
_HOUR, _DAY = 3600, 86_400
# Less than this share of time without reports is not worth a note.
_SILENCE = 0.01

_Key = TypeVar("_Key")


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the address asks for, made sure of."""

    period: Period
    worker: str
    station: str
    problem: str

    def href(self, **changed: str) -> str:
        """The page with something else chosen."""
        given = {**self.others, **periods.parameters(self.period), **changed}
        return address(PATH, given)

    @property
    def others(self) -> dict[str, str]:
        """What is chosen besides the period."""
        return {"worker": self.worker, "station": self.station}


def page(
    platform: Platform,
    *,
    worker: str = "",
    station: str = "",
    period: str = "",
    start: str = "",
    end: str = "",
) -> tuple[FloorPage, int]:
    """The context of the page, and its HTTP status: 422 where the address made no sense."""
    db = platform.db
    at = now()
    people, places = db.workers.list(), db.workstations.list()
    asked = _asked(
        periods.chosen(period, start, end, at), worker, station, people=people, places=places
    )
    window = asked.period
    first, last = db.factory.first(), db.factory.last()
    since, until = micros(window.start), micros(window.end)
    totals = db.factory_totals.sums(
        since, until, worker=asked.worker or None, workstation=asked.station or None
    )
    spans = _spans(platform, asked)
    begun = _begun(platform, spans if window.end == at else None, at)
    by_worker = _grouped((total.worker_id, total) for total in totals)
    by_station = _grouped((total.workstation_id, total) for total in totals)
    factory = factory_numbers(by_worker.values())
    anything = bool(factory["workers"])
    current = {
        worker_id: span
        for worker_id, span in db.factory.latest_states(micros(at)).items()
        if asked.worker in {"", worker_id} and asked.station in {"", span.workstation_id}
    }
    shown = [one for one in people if asked.worker in {"", one.id}]
    if asked.station:
        shown = [one for one in shown if one.id in by_worker or one.id in current]
    lines = tuple(
        _worker(one, by_worker.get(one.id, Sums()), current.get(one.id), begun, asked, first)
        for one in shown
        if one.retired_at is None or one.id in by_worker
    )
    freshness = _freshness(last, at)
    context = FloorPage(
        shell=reading.shell(
            platform,
            page="floor",
            title="Floor",
            model=reading.chosen_model(platform),
            lamp=state.judge(state.look(platform, reading.chosen_model(platform))),
            names=[],
        ),
        filters=_filters(asked, people, places),
        freshness=freshness,
        present=_present(current, lines),
        utilization=factory["utilization"] if anything else None,
        active=factory["productive_seconds"] if anything else None,
        units=factory["production"] if anything else None,
        rate=factory["production_rate"] if factory["productive_seconds"] else None,
        workers=lines,
        stations=tuple(
            _station(one, by_station.get(one.id, Sums()), current, asked)
            for one in places
            if asked.station in {"", one.id} and (one.retired_at is None or one.id in by_station)
        ),
        figures=_figures(platform, asked, spans, [line.id for line in lines]),
        notes=tuple(_notes(window, lines, first, freshness)),
        rejected=db.rejected.tally(at - state.RECENT)[0],
        table_href=_table(window),
        drawable=drawable(),
    )
    return context, 422 if asked.problem else 200


def _asked(
    period: Period,
    worker: str,
    station: str,
    *,
    people: list[RosterEntry],
    places: list[RosterEntry],
) -> _Asked:
    problems = [period.problem] if period.problem else []
    if worker and worker not in {one.id for one in people}:
        problems.append(f"There is no worker {worker[:64]}. What you see is of all workers.")
        worker = ""
    if station and station not in {one.id for one in places}:
        problems.append(f"There is no workstation {station[:64]}. What you see is of all of them.")
        station = ""
    return _Asked(period=period, worker=worker, station=station, problem=" ".join(problems))


def _filters(asked: _Asked, people: list[RosterEntry], places: list[RosterEntry]) -> Filters:
    period = asked.period
    anything = asked.worker or asked.station or not period.key or period.key != periods.DEFAULT
    return Filters(
        path=PATH,
        period=period.key,
        periods=periods.choices(PATH, period, asked.others),
        choosers=(
            Chooser(
                name="worker",
                label="Worker",
                everything="All workers",
                options=_options(people),
                chosen=asked.worker,
            ),
            Chooser(
                name="station",
                label="Workstation",
                everything="All stations",
                options=_options(places),
                chosen=asked.station,
            ),
        ),
        start=period.asked[0],
        end=period.asked[1],
        words=period.words,
        problem=asked.problem,
        reset=PATH if anything else "",
    )


def _options(entries: Iterable[RosterEntry]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (one.id, one.id if one.name == one.id else f"{one.id} – {one.name}") for one in entries
    )


def _spans(platform: Platform, asked: _Asked) -> list[StateSpan] | None:
    """The states of the window; None where there are too many to draw each."""
    window = asked.period
    if window.length > TIMELINE:
        return None
    spans = platform.db.factory.states(
        since=micros(window.start),
        until=micros(window.end),
        worker=asked.worker or None,
        workstation=asked.station or None,
        limit=TIMELINE_SPANS + 1,
    )
    return spans if len(spans) <= TIMELINE_SPANS else None


def _grouped(pairs: Iterable[tuple[_Key, Total]]) -> dict[_Key, Sums]:
    """What belongs to each key, added up."""
    groups: dict[_Key, Sums] = {}
    for key, one in pairs:
        sums = groups.get(key, Sums())
        groups[key] = Sums(
            sums.working + one.working,
            sums.idle + one.idle,
            sums.absent + one.absent,
            sums.units + one.units,
            sums.events + one.events,
        )
    return groups


def _worker(
    entry: RosterEntry,
    sums: Sums,
    current: StateSpan | None,
    begun: Mapping[str, int],
    asked: _Asked,
    first: int | None,
) -> WorkerLine:
    numbers = worker_numbers(sums)
    return WorkerLine(
        id=entry.id,
        name=entry.name,
        retired=entry.retired_at is not None,
        state=current.event_type if current else "",
        since=moment(begun.get(entry.id, current.start)) if current else None,
        station=current.workstation_id if current else "",
        active=numbers["active_seconds"] if has_data(sums) else None,
        idle=numbers["idle_seconds"] if has_data(sums) else None,
        absent=numbers["absent_seconds"] if has_data(sums) else None,
        silent=_silent(entry, sums, asked, first),
        utilization=numbers["utilization"] if sums.working + sums.idle else None,
        units=sums.units if has_data(sums) else None,
        rate=numbers["units_per_hour"] if sums.working else None,
        href=asked.href(worker=entry.id),
    )


def _begun(platform: Platform, spans: list[StateSpan] | None, at: datetime) -> dict[str, int]:
    """Since when each worker is in the present state, as far back as the states at hand go.

    Args:
        platform: Asked for the last hours where there are none.
        spans: The states up to now, or None.
        at: Now.
    """
    if spans is None:
        spans = platform.db.factory.states(since=micros(at - RECENT), until=micros(at))
    # In order of their start: the last one of each worker stands.
    return {span.worker_id: span.start for span in spans}


def _silent(entry: RosterEntry, sums: Sums, asked: _Asked, first: int | None) -> float | None:
    """Seconds of the period in which nothing is known of a worker.

    Before the first event of all nobody watched, and at other stations than the chosen one
    time is not missing: neither counts.
    """
    if first is None or asked.station:
        return None
    start = max(asked.period.start, moment(first))
    end = min(asked.period.end, entry.retired_at or asked.period.end)
    if end <= start:
        return None
    known = (sums.working + sums.idle + sums.absent) / 1e6
    return max(0.0, (end - start).total_seconds() - known)


def _station(
    entry: RosterEntry, sums: Sums, current: Mapping[str, StateSpan], asked: _Asked
) -> StationLine:
    numbers = workstation_numbers(sums)
    there = sums.working + sums.idle
    return StationLine(
        id=entry.id,
        name=entry.name,
        retired=entry.retired_at is not None,
        present=tuple(
            worker_id
            for worker_id, span in sorted(current.items())
            if span.workstation_id == entry.id and span.event_type != "absent"
        ),
        occupancy=numbers["occupancy_seconds"] if has_data(sums) else None,
        utilization=numbers["utilization"] if there else None,
        units=sums.units if has_data(sums) else None,
        throughput=numbers["throughput"] if there else None,
        href=asked.href(station=entry.id),
    )


def _present(current: Mapping[str, StateSpan], lines: Iterable[WorkerLine]) -> Present:
    states = [span.event_type for span in current.values()]
    return Present(
        working=states.count("working"),
        idle=states.count("idle"),
        absent=states.count("absent"),
        unknown=sum(1 for line in lines if not line.state and not line.retired),
    )


def _freshness(last: int | None, at: datetime) -> Freshness:
    if last is None:
        return Freshness(level="none", last=None)
    if at - moment(last) > QUIET:
        return Freshness(
            level="look",
            last=moment(last),
            hint="Is it a break, or is a camera or the network down?",
        )
    return Freshness(level="good", last=moment(last))


def _notes(
    window: Period, lines: tuple[WorkerLine, ...], first: int | None, freshness: Freshness
) -> Iterable[str]:
    if first is not None and moment(first) > window.start:
        yield f"Reports begin {short(moment(first))}; of the time before nothing is known."
    silent = sum(line.silent or 0.0 for line in lines)
    told = sum((line.active or 0.0) + (line.idle or 0.0) + (line.absent or 0.0) for line in lines)
    if silent > _SILENCE * (silent + told):
        share = percent(silent / (silent + told))
        yield (
            f"No report for {lasting(silent)} of the workers' time ({share}): nobody knows whether "
            "they worked, so it counts as neither."
        )
    if freshness.level == "look":
        yield "Events that arrive late are counted when they happened, so this may still change."


def _table(window: Period) -> str:
    given = {
        "from": window.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "to": window.end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "format": "csv",
    }
    return address("/metrics/workers", given)


def _figures(
    platform: Platform,
    asked: _Asked,
    spans: list[StateSpan] | None,
    workers: list[str],
) -> tuple[Figure, ...]:
    window = asked.period
    width = _HOUR if window.length <= BY_HOUR else _DAY
    series = platform.db.factory_totals.sums(
        micros(window.start),
        micros(window.end),
        bucket=width,
        worker=asked.worker or None,
        workstation=asked.station or None,
    )
    buckets = _grouped((total.start or 0, total) for total in series)
    rows = [
        (
            max(moment(start), window.start),
            min(moment(start) + timedelta(seconds=width), window.end),
            sums,
        )
        for start, sums in sorted(buckets.items())
        if has_data(sums)
    ]
    if spans is None or len(workers) > TIMELINE_WORKERS:
        states = _stack(rows, window, width)
    else:
        states = _timeline(spans, workers, window)
    return states, _units(rows, window, width)


def _timeline(spans: list[StateSpan], workers: list[str], window: Period) -> Figure:
    there = {span.worker_id for span in spans}
    names = [*workers, *sorted(there - set(workers))]
    drawn = [
        charts.Span(
            span.worker_id,
            span.event_type,
            span.workstation_id,
            moment(span.start),
            moment(span.end),
        )
        for span in spans
    ]
    changes = plural(len(drawn), "state")
    return Figure(
        id="states",
        title="States by worker",
        spec=charts.timeline(drawn, names, window.start, window.end),
        height=charts.timeline_height(len(names)),
        summary=(
            f"{changes} of {plural(len(there), 'worker')}; blank where there is no report"
            if drawn
            else "No state was reported in this period."
        ),
        columns=("From (UTC)", "To", "Worker", "State", "Station", "Lasted"),
        rows=tuple(
            (
                span.start.strftime("%-d %b, %H:%M:%S"),
                span.end.strftime("%H:%M:%S"),
                span.worker,
                span.state,
                span.station,
                lasting((span.end - span.start).total_seconds()),
            )
            for span in drawn
        ),
    )


def _stack(rows: list[tuple[datetime, datetime, Sums]], window: Period, width: int) -> Figure:
    per = "hour" if width == _HOUR else "day"
    working = sum(sums.working for _, _, sums in rows) / 1e6
    idle = sum(sums.idle for _, _, sums in rows) / 1e6
    absent = sum(sums.absent for _, _, sums in rows) / 1e6
    return Figure(
        id="states",
        title=f"States by {per}",
        spec=charts.states(
            [
                charts.StateSums(start, end, sums.working / 1e6, sums.idle / 1e6, sums.absent / 1e6)
                for start, end, sums in rows
            ],
            window.start,
            window.end,
        ),
        height=charts.STACK_HEIGHT,
        summary=(
            f"{hours(working)} h working, {hours(idle)} h idle, "
            f"{hours(absent)} h absent, all workers together"
            if rows
            else "No state was reported in this period."
        ),
        columns=("From (UTC)", "Working h:min", "Idle h:min", "Absent h:min"),
        rows=tuple(
            (
                start.strftime("%-d %b, %H:%M"),
                hours(sums.working / 1e6),
                hours(sums.idle / 1e6),
                hours(sums.absent / 1e6),
            )
            for start, _, sums in rows
        ),
    )


def _units(rows: list[tuple[datetime, datetime, Sums]], window: Period, width: int) -> Figure:
    per = "hour" if width == _HOUR else "day"
    best = max(rows, key=lambda row: row[2].units, default=None)
    if best is None or not best[2].units:
        summary = "No units were reported in this period."
    else:
        at = best[0].strftime("%H:%M UTC" if width == _HOUR else "%-d %b")
        summary = f"most {count(best[2].units)}, {'from' if width == _HOUR else 'on'} {at}"
    return Figure(
        id="units",
        title=f"Units per {per}",
        spec=charts.units(
            [charts.Units(start, end, sums.units) for start, end, sums in rows],
            window.start,
            window.end,
            f"Units per {per}",
        ),
        height=charts.UNITS_HEIGHT,
        summary=summary,
        columns=("From (UTC)", "To", "Units", "Worked h:min", "Units per hour of work"),
        rows=tuple(
            (
                start.strftime("%-d %b, %H:%M"),
                end.strftime("%H:%M"),
                count(sums.units),
                hours(sums.working / 1e6),
                decimal(worker_numbers(sums)["units_per_hour"] if sums.working else None),
            )
            for start, end, sums in rows
        ),
    )
