"""What operators share that ask people (Airflow 3.1 and later). Airflow 3.0 can import this module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
    from airflow.sdk.execution_time.hitl import HITLUser

    #: Users as Airflow's auth manager names them: their ids, or ids with names.
    Users = Sequence[str | HITLUser]

    CAN_ASK_PEOPLE: bool
else:
    try:
        from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
    except Exception:  # Airflow 3.0 cannot ask people: the provider raises an error of its own.

        class HITLOperator(BaseOperator):
            """Takes the place of Airflow's operator."""

        class ApprovalOperator(HITLOperator):
            """Takes the place of Airflow's operator."""

    #: Whether this Airflow can ask people. The standard provider has the parameter since 1.12.2.
    CAN_ASK_PEOPLE = "response_timeout" in signature(HITLOperator.__init__).parameters

__all__ = [
    "CAN_ASK_PEOPLE",
    "ApprovalOperator",
    "HITLOperator",
    "as_users",
    "require_people",
    "require_same_question",
    "set_fields",
]


def require_people(operator: type[BaseOperator]) -> None:
    """Refuse an operator, when its DAG file is parsed, where nobody can be asked.

    :raises RuntimeError: names the version of Airflow.
    """
    if not CAN_ASK_PEOPLE:
        from airflow import __version__

        raise RuntimeError(
            f"{operator.__name__} needs Airflow 3.1 or later and apache-airflow-providers-standard 1.12.2 or later, "
            f"to ask people. This is Airflow {__version__}."
        )


def as_users(users: Users | str | None, *, given: bool) -> list[HITLUser] | None:
    """Return users as Airflow takes them.

    :param users: ids, or ids with names; ``None``: everybody who may answer the DAG's questions.
    :param given: whether the parameter is given, perhaps by an XCom that is ``None``.
    :raises ValueError: it is an empty list, or an entry is no user.
    """
    if users is None and not given:
        return None
    found: list[HITLUser] = []
    for user in [users] if isinstance(users, str | Mapping) else users or ():
        named = {"id": user, "name": user} if isinstance(user, str) else dict(user)
        if not named.get("id"):
            raise ValueError(f"assigned_users contains {user!r}: write a user's id, or a mapping of id and name")
        found.append({"id": str(named["id"]), "name": str(named.get("name", named["id"]))})
    if not found:
        # Airflow would let everybody answer.
        raise ValueError("assigned_users is empty: name a user, or leave it out to let everybody answer")
    return found


def set_fields(task: HITLOperator, fields: Mapping[str, Any]) -> None:
    """Give a question its own fields, and no others.

    Airflow adds the params of the DAG to those of a task. Before 3.2 they would be fields of the question.

    :param fields: values or ``Param`` by name.
    """
    from airflow.sdk.definitions.param import ParamsDict

    task.params = ParamsDict(dict(fields))
    task.validate_params()


def require_same_question(task: HITLOperator, context: Mapping[str, Any], next_step: str) -> None:
    """Check, in a task that may have asked before, that people see the question that it asks now.

    :param next_step: what a person should do otherwise. Airflow keeps the first question of a task for the whole dag
        run.
    :raises WhiteBitValidationError: they see the question of an earlier try.
    """
    from airflow_provider_whitebit.client.errors import WhiteBitValidationError
    from airflow_provider_whitebit.hooks.airflow_compat import kept_question

    if context["ti"].try_number == 1:
        return
    users = task.assigned_users or []
    kept = kept_question(
        context["ti"].id,
        options=task.options,
        subject=task.subject,
        body=task.body,
        defaults=task.defaults,
        multiple=task.multiple,
        params=task.serialized_params,
        assigned_users=users,
    )
    if kept is None:
        return
    assigned = {user.id for user in kept.assigned_users or ()}
    if (kept.options, kept.body, assigned) != (task.options, task.body, {user["id"] for user in users}):
        raise WhiteBitValidationError(
            "Airflow still shows the question that this task asked before it was cleared, and the task would ask "
            "something else now. Nobody was asked.",
            next_step=next_step,
        )
