"""``TrutoIntegratedAccountSensor`` and its trigger: what they wait for at the emulator, what fails at once."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from meanwhile import meanwhile
from waiting import AirflowSensorTimeout, both_ways, wait

from airflow_provider_truto._compat import AirflowFailException, AirflowSkipException
from airflow_provider_truto.client import errors
from airflow_provider_truto.emulator import ACME, GLOBEX, HOOLI, UMBRELLA
from airflow_provider_truto.sensors.integrated_accounts import TrutoIntegratedAccountSensor

MUST_RECONNECT = {"message": "The API key was revoked", "truto_is_remote_error": True}
FORBIDDEN = {"message": "Not yours", "truto_is_remote_error": True}


@pytest.fixture(autouse=True)
def _connected(emulator, connection):
    connection(emulator.url, emulator.token, requests_per_second=0, max_attempts=1, integrated_account_id=ACME)


def sensor(**arguments):
    return TrutoIntegratedAccountSensor(task_id="wait", **{"poke_interval": 0.05, "timeout": 30, **arguments})


class Obstacle(NamedTuple):
    """How an account comes to be not ready, how it is told, and what a sensor is asked beside."""

    arguments: dict
    told: str
    error: type[Exception]
    status: str | None = None  # of ACME
    fault: dict | None = None

    def put(self, emulator):
        if self.status:
            emulator.state.accounts[ACME].record["status"] = self.status
        if self.fault:
            emulator.fault(method="GET", path="^/(unified|proxy)", times=None, **self.fault)


RECONNECT = errors.TrutoReauthorizationRequiredError
OBSTACLES = {
    "needs_reauth": Obstacle(
        {"integrated_account_id": UMBRELLA}, "must reconnect zohocrm.*Truto's reason: The cred", RECONNECT
    ),
    "connecting": Obstacle({}, "must connect or reconnect .*status is connecting", RECONNECT, status="connecting"),
    "validation_error": Obstacle({"tenant_id": "acme"}, "must connect or reco", RECONNECT, status="validation_error"),
    "expired": Obstacle({}, "status is expired", RECONNECT, status="expired"),
    "blocked": Obstacle(
        {"tenant_id": "hooli"}, "blocked close account .*support@truto", errors.TrutoAccountBlockedError
    ),
    "missing": Obstacle(
        {"tenant_id": "acme", "integration": "salesforce"},
        "must connect: tenant 'acme' has no integrated salesforce account",
        errors.TrutoNotFoundError,
    ),
    "needs_reauth, as a probe finds out": Obstacle(
        {"probe": True}, "must reconnect .*active.*list of crm/accounts.*was revoked", RECONNECT,
        fault={"status": 401, "body": MUST_RECONNECT},
    ),
    "forbidden": Obstacle(
        {"probe": "companies"}, "grant the missing rights: a list of companies", errors.TrutoPermissionError,
        fault={"status": 403, "body": FORBIDDEN},
    ),
}  # fmt: skip
every_obstacle = pytest.mark.parametrize("name", OBSTACLES)


def make_ready(emulator):
    """What the customer, or Truto's support, does."""
    emulator.clear_faults()
    for account in (ACME, UMBRELLA, HOOLI):
        emulator.state.accounts[account].record["status"] = "active"
        emulator.state.accounts[account].is_blocked = False
    account = emulator.state.accounts[GLOBEX].record  # of Salesforce
    account["tenant_id"] = "acme" if account["tenant_id"] == "globex" else account["tenant_id"]


@both_ways
@every_obstacle
def test_it_waits_until_the_account_can_be_called(emulator, name, deferrable):
    obstacle = OBSTACLES[name]
    obstacle.put(emulator)
    if obstacle.arguments == {"tenant_id": "acme"}:
        emulator.state.accounts[GLOBEX].record["tenant_id"] = "elsewhere"
    with meanwhile(emulator, lambda: make_ready(emulator), after=8):
        found = wait(sensor(**obstacle.arguments, deferrable=deferrable))
    assert found["status"] == "active"
    assert emulator.state.accounts[found["integrated_account_id"]].record["tenant_id"] == found["tenant_id"]


@both_ways
@every_obstacle
def test_what_fail_on_names_fails_at_once_and_for_good(emulator, name, deferrable):
    obstacle = OBSTACLES[name]
    obstacle.put(emulator)
    waiting = sensor(**obstacle.arguments, fail_on=[name.partition(",")[0]], deferrable=deferrable)
    with pytest.raises(AirflowFailException, match=f"{obstacle.told}.* fail_on names") as failed:
        wait(waiting)
    assert type(failed.value.__cause__) is obstacle.error
    assert len(emulator.requests) <= 3


def test_what_comes_while_it_is_deferred_fails_it_as_well(emulator):
    emulator.state.accounts[ACME].record["status"] = "connecting"

    def revoke():
        emulator.state.accounts[ACME].require_reauth("Revoked")

    with (
        meanwhile(emulator, revoke, after=3),
        pytest.raises(AirflowFailException, match=r"must reconnect hubspot account .*: Revoked"),
    ):
        wait(sensor(fail_on=["needs_reauth"], deferrable=True))
    assert len(emulator.requests) < 30, "it was told at once"


