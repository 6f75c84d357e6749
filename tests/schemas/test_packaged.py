"""A resource is added by a folder of schemas, whose parts are all optional; see CONTRIBUTING.

The template beside this file stands for such a folder. Its ``response.json`` expects a number where the emulator
answers text, so that its warning shows that it was read.
"""

from __future__ import annotations

import itertools
import logging
import shutil
from pathlib import Path

import pytest

from airflow_provider_truto.emulator import ACME
from airflow_provider_truto.operators.unified import TrutoUnifiedOperator
from airflow_provider_truto.schemas import packaged

TEMPLATE = Path(__file__).parent / "template"
PARTS = [part.stem for part in sorted(TEMPLATE.iterdir())]


@pytest.fixture
def add_resource(tmp_path, monkeypatch):
    """A function that adds the template, or some parts of it, to copies of this package's schemas."""
    folder = tmp_path / "schemas"
    shutil.copytree(packaged.FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setattr(packaged, "FOLDER", folder)

    def add(operation, parts):
        (folder / operation).mkdir()
        for part in parts:
            shutil.copy(TEMPLATE / f"{part}.json", folder / operation)
        packaged.load_packaged_schema.cache_clear()

    yield add
    packaged.load_packaged_schema.cache_clear()


def update_contact(body, record_id="1001"):
    operator = TrutoUnifiedOperator(
        task_id="update_contact",
        model="crm",
        resource="contacts",
        method="update",
        record_id=record_id,
        body=body,
        integrated_account_id=ACME,
    )
    return operator.execute({})


@pytest.mark.parametrize("parts", [c for n in range(4) for c in itertools.combinations(PARTS, n)], ids="-".join)
def test_a_resource_is_added_by_a_folder_and_an_absent_part_leaves_out_its_check(
    parts, add_resource, emulator, connection, caplog, capsys
):
    add_resource("crm.contacts.update", parts)
    connection(emulator.url, emulator.token, max_attempts=1)
    with caplog.at_level(logging.WARNING):
        assert update_contact({"title": "CEO"})["title"] == "CEO"
    # Airflow 3 prints what tasks log, earlier versions hand it to logging.
    log = capsys.readouterr().out + caplog.text
    assert ("/title: expects a whole number or null, got a text" in log) == ("response" in parts)

    try:
        update_contact({"titel": "CEO"})
        said = ""
    except Exception as error:
        said = str(error)
    assert ("/body/titel: is not a known field: did you mean `title`" in said) == ("request" in parts)
    with pytest.raises(Exception, match="/record_id: 'x1' does not match" if "path" in parts else "404"):
        update_contact({"title": "CEO"}, record_id="x1")
    assert [call["body"] for call in emulator.executions[:1]] == [{"title": "CEO"}]
    assert len(emulator.executions) == 1 + ("request" not in parts) + ("path" not in parts)


def test_an_operation_never_leads_out_of_the_folder():
    assert packaged.load_packaged_schema("../schemas/crm.accounts.update", "request") is None
    assert packaged.load_packaged_schema("__pycache__", "request") is None
