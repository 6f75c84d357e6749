"""Nights at random: sources that change, and bulks that are killed, cleared, stopped, refused and left half done.

Whatever has happened: no record is created twice, the state claims nothing that the CRM does not hold, a summary says
what the ledger says, a night that ended well has written what its source says, and a quiet one sends nothing.
``SEEDS=first-last`` runs the random seeds of that range instead of the few that are always run.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from bulk_jobs import LONGEST, TASK, TEMPLATE, run_job
from bulk_world import PASSING, Truto, account_number, read_ledger, seed_of
from upath import UPath

from airflow_provider_truto.bulk.brakes import StopRule
from airflow_provider_truto.bulk.completed import CompletedRecords
from airflow_provider_truto.bulk.plan import Plan
from airflow_provider_truto.bulk.record import Record
from airflow_provider_truto.bulk.state.changes import ChangeFilter
from airflow_provider_truto.bulk.state.run_state import StateOptions
from airflow_provider_truto.bulk.state.store import StateStore
from airflow_provider_truto.emulator import Emulator
from airflow_provider_truto.emulator.http.faults import read_fault
from airflow_provider_truto.records.coerce import CoercionOptions

pytestmark = pytest.mark.slow

FIRST, _, LAST = os.environ.get("SEEDS", "0-3").partition("-")
SEEDS = range(int(FIRST), int(LAST) + 1)
NIGHTS = 8
#: How the rows of a source name their records.
BY_ID, BY_MATCH, BY_BOTH = "id", "match", "id or match"
#: So few that most nights meet what an earlier one has left, and many a text comes back.
KNOWN, NEW = ["r0", "r1", "r2"], ["x0"]
TEXTS = ["one text", "another"]
REFUSALS = ({"status": 403}, {"status": 404}, {"status": 422})
MAY_END_A_TRY = {"StoppedError", "TrutoSchemaError", "UnfinishedError"}
DONE_WITH = ("updated", "created", "unchanged", "failed", "skipped")


def site(name):
    return f"https://{name}.example"


class Source:
    """Rows that change from night to night."""

    def __init__(self, chance, naming, accounts):
        self.chance, self.naming, self.accounts = chance, naming, accounts
        self.names = KNOWN if naming == BY_ID else KNOWN + NEW
        self.rows = [self.make_row(a, name) for a in accounts for name in KNOWN if chance.random() < 0.8]
        self.before = list(self.rows)

    def make_row(self, account, name):
        body = {"description": self.chance.choice(TEXTS)}
        if self.naming == BY_MATCH or (self.naming == BY_BOTH and self.chance.random() < 0.5):
            return {"integrated_account_id": account, "body": {**body, "website": site(name), "name": name}}
        return {"integrated_account_id": account, "body": body, "id": name}

    def change(self):
        """Edit some rows, or turn back to what the source was the night before."""
        before, self.before = self.before, list(self.rows)
        if self.chance.random() < 0.25:
            self.rows = list(before)
            return
        changes = [self.add, self.remove, self.edit, self.edit, self.repeat, self.swap, self.mix]
        for _ in range(self.chance.choice([0, 1, 2, 4])):
            (self.chance.choice(changes) if self.rows else self.add)()

    def add(self):
        self.rows.append(self.make_row(self.chance.choice(self.accounts), self.chance.choice(self.names)))

    def remove(self):
        self.rows.pop(self.chance.randrange(len(self.rows)))

    def edit(self):
        at = self.chance.randrange(len(self.rows))
        self.rows[at] = self.with_another_text(self.rows[at])

    def repeat(self):
        again = self.with_another_text(self.chance.choice(self.rows))
        self.rows.insert(self.chance.randrange(len(self.rows) + 1), again)

    def swap(self):
        """Two rows change their customers."""
        one, other = (self.chance.randrange(len(self.rows)) for _ in range(2))
        accounts = [self.rows[at]["integrated_account_id"] for at in (other, one)]
        for at, account in zip((one, other), accounts, strict=True):
            self.rows[at] = {**self.rows[at], "integrated_account_id": account}

    def mix(self):
        self.chance.shuffle(self.rows)

    def with_another_text(self, row):
        return {**row, "body": {**row["body"], "description": self.chance.choice(TEXTS)}}

    def by_record(self):
        """The rows of each record that is meant, in the source's order."""
        rows = defaultdict(list)
        for row in self.rows:
            name = row.get("id") or row["body"]["name"]
            rows[row["integrated_account_id"], name].append(row)
        return rows

    def write(self, path):
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return str(path)


