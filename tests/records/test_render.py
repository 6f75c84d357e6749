"""Rendering: a lone expression keeps its type, everything else is text, nothing is a marker; in every Jinja."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum, IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import (
    ChainableUndefined,
    Environment,
    StrictUndefined,
    TemplateSyntaxError,
    pass_context,
)
from jinja2.nativetypes import NativeEnvironment
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from airflow_provider_truto.records.render import Missing, Unknown, mark_missing, render


class NativeSandbox(SandboxedEnvironment, NativeEnvironment):
    """What Airflow uses for a DAG that renders natively."""


@pytest.fixture(
    params=[SandboxedEnvironment, NativeSandbox, Environment, NativeEnvironment], ids=lambda c: c.__name__
)
def env(request):
    return request.param(undefined=StrictUndefined, cache_size=0)


class Tier(str, Enum):
    GOLD = "gold"


class Level(int, Enum):
    HIGH = 3


class Rank(IntEnum):
    FIRST = 1


class Proxy:
    """What Airflow's lazy values are: says that it is of the class of what it stands for."""

    def __init__(self, wrapped):
        self.__wrapped__ = wrapped

    @property
    def __class__(self):
        return type(self.__wrapped__)

    def __str__(self):
        return str(self.__wrapped__)


NOW = datetime(2026, 1, 31, tzinfo=timezone.utc)
CONTEXT = {
    "phone": "+15550100",
    "number": 120,
    "text_number": "120",
    "ratio": 0.1,
    "price": Decimal("1.10"),
    "yes": True,
    "now": NOW,
    "nothing": None,
    "mapping": {"a": 1, "b": None, "deep": {"c": [None, 2]}},
    "items": [1, "2", None],
    "pair": (1, 2),
    "markup": Markup("<b>"),
    "template": "{{ number }}",
    "scientific": "1e5",
    "zeros": "007",
    "looks_like_list": "[1, 2]",
    "looks_like_none": "None",
    "empty": "",
    "tier": Tier.GOLD,
    "level": Level.HIGH,
    "rank": Rank.FIRST,
    "tiers": {Tier.GOLD: [Tier.GOLD]},
    "nan": float("nan"),
    "lazy": Proxy(NOW),
    "lazy_none": Proxy(None),
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ phone }}", "+15550100"),
        ("{{ '+15550100' }}", "+15550100"),
        ("{{ number }}", 120),
        ("{{number}}", 120),
        ("  {{ number }}\n", 120),
        ("{{ number + 1 }}", 121),
        ("{{ text_number }}", "120"),
        ("{{ text_number | int }}", 120),
        ("{{ number | string }}", "120"),
        ("{{ ratio }}", 0.1),
        ("{{ price }}", Decimal("1.10")),
        ("{{ yes }}", True),
        ("{{ not yes }}", False),
        ("{{ 0 }}", 0),
        ("{{ '' }}", ""),
        ("{{ empty }}", ""),
        ("{{ [] }}", []),
        ("{{ {} }}", {}),
        ("{{ now }}", NOW),
        ("{{ [number, 'x'] }}", [120, "x"]),
        ("{{ {'a': number} }}", {"a": 120}),
        ("{{ mapping['a'] }}", 1),
        ("{{ mapping.deep.c[1] }}", 2),
        ("{{ pair }}", [1, 2]),
        ("{{ number if yes else 5 }}", 120),
        ("{{ number if yes }}", 120),
        ("{{ missing | default('x') }}", "x"),
        ("{{ missing | default(5) }}", 5),
        ("{{ scientific }}", "1e5"),
        ("{{ zeros }}", "007"),
        ("{{ looks_like_list }}", "[1, 2]"),
        ("{{ looks_like_none }}", "None"),
        ("{{ markup }}", "<b>"),
        ("{{ mapping.deep.c[1] | tojson }}", "2"),
        ("{# a comment #}{{ number }}", 120),
        ("{{ '{{ number }}' }}", "{{ number }}"),
        ("{{ template }}", "{{ number }}"),
        ("{{ tier }}", "gold"),
        ("{{ tiers }}", {"gold": ["gold"]}),
        ("{{ tiers[tier][0] }}", "gold"),
        ("{{ lazy }}", NOW),
    ],
)
def test_a_lone_expression_keeps_its_type(env, template, value):
    found = render(template, CONTEXT, env)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("120", "120"),
        ("1e5", "1e5"),
        ("007", "007"),
        ("+15550100", "+15550100"),
        ("True", "True"),
        ("None", "None"),
        ("[1, 2]", "[1, 2]"),
        ("{'a': 1}", "{'a': 1}"),
        ("  spaces  ", "  spaces  "),
        ("{{ number }}{{ number }}", "120120"),
        ("{{ number }} {{ number }}", "120 120"),
        ("+{{ number }}", "+120"),
        ("{{ number }}.", "120."),
        ("00{{ number }}", "00120"),
        ("[{{ number }}]", "[120]"),
        ("{{ yes }}!", "True!"),
        ("{% if yes %}{{ number }}{% endif %}", "120"),
        ("{% for i in [1, 2] %}{{ i }}{% endfor %}", "12"),
        ("{% set x = 5 %}{{ x }}", "5"),
        ("{% raw %}{{ number }}{% endraw %}", "{{ number }}"),
        ("{% raw %}120{% endraw %}", "120"),
        ("at {{ now.isoformat() }}", "at 2026-01-31T00:00:00+00:00"),
        ("x{{ template }}", "x{{ number }}"),
        ("{# only a comment #}", ""),
        ("{{ tier }} tier", "gold tier"),
        ("{{ level }} of {{ rank }}", "3 of 1"),
        ("at {{ lazy }}", f"at {NOW}"),
        ("{{ 'x' if not yes }}!", "!"),
        # what is written inside a template is text as well
        ("{% set x %}1e5{% endset %}{{ x }}", "1e5"),
        ("{% set x %}007{% endset %}{{ x }}{{ x }}", "007007"),
        ("{% filter trim %} 1e5 {% endfilter %}", "1e5"),
        ("{% macro m(x) %}0{{ x }}{% endmacro %}{{ m(7) }}", "07"),
        ("{% macro m() %}+{{ caller() }}{% endmacro %}{% call m() %}1e5{% endcall %}", "+1e5"),
        ("{% set x %}None{% endset %}{{ x }}", "None"),
        ("{% set x %}[1, 2]{% endset %}{{ x | length }}", "6"),
    ],
)
def test_every_other_string_becomes_text(env, template, text):
    found = render(template, CONTEXT, env)
    assert found == text
    assert type(found) is str


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ nothing }}", "{{ nothing }} is None"),
        ("  {{ nothing }} ", "{{ nothing }} is None"),
        ("{{ none }}", "{{ none }} is None"),
        ("{{ mapping.b }}", "{{ mapping.b }} is None"),
        ("{{ lazy_none }}", "{{ lazy_none }} is None"),
        ("{{ nan }}", "{{ nan }} is NaN, NaT or NA, which stand for no value"),
        ("Hello {{ nothing }}", "Hello {{ nothing }}: a part of it is None"),
        ("Hello {{ lazy_none }}", "Hello {{ lazy_none }}: a part of it is None"),
        (
            "{% set x %}{{ nothing }}{% endset %}{{ x }}",
            "{% set x %}{{ nothing }}{% endset %}{{ x }}: a part of it is None",
        ),
        ("{{ missing | default(none) }}", "{{ missing | default(none) }} is None"),
        ("{{ mapping.get('absent') }}", "{{ mapping.get('absent') }} is None"),
        (
            "{{ number if not yes }}",
            "{{ number if not yes }} gives nothing, since its condition does not hold",
        ),
    ],
)
def test_nothing_becomes_a_marker_that_says_why(env, template, reason):
    found = render(template, CONTEXT, env)
    assert found == Missing(reason)
    assert repr(found) == f"<missing: {reason}>"


