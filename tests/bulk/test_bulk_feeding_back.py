"""Failures that are fed back mean what they meant: the same customer, the same values, or they are refused."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from bulk_operator import run
from bulk_world import account_number
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.bulk.record import Record, parse_record
from airflow_provider_truto.bulk.result_row import ResultRow, encode_failed_body, encode_failure
from airflow_provider_truto.records.coerce import coerce
from airflow_provider_truto.records.render import Missing

AWARE = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))


def line_of(record, **options):
    """The line of a failed record, as a reader finds it."""
    row = ResultRow(ordinal=record.ordinal, id=record.id, integrated_account_id="a", status="failed")
    return json.loads(
        encode_failure(row, encode_failed_body(record, **{"on_none": "error", **options})),
        parse_constant=lambda name: pytest.fail(f"{name} is not JSON"),
    )


def local(path):
    return Path(path.removeprefix("file://"))


def failures_of(counts):
    return [json.loads(line) for path in counts["failures"] for line in local(path).read_text().splitlines()]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("id,integrated_account_id,name\nr1,,Meant for another\n", "rows.csv"),
        ('{"id": "r1", "integrated_account_id": null, "body": {"name": "Meant for another"}}\n', "rows.jsonl"),
        ('{"id": "r1", "integrated_account_id": "", "body": {"name": "Meant for another"}}\n', "rows.jsonl"),
        ('{"id": "r1", "integrated_account_id": 1.5, "body": {"name": "Meant for another"}}\n', "rows.jsonl"),
    ],
)
def test_a_row_that_names_an_empty_customer_stays_refused_when_it_is_fed_back(text, name, one, task, tmp_path):
    default = account_number(0)
    source = tmp_path / name
    source.write_text(text)
    first = run(task(str(source), integrated_account_id=default, max_failures=None))
    assert (first["failed"], failures_of(first)[0]["integrated_account_id"]) == (1, "")
    again = run(
        task(first["failures"][0], integrated_account_id=default, max_failures=None, output_path=f"{tmp_path}/again")
    )
    assert (again["failed"], again["updated"]) == (1, 0)
    assert one.emulator.requests == []


def test_a_row_that_names_no_customer_is_fed_back_to_the_one_it_was_for(one, task, tmp_path):
    """Also where the default is a different one by then."""
    rows = [{"id": "r1", "body": {"number_of_employees": "many"}}, {"id": "gone", "body": {"name": "x"}}]
    counts = run(task(rows, integrated_account_id=account_number(1), max_failures=None))
    assert [line["integrated_account_id"] for line in failures_of(counts)] == [account_number(1)] * 2


def test_rows_that_are_not_records_count_for_no_customer(one, task):
    counts = run(
        task([7, {"id": "r1", "body": {"name": "x"}}], integrated_account_id=account_number(0), max_failures=None)
    )
    [summary] = local(counts["ledger"]).glob("summary-*.json")
    accounts = json.loads(summary.read_text())["accounts"]
    assert accounts[account_number(0)] == {"updated": 1}
    assert accounts[""] == {"failed": 1}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("text", "text"),
        (7, 7),
        (0.1, 0.1),
        (None, None),
        (True, True),
        (Decimal("12.50"), 12.5),
        (Decimal("40"), 40),
        (date(2026, 1, 31), "2026-01-31"),
        (AWARE, "2026-01-31T10:00:00.000Z"),
        (UUID(int=7), str(UUID(int=7))),
        ((1, 2), [1, 2]),
        (Missing("the column website"), None),
        (float("nan"), None),
    ],
)
def test_a_value_that_json_holds_is_written_as_it_would_be_sent(value, written):
    line = line_of(Record(ordinal=0, id="r1", body={"custom_fields": {"x": value}}, nulls_are_meant=True))
    assert line["body"] == {"custom_fields": {"x": written}}
    assert "unwritable" not in line
    assert parse_record(line, 0).problems == ()


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        {1, 2},
        float("inf"),
        Decimal("0.1234567890123456789"),
        datetime(2026, 1, 31, 12),
        "half a character \ud800",
    ],
    ids=repr,
)
def test_a_value_that_json_cannot_hold_is_named_and_refused_when_it_is_fed_back(value):
    record = Record(ordinal=0, id="r1", body={"name": "x", "custom_fields": {"x": value}})
    line = line_of(record)
    assert line["body"]["name"] == "x"
    [pointer] = line["unwritable"]
    assert pointer in {"/custom_fields/x", ""}
    [problem] = parse_record(line, 0).problems
    assert problem.pointer == f"/body{pointer}"
    assert "unwritable" in problem.message


def test_a_value_that_was_left_out_is_left_out_again():
    record = Record(
        ordinal=0, id="r1", body={"name": "x", "website": Missing("row.site is None")}, nulls_are_meant=True
    )
    assert line_of(record, on_none="omit")["body"] == {"name": "x"}
    assert line_of(record, on_none="null")["body"] == {"name": "x", "website": None}


def test_a_line_that_was_corrected_is_a_record_again():
    line = line_of(Record(ordinal=0, id="r1", body={"name": b"x"}))
    del line["unwritable"]
    line["body"]["name"] = "x"
    assert parse_record(line, 0) == Record(ordinal=0, id="r1", body={"name": "x"}, integrated_account_id="a")


scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.text(), st.binary(), st.uuids()),
    st.dates(),
    st.datetimes(timezones=st.one_of(st.none(), st.just(timezone.utc))),
    st.builds(Missing, st.just("nothing")),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(body=st.dictionaries(st.text(max_size=3), values, max_size=4), on_none=st.sampled_from(["omit", "null"]))
def test_what_is_fed_back_is_what_would_have_been_sent_or_it_is_refused(body, on_none):
    sent = coerce(body, {}, on_none=on_none, data_of="the record")
    line = line_of(Record(ordinal=0, id="r1", body=body), on_none=on_none)
    record = parse_record(line, 0, needs_body=False)
    if sent.problems:
        assert record.problems
    elif not record.problems:
        again = coerce(record.body, {}, on_none=on_none, data_of="the record")
        assert again.value == sent.value


def test_the_failures_of_a_bulk_are_the_source_of_another_as_xcom_has_them(one, task, tmp_path):
    """A list of paths, whose files are read one after the other."""
    rows = one.rows()
    one.emulator.fault(times=None, status=422, path="r7")
    first = run(task(rows, max_failures=None))
    one.repair()
    extra = tmp_path / "more.jsonl"
    extra.write_text(json.dumps({**rows[0], "body": {"description": "once more"}}) + "\n")
    again = run(task([*first["failures"], f"file://{extra}"], output_path=f"file://{tmp_path}/again"))
    assert (first["failed"], again["updated"]) == (4, 5)
    one.assert_applied(rows[1:])
    assert one.text_of(account_number(0), "r0") == "once more"


def test_a_list_of_paths_and_records_is_read_as_records(one, task, tmp_path):
    counts = run(task([f"file://{tmp_path}/rows.jsonl", *one.rows()[:1]], max_failures=None))
    assert (counts["failed"], counts["updated"]) == (1, 1)
