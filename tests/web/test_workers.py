import csv
import json
from urllib.parse import quote

import pytest
from tests.web.conftest import Floor, problem

from andon.store import tables

BOTH = pytest.mark.parametrize("noun", ["worker", "workstation"])


@pytest.fixture
def floor(floor: Floor) -> Floor:
    """Nobody is registered."""
    with floor.db.write() as connection:
        for table in (tables.workers, tables.workstations):
            connection.execute(table.delete())
    return floor


def add(floor: Floor, noun: str, entry: str, **more) -> dict:
    """Register one."""
    answer = floor.client.post(f"/{noun}s/", json={f"{noun}_id": entry, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


@BOTH
def test_they_are_registered_and_listed(floor: Floor, noun):
    """As a bare list, with and without the closing slash, in the order people count."""
    assert floor.client.get(f"/{noun}s/").json() == []
    for entry in ("X10", "X2", "X1"):
        made = add(floor, noun, entry, name=f"Name of {entry}")
    assert made.keys() == {f"{noun}_id", "name", "created_at", "retired_at"}
    assert (made[f"{noun}_id"], made["name"]) == ("X1", "Name of X1")
    assert made["created_at"].endswith("Z")
    assert made["retired_at"] is None
    for path in (f"/{noun}s", f"/{noun}s/"):
        found = floor.client.get(path)
        assert (found.status_code, found.history) == (200, [])
        assert [entry[f"{noun}_id"] for entry in found.json()] == ["X1", "X2", "X10"]
    for path in (f"/{noun}s/X1", f"/{noun}s/X1/"):
        assert floor.client.get(path).json() == made


def test_a_name_is_not_needed(floor: Floor):
    """The id stands in for it."""
    assert add(floor, "worker", "W1")["name"] == "W1"


@BOTH
def test_an_id_is_registered_once(floor: Floor, noun):
    """409 with the way out."""
    add(floor, noun, "X1")
    again = floor.client.post(f"/{noun}s/", json={f"{noun}_id": "X1"})
    problem(again, 409, f"a {noun} X1 already")
    floor.client.delete(f"/{noun}s/X1")
    again = floor.client.post(f"/{noun}s/", json={f"{noun}_id": "X1"})
    problem(again, 409, "retired", "retired=false")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"worker_id": ""},
        {"worker_id": " W1"},
        {"worker_id": "x" * 65},
        {"worker_id": "x" * 10_000},
        {"worker_id": "W\x00"},
        {"worker_id": "W\ud800"},
        {"worker_id": 7},
        {"worker_id": None},
        {"worker_id": ["W1"]},
        {"worker_id": "W1", "name": 7},
        {"worker_id": "W1", "name": "a\nb"},
        {"worker_id": "W1", "name": "x" * 256},
        [],
        "W1",
        None,
    ],
)
def test_what_cannot_be_registered_is_refused(floor: Floor, body):
    """422, and nothing is stored."""
    headers = {"Content-Type": "application/json"}
    problem(floor.client.post("/workers/", content=json.dumps(body), headers=headers), 422)
    assert floor.client.get("/workers/").json() == []


def test_what_is_no_json_is_refused(floor: Floor):
    """Whatever is wrong with it."""
    for content in (b"", b"{", b"\xff", b"W1"):
        headers = {"Content-Type": "application/json"}
        answer = floor.client.post("/workers/", content=content, headers=headers)
        problem(answer, 400 if content == b"\xff" else 422)


@BOTH
def test_the_content_type_of_json_does_not_matter(floor: Floor, noun):
    """As `curl -d` sends it, for registering and for changing."""
    for place, kind in enumerate(("application/x-www-form-urlencoded", "text/plain", None)):
        headers = {} if kind is None else {"Content-Type": kind}
        body = json.dumps({f"{noun}_id": f"X{place}"}).encode()
        answer = floor.client.post(f"/{noun}s", content=body, headers=headers)
        assert answer.status_code == 201, answer.text
        path = f"/{noun}s/X{place}"
        answer = floor.client.patch(path, content=b'{"name": "New"}', headers=headers)
        assert (answer.status_code, answer.json()["name"]) == (200, "New")


