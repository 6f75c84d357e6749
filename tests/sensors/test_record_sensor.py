"""``TrutoRecordSensor`` and its trigger against the emulator; ``records/test_condition.py`` tests conditions."""

from __future__ import annotations

import functools
import logging
import sys
from datetime import datetime, timezone

import author_conditions
import pytest
from waiting import AirflowSensorTimeout, both_ways, wait

from airflow_provider_truto._compat import AirflowFailException, AirflowSkipException
from airflow_provider_truto.client.errors import TrutoNotFoundError
from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.records.condition import ConditionError
from airflow_provider_truto.records.watch import RecordWatch
from airflow_provider_truto.sensors.records import TrutoRecordSensor


@pytest.fixture(autouse=True)
def _connected(emulator, connection):
    connection(emulator.url, emulator.token, requests_per_second=0, max_attempts=1, integrated_account_id=ACME)


def sensor(**arguments):
    given = {"model": "crm", "resource": "accounts", "record_id": "23423523", "poke_interval": 0.05, "timeout": 30}
    return TrutoRecordSensor(task_id="wait", **{**given, **arguments})


def change(emulator, *, record_id="23423523", after_calls=0, **fields):
    """Have the record change, after so many looks at it."""
    what = {"integrated_account_id": ACME, "resource": "crm/accounts", "id": record_id, "fields": fields}
    emulator.change(**what, after_calls=after_calls)


def make_platinum(emulator, **more):
    change(emulator, custom_fields={"tier": "platinum"}, number_of_employees=130, **more)


CONDITIONS = {
    "fields": {"fields": {"custom_fields": {"tier": "platinum"}, "/number_of_employees": "130"}},
    "an expression": {"condition": "record.custom_fields.tier == 'platinum'"},
    "an expression of values": {
        "condition": "record.number_of_employees > values.employees",
        "values": {"employees": 120},
    },
    "a function": {"function": author_conditions.is_gold, "values": {"tier": "platinum"}},
    "a function by name": {"function": "author_conditions.is_gold", "values": {"tier": "platinum"}},
    "all of them": {
        "fields": {"number_of_employees": 130},
        "condition": "record.name is defined",
        "function": "author_conditions.is_gold",
        "values": {"tier": "platinum"},
    },
    "a tenant's record": {"tenant_id": "acme", "integration": "hubspot", "fields": {"number_of_employees": 130}},
}


@both_ways
@pytest.mark.parametrize("name", CONDITIONS)
def test_it_waits_until_the_condition_holds_and_returns_the_record(emulator, name, deferrable):
    make_platinum(emulator, after_calls=3)
    found = wait(sensor(**CONDITIONS[name], deferrable=deferrable))
    assert len(emulator.executions) >= 4
    assert (found["id"], found["number_of_employees"]) == ("23423523", 130)
    assert "remote_data" not in found


@both_ways
@pytest.mark.parametrize("name", CONDITIONS)
def test_what_holds_already_is_not_waited_for(emulator, name, deferrable):
    make_platinum(emulator)
    assert sensor(**CONDITIONS[name], deferrable=deferrable).execute({})["id"] == "23423523"
    assert len(emulator.executions) == 1


@both_ways
@pytest.mark.parametrize("condition", [{}, {"fields": {"name": "Initrode"}}])
def test_a_record_that_does_not_exist_is_waited_for(emulator, condition, deferrable):
    change(emulator, record_id="1", name="Initrode", after_calls=3)
    assert wait(sensor(record_id="1", **condition, deferrable=deferrable))["name"] == "Initrode"


@both_ways
@pytest.mark.parametrize(
    "arguments",
    [
        {"record_id": "1", "fields": {"name": "x"}, "on_missing": "fail"},
        {"resource": "nothing"},  # Truto's own 404, whatever `on_missing` says
        {"integrated_account_id": "00000000-0000-4000-8000-000000000000"},
    ],
)
def test_a_404_that_no_waiting_helps_fails_it_at_once(emulator, arguments, deferrable):
    with pytest.raises(AirflowFailException, match="404") as failed:
        wait(sensor(**arguments, deferrable=deferrable))
    assert isinstance(failed.value.__cause__, TrutoNotFoundError)


@both_ways
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"function": "author_conditions.raises"}, "author_conditions.raises raised KeyError: 'no such field'"),
        ({"function": "author_conditions.returns_text"}, "must return True or False, and returned str"),
        ({"function": "author_conditions.nothing"}, "cannot be imported"),
        ({"condition": "record.name"}, "must be true or false, and is of type str"),
    ],
)
def test_a_condition_that_cannot_be_judged_fails_it_at_once_and_for_good(emulator, arguments, told, deferrable):
    with pytest.raises(AirflowFailException, match=told) as failed:
        wait(sensor(**arguments, deferrable=deferrable))
    assert isinstance(failed.value.__cause__, ConditionError)
    assert len(emulator.requests) <= 1


