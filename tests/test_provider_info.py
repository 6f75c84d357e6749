"""The dict that Airflow discovers: a mistake here breaks `import airflow` for everybody who installs the package."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import airflow
import jsonschema
import pytest

from airflow_provider_truto import connection_fields
from airflow_provider_truto.connection_fields import EXTRA_FIELDS
from airflow_provider_truto.get_provider_info import get_provider_info

AIRFLOW = Path(airflow.__path__[0])


def strings_of(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from strings_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)
    elif isinstance(value, str):
        yield value


def dotted_paths():
    return sorted(
        {text for text in strings_of(get_provider_info()) if re.fullmatch(r"airflow_provider_truto(\.\w+)+", text)}
    )


def test_airflow_s_own_schema_accepts_it():
    schema = json.loads((AIRFLOW / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


@pytest.mark.skipif(
    not (AIRFLOW / "provider.yaml.schema.json").exists(), reason="this Airflow does not ship provider.yaml's schema"
)
def test_the_connection_s_description_fits_the_stricter_schema_of_official_providers():
    schema = json.loads((AIRFLOW / "provider.yaml.schema.json").read_text())
    jsonschema.validate(
        get_provider_info()["connection-types"],
        {**schema["properties"]["connection-types"], "definitions": schema.get("definitions", {})},
    )


def test_the_entry_point_leads_to_it_under_the_canonical_name():
    (entry,) = [
        point
        for point in entry_points(group="apache_airflow_provider")
        if point.value.startswith("airflow_provider_truto")
    ]
    assert entry.load() is get_provider_info
    assert entry.dist.name == get_provider_info()["package-name"] == "airflow-provider-truto"
    assert version("airflow-provider-truto") == importlib.import_module("airflow_provider_truto").__version__


def test_there_are_dotted_paths_to_check():
    assert len(dotted_paths()) >= 3


@pytest.mark.parametrize("path", dotted_paths())
def test_every_dotted_path_can_be_imported(path):
    try:
        importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def test_reading_it_imports_neither_airflow_nor_anything_heavy():
    program = (
        "import sys; from airflow_provider_truto.get_provider_info import get_provider_info; get_provider_info();"
        "print([name for name in ('airflow', 'requests', 'jsonschema', 'aiohttp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_an_operator_does_not_import_requests():
    program = (
        "import sys, airflow_provider_truto._compat; before = 'requests' in sys.modules;"
        "import airflow_provider_truto.operators.accounts; print(before, 'requests' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after = done.stdout.split()[-2:]
    assert before == after


@pytest.mark.parametrize("name", [field.name for field in EXTRA_FIELDS])
def test_no_extra_has_a_name_that_airflow_would_mask_or_a_field_that_the_form_requires(name):
    field = connection_fields.build_form_fields()[name]
    assert not re.search("token|secret|password|passwd|api_?key|apikey|authorization|passphrase", name)
    assert "null" in field["schema"]["type"]
    assert len(field["description"]) > 40
