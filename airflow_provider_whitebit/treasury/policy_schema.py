"""The JSON schema of a policy. A DAG file may import this module: it loads neither pydantic nor YAML."""

from __future__ import annotations

from typing import Any

from airflow_provider_whitebit.moves.parsing import AMOUNT, IDENTIFIER, TICKER

_SHARE = r"(0(\.[0-9]{1,30})?|1(\.0{1,30})?)"
_NOTICE = "[0-9]{1,9} ?[smhd]?"


def policy_schema() -> dict[str, Any]:
    """Return the JSON schema of a policy, for an Airflow ``Param``.

    It checks the form of each field. Only :func:`~airflow_provider_whitebit.treasury.policy.read_policy` checks fields
    that depend on each other.
    """
    plan_id = {"type": "string", "pattern": f"^{IDENTIFIER}$"}
    plans = {
        "choose": {"enum": ["highest_rate", "list"], "description": "Which plan is filled first."},
        "only": {"type": "array", "items": plan_id, "minItems": 1, "description": "Permitted plans."},
        "exclude": {"type": "array", "items": plan_id, "description": "Plans that are not permitted."},
        "max_share": _number(_SHARE, "Largest share of the total in one plan, 0 to 1.", maximum=1),
        "max_amount": _number(AMOUNT, "Largest amount in one plan."),
        "targets": {
            "type": "object",
            "minProperties": 1,
            "patternProperties": {f"^{IDENTIFIER}$": _number(_SHARE, "", maximum=1)},
            "additionalProperties": False,
            "description": "Share of the total by plan; no other plan may hold anything.",
        },
        "follow_rate": {"type": "boolean", "description": "Move investments to plans with a higher rate."},
        "min_gain": _number(AMOUNT, "By how much that rate must be higher."),
        "min_rate": _number(_SHARE, "Invest in no plan below this rate, a fraction per year.", maximum=1),
        "leave_below": _number(_SHARE, "Leave plans below this rate; at most min_rate.", maximum=1),
    }
    need = {
        "amount": _number(AMOUNT, "Amount, on top of the reserve."),
        "by": {"type": "string", "description": "ISO 8601 with time zone.", "format": "date-time"},
    }
    ticker = {
        "reserve": _number(AMOUNT, "Amount that stays in Main."),
        "reserve_share": _number(_SHARE, "Share of the total that stays in Main, 0 to 1.", maximum=1),
        "min_move": _number(AMOUNT, "Smallest move worth making."),
        "plans": _object(plans),
        "auto_reinvest": {"type": "boolean", "description": "Switch auto-reinvest; without it: leave it as it is."},
        "liquidity": {
            "type": "array",
            "items": {**_object(need), "required": ["amount", "by"]},
        },
        "notice": _number(_NOTICE, 'How long before, in seconds or like "2h".'),
    }
    return {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {f"^{TICKER}$": _object(ticker)},
        "additionalProperties": False,
    }


def _number(pattern: str, description: str, **limits: int) -> dict[str, Any]:
    text = {"type": ["string", "integer"], "pattern": f"^{pattern}$", "description": description}
    return {**text, "minimum": 0, **limits}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}