@BOTH
def test_they_are_renamed_retired_and_brought_back(floor: Floor, noun):
    """What is not named stays; retiring twice changes nothing."""
    add(floor, noun, "X1", name="Before")
    path = f"/{noun}s/X1"
    assert floor.client.patch(path, json={"name": "After"}).json()["name"] == "After"
    retired = floor.client.delete(path)
    assert retired.status_code == 200
    assert retired.json()["retired_at"].endswith("Z")
    assert retired.json()["name"] == "After"
    assert floor.client.delete(path).json() == retired.json()
    assert floor.client.patch(path, json={"retired": True}).json() == retired.json()
    assert floor.client.get(path).json() == retired.json()
    back = floor.client.patch(path, json={"retired": False}).json()
    assert back == retired.json() | {"retired_at": None}
    assert floor.client.patch(path, json={}).json() == back
    both = floor.client.patch(path, json={"retired": True, "name": ""}).json()
    assert (both["name"], both["retired_at"] is None) == ("X1", False)


def test_the_retired_can_be_left_out(floor: Floor):
    """They are listed unless somebody says otherwise."""
    add(floor, "worker", "W1")
    add(floor, "worker", "W2")
    floor.client.delete("/workers/W1")
    assert len(floor.client.get("/workers/").json()) == 2
    found = floor.client.get("/workers/?retired=false").json()
    assert [entry["worker_id"] for entry in found] == ["W2"]


@pytest.mark.parametrize(
    "body", [{"retired": 1}, {"retired": "yes"}, {"name": 7}, {"name": "\x00"}, [], "x"]
)
def test_a_change_that_makes_no_sense_is_refused(floor: Floor, body):
    """422, and nothing changes."""
    before = add(floor, "worker", "W1")
    problem(floor.client.patch("/workers/W1", json=body), 422)
    assert floor.client.get("/workers/W1").json() == before


@BOTH
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_the_unknown_are_not_found(floor: Floor, noun, method):
    """404, with the way to the list."""
    sent = {"json": {}} if method == "PATCH" else {}
    answer = floor.client.request(method, f"/{noun}s/X9", **sent)
    problem(answer, 404, f"no {noun} X9", f"GET /{noun}s/")


@pytest.mark.parametrize("entry", ["a/b", "a/", "/", "ä ö", "..%2e", "=1+1", "W1?x=1#y", "100%"])
def test_any_id_can_be_addressed(floor: Floor, entry):
    """Percent-encoded, as everything in a path."""
    add(floor, "worker", entry)
    path = "/workers/" + quote(entry, safe="")
    assert floor.client.get(path).json()["worker_id"] == entry
    assert floor.client.delete(path).status_code == 200


@BOTH
def test_the_list_is_a_spreadsheet_too(floor: Floor, noun):
    """By parameter or by Accept; a name that looks like a formula is marked as text."""
    add(floor, noun, "X1", name='=HYPERLINK("http://evil.example")')
    add(floor, noun, "X2", name='Ann, "the" one')
    floor.client.delete(f"/{noun}s/X2")
    by_parameter = floor.client.get(f"/{noun}s/?format=csv")
    by_header = floor.client.get(f"/{noun}s/", headers={"Accept": "text/csv, */*;q=0.1"})
    assert by_parameter.content == by_header.content
    assert by_parameter.headers["content-type"].startswith("text/csv; charset=utf-8")
    assert f'filename="{noun}s.csv"' in by_parameter.headers["content-disposition"]
    rows = list(csv.reader(by_parameter.text.splitlines()))
    assert rows[0] == [f"{noun}_id", "name", "created_at", "retired_at"]
    assert rows[1][1] == '\'=HYPERLINK("http://evil.example")'
    assert rows[2][1] == 'Ann, "the" one'
    assert rows[2][3].endswith("Z")
    assert rows[1][3] == ""
    problem(floor.client.get(f"/{noun}s/?format=xls"), 422)
