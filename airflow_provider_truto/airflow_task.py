"""Who the task is that runs: which write its tries repeat, and what its state store keeps of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_truto.records.keys import RunSeen, TaskIdentity

_STATE_KEY = "truto_task"


class RunningTask:
    """The task that runs: its identity, its run, and what Airflow's task state store knows of earlier tries.

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
    starts anew without a clear. A store that was emptied, as ``[state_store] clear_on_success`` does, tells nothing,
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

    @property
    def key_versions(self) -> TaskStateKeyVersions | None:
        """The store of its key versions; ``None`` before Airflow 3.3, where nothing is kept between tries."""
        if self._store is None:
            return None
        is_first_try = self._state["first_try"] == self.try_number
        may_advance = is_first_try and not self._state["may_have_executed"]
        return TaskStateKeyVersions(self._store, self._state, may_advance=may_advance)

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
            "suffix": 1,
            "refusals": 0,  # of that suffix, and whether any attempt may have been executed: see `put_off`
            "may_have_executed": False,
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
                kept = ("generations", "suffix", "refusals", "may_have_executed", "first_try")
                state.update({name: stored[name] for name in kept})
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

    def __init__(self, store: Any, state: dict[str, Any], *, may_advance: bool) -> None:
        self._store = store
        self._state = state
        #: An earlier try may have been executed although its answer, or the whole try, was lost.
        self.may_advance = may_advance

    @property
    def refusals(self) -> int:
        """How often the version was refused before the task was deferred; 0 where it was not."""
        return int(self._state["refusals"])

    def load(self) -> int:
        """Return the number of this generation, 1 at first."""
        return int(self._state["suffix"])

    def save(self, version: int) -> None:
        """Store the number before anything is sent under it."""
        self._state |= {"suffix": version, "refusals": 0}
        self._store.set(_STATE_KEY, self._state)

    def put_off(self, *, refusals: int, may_have_executed: bool) -> None:
        """Store what the resumed task has to know: it is the same try, in another process."""
        known = bool(self._state["may_have_executed"])
        self._state |= {"refusals": refusals, "may_have_executed": known or may_have_executed}
        self._store.set(_STATE_KEY, self._state)


def read_running_task(context: Mapping[str, Any]) -> RunningTask | None:
    """Read who runs; ``None`` outside a task, as in a test that calls ``execute({})``."""
    return None if context.get("ti") is None else RunningTask(context)


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
