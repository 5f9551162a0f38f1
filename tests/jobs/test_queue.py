import threading
import time

import pytest

from andon import Database
from andon.errors import Saturated, UnusableUpload
from andon.jobs import queue
from andon.jobs.queue import JobQueue, Lane
from andon.settings import Settings
from andon.store.jobs import JobGivenUp, JobInterrupted


@pytest.fixture
def db(tmp_path):
    """A database of its own."""
    database = Database(tmp_path / "andon.db")
    yield database
    database.close()


@pytest.fixture
def running(db, tmp_path):
    """Starts queues, and stops them."""
    started = []

    def start(handlers, *, alone=False, lanes=None, **given) -> JobQueue:
        settings = Settings(home=tmp_path, _env_file=None, **given)
        made = JobQueue(db, settings, handlers, alone=alone, lanes=lanes)
        made.start()
        started.append(made)
        return made

    yield start
    for one in started:
        one.stop()


def until_done(db, job_id: str, seconds: float = 40.0):
    """The job, once it has ended."""
    deadline = time.monotonic() + seconds
    while (job := db.jobs.get(job_id)).status not in {"succeeded", "failed"}:
        assert time.monotonic() < deadline, f"{job_id} is still {job.status}"
        time.sleep(0.02)
    return job


def test_it_runs_a_job_and_keeps_its_result(db, running):
    """What the handler answers is the job's result."""
    jobs = running({"double": lambda job: {"answer": job.payload["number"] * 2}})
    job = jobs.enqueue("double", {"number": 21})
    assert until_done(db, job.id).result == {"answer": 42}


def test_a_job_is_in_the_database_before_anybody_runs_it(db, tmp_path):
    """Accepted means durable."""
    waiting = JobQueue(db, Settings(home=tmp_path, _env_file=None), {"x": lambda job: None})
    job = waiting.enqueue("x", {})
    assert db.jobs.get(job.id).status == "queued"
    assert waiting.size() == 1


def test_jobs_of_another_process_are_found(db, running):
    """No signal comes for them; the queue looks once a second."""
    running({"x": lambda job: "done"})
    job = db.jobs.add("x", {})
    assert until_done(db, job.id).result == "done"


def test_a_failing_job_is_tried_again(db, running, monkeypatch):
    """A crash may pass; the second try counts."""
    monkeypatch.setattr(queue, "_RETRY_BASE", 0.05)
    tries = []

    def handler(job):
        tries.append(job.attempts)
        if len(tries) == 1:
            raise RuntimeError("out of luck")
        return "done"

    jobs = running({"x": handler})
    job = until_done(db, jobs.enqueue("x", {}).id)
    assert (job.status, tries) == ("succeeded", [1, 2])


def test_a_job_that_never_works_fails_with_the_reason(db, running, monkeypatch):
    """After the last attempt the job says why."""
    monkeypatch.setattr(queue, "_RETRY_BASE", 0.01)

    def handler(job):
        raise RuntimeError("out of luck")

    jobs = running({"x": handler}, job_attempts=2)
    job = until_done(db, jobs.enqueue("x", {}).id)
    assert (job.status, job.attempts) == ("failed", 2)
    assert "out of luck" in job.error


def test_what_the_caller_got_wrong_is_not_tried_again(db, running):
    """A damaged picture stays damaged."""

    def handler(job):
        raise UnusableUpload("It is no picture.")

    job = until_done(db, running({"x": handler}).enqueue("x", {}).id)
    assert (job.status, job.attempts) == ("failed", 1)


def test_a_full_queue_says_so(db, tmp_path):
    """Beyond the limit nothing is accepted."""
    settings = Settings(home=tmp_path, _env_file=None, max_queued_jobs=2)
    waiting = JobQueue(db, settings, {"x": lambda job: None})
    waiting.enqueue("x", {})
    waiting.enqueue("x", {})
    with pytest.raises(Saturated):
        waiting.enqueue("x", {})


def test_an_unknown_kind_is_a_mistake(db, tmp_path):
    """Nobody would ever run it."""
    waiting = JobQueue(db, Settings(home=tmp_path, _env_file=None), {})
    with pytest.raises(ValueError, match="no handler"):
        waiting.enqueue("x", {})


def test_jobs_of_a_dead_server_run_at_once(db, running):
    """Alone on the database, a running job at start was left by a crash."""
    job = db.jobs.add("x", {})
    db.jobs.claim("dead:1:worker", 600)
    running({"x": lambda job: "done"}, alone=True)
    assert until_done(db, job.id, seconds=3).attempts == 2


