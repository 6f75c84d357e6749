"""The connection form of Airflow 2.11, as people see it: its own web server in a real browser."""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from airflow_home import airflow_home, emulator, free_port, run_airflow, running_part

from airflow_provider_truto.connection_fields import EXTRA_FIELDS, PLACEHOLDERS
from airflow_provider_truto.emulator import ACME, TOKEN

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not version("apache-airflow").startswith("2."), reason="the web server of Airflow 2"),
]

USER = PASSWORD = "admin"
#: Seconds; a busy machine with two cores takes half a minute.
LONGEST_START = 180
#: Milliseconds for any one step.
PATIENCE = 60_000
BY_NAME = {field.name: field for field in EXTRA_FIELDS}
#: What the form stores of the fields that nobody touched.
UNTOUCHED = {"max_attempts": None, "allow_http": False}


@dataclass(frozen=True, kw_only=True)
class WebServer:
    """A running web server and the emulator that connections lead to; ``env`` is for commands of Airflow."""

    url: str
    emulator_url: str
    env: dict[str, str]

    def log_tail(self, lines=40):
        log = Path(self.env["AIRFLOW_HOME"]) / "webserver.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])

    def add(self, conn_id, extra):
        """Add a connection as a command line or Terraform does: its extras are JSON of any kind."""
        connection = {"conn_type": "truto", "host": self.emulator_url, "password": TOKEN, "extra": extra}
        run_airflow(self.env, "connections", "add", conn_id, "--conn-json", json.dumps(connection))

    def test_stored(self, conn_id):
        """Test a connection as it is stored, its token included; raises where it does not work."""
        run_airflow(self.env, "connections", "test", conn_id)


@contextmanager
def airflow_2_ui():
    """Run the emulator and Airflow 2.11's web server on a fresh AIRFLOW_HOME; both are gone afterwards."""
    with emulator("--quiet") as emulator_url, airflow_home() as env:
        port = free_port()
        env |= {
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
            "AIRFLOW__WEBSERVER__WORKERS": "1",
        }
        user = {"username": USER, "password": PASSWORD, "email": "a@example.org", "firstname": "A", "lastname": "B"}
        options = [text for name, value in user.items() for text in (f"--{name}", value)]
        run_airflow(env, "users", "create", "--role", "Admin", *options)
        with running_part(env, "webserver") as process:
            server = WebServer(url=f"http://127.0.0.1:{port}", emulator_url=emulator_url, env=env)
            wait_until_ready(server, process)
            yield server


def wait_until_ready(server, process):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + LONGEST_START
    while time.monotonic() < deadline and process.is_running():
        with suppress(OSError), direct.open(f"{server.url}/health", timeout=10):
            return
        time.sleep(0.5)
    raise RuntimeError("the web server did not start")


@pytest.fixture(scope="module")
def airflow(browser):
    with airflow_2_ui() as running:
        yield running


@pytest.fixture(scope="module")
def login(airflow, browser):
    """The cookies of somebody who is logged in. Once for all tests: Airflow takes five logins in 40 seconds."""
    context = browser.new_context(base_url=airflow.url)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto("/login/")
    page.locator("#username").fill(USER)
    page.locator("#password").fill(PASSWORD)
    page.locator("input[type=submit]").click()
    page.wait_for_url("**/home")
    cookies = context.cookies()
    context.close()
    return cookies


@pytest.fixture
def page(page, login):
    """A window that is logged in."""
    page.context.add_cookies(login)
    return page


def stored(page, conn_id):
    """A connection as Airflow's API gives it, its extras as an object."""
    connection = page.request.get(f"/api/v1/connections/{conn_id}").json()
    return {**connection, "extra": json.loads(connection["extra"])}


class ConnectionForm:
    """Airflow 2.11's page for one connection."""

    def __init__(self, page):
        self.page = page

    @classmethod
    def new(cls, page, conn_id):
        page.goto("/connection/list/")  # where saving leads back to
        page.goto("/connection/add")
        page.locator("#test-connection").wait_for()  # the page's script makes it, when it has put all in order
        page.locator("#conn_id").fill(conn_id)
        page.locator("#conn_type").select_option("truto", force=True)
        page.locator("#extra__truto__timeout").wait_for()
        return cls(page)

    @classmethod
    def edit(cls, page, conn_id):
        page.goto("/connection/list/")
        page.locator("tr", has=page.get_by_text(conn_id, exact=True)).locator("a[href*='/connection/edit/']").click()
        page.locator("#test-connection").wait_for()
        return cls(page)

    def standard(self, name):
        return self.page.locator(f"#{name}")

    def extra(self, name):
        return self.page.locator(f"#extra__truto__{name}")

    def fill_endpoint(self, url, token):
        self.standard("host").fill(url)
        self.standard("password").fill(token)
        self.standard("port").fill(str(urlsplit(url).port))

    def pressed_test(self):
        """Press Test; give whether it passed, and what Airflow says below the menu, in a box of always one colour."""
        with self.page.expect_response("**/connections/test") as answer:
            self.page.locator("#test-connection").click()
        told = answer.value.json()
        self.page.get_by_text(told["message"], exact=True).wait_for()
        return told["status"], told["message"]

    def save(self):
        self.page.locator("#model_form button[type=submit]").click()
        self.page.wait_for_url("**/connection/list/**")


