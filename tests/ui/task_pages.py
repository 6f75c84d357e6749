"""Airflow's pages about a DAG and its tasks, of both web servers: what a person does there, and what it shows."""

from __future__ import annotations

import re
import time
from typing import ClassVar
from urllib.parse import parse_qs, quote, urlsplit

#: Seconds in which a triggered run is queued, starts its workers and ends.
LONGEST_RUN = 300

#: Whether a text can be read where the window stands, to its last character: not scrolled out, cut off or covered.
#: Airflow 2.11 draws its pages in a shadow root, which the document's own text does not contain.
IS_ON_SCREEN = """text => {
  const shadows = [...document.querySelectorAll("*")].map(element => element.shadowRoot).filter(root => root);
  return [document, ...shadows].some(root => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node; (node = walker.nextNode()); ) {
      const start = node.data.indexOf(text);
      if (start < 0) continue;
      const range = document.createRange();
      range.setStart(node, start);
      range.setEnd(node, start + text.length);
      const boxes = [...range.getClientRects()];
      const shows = (x, y) => {
        const found = root.elementFromPoint(x, y);
        return found && (found.contains(node) || node.parentElement.contains(found));
      };
      const isRead = box =>
        shows(box.left + 1, (box.top + box.bottom) / 2) && shows(box.right - 1, (box.top + box.bottom) / 2);
      if (boxes.length && boxes.every(isRead)) return true;
    }
    return false;
  });
}"""


#: The text of code that a page shows with its lines numbered.
WITHOUT_NUMBERS = """code => {
  const copy = code.cloneNode(true);
  copy.querySelectorAll(".linenos, [class*=line-number]").forEach(number => number.remove());
  return copy.textContent;
}"""


class TaskPages:
    """What both web servers have in common: their API, and how the pages look once they are open."""

    api: str
    #: What the API wants to know of a run that begins at once.
    now: ClassVar[dict[str, None]]
    #: Where a task's log is, what has its text, and the last group in it.
    log_tab: str
    log: str
    end_of_log: str
    #: Where in the row of an XCom its value is.
    xcom_value: str

    def __init__(self, page):
        self.page = page

    def trigger(self, dag_id):
        """Trigger a DAG without its form; return the id of the run."""
        return self.ask("post", f"dags/{dag_id}/dagRuns", data=self.now)["dag_run_id"]

    def wait_for_end(self, dag_id, run_id):
        """Wait until a run is over; return its state."""
        deadline = time.monotonic() + LONGEST_RUN
        while (state := self.ask("get", f"dags/{dag_id}/dagRuns/{quote(run_id)}")["state"]) in {"queued", "running"}:
            assert time.monotonic() < deadline, f"{dag_id} is still {state}"
            self.page.wait_for_timeout(1_000)
        return state

    def ask(self, method, path, **given):
        answer = getattr(self.page.request, method)(f"{self.api}/{path}", timeout=LONGEST_RUN * 1_000, **given)
        assert answer.ok, answer.text()
        return answer.json()

    def read_xcom(self, key, *task):
        self.open_xcom(*task)
        row = self.page.get_by_role("row").filter(has=self.page.get_by_role("cell", name=key, exact=True))
        value = row.locator(self.xcom_value)
        value.filter(has_not_text="Loading...").filter(has_text=":").wait_for()
        return value.inner_text()

    def read_links(self, *task):
        self.page.goto(self.url_of(*task, tab="details"))
        self.page.get_by_text("Extra Links").wait_for()
        links = self.page.locator("a[target=_blank]").filter(has_text=re.compile("^(Truto: |Ledger)"))
        links.first.wait_for()
        self.page.get_by_role("row").filter(has_text="Run ID").get_by_text(task[1]).wait_for()
        return {link.inner_text(): link.get_attribute("href") for link in links.all()}

    def open_log(self, *task):
        """Open the log of a task, and wait until its end is there; return its text."""
        self.page.goto(self.url_of(*task, tab=self.log_tab))
        self.page.wait_for_function(IS_ON_SCREEN, arg=self.end_of_log)
        return self.page.locator(self.log).inner_text()

    def shows(self, text):
        """Whether a text can be read without scrolling."""
        return self.page.evaluate(IS_ON_SCREEN, text)


