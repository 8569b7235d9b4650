"""The connection form: one table, in both of the forms that Airflow 3 reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CONNECTION_TYPE = "whitebit"
HOOK_NAME = "WhiteBIT"


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of the connection's extra.

    :param name: key in the extra.
    :param label: its label in the form.
    :param kind: JSON schema type: ``string``, ``integer``, ``number`` or ``boolean``.
    :param default: its value if the field is empty.
    :param description: its effect, with units.
    :param choices: the allowed values; empty: all.
    """

    name: str
    label: str
    kind: str
    default: Any
    description: str
    choices: tuple[str, ...] = ()


FIELDS = (
    FormField(
        "region",
        "Region",
        "string",
        "global",
        "Which exchange holds the account: global (whitebit.com) or eu (whitebit.eu).",
        ("global", "eu"),
    ),
    FormField(
        "timeout",
        "Timeout (s)",
        "integer",
        10,
        "How long a call may take, from connecting to the last byte, in seconds.",
    ),
    FormField("read_only", "Read only", "boolean", False, "Refuse every move of money before it is sent."),
    FormField(
        "max_move",
        "Largest move",
        "string",
        None,
        'Largest amount of one move by ticker, as JSON, for example {"USDT": "5000", "BTC": "0.1"}. '
        "A ticker that is not listed is not limited.",
    ),
    FormField(
        "allowed_tickers",
        "Allowed tickers",
        "string",
        None,
        "Tickers that may be moved, separated by commas, for example USDT, USDC. Empty: all.",
    ),
    FormField(
        "allowed_operations",
        "Allowed operations",
        "string",
        None,
        "Operations that may be made, separated by commas, for example flex_withdraw, flex_close. Empty: all. "
        "The others: flex_invest, fixed_invest, fixed_close, transfer, sub_account_transfer, flex_auto_reinvest.",
    ),
    FormField(
        "max_per_day",
        "Most in 24 hours",
        "string",
        None,
        "Largest sum of the amounts that the account moves in 24 hours by ticker, in and out, as JSON, for example "
        '{"USDT": "20000"}. A ticker that is not listed is not limited.',
    ),
    FormField(
        "max_moves_per_hour",
        "Most moves in an hour",
        "integer",
        None,
        "How many moves the account may make in an hour, of all assets. Empty: any number.",
    ),
    FormField(
        "nonce_window",
        "Nonce window",
        "boolean",
        True,
        "Use the exchange's five-second nonce window, so that several workers can share the key. Moves always use it.",
    ),
    FormField(
        "reconcile_margin",
        "Reconcile margin (s)",
        "integer",
        10,
        "How late the exchange may record a move, in seconds. After a lost answer, moves wait this long before they "
        "rely on the exchange's records. Less than 2 counts as 2.",
    ),
    FormField("verify_tls", "Verify TLS", "boolean", True, "Check the exchange's TLS certificate."),
    FormField(
        "allow_custom_host",
        "Allow other hosts",
        "boolean",
        False,
        "Allow a host that is neither the exchange's nor this machine. It receives every signed call.",
    ),
    FormField(
        "previous_conn_id",
        "Previous connection",
        "string",
        None,
        "While you replace an API key: the connection with the old key of the same account. Moves that were begun "
        "with the old key are finished with it.",
    ),
)

RELABELING = {"login": "API key", "password": "API secret", "host": "Base URL"}
PLACEHOLDERS = {
    "login": "public API key of the account",
    "password": "API secret that belongs to the key",
    "host": "empty: https://whitebit.com or https://whitebit.eu, by region",
}
HIDDEN = ["port", "schema", "extra"]


def conn_fields() -> dict[str, dict[str, Any]]:
    """Return the extra's fields as Airflow 3.3 and later read them from the provider's info."""
    fields: dict[str, dict[str, Any]] = {}
    for entry in FIELDS:
        schema: dict[str, Any] = {"type": [entry.kind, "null"]}
        if entry.default is not None:
            schema["default"] = entry.default
        if entry.choices:
            schema["enum"] = list(entry.choices)
        fields[entry.name] = {"label": entry.label, "description": entry.description, "schema": schema}
    return fields


def ui_behaviour() -> dict[str, Any]:
    """Return labels, placeholders and hidden fields as Airflow 3.3 and later read them from the provider's info."""
    return {"hidden-fields": HIDDEN, "relabeling": RELABELING, "placeholders": PLACEHOLDERS}


def widgets() -> dict[str, Any]:
    """Return the extra's fields as Airflow 3.0 to 3.2 read them from the hook.

    The API server of 3.0 needs the form libraries of the FAB provider for a hook's own fields; later versions imitate
    them. Without these libraries, the form shows the extra as JSON.
    """
    try:
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import BooleanField, IntegerField, StringField
        from wtforms.validators import any_of
    except ImportError:
        return {}

    fields: dict[str, Any] = {}
    for entry in FIELDS:
        options = {"default": entry.default, "description": lazy_gettext(entry.description)}
        kind = {"boolean": BooleanField, "integer": IntegerField}.get(entry.kind, StringField)
        if kind is not BooleanField:
            options["widget"] = BS3TextFieldWidget()
        if entry.choices:
            options["validators"] = [any_of(list(entry.choices))]
        fields[entry.name] = kind(lazy_gettext(entry.label), **options)
    return fields


def hook_behaviour() -> dict[str, Any]:
    """Return labels, placeholders and hidden fields as Airflow 3.0 to 3.2 read them from the hook."""
    hidden = HIDDEN if widgets() else [name for name in HIDDEN if name != "extra"]
    return {"hidden_fields": hidden, "relabeling": RELABELING, "placeholders": PLACEHOLDERS}
