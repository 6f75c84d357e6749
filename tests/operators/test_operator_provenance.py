"""Where a value comes from decides whether it is rendered, on a real Airflow: the author's text is, data never."""

from __future__ import annotations

import pytest
from airflow_runs import MODES

pytestmark = pytest.mark.airflow

#: Every value below is this text. The author's becomes "rendered", data stays as it is.
TEXT = "{{params.mark}}"
SETUP = '''
from functools import cache

try:
    from airflow.sdk import TaskGroup, task_group
except ImportError:
    from airflow.decorators import task_group
    from airflow.utils.task_group import TaskGroup

T = "{{params.mark}}"
ROWS = {
    "text": [T],
    "body": [{"description": T}],
    "json": ['{"description": "%s"}' % T],
    "row": [{"body": {"description": T}}],
    "account": [{"account_id": RECORD}],
    "company": [{"company": T}],
    "file": ["{{params.mark}}.json"],
    "two": [{"description": "no"}, {"description": T}],
}

@cache
def give(name):
    return task(task_id="give_" + name)(lambda: ROWS[name])()

@cache
def give_one(name):
    return task(task_id="give_one_" + name)(lambda: ROWS[name][0])()

class Preset(TrutoUpdateAccountOperator):
    def __init__(self, **arguments):
        super().__init__(body={"description": T}, **arguments)

class Default(TrutoUpdateAccountOperator):
    def __init__(self, *, body={"description": T}, **arguments):
        super().__init__(body=body, **arguments)

class Noted(TrutoUpdateAccountOperator):
    note = T
    template_fields = (*TrutoUpdateAccountOperator.template_fields, "note")
    def execute(self, context):
        self.body = {"description": self.note}
        return super().execute(context)

class Around(TrutoUpdateAccountOperator):
    """Puts an argument of its own into a body of its own."""
    def __init__(self, *, company, **arguments):
        super().__init__(body={"name": company, "description": T}, **arguments)

class Grown(TrutoUpdateAccountOperator):
    """Adds to the body that it is given."""
    def __init__(self, *, body, **arguments):
        super().__init__(body={**body, "name": T}, **arguments)

def one(key, cls=TrutoUpdateAccountOperator, **arguments):
    defaults = {"account_id": RECORD, "integrated_account_id": ACME, "idempotency_key": key, "verify": None}
    return cls(task_id=key, **{**defaults, **arguments})

def each(key, cls=TrutoUpdateAccountOperator, **arguments):
    defaults = {"integrated_account_id": ACME, "idempotency_key": key, "verify": None, "account_id": RECORD}
    arguments = {**defaults, **arguments}
    return cls.partial(task_id=key, **{name: value for name, value in arguments.items() if value is not ...})

BODY = {"description": T}
'''
#: What makes the task of a name: in the first table the text is the author's, in the second it is data.
AUTHORS = {
    "argument": "one(KEY, body=BODY)",
    "json_text": 'one(KEY, body=\'{"description": "%s"}\' % T)',
    "body_file": "one(KEY, body_file='body.json')",
    "body_file_named_upstream": "one(KEY, body_file=give_one('file'))",
    "default_args": "one(KEY, body=BODY, default_args={'output_path': None, 'on_none': 'omit'})",
    "default_args_key": "update(KEY, body=BODY, default_args={'idempotency_key': 'default_args_key-' + T})",
    "preset": "one(KEY, Preset)",
    "default": "one(KEY, Default)",
    "class_attribute": "one(KEY, Noted, body={})",
    "group_over_a_list": """
@task_group
def g_KEY(value):
    one(KEY, body={'description': value})
g_KEY.expand(value=[T])
""",
    "group_over_rows": """
@task_group
def g_KEY(body):
    one(KEY, body=body)
g_KEY.expand_kwargs([{'body': BODY}])
""",
    "m_partial": "each(KEY, account_id=..., body=BODY).expand(account_id=[RECORD])",
    "m_partial_beside_data": "each(KEY, account_id=..., body=BODY).expand_kwargs(give('account'))",
    "m_default_args": """
given = give('account')
with TaskGroup('g_KEY', default_args={'idempotency_key': KEY + '-' + T}):
    each(KEY, account_id=..., idempotency_key=..., body=BODY).expand_kwargs(given)
""",
    "m_preset": "each(KEY, Preset, account_id=...).expand_kwargs(give('account'))",
    "m_preset_over_a_list": "each(KEY, Preset, account_id=...).expand(account_id=[RECORD])",
    "m_default": "each(KEY, Default, account_id=...).expand_kwargs(give('account'))",
    "m_class_attribute": "each(KEY, Noted, account_id=..., body={}).expand_kwargs(give('account'))",
    "m_body_file": "each(KEY, account_id=..., body_file='body.json').expand_kwargs(give('account'))",
    "m_body_file_of_data": "each(KEY).expand(body_file=give('file'))",
    "m_list": "each(KEY).expand(body=[BODY])",
    "m_list_of_json_text": 'each(KEY).expand(body=[\'{"description": "%s"}\' % T])',
    "m_rows": "each(KEY).expand_kwargs([{'body': BODY}])",
    "m_partial_under_rows": "each(KEY, body=BODY).expand_kwargs(give('account'), strict=False)",
}
DATA = {
    "output": "one(KEY, body=give_one('body'))",
    "output_of_json_text": "one(KEY, body=give_one('json'))",
    "output_of_an_operator": "one(KEY, body={'description': give_one('text').operator.output})",
    "params": "one(KEY, body={'description': '{{ params.data }}'})",
    "conf": "one(KEY, body={'description': '{{ dag_run.conf.data }}'})",
    "pulled": "give_one('body') >> one(KEY, body='{{ ti.xcom_pull(\"give_one_body\") }}')",
    "literal": "one(KEY, body=literal(BODY))",
    "group_over_data": """
@task_group
def g_KEY(value):
    one(KEY, body={'description': value})
g_KEY.expand(value=give('text'))
""",
    "group_over_rows_of_data": """
@task_group
def g_KEY(body):
    one(KEY, body=body)
g_KEY.expand_kwargs(give('row'))
""",
    "m_list_with_literal": "each(KEY).expand(body=[literal(BODY)])",
    "m_list_with_output": "each(KEY).expand(body=[give_one('body')])",
    "m_output": "each(KEY).expand(body=give('body'))",
    "m_output_of_json_text": "each(KEY).expand(body=give('json'))",
    "m_rows_with_output": "each(KEY).expand_kwargs([{'body': give_one('body')}])",
    "m_rows_one_of_them_output": "each(KEY).expand_kwargs([give_one('row')])",
    "m_rows_of_data": "each(KEY).expand_kwargs(give('row'))",
    "m_rows_of_data_over_partial": "each(KEY, body={'name': T}).expand_kwargs(give('row'), strict=False)",
    "m_zipped": "each(KEY).expand(body=give('two').zip(give('text')).map(lambda pair: {'description': pair[1]}))",
}
#: Tasks in which there is some of both, or a null, and what arrives.
BOTH = {
    "output_within": (
        "one(KEY, body={'description': give_one('text'), 'name': T})",
        {"description": TEXT, "name": "rendered"},
    ),
    "output_within_preset": ("one(KEY, Around, company=give_one('text'))", {"description": "rendered", "name": TEXT}),
    "params_in_text": ("one(KEY, body={'description': 'a {{ params.data }}'})", {"description": "a {{params.mark}}"}),
    "literal_within": (
        "one(KEY, body={'description': literal(T), 'name': T})",
        {"description": TEXT, "name": "rendered"},
    ),
    "literal_with_none": (
        "one(KEY, body=literal({'description': None, 'tags': []}), allow_empty=True)",
        {"description": None, "tags": []},
    ),
    "literal_none_within": (
        "one(KEY, body={'description': literal(None), 'owner': literal({'id': None})})",
        {"description": None, "owner": {"id": None}},
    ),
    "literal_json_text": (
        'one(KEY, body=literal(\'{"description": null, "name": "%s"}\' % T))',
        {"description": None, "name": TEXT},
    ),
    "m_around": ("each(KEY, Around).expand_kwargs(give('company'))", {"description": "rendered", "name": TEXT}),
    "m_around_expand": ("each(KEY, Around).expand(company=give('text'))", {"description": "rendered", "name": TEXT}),
    "m_around_a_list": ("each(KEY, Around).expand(company=[T])", {"description": "rendered", "name": "rendered"}),
    "m_grown": ("each(KEY, Grown).expand_kwargs(give('row'))", {"description": TEXT, "name": "rendered"}),
    "m_rows_with_literal": (
        "each(KEY).expand_kwargs([{'body': literal({'description': None})}])",
        {"description": None},
    ),
    "m_made_of_data": (
        "each(KEY).expand_kwargs(give('body').map(lambda body: {'body': {**body, 'name': T}}))",
        {"description": TEXT, "name": TEXT},
    ),
    "m_shared": (
        """
rows = give('account').map(lambda row: {**row, 'idempotency_key': T})
each(KEY, account_id=..., idempotency_key=..., body={'name': KEY, 'description': T}).expand_kwargs(rows)
""",
        {"name": "m_shared", "description": "rendered"},
    ),
}
CASES = {
    **{name: (code, {"description": "rendered"}) for name, code in AUTHORS.items()},
    **{name: (code, {"description": TEXT}) for name, code in DATA.items()},
    **BOTH,
}
#: Under which key a task writes, where that is not its name.
KEYS = {
    "default_args_key": "default_args_key-rendered",
    "m_default_args": "m_default_args-rendered",
    "m_shared": TEXT,
}


@pytest.fixture(
    scope="module",
    params=MODES,
)
def arrived(request, one_airflow, truto):
    truto.reset()
    failures = {}
    for half in (0, 1):
        body = SETUP
        for name, (code, _) in list(CASES.items())[half::2]:
            body += code.replace("g_KEY", f"g_{name}").replace("KEY", repr(name)) + "\n"
        run = one_airflow.run(
            body,
            native=request.param,
            params={"mark": "rendered", "data": TEXT},
            conf={"data": TEXT},
            files=dict.fromkeys(("body.json", f"{TEXT}.json"), f'{{"description": "{TEXT}"}}'),
        )
        for task_id, task in run.tasks.items():
            failures[task_id.partition("[")[0].rpartition(".")[2]] = [failure["message"] for failure in task.failures]
    return {execution["idempotency_key"]: execution["body"] for execution in truto.executions}, failures


@pytest.mark.parametrize("name", CASES)
def test_the_authors_text_is_rendered_and_data_never_is(arrived, name):
    bodies, failures = arrived
    assert failures[name] == []
    assert bodies.get(KEYS.get(name, name)) == CASES[name][1]
