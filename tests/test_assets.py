"""The assets that are a customer's records: their URIs, and what Airflow makes of those of DAG authors."""

from __future__ import annotations

import pytest

from airflow_provider_truto._compat import IS_AIRFLOW_2, make_asset
from airflow_provider_truto.assets import create_asset
from airflow_provider_truto.emulator import ACME

MINE = f"truto://{ACME}/crm/accounts"


def test_an_asset_is_one_resource_of_one_customer():
    assert create_asset(integrated_account_id=ACME.upper()).uri == MINE
    of_proxy = create_asset(
        integrated_account_id=ACME, model="proxy", resource="Companies / all", extra={"owner": "crm"}
    )
    assert (of_proxy.uri, of_proxy.extra) == (f"truto://{ACME}/proxy/Companies%20%2F%20all", {"owner": "crm"})


@pytest.mark.parametrize(
    "wrong", [{"integrated_account_id": "acme"}, {"integrated_account_id": ""}, {"model": ""}, {"resource": ""}]
)
def test_what_names_no_customer_or_resource_is_refused(wrong):
    with pytest.raises(ValueError, match="is not of the form truto://<integrated account>"):
        create_asset(**{"integrated_account_id": ACME, **wrong})


@pytest.mark.skipif(IS_AIRFLOW_2, reason="Airflow 2 warns only")
@pytest.mark.parametrize("wrong", ["truto://acme/crm/accounts", f"{MINE}/23", f"truto://{ACME}/crm", f"{MINE}?a=b"])
def test_airflow_refuses_a_uri_that_is_not_a_resource_of_a_customer(wrong):
    with pytest.raises(ValueError, match="is not of the form"):
        make_asset(wrong, {})


def test_airflow_compares_uris_of_authors_as_those_of_this_package():
    assert make_asset(f"TRUTO://{ACME.upper()}/crm/accounts/", {}).uri == MINE
