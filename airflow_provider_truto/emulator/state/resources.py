"""The unified resources as data: which fields and methods they have, and what the emulated CRMs call them.

A unified `number_of_employees` is stored as the property `employeeCount` of a CRM's record:
`{"id": "23423523", "properties": {"employeeCount": 120, …}}`. `crm/accounts` and `crm/fields` have the API's
fields; those of the other resources, and all names that CRMs use, are this emulator's own.

    unified               proxy           methods
    crm/accounts          companies       list, get, create, update, delete
    crm/contacts          contacts        the same
    crm/opportunities     deals           the same
    crm/fields            properties      list, get
    ticketing/tickets     tickets         list, get, create, update, delete
    user-directory/users  users           the same

Beside these there are the methods of `methods`.
"""

from __future__ import annotations

from airflow_provider_truto.emulator.state.fields import (
    ADDRESSES,
    DATE_TIME,
    EMAILS,
    NUMBER,
    PHONE_NUMBERS,
    REFERENCE,
    TAGS,
    URLS,
    Field,
    add_ids,
    describe_list,
    describe_texts,
    normalize_phones,
    normalize_time,
)
from airflow_provider_truto.emulator.state.resource import READING, Resource

_OWNER = Field("owner", "owner", dict, inside=REFERENCE, description="The user who looks after it.")
_ACCOUNT = Field("account", "company", dict, inside=REFERENCE, description="The account that it belongs to.")
_CUSTOM_FIELDS = Field(
    "custom_fields",
    "customProperties",
    dict,
    merged=True,
    inside={"additionalProperties": True},
    description="Values by the names of crm/fields.",
)
_CREATED_AT = Field("created_at", "createdAt", str, normal=normalize_time, inside=DATE_TIME)
_UPDATED_AT = Field("updated_at", "updatedAt", str, read_only=True, inside=DATE_TIME)
_TAGS = Field("tags", "labels", list, normal=add_ids, inside=TAGS)
_PHONE_NUMBERS = Field("phone_numbers", "phones", list, normal=normalize_phones, inside=PHONE_NUMBERS)

CRM_ACCOUNTS = Resource(
    model="crm",
    model_label="CRM",
    name="accounts",
    native="companies",
    singular="company",
    description="The companies that the customer sells to.",
    fields=(
        Field("name", "name", str, required=True, description="The name of the account."),
        Field("website", "website", str),
        Field("description", "about", str),
        Field("industry", "sector", str),
        Field("number_of_employees", "employeeCount", int),
        _OWNER,
        Field("addresses", "addresses", list, normal=add_ids, inside=ADDRESSES),
        _PHONE_NUMBERS,
        Field("urls", "links", list, inside=URLS),
        _TAGS,
        _CUSTOM_FIELDS,
        _CREATED_AT,
        _UPDATED_AT,
        Field("last_activity_at", "lastActivityAt", str, read_only=True, inside=DATE_TIME),
    ),
)

CRM_CONTACTS = Resource(
    model="crm",
    model_label="CRM",
    name="contacts",
    native="contacts",
    singular="contact",
    description="The people at these companies.",
    fields=(
        Field("first_name", "firstName", str),
        Field("last_name", "lastName", str, required=True),
        Field("title", "jobTitle", str),
        Field("email_addresses", "emails", list, inside=EMAILS),
        _PHONE_NUMBERS,
        _ACCOUNT,
        _OWNER,
        _TAGS,
        _CUSTOM_FIELDS,
        _CREATED_AT,
        _UPDATED_AT,
    ),
)

CRM_OPPORTUNITIES = Resource(
    model="crm",
    model_label="CRM",
    name="opportunities",
    native="deals",
    singular="deal",
    description="What may be sold to them.",
    fields=(
        Field("name", "name", str, required=True),
        Field("amount", "amount", NUMBER),
        Field("status", "stage", str, inside={"enum": ["OPEN", "WON", "LOST"], "default": "OPEN"}),
        Field("close_date", "closeDate", str, inside={"format": "date"}),
        _ACCOUNT,
        _OWNER,
        _CUSTOM_FIELDS,
        _CREATED_AT,
        _UPDATED_AT,
    ),
)

CRM_FIELDS = Resource(
    model="crm",
    model_label="CRM",
    name="fields",
    native="properties",
    singular="property",
    description="The fields that records can have, custom ones included.",
    methods=READING,
    fields=(
        Field("name", "name", str, description="The key under `custom_fields`."),
        Field("label", "label", str),
        Field("description", "about", str),
        Field("type", "type", str),
        Field("is_hidden", "hidden", bool),
        Field("is_unique", "unique", bool),
        Field("is_required", "required", bool),
        Field("is_editable", "editable", bool),
        Field(
            "options",
            "options",
            list,
            inside=describe_list(
                {**describe_texts("label", "value", "description"), "is_hidden": {"type": "boolean"}}
            ),
        ),
        Field("is_user_defined", "custom", bool),
        Field("entity_type", "objectType", str),
        Field("reference_entity", "referencedObject", str),
        Field("field_groups", "groups", list),
    ),
)

TICKETING_TICKETS = Resource(
    model="ticketing",
    model_label="Ticketing",
    name="tickets",
    native="tickets",
    singular="ticket",
    description="What customers have asked for.",
    fields=(
        Field("name", "subject", str, required=True),
        Field("description", "content", str),
        Field("status", "status", str),
        Field("priority", "priority", str),
        _TAGS,
        _CREATED_AT,
        _UPDATED_AT,
    ),
)

USER_DIRECTORY_USERS = Resource(
    model="user-directory",
    model_label="User Directory",
    name="users",
    native="users",
    singular="user",
    description="The people who may log in.",
    fields=(
        Field("name", "fullName", str),
        Field("email", "email", str, required=True),
        Field("is_active", "active", bool),
        _CREATED_AT,
        _UPDATED_AT,
    ),
)

RESOURCES = {
    resource.key: resource
    for resource in (
        CRM_ACCOUNTS,
        CRM_CONTACTS,
        CRM_OPPORTUNITIES,
        CRM_FIELDS,
        TICKETING_TICKETS,
        USER_DIRECTORY_USERS,
    )
}
NATIVE_RESOURCES = {resource.native: resource for resource in RESOURCES.values()}
