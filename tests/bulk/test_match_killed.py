"""Workers that find and create records are killed: none is created twice, whether the CRM's lists show it or not."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import pytest
from bulk_jobs import TASK, end_or_kill, folder_of, is_done, start
from bulk_world import PASSING, read_ledger

from airflow_provider_truto.bulk.state.run_state import StateOptions
from airflow_provider_truto.emulator.http.faults import read_fault

MATCH = {"match_on": ["custom_fields.key", "website"], "on_missing": "create"}
SITES = 12


def rows_of(truto, night, chance):
    """Half of the sites are known to the CRM from the first night on; some rows are about one site."""
    rows = [
        {
            "body": {
                "name": f"Site {site}",
                "website": f"https://www.s{site}.example",
                "description": f"night {night}, {place}" if chance.random() < 0.5 else "as ever",
                "custom_fields": {"key": f"k{site}"},
            },
            "integrated_account_id": account,
        }
        for account in truto.accounts
        for place, site in enumerate([*range(SITES), *chance.sample(range(SITES), 4)])
    ]
    chance.shuffle(rows)
    return rows


def break_off(truto, chance):
    """Let a third of all calls fail in passing; lists show what there was before, or what there is."""
    before = {account: set(truto.state.records[account]["crm/accounts"]) for account in truto.accounts}

    def find_fault(call):
        if call.path[:3] != ("unified", "crm", "accounts"):
            return None
        if chance.random() < 0.3:
            return read_fault(chance.choice(PASSING))
        if call.method == "GET" and chance.random() < 0.5:
            account = call.integrated_account_id
            known = [truto.state.records[account]["crm/accounts"].get(record) for record in before[account]]
            return read_fault({"body": {"result": [show(one) for one in known if one is not None]}})
        return None

    truto.state.find_fault = find_fault


def show(native):
    properties = native["properties"]
    return {
        "id": native["id"],
        "website": properties.get("website"),
        "custom_fields": properties.get("customProperties", {}),
    }


def sites_of(truto, account):
    """The records of a customer by their sites."""
    records = truto.state.records[account]["crm/accounts"].values()
    return Counter(record["properties"]["website"].removeprefix("https://www.") for record in records)


def text_of(truto, account, site):
    (found,) = [
        record["properties"]["about"]
        for record in truto.state.records[account]["crm/accounts"].values()
        if record["properties"]["website"].endswith(site)
    ]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("has_state", [False, True])
def test_no_record_is_created_twice_however_often_a_worker_is_killed(
    make_truto, output, tmp_path, processes, has_state
):
    truto = make_truto(accounts=3, records=SITES // 2)
    for account in truto.accounts:
        for number, record in enumerate(truto.state.records[account]["crm/accounts"].values()):
            record["properties"].update(website=f"https://www.s{number}.example", about="as ever")
    chance, kills, night, created = random.Random(11), 0, 0, 0
    while kills < 50:
        night += 1
        rows = rows_of(truto, night, chance)
        task = replace(TASK, run_id=f"night {night}")
        state = {"state": StateOptions(folder=folder_of(output).parent / "state")} if has_state else {}
        break_off(truto, chance)
        for try_number in range(1, 100):
            result = tmp_path / f"result-{night}-{try_number}"
            options = {"task": task, "try_number": try_number, "match": MATCH, "client": {"max_wait": 8}, **state}
            process = start(processes, truto, result, rows, output, **options)
            kills += end_or_kill(process, after=0.1 + chance.random() * 0.4, may_kill=try_number < 12)
            if is_done(process, result):
                break
        truto.repair()
        summary = json.loads(result.read_text())
        created += summary["created"]
        assert (summary["failed"], summary["records"]) == (0, len(rows))
        for account in truto.accounts:
            assert sites_of(truto, account) == {f"s{site}.example": 1 for site in range(SITES)}
        last = {(row["integrated_account_id"], row["body"]["website"]): row["body"]["description"] for row in rows}
        wrong = [
            (site, text) for site, text in last.items() if text_of(truto, site[0], site[1].rpartition("/")[2]) != text
        ]
        assert wrong == []
        if not has_state:
            read = read_ledger(output, task=task)
            assert sorted(read.rows) == list(range(len(rows)))
            assert all(row["id"] and row["match"] for row in read.rows.values())
    executed = Counter(one["idempotency_key"] for one in truto.emulator.executions if one["method"] == "POST")
    assert len(executed) == SITES // 2 * 3
    assert set(executed.values()) == {1}
    assert created <= len(executed)
