import threading
from datetime import timedelta

import pytest
from tests.store.builders import add_version

from andon.errors import Conflict, NotFound
from andon.store import training_runs
from andon.store.clock import micros, now
from andon.store.database import Database
from andon.store.ids import uuid7, uuid7_of


def nobody(_worker: str) -> bool | None:
    """Of no worker is anything known."""
    return None


def alive(_worker: str) -> bool:
    """Every worker is seen to live."""
    return False


def everybody(_worker: str) -> bool:
    """Every worker is known to be dead."""
    return True


def make(db, model="heart", **given):
    """A run."""
    values = {"recipe": "heart-disease", "options": {"seed": 1}, "source": "api", **given}
    return db.training.create(model=model, **values)


def test_a_run_and_its_job_are_queued_together(db):
    """They have one id, and a worker finds the job."""
    run = make(db, actor="a", reason="because")
    assert (run.status, run.options, run.actor, run.reason) == (
        "queued",
        {"seed": 1},
        "a",
        "because",
    )
    job = db.jobs.claim("w", 15, kinds=["train"])
    assert (job.id, job.payload) == (run.id, {"run_id": run.id})


def test_a_run_of_a_terminal_has_no_job(db):
    """Whoever made it runs it, from the first moment."""
    run = make(db, worker="me", source="cli")
    assert run.status == "running"
    assert run.heartbeat_at is not None
    assert db.jobs.count_queued() == 0


@pytest.mark.parametrize("worker", ["", "me"])
def test_one_training_per_model_at_a_time(db, worker):
    """The second is refused, and told which one is in the way; other models do not mind."""
    run = make(db, worker=worker)
    with pytest.raises(Conflict) as refused:
        make(db)
    assert refused.value.members == {"run_id": run.id}
    assert run.id in refused.value.detail
    assert make(db, model="other").status == "queued"
    assert db.jobs.count_queued() == (1 if worker else 2)


