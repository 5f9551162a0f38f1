"""The loop that watches and acts, in exactly one process at a time.

A *look* comes every `monitor_interval`: every model is measured, alerts are raised and resolved,
the agent decides, rollouts are judged, numbers are kept. A *pulse* comes every second: trips of
versions that crash or hang are acted on, approved actions are done. A trip does not wait for it.

Every stage is on its own: one that raises is logged and shown, and the others go on. A database
that takes nothing for a minute makes every stage fail for a minute, and nothing more.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
import structlog

from andon import typed
from andon.agent.diagnosis import diagnose
from andon.agent.policy import Policy
from andon.agent.watch_parts import Acts, Judges, Looks, Policies, Shows, Trips, WatchStatus
from andon.errors import AndonError
from andon.jobs.lease import Lease
from andon.monitoring import history, judging
from andon.monitoring.signals import Issue, Limits, Signal, State
from andon.notify.alerting import Alerting
from andon.notify.notifier import Notifier
from andon.notify.watch_metrics import WatchMetrics
from andon.serving.tripwire import Trip
from andon.settings import Settings
from andon.store.alerts import Alerts
from andon.store.clock import now
from andon.store.database import Database
from andon.store.records import Alert, ModelVersion, Rollout
from andon.store.rollouts import Rollouts

log = structlog.get_logger("andon.watch")

LEASE = "watch"
"""The lease that the process holds which watches."""

PULSE_SECONDS = 1.0

TRIP = ":trip"
"""Ends the group key of the alert about a version that crashed or hung."""

NOTED_EVERY = timedelta(minutes=10)
"""So often a server that is alone on its database writes down when it looked last."""

_STOP_WAIT = 20.0
# That wait to be written down.
_MOST_TRIPS = 100
_MOST_TEXT = 300
_LAST_LOOK = "watch"
_OF_SOME = ("model ", "rollout ")
# A version that fails was failing this long ago, at least, when it counts as mended.
_TRIP_OVER = timedelta(seconds=30)

Result = TypeVar("Result")


class Watch:
    """Watches, and has the agent act.

    Args:
        db: Where everything is kept.
        settings: How often, and whether at all.
        monitor: Measures.
        agent: Decides and acts.
        policy: Says where numbers turn bad.
        notifier: Tells people.
        lease: Says whether this process is the one.
        tripwire: Says which versions crash or hang.
        judge: Judges rollouts; None: nobody does.
        gauges: Shows the newest signals to Prometheus; None: nothing does.
        metrics: Where looks are counted.
    """

    def __init__(
        self,
        db: Database,
        settings: Settings,
        *,
        monitor: Looks,
        agent: Acts,
        policy: Policies,
        notifier: Notifier,
        lease: Lease,
        tripwire: Trips,
        judge: Judges | None = None,
        gauges: Shows | None = None,
        metrics: WatchMetrics | None = None,
    ) -> None:
        self._db = db
        self._settings = settings
        self._monitor = monitor
        self._agent = agent
        self._policy = policy
        self._notifier = notifier
        self._lease = lease
        self._tripwire = tripwire
        self._judge = judge
        self._gauges = gauges
        self._metrics = metrics if metrics is not None else WatchMetrics(db)
        self._alerts = Alerts(db)
        self._rollouts = Rollouts(db)
        for channel in notifier.channels:
            self._metrics.expect(channel)
        self.alerting = Alerting(db, notifier, observe=self._count)
        self._problems: dict[str, str] = {}
        self._problems_lock = threading.Lock()
        self._reached: Policy | None = None
        self._last: datetime | None = None
        self._noted: datetime | None = None
        self._took: float | None = None
        self._due = 0.0
        self._trips: deque[Trip] = deque()
        self._handled: set[tuple[str, datetime]] = set()
        self._tried: set[str] = set()
        self._failed_before: set[str] = set()
        self._looking = threading.Lock()
        self._pulsing = threading.Lock()
        self._wake = threading.Event()
        self._look_now = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        tripwire.on_trip(self._on_trip)

    def start(self) -> None:
        """Ask for the lease, and watch while it is held."""
        self._stopping.clear()
        self._lease.start()
        named = [("watch-pulse", self._pulses)]
        if self._settings.monitor:
            named.append(("watch", self._looks))
        self._threads = [
            threading.Thread(target=work, name=f"andon-{name}", daemon=True) for name, work in named
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; a look that is under way is finished, then another process may take over."""
        self._stopping.set()
        self._wake.set()
        self._look_now.set()
        until = time.monotonic() + _STOP_WAIT
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._threads = []
        if self._last is not None and self._noted != self._last and self._lease.held():
            self._noted = None
            self._stage("last look", self._note, self._last)
        self._lease.stop()

    def look_soon(self) -> None:
        """Look at every model now instead of when it is due."""
        self._look_now.set()

    def tick(self) -> bool:
        """One look at every model, and what follows from it; whether this process did it."""
        with self._looking:
            if not self._lease.held():
                self._monitor.let_go()
                self._stage("gauges", self._hide)
                return False
            moment, begin = now(), time.monotonic()
            self._look(moment)
            self._last = moment
            self._took = time.monotonic() - begin
            self._metrics.took.observe(self._took)
            self._metrics.last_look.set(moment.timestamp())
            return True

    def pulse(self) -> None:
        """Act on trips, and have done what is approved or due."""
        with self._pulsing:
            held = self._lease.held()
            self._metrics.leader.set(1 if held else 0)
            self._stage("tripwire", self._tripwire.poll)
            for _ in range(len(self._trips)):
                self._stage("trips", self._trip, self._trips.popleft())
            if not held:
                return
            if not self._lease.alone:
                self._stage("trips", self._trips_of_others)
            self._stage("lease", self._changed_hands)
            self._stage("actions", self._agent.tick, now())

    def status(self) -> WatchStatus:
        """Who watches, and how it goes. Never raises."""
        mine = self._lease.held()
        holder, since, last, trouble = self._known(mine)
        with self._problems_lock:
            problems = dict(self._problems)
        if trouble:
            problems["database"] = trouble
        if self._lease.problem:
            problems["lease"] = self._lease.problem
        upcoming = None
        if mine and self._settings.monitor:
            upcoming = now() + timedelta(seconds=max(0.0, self._due - time.monotonic()))
        policy = self._reached
        return WatchStatus(
            enabled=self._settings.monitor,
            holder=holder,
            mine=mine,
            since=since,
            last_look=last,
            next_look=upcoming,
            took_ms=None if self._took is None else self._took * 1000.0,
            problem=" ".join(dict.fromkeys(problems.values())),
            problems=problems,
            agent=self._settings.agent,
            dry_run=self._settings.agent == "dry-run" or (policy is not None and policy.dry_run),
        )

    # -- A look -------------------------------------------------------------------------

    def _look(self, moment: datetime) -> None:
        policy = self._read_policy()
        active = self._stage("models", self._db.models.all_active)
        rollouts = self._stage("rollouts", self._rollouts.all_running)
        self._forget(active, rollouts)
        signals: list[Signal] = []
        for version in active or ():
            limits = policy.limits(version.model) if policy is not None else Limits()
            found = self._stage(f"model {version.model}", self._monitor.look, version.model, limits)
            signals += found or []
        signals += self._stage("feeds", self._monitor.look_feeds) or []
        judged: list[Signal] = []
        for rollout in rollouts or ():
            said = self._stage(f"rollout {rollout.model}", self._weigh, rollout, policy, moment)
            judged += said or []
        self._stage("alerts", self.alerting.look, [*signals, *judged])
        if active is not None:
            self._stage("alerts of old", self._clear, active, signals, moment)
        # Lost meanwhile: another decides now.
        if self._lease.held():
            self._stage("agent", self._decide, signals, moment)
        if self._gauges is not None:
            self._stage("gauges", self._show, self._gauges)
        self._stage("history", self._record, moment)
        self._stage("telling others", self._monitor.tell)
        self._stage("last look", self._note, moment)
        self._tell_problems()

    def _read_policy(self) -> Policy | None:
        found = self._stage("policy", self._policy.current)
        if found is None:
            return self._reached
        self._reached, problem = found
        self._system("policy", problem, "The policy file cannot be used")
        return self._reached

    def _weigh(self, rollout: Rollout, policy: Policy | None, moment: datetime) -> list[Signal]:
        """Judge a rollout, and have the agent act on it; what the judgement says as signals."""
        if rollout.mode == "canary":
            limits = policy.limits(rollout.model) if policy is not None else Limits()
            self._monitor.look_candidate(
                rollout.model, rollout.candidate, limits, rollout.created_at
            )
        if self._judge is None or not self._lease.held():
            return []
        judgement = self._judge.look(rollout)
        self._agent.handle_judgement(rollout, judgement, moment)
        return judging.signals(rollout, judgement)

    def _decide(self, signals: list[Signal], moment: datetime) -> None:
        self._agent.handle(diagnose(signals), moment)
        self._agent.tick(moment)

    def _show(self, gauges: Shows) -> None:
        gauges.update(self._monitor.windows(), self._monitor.signals())

    def _hide(self) -> None:
        """Another process watches: what was seen here grows old."""
        if self._gauges is not None:
            self._gauges.update({}, [])

    def _record(self, moment: datetime) -> None:
        history.record(self._db, self._monitor.windows(), moment, self._monitor.signals())

    def _forget(self, active: list[ModelVersion] | None, rollouts: list[Rollout] | None) -> None:
        """Models and rollouts that are no more have no problems any more."""
        if active is None or rollouts is None:
            return
        there = {f"model {one.model}" for one in active}
        there |= {f"rollout {one.model}" for one in rollouts}
        with self._problems_lock:
            for name in [name for name in self._problems if name.startswith(_OF_SOME)]:
                if name not in there:
                    del self._problems[name]
        tried = {one.model for one in rollouts if one.mode == "canary"}
        for model in self._tried - tried:
            self._monitor.no_candidate(model)
        self._tried = tried

    def _tell_problems(self) -> None:
        """Alerts about Andon itself; a stage must fail at two looks in a row."""
        self._system("notifier", self._notifier.problem, "Notifications do not arrive")
        self._system("lease", "", "Another server watches now")
        with self._problems_lock:
            # Where an alert cannot be kept, one about that cannot be kept either.
            failing = {
                name: text for name, text in self._problems.items() if not name.startswith("alert ")
            }
        lasting = sorted(name for name in failing if name in self._failed_before)
        self._failed_before = set(failing)
        text = "\n".join(f"{name.capitalize()}: {failing[name]}" for name in lasting)
        self._system("watch", text, "Watching does not work in part")

    def _clear(self, active: list[ModelVersion], signals: list[Signal], moment: datetime) -> None:
        """Count a quiet look for what is about versions that serve nothing any more."""
        self.alerting.forget_models({version.model for version in active})
        serving = {(one.model, one.version) for one in active}
        serving |= {(one.model, one.candidate) for one in self._rollouts.all_running()}
        answering = {
            (one.model, one.version)
            for one in signals
            if one.name == "error_rate" and one.state is State.OK
        }
        still = max(_TRIP_OVER, timedelta(seconds=2 * self._settings.monitor_interval))
        for alert in self._alerts.open():
            tripped = alert.group_key.endswith(TRIP)
            if alert.model_version is None or not (tripped or alert.alert_type in {*Issue}):
                continue
            about = alert.model, alert.model_version
            which = f"v{alert.model_version} of {alert.model}"
            if about not in serving:
                # Where what serves now has the same trouble, it was seen in this look again.
                self.alerting.quiet(alert.group_key, f"Nobody is answered by {which} any more.")
            elif tripped and about in answering and abs(moment - alert.seen_at) > still:
                self.alerting.quiet(alert.group_key, f"{which} answers again.")

    def _note(self, moment: datetime) -> None:
        """Keep when the last look was, for other processes and for the doctor.

        Where no other process watches only the doctor asks: a write in a while is enough, for a
        look that finds nothing should leave an SD card alone.
        """
        if self._lease.alone and self._noted is not None and moment - self._noted < NOTED_EVERY:
            return
        every = f"{self._settings.monitor_interval:g} s"
        schedules = self._db.schedules
        state = schedules.get(_LAST_LOOK)
        if state is None:
            schedules.set_up(_LAST_LOOK, every, moment)
        else:
            schedules.advance(state, every, moment)
        self._noted = moment

    def _system(self, name: str, problem: str, title: str) -> None:
        self._stage(f"alert {name}", lambda: self.alerting.system(name, problem, title=title))

    # -- Trips --------------------------------------------------------------------------

    def _on_trip(self, trip: Trip) -> None:
        """A version crashes or hangs: called from a thread of the tripwire."""
        self._trips.append(trip)
        self._wake.set()

    def _trip(self, trip: Trip) -> None:
        held = self._lease.held()
        # People are told first, but a database that does not take that must not keep the agent.
        alert = self._stage("trip alerts", self._raise_trip, trip)
        if held:
            self._act(trip, alert)
        elif alert is None and len(self._trips) < _MOST_TRIPS:
            # Nobody has heard of it: said again with the next pulse.
            self._trips.append(trip)

    def _raise_trip(self, trip: Trip) -> Alert:
        alert, _ = self.alerting.see(
            f"{trip.model}:v{trip.version}{TRIP}",
            alert_type=str(Issue.PERFORMANCE),
            severity="critical",
            title=f"{trip.model} v{trip.version} fails",
            message=trip.summary,
            model=trip.model,
            model_version=trip.version,
            evidence={
                "signals": [],
                "href": f"/performance?{urlencode({'model': trip.model})}",
                "trip": msgspec.to_builtins(trip),
                "process": self._lease.me,
            },
            anew=True,
        )
        return alert

    def _act(self, trip: Trip, alert: Alert | None) -> None:
        if alert is not None:
            self._handled.add((alert.alert_id, trip.since))
        self._agent.trip(trip.model, trip.version, trip)

    def _answers(self, trip: Trip) -> bool:
        active = self._db.models.active(trip.model)
        if active is not None and active.id == trip.version_id:
            return True
        rollout = self._rollouts.running(trip.model)
        return rollout is not None and rollout.candidate_id == trip.version_id

    def _trips_of_others(self) -> None:
        """Act on trips in processes that do not watch: they left an alert."""
        if not any(key.endswith(TRIP) for key in self._alerts.open_keys()):
            return
        for alert in self._alerts.open():
            if not alert.group_key.endswith(TRIP) or "trip" not in alert.evidence:
                continue
            trip = typed.convert(alert.evidence["trip"], Trip)
            # The same version may have been let serve again since, and fail again.
            if (alert.alert_id, trip.since) in self._handled:
                continue
            self._handled.add((alert.alert_id, trip.since))
            # What was acted on before this process took over answers no more.
            if self._answers(trip):
                self._act(trip, alert)

    def _changed_hands(self) -> None:
        before = self._lease.took_over()
        if not before:
            return
        self.alerting.see(
            "system:lease",
            alert_type="system",
            severity="warning",
            title="Another server watches now",
            message=f"{before} fell silent, so {self._lease.me} has taken over watching and "
            "acting. Look whether that server still runs.",
            evidence={"signals": [], "href": "/alerts"},
        )

    # -- Inside -------------------------------------------------------------------------

    def _stage(self, name: str, work: Callable[..., Result], *given: Any) -> Result | None:
        """Do one thing; what it raises is logged once while it stays the same."""
        try:
            done = work(*given)
        except AndonError as error:
            if self._complain(name, str(error)):
                log.warning(f"Watching, {name}: {error}")
            return None
        # One stage that fails must not keep the others from being done.
        except Exception as error:
            # Only the first line: that of a database goes on with what was to be written.
            said = str(error).partition("\n")[0][:_MOST_TEXT]
            if self._complain(name, f"{type(error).__name__}: {said}"):
                log.exception(f"Watching, {name}, failed")
            return None
        with self._problems_lock:
            gone = self._problems.pop(name, "")
        if gone:
            log.info(f"Watching, {name}: works again")
        return done

    def _complain(self, name: str, text: str) -> bool:
        with self._problems_lock:
            new = self._problems.get(name) != text
            self._problems[name] = text
        return new

    def _known(self, mine: bool) -> tuple[str, datetime | None, datetime | None, str]:
        """Holder, since when, the last look, and why that cannot be told."""
        if mine and self._last is not None:
            return self._lease.me, self._lease.since, self._last, ""
        holder, since = (self._lease.me, self._lease.since) if mine else ("", None)
        try:
            if not mine:
                row = self._lease.current()
                if row is not None:
                    holder, since = row.holder, row.taken_at
            state = self._db.schedules.get(_LAST_LOOK)
        except AndonError as error:
            return holder, since, self._last, str(error)
        return holder, since, state.last_due_at if state is not None else None, ""

    def _count(self, alert: Alert) -> None:
        self._metrics.raised.labels(alert.alert_type, alert.severity).inc()

    def _looks(self) -> None:
        while not self._stopping.is_set():
            if self._look_now.is_set() or time.monotonic() >= self._due:
                self._look_now.clear()
                begin, looked = time.monotonic(), False
                try:
                    looked = self.tick()
                # A thread that dies silently would leave nobody to watch.
                except Exception:
                    log.exception("A look failed")
                pause = self._settings.monitor_interval if looked else PULSE_SECONDS
                self._due = max(begin + pause, time.monotonic())
            self._look_now.wait(max(0.01, min(PULSE_SECONDS, self._due - time.monotonic())))

    def _pulses(self) -> None:
        while not self._stopping.is_set():
            try:
                self.pulse()
            except Exception:
                log.exception("A pulse failed")
            self._wake.wait(PULSE_SECONDS)
            self._wake.clear()
