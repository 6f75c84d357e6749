"""What is read out of a run of a sync job, its list and its log; no call is made."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_provider_truto.client.sync_job_runs import (
    RunStart,
    count_synced,
    explain_failure,
    explain_undelivered,
    find_candidates,
    is_over,
    select_entries,
)
from airflow_provider_truto.emulator import ACME, GLOBEX

JOB = "11111111-0000-4000-8000-000000000001"
NOON = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)
START = RunStart(
    sync_job_id=JOB,
    integrated_account_id=ACME,
    error_handling="fail_fast",
    options={"args": {"since": "2024"}, "resources": ["crm/contacts"], "ignore_previous_run": False},
)


def run(**more):
    shown = {"args": {"since": "2024"}, "resources": ["crm/contacts"], "ignore_previous_run": False}
    common = {"id": "r", "sync_job_id": JOB, "integrated_account_id": ACME, "status": "running", **shown}
    return {**common, "created_at": "2026-11-26T12:00:01.000Z", **more}


def is_candidate(found, **asked):
    return bool(find_candidates([found], START, **{"since": NOON, "with_completed": True, **asked}))


@pytest.mark.parametrize(
    ("shown", "fits"),
    [
        ({}, True),
        ({"status": "created"}, True),
        ({"status": "rate_limited"}, True),
        ({"status": "something_new"}, True),
        ({"status": "completed"}, True),
        ({"status": "failed"}, False),
        ({"status": "stopped"}, False),
        ({"sync_job_id": "another"}, False),
        ({"integrated_account_id": GLOBEX}, False),
        ({"integrated_account_id": ACME.upper()}, True),
        ({"integrated_account_id": None}, False),
        ({"args": {"since": "2023"}}, False),
        ({"args": {"since": "2024", "added_by_truto": 1}}, True),
        ({"args": None, "resources": None}, True),
        ({"resources": ["crm/leads"]}, False),
        ({"ignore_previous_run": True}, False),
        ({"created_at": "2026-11-26T11:59:30Z"}, True),  # clocks differ
        ({"created_at": "2026-11-26T11:58:00Z"}, False),
        ({"created_at": "2026-11-26 12:00:01"}, True),
        ({"created_at": "yesterday"}, True),
        ({"created_at": "yesterday", "status": "completed"}, False),
        ({"id": None}, False),
    ],
)
def test_which_run_a_start_may_have_made(shown, fits):
    assert is_candidate(run(**shown)) is fits


def test_a_completed_run_counts_only_where_nothing_else_can_have_made_it():
    assert not is_candidate(run(status="completed"), with_completed=False)
    assert is_candidate(run(status="running"), with_completed=False)


def test_what_is_not_a_run_is_not_found():
    assert find_candidates(["text", None, {}], START, since=NOON, with_completed=True) == []


@pytest.mark.parametrize("status", ["completed", "failed", "stopped"])
def test_three_statuses_are_an_end(status):
    assert is_over({"status": status})


@pytest.mark.parametrize("status", ["created", "running", "rate_limited", "paused", None])
def test_no_other_status_is_one(status):
    assert not is_over({"status": status})


@pytest.mark.parametrize(
    ("stats", "counts"),
    [
        ({"crm/contacts": {"num_records": 5, "state": "done", "ok": True}}, {"crm/contacts": {"num_records": 5}}),
        ({"crm/contacts": 5, "x": "y"}, {"crm/contacts": 5}),
        ({}, {}),
        (None, {}),
        ([1], {}),
    ],
)
def test_numbers_are_taken_out_of_stats_of_an_unknown_shape(stats, counts):
    assert count_synced(stats) == counts


def test_only_the_entries_of_the_run_are_read():
    entries = [{"sync_job_run_id": "r", "n": 1}, {"sync_job_run_id": "other"}, "text", {}]
    assert list(select_entries(entries, "r")) == [{"sync_job_run_id": "r", "n": 1}]


def test_the_reason_of_a_failure_names_the_resources_each_reason_once():
    entries = [
        {"status": "completed", "resource": "crm/users", "logs": ["fine"]},
        {"status": "failed", "resource": "crm/contacts", "logs": ["No rights", {"code": 403}]},
        {"status": "failed", "resource": "crm/contacts", "logs": ["No rights", {"code": 403}]},
        {"status": "failed", "resource": "crm/leads", "logs": []},
        {"status": "failed", "logs": "a\nline"},
    ]
    assert explain_failure(entries) == 'crm/contacts: No rights; {"code": 403}; a line'


def test_no_reason_is_none_and_many_are_cut():
    assert explain_failure([]) == ""
    entries = [{"status": "failed", "resource": f"r{number}", "logs": ["x" * 2000]} for number in range(9)]
    told = explain_failure(entries)
    assert told.endswith("; and 4 more")
    assert len(told) < 4000


def test_a_secret_in_a_log_is_not_shown():
    told = explain_failure([{"status": "failed", "logs": [{"headers": {"Authorization": "Bearer abcdef123456"}}]}])
    assert "abcdef123456" not in told


def test_what_was_not_delivered_is_named_with_where_to():
    entries = [
        {"resource": "crm/contacts", "webhook_successful": False, "logs": ["It said 500"]},
        {"resource": "crm/leads", "datastore_successful": False},
        {"resource": "crm/users", "webhook_successful": True, "datastore_successful": None},
    ]
    assert explain_undelivered(entries) == "crm/contacts to the webhook: It said 500; crm/leads to the datastore"
    assert explain_undelivered(entries[2:]) == ""
