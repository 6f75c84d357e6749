"""The pictures of the pages in docs/: with TRUTO_SCREENSHOTS=1 (`make screenshots`) the tests take them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_provider_truto._compat import IS_AIRFLOW_2

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
#: Those of the newest Airflow only.
ARE_TAKEN = os.environ.get("TRUTO_SCREENSHOTS") == "1" and not IS_AIRFLOW_2
only_for_a_picture = pytest.mark.skipif(not ARE_TAKEN, reason="make screenshots")


def take_picture(page, name, element=None, **part):
    """Write a picture of the window, of a part of it, or of an element, where pictures are asked for."""
    if not ARE_TAKEN:
        return
    # What lights up under the mouse or passes by is no part of the picture.
    page.mouse.move(0, 0)
    page.locator("[data-scope=toast][data-part=root]").first.wait_for(state="detached")
    (element or page).screenshot(path=IMAGES / name, animations="disabled", caret="hide", **part)
