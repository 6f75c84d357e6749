"""Reading Airflow connections: what is given in any form arrives, what cannot be read is an error."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.client.errors import TrutoSchemaError
from airflow_provider_truto.connection_fields import EXTRA_FIELDS
from airflow_provider_truto.hooks.connection import base_url, read_connection
from airflow_provider_truto.hooks.truto import TrutoHook

PLANTED = "tok-planted-7f3a"


@dataclass
class Conn:
    host: str | None = None
    port: int | None = None
    schema: str | None = None
    password: str | None = PLANTED
    extra_dejson: dict[str, Any] = field(default_factory=dict)


def read(conn, **overrides):
    hosts = overrides.pop("allowed_hosts", frozenset())
    return read_connection(
        conn, conn_id="crm", overrides=overrides, user_agent="test", hide_values=False, allowed_hosts=hosts
    )


@pytest.mark.parametrize(
    ("conn", "url"),
    [
        (Conn(), "https://api.truto.one"),
        (Conn(host=""), "https://api.truto.one"),
        (Conn(port=0), "https://api.truto.one"),
        (Conn(port=443), "https://api.truto.one:443"),
        (Conn(host="api.eu.example"), "https://api.eu.example"),
        (Conn(host=" api.eu.example "), "https://api.eu.example"),
        (Conn(host="https://api.eu.example/"), "https://api.eu.example"),
        (Conn(host="https://gateway.example/truto/"), "https://gateway.example/truto"),
        (Conn(host="HTTPS://api.eu.example"), "https://api.eu.example"),
        (Conn(host="127.0.0.1", schema="http", port=8765), "http://127.0.0.1:8765"),
        (Conn(host="http://127.0.0.1:8765"), "http://127.0.0.1:8765"),
        (Conn(host="http://127.0.0.1:8765", port=8765), "http://127.0.0.1:8765"),
        (Conn(host="http://[::1]:8765"), "http://[::1]:8765"),
        (Conn(host="localhost:8765", schema="http"), "http://localhost:8765"),
        (Conn(host="https://api.eu.example", schema="https"), "https://api.eu.example"),
    ],
)
def test_host_port_and_schema_make_one_base_url(conn, url):
    assert base_url(conn) == url


@pytest.mark.parametrize(
    ("conn", "said"),
    [
        (Conn(host="https://api.example:8443", port=443), "names port 8443, the connection's port is 443"),
        (Conn(host="http://api.example", schema="https"), "contradict"),
        (Conn(host="ftp://api.example"), "not a http(s) URL"),
        (Conn(host="https://"), "not a http(s) URL"),
        (Conn(host="https://user:pw@api.example"), "must not hold a user"),
        (Conn(host="https://api.example:port"), "port"),
        (Conn(host="https://api.example/?a=b"), "query"),
        (Conn(host="http://api.example"), "plain http"),
        (Conn(password=None), "/password: is empty"),
        (Conn(password=""), "/password: is empty"),
        (Conn(password=f"{PLANTED}\n"), "/password"),
        (Conn(password=f"Bearer {PLANTED}"), "/password"),
        (Conn(extra_dejson={"ca_bundle": "/no/such/file.pem"}), "/no/such/file.pem"),
    ],
)
def test_a_connection_that_cannot_work_is_refused_without_showing_its_token(conn, said):
    with pytest.raises(TrutoSchemaError) as refused:
        read(conn)
    assert said in str(refused.value)
    assert "the connection 'crm' cannot be used" in str(refused.value)
    assert PLANTED not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("timeout", 30, 30),
        ("timeout", "30", 30),
        ("timeout", "2.5", 2.5),
        ("max_attempts", "3", 3),
        ("max_wait", 0, 0),
        ("max_wait", "0", 0),
        ("verify_tls", False, False),
        ("verify_tls", "false", False),
        ("verify_tls", "False", False),
        ("verify_tls", "true", True),
        ("allow_http", "true", True),
        ("proxy", "http://proxy:3128", "http://proxy:3128"),
    ],
)
def test_extras_may_arrive_as_text(name, raw, value):
    names = {"timeout": "read_timeout"}
    assert getattr(read(Conn(extra_dejson={name: raw})).settings, names.get(name, name)) == value


@pytest.mark.parametrize("raw", ["", None])
@pytest.mark.parametrize("name", [field.name for field in EXTRA_FIELDS])
def test_what_the_form_left_empty_keeps_its_default(name, raw):
    assert read(Conn(extra_dejson={name: raw})).settings == read(Conn()).settings


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("verify_tls", "no", "expects true or false, got 'no'"),
        ("verify_tls", 0, "expects true or false, got 0"),
        ("verify_tls", "1", "expects true or false, got '1'"),
        ("timeout", "soon", "expects a number, got 'soon'"),
        ("timeout", 0, "must be 1 or more, got 0"),
        ("timeout", True, "expects a number, got True"),
        ("timeout", "NaN", "expects a number, got 'NaN'"),
        ("max_attempts", 2.5, "expects a whole number, got 2.5"),
        ("max_attempts", "0", "must be 1 or more, got 0"),
        ("max_wait", -1, "must be 0 or more, got -1"),
        ("integrated_account_id", 7, "expects text, got 7"),
    ],
)
def test_an_extra_that_cannot_be_read_is_an_error_that_names_it(name, raw, said):
    with pytest.raises(TrutoSchemaError) as refused:
        read(Conn(extra_dejson={name: raw}))
    assert [(problem.pointer, problem.message) for problem in refused.value.problems] == [(f"/extra/{name}", said)]


def test_every_problem_is_listed_at_once():
    with pytest.raises(TrutoSchemaError) as refused:
        read(Conn(password="", host="ftp://x", extra_dejson={"timeout": "soon", "verify_tls": "no"}))
    assert [problem.pointer for problem in refused.value.problems] == [
        "/password",
        "/host",
        "/extra/timeout",
        "/extra/verify_tls",
    ]


def test_an_argument_wins_over_the_extra_and_zero_counts_as_given():
    conn = Conn(extra_dejson={"max_wait": 60, "max_attempts": 9, "timeout": 5})
    settings = read(conn, max_wait=0, max_attempts=2, timeout=None).settings
    assert (settings.max_wait, settings.max_attempts, settings.read_timeout) == (0, 2, 5)


def test_an_empty_integrated_account_of_an_argument_counts_as_given():
    settings = read(Conn(extra_dejson={"integrated_account_id": "a"}), integrated_account_id="").settings
    assert settings.integrated_account_id == ""


def test_an_unknown_extra_is_named_with_the_nearest_known_one():
    (warning,) = read(Conn(extra_dejson={"time_out": 5})).warnings
    assert "'time_out'" in warning
    assert "did you mean 'timeout'" in warning


def test_a_host_outside_allowed_hosts_is_refused():
    assert read(Conn(), allowed_hosts=frozenset({"api.truto.one"})).settings.base_url == "https://api.truto.one"
    with pytest.raises(TrutoSchemaError, match=r"evil\.example is not among"):
        read(Conn(host="evil.example"), allowed_hosts=frozenset({"api.truto.one"}))


def test_what_was_read_shows_no_secret():
    connection = read(Conn(extra_dejson={"proxy": "http://me:proxy-pass-9@proxy:3128"}))
    assert PLANTED not in repr(connection)
    assert "proxy-pass-9" not in repr(connection)


def test_a_connection_uri_and_json_give_the_same(monkeypatch):
    as_json = {"conn_type": "truto", "host": "127.0.0.1", "schema": "http", "port": 8765, "password": PLANTED}
    monkeypatch.setenv("AIRFLOW_CONN_AS_JSON", json.dumps({**as_json, "extra": {"max_attempts": 3}}))
    monkeypatch.setenv("AIRFLOW_CONN_AS_URI", f"truto://:{PLANTED}@127.0.0.1:8765/http?max_attempts=3")
    from_json, from_uri = (read(TrutoHook.get_connection(conn_id)) for conn_id in ("as_json", "as_uri"))
    assert from_json == from_uri
    assert from_uri.settings.base_url == "http://127.0.0.1:8765"
    assert from_uri.settings.max_attempts == 3


@given(
    st.dictionaries(
        st.sampled_from([field.name for field in EXTRA_FIELDS]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    )
)
def test_any_extras_are_read_or_refused_with_the_one_error(extras):
    refusal = None
    try:
        read(Conn(extra_dejson=extras))
    except TrutoSchemaError as error:
        refusal = error
    assert refusal is None or refusal.problems
    assert PLANTED not in str(refusal)
