"""The connection form: one table, told in both of the ways that Airflow 3 asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CONNECTION_TYPE = "whitebit"
HOOK_NAME = "WhiteBIT"


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of the connection's extra.

    :param name: key in the extra.
    :param label: what stands before it in the form.
    :param kind: JSON schema type: ``string``, ``integer``, ``number`` or ``boolean``.
    :param default: what holds where nothing is given.
    :param description: what it does, with units.
    :param choices: the values that are allowed, if not all.
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
    FormField("timeout", "Timeout (s)", "integer", 10, "How long an answer may take, in seconds."),
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
        "nonce_window",
        "Nonce window",
        "boolean",
        True,
        "Check nonces against the exchange's clock, so that several workers can share the key. Moves always do.",
    ),
    FormField(
        "settle_margin",
        "Settle margin (s)",
        "integer",
        10,
        "How late the exchange may record what it has accepted, in seconds: how long a lost answer is waited out "
        "before the exchange's records are believed.",
    ),
    FormField("verify_tls", "Verify TLS", "boolean", True, "Check the exchange's TLS certificate."),
    FormField(
        "allow_custom_host",
        "Allow other hosts",
        "boolean",
        False,
        "Allow a host that is neither the exchange's nor this machine. It gets every signed call: be sure of it.",
    ),
    FormField(
        "former_connection",
        "Former connection",
        "string",
        None,
        "While an API key is being exchanged: the connection that still holds the old key of the same account. Moves "
        "that were begun with the old key are finished with it.",
    ),
)

RELABELING = {"login": "API key", "password": "API secret", "host": "Base URL"}
PLACEHOLDERS = {
    "login": "public API key of the account",
    "password": "API secret that belongs to the key",
    "host": "empty: that of the region, https://whitebit.com or https://whitebit.eu",
}
HIDDEN = ["port", "schema", "extra"]


def conn_fields() -> dict[str, dict[str, Any]]:
    """The extra's fields as Airflow 3.3 and later read them from the provider's info."""
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
    """Labels, placeholders and hidden fields as Airflow 3.3 and later read them from the provider's info."""
    return {"hidden-fields": HIDDEN, "relabeling": RELABELING, "placeholders": PLACEHOLDERS}


def widgets() -> dict[str, Any]:
    """The extra's fields as Airflow 3.0 to 3.2 ask the hook for them.

    The API server of 3.0 needs the form libraries of the FAB provider for any hook's own fields (later ones feign
    them); where they are missing the form offers the extra as JSON.
    """
    try:
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import BooleanField, IntegerField, StringField
        from wtforms.validators import any_of
    except ImportError:
        return {}

    made: dict[str, Any] = {}
    for entry in FIELDS:
        label, description = lazy_gettext(entry.label), lazy_gettext(entry.description)
        if entry.kind == "boolean":
            made[entry.name] = BooleanField(label, default=entry.default, description=description)
        elif entry.kind == "integer":
            made[entry.name] = IntegerField(
                label, widget=BS3TextFieldWidget(), default=entry.default, description=description
            )
        else:
            checks = [any_of(list(entry.choices))] if entry.choices else []
            made[entry.name] = StringField(
                label,
                widget=BS3TextFieldWidget(),
                default=entry.default,
                description=description,
                validators=checks,
            )
    return made


def hook_behaviour() -> dict[str, Any]:
    """Labels, placeholders and hidden fields as Airflow 3.0 to 3.2 ask the hook for them."""
    hidden = HIDDEN if widgets() else [name for name in HIDDEN if name != "extra"]
    return {"hidden_fields": hidden, "relabeling": RELABELING, "placeholders": PLACEHOLDERS}
