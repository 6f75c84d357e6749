"""A column that no body has is refused with the header, before anything is sent; what may be a field is not."""

from __future__ import annotations

import pyarrow
import pytest
from bulk_operator import run
from pyarrow import parquet

from airflow_provider_truto._compat import AirflowFailException
from airflow_provider_truto.operators.bulk_unified import TrutoBulkUnifiedOperator
from airflow_provider_truto.records.request import RecordRequest
from airflow_provider_truto.records.validate import explain_unknown_field

CLOSED = {"type": "object", "additionalProperties": False, "properties": {"tier": {"type": "string"}}}
CHOICE = {"type": "object", "oneOf": [CLOSED, {"type": "object"}], "additionalProperties": False}


@pytest.fixture
def sources(tmp_path, sqlite, one):
    """A function that returns the arguments for a table with these columns of text, and one row."""

    def make(kind, *columns):
        names = ["id", "integrated_account_id", *columns]
        cells = ["r1", one.accounts[0], *["x"] * len(columns)]
        if kind == "sql":
            quoted = ", ".join(f'"{name}"' for name in names)
            sqlite(f"create table t ({quoted}); insert into t values ({', '.join(map(repr, cells))})")
            return {"sql": "select * from t", "sql_conn_id": "warehouse"}
        path = tmp_path / f"rows.{kind}"
        if kind == "csv":
            path.write_text(f"{','.join(names)}\n{','.join(cells)}\n")
        else:
            parquet.write_table(pyarrow.table({name: [cell] for name, cell in zip(names, cells, strict=True)}), path)
        return {"source": str(path)}

    return make


@pytest.mark.parametrize("kind", ["csv", "parquet", "sql"])
def test_a_misspelt_column_is_refused_before_anything_is_sent(one, task, sources, output, kind):
    source = sources(kind, "description", "websit", "owner.idd")
    with pytest.raises(AirflowFailException) as failure:
        run(task(**source, max_failures=None))
    told = str(failure.value)
    assert "the column 'websit' is not a known field: did you mean `website`?" in told
    assert "the column 'owner.idd' is not a known field: did you mean `id`?" in told
    assert "name it in extra_fields" in told
    assert "This try has sent nothing" in told
    assert one.emulator.requests == []
    assert not list(output.rglob("header-*")), "a corrected source may be read by the next try"


@pytest.mark.parametrize(
    "arguments",
    [
        {"extra_fields": ["websit"]},
        {"schema": None},
        {"schema": {"type": "object"}},
        {
            "mapping": {
                "id": "{{ row.id }}",
                "integrated_account_id": "{{ row.integrated_account_id }}",
                "body": {"website": "{{ row.websit }}"},
            }
        },
    ],
    ids=["named in extra_fields", "no schema", "an open schema", "a mapping"],
)
def test_a_column_that_may_be_meant_is_let_through(one, task, sources, arguments):
    assert run(task(**sources("csv", "websit"), **arguments))["updated"] == 1
    assert len(one.writes()) == 1


def test_what_a_delete_has_beside_the_id_is_not_a_field(one, sources, output):
    operator = TrutoBulkUnifiedOperator(
        task_id="bulk",
        model="crm",
        resource="accounts",
        method="delete",
        output_path=f"file://{output}",
        max_failures=0,
        **sources("csv", "websit"),
    )
    assert "known field" not in str(run(operator))


@pytest.mark.parametrize(
    ("path", "given", "why"),
    [
        (("website",), {}, None),
        (("websit",), {}, "did you mean `website`"),
        (("WEBSITE",), {}, "did you mean `website`"),
        (("updated_at",), {}, "is read-only"),
        (("custom_fields", "anything"), {}, None),
        (("addresses", 0, "city"), {}, None),
        (("addresses", 0, "citty"), {}, "did you mean `city`"),
        (("addresses", 0, "citty"), {"extra_fields": ["/addresses/*/citty"]}, None),
        (("websit",), {"extra_fields": ["websit"]}, None),
        (("nested", "below"), {"extra_fields": ["nested"]}, None),
        (("websit",), {"schema": None}, None),
        (("websit",), {"schema": "live"}, None),
        (("websit",), {"schema": CLOSED}, "known: tier"),
        (("websit",), {"schema": CHOICE}, None),
        (("websit",), {"method": "delete"}, None),
        (("websit",), {"resource": "contacts"}, None),
    ],
)
def test_a_field_is_unknown_only_where_its_name_alone_tells(path, given, why):
    request = RecordRequest(**{"model": "crm", "resource": "accounts", "method": "update", **given})
    found = explain_unknown_field(request, path)
    assert found is None if why is None else why in (found or "")
