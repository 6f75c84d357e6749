"""What Airflow itself discovers of this package: each question is answered by Airflow's code, in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec

import airflow
import pytest
from packaging.version import Version

from airflow_provider_truto._compat import IS_AIRFLOW_2
from airflow_provider_truto.connection_fields import (
    EXTRA_FIELDS,
    HIDDEN_FIELDS,
    PLACEHOLDERS,
    RELABELING,
    build_form_fields,
)
from airflow_provider_truto.get_provider_info import get_provider_info

AIRFLOW = Version(airflow.__version__)
PREFIX = "extra__truto__"
NAMES = [field.name for field in EXTRA_FIELDS]
#: Airflow 2.11 itself, Airflow 3.0 with its FAB provider; from 3.1 on it needs neither.
HAS_FORM = AIRFLOW.release >= (3, 1) or find_spec("flask_appbuilder") is not None


def asked_of_airflow(home, program):
    """Run a program in a fresh process and AIRFLOW_HOME; return what it printed last, as JSON, and the rest."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "AIRFLOW_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *logged, answer = done.stdout.strip().splitlines()
    return json.loads(answer), "\n".join([*logged, done.stderr])


MANAGER = """
import json
from airflow.providers_manager import ProvidersManager

manager = ProvidersManager()
manager.initialize_providers_configuration()
hook = manager.hooks["truto"]
from airflow.configuration import conf

factories = manager.dataset_factories if hasattr(manager, "dataset_factories") else manager.asset_factories
print(json.dumps({
    "hook": [hook.hook_class_name, hook.hook_name, hook.connection_id_attribute_name, hook.connection_testable],
    "widgets": sorted(name for name in manager.connection_form_widgets if "__truto__" in name),
    "behaviour": manager.field_behaviours.get("truto"),
    "version": manager.providers["airflow-provider-truto"].version,
    "assets": factories["truto"].__module__,
    "links": sorted(manager.extra_links_class_names),
    "config": [conf.get("truto", "allowed_hosts"), conf.getboolean("truto", "hide_values")],
}))
"""


def test_only_airflow_2_lets_tasks_ask_its_database():
    assert IS_AIRFLOW_2 is (AIRFLOW.major == 2)


@pytest.fixture(scope="module")
def manager(tmp_path_factory):
    """What Airflow's provider manager knows of us, and what it logged of that."""
    return asked_of_airflow(tmp_path_factory.mktemp("home"), MANAGER)


def test_the_provider_manager_finds_the_hook_the_connection_type_and_the_configuration(manager):
    found, logged = manager
    assert found["hook"] == ["airflow_provider_truto.hooks.truto.TrutoHook", "Truto", "truto_conn_id", True]
    assert found["version"] == version("airflow-provider-truto")
    assert found["config"] == ["", False]
    assert found["assets"] == "airflow_provider_truto.assets"
    assert set(get_provider_info()["extra-links"]) <= set(found["links"])
    complaints = [line for line in logged.splitlines() if "truto" in line.lower() and "warn" in line.lower()]
    assert complaints == []


@pytest.mark.skipif(
    AIRFLOW.release < (3, 2) and find_spec("flask_appbuilder") is None,
    reason="Airflow 3.0 and 3.1 ask for widgets only where WTForms is installed, or the form is shown",
)
def test_the_provider_manager_finds_every_field_of_the_form(manager):
    found, _ = manager
    assert found["widgets"] == sorted(PREFIX + name for name in NAMES)
    assert found["behaviour"] == {
        "hidden_fields": list(HIDDEN_FIELDS),
        "relabeling": RELABELING,
        "placeholders": PLACEHOLDERS,
    }


# ----------------------------------------------------------------------------------------- Airflow 2.11's form

FORM_OF_AIRFLOW_2 = """
import json
from airflow.www.app import create_app
app = create_app(testing=True)
with app.test_request_context():
    from airflow.www.forms import create_connection_form_class
    form = create_connection_form_class()()
    fields = [field for field in form if field.name.startswith("extra__truto__")]
    print(json.dumps({field.short_name: [type(field).__name__, str(field.label.text), field.description, field.data]
        for field in fields}))
"""


@pytest.mark.skipif(AIRFLOW.major != 2, reason="the form of Airflow 2")
def test_the_form_of_airflow_2_shows_every_field(tmp_path):
    fields, _ = asked_of_airflow(tmp_path, FORM_OF_AIRFLOW_2)
    assert list(fields) == [PREFIX + name for name in NAMES]
    for field in EXTRA_FIELDS:
        kind, label, description, data = fields[PREFIX + field.name]
        # A box that is checked by default would be checked again by each edit of a connection that stores a false.
        expected = {"boolean": "StringField" if field.default else "BooleanField", "integer": "IntegerField"}
        assert kind == expected.get(field.type, "StringField"), field.name
        assert label == field.label
        assert description.startswith(field.description)
        assert not data


# ------------------------------------------------------------------------------------------- Airflow 3's form

FORM_OF_AIRFLOW_3 = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
{before}
[form] = [form for form in HookMetaService.hook_meta_data() if form.connection_type == "truto"]
print(json.dumps(form.model_dump(mode="json")))
"""
ASKED_BEFORE = "from airflow.providers_manager import ProvidersManager; ProvidersManager().hooks['truto']"


@pytest.mark.skipif(AIRFLOW.major == 2 or not HAS_FORM, reason="the form of Airflow 3; that of 3.0 needs FAB")
@pytest.mark.parametrize("before", ["", ASKED_BEFORE], ids=["at first", "after the provider manager was asked"])
def test_the_form_of_airflow_3_shows_every_field(tmp_path, before):
    if before and (AIRFLOW.release >= (3, 2) or find_spec("flask_appbuilder") is None):
        pytest.skip("later ones ask nobody twice, and 3.1 without WTForms remembers that it found none")
    form, _ = asked_of_airflow(tmp_path, FORM_OF_AIRFLOW_3.format(before=before))
    assert form["hook_name"] == "Truto"
    standard = form["standard_fields"]
    assert {name for name, field in standard.items() if field and field["hidden"]} == {"login", "url_schema"}
    assert {name: standard[name]["title"] for name in RELABELING} == RELABELING
    assert {name: standard[name]["placeholder"] for name in PLACEHOLDERS} == PLACEHOLDERS
    assert list(form["extra_fields"]) == NAMES
    for field in EXTRA_FIELDS:
        shown = form["extra_fields"][field.name]
        kind, _ = build_form_fields()[field.name]["schema"]["type"]
        if AIRFLOW.release < (3, 2) and kind == "number":
            kind = "string"  # WTForms has a field for numbers that Airflow does not take
        assert shown["schema"]["type"] == [kind, "null"], field.name
        assert (shown["schema"]["title"], shown["description"]) == (field.label, field.description)
        assert shown["value"] == field.default
        assert set(field.choices) <= set(shown["schema"].get("enum", [])), field.name