class Nights:
    """One task, night after night, with one state."""

    def __init__(self, seed, naming, truto, folder, processes):
        self.chance, self.naming, self.truto, self.folder = random.Random(seed), naming, truto, folder
        self.processes, self.source = processes, Source(self.chance, naming, truto.accounts)
        self.output, self.state, self.count, self.told = folder / "ledgers", UPath(folder / "state"), 0, []

    def pass_one(self):
        """Let the source change and its bulk be tried, until a try has done what can be done; then look."""
        self.count += 1
        self.source.change()
        self.source.write(self.folder / f"source-{self.count}.jsonl")
        options, trouble = self.choose_options(), self.choose_trouble()
        is_done, summary, generation = False, None, 0
        for number in range(1, self.chance.choice([1, 1, 2, 3, 5]) + 1):
            if number > 1 and self.chance.random() < 0.35:
                generation += 1
                options["on_clear"] = self.chance.choice(["resume", "resume", "restart"])
            summary = self.run_try(number, generation, options, trouble)
            if is_done := summary is not None and not summary["transient_failures"]:
                break
        self.assert_nothing_is_created_twice()
        if is_done and summary["failed"] == summary["skipped"] == 0 and not trouble["unconfirmed"]:
            self.assert_applied()
        if self.chance.random() < 0.2:
            self.pass_two_without_faults(options)

    def pass_two_without_faults(self, options):
        options = {name: options[name] for name in {"state", "match"} & options.keys()}
        options["state"] = replace(options["state"], full_every=None, is_only_kept=False)
        for is_quiet in (False, True):
            self.count += 1
            before = len(self.truto.emulator.executions)
            source = self.source.write(self.folder / f"source-{self.count}.jsonl")
            summary = run_job(self.truto.url, self.truto.token, source, self.output, task=self.task(), **options)
            self.told.append((self.count, "no faults", summary))
            self.assert_nothing_is_created_twice()
            self.assert_state_is_true()
            if summary["failed"] == summary["skipped"] == 0:
                self.assert_applied()
                sent = self.truto.emulator.executions[before:]
                meant = self.source.by_record().values()
                if is_quiet and all(len({str(row["body"]) for row in rows}) == 1 for rows in meant):
                    assert [call for call in sent if call["method"] != "GET"] == []

    def choose_options(self):
        removed = ["ignore", "report"] + (["delete", "clear_fields"] if self.naming == BY_ID else [])
        options = {
            "state": StateOptions(
                folder=self.state,
                is_only_kept=self.chance.random() < 0.15,
                full_every=self.chance.choice([None, None, None, timedelta(0)]),
                on_removed=self.chance.choice(removed),
                max_removed=None,
            ),
            "concurrency": self.chance.choice([1, 4, 16]),
            "client": {"max_attempts": self.chance.choice([1, 2, 3])},
        }
        if options["state"].is_only_kept:
            options["state"] = StateOptions(folder=self.state, is_only_kept=True)
        if self.naming != BY_ID:
            options["match"] = {"match_on": "website", "on_missing": "create"}
        if self.chance.random() < 0.2:
            options["validate_first"] = True
        if self.chance.random() < 0.3:
            options["verify"] = "fail"
        if self.chance.random() < 0.2:
            options["stop_after"] = StopRule(self.chance.choice([2, 5]))
        return options

    def choose_trouble(self):
        """How often a call fails in passing, is refused, or is answered without the values that were sent."""
        return {
            "passing": self.chance.choice([0, 0, 0.2, 0.5]),
            "refused": self.chance.choice([0, 0.1, 0.25]),
            "unconfirmed": self.chance.choice([0, 0, 0.1]),
        }

    def run_try(self, number, generation, options, trouble):
        """Run a try in a process of its own; return its summary, if it came to that."""
        result = self.folder / f"result-{self.count}-{number}"
        source = str(self.folder / f"source-{self.count}.jsonl")
        options = {**options, "task": self.task(generation), "try_number": number}
        arguments = (result, self.truto.url, self.truto.token, source, str(self.output))
        process = self.processes.Process(target=tell_end, args=arguments, kwargs=options, daemon=True)
        self.make_trouble(process, self.chance.choice([None, self.chance.randrange(1, 5)]), **trouble)
        process.start()
        process.join(LONGEST)
        assert process.exitcode in {0, -9}, "hangs, or fails of what nobody expects"
        self.truto.repair()
        self.let_claims_run_out()
        told = json.loads(result.read_text()) if process.exitcode == 0 else {"error": "killed"}
        self.told.append((self.count, number, generation, options, trouble, told))
        if "error" in told:
            return None
        self.assert_summary_is_that_of_the_ledger(told)
        self.assert_state_is_true()
        return told

    def make_trouble(self, process, kill_at, *, passing, refused, unconfirmed):
        chance, count = random.Random(self.chance.random()), 0

        def find_fault(call):
            nonlocal count
            is_write = call.method != "GET"
            if call.path[:3] != ("unified", "crm", "accounts") or not (is_write or self.naming != BY_ID):
                return None
            count += 1
            if kill_at is not None and count >= kill_at:
                process.kill()
                return None if chance.random() < 0.6 else read_fault({"reset": "before"})
            if chance.random() < passing:
                return read_fault(chance.choice(PASSING))
            if is_write and chance.random() < refused:
                return read_fault(chance.choice(REFUSALS))
            if call.method == "PATCH" and chance.random() < unconfirmed:
                answer = {"status": 200, "body": {"id": call.path[-1]}, "apply": chance.random() < 0.5}
                return read_fault(answer)
            return None

        self.truto.state.find_fault = find_fault

    def let_claims_run_out(self):
        """What a killed try holds is free again after five minutes."""
        for claim in self.folder.glob("state/**/claim-*.json"):
            claim.write_text(json.dumps({**json.loads(claim.read_text()), "held_until": 0}))

    def task(self, generation=0):
        return replace(TASK, run_id=f"night-{self.count}", generation=str(generation))

    def rows_of_one_kind(self):
        """The rows of each record that is always named in the same way; of others, nobody knows which comes last."""
        by_record = self.source.by_record().values()
        return [rows for rows in by_record if len({"id" in row for row in rows}) == 1]

    def find_record(self, row):
        """What the CRM holds of the record that a row means, if there is one."""
        records = self.truto.state.records[row["integrated_account_id"]]["crm/accounts"]
        website = row["body"].get("website") or site(row["id"])
        return next((found["properties"] for found in records.values() if website_of(found) == website), None)

    def assert_applied(self):
        for rows in self.rows_of_one_kind():
            found = self.find_record(rows[-1])
            if found is None:
                assert "id" in rows[-1], "a row that should have created its record"
            else:
                assert found["about"] == rows[-1]["body"]["description"], rows

    def assert_nothing_is_created_twice(self):
        for account in self.truto.accounts:
            found = Counter(map(website_of, self.truto.state.records[account]["crm/accounts"].values()))
            assert [name for name, times in found.items() if times > 1] == []

    def assert_state_is_true(self):
        latest = StateStore(self.state / "the-truto").find_latest()
        if latest is None:
            return
        with closing(sqlite3.connect(f"file:{latest.path}?mode=ro", uri=True)) as database:
            records = database.execute(
                "SELECT (SELECT text FROM texts WHERE number = account), id, hash FROM records WHERE hash IS NOT NULL"
            ).fetchall()
        for account, record, content in records:
            found = self.truto.state.records[account]["crm/accounts"].get(record)
            assert found is not None, f"the state knows {record} of {account}, which is not there"
            assert TEXT_OF_HASH.get(content) == found["properties"].get("about"), f"{record} of {account}"

    def assert_summary_is_that_of_the_ledger(self, summary):
        read = read_ledger(self.output, generation=summary["generation"], task=self.task())
        assert {name: read.statuses[name] for name in ("updated", "created", "failed")} == {
            name: summary[name] for name in ("updated", "created", "failed")
        }
        assert summary["records"] == sum(summary[name] for name in DONE_WITH)
        for name in DONE_WITH:
            assert summary[name] == sum(account.get(name, 0) for account in summary["accounts"].values())
        if summary["complete"]:
            removed = sum(1 for row in read.rows.values() if row.get("on_removed"))
            assert summary["records"] == len(self.source.rows) + removed