@both_ways
def test_a_status_that_nobody_knows_is_not_ready(emulator, deferrable):
    emulator.state.accounts[ACME].record["status"] = "dreaming"
    with pytest.raises(AirflowSensorTimeout):
        wait(sensor(timeout=0.3, deferrable=deferrable))


@both_ways
@pytest.mark.parametrize("arguments", [{"timeout": 0.3}, {"fail_on": ["needs_reauth"]}])
def test_soft_fail_skips(arguments, deferrable):
    with pytest.raises(AirflowSkipException):
        wait(sensor(integrated_account_id=UMBRELLA, soft_fail=True, deferrable=deferrable, **arguments))


@pytest.mark.parametrize(
    ("probe", "path"),
    [(True, "/unified/crm/accounts"), ("crm/contacts", "/unified/crm/contacts"), ("contacts", "/proxy/contacts")],
)
def test_a_probe_lists_one_record(emulator, probe, path):
    assert wait(sensor(probe=probe))["status"] == "active"
    *_, probed = emulator.requests
    assert ("/" + "/".join(probed["path"]), dict(probed["query"])["limit"]) == (path, "1")


@both_ways
def test_a_later_task_may_take_the_id_by_itself(emulator, deferrable):
    emulator.state.accounts[GLOBEX].record["status"] = "connecting"
    pushed = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}), try_number=1)

    def connect():
        emulator.state.accounts[GLOBEX].record["status"] = "active"

    with meanwhile(emulator, connect, after=3):
        found = wait(sensor(tenant_id="globex", deferrable=deferrable), ti=ti)
    names = {"integrated_account_id": GLOBEX, "tenant_id": "globex", "integration": "salesforce"}
    assert found == {**names, "status": "active"}
    assert pushed == {"integrated_account_id": GLOBEX}


def test_without_a_probe_nothing_of_the_customer_is_read(emulator):
    wait(sensor())
    assert {one["path"][0] for one in emulator.requests} == {"integrated-account"}


@both_ways
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"integrated_account_id": "00000000-0000-4000-8000-000000000000"}, "404"),
        ({"integrated_account_id": "23423523"}, "not the UUID"),
        ({"tenant_id": "wayne"}, "2 integrated accounts have tenant_id 'wayne'"),
        ({"probe": "crm/nothing"}, "404"),
    ],
)
def test_a_mistake_of_the_task_fails_it_at_once(emulator, arguments, told, deferrable):
    emulator.state.accounts[GLOBEX].record["tenant_id"] = "wayne"
    with pytest.raises(AirflowFailException, match=told):
        wait(sensor(**arguments, deferrable=deferrable))


def test_a_403_of_the_api_token_is_not_the_customers(emulator):
    emulator.fault(method="GET", path="^/unified", status=403)
    with pytest.raises(AirflowFailException, match="API token"):
        wait(sensor(probe=True))


def test_an_account_that_has_nothing_to_list_cannot_be_probed(emulator):
    emulator.fault(method="GET", path="capabilities", body={"unified": [], "account": {"is_blocked": False}})
    with pytest.raises(AirflowFailException, match="nothing can be probed"):
        wait(sensor(probe=True))


@both_ways
def test_looks_that_fail_are_counted(emulator, deferrable):
    emulator.fault(method="GET", path="^/unified", status=502, times=3)
    assert wait(sensor(probe=True, max_failed_polls=4, deferrable=deferrable))["status"] == "active"
    emulator.fault(method="GET", path="capabilities", status=502, times=None)
    with pytest.raises(Exception, match="502"):
        wait(sensor(max_failed_polls=3, deferrable=deferrable))


@both_ways
def test_the_log_tells_what_is_waited_for_and_what_was_not_granted_without_secrets(
    emulator, caplog, capsys, deferrable
):
    caplog.set_level(logging.INFO)
    record = emulator.state.accounts[ACME].record
    record["last_forbidden_error"] = {
        "resource": "contacts",
        "method": "list",
        "missing_scopes": ["contacts.read"],
        "occurred_at": "2026-01-01",
    }
    record.update(status="needs_reauth", last_error="refused: api_key=sk-planted")
    with meanwhile(emulator, lambda: make_ready(emulator), after=3):
        wait(sensor(deferrable=deferrable))
    log = capsys.readouterr().out + caplog.text
    assert "must reconnect hubspot account" in log
    assert "refused: api_key=***" in log
    assert "list of contacts was refused, at 2026-01-01, missing scopes: contacts.read" in log
    assert f"Integrated account {ACME} is active" in log
    assert "planted" not in log


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"fail_on": ["needs_reath"]}, "fail_on: expects"),
        ({"integrated_account_id": ACME, "tenant_id": "acme"}, "give either"),
        ({"integration": "hubspot"}, "tenant_id: is missing"),
    ],
)
def test_what_can_never_be_right_breaks_the_dag_file(arguments, told):
    with pytest.raises(ValueError, match=told):
        sensor(**arguments)
