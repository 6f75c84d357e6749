"""What the log of a failed task begins and ends with: what is wrong and what to do, not how the package is built."""

from __future__ import annotations

import json
import logging
import re
import traceback
from pathlib import Path

import pytest

import airflow_provider_truto
from airflow_provider_truto._compat import AirflowFailException
from airflow_provider_truto.airflow_errors import lay_out_message, translate_errors
from airflow_provider_truto.client.errors import TrutoSchemaError
from airflow_provider_truto.emulator import ACME, UMBRELLA
from airflow_provider_truto.operators.accounts import TrutoUpdateAccountOperator

PACKAGE = str(Path(airflow_provider_truto.__file__).parent)
#: Folders of the package that no traceback of a failed task shows.
BELOW_OPERATORS = ("client", "hooks", "records", "bulk", "schemas")


@pytest.fixture(autouse=True)
def _heard(monkeypatch):
    """Log where a test can hear it: Airflow's loggers of tasks propagate nothing."""
    monkeypatch.setattr(TrutoUpdateAccountOperator, "log", logging.getLogger("operator"), raising=False)


def update(**arguments):
    given = {"account_id": "23423523", "integrated_account_id": ACME, "body": {"name": "Acme"}, **arguments}
    return TrutoUpdateAccountOperator(task_id="update", **given)


def fail(worker, caplog, task):
    """Run a task that fails; return the error, and the lines that were logged of it."""
    with caplog.at_level(logging.INFO), pytest.raises(Exception) as raised:
        worker.run(task)
    (told,) = [
        record.getMessage()
        for record in caplog.records
        if (record.name, record.levelno) == ("operator", logging.ERROR)
    ]
    return raised.value, told.splitlines()


def frames(error):
    """The files that Python's traceback of an error shows, its causes' included."""
    shown = "".join(traceback.format_exception(error))
    return [path.removeprefix(f"{PACKAGE}/") for path in re.findall(r'File "(.+?)", line', shown)]


@pytest.mark.parametrize(
    ("arguments", "first", "fix"),
    [
        (
            {"account_id": "9001", "integrated_account_id": UMBRELLA},
            "PATCH /unified/crm/accounts/9001 for integrated account",
            "Fix: the customer must reconnect the account; retries cannot help.",
        ),
        ({"truto_conn_id": "wrong"}, "PATCH /unified/crm/accounts/23423523 for", "Fix: put a valid API token"),
        (
            {"truto_conn_id": "nowhere"},
            "PATCH /unified/crm/accounts/23423523 for",
            "Fix: check the connection's Base",
        ),
        ({"body": {"nme": "x"}}, "the update of crm/accounts '23423523' is not valid", "  /body/nme: is not a known"),
    ],
    ids=["must reconnect", "wrong token", "unreachable host", "wrong body"],
)
def test_what_is_wrong_and_what_to_do_is_said_in_short_lines_above_a_short_traceback(
    worker, caplog, monkeypatch, arguments, first, fix
):
    connection = json.loads(worker.connection)
    wrong = {**connection, "password": "not-a-token-of-anybody"}
    nowhere = {**connection, "host": "http://127.0.0.1:9", "extra": {"max_attempts": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps(wrong))
    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", json.dumps(nowhere))
    error, lines = fail(worker, caplog, update(**arguments))
    assert lines[0].startswith(first)
    assert any(line.startswith(fix) for line in lines), lines
    assert max(map(len, lines)) <= 100
    assert not [path for path in frames(error) if path.startswith(BELOW_OPERATORS) or "urllib3" in path]


def test_an_error_that_airflow_retries_is_shown_as_briefly(worker, caplog):
    worker.fault(method="PATCH", status=500, times=9)
    error, lines = fail(worker, caplog, update())
    assert "answered 500" in " ".join(lines)
    assert not [path for path in frames(error) if path.startswith(BELOW_OPERATORS)]


def test_what_a_crm_has_not_confirmed_is_shown_as_well(worker, caplog):
    worker.fault(method="PATCH", status=200, body={"id": "23423523", "name": "Old"})
    error, lines = fail(worker, caplog, update(verify="fail"))
    assert isinstance(error, AirflowFailException)
    assert "The write HAS happened" in " ".join(lines)


def test_the_whole_traceback_is_there_for_who_wants_it(worker, caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(AirflowFailException):
        worker.run(update(body={}))
    (told,) = [record for record in caplog.records if record.name == "operator" and record.exc_info]
    assert isinstance(told.exc_info[1], TrutoSchemaError)


def test_code_of_the_dag_author_stays_in_the_traceback():
    def parse():
        return int("many")

    def write():
        try:
            parse()
        except ValueError as error:
            raise TrutoSchemaError("it is not valid") from error

    with pytest.raises(AirflowFailException) as raised, translate_errors(update()):
        write()
    shown = "".join(traceback.format_exception(raised.value))
    assert all(f"in {name}" in shown for name in ("write", "parse"))


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        ("It failed. Cause: the CRM. Fix: wait.", ["It failed.", "Cause: the CRM.", "Fix: wait."]),
        ("2 problems:\n  /body/a: x\n  /body/b: y", ["2 problems:", "  /body/a: x", "  /body/b: y"]),
        (" ".join(["word"] * 20), [" ".join(["word"] * 17), "  word word word"]),
        ("x" * 200, ["x" * 200]),
        ("", []),
    ],
)
def test_a_message_is_laid_out_in_lines(message, lines):
    assert lay_out_message(message).splitlines() == lines