#: A template that names something which does not exist, and what is said of it.
UNKNOWN = {
    "{{ missing }}": "'missing' is unknown.",
    "{{ mapping.absent }}": "'absent' is unknown.",
    "{{ mapping['dep'] }}": "'dep' is unknown: did you mean 'deep'?",
    "{{ missing.x }}": "'missing' is unknown.",
    "{{ mapping.dep.c[0].x }}": "'dep' is unknown: did you mean 'deep'?",
    "{{ items[5] }}": "5 is unknown.",
    "{{ nothing.x }}": "'x' is asked of None.",
    "{{ nothing['x'] }}": "'x' is asked of None.",
    "{{ nothing.x.y }}": "'x' is asked of None.",
    "{{ number.x }}": "'x' is unknown.",
    "{{ missing() }}": "'missing' is unknown.",
    "{{ missing + 1 }}": "'missing' is unknown.",
    "{{ missing | upper }}": "'missing' is unknown.",
    "{{ missing ~ 'x' }}": "'missing' is unknown.",
    "{{ missing or 5 }}": "'missing' is unknown.",
    "{{ missing == none }}": "'missing' is unknown.",
    "Hello {{ missing }}": "'missing' is unknown.",
    "{% if missing %}x{% endif %}": "'missing' is unknown.",
    "{% for x in missing %}{{ x }}{% endfor %}": "'missing' is unknown.",
    "{% set x = missing %}{{ x }}": "'missing' is unknown.",
}


