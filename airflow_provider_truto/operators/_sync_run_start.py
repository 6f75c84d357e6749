"""Starting a run of a sync job once, however often its task is tried.

Truto's ``POST /sync-job-run`` has no idempotency key, and its list of runs has no filters. So before a run is started
a second time, one is looked for that an earlier try, or an answer that was lost, may have left behind:

- Since Airflow 3.3 the task state store holds what this generation of tries has started (see ``RunningTask``): first
  since when, then the id. A try that finds an id looks at that run, one that finds none looks at all runs since then.
- Airflow 2 shows the tries before this one, and those of this generation have its ``max_tries``. Airflow 3.0 to 3.2
  show only when the DAG run began: there, only runs that still live are taken for this task's.

A run that failed or was stopped was seen by the try that failed of it: a retry starts another. A cleared task is
another generation, and starts another run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_truto._compat import list_earlier_tries
from airflow_provider_truto.airflow_errors import TrutoSyncJobRunError
from airflow_provider_truto.airflow_task import RunningTask
from airflow_provider_truto.client.accounts import resolve_account
from airflow_provider_truto.client.errors import (
    TrutoError,
    TrutoNotFoundError,
    TrutoServerError,
    TrutoTemporaryError,
    TrutoTransportError,
)
from airflow_provider_truto.client.sync_job_runs import FAILED, STOPPED, RunStart, find_candidates
from airflow_provider_truto.client.times import read_time

if TYPE_CHECKING:
    from airflow_provider_truto.hooks.truto import TrutoHook

_LONG_AGO = datetime.fromtimestamp(0, timezone.utc)
_MOST_OTHERS = 50
_STATE_KEY = "truto_sync_job_run"
#: Seconds before each look for a run whose answer was lost: Truto may still be at it.
LOOK_AFTER: Sequence[float] = (1.0, 4.0, 10.0)


#: What Truto takes beside the job and the customer, by its own names; `resources` is an argument of all operators.
_OPTIONS = (
    *("args", "sync_resources", "ignore_previous_run", "force", "super_query", "webhook_id", "daemon_group_key"),
    *("datastore_id", "mutex_key", "state_key", "events_to_send"),
)


def read_start(operator: Any, hook: TrutoHook) -> RunStart:
    """Read what a run is started with from the arguments of an operator."""
    account = operator.integrated_account_id
    if operator.tenant_id is not None:
        account = hook.integrated_account_id_of(operator.tenant_id, operator.integration)
    given = {name.removeprefix("sync_"): getattr(operator, name) for name in _OPTIONS}
    return RunStart(
        sync_job_id=operator.sync_job_id,
        integrated_account_id=resolve_account(hook.connection.settings, account),
        error_handling=operator.error_handling,
        options={name: value for name, value in given.items() if value is not None},
    )


class PossibleStart(NamedTuple):
    """Since when this task may have started a run that it does not know of.

    ``is_exact``: nothing but this generation of tries has been before that moment, so that a run which is completed
    already can be this task's, too. ``others`` are runs that are known not to be it.
    """

    since: datetime
    is_exact: bool
    others: Sequence[str] = ()


class StartedRuns:
    """What the tries of this generation have started, as far as this Airflow remembers it."""

    def __init__(self, context: Mapping[str, Any], task: RunningTask | None) -> None:
        self._context = context
        self._store = context.get("task_state_store") if task else None
        self._state: dict[str, Any] = {}
        if task and self._store is not None:
            stored = self._store.get(_STATE_KEY)
            known = stored if isinstance(stored, dict) else {}
            if known.get("generation") != task.identity.generation:
                known = {"generation": task.identity.generation, "others": _list_runs(known)}
            self._state = known

    @property
    def run_id(self) -> str | None:
        """The run that an earlier try has started, where it is known."""
        return self._state.get("sync_job_run_id") or None

    @property
    def others(self) -> Sequence[str]:
        """Runs of this task that are known and done with: of tries that failed, and of those before a clear."""
        others: list[str] = self._state.get("others") or []
        return others

    @property
    def possible_start(self) -> PossibleStart | None:
        """Since when a run may have been started that is not known; ``None`` if every run is known."""
        if self._store is not None:
            since = read_time(self._state.get("since"))
            return PossibleStart(since, is_exact=True, others=self.others) if since and not self.run_id else None
        ti = self._context.get("ti")
        if ti is None or ti.try_number <= 1:
            return None
        run_began = getattr(self._context.get("dag_run"), "start_date", None) or datetime.fromtimestamp(
            0, timezone.utc
        )
        tries = list_earlier_tries(ti)
        if tries is None or ti.try_number - 1 not in {number for number, _, _ in tries}:
            return PossibleStart(run_began, is_exact=False)
        of_generation = [began or run_began for _, max_tries, began in tries if max_tries == ti.max_tries]
        return PossibleStart(min(of_generation), is_exact=True) if of_generation else None

    def begin(self) -> None:
        """Store that a run is about to be started, before it is."""
        possible_start = self.possible_start
        since = possible_start.since if possible_start else datetime.now(timezone.utc)
        self._save(since=since.isoformat(), sync_job_run_id="", others=_list_runs(self._state))

    def save_run(self, run_id: str) -> None:
        """Store the run."""
        self._save(sync_job_run_id=run_id)

    def _save(self, **news: Any) -> None:
        if self._store is not None:
            self._state |= news
            self._store.set(_STATE_KEY, self._state)


def _list_runs(state: Mapping[str, Any]) -> list[str]:
    """Return the newest runs that a task state knows."""
    return [run_id for run_id in [*(state.get("others") or []), state.get("sync_job_run_id")] if run_id][
        -_MOST_OTHERS:
    ]


def start_once(hook: TrutoHook, start: RunStart, started: StartedRuns, *, log: Any) -> dict[str, Any]:
    """Return the run of this task, which is started unless an earlier try has done so.

    Raises ``TrutoSyncJobRunError`` where more than one run may be it.
    """
    found = _find_known_run(hook, started.run_id, log=log) if started.run_id else None
    if found is None and (possible_start := started.possible_start):
        log.info("An earlier try may have started %s: looking for its run since %s", start, possible_start.since)
        found = find_run(hook, start, possible_start)
    if found is not None:
        log.info("Going on with sync job run %s (%s), which was started before", found["id"], found.get("status"))
        started.save_run(found["id"])
        return found
    began = datetime.now(timezone.utc)
    started.begin()
    try:
        run: dict[str, Any] = hook.start_sync_job_run(
            start.sync_job_id,
            error_handling=start.error_handling,
            integrated_account_id=start.integrated_account_id,
            **start.options,
        )
    except TrutoError as error:
        if not _may_have_started(error):
            raise
        possible_start = PossibleStart(began, is_exact=True, others=started.others)
        run = _look_for_lost(hook, start, possible_start, error=error, log=log)
    log.info("Started sync job run %s of %s", run["id"], start)
    started.save_run(run["id"])
    return run


def find_run(hook: TrutoHook, start: RunStart, possible_start: PossibleStart) -> dict[str, Any] | None:
    """Return the one run that a possible start may have made, or ``None``.

    Raises ``TrutoSyncJobRunError`` where there are several.
    """
    # Truto documents no filters of this list and ignores what it does not know: all of it is read, and compared here.
    runs = hook.sync_job_runs(sync_job_id=start.sync_job_id, integrated_account_id=start.integrated_account_id)
    fitting = find_candidates(runs, start, since=possible_start.since, with_completed=possible_start.is_exact)
    found = [run for run in fitting if run["id"] not in possible_start.others]
    if len(found) > 1:
        named = ", ".join(f"{run['id']} ({run.get('status')}, created {run.get('created_at')})" for run in found)
        raise TrutoSyncJobRunError(
            f"Which run of {start} is this task's cannot be told: {len(found)} were created since"
            f" {possible_start.since.isoformat()}: {named}. Nothing was started. Fix: stop those that nobody needs,"
            " or wait for them with TrutoSyncJobRunSensor, and clear this task to start another."
        )
    return found[0] if found else None


def _find_known_run(hook: TrutoHook, run_id: str, *, log: Any) -> dict[str, Any] | None:
    try:
        run: dict[str, Any] = hook.sync_job_run(run_id)
    except TrutoNotFoundError:
        log.info("Sync job run %s of an earlier try is gone: another one is started", run_id)
        return None
    if run.get("status") in {FAILED, STOPPED}:
        log.info("Sync job run %s of an earlier try is %s: another one is started", run_id, run.get("status"))
        return None
    return run


def _may_have_started(error: TrutoError) -> bool:
    if isinstance(error, TrutoTransportError):
        return error.maybe_sent
    return isinstance(error, (TrutoServerError, TrutoTemporaryError))


def _look_for_lost(
    hook: TrutoHook, start: RunStart, possible_start: PossibleStart, *, error: TrutoError, log: Any
) -> dict[str, Any]:
    """Find the run of a start whose answer was lost. Raises that error if it is not found; it is not sent again."""
    log.warning("Whether a run of %s was started is not known: %s", start, error)
    for seconds in LOOK_AFTER:
        time.sleep(seconds)
        if run := find_run(hook, start, possible_start):
            log.info("It was: sync job run %s", run["id"])
            return run
    log.warning("No such run is seen. It is not started again in this try; the next one looks again before it does")
    raise error
