"""What is asked and checked before a request may be sent."""

from __future__ import annotations

import pytest
from answering import run
from jsonschema import Draft202012Validator

from airflow_provider_truto.client.errors import TrutoSchemaError
from airflow_provider_truto.records.coerce import CoercionOptions
from airflow_provider_truto.records.pipeline import prepare_request
from airflow_provider_truto.records.request import LIVE, RecordRequest
from airflow_provider_truto.records.safeguards import Safeguards
from airflow_provider_truto.schemas.packaged import load_packaged_schema

ACME = "acae0000-0000-4000-8000-000000000001"
#: More properties than are checked; a server may name ten times as many.
MANY = {"type": "object", "properties": {f"property_{number}": {"type": "string"} for number in range(6_000)}}
FIELDS = [{"name": f"field_{number}", "type": "string", "is_editable": True} for number in range(500)]


def prepared(body, *, schema, safeguards):
    """Prepare an update; what it asks is answered with a live schema, an account, and its custom fields."""
    request = RecordRequest(
        model="crm",
        resource="accounts",
        method="update",
        record_id="1",
        body=body,
        integrated_account_id=ACME,
        schema=schema,
    )
    return run(prepare_request, request, coercion=CoercionOptions(), safeguards=safeguards, answer=answered)


def answered(call):
    if call.path.endswith("/meta/update"):
        return {"request_body_schema": MANY}
    if call.path.endswith("/fields"):
        return {"result": FIELDS}
    return {"id": ACME, "status": "active", "integration": {"name": "hubspot"}}


@pytest.mark.parametrize(
    ("schema", "safeguards"),
    [
        (LIVE, Safeguards()),
        (LIVE, Safeguards(check_custom_fields=True)),
        ("packaged", Safeguards(check_custom_fields=True)),
    ],
    ids=["live", "live and custom fields", "custom fields"],
)
def test_a_schema_that_was_made_of_answers_is_not_checked_itself(schema, safeguards, monkeypatch):
    """That takes half a minute for 60,000 properties, in which a bulk's loop stands still."""

    load_packaged_schema("crm.accounts.update", "path")
    load_packaged_schema("crm.accounts.update", "request")

    def check(source):
        raise AssertionError(f"{len(source['properties'])} properties are checked")

    monkeypatch.setattr(Draft202012Validator, "check_schema", check)
    known = "property_0" if schema == LIVE else "description"
    assert prepared({known: "x"}, schema=schema, safeguards=safeguards).body
    with pytest.raises(TrutoSchemaError, match="/body/propperty_x"):
        prepared({"propperty_x": "x"}, schema=schema, safeguards=safeguards)
    with pytest.raises(TrutoSchemaError, match=f"/body/{known}: expects text"):
        prepared({known: 5}, schema=schema, safeguards=safeguards)


def test_a_schema_of_the_author_s_is_checked_itself():
    with pytest.raises(TrutoSchemaError, match="is not a valid JSON Schema"):
        prepared({"a": "x"}, schema={"properties": {"a": {"type": "varchar"}}}, safeguards=Safeguards())
