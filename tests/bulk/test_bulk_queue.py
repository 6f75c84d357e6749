"""Who goes next, and when a customer's records stop: tables, without a call."""

from __future__ import annotations

import random

import pytest

from airflow_provider_truto.bulk.circuit import CircuitBreaker
from airflow_provider_truto.bulk.queue import FairQueue
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.client.errors import (
    TrutoAccountBlockedError,
    TrutoApiError,
    TrutoNotFoundError,
    TrutoPermissionError,
    TrutoReauthorizationRequiredError,
    TrutoSchemaError,
    TrutoServerError,
    TrutoTransportError,
)

OK = None
SERVER = TrutoServerError("5xx", status=500)
SERVER.transient = True
OF_RECORD = TrutoSchemaError("wrong")
NOT_FOUND = TrutoNotFoundError("no such account", status=404)
FORBIDDEN = TrutoPermissionError("another environment's token", status=403)
REMOTE_NOT_FOUND = TrutoNotFoundError("no such record", status=404, is_remote=True)
RECONNECT = TrutoReauthorizationRequiredError("gone", status=401, is_remote=True)
BLOCKED = TrutoAccountBlockedError("blocked", status=503)
LOST = TrutoTransportError("reset")


@pytest.mark.parametrize(
    ("ends", "opened_by", "max_concurrency"),
    [
        ([], None, 4),
        ([OK], None, None),
        ([RECONNECT], RECONNECT, 4),
        ([OK, BLOCKED], BLOCKED, None),
        ([SERVER] * 4, None, 4),
        ([SERVER, LOST, NOT_FOUND, SERVER, LOST], LOST, 4),
        ([SERVER] * 4 + [OK] + [SERVER] * 4, None, None),
        ([SERVER] * 4 + [OF_RECORD] + [SERVER] * 4, None, 4),
        ([FORBIDDEN] * 5, FORBIDDEN, 4),
        ([REMOTE_NOT_FOUND] * 9, None, 4),
        ([BLOCKED] + [SERVER] * 9, BLOCKED, 4),
        ([SERVER] * 5 + [RECONNECT], RECONNECT, 4),
    ],
)
def test_a_circuit_opens_for_what_every_later_record_would_meet(
    ends: list[TrutoApiError | None], opened_by, max_concurrency
):
    circuit = CircuitBreaker("a")
    for ordinal, error in enumerate(ends):
        if error is None:
            circuit.on_success()
        else:
            circuit.on_failure(error, ordinal=ordinal)
    assert (circuit.opened_by, circuit.max_concurrency) == (opened_by, max_concurrency)
    assert bool(circuit.reason) is (opened_by is not None)


@pytest.fixture
def queue():
    """A queue of eight calls in flight at most, filled by ``put``: ``put("a1 a2 b1")`` are two of customer a."""
    queue = FairQueue(concurrency=8)
    yield queue
    queue.close()


def put(queue, ids, **values):
    for ordinal, record_id in enumerate(ids.split()):
        queue.put(record_id[0], Record(ordinal=ordinal, id=record_id, body={}, **values))


def take_all(queue):
    """Take until nothing may start; return the turns."""
    turns = []
    while (turn := queue.take(running=len(turns))) is not None:
        turns.append(turn)
    return turns


@pytest.mark.parametrize(
    ("ids", "taken"),
    [
        ("", ""),
        ("a1 a2 a3 b1 b2 c1", "a1 b1 c1 a2 b2 a3"),  # in turn
        ("a1 a2 a3 a4 a5", "a1 a2 a3 a4"),  # four until one has succeeded
        ("a1 a1 a2", "a1 a2"),  # those of one id one after the other
        ("a1 a2 a3 b1 c1 d1 e1 f1 g1 h1", "a1 b1 c1 d1 e1 f1 g1 h1 a2 a3"),
    ],
)
def test_the_account_that_was_served_longest_ago_goes_next(queue, ids, taken):
    put(queue, ids)
    assert [turn.record.id for turn in take_all(queue)] == taken.split()


@pytest.mark.parametrize(
    ("error", "following"),
    [
        (OK, [(1, True, None)]),
        (OF_RECORD, [(1, True, None)]),
        (SERVER, [(1, False, "earlier_record"), (2, False, "earlier_record")]),
        (RECONNECT, [(1, False, "reauthorization_required"), (2, False, "reauthorization_required")]),
    ],
)
def test_what_waited_for_a_record_goes_on_as_that_one_ended(queue, error, following):
    put(queue, "a1 a1 a1")
    [first] = take_all(queue)
    queue.finish(first, error)
    turns = [(turn.record.ordinal, turn.is_sent, turn.error and turn.error.code) for turn in take_all(queue)]
    assert turns == following


def test_what_is_about_one_thing_by_any_of_its_names_is_done_in_its_order():
    chance = random.Random(3)
    queue = FairQueue(concurrency=8, finder=NothingFound())
    keys = [tuple(chance.sample("pqrstuvw", chance.randint(1, 3))) for _ in range(300)]
    for ordinal, own in enumerate(keys):
        queue.put("a", Record(ordinal=ordinal, body={}, match_keys=(own,)))
    flight, done = [], []
    while turn := queue.take(running=len(flight)) or (flight and chance.choice(flight)):
        if turn in flight:
            flight.remove(turn)
            done.append(turn.record.ordinal)
            queue.finish(turn, OK)
        else:
            assert not {*keys[turn.record.ordinal]} & {key for one in flight for key in keys[one.record.ordinal]}
            flight.append(turn)
    assert sorted(done) == list(range(300))
    for key in "pqrstuvw":
        own = [ordinal for ordinal in done if key in keys[ordinal]]
        assert own == sorted(own)


class NothingFound:
    """Every record is to be created."""

    def look_up(self, _account_id, record):
        return record


class Found:
    """Every key finds the same record."""

    def look_up(self, _account_id, record):
        return record.replace(id="x")


def test_a_record_that_is_looked_up_again_waits_for_nobody_who_waits_for_it():
    queue = FairQueue(concurrency=8, finder=Found())
    by_key = {"id": "x", "is_remembered": True, "match_keys": (("k",),)}
    for ordinal, names in enumerate([by_key, {"id": "x"}, by_key]):
        queue.put("a", Record(ordinal=ordinal, body={}, **names))
    queue.look_up_again(queue.take(running=0))
    done = []
    while turns := take_all(queue):
        [turn] = turns
        done.append(turn.record.ordinal)
        queue.finish(turn, OK)
    assert (done, queue.count_held()) == ([0, 1, 2], 0)


def test_all_that_is_allowed_goes_to_an_account_that_has_answered_well(queue):
    put(queue, "a1 a2 a3 a4 a5 a6 a7 a8 a9 aa")
    [first, *_] = take_all(queue)
    queue.finish(first, OK)
    assert len(take_all(queue)) == 5, "eight in flight, three are"


@pytest.mark.parametrize(
    ("values", "error"), [({"left_out": "nothing to do"}, None), ({"problems": (("/", "is wrong"),)}, "schema")]
)
def test_what_is_not_sent_takes_no_place(queue, values, error):
    put(queue, " ".join(f"a{number}" for number in range(20)), **values)
    turns = take_all(queue)
    assert (len(turns), {turn.is_sent for turn in turns}) == (20, {False})
    assert {turn.error and turn.error.code for turn in turns} == {error}