@pytest.mark.parametrize("undefined", [StrictUndefined, ChainableUndefined])
@pytest.mark.parametrize("template", UNKNOWN)
def test_a_name_that_does_not_exist_is_told_whatever_the_dag_says_of_undefined_ones(undefined, template):
    for kind in (SandboxedEnvironment, NativeSandbox):
        found = render(template, CONTEXT, kind(undefined=undefined))
        assert type(found) is Unknown
        assert found.reason.startswith(f"{template}: {UNKNOWN[template]} Where a value may be absent, write .get(")
        assert found != Missing(found.reason)


def test_a_name_that_does_not_exist_is_told_at_its_place_inside_a_value(env):
    found = render("{{ {'a': [mapping.dep], 'b': 1} }}", CONTEXT, env)
    assert found["b"] == 1
    assert type(found["a"][0]) is Unknown
    assert found["a"][0].reason.startswith("{{ {'a': [mapping.dep], 'b': 1} }} → a → 0: 'dep' is unknown")


@pytest.mark.parametrize("template", ["{{ ds }}", "at {{ ts }}", "{{ data_interval_start.isoformat() }}"])
def test_a_date_that_the_run_does_not_have_is_told_as_that(env, template):
    found = render(template, CONTEXT, env)
    assert type(found) is Unknown
    assert "a run without a logical date has none" in found.reason
    assert "run_id" in found.reason


def test_a_logical_date_of_none_is_told_as_that(env):
    found = render("{{ dag_run.logical_date }}", {"dag_run": {"logical_date": None}}, env)
    assert type(found) is Missing
    assert found.reason.startswith("{{ dag_run.logical_date }} is None (a run without a logical date has none")


def test_what_the_dag_makes_of_none_itself_stays(env):
    env.finalize = lambda value: "-" if value is None else value
    assert render("x{{ nothing }}", CONTEXT, env) == "x-"


def test_a_finalizer_of_the_dag_that_takes_the_context_still_gets_it(env):
    env.finalize = pass_context(lambda context, value: f"{context['number']}:{value}")
    assert render("{{ ratio }}!", CONTEXT, env) == "120:0.1!"


def test_none_inside_of_a_value_is_marked_with_its_place(env):
    assert render("{{ mapping }}", CONTEXT, env) == {
        "a": 1,
        "b": Missing("{{ mapping }} → b is None"),
        "deep": {"c": [Missing("{{ mapping }} → deep → c → 0 is None"), 2]},
    }