def test_jobs_beside_another_server_wait_for_its_lease(db, running):
    """Not alone, a leased job is left to its worker until the lease runs out."""
    job = db.jobs.add("x", {})
    db.jobs.claim("other:1:worker", 600)
    running({"x": lambda job: "done"})
    time.sleep(0.3)
    assert db.jobs.get(job.id).status == "running"


def test_a_job_that_kills_its_worker_every_time_is_given_up(db, running):
    """Otherwise it would kill the server for ever."""
    job = db.jobs.add("x", {})
    for _ in range(3):
        db.jobs.claim("dead:1:worker", 600)
        db.jobs.requeue_all_of("dead")
    running({"x": lambda job: "done"}, alone=True, job_attempts=3)
    ended = until_done(db, job.id)
    assert ended.status == "failed"
    assert "died" in ended.error


def test_a_long_job_keeps_its_lease(db, running, monkeypatch):
    """It is renewed while the job runs, so that nobody else takes it."""
    monkeypatch.setattr(queue, "LEASE", 0.5)
    monkeypatch.setattr(queue, "_RENEW_EVERY", 0.1)
    runs = []

    def handler(job):
        runs.append(job.id)
        time.sleep(1.2)
        return "done"

    jobs = running({"x": handler}, job_workers=2)
    job = until_done(db, jobs.enqueue("x", {}).id)
    assert (job.result, len(runs)) == ("done", 1)


def test_stopping_finishes_what_runs(db, running):
    """The running job ends; the waiting one stays for the next start."""
    begun = threading.Event()

    def handler(job):
        begun.set()
        time.sleep(0.3)
        return "done"

    jobs = running({"x": handler})
    first, second = jobs.enqueue("x", {}), jobs.enqueue("x", {})
    begun.wait(5)
    jobs.stop()
    assert db.jobs.get(first.id).status == "succeeded"
    assert db.jobs.get(second.id).status == "queued"


def test_a_lane_of_its_own_keeps_nobody_waiting(db, running):
    """A training takes an hour; pictures are answered meanwhile."""
    free = threading.Event()
    handlers = {"train": lambda job: free.wait(10), "predict": lambda job: "done"}
    jobs = running(handlers, lanes={"train": Lane()})
    long = jobs.enqueue("train", {})
    assert until_done(db, jobs.enqueue("predict", {}).id, seconds=5).result == "done"
    assert db.jobs.get(long.id).status == "running"
    free.set()
    until_done(db, long.id)


def test_a_lane_runs_one_job_at_a_time(db, running):
    """As many as it has workers."""
    at_once, most = [], []

    def handler(job):
        at_once.append(job.id)
        most.append(len(at_once))
        time.sleep(0.1)
        at_once.remove(job.id)

    jobs = running({"train": handler}, lanes={"train": Lane(workers=1)}, job_workers=4)
    for job in [jobs.enqueue("train", {}) for _ in range(3)]:
        until_done(db, job.id)
    assert max(most) == 1


def test_a_kind_without_a_handler_waits_for_a_process_that_has_one(db, running):
    """An older server beside a newer one takes only what it knows."""
    job = db.jobs.add("unknown", {})
    running({"x": lambda job: "done"})
    time.sleep(0.3)
    assert db.jobs.get(job.id).status == "queued"


def test_an_interrupted_job_waits_and_loses_no_attempt(db, running):
    """Its process ends; that is no fault of the job."""

    def handler(job):
        raise JobInterrupted

    jobs = running({"train": handler}, lanes={"train": Lane(attempts=1)})
    job = jobs.enqueue("train", {})
    time.sleep(0.3)
    jobs.stop()
    found = db.jobs.get(job.id)
    assert (found.status, found.attempts) == ("queued", 0)


def test_a_job_that_is_given_up_is_not_tried_again(db, running):
    """The handler knows that it would not help."""

    def handler(job):
        raise JobGivenUp("The target has one class.")

    job = until_done(db, running({"x": handler}).enqueue("x", {}).id)
    assert (job.status, job.attempts, job.error) == ("failed", 1, "The target has one class.")


def test_a_lane_has_its_own_limit_of_attempts(db, running):
    """What died twice with its server is not begun a third time."""
    job = db.jobs.add("train", {})
    for _ in range(2):
        db.jobs.claim("dead:1:worker", -1)
        db.jobs.requeue_expired(max_attempts=5, special={"train": 2})
    assert db.jobs.get(job.id).status == "failed"
    other = db.jobs.add("x", {})
    for _ in range(2):
        db.jobs.claim("dead:1:worker", -1)
        db.jobs.requeue_expired(max_attempts=5, special={"train": 2})
    assert db.jobs.get(other.id).status == "queued"