def test_the_form_has_every_field_with_its_label_and_help_and_none_that_means_nothing(page):
    form = ConnectionForm.new(page, "looked_at")
    for field in EXTRA_FIELDS:
        line = page.locator("tr", has=form.extra(field.name))
        assert field.label in line.inner_text(), field.name
        assert field.description in line.inner_text(), field.name
    labels = [page.locator(f"label[for={name}]").inner_text().strip() for name in ("host", "password")]
    assert labels == ["Base URL", "API token"]
    shown = {name: form.standard(name).get_attribute("placeholder") for name in PLACEHOLDERS}
    assert shown == PLACEHOLDERS
    assert not any(form.standard(name).is_visible() for name in ("login", "schema"))
    assert form.standard("password").get_attribute("type") == "password"


def test_what_is_filled_in_is_tested_saved_and_there_when_it_is_edited(page, airflow):
    form = ConnectionForm.new(page, "truto_acme")
    form.fill_endpoint(airflow.emulator_url, "revoked-last-week")
    form.extra("integrated_account_id").fill(ACME)
    form.extra("data_auth").fill("account")
    form.extra("timeout").fill("30")
    form.extra("max_attempts").fill("3")
    form.extra("verify_tls").fill("false")
    form.extra("allow_http").check()
    works, message = form.pressed_test()
    assert not works
    assert "Truto refused the API token (401). Fix: put a valid API token" in message
    assert "revoked-last-week" not in message

    form.standard("password").fill(TOKEN)
    works, message = form.pressed_test()
    assert works, message
    assert f"Integrated account {ACME}: hubspot, tenant acme, status active" in message
    assert "means nothing" not in message
    form.save()
    filled_in = {
        "integrated_account_id": ACME,
        "data_auth": "account",
        "timeout": "30",
        "max_attempts": 3,
        "verify_tls": "false",
        "allow_http": True,
    }
    before = stored(page, "truto_acme")
    assert before["extra"] == filled_in

    form = ConnectionForm.edit(page, "truto_acme")
    assert {name: form.extra(name).input_value() for name in filled_in if name != "allow_http"} == {
        name: str(value) for name, value in filled_in.items() if name != "allow_http"
    }
    assert form.extra("allow_http").is_checked()
    assert TOKEN not in page.content()
    works, message = form.pressed_test()  # the form does not know the token that is stored
    assert not works
    assert "type it once more to test" in message
    form.standard("description").fill("edited")
    form.save()
    assert stored(page, "truto_acme") == {**before, "description": "edited"}
    airflow.test_stored("truto_acme")


def test_a_zero_and_a_false_that_the_form_cannot_show_outlive_an_edit(page, airflow):
    airflow.add("truto_json", {"verify_tls": False, "max_wait": 0, "requests_per_second": 0, "timeout": 2.5})
    form = ConnectionForm.edit(page, "truto_json")
    form.standard("description").fill("edited")
    form.save()
    assert stored(page, "truto_json")["extra"] == {
        **UNTOUCHED,
        "verify_tls": "false",
        "max_wait": "0",
        "requests_per_second": "0",
        "timeout": "2.5",
    }
    form = ConnectionForm.edit(page, "truto_json")
    assert [form.extra(name).input_value() for name in ("verify_tls", "max_wait", "timeout")] == ["false", "0", "2.5"]


@pytest.mark.parametrize(("name", "value"), [("max_attempts", "0"), ("data_auth", "apy"), ("verify_tls", "no")])
def test_a_value_that_can_never_be_right_is_not_saved(page, name, value):
    form = ConnectionForm.new(page, "mistaken")
    form.extra(name).fill(value)
    form.standard("conn_id").page.locator("#model_form button[type=submit]").click()
    page.locator("tr", has=form.extra(name)).locator(".alert").wait_for()
    assert page.request.get("/api/v1/connections/mistaken").status == 404
