"""Reading Airflow connections: what is given in any form arrives, what cannot be read is an error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.client.errors import TrutoSchemaError
from airflow_provider_truto.connection_fields import EXTRA_FIELDS
from airflow_provider_truto.hooks.connection import build_base_url, read_connection
from airflow_provider_truto.hooks.truto import TrutoHook

PLANTED = "tok-planted-7f3a"
ACCOUNT = "acae0000-0000-4000-8000-000000000001"
OTHER = "3a12e000-0000-4000-8000-000000000006"


@dataclass
class Conn:
    host: str | None = None
    port: int | None = None
    schema: str | None = None
    password: str | None = PLANTED
    conn_type: str | None = "truto"
    extra: Any = None  # text, as it is stored; objects are written as JSON

    def __post_init__(self):
        if not isinstance(self.extra, (str, type(None))):
            self.extra = json.dumps(self.extra)


def read(conn, **overrides):
    hosts = overrides.pop("allowed_hosts", "")
    conn_id = overrides.pop("conn_id", "crm")
    return read_connection(
        conn, conn_id=conn_id, overrides=overrides, user_agent="test", hide_values=False, allowed_hosts=hosts
    ).get()


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
    assert build_base_url(conn) == url


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
        (Conn(extra={"ca_bundle": "/no/such/file.pem"}), "/no/such/file.pem"),
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
        ("deadline", "30.5", 30.5),
        ("max_wait", 0, 0),
        ("max_wait", "0", 0),
        ("verify_tls", False, False),
        ("verify_tls", "false", False),
        ("verify_tls", "False", False),
        ("verify_tls", "true", True),
        ("allow_http", "true", True),
        ("allow_http", "y", True),
        ("proxy", "http://proxy:3128", "http://proxy:3128"),
    ],
)
def test_extras_may_arrive_as_text(name, raw, value):
    names = {"timeout": "read_timeout"}
    assert getattr(read(Conn(extra={name: raw})).settings, names.get(name, name)) == value


@pytest.mark.parametrize(
    "extras",
    [{"extra__truto__timeout": "30"}, {"timeout": "30", "extra__truto__timeout": "30"}],
    ids=["before Airflow 2.3", "as Airflow 2.11 tests a connection"],
)
def test_an_extra_may_have_the_prefix_of_the_form(extras):
    connection = read(Conn(extra=extras))
    assert connection.settings.read_timeout == 30
    assert connection.warnings == ()


def test_two_spellings_of_an_extra_that_contradict_are_refused_without_their_values():
    with pytest.raises(TrutoSchemaError) as refused:
        read(Conn(extra={"proxy": "http://a:hidden@b", "extra__truto__proxy": "http://a:secret@b"}))
    said = "/extra/proxy: is given twice, with different values: as proxy and as extra__truto__proxy"
    assert said in str(refused.value)
    assert not any(secret in str(refused.value) for secret in ("hidden", "secret"))


@pytest.mark.parametrize("raw", ["", None])
@pytest.mark.parametrize("name", [field.name for field in EXTRA_FIELDS])
def test_what_the_form_left_empty_keeps_its_default(name, raw):
    assert read(Conn(extra={name: raw})).settings == read(Conn()).settings


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("verify_tls", "no", "expects true or false, got 'no'"),
        ("verify_tls", 0, "expects true or false, got 0"),
        ("verify_tls", "1", "expects true or false, got '1'"),
        ("verify_tls", "n", "expects true or false, got 'n'"),
        ("timeout", "soon", "expects a number, got 'soon'"),
        ("timeout", 0, "must be 1 or more, got 0"),
        ("timeout", True, "expects a number, got True"),
        ("timeout", "NaN", "expects a number, got 'NaN'"),
        ("max_attempts", 2.5, "expects a whole number, got 2.5"),
        ("max_attempts", "0", "must be 1 or more, got 0"),
        ("deadline", 0.5, "must be 1 or more, got 0.5"),
        ("max_wait", -1, "must be 0 or more, got -1"),
        ("integrated_account_id", 7, "expects the UUID of an integrated account, got 7"),
        ("integrated_account_id", " ", "expects the UUID of an integrated account, got ' '"),
        ("integrated_account_id", "acme", "expects the UUID of an integrated account, got 'acme'"),
        ("proxy", ["http://me:pw@proxy"], "expects text, got list"),
    ],
)
def test_an_extra_that_cannot_be_read_is_an_error_that_names_it(name, raw, said):
    with pytest.raises(TrutoSchemaError) as refused:
        read(Conn(extra={name: raw}))
    assert [(problem.pointer, problem.message) for problem in refused.value.problems] == [(f"/extra/{name}", said)]


def test_every_problem_is_listed_at_once():
    with pytest.raises(TrutoSchemaError) as refused:
        read(Conn(password="", host="ftp://x", extra={"timeout": "soon", "verify_tls": "no"}))
    assert [problem.pointer for problem in refused.value.problems] == [
        "/password",
        "/host",
        "/extra/timeout",
        "/extra/verify_tls",
    ]


def test_an_argument_wins_over_the_extra_and_zero_counts_as_given():
    conn = Conn(extra={"max_wait": 60, "max_attempts": 9, "timeout": 5, "deadline": 7})
    settings = read(conn, max_wait=0, max_attempts=2, timeout=None, deadline=8).settings
    assert (settings.max_wait, settings.max_attempts, settings.read_timeout) == (0, 2, 5)
    assert settings.deadline == 8


def test_an_empty_integrated_account_of_an_argument_counts_as_given():
    settings = read(Conn(extra={"integrated_account_id": ACCOUNT}), integrated_account_id="").settings
    assert settings.integrated_account_id == ""


def test_an_unknown_extra_is_named_with_the_nearest_known_one():
    (warning,) = read(Conn(extra={"time_out": 5})).warnings
    assert "'time_out'" in warning
    assert "did you mean 'timeout'" in warning


@pytest.mark.parametrize(("verifies", "warnings"), [(True, 0), (False, 1)])
def test_certificates_to_trust_are_noted_where_none_is_checked(verifies, warnings):
    told = read(Conn(extra={"ca_bundle": __file__, "verify_tls": verifies})).warnings
    assert (
        len([warning for warning in told if "'ca_bundle' means nothing while 'verify_tls' is off" in warning])
        == warnings
    )


# ------------------------------------------------------------------------------------------ guards in the extras

SOME = {"allowed_integrated_accounts": ACCOUNT}
#: Extras as somebody may have typed them, and what is said of them. Each of them leaves some guard open if it is read
#: leniently.
UNREADABLE = {
    "a trailing comma": ('{"allowed_integrated_accounts": "' + ACCOUNT + '",}', "/extra: is not JSON"),
    "single quotes": ("{'allowed_integrated_accounts': 'x'}", "/extra: is not JSON"),
    "a comment": ('{} // {"verify_tls": true}', "/extra: is not JSON"),
    "cut off": ('{"allowed_integrated_accounts": ', "/extra: is not JSON"),
    "nested too deeply": ("[" * 200_000, "/extra: is not JSON"),
    "a list": ([SOME], "/extra: expects a JSON object, got a list"),
    "encoded twice": (json.dumps(json.dumps(SOME)), "/extra: expects a JSON object, got text"),
    "a number": ("5", "/extra: expects a JSON object, got a number"),
    "null": ("null", "/extra: expects a JSON object, got null"),
    "a name that comes twice": (
        '{"allowed_integrated_accounts": "' + ACCOUNT + '", "allowed_integrated_accounts": ""}',
        "/extra: an object names 'allowed_integrated_accounts' more than once",
    ),
    "a list of nothing": ({"allowed_integrated_accounts": ","}, "names no integrated account: ','"),
    "a list of blanks": ({"allowed_integrated_accounts": " "}, "names no integrated account: ' '"),
    "an empty list": ({"allowed_integrated_accounts": []}, "names no integrated account: []"),
    "an empty list as text": ({"allowed_integrated_accounts": "[]"}, "names no integrated account: '[]'"),
    "a list of null": ({"allowed_integrated_accounts": [None]}, "names no integrated account"),
    "a list of names": ({"allowed_integrated_accounts": f"{ACCOUNT},acme"}, "expects UUIDs, separated by commas"),
    "an object": ({"allowed_integrated_accounts": {ACCOUNT: True}}, "expects UUIDs, separated by commas"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_extras_that_cannot_be_read_leave_no_guard_open(name):
    extra, said = UNREADABLE[name]
    with pytest.raises(TrutoSchemaError) as refused:
        read(Conn(extra=extra))
    assert said in str(refused.value)


def test_extras_that_cannot_be_read_are_not_shown():
    with pytest.raises(TrutoSchemaError) as refused:
        read(Conn(extra='{"proxy": "http://me:proxy-pass-9@proxy:3128",}'))
    assert "proxy-pass-9" not in str(refused.value)
    assert "line 1" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("allowed_integrated_account", "allowed_integrated_accounts"),
        ("allowed_intergrated_accounts", "allowed_integrated_accounts"),
        ("allowedIntegratedAccounts", "allowed_integrated_accounts"),
        ("ALLOWED_INTEGRATED_ACCOUNTS", "allowed_integrated_accounts"),
        ("allowed-integrated-accounts", "allowed_integrated_accounts"),
        ("allowed_accounts", "allowed_integrated_accounts"),
        ("allowlist", "allowed_integrated_accounts"),
        ("account_whitelist", "allowed_integrated_accounts"),
        ("accounts", "allowed_integrated_accounts"),
        ("integrated_accounts", "integrated_account_id"),
        ("integratedAccountId", "integrated_account_id"),
        ("verify_ssl", "verify_tls"),
        ("tlsVerify", "verify_tls"),
        ("verify", "verify_tls"),
        ("insecure", "verify_tls"),
        ("dataAuth", "data_auth"),
        ("auth", "data_auth"),
        ("allow_https", "allow_http"),
    ],
)
def test_an_extra_that_may_be_meant_as_a_guard_is_refused(name, meant):
    with pytest.raises(TrutoSchemaError) as refused:
        read(Conn(extra={name: ""}))
    assert f"/extra/{name}: means nothing to this provider: did you mean {meant!r}?" in str(refused.value)


@pytest.mark.parametrize("name", ["time_out", "tenant_id", "account_manager", "description", "author", "region"])
def test_any_other_unknown_extra_is_a_warning(name):
    assert [name in warning for warning in read(Conn(extra={name: "x"})).warnings] == [True]


def test_a_connection_of_another_type_is_noted():
    assert read(Conn()).warnings == ()
    (warning,) = read(Conn(conn_type="http")).warnings
    assert "'http', not 'truto'" in warning


def test_a_connection_test_s_own_name_is_in_no_message():
    with pytest.raises(TrutoSchemaError, match=r"^this connection cannot be used") as refused:
        read(Conn(password=""), conn_id=None)
    assert "None" not in str(refused.value)


# ---------------------------------------------------------------------------------------------- where a token may go

HOSTS = "api.truto.one, gateway.example,PROXY.example , ::1"


@pytest.mark.parametrize(
    ("host", "extra"),
    [
        (None, {}),
        ("https://Gateway.example:8443/truto", {}),
        (None, {"proxy": "http://me:pw@proxy.example:3128"}),
        (None, {"allow_http": True}),  # of no use, and no harm, beside https
        ("http://[::1]:8765", {}),
    ],
)
def test_what_allowed_hosts_name_can_be_reached(host, extra):
    assert read(Conn(host=host, extra=extra), allowed_hosts=HOSTS).settings.base_url


@pytest.mark.parametrize(
    ("host", "extra", "said"),
    [
        ("evil.example", {}, "/host: evil.example is not among [truto] allowed_hosts"),
        ("api.truto.one.evil.example", {}, "/host"),
        ("https://api.truto.one.", {}, "/host"),
        ("http://127.0.0.1:8765", {}, "/host"),
        (None, {"proxy": "http://me:pw@evil.example:3128"}, "/extra/proxy: the proxy evil.example is not among"),
        (None, {"proxy": "http://api.truto.one@evil.example"}, "/extra/proxy"),
        (None, {"verify_tls": "false"}, "/extra/verify_tls: must stay on"),
        ("http://gateway.example", {"allow_http": True}, "/extra/allow_http: means nothing"),
    ],
)
def test_a_connection_leads_nowhere_but_to_allowed_hosts(host, extra, said):
    conn = Conn(host=host, extra=extra)
    with pytest.raises(TrutoSchemaError) as refused:
        read(conn, allowed_hosts=HOSTS)
    assert said in str(refused.value)
    assert "pw" not in str(refused.value)
    assert read(conn).settings  # where the operator has set no list, all of them are somebody's good reason


@pytest.mark.parametrize(
    "hosts", [",", " , ", "https://api.truto.one", "api.truto.one:443", "api.truto.one/v1", "a b"]
)
def test_a_list_of_hosts_that_names_none_lets_nothing_through(hosts):
    with pytest.raises(TrutoSchemaError, match=r"/allowed_hosts: \[truto\] allowed_hosts of this Airflow"):
        read(Conn(), allowed_hosts=hosts)


def test_what_was_read_shows_no_secret():
    connection = read(Conn(extra={"proxy": "http://me:proxy-pass-9@proxy:3128"}))
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
        read(Conn(extra=extras))
    except TrutoSchemaError as error:
        refusal = error
    assert refusal is None or refusal.problems
    assert PLANTED not in str(refusal)