def test_of_many_that_ask_at_once_one_gets_it(where):
    """Two processes, many threads: the database decides."""
    databases = [Database(where), Database(where)]
    made, refused, broken = [], [], []
    barrier = threading.Barrier(8)

    def ask(db):
        barrier.wait()
        try:
            made.append(make(db).id)
        except Conflict as error:
            refused.append(error.members["run_id"])
        except Exception as error:
            broken.append(error)

    threads = [threading.Thread(target=ask, args=(databases[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (broken, len(made), set(refused)) == ([], 1, set(made))
    assert databases[0].jobs.count_queued() == 1
    for db in databases:
        db.close()


def test_the_same_id_is_made_once(db):
    """A schedule that asks twice finds its run there, also when it has ended."""
    run_id = uuid7()
    run = make(db, run_id=run_id)
    db.training.cancel(run.id)
    with pytest.raises(Conflict) as refused:
        make(db, run_id=run_id)
    assert refused.value.members == {"run_id": run_id}


def test_it_tells_how_far_it_is(db):
    """Stage, progress and MLflow's run; only from whoever holds it."""
    run = make(db)
    assert db.training.start(run.id, "w1").status == "running"
    assert db.training.beat(run.id, "w1", stage="Measuring", progress=0.5, tracking_id="t")
    assert not db.training.beat(run.id, "w2", stage="Nonsense")
    found = db.training.get(run.id)
    assert (found.stage, found.progress, found.tracking_id) == ("Measuring", 0.5, "t")


def test_a_run_that_was_taken_over_is_let_go(db):
    """Its former worker may write nothing more."""
    run = make(db)
    db.training.start(run.id, "w1")
    began = db.training.get(run.id).started_at
    db.training.start(run.id, "w2")
    assert db.training.wish(run.id, "w1") == "let go"
    assert not db.training.fail(run.id, "w1", "late")
    assert not db.training.finish(run.id, "w1", report={}, version_id=1, stage="late")
    assert db.training.wish(run.id, "w2") == "go on"
    assert db.training.get(run.id).started_at == began


def test_it_ends_once_with_its_version(db):
    """Report and version are kept; nothing changes afterwards."""
    made = add_version(db, model="heart")
    run = make(db, worker="w")
    assert db.training.finish(run.id, "w", report={"chosen": "x"}, version_id=made.id, stage="v1")
    found = db.training.get(run.id)
    assert (found.status, found.progress, found.version) == ("succeeded", 1.0, made.version)
    assert found.report == {"chosen": "x"}
    assert found.finished
    assert not db.training.fail(run.id, "w", "late")
    assert db.training.start(run.id, "w2") is None
    assert db.training.newest_succeeded() == {"heart": run.id}
    assert make(db).status == "queued"


def test_one_that_waits_is_cancelled_at_once(db):
    """Its job is not run either."""
    run = make(db)
    assert db.training.cancel(run.id).status == "cancelled"
    assert db.jobs.claim("w", 15) is None
    assert db.training.start(run.id, "w") is None
    with pytest.raises(Conflict, match="ended already: cancelled"):
        db.training.cancel(run.id)


def test_one_that_runs_is_asked_to_stop(db):
    """Whoever runs it does so."""
    run = make(db, worker="w")
    assert db.training.cancel(run.id).status == "running"
    assert db.training.wish(run.id, "w") == "cancel"
    assert db.training.stopped(run.id, "w")
    assert db.training.get(run.id).status == "cancelled"


def test_an_unknown_run_is_not_found(db):
    """By any route."""
    for call in (db.training.get, db.training.cancel):
        with pytest.raises(NotFound):
            call(uuid7())


def test_a_silent_run_of_a_terminal_is_failed(db, monkeypatch):
    """With a sentence; one that gives signs of life is left alone."""
    run = make(db, worker="w")
    assert db.training.fail_dead(nobody) == []
    monkeypatch.setattr(training_runs, "SILENCE", -1.0)
    assert db.training.fail_dead(nobody) == [run.id]
    assert "is gone" in db.training.get(run.id).error


def test_a_run_whose_process_lives_is_left_alone(db, monkeypatch):
    """A clock that jumped, or a machine that slept, ends no training of a terminal."""
    run = make(db, worker="w")
    monkeypatch.setattr(training_runs, "SILENCE", -60.0)
    assert db.training.fail_dead(alive) == []
    assert db.training.fail_dead(alive, model="heart") == []
    assert db.training.beat(run.id, "w")


def test_a_silent_run_whose_job_was_given_up_is_failed_although_its_server_lives(db, monkeypatch):
    """The server's process outlives what it ran."""
    run = make(db)
    job = db.jobs.claim("w", 15)
    db.training.start(run.id, "w")
    db.jobs.fail(job.id, "w", job.attempts, "the database was away", None)
    assert db.training.fail_dead(alive) == []
    monkeypatch.setattr(training_runs, "SILENCE", -60.0)
    assert db.training.fail_dead(alive) == [run.id]


def test_a_run_of_a_dead_process_is_failed_at_once(db):
    """Nobody has to wait for the silence."""
    run = make(db, worker="w")
    assert db.training.fail_dead(everybody) == [run.id]


def test_a_run_with_a_job_is_left_to_the_queue(db):
    """It is taken up again, unless somebody waits for its place."""
    run = make(db)
    db.jobs.claim("w", 15)
    db.training.start(run.id, "w")
    assert db.training.fail_dead(everybody) == []
    assert db.training.fail_dead(everybody, model="other") == []
    assert db.training.fail_dead(everybody, model="heart") == [run.id]


def test_a_run_whose_job_was_given_up_is_failed(db):
    """Whether it waits or seems to run."""
    run = make(db)
    job = db.jobs.claim("w", 15)
    db.jobs.fail(job.id, "w", job.attempts, "died each time", None)
    assert db.training.fail_dead(nobody) == [run.id]
    assert db.training.get(run.id).status == "failed"


def test_it_can_be_put_back(db):
    """A server that stops leaves it to the next one."""
    run = make(db)
    db.training.start(run.id, "w")
    assert db.training.requeue(run.id, "w")
    assert db.training.get(run.id).status == "queued"
    assert db.training.start(run.id, "w2").worker == "w2"


def test_pages_are_newest_first_and_filtered(db):
    """With a cursor, and without the weight of reports."""
    runs = [make(db, model=f"m{number}", worker="w") for number in range(5)]
    db.training.fail(runs[0].id, "w", "x", report={"a": 1})
    first, cursor = db.training.page(limit=3)
    rest, end = db.training.page(limit=3, before=cursor)
    assert [run.id for run in first + rest] == [run.id for run in reversed(runs)]
    assert end is None
    assert rest[-1].report is None
    assert db.training.get(runs[0].id).report == {"a": 1}
    assert [run.model for run in db.training.page(model="m3")[0]] == ["m3"]
    assert [run.id for run in db.training.page(status="failed")[0]] == [runs[0].id]
    assert db.training.page(recipe="none")[0] == []
    assert len(db.training.unfinished()) == 4


def test_runs_are_in_the_order_in_which_they_were_made(db):
    """Also those whose id tells of a time long past, or to come; the newest counts."""
    version = add_version(db, model="heart").id
    due = [uuid7_of(micros(now() + timedelta(days=days)), b"due") for days in (-9, 9, -8)]
    made = []
    for run_id in (None, *due, None):
        run = make(db, worker="w", run_id=run_id)
        made.insert(0, run.id)
        assert [one.id for one in db.training.unfinished()] == [run.id]
        db.training.finish(run.id, "w", report={}, version_id=version, stage="")
        assert db.training.newest_succeeded() == {"heart": run.id}
    for given in ({}, {"model": "heart"}):
        seen, cursor = [], None
        while True:
            page, cursor = db.training.page(limit=2, before=cursor, **given)
            seen += [run.id for run in page]
            if cursor is None:
                break
        assert seen == made


def test_a_cursor_stays_valid_among_runs_of_one_moment(db, monkeypatch):
    """Then the id decides; and runs that are made meanwhile move nothing."""
    moment = now()
    monkeypatch.setattr(training_runs, "now", lambda: moment)
    runs = [make(db, model=f"m{number}", worker="w").id for number in range(4)]
    first, cursor = db.training.page(limit=2)
    monkeypatch.undo()
    make(db, model="later", worker="w", run_id=uuid7_of(0, b"later"))
    rest, end = db.training.page(limit=2, before=cursor)
    assert [run.id for run in first + rest] == runs[::-1]
    assert end is None
    assert db.training.page(before=uuid7()) == ([], None)


def test_the_newest_of_a_machine_is_found_by_how_it_was_asked_for(db):
    """Only what succeeded; a machine's name is no pattern."""
    version = add_version(db, model="heart").id
    made = []
    for source, worker in (("cli", "box:1"), ("cli", "b_x:1"), ("cli", "box:2"), ("api", "box:3")):
        run = make(db, worker=worker, source=source)
        db.training.finish(run.id, worker, report={}, version_id=version, stage="")
        made.append(run.id)
    run = make(db, worker="box:4", source="cli")
    db.training.fail(run.id, "box:4", "x")
    for host, expected in (("box", made[2]), ("b_x", made[1]), ("bo", None)):
        found = db.training.newest_asked("heart", source="cli", host=host)
        assert (found and found.id) == expected
    assert db.training.newest_asked("other", source="cli", host="box") is None


def test_silence_is_measured_from_the_last_sign_of_life(db):
    """A beat starts it anew."""
    run = make(db, worker="w")
    before = db.training.get(run.id).heartbeat_at
    assert db.training.beat(run.id, "w")
    assert db.training.get(run.id).heartbeat_at - before >= timedelta(0)
