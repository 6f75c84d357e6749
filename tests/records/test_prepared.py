"""The short way of a bulk's record says yes only where the long way would send the very same."""

from __future__ import annotations

import math
import time
from decimal import Decimal
from enum import Enum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_truto.client.endpoints import CACHE_TTL
from airflow_provider_truto.records.build import build_request
from airflow_provider_truto.records.coerce import coerce
from airflow_provider_truto.records.keys import TaskIdentity
from airflow_provider_truto.records.prepared import PreparedWrites
from airflow_provider_truto.records.request import RecordRequest, build_account_update
from airflow_provider_truto.records.validate import ValidRequest, load_body_schema, validate

ACCOUNT = "acae0000-0000-4000-8000-000000000001"
TASK = TaskIdentity(dag_id="dag", run_id="run", task_id="bulk", map_index=-1, generation="0")
RIGHT = {"name": "Initech", "number_of_employees": 140, "custom_fields": {"tier": "gold", "score": 0.5}}


class Tier(str, Enum):
    GOLD = "gold"


FIELDS = st.sampled_from(
    [
        *("name", "website", "number_of_employees", "phone_numbers", "owner", "custom_fields", "remote_data"),
        *("id", "ID", "integrated_account_id", "integratedAccountId", "tenant_id", "nmae", "created_at", "", 7),
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**53, 2**53 + 1, -(2**63), 10**400]),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["140", "true", "2026-01-31", "https://initech.example", "\ud800", Tier.GOLD, Decimal("0.1")]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.sampled_from(["id", "number", "type", "tier", 7]), inner, max_size=2),
    ),
    max_leaves=5,
)
BODIES = st.one_of(st.dictionaries(FIELDS, VALUES, max_size=3), VALUES)
IDS = st.one_of(st.sampled_from(["23", "a/b", "..", "", ACCOUNT, ACCOUNT.upper(), None, "é"]), st.text(max_size=4))
REQUESTS = {
    "update": build_account_update("1", RIGHT, integrated_account_id=ACCOUNT),
    "update by a schema": build_account_update(
        "1", RIGHT, integrated_account_id=ACCOUNT, schema={"properties": {"name": {"type": "string"}}}
    ),
    "update without a schema": build_account_update("1", RIGHT, integrated_account_id=ACCOUNT, schema=None),
    "create": RecordRequest(
        model="crm", resource="contacts", method="create", body=RIGHT, integrated_account_id=ACCOUNT
    ),
}


def prepare(request: RecordRequest) -> PreparedWrites:
    first = ValidRequest(request=request, body=b"{}")
    return PreparedWrites(request, build_request(first, task=TASK))


def go_the_long_way(request: RecordRequest) -> bytes | None:
    """Return what the pipeline would send."""
    schema = load_body_schema(request)
    coerced = coerce(request.body, schema.source if schema else {"type": ["object", "array"]})
    assert not coerced.problems
    return validate(request.replace(body=coerced.value), is_typed=True).body


@pytest.mark.parametrize("name", REQUESTS)
@given(record_id=IDS, body=BODIES)
@example(record_id="23", body=RIGHT)
@example(record_id=None, body=RIGHT)
def test_what_is_admitted_is_what_the_long_way_sends(name, record_id, body):
    request = REQUESTS[name]
    valid = prepare(request).admit(record_id, body)
    if valid is not None:
        assert valid.request == request.replace(record_id=record_id, body=body)
        assert valid.body == go_the_long_way(valid.request)
        task = TASK.of(7)
        assert build_request(valid, task=task) == build_request(valid._replace(similar=None), task=task)


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_right_is_admitted(name):
    record_id = None if name == "create" else "23"
    assert prepare(REQUESTS[name]).admit(record_id, RIGHT) is not None


@pytest.mark.parametrize(
    ("record_id", "body"),
    [
        ("23", {}),
        ("23", {"name": None}),
        ("23", {"phone_numbers": []}),
        ("23", {"custom_fields": {"score": math.nan}}),
        ("23", {"custom_fields": {"score": 2**53 + 1}}),
        ("23", {"custom_fields": {"tier": Tier.GOLD}}),
        ("23", {"custom_fields": {7: "gold"}}),
        ("23", {"number_of_employees": "140"}),
        ("23", {"number_of_employees": True}),
        ("23", {"nmae": "Initech"}),
        ("23", {"id": "24"}),
        ("23", {"custom_fields": {"a": "\ud800"}}),
        ("a/b", RIGHT),
        (ACCOUNT.upper(), RIGHT),
        (None, RIGHT),
    ],
)
def test_whatever_takes_a_closer_look_is_not_admitted(record_id, body):
    assert prepare(REQUESTS["update"]).admit(record_id, body) is None


def test_a_schema_from_truto_is_good_for_a_while(monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    live = REQUESTS["update by a schema"].replace(is_schema_valid=True)
    prepared = prepare(live)
    now += CACHE_TTL
    assert prepared.admit("23", RIGHT) is not None
    now += 1
    assert prepared.admit("23", RIGHT) is None
