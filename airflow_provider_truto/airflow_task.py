"""Who the task is that runs: which write its tries repeat, and what its state store keeps of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from threading import Lock
from typing import Any

from airflow_provider_truto.client.request import Request
from airflow_provider_truto.records.keys import CallKeys, RunSeen, TaskIdentity

_STATE_KEY = "truto_task"
#: Keys of which a version is kept for one task; any others are not advanced.
_MOST_VERSIONS = 50
#: Stands for the key of the one write of an operator.
_OF_OPERATOR = "operator"
_FIRST_VERSION = {"version": 1, "refusals": 0, "may_have_executed": False}


class RunningTask:
    """The task that runs: its identity, its run, and what Airflow's task state store knows of earlier tries.

    It makes the keys of the calls of hooks (``client.keys.WriteKeys``); operators make theirs of its identity.

    A *generation* are the tries that repeat one write: automatic retries belong to it, a clear begins another, and so
    does a DAG run that was deleted and made again under its id. It is made of

    - ``ti.max_tries``. Airflow sets it when the task instance is made (to the retries of that day) and when it is
      cleared (to the tries that there were and the retries of that day), and at no other time: neither a retry, a
      deferral, a reschedule, a lost worker nor an edit of the DAG file changes it. ``task.retries`` is today's DAG
      file and does not enter: raising it while a task waits for its retry does not mean another write.
    - what tells the run from others of its id. Airflow 2 shows the number of its row, its logical date and
      ``clear_number``, which grows when a finished run is cleared. Airflow 3 shows no number, but ``start_date``,
      which is set when a run begins and when a finished one is cleared; no run is finished while a task of it waits.
      Its ``clear_number`` does not enter: since Airflow 3.2 it grows when any other task is cleared.

    ``max_tries`` alone would not do: where retries were lowered by as many as there were tries (1 to 0 after the
    first), a clear leaves it as it was. In a finished run the second part tells. In one that still runs nothing does
    before Airflow 3.3: such a cleared task repeats its key, and Truto its answer.

    Since Airflow 3.3 the task state store holds the generation, from before anything is sent. It tells that clear as
    well, since it knows that the task was done; and a run that was set to queued by hand while the task waited, which
    starts over without a clear. A store that was emptied, as ``[state_store] clear_on_success`` does, tells nothing,
    and the two parts above stand for themselves.

    (Read in the sources of Airflow 2.11.2, 3.0.6, 3.2.1, 3.3.1 and 3.3.2: ``clear_task_instances``,
    ``TaskInstance.insert_mapping`` and ``refresh_from_task``, ``DagRun.set_state``, ``_start_queued_dagruns``.)
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        ti = context["ti"]
        self.run = read_run(context)
        self.try_number: int = ti.try_number
        self._store = context.get("task_state_store")
        self._state = self._describe(ti.max_tries)
        if self._store is not None:
            self._continue(self._store, self._store.get(_STATE_KEY))
        self.identity = TaskIdentity(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=ti.map_index,
            generation=self._state["generations"][-1],
        )
        self._calls = CallKeys(self.identity)
        self._lock = Lock()

    def make_key(self, request: Request) -> str:
        """Return the key of one more call that the task makes itself, through a hook."""
        return self._calls.make_key(request)

    def find_versions(self, key: str) -> TaskStateKeyVersions | None:
        """Return what keeps the version of a key; ``None`` before Airflow 3.3, which keeps nothing between tries."""
        if self._store is None:
            return None
        is_first_try = self._state["first_try"] == self.try_number
        return TaskStateKeyVersions(self._store, self._state, self._lock, key=key, is_first_try=is_first_try)

    @property
    def key_versions(self) -> TaskStateKeyVersions | None:
        """What keeps the version of the key of an operator's one write."""
        return self.find_versions(_OF_OPERATOR)

    def mark_done(self) -> None:
        """Store that the task has succeeded, so that a later execution must come from a clear."""
        if self._store is not None:
            self._state["is_done"] = True
            self._store.set(_STATE_KEY, self._state)

    def _describe(self, max_tries: int) -> dict[str, Any]:
        run = self.run
        of_run = run.started or "" if run.number is None else f"{run.number}.{run.after}.{run.clears}"
        return {
            "generations": [f"{of_run}/{max_tries}"],  # all that there were, the present one last
            "versions": {},  # of the keys that were refused, see `TaskStateKeyVersions`
            "first_try": self.try_number,
            "max_tries": max_tries,
            "started": run.started,
            "clears": run.clears,
            "is_done": False,
        }

    def _continue(self, store: Any, stored: Any) -> None:
        """Take over what an earlier try has stored of this generation, and store it where that is new."""
        state = self._state
        if isinstance(stored, dict) and stored.keys() == state.keys():
            if self._is_retry_of(stored):
                state.update({name: stored[name] for name in ("generations", "versions", "first_try")})
            else:
                (new,) = state["generations"]
                if new in stored["generations"]:  # retries were lowered before the clear
                    new = f"{new}/{self.run.clears}"
                state["generations"] = [*stored["generations"], new]
        if state != stored:
            store.set(_STATE_KEY, state)

    def _is_retry_of(self, stored: Mapping[str, Any]) -> bool:
        """Whether this is a retry of the try that has stored this."""
        if stored["max_tries"] != self._state["max_tries"]:
            return False
        nobody_cleared = bool(stored["clears"] == self.run.clears)
        if stored["started"] != self.run.started:
            # Set to queued by hand; or made again, if a store keeps what was of the first: its tries begin at 1.
            return nobody_cleared and self.try_number > stored["first_try"]
        return nobody_cleared or not stored["is_done"]