def test_an_error_of_the_template_itself_is_the_authors_to_see(env):
    with pytest.raises(ZeroDivisionError):
        render("{{ 1 // 0 }}", {}, env)
    with pytest.raises(TemplateSyntaxError):
        render("{{ 1", {}, env)
    with pytest.raises(TemplateSyntaxError):
        render("{{ 'x' | no_such_filter }}", {}, env)


class Lazy(dict):
    """A context like Airflow's, some of whose values are costly or warn."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.read = []

    def __getitem__(self, name):
        self.read.append(name)
        return super().__getitem__(name)

    def __copy__(self):
        twin = Lazy(self)
        twin.read = self.read
        return twin


def test_only_what_a_template_names_is_read_of_the_context(env):
    context = Lazy(a=1, b=2)
    assert render("{{ a }}", context, env) == 1
    assert render("x{{ a }}", context, env) == "x1"
    assert "b" not in context.read


def test_rendering_leaves_the_context_alone(env):
    context = {"a": 1}
    render("{% set a = 2 %}{{ a }}", context, env)
    render("{{ a }}", context, env)
    assert context == {"a": 1}


def test_filters_globals_and_macros_of_the_environment_are_there(env):
    env.filters["twice"] = lambda value: value * 2
    env.globals["site"] = "acme"
    assert render("{{ 4 | twice }}", {}, env) == 8
    assert render("{{ site }}", {}, env) == "acme"
    assert render("{{ site }}", {"site": "mine"}, env) == "mine"
    assert render("{{ range(2) | list }}", {}, env) == [0, 1]


def test_a_sandbox_stays_one():
    for kind in (SandboxedEnvironment, NativeSandbox):
        with pytest.raises(Exception, match="unsafe"):
            render("{{ ''.__class__.__mro__ }}", {}, kind(undefined=StrictUndefined))


@given(st.text().filter(lambda text: not {"{{", "{%", "{#"} & {text[i : i + 2] for i in range(len(text))}))
def test_text_without_templates_stays_as_it_is(text):
    # Jinja normalises line ends, and takes one off the end.
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    expected = expected[:-1] if expected.endswith("\n") else expected
    for kind in (SandboxedEnvironment, NativeSandbox):
        assert render(text, {}, kind(undefined=StrictUndefined)) == expected


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(), x, max_size=4),
)


def unmarked(value):
    if isinstance(value, Missing):
        return None
    if isinstance(value, dict):
        return {key: unmarked(item) for key, item in value.items()}
    return [unmarked(item) for item in value] if isinstance(value, list) else value


def nones(value):
    if isinstance(value, dict):
        return sum(map(nones, value.values()))
    return sum(map(nones, value)) if isinstance(value, list) else value is None


@given(values)
def test_data_comes_out_of_an_expression_as_it_went_in_but_for_marked_nones(value):
    for kind in (SandboxedEnvironment, NativeSandbox):
        found = render("{{ data }}", {"data": value}, kind(undefined=StrictUndefined))
        assert unmarked(found) == value
        assert nones(found) == 0
    assert unmarked(mark_missing(value, source="x")) == value


class LazySequence:
    """Stands in for the lazy sequence of mapped XComs."""

    def __init__(self, items):
        self._items = items

    def __len__(self):
        return len(self._items)

    def __getitem__(self, place):
        return self._items[place]

    def __iter__(self):
        return iter(self._items)


def test_a_lazy_sequence_becomes_a_list():
    from collections.abc import Sequence

    Sequence.register(LazySequence)
    assert mark_missing(LazySequence([1, None]), source="it") == [1, Missing("it → 1 is None")]


def test_markers_are_equal_where_their_reasons_are():
    assert Missing("a") == Missing("a") != Missing("b")
    assert Missing("a") != "a"
    assert len({Missing("a"), Missing("a")}) == 1
