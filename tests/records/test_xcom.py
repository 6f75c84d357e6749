"""The shape in which an answer goes to XCom: an object that always has ``id``."""

from __future__ import annotations

import pytest

from airflow_provider_truto.records.xcom import XCOM_LIMIT, build_xcom_value, measure_json, summarize


@pytest.mark.parametrize(
    ("response", "value"),
    [
        ({"id": "1", "name": "x"}, {"id": "1", "name": "x"}),
        ({"id": "merged-into-2"}, {"id": "merged-into-2"}),
        ({"name": "x"}, {"id": "1", "name": "x"}),
        ({}, {"id": "1"}),
        ([], {"id": "1", "result": []}),
        ([{"id": "2"}], {"id": "1", "result": [{"id": "2"}]}),
        ("text", {"id": "1", "result": "text"}),
        (0, {"id": "1", "result": 0}),
        (None, {"id": "1", "result": None}),
        (False, {"id": "1", "result": False}),
    ],
)
def test_an_answer_of_any_shape_becomes_an_object_with_id(response, value):
    assert build_xcom_value(response, "1", without_remote_data=True) == value


def test_an_answer_whose_id_is_null_gets_the_accounts():
    assert build_xcom_value({"id": None, "name": "x"}, "1", without_remote_data=True) == {"id": "1", "name": "x"}


def test_remote_data_stays_out_unless_it_was_asked_for():
    response = {"id": "1", "remote_data": {"big": "thing"}}
    assert build_xcom_value(response, "1", without_remote_data=True) == {"id": "1"}
    assert build_xcom_value(response, "1", without_remote_data=False) == response
    assert response == {"id": "1", "remote_data": {"big": "thing"}}


def test_size_is_that_of_utf_8_json():
    assert measure_json({"a": "é"}) == len('{"a": "é"}'.encode())
    assert measure_json({"a": "💸" * 1000}) > 4000


def test_a_summary_names_the_record_what_was_there_and_how_large_it_was():
    value = {"id": "1", "b": "x" * XCOM_LIMIT, "a": 1}
    assert summarize(value, size=measure_json(value)) == {
        "id": "1",
        "truncated": True,
        "bytes": measure_json(value),
        "keys": ["a", "b", "id"],
    }
