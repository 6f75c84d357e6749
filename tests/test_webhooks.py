"""Bodies of Truto's webhooks; ``test_inbound_webhooks.py`` has a receiver check a signed one."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from airflow_provider_truto.emulator import ACME, GLOBEX
from airflow_provider_truto.webhooks import TrutoEvent, parse_event

NOON = datetime(2024, 9, 10, 12, tzinfo=timezone.utc)
BODY = {
    "id": "evt_1",
    "event": "integrated_account:active",
    "payload": {"id": ACME, "tenant_id": "acme", "status": "active"},
    "environment_id": "9c2e",
    "webhook_id": "ww01",
    "created_at": "2024-09-10 12:00:00",
}
EVENT = TrutoEvent(
    name="integrated_account:active",
    payload=BODY["payload"],
    id="evt_1",
    integrated_account_id=ACME,
    tenant_id="acme",
    webhook_id="ww01",
    environment_id="9c2e",
    created_at=NOON,
)
RUN = {"id": "run-1", "integrated_account_id": ACME, "status": "completed"}


@pytest.mark.parametrize("body", [BODY, json.dumps(BODY), json.dumps(BODY).encode()])
def test_an_event_is_read_of_text_and_of_what_a_receiver_has_made_of_it(body):
    event = parse_event(body)
    assert event == EVENT
    assert event.subject == "integrated_account"


def test_the_event_s_name_may_stand_under_both_keys_of_truto_s_pages():
    renamed = {"event_type" if key == "event" else key: value for key, value in BODY.items()}
    assert parse_event(renamed) == parse_event({**BODY, **renamed}) == EVENT


@pytest.mark.parametrize(
    ("name", "payload", "more", "customer"),
    [
        ("sync_job_run:completed", RUN, {}, (ACME, None)),
        ("record:updated", {"integrated_account": {"id": ACME, "tenant_id": "acme"}, "id": "1"}, {}, (ACME, "acme")),
        ("record:updated", {"id": "1"}, {"tenant_id": "acme", "integrated_account_id": ACME}, (ACME, "acme")),
        (
            "record:updated",
            {"integrated_account_id": ACME},
            {"integrated_account_id": ACME.upper()},
            (ACME, None),
        ),
        ("record:updated", {"id": "1"}, {}, (None, None)),
        ("test", {"foo": "bar"}, {}, (None, None)),
        ("test", None, {}, (None, None)),
    ],
)
def test_the_customer_is_found_where_the_body_names_one(name, payload, more, customer):
    event = parse_event({"event": name, "payload": payload, **more})
    assert (event.integrated_account_id, event.tenant_id) == customer
    assert event.payload == (payload or {})
    assert (event.id, event.created_at) == (None, None)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (None, "no body"),
        (b"", "not JSON"),
        ("{", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        ([BODY], "not a JSON object"),
        ("7", "not a JSON object"),
        ({}, "names no event"),
        ({"event": ""}, "names no event"),
        ({"event": ["a"]}, "names no event"),
        ({"event": "a", "event_type": "b"}, "names two events"),
        (
            {"event": "a", "payload": {"integrated_account_id": ACME, "integrated_account": {"id": GLOBEX}}},
            "two integ",
        ),
        (
            {"event": "integrated_account:active", "payload": {"id": ACME}, "integrated_account_id": GLOBEX},
            "two integ",
        ),
        ({"event": "a", "payload": {"tenant_id": "acme"}, "tenant_id": "globex"}, "names two tenants"),
        ({"event": "a", "payload": "x" * 10_000}, "payload of the event 'a'"),
    ],
)
def test_what_is_not_an_event_is_refused_with_a_short_reason(body, why):
    with pytest.raises(ValueError, match=why) as refused:
        parse_event(body)
    assert len(str(refused.value)) < 400
