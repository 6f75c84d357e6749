"""Query strings, against what `qs` 6.15.1 makes of them under Node 20."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_truto.emulator.http import query

QS = [
    ("a=1&b=2", {"a": "1", "b": "2"}),
    ("a[]=x&a[]=y", {"a": ["x", "y"]}),
    ("a[0]=x&a[1]=y", {"a": ["x", "y"]}),
    ("a[1]=y&a[0]=x", {"a": ["x", "y"]}),
    ("a=x&a=y", {"a": ["x", "y"]}),
    ("a=x&a=y&a=z", {"a": ["x", "y", "z"]}),
    ("a%5B%5D=x&a%5B%5D=y", {"a": ["x", "y"]}),
    ("a%5b0%5d=x", {"a": ["x"]}),
    ("f[b]=c", {"f": {"b": "c"}}),
    ("f[b][c][d]=e", {"f": {"b": {"c": {"d": "e"}}}}),
    ("a[]=x&a=y", {"a": ["x", "y"]}),
    ("a=x&a[]=y", {"a": ["x", "y"]}),
    ("a=x&a=y&a[]=z", {"a": ["x", "y", "z"]}),
    ("a[0]=x&a[]=y", {"a": ["x", "y"]}),
    ("a[0]=x&a[2]=z", {"a": ["x", "z"]}),
    ("a[5]=x", {"a": ["x"]}),
    ("a[21]=x", {"a": {"21": "x"}}),
    ("a[19]=x&a[20]=y", {"a": {"19": "x", "20": "y"}}),
    ("a[01]=x", {"a": {"01": "x"}}),
    ("a[-1]=x", {"a": {"-1": "x"}}),
    ("a[]=d&a[b]=c", {"a": {"0": "d", "b": "c"}}),
    ("a[b]=c&a[]=d", {"a": {"0": "d", "b": "c"}}),
    ("a[b]=c&a[b]=d", {"a": {"b": ["c", "d"]}}),
    ("a[b][]=1&a[b][]=2", {"a": {"b": ["1", "2"]}}),
    ("foo[][bar]=1", {"foo": [{"bar": "1"}]}),
    ("foo[][a]=1&foo[][b]=2", {"foo": [{"a": "1", "b": "2"}]}),
    ("foo[0][a]=1&foo[1][a]=2", {"foo": [{"a": "1"}, {"a": "2"}]}),
    ("a[b=c", {"a[b": "c"}),
    ("a]b=c", {"a]b": "c"}),
    ("a[b]c=d", {"a": {"b": "d"}}),
    ("a=", {"a": ""}),
    ("a", {"a": ""}),
    ("&&a=1&", {"a": "1"}),
    ("a+b=c+d", {"a b": "c d"}),
    ("a=%2B%20%C3%A9", {"a": "+ é"}),
    ("a=%", {"a": "%"}),
    ("a=b=c", {"a": "b=c"}),
    ("a=1;b=2", {"a": "1;b=2"}),
    ("integration.name=hubspot", {"integration.name": "hubspot"}),
    ("created_at[gt]=2021-01-01T00:00:00.000Z", {"created_at": {"gt": "2021-01-01T00:00:00.000Z"}}),
]


@pytest.mark.parametrize(("query_string", "nested"), QS)
def test_a_query_is_read_as_qs_reads_it(query_string, nested):
    assert query.nest_pairs(query.split_pairs(query_string)) == nested


def test_a_long_list_stays_a_list():
    values = [str(number) for number in range(50)]
    assert query.nest_pairs([("a[]", value) for value in values]) == {"a": values}
    assert query.nest_pairs([("a", value) for value in values]) == {"a": values}


@given(st.text(alphabet="ab01[]=&+%. é", max_size=40))
def test_no_query_is_an_error(query_string):
    assert isinstance(query.nest_pairs(query.split_pairs(query_string)), dict)
