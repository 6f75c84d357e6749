"""Conditions as a DAG author has them in a module of their own."""


def is_gold(record, tier="gold"):
    return record["custom_fields"].get("tier") == tier


def returns_text(record):
    return record["name"]


def raises(record):
    return record["no such field"] == 1
