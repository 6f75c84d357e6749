"""What a bulk says in the log: before the first write, while it runs, and at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_truto.bulk.result_row import count_failures
from airflow_provider_truto.client.plurals import choose_form, count
from airflow_provider_truto.client.rate_limiter import ACCOUNT_RATE, TIER_SECONDS, TOKEN_RATE

if TYPE_CHECKING:
    from airflow_provider_truto.bulk.progress import Progress


def describe_start(*, rows: int | None, done: int, requests_per_second: float | None) -> str:
    """Return how many records there are, how fast they may go, and how long it takes at least.

    ``rows`` is ``None`` where it is not known, ``done`` are those of earlier tries; the rate is the connection's.
    """
    text = "An unknown number of records" if rows is None else count(rows, "record")
    if requests_per_second == 0:
        return f"{text}; no pacing"
    of_all = TOKEN_RATE if requests_per_second is None else requests_per_second
    of_one = min(ACCOUNT_RATE, of_all)
    text += f"; {of_all:g} calls per second in this process, {of_one:g} per account"
    if rows is not None:
        at_least, for_one = (_describe_shortest(rows - done, rate) for rate in (of_all, of_one))
        text += f"; at least {at_least}, for a single customer {for_one}"
    return text


def describe_progress(progress: Progress) -> str:
    """Return how far a bulk is: ``12000 of 40000 records, 48.0 per second, 9 min 43 s left; 3 failed or skipped``."""
    done, total = progress.done, progress.total
    text = count(done, "record") if total is None else f"{done} of {count(total, 'record')}"
    if progress.rate is not None:
        text += f", {progress.rate:.1f} per second"
    if (left := progress.seconds_left) is not None:
        text += f", {describe_duration(left)} left"
    return f"{text}; {progress.failures} failed or skipped"


def describe_end(summary: Mapping[str, Any]) -> str:
    """Return what became of the records of a bulk that came to its end."""
    return (
        f"{count(summary['records'], 'record')} {choose_form(summary['records'], 'is', 'are')} done:"
        f" {summary['updated']} updated, {summary['created']} created,"
        f" {summary['unchanged']} unchanged, {summary['failed']} failed, {summary['skipped']} skipped, by"
        f" {count(summary['requests'], 'call')} of this try"
    )


def describe_failures(summary: Mapping[str, Any]) -> str:
    """Return how many records failed, where they are, and what the first problems were."""
    failures = count_failures(summary)
    written = summary["updated"] + summary["created"]
    problems = "".join(f"\n  {problem}" for problem in summary["first_problems"])
    counted = " The first problems (rows are counted from 0, as in the ledger):" if problems else ""
    return (
        f"{failures} of {count(summary['records'], 'record')} failed ({summary['failed']}) or were skipped"
        f" ({failures - summary['failed']}); {written} {choose_form(written, 'was', 'were')} written,"
        f" {summary['unchanged']} needed no write{describe_tolerated(summary)}."
        f" They are in {', '.join(summary['failures']) or summary['ledger']}, which can be a source again."
        f"{counted}{problems}"
    )


def describe_tolerated(summary: Mapping[str, Any]) -> str:
    """Return how many records were passed over on purpose; nothing where none was."""
    number = summary.get("tolerated", 0)
    return f", {number} {choose_form(number, 'was', 'were')} passed over on purpose" if number else ""


def list_doubts(progress: Progress, *, verify: str | None) -> Iterator[str]:
    """Return what this try's answers leave in doubt; the fields that they do not confirm under ``verify="warn"``."""
    if progress.others:
        yield (
            f"{progress.others} of this try's answers {choose_form(progress.others, 'is', 'are')} about another"
            " record than the one that was asked for, the"
            f" first that of {progress.first_other}. A CRM that merged the two does this rightly; if it did not, the"
            " answer is another request's: look at both records. The ledger has /id among their not_confirmed"
        )
    if verify == "warn" and progress.unconfirmed:
        yield (
            f"{progress.unconfirmed} of this try's writes {choose_form(progress.unconfirmed, 'was', 'were')} answered"
            " with success, but the answer does not confirm all of their fields, the first of"
            f" {progress.first_unconfirmed}. The integration may not map these, or the CRM kept its own values. The"
            " ledger has them as not_confirmed"
        )
    if progress.repeated:
        yield (
            f"{count(progress.repeated, 'row')} of this try {choose_form(progress.repeated, 'was', 'were')} about a"
            " record that an earlier row was about. The first is"
            f" {progress.first_repeated}. The ledger says so in their messages"
        )


def describe_absent_shards(missing: Sequence[int], *, folder: Any, task_id: str) -> str:
    """Return which shards of a task have no ledger; none at all where nothing is named as missing."""
    named = f"those of the shards {', '.join(map(str, missing))} are missing" if missing else "there is none"
    return (
        f"Not every shard has a ledger in {folder}: {named}. Did their tasks run? If they did: is output_path that of"
        f" {task_id!r}, and do all workers share it?"
    )


def describe_duration(seconds: float) -> str:
    """Write a time as people say it: ``55 h 33 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _describe_shortest(rows: int, rate: float) -> str:
    return describe_duration(max(0.0, rows / rate - TIER_SECONDS))  # what a window holds may go out at once