class TaskStateKeyVersions:
    """Keeps the number behind an idempotency key in Airflow's task state store, which outlives tries."""

    def __init__(self, store: Any, state: dict[str, Any], lock: Lock, *, key: str, is_first_try: bool) -> None:
        self._store = store
        self._state = state
        self._lock = lock
        self._key = key
        self._is_first_try = is_first_try

    @property
    def _kept(self) -> dict[str, Any]:
        return self._state["versions"].get(self._key, _FIRST_VERSION)  # type: ignore[no-any-return]

    @property
    def may_advance(self) -> bool:
        """Whether no attempt can have been executed: one of an earlier try can, although its answer was lost."""
        is_room = self._key in self._state["versions"] or len(self._state["versions"]) < _MOST_VERSIONS
        return self._is_first_try and is_room and not self._kept["may_have_executed"]

    @property
    def refusals(self) -> int:
        """How often the version was refused before the task was deferred; 0 where it was not."""
        return int(self._kept["refusals"])

    def load(self) -> int:
        """Return the number of this generation, 1 at first."""
        return int(self._kept["version"])

    def save(self, version: int) -> None:
        """Store the number before anything is sent under it."""
        self._keep(version=version, refusals=0)

    def put_off(self, *, refusals: int, may_have_executed: bool) -> None:
        """Store what the resumed task has to know: it is the same try, in another process."""
        self._keep(refusals=refusals, may_have_executed=self._kept["may_have_executed"] or may_have_executed)

    def _keep(self, **news: Any) -> None:
        with self._lock:  # a task may call from several threads
            self._state["versions"] = {**self._state["versions"], self._key: {**self._kept, **news}}
            self._store.set(_STATE_KEY, self._state)


#: The tasks that this process has run last: one, except in tests that run several at once.
_LATEST: deque[tuple[Any, int, RunningTask]] = deque(maxlen=8)
_LATEST_LOCK = Lock()


def read_running_task(context: Mapping[str, Any]) -> RunningTask | None:
    """Read who runs, once per try; ``None`` outside a task, as in a test that calls ``execute({})``."""
    if (ti := context.get("ti")) is None:
        return None
    with _LATEST_LOCK:
        for known, try_number, task in _LATEST:
            if known is ti and try_number == ti.try_number:
                return task
        task = RunningTask(context)
        _LATEST.append((ti, ti.try_number, task))
        return task


def read_run(context: Mapping[str, Any]) -> RunSeen:
    """Read what tells this DAG run from another one of its id."""
    dag_run = context.get("dag_run")
    return RunSeen(
        number=getattr(dag_run, "id", None),
        after=_format_date(getattr(dag_run, "run_after", None) or getattr(dag_run, "logical_date", None)),
        started=_format_date(getattr(dag_run, "start_date", None)),
        clears=getattr(dag_run, "clear_number", None),
    )


def _format_date(date: Any) -> str | None:
    return None if date is None else str(date.isoformat())
