"""Calls of one customer's account, as cases for the drivers, and what a raw server answers to them."""

from __future__ import annotations

from airflow_provider_truto.emulator import ACME

FOR_ACME = {"integrated_account_id": ACME}


def ok(conversation):
    conversation.answer({"id": "23423523"})


def get(api):
    return api.unified("crm", "accounts").get("23423523")


def update(api, **options):
    return api.unified("crm", "accounts").update("23423523", {"name": "é"}, **options)


def delete(api):
    return api.unified("crm", "accounts").delete("23423523")


def create(api):
    return api.unified("crm", "accounts").create({"name": "é"})