def tell_end(result, *arguments, **options):
    """What a process of its own does: leave the summary, or the name of the error that a try may end with."""
    try:
        told = run_job(*arguments, **options)
    except Exception as error:
        if type(error).__name__ not in MAY_END_A_TRY:
            raise
        told = {"error": type(error).__name__}
    result.write_text(json.dumps(told))


def website_of(record):
    return record["properties"].get("website")


def hash_texts():
    """The text that each hash of a state stands for; ``None`` for one that was cleared."""
    plan = Plan(template=TEMPLATE, coercion=CoercionOptions())
    changes = ChangeFilter(None, plan, is_full=True, completed=CompletedRecords(), find_account=lambda _: "")
    bodies = [{"description": text} for text in (*TEXTS, None)]
    bodies += [{"description": text, "website": site(name), "name": name} for text in TEXTS for name in KNOWN + NEW]
    return {changes._hash_content(Record(ordinal=0, body=body)): body["description"] for body in bodies}


TEXT_OF_HASH = hash_texts()


@pytest.mark.parametrize("naming", [BY_ID, BY_MATCH, BY_BOTH])
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_in_a_night_the_crm_the_state_the_ledger_and_the_summary_agree(
    tmp_path, processes, seed, naming
):
    accounts = [account_number(number) for number in range(2)]
    with Emulator(seed_of(accounts, KNOWN)) as emulator:
        truto = Truto(emulator, accounts, KNOWN)
        for account in accounts:
            for name, record in truto.state.records[account]["crm/accounts"].items():
                record["properties"]["website"] = site(name)
        nights = Nights(seed, naming, truto, tmp_path, processes)
        for _ in range(NIGHTS):
            nights.pass_one()
