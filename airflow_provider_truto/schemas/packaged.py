"""The schemas of this package: a folder per operation, named ``<model>.<resource>.<method>``.

Its parts are ``path.json`` for the path parameters, ``request.json`` for the body and ``response.json`` for the
answer. All are optional: where one is absent, its check is left out.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Literal

from airflow_provider_truto.schemas.validator import Schema

FOLDER = Path(__file__).parent


@cache
def load_packaged_schema(operation: str, part: Literal["path", "request", "response"]) -> Schema | None:
    """Load a part of an operation such as ``"crm.accounts.update"``; ``None`` where it is absent."""
    folders = {folder.name: folder for folder in FOLDER.iterdir() if folder.is_dir()}
    # Looked up among the folders: an operation is a user's text, and could be a path to somewhere else.
    file = folders[operation] / f"{part}.json" if operation in folders else None
    if file is None or not file.is_file():
        return None
    return Schema(json.loads(file.read_text("utf-8")), name=f"{operation}/{part}")
