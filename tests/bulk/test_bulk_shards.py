"""A source split into shards: each record belongs to exactly one, and one report adds them up."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import pytest
from bulk_jobs import TASK, folder_of
from bulk_world import account_number
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from airflow_provider_truto.bulk.mapping import FunctionMapping
from airflow_provider_truto.bulk.record_parser import RecordParser
from airflow_provider_truto.bulk.report import merge_ledgers
from airflow_provider_truto.bulk.shards import Shard, parse_shard, shards
from airflow_provider_truto.bulk.sources.lists import ListSource
from airflow_provider_truto.bulk.sources.source import ShardedSource
from airflow_provider_truto.records.keys import RunSeen

ROW = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=4) | st.integers() | st.none(),
        "integrated_account_id": st.text(max_size=3) | st.none() | st.just(5),
        "body": st.dictionaries(st.text(max_size=3), st.integers()) | st.none(),
        "x": st.none(),
    },
)


def sharded(rows, count, by="account", **reading):
    source = ListSource(rows, RecordParser(**reading))
    return [ShardedSource(source, parse_shard(shard)) for shard in shards(count, by=by)]


@given(st.lists(ROW | st.integers() | st.none(), max_size=40), st.integers(1, 9), st.sampled_from(["account", "id"]))
def test_each_record_belongs_to_exactly_one_shard_whatever_is_wrong_with_it(rows, count, by):
    parts = [list(source.records()) for source in sharded(rows, count, by)]
    seen = sorted(record.ordinal for part in parts for record in part)
    assert seen == list(range(len(rows)))
    whole = {record.ordinal: record for record in ListSource(rows).records()}
    assert all(whole[record.ordinal] == record for part in parts for record in part), (
        "ordinals are those of the whole"
    )
    assert all(sorted(part, key=lambda record: record.ordinal) == part for part in parts), "they keep their order"


@given(st.lists(ROW, max_size=40), st.integers(2, 9), st.sampled_from(["account", "id"]), st.randoms())
def test_where_a_record_belongs_does_not_depend_on_the_order_of_the_rows(rows, count, by, chance: random.Random):
    """A query may return its rows in a different order to each shard."""

    def contents(order):
        return [
            Counter(json.dumps(rows[order[record.ordinal]], sort_keys=True) for record in source.records())
            for source in sharded([rows[place] for place in order], count, by)
        ]

    places = list(range(len(rows)))
    shuffled = chance.sample(places, len(places))
    assert contents(places) == contents(shuffled)


def rows_of(accounts, records):
    return [
        {"id": f"r{record}", "body": {"description": "x"}, "integrated_account_id": account_number(account)}
        for account in range(accounts)
        for record in range(records)
    ]


def test_a_customer_s_records_stay_together_by_account():
    parts = [list(source.records()) for source in sharded(rows_of(200, 3), 8)]
    accounts = [{record.integrated_account_id for record in part} for part in parts]
    assert sum(map(len, accounts)) == len(set().union(*accounts)) == 200
    assert min(map(len, accounts)) > 10, "and customers are spread over the shards"


def test_a_customer_who_is_named_in_two_ways_is_in_two_shards_as_the_page_says():
    ways = [{"integrated_account_id": account_number(0)}, {"tenant_id": "tenant-0"}, {}]
    rows = [{"id": "r1", "body": {"description": "x"}, **way} for way in ways]
    assert max(len(list(source.records())) for source in sharded(rows, 64)) == 1


def test_one_customer_s_records_are_spread_by_id_and_those_of_one_id_stay_together():
    rows = rows_of(1, 400) * 2
    parts = [list(source.records()) for source in sharded(rows, 4, "id")]
    ids = [{record.id for record in part} for part in parts]
    assert sum(map(len, ids)) == len(set().union(*ids)) == 400
    assert min(map(len, parts)) > 100


def test_records_of_the_default_customer_stay_together_by_account():
    rows = [{"id": str(number), "body": {"description": "x"}} for number in range(50)]
    assert sorted(len(list(source.records())) for source in sharded(rows, 3)) == [0, 0, 50]


def test_creates_have_no_id_and_are_spread_by_what_is_created():
    rows = [{"body": {"name": f"n{number}"}} for number in range(400)]
    parts = [len(list(source.records())) for source in sharded(rows, 4, "id", needs_id=False)]
    assert sum(parts) == 400
    assert min(parts) > 50


def test_rows_that_a_mapping_leaves_out_belong_to_one_shard_as_well():
    mapping = FunctionMapping(lambda row: None if row["n"] % 2 else {"id": str(row["n"]), "body": {"name": "x"}})
    parts = [list(source.records()) for source in sharded([{"n": n} for n in range(50)], 3, "id", mapping=mapping)]
    assert sorted(record.ordinal for part in parts for record in part) == list(range(50))


def test_the_spelling_of_an_account_does_not_move_it():
    for count in range(2, 9):
        upper, lower = ({"id": "1", "body": {}, "integrated_account_id": text} for text in ("AB-C", "ab-c"))
        held = [len(list(source.records())) for source in sharded([upper, lower], count)]
        assert sorted(held)[-1] == 2


def test_another_number_of_shards_is_another_source():
    rows = rows_of(2, 2)
    prints = {source.fingerprint() for count in (1, 2, 3) for source in sharded(rows, count)}
    assert len(prints | {source.fingerprint() for source in sharded(rows, 2, "id")}) == 8
    assert {source.count() for source in sharded(rows, 2)} == {None}


def test_shards_are_plain_json_for_expand():
    assert shards(2) == [{"index": 0, "count": 2, "by": "account"}, {"index": 1, "count": 2, "by": "account"}]
    assert json.loads(json.dumps(shards(3, by="id"))) == shards(3, by="id")


@pytest.mark.parametrize(
    "value", [(1, 3), [1, 3], {"index": 1, "count": 3}, {"index": 1, "count": 3, "by": "account"}]
)
def test_a_shard_can_be_written_in_several_ways(value):
    assert parse_shard(value) == Shard(index=1, count=3)


WRONG = [
    (3, 3),
    (-1, 3),
    (0, 0),
    ("0", "3"),
    (True, 3),
    (0.0, 3),
    {"index": 0},
    {"index": 0, "count": 2, "of": 3},
    (1, 2, 3),
]


@pytest.mark.parametrize("value", [*WRONG, "01", 5, None, {"index": 0, "count": 2, "by": "name"}], ids=repr)
def test_what_is_not_a_shard_is_an_error(value):
    with pytest.raises(ValueError, match=r"^shard: "):
        parse_shard(value)


@pytest.mark.parametrize("count", [0, -1, True, 1.5, "2"])
def test_so_many_shards_there_cannot_be(count):
    with pytest.raises(ValueError, match="shards: expects a number from 1"):
        shards(count)


# --------------------------------------------------------------------------------------------------------- one report


def run_shard(truto, output, source, index, **options):
    task = replace(TASK, map_index=index)
    before = options.pop("before", lambda summary: {**summary, "complete": True})
    ledger = folder_of(output, task)
    truto.run(source, output, task=task, **options)
    mark(ledger, before)


def mark(ledger, change):
    """The operator says whether a try has come to the end of its source."""
    for path in UPath(ledger).glob("*/summary-*.json"):
        path.write_text(json.dumps(change(json.loads(path.read_text()))))


def task_of(output):
    return folder_of(output).parent


def test_shards_together_do_every_record_once_and_one_report_adds_them_up(make_truto, output):
    truto = make_truto(accounts=12, records=5)
    rows = truto.rows()
    rows.insert(7, {"id": "r1", "body": {"nmae": "x"}, "integrated_account_id": account_number(3)})
    for index, source in enumerate(sharded(rows, 4)):
        run_shard(truto, output, source, index)
    truto.assert_applied(truto.rows())
    assert set(truto.writes().values()) == {1}
    report = merge_ledgers(task_of(output))
    whole = report.as_dict()
    assert (whole["records"], whole["updated"], whole["failed"], whole["shards"]) == (61, 60, 1, 4)
    assert (whole["unfinished"], report.failed_records, len(report.accounts)) == ([], 1, 12)
    assert next(iter(whole["accounts"].items())) == (
        account_number(3),
        {"updated": 5, "created": 0, "unchanged": 0, "failed": 1, "skipped": 0, "tolerated": 0},
    )
    (path,) = whole["failures"]
    (failed,) = map(json.loads, UPath(path).read_text().splitlines())
    assert (failed["ordinal"], failed["body"]) == (7, {"nmae": "x"})
    assert "nmae" in whole["first_problems"][0]
    assert json.loads(json.dumps(whole)) == whole


def test_problems_of_all_shards_are_told_once_a_customer_and_error_in_the_order_of_the_rows(make_truto, output):
    truto = make_truto(accounts=8, records=5)
    rows = [{**row, "body": {"nmae": "x"}} for row in truto.rows()]
    sources = sharded(rows, 4, "id")
    for index, source in enumerate(sources):
        run_shard(truto, output, source, index)
    told = merge_ledgers(task_of(output)).as_dict()["first_problems"]
    first = [next(n for n, row in enumerate(rows) if row["integrated_account_id"] == a) for a in truto.accounts]
    assert [text.partition(": ")[0] for text in told] == [
        f"record {rows[n]['id']} (row {n}) and 4 more like it, of customer {rows[n]['integrated_account_id']}"
        for n in first[:5]
    ]


def test_of_a_shard_s_tries_the_last_counts(truto, output):
    (source,) = sharded(truto.rows(), 1)
    truto.emulator.fault(status=500, times=None, skip=15)
    run_shard(truto, output, source, 0)
    assert merge_ledgers(task_of(output)).sums["updated"] < 40
    truto.repair()
    run_shard(truto, output, source, 0, try_number=2)
    report = merge_ledgers(task_of(output))
    assert (report.sums["updated"], report.failed_records, report.failures) == (40, 0, [])


def test_a_shard_that_was_killed_is_unfinished(truto, output):
    one, other = sharded(truto.rows(), 2)
    run_shard(truto, output, one, 0)
    run_shard(truto, output, other, 1)
    (ledger,) = UPath(folder_of(output, replace(TASK, map_index=1))).glob("0")
    (ledger / "results-2-killed-0.jsonl.part").write_text("")  # the try after that has left a part and no summary
    assert merge_ledgers(task_of(output)).unfinished == [1]
    (ledger / "results-2-killed-0.jsonl.part").unlink()
    mark(ledger.parent, lambda summary: {**summary, "complete": False})
    assert merge_ledgers(task_of(output)).unfinished == [1]


def test_ledgers_of_a_run_that_was_deleted_do_not_count_in_the_one_that_was_made_again(truto, output):
    truto.run(truto.rows(), output)
    (header,) = UPath(folder_of(output)).glob("0/header-*")
    stored = json.loads(header.read_text())
    header.write_text(json.dumps({**stored, "run": {"started": "10:00", "clears": 0}}))
    told = [merge_ledgers(task_of(output), run=RunSeen(started=hour, clears=0)).shards for hour in ("10:00", "11:00")]
    assert told == [1, 0]


def test_where_nothing_ran_the_report_says_so(output):
    assert merge_ledgers(task_of(output)).as_dict()["shards"] == 0


def test_a_bulk_that_is_not_mapped_has_one_shard(truto, output):
    truto.run(truto.rows(), output)
    mark(folder_of(output), lambda summary: {**summary, "complete": True})
    report = merge_ledgers(task_of(output))
    assert (report.shards, report.unfinished, report.sums["updated"]) == (1, [], 40)