def test_a_function_that_only_the_triggerer_cannot_import_is_told(monkeypatch):
    def of_another_machine(arguments):
        return RecordWatch(**{**arguments, "function": "not_there.is_gold"})

    monkeypatch.setattr("airflow_provider_truto.triggers.records._make_watch", of_another_machine)
    with pytest.raises(
        Exception, match=r"triggerer could not wait: function: 'not_there.is_gold' cannot be imported"
    ):
        wait(sensor(function="author_conditions.is_gold", values={"tier": "x"}, deferrable=True))


@both_ways
@pytest.mark.parametrize("soft_fail", [False, True])
def test_after_the_timeout_it_fails_or_skips(deferrable, soft_fail):
    with pytest.raises(AirflowSkipException if soft_fail else AirflowSensorTimeout):
        wait(sensor(fields={"name": "x"}, timeout=0.3, soft_fail=soft_fail, deferrable=deferrable))


@both_ways
def test_looks_that_fail_are_counted(emulator, deferrable):
    emulator.fault(method="GET", status=502, times=3)
    assert wait(sensor(max_failed_polls=4, deferrable=deferrable))["id"] == "23423523"
    emulator.fault(method="GET", status=502, times=None)
    with pytest.raises(Exception, match="502"):
        wait(sensor(max_failed_polls=3, deferrable=deferrable))


def test_deferred_it_looks_the_tenant_up_once_for_all_polls(emulator):
    emulator.fault(method="GET", path="^/unified", status=502, times=1)  # so that the trigger does not know it yet
    make_platinum(emulator, after_calls=4)
    wait(sensor(tenant_id="acme", integration="hubspot", fields={"number_of_employees": 130}, deferrable=True))
    assert len([one for one in emulator.requests if one["path"] == ["integrated-account"]]) == 3


@both_ways
def test_the_log_tells_what_differs_and_no_values(emulator, caplog, capsys, deferrable):
    caplog.set_level(logging.INFO)
    make_platinum(emulator, after_calls=3)
    wait(sensor(fields={"custom_fields": {"tier": "platinum"}}, deferrable=deferrable))
    log = capsys.readouterr().out + caplog.text
    assert "get of crm/accounts '23423523': waiting, since the record differs at /custom_fields/tier" in log
    assert "platinum" not in log


def test_a_record_that_is_too_large_for_xcom_goes_there_as_a_summary(emulator):
    change(emulator, description="x" * 300_000)
    found = wait(sensor())
    assert (found["id"], found["truncated"]) == ("23423523", True)


def test_values_and_fields_are_rendered_with_their_types_and_code_is_not(emulator):
    waiting = sensor(
        tenant_id="{{ customer }}",
        record_id="{{ record }}",
        fields={"number_of_employees": "{{ employees }}"},
        condition="record.updated_at | as_datetime < values.until | as_datetime and values.text == '{{ 1 }}'",
        values={"until": "{{ until }}", "text": "{{ text }}"},
    )
    until = datetime(2999, 1, 1, tzinfo=timezone.utc)
    context = {"customer": "acme", "record": "23423523", "employees": 120, "until": until, "text": "{{ 1 }}"}
    waiting.render_template_fields(context)
    assert waiting.execute({})["id"] == "23423523"


def of_this_file(record):
    return record["id"] == "23423523"


def test_a_function_of_the_dag_file_serves_in_the_worker_only(monkeypatch):
    monkeypatch.setattr(of_this_file, "__module__", "unusual_prefix_123_dag")
    monkeypatch.setitem(sys.modules, "unusual_prefix_123_dag", sys.modules[__name__])
    assert wait(sensor(function=of_this_file))["id"] == "23423523"
    with pytest.raises(ValueError, match="function: the triggerer cannot import"):
        sensor(function=of_this_file, deferrable=True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"function": lambda _: True}, "function: .*<lambda> has no name by which it can be imported"),
        ({"function": functools.partial(author_conditions.is_gold, tier="x")}, "function: .*has no name"),
        ({"condition": "{{ record.name == 'x' }}"}, "condition: .*without braces"),
        ({"condition": "name == 'x'"}, "condition: knows record and values, and not name"),
        ({"condition": "record.name =="}, "condition: "),
        ({"fields": {"owner.id": "1"}}, "fields: .*JSON pointer"),
        ({"values": {"x": 1}}, "values: mean nothing without"),
        ({"on_missing": "fail"}, "on_missing: leaves nothing to wait for"),
        ({"integrated_account_id": GLOBEX, "tenant_id": "globex"}, "tenant_id: give either"),
    ],
)
def test_what_can_never_be_right_breaks_the_dag_file(arguments, told):
    with pytest.raises(ValueError, match=told):
        sensor(**arguments)
