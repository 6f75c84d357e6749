"""A process with an Airflow in it that runs DAGs on request: starting Airflow takes seconds, a run a fraction.

Reads one JSON object a line from the socket whose number is its argument, and answers each with one. It knows
nothing of Truto. Everything that is printed or logged goes where its stdout goes.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import json
import os
import socket
import sys
import traceback
from pathlib import Path

from airflow.models.taskinstance import TaskInstance, clear_task_instances

try:
    from airflow.sdk._shared.listeners import hookimpl
except ImportError:
    from airflow.listeners import hookimpl

try:
    import airflow.sdk

    IS_AIRFLOW_2 = False
except ImportError:
    import airflow.providers.fab.auth_manager.models  # noqa: F401  (a table of task notes refers to its users)

    IS_AIRFLOW_2 = True

from airflow.utils.session import create_session


class Failures:
    """Airflow's listener of failed tries: keeps each exception as Airflow saw it."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def on_task_instance_failed(self, previous_state, task_instance, error):
        cause = getattr(error, "__cause__", None)
        self.seen.append(
            {
                "task_id": task_instance.task_id,
                "map_index": task_instance.map_index,
                "type": type(error).__name__,
                "message": str(error),
                "cause": None if cause is None else type(cause).__name__,
                "traceback": "".join(traceback.format_exception(error)) if isinstance(error, Exception) else "",
            }
        )


def listen(failures):
    """Register with both managers of Airflow 3: that of the worker is one of its own."""
    try:
        from airflow.sdk.listener import get_listener_manager
    except ImportError:
        from airflow.listeners.listener import get_listener_manager
    get_listener_manager().add_listener(failures)


def keep_api():
    """Have Airflow 3.0 make the API for its tasks once, as later ones do: each costs seconds."""
    from airflow.sdk.execution_time import supervisor

    supervisor.in_process_api_server = functools.lru_cache(maxsize=1)(supervisor.in_process_api_server)


def load(file, dag_id):
    spec = importlib.util.spec_from_file_location(dag_id, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[dag_id] = module
    spec.loader.exec_module(module)
    return module.dag


def again(dag, run_id):
    """Clear all tasks of a run, as the button does, and run them again; ``dag.test()`` would make a new run."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState, TaskInstanceState

    with create_session() as session:
        tis = session.query(TaskInstance).filter_by(dag_id=dag.dag_id, run_id=run_id).all()
        known_dag = {"dag": dag} if "dag" in inspect.signature(clear_task_instances).parameters else {}
        clear_task_instances(tis, session, **known_dag)
        for ti in tis:  # Airflow 3.0 looks for the DAG in the database, where ``dag.test()`` did not put it
            ti.max_tries = ti.try_number + dag.task_dict[ti.task_id].retries
        session.commit()
        dag_run = session.query(DagRun).filter_by(dag_id=dag.dag_id, run_id=run_id).one()
        dag_run.state = DagRunState.RUNNING
        dag_run.dag = scheduler_dag(dag)
        session.commit()
        for _ in range(20):
            session.expire_all()
            for ti in dag_run.update_state(session=session)[0]:
                ti.try_number += 1
                ti.state = TaskInstanceState.SCHEDULED
                session.commit()
                run_task(dag, ti, session)
            if dag_run.state != DagRunState.RUNNING:
                return dag_run
    raise RuntimeError(f"the cleared run of {dag.dag_id} came to no end")


def scheduler_dag(dag):
    if IS_AIRFLOW_2:
        return dag
    try:
        from airflow.serialization.serialized_objects import DagSerialization
    except ImportError:
        from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization
    return DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))


def run_task(dag, ti, session):
    """Run one task the way ``dag.test()`` of this Airflow does."""
    task = dag.task_dict[ti.task_id]
    try:
        from airflow.sdk.definitions.dag import _run_task
    except ImportError:
        from airflow.models.dag import _run_task
    wanted = inspect.signature(_run_task).parameters
    offered = {"ti": ti, "task": task, "session": session, "run_triggerer": True}
    if "task" not in wanted:
        ti.task = task
    try:
        _run_task(**{name: value for name, value in offered.items() if name in wanted})
    except Exception:
        traceback.print_exc()


def main():
    failures = Failures()
    listen(failures)
    if not IS_AIRFLOW_2:
        keep_api()
        sys.path.append(str(Path(__file__).parent.parent))
        from airflow_logs import log_like_a_worker

        log_like_a_worker()
    with socket.socket(fileno=int(sys.argv[1])) as connection, connection.makefile("rw") as line:
        for request in map(json.loads, line):
            failures.seen.clear()
            reply = {}
            try:
                dag = load(request["file"], request["dag_id"])
                if request.get("run_id"):
                    dag_run = again(dag, request["run_id"])
                else:
                    date = {} if request.get("is_dated", True) else {"logical_date": None}
                    dag_run = dag.test(run_conf=request.get("conf"), **date)
                reply = {"run_id": dag_run.run_id, "state": str(getattr(dag_run.state, "value", dag_run.state))}
            except Exception:
                reply = {"error": traceback.format_exc()}
            sys.stdout.flush()
            sys.stderr.flush()
            line.write(json.dumps({**reply, "failures": failures.seen}) + "\n")
            line.flush()


if __name__ == "__main__":
    main()
    os._exit(0)  # Airflow takes seconds to end its threads in order
