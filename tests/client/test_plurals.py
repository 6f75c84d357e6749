"""Numbers before nouns, and the messages that have them."""

from __future__ import annotations

from collections import Counter

import pytest

from airflow_provider_truto.bulk.messages import describe_end, describe_failures, describe_progress, describe_start
from airflow_provider_truto.bulk.preview import BulkPreview
from airflow_provider_truto.bulk.progress import Progress
from airflow_provider_truto.client.plurals import choose_form, count


@pytest.mark.parametrize(("number", "told"), [(0, "0 rows are"), (1, "1 row is"), (2, "2 rows are")])
def test_only_one_is_singular(number, told):
    assert f"{count(number, 'row')} {choose_form(number, 'is', 'are')}" == told


ONE = {
    **dict.fromkeys(("records", "updated", "requests"), 1),
    **dict.fromkeys(("created", "unchanged", "failed", "skipped"), 0),
}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (describe_start(rows=1, done=0, requests_per_second=0), "1 record; no pacing"),
        (describe_progress(Progress(total=1)), "0 of 1 record;"),
        (describe_progress(Progress(counts=Counter(updated=1))), "1 record;"),
        (describe_end(ONE), "1 record is done: 1 updated, 0 created, 0 unchanged, 0 failed, 0 skipped, by 1 call of"),
        (
            describe_failures(ONE | {"failed": 1, "first_problems": [], "failures": [], "ledger": "x"}),
            "1 of 1 record failed (1) or were skipped (0); 1 was written,",
        ),
        (BulkPreview(rows=1, of_accounts={"a": Counter()}).describe(), "1 row of 1 customer: nothing to do"),
    ],
)
def test_messages_about_one_are_in_the_singular(message, told):
    assert message.startswith(told)
