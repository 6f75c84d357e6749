"""A process with an Airflow in it that runs DAGs on request, and asks back where one of them waits for a person.

Its arguments are the number of a socket and a folder of DAG files. It reads one JSON object a line from the socket:
``{"dag_id", "conf"}`` is answered by ``{"run_id", "state"}`` or ``{"error"}``. Before that may come questions, each a
``{"question"}`` that waits for a line with the ``{"answer"}``: what to set Airflow's variable ``truto_approved`` to,
or the option to choose of a human-in-the-loop task.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import traceback
from datetime import timedelta

from airflow_logs import log_like_a_worker

try:
    import airflow.sdk

    log_like_a_worker()
except ImportError:
    import airflow.providers.fab.auth_manager.models  # noqa: F401  (a table of task notes refers to its users)

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # before Airflow 3.2
    from airflow.models.dagbag import DagBag
from airflow.models.taskinstance import TaskInstance
from airflow.models.variable import Variable
from airflow.utils.session import create_session

try:
    from airflow.models.hitl import HITLDetail
except ImportError:  # before Airflow 3.1
    HITLDetail = None
VARIABLE = "truto_approved"


class Person(threading.Thread):
    """Looks for a task of this DAG named ``approval`` that waits, and does to it what the other side says."""

    def __init__(self, dag_id, ask):
        super().__init__(daemon=True)
        self.dag_id = dag_id
        self.ask = ask
        self.is_over = threading.Event()

    def run(self):
        while not self.is_over.wait(0.2):
            if waiting := self.waiting():
                # `dag.test()` stores the state of a task that has come to wait twice.
                time.sleep(0.5)
                if self.waiting() != waiting:
                    continue
                answer = self.ask(waiting)
                if waiting["kind"] == "variable":
                    set_variable(answer)
                    time.sleep(1.5)  # it looks once a second
                else:
                    respond(self.dag_id, waiting["run_id"], answer)
                    return

    def waiting(self):
        with create_session() as session:
            for ti in session.query(TaskInstance).filter_by(dag_id=self.dag_id, task_id="approval"):
                question = {"run_id": ti.run_id, "state": str(ti.state)}
                if ti.state == "up_for_reschedule":
                    return {"kind": "variable", **question}
                if ti.state == "awaiting_input":
                    detail = session.get(HITLDetail, ti.id)
                    return {"kind": "hitl", **question, "subject": detail.subject, "body": detail.body}
        return None


def set_variable(value):
    with create_session() as session:
        session.query(Variable).filter_by(key=VARIABLE).delete()
        if value is not None:
            session.add(Variable(key=VARIABLE, val=value))


def respond(dag_id, run_id, option):
    """Choose an option the way the browser does: through Airflow's API, in this process."""
    from airflow.api_fastapi.app import create_app
    from starlette.testclient import TestClient

    client = TestClient(create_app(apps="core"))
    token = client.get("/auth/token").json()["access_token"]
    answer = client.patch(
        f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/approval/-1/hitlDetails",
        json={"chosen_options": [option], "params_input": {}},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 200, answer.text


def main():
    sys.path.append(sys.argv[2])  # as workers do; Airflow 3.0 does it nowhere else
    bag = DagBag(sys.argv[2])
    with socket.socket(fileno=int(sys.argv[1])) as connection, connection.makefile("rw") as line:

        def tell(reply):
            line.write(json.dumps(reply) + "\n")
            line.flush()

        def ask(question):
            tell({"question": question})
            return json.loads(line.readline())["answer"]

        while request := line.readline():
            wanted = json.loads(request)
            person = Person(wanted["dag_id"], ask)
            try:
                assert not bag.import_errors, bag.import_errors
                # Anew, as a worker does: a run's conf stays in the params of a DAG object that was run.
                dag = DagBag(bag.dags[wanted["dag_id"]].fileloc).dags[wanted["dag_id"]]
                for task in dag.tasks:
                    if not hasattr(task, "expand_input"):
                        task.retry_delay = timedelta(0)
                set_variable(None)
                if "approval" in dag.task_dict:
                    person.start()
                dag_run = dag.test(run_conf=wanted["conf"])
                reply = {"run_id": dag_run.run_id, "state": str(getattr(dag_run.state, "value", dag_run.state))}
            except Exception:
                reply = {"error": traceback.format_exc()}
            person.is_over.set()
            if person.is_alive():
                person.join()
            sys.stdout.flush()
            tell(reply)


if __name__ == "__main__":
    main()
    os._exit(0)  # Airflow takes seconds to end its threads in order
