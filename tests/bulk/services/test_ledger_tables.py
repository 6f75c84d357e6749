"""Ledgers in a real PostgreSQL, by both of its drivers: each line once, whatever runs at once or is killed."""

from __future__ import annotations

import json
import os
import signal
import threading

from bulk_operator import broken, context_of, run

from airflow_provider_truto._compat import AirflowException, BaseHook
from airflow_provider_truto.operators.ledgers import TrutoLedgerToSqlOperator


def test_ledgers_are_stored_once_with_their_types(one, task, warehouse, store):
    rows = broken(one.rows(), 3)
    rows[3]["body"]["name"] = "a\0b"
    run(task(rows, max_failures=1))
    for _ in range(2):
        assert store(with_bodies=True) == {"ledgers": 1, "changes": 40}
    assert warehouse("select updated, failed, is_complete from truto_runs") == [(39, 1, True)]
    counts = "select status, is_transient, count(*) from truto_latest group by 1, 2 order by 1"
    assert warehouse(counts) == [("failed", False, 1), ("updated", False, 39)]
    ((body,),) = warehouse("select body from truto_changes where body is not null")
    assert json.loads(body)["description"] == 5


def test_two_tasks_at_once_store_each_line_once(one, task, warehouse, store):
    run(task(one.rows()))
    store()
    begin, failed = threading.Barrier(2), []

    def one_of_them():
        begin.wait(30)
        try:
            store()
        except Exception as error:  # by the primary key, of which Airflow retries
            failed.append(error)

    threads = [threading.Thread(target=one_of_them) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(failed) < 2
    assert not any(isinstance(error, AirflowException) for error in failed)
    assert warehouse("select count(*), count(distinct ordinal) from truto_changes") == [(40, 40)]
    assert warehouse("select count(*) from truto_runs") == [(1,)]


def store_and_be_killed(output, connection):
    """Store the ledgers in a process that is killed before they are committed."""
    os.environ["AIRFLOW_CONN_WAREHOUSE"] = connection  # the server of processes has that of an earlier test
    real = BaseHook.get_connection("warehouse").get_hook().get_conn()

    class Connection:
        commits = 0

        def commit(self):
            type(self).commits += 1
            if self.commits > 3:  # those of the tables that were made
                os.kill(os.getpid(), signal.SIGKILL)
            real.commit()

        def __getattr__(self, name):
            return getattr(real, name)

    from airflow.providers.postgres.hooks.postgres import PostgresHook

    PostgresHook.get_conn = lambda _self: Connection()
    PostgresHook.supports_autocommit = False
    task = TrutoLedgerToSqlOperator(
        task_id="store", bulk_task_id="bulk", output_path=f"file://{output}", sql_conn_id="warehouse"
    )
    task.execute(context_of(task))


def test_a_kill_before_the_end_leaves_nothing_of_a_ledger(one, task, warehouse, store, output, processes):
    run(task(one.rows()))
    killed = processes.Process(target=store_and_be_killed, args=(output, os.environ["AIRFLOW_CONN_WAREHOUSE"]))
    killed.start()
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    assert warehouse("select count(*) from truto_changes") == [(0,)]
    store()
    assert warehouse("select count(*) from truto_changes") == [(40,)]