class TaskPages2(TaskPages):
    """Those of Airflow 2.11."""

    api = "/api/v1"
    now: ClassVar = {}
    log_tab = "logs"
    log = "code"
    end_of_log = "Post task execution logs"
    xcom_value = "td:last-child"

    def url_of(self, dag_id, run_id, task_id, map_index=None, *, tab):
        index = "" if map_index is None else f"&map_index={map_index}"
        return f"/dags/{dag_id}/grid?dag_run_id={quote(run_id)}&task_id={task_id}{index}&tab={tab}"

    def open_form(self, dag_id):
        self.page.goto(f"/dags/{dag_id}/grid")
        self.page.get_by_label("Trigger DAG").click()
        self.page.locator(".CodeMirror").first.wait_for()  # the script has made what is to be filled in

    def fill(self, name, value):
        self.page.locator(f"#element_{name}").fill(value)

    def fill_json(self, name, text):
        self.page.locator(f"#element_{name} + .CodeMirror").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(text)

    def submit(self):
        self.page.get_by_role("button", name="Trigger", exact=True).click()
        self.page.wait_for_url("**dag_run_id=**")
        return parse_qs(urlsplit(self.page.url).query)["dag_run_id"][0]

    def read_refusal(self):
        """Submit a form that is refused; return what the page says."""
        self.page.get_by_role("button", name="Trigger", exact=True).click()
        return self.page.locator(".alert-error").inner_text()

    def read_rendered(self, dag_id, run_id, task_id, field):
        run = self.ask("get", f"dags/{dag_id}/dagRuns/{quote(run_id)}")
        date = quote(run["logical_date"])
        self.page.goto(f"/rendered-templates?dag_id={dag_id}&task_id={task_id}&execution_date={date}&map_index=-1")
        return self.page.locator(f"h5:text-is('{field}') + *").evaluate(WITHOUT_NUMBERS)

    def open_xcom(self, *task):
        self.page.goto(self.url_of(*task, tab="xcom"))


class TaskPages3(TaskPages):
    """Those of Airflow 3.3."""

    api = "/api/v2"
    now: ClassVar = {"logical_date": None}
    log_tab = ""  # what a task's page begins with
    log = "body"
    end_of_log = "Post Execute"
    xcom_value = "[data-testid=xcom-value]"

    def url_of(self, dag_id, run_id, task_id, map_index=None, tab=""):
        index = "" if map_index is None else f"/mapped/{map_index}"
        return f"/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{index}/{tab}".rstrip("/")

    @property
    def dialog(self):
        return self.page.get_by_role("dialog")

    def open_form(self, dag_id):
        self.page.goto(f"/dags/{dag_id}")
        self.page.get_by_role("button", name="Trigger Dag").click()
        self.dialog.locator("[name=element_account_id]:not([value=''])").wait_for()  # it would overwrite ours

    def fill(self, name, value):
        field = self.dialog.locator(f"[name=element_{name}]")
        field.fill(value)
        field.blur()

    def fill_json(self, name, text):
        """Paste into an editor, which completes the brackets of what is typed."""
        label = name.replace("_", " ").capitalize()
        field = self.dialog.get_by_role("group").filter(has=self.page.get_by_text(label, exact=True))
        self.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page.evaluate("text => navigator.clipboard.writeText(text)", text)
        field.locator(".monaco-editor").first.click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.press("Control+V")

    def submit(self):
        self.dialog.get_by_role("button", name="Trigger", exact=True).click()
        self.page.wait_for_url("**/runs/**")
        return re.search("/runs/([^/?]+)", self.page.url)[1]

    def read_refusal(self):
        """Submit a form that is refused; return what the API says. Airflow 3.3 itself shows no reason."""
        with self.page.expect_response("**/dagRuns") as answer:
            self.dialog.get_by_role("button", name="Trigger", exact=True).click()
        self.page.get_by_text("Failed to Trigger Dag").wait_for()
        return answer.value.text()

    def read_rendered(self, dag_id, run_id, task_id, field):
        self.page.goto(self.url_of(dag_id, run_id, task_id, tab="rendered_templates"))
        cell = self.page.get_by_text(field, exact=True)
        return self.page.get_by_role("row").filter(has=cell).locator("code").first.evaluate(WITHOUT_NUMBERS)

    def open_xcom(self, *task):
        # The tab as a person finds it: since 3.3 the XComs are one of two below Storage.
        self.page.goto(self.url_of(*task))
        self.page.get_by_role("link", name="Storage", exact=True).click()
        self.page.get_by_role("link", name="XCom", exact=True).click()
        self.page.get_by_role("button", name="Expand all extra JSON").click()
