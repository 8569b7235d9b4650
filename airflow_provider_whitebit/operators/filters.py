"""Filters of the operators that read lists: rendered parameters become keyword arguments of the client."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_whitebit.client import models
from airflow_provider_whitebit.moves import parsing

if TYPE_CHECKING:
    from airflow_provider_whitebit.operators.base import WhiteBitListOperator


def _actions(raw: object) -> list[int] | None:
    read = partial(parsing.read_choice, "action_types", models.FlexActionType, models.FlexAction)
    return [read(entry) for entry in parsing.read_list(raw)] or None


def _status(numbers: type[models.FlexInvestmentStatus] | type[models.FixedInvestmentStatus]) -> Callable[[object], int]:
    return partial(parsing.read_choice, "investment_status", models.InvestmentStatus, numbers)


#: The client's keyword and the reader of each parameter.
_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "ticker": ("ticker", parsing.read_ticker),
    "plan_id": ("plan", parsing.read_plan_id),
    "investment_id": ("investment", partial(parsing.read_identifier, "investment_id")),
    "investment_status": ("investment_status", _status(models.FlexInvestmentStatus)),
    "transaction": ("transaction", partial(parsing.read_identifier, "transaction")),
    "date_from": ("date_from", partial(parsing.read_moment, "date_from")),
    "date_to": ("date_to", partial(parsing.read_moment, "date_to")),
    "action_types": ("action_types", _actions),
    "kind": ("method", partial(parsing.read_choice, "kind", models.MainMethodName, models.MainMethod)),
    "sub_account_id": ("sub_account", partial(parsing.read_identifier, "sub_account_id")),
    "direction": ("direction", parsing.read_direction),
    "search": ("search", str),
    "limit": ("limit", partial(parsing.read_number, "limit")),
}
#: Parameters that may not be left out.
_NEEDED = {"sub_account_id"}
_FIXED_READERS = {**_READERS, "investment_status": ("investment_status", _status(models.FixedInvestmentStatus))}


def read_filters(operator: WhiteBitListOperator) -> dict[str, Any]:
    """Read the filters among an operator's templated fields.

    :raises WhiteBitValidationError: one of them is wrong.
    """
    readers = _FIXED_READERS if operator.method.startswith("fixed") else _READERS
    given = operator._parameters(*(name for name in readers if name in operator.template_fields))
    return {
        readers[name][0]: None if value is None and name not in _NEEDED else readers[name][1](value)
        for name, value in given.items()
    }
