"""The extras of the connection form as Airflow 2.11 to 3.1 take them: fields of WTForms."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_truto.connection_fields import EXTRA_FIELDS, ExtraField


def build_form_widgets() -> dict[str, Any]:
    """Build a field of WTForms per extra, by name; raises ``ImportError`` where Airflow came without WTForms."""
    return {field.name: _build_widget(field) for field in EXTRA_FIELDS}


def _build_widget(field: ExtraField) -> Any:
    # Imported at each call: Airflow 3.0 and 3.1 ask once more with stand-ins in the place of these classes, which
    # take no other arguments than those given here. Airflow refuses a hook with any other class of field.
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, IntegerField, StringField
    from wtforms.validators import NumberRange, Optional, any_of

    label, description = lazy_gettext(field.label), field.description
    if field.type == "boolean" and not (field.default and _is_airflow_2()):
        return BooleanField(label, description=description, default=field.default)
    if field.type == "integer":
        validators = [Optional(), NumberRange(min=field.minimum)]
        return IntegerField(label, validators=validators, description=description, widget=BS3TextFieldWidget())
    choices = list(field.choices)
    if field.type == "boolean":
        # Airflow 2.11 shows a stored false as the default: a box would be checked again by every edit.
        choices = ["true", "false"]
        description += " Write true or false."
    validators = [_keep_falsy, Optional(), *([any_of(choices)] if choices else [])]
    return StringField(label, validators=validators, description=description, widget=BS3TextFieldWidget())


def _is_airflow_2() -> bool:
    from airflow import __version__

    return str(__version__).startswith("2.")


def _keep_falsy(form: Any, field: Any) -> None:
    """Keep a 0 or a false that came from JSON: Airflow 2.11 shows neither, and deletes what comes back empty."""
    if field.data:
        return
    _, _, name = field.name.split("__", 2)
    try:
        stored = json.loads(form.extra.data or "{}").get(name)
    except (ValueError, AttributeError):  # Airflow itself says that it is not a JSON object
        return
    if stored is not None and stored != "" and not stored:
        field.data = json.dumps(stored)
