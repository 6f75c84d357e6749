"""Customers, sources, faults at random, and ledgers read as a report would read them."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bulk_jobs import TASK, folder_of, run_job

from airflow_provider_truto.emulator import Emulator, default_seed
from airflow_provider_truto.emulator.http.faults import read_fault

#: The token of all calls; it may be seen on the wire and nowhere else.
PLANTED = "planted-9a41c7de-never-to-be-seen"
REMOTE = {"truto_is_remote_error": True, "truto_error_insight": {}, "error": "crm", "message": "The CRM is busy"}
#: Everything that goes wrong on the way and passes.
PASSING = (
    {"status": 429, "headers": {"retry-after": "1"}},
    {"status": 429, "headers": {"retry-after": "2"}, "body": {**REMOTE, "statusCode": 429}},
    {"status": 500},
    {"status": 500, "apply": True},
    {"status": 502, "text": "<html>Bad gateway</html>"},
    {"status": 503},
    {"status": 504, "apply": True},
    {"status": 408},
    {"status": 425},
    {"reset": "before"},
    {"reset": "after"},
    {"cut": 0},
    {"cut": 25},
    {"truncate": 25},
)


def account_number(number: int) -> str:
    return f"acc00000-0000-4000-8000-{number:012d}"


@dataclass
class Truto:
    """An emulator with numbered customers, each with numbered records."""

    emulator: Emulator
    accounts: list[str]
    ids: list[str]

    @property
    def url(self) -> str:
        return self.emulator.url

    @property
    def token(self) -> str:
        return self.emulator.token

    @property
    def state(self) -> Any:
        return self.emulator.state

    def rows(self, text: str = "new") -> list[dict[str, Any]]:
        """An update of every record of every customer, customer by customer."""
        return [
            {"id": record, "body": {"description": f"{text} {number}"}, "integrated_account_id": account}
            for number, (account, record) in enumerate(
                (account, record) for account in self.accounts for record in self.ids
            )
        ]

    def break_off(self, share: float, *, seed: int, kinds: Any = PASSING) -> Counter[str]:
        """From now on let so many of all writes fail in passing; return what has failed how often."""
        chance = random.Random(seed)
        seen: Counter[str] = Counter()

        def find_fault(call: Any) -> Any:
            if call.method != "PATCH" or chance.random() >= share:
                return None
            kind = chance.choice(kinds)
            seen[json.dumps(kind)] += 1
            return read_fault(kind)

        self.state.find_fault = find_fault
        return seen

    def repair(self) -> None:
        """Nothing fails any more."""
        vars(self.state).pop("find_fault", None)
        self.emulator.clear_faults()

    def text_of(self, account: str, record: str) -> Any:
        """What a record's description is now."""
        return self.state.records[account]["crm/accounts"][record]["properties"].get("about")

    def assert_applied(self, rows: list[dict[str, Any]]) -> None:
        """Every one of the rows has been written."""
        left = [
            row for row in rows if self.text_of(row["integrated_account_id"], row["id"]) != row["body"]["description"]
        ]
        assert left == []

    def writes(self) -> Counter[str]:
        """How often each key was executed."""
        return Counter(
            execution["idempotency_key"] for execution in self.emulator.executions if execution["method"] == "PATCH"
        )

    def run(self, source: Any, output: Any, **options: Any) -> dict[str, Any]:
        """One try of a bulk."""
        return run_job(self.url, self.token, source, output, **options)


def seed_of(accounts: list[str], ids: list[str]) -> dict[str, Any]:
    seed = default_seed()
    return {
        "tokens": [{"token": PLANTED, "expires_at": None}],
        "integrations": seed["integrations"],
        "integrated_accounts": [
            {"id": account, "tenant_id": f"tenant-{number}", "integration": "hubspot", "status": "active"}
            for number, account in enumerate(accounts)
        ],
        "records": {
            account: {"crm/accounts": [{"id": record, "name": f"Company {record}"} for record in ids]}
            for account in accounts
        },
    }


@dataclass
class Read:
    """A ledger as a report reads it: of each ordinal's rows, those with the highest `again`, a success or the latest.

    ``rows`` are those, ``lines`` all that were written; ``failed_lines`` is what stands in the failures of the try
    that ended last.
    """

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    failed_lines: list[dict[str, Any]] = field(default_factory=list)
    summaries: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[str]:
        return Counter(row["status"] for row in self.rows.values())


def read_ledger(output: Any, *, generation: int = 0, parts: bool = False, task: Any = TASK) -> Read:
    folder = Path(str(folder_of(output, task))) / str(generation)
    read = Read(names=sorted(path.name for path in folder.iterdir()))
    results = [path for path in folder.glob("results-*") if parts or path.suffix == ".jsonl"]
    for path in sorted(results, key=lambda path: int(path.name.split("-")[1])):
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                continue
            row = json.loads(line)
            read.lines.append(row)
            old = read.rows.get(row["ordinal"])
            again, known = row.get("again", 0), -1 if old is None else old.get("again", 0)
            is_open = old is None or old["status"] not in {"updated", "created", "unchanged"}
            if again > known or (again == known and is_open):
                read.rows[row["ordinal"]] = row
    summaries = sorted(folder.glob("summary-*.json"), key=lambda path: path.stat().st_mtime_ns)
    read.summaries = [json.loads(path.read_text()) for path in summaries]
    if read.summaries:
        for path in read.summaries[-1]["failures"]:
            read.failed_lines += map(json.loads, Path(path.removeprefix("file://")).read_bytes().splitlines())
    return read
