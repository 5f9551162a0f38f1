import time
from concurrent.futures import ThreadPoolExecutor

from andon.store.database import Database
from andon.store.ids import uuid7


def test_a_job_runs_from_queued_to_succeeded(db: Database):
    """Added, claimed, finished; times and result kept."""
    added = db.jobs.add("predict", {"image": "ab"})
    assert (added.status, added.payload, db.jobs.count_queued()) == ("queued", {"image": "ab"}, 1)
    claimed = db.jobs.claim("w1", 30)
    assert claimed is not None
    assert (claimed.id, claimed.status, claimed.attempts) == (added.id, "running", 1)
    assert db.jobs.count_queued() == 0
    assert db.jobs.finish(claimed.id, "w1", 1, {"detections": []})
    done = db.jobs.get(added.id)
    assert (done.status, done.result) == ("succeeded", {"detections": []})
    assert done.started_at is not None
    assert done.finished_at is not None
    assert done.finished_at >= done.started_at >= done.created_at


def test_the_oldest_job_is_claimed_first(db: Database):
    """First come, first served; nobody gets what another holds."""
    added = [db.jobs.add("predict", {}).id for _ in range(3)]
    claimed = [db.jobs.claim("w", 30) for _ in range(4)]
    assert [job.id if job else None for job in claimed] == [*added, None]


def test_a_job_may_bring_its_id(db: Database):
    """A payload that must name the job is made before it."""
    own = uuid7()
    assert db.jobs.add("predict", {"self": own}, job_id=own).id == own


def test_workers_never_share_a_job(db: Database):
    """Eight threads claiming at once get forty different jobs."""
    added = {db.jobs.add("predict", {}).id for _ in range(40)}

    def claim_all(worker: int) -> list[str]:
        held = []
        while (job := db.jobs.claim(f"w{worker}", 30)) is not None:
            held.append(job.id)
        return held

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(claim_all, range(8)))
    claimed = [job for part in parts for job in part]
    assert len(claimed) == 40
    assert set(claimed) == added


def test_a_job_of_a_dead_worker_is_queued_again(db: Database):
    """When the lease has run out, and not before."""
    db.jobs.add("predict", {})
    assert db.jobs.claim("w1", 0.05) is not None
    assert db.jobs.requeue_expired() == 0
    time.sleep(0.06)
    assert db.jobs.requeue_expired() == 1
    again = db.jobs.claim("w2", 30)
    assert again is not None
    assert again.attempts == 2


def test_a_renewed_lease_holds(db: Database):
    """A worker that lives keeps its job; one that lost it is told."""
    job = db.jobs.add("predict", {})
    db.jobs.claim("w1", 0.05)
    assert db.jobs.renew(job.id, "w1", 30)
    time.sleep(0.06)
    assert db.jobs.requeue_expired() == 0
    assert not db.jobs.renew(job.id, "w2", 30)


def test_a_result_is_recorded_once(db: Database):
    """A worker that lost its job cannot finish it, nor fail it, also under the same name."""
    job = db.jobs.add("predict", {})
    db.jobs.claim("w", 0.0)
    time.sleep(0.01)
    db.jobs.requeue_expired()
    db.jobs.claim("w", 30)
    assert not db.jobs.finish(job.id, "w", 1, "late")
    assert not db.jobs.fail(job.id, "w", 1, "late", None)
    assert db.jobs.finish(job.id, "w", 2, "in time")
    assert not db.jobs.finish(job.id, "w", 2, "twice")
    assert db.jobs.get(job.id).result == "in time"


def test_a_failed_job_is_tried_later(db: Database):
    """Not before its time, with the error kept meanwhile."""
    job = db.jobs.add("predict", {})
    db.jobs.claim("w", 30)
    assert db.jobs.fail(job.id, "w", 1, "model not loaded", 0.1)
    assert db.jobs.claim("w", 30) is None
    assert (db.jobs.get(job.id).status, db.jobs.get(job.id).error) == ("queued", "model not loaded")
    time.sleep(0.11)
    assert db.jobs.claim("w", 30) is not None


def test_a_job_that_failed_for_good_stays_failed(db: Database):
    """No retry time: that was it."""
    job = db.jobs.add("predict", {})
    db.jobs.claim("w", 30)
    assert db.jobs.fail(job.id, "w", 1, "not a picture", None)
    assert db.jobs.get(job.id).status == "failed"
    assert db.jobs.claim("w", 30) is None


def test_a_job_that_kills_its_workers_is_given_up(db: Database):
    """It would take every worker down, one after the other."""
    job = db.jobs.add("predict", {})
    for _ in range(2):
        db.jobs.claim("w", 0.0)
        time.sleep(0.01)
        db.jobs.requeue_expired(max_attempts=2)
    assert db.jobs.get(job.id).status == "failed"
    assert "died or hung 2 times" in db.jobs.get(job.id).error


def test_the_jobs_of_a_dead_process_are_queued_at_once(db: Database):
    """A process that starts knows that the one before it is gone."""
    db.jobs.add("predict", {})
    db.jobs.add("predict", {})
    db.jobs.claim("host-1/w_1", 3600)
    db.jobs.claim("host-2/w_1", 3600)
    assert db.jobs.requeue_all_of("host-1/") == 1
    assert db.jobs.count_queued() == 1
    assert db.jobs.requeue_all_of("host_") == 0


def test_jobs_are_listed_newest_first(db: Database):
    """By page, by kind and by state."""
    made = [db.jobs.add(kind, {}).id for kind in ("a", "b", "a", "a")]
    first, cursor = db.jobs.page(limit=3)
    rest, end = db.jobs.page(limit=3, before=cursor)
    assert [job.id for job in first + rest] == made[::-1]
    assert end is None
    assert [job.id for job in db.jobs.page(kind="b")[0]] == [made[1]]
    assert db.jobs.page(status="running")[0] == []
