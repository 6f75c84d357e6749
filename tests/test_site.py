"""The site, as `make docs` has built it before it runs this, and what a package index will show."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
import zlib
from functools import cache
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import pytest
from test_promised_names import ERRORS, PROMISED

ROOT = Path(__file__).parent.parent
if "SITE" not in os.environ:
    pytest.skip("`make docs` builds the site, and runs this", allow_module_level=True)
SITE = (ROOT / os.environ["SITE"]).resolve()
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))


def references(html):
    """What a page refers to: its links, and what a browser loads to show it."""
    links = re.findall(r'<a\b[^>]*?\bhref="([^"]*)"', html)
    loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*?\bsrc="([^"]*)"', html)
    loaded += re.findall(r'<link\b[^>]*?\brel="(?:stylesheet|icon|preload)"[^>]*?\bhref="([^"]*)"', html)
    return links, loaded


@cache
def anchors_of(page):
    return set(re.findall(r'\bid="([^"]+)"', (SITE / page).read_text()))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere_and_nothing_is_loaded_from_elsewhere(page):
    links, loaded = references((SITE / page).read_text())
    assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []
    for address in {*links, *loaded}:
        target, anchor = urldefrag(urljoin(page, address.partition("?")[0]))
        if re.match(r"(https?|mailto|data):", address) or target.startswith("_sources/"):
            continue
        assert (SITE / target).is_file(), address
        if anchor:
            assert anchor in anchors_of(target), address


def test_style_sheets_load_nothing_from_elsewhere():
    styles = list(SITE.rglob("*.css"))
    assert styles
    for style in styles:
        assert not re.search(r"""(url\(|@import)\s*["']?(https?:)?//""", style.read_text()), style


def test_other_projects_can_link_to_every_promised_name():
    listed = zlib.decompress((SITE / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    names = {line.split(" ")[0].removeprefix("airflow_provider_truto.") for line in listed.splitlines()}
    assert {*PROMISED, *(f"client.errors.{name}" for name in ERRORS)} - names == set()


def test_no_name_with_an_underscore_is_in_the_reference():
    listed = zlib.decompress((SITE / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    assert [line for line in listed.splitlines() if " py:" in line and re.search(r"\._", line.split(" ")[0])] == []


# ---------------------------------------------------------------------------------------------------- a package index


@pytest.fixture(scope="module")
def metadata():
    hatch = [sys.executable, "-m", "hatchling", "metadata"]
    return json.loads(subprocess.run(hatch, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def test_the_long_description_renders_and_every_link_leads_to_a_page_of_the_site(metadata):
    from readme_renderer import markdown

    html = markdown.render(metadata["readme"]["text"])
    assert html is not None
    links, loaded = references(html)
    assert links
    home = metadata["urls"]["Documentation"]
    own_anchors = set(re.findall(r'\bid="([^"]+)"', html))
    for address in {*links, *loaded}:
        target, anchor = urldefrag(address)
        if not target:
            assert anchor in own_anchors, address
        elif address.startswith(home):
            page = target.removeprefix(home) or "index.html"
            assert (SITE / page).is_file(), address
            assert not anchor or anchor in anchors_of(page), address
        else:
            assert address.startswith(("https://", "mailto:")), address


def test_the_urls_of_the_project_lead_to_its_own_pages(metadata):
    home = metadata["urls"]["Documentation"]
    for address in metadata["urls"].values():
        assert address.startswith(home)
        assert (SITE / (address.removeprefix(home) or "index.html")).is_file()


def test_the_wheel_has_the_example_dags(tmp_path):
    hatch = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(hatch, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    examples = "airflow_provider_truto/example_dags"
    with zipfile.ZipFile(wheel) as files:
        packed = {Path(name).name: files.read(name) for name in files.namelist() if name.startswith(f"{examples}/")}
    assert packed == {path.name: path.read_bytes() for path in (ROOT / "example_dags").glob("*.py")}
