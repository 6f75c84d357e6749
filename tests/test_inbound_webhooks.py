"""``airflow-provider-inbound-webhooks`` takes what Truto signs, with the settings of docs/events.md."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from test_docs import EVENTS

from airflow_provider_truto.webhooks import parse_event

#: The other environments do not have it: it needs Airflow 3.1.1.
sources = pytest.importorskip("airflow_inbound_webhooks.sources")
naming = pytest.importorskip("airflow_inbound_webhooks.naming")
datastructures = pytest.importorskip("starlette.datastructures")

SECRET = "6e17561c-a20c-44ce-b8b5-caff0bf786fe"
BODY = json.dumps({"id": "evt_1", "event": "sync_job_run:completed", "payload": {"id": "run-1"}}).encode()


def headers(*, secret=SECRET, body=BODY, **more):
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    named = {"x-truto-signature": f"format=sha256,v={digest}", "content-type": "application/json", **more}
    return datastructures.Headers(named)


@pytest.fixture
def source():
    """The receiver's source, made of the extra of the connection on the page."""
    connection = json.loads(EVENTS.block("connection"))
    assert connection["conn_type"] == "inbound_webhook"
    return sources.SOURCE_TYPES[connection["extra"]["source_type"]].from_extra(connection["extra"])


def test_a_signed_delivery_is_taken_named_and_read(source):
    source.verify(headers(), BODY, SECRET)
    event = source.parse(headers(), BODY)
    assert event.delivery_id == "evt_1"
    assert naming.build_candidate_names("truto", event) == ["truto/sync_job_run:completed"]
    assert "truto/sync_job_run:completed" in EVENTS.text
    assert parse_event(event.payload).name == "sync_job_run:completed"


@pytest.mark.parametrize(
    "given",
    [
        headers(secret="another"),
        headers(body=BODY + b" "),
        headers(**{"x-truto-signature": "v=0"}),
        datastructures.Headers({"content-type": "application/json"}),
    ],
)
def test_a_delivery_that_truto_has_not_signed_is_refused(source, given):
    with pytest.raises(sources.WebhookVerificationError):
        source.verify(given, BODY, SECRET)
