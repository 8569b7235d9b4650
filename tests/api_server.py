"""What a task's process asks Airflow for, answered without Airflow."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import comms

#: Whether Airflow lists Variables to tasks (3.3 and later).
LISTS = hasattr(comms, "GetVariableKeys")


class ApiServer:
    """Answers a task's requests about Variables, as Airflow's API server does. Use it as ``SUPERVISOR_COMMS``."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}

    def send(self, message: Any) -> Any:
        kind = type(message).__name__
        return None if kind == "MaskSecret" else self.answer(kind, message)

    def answer(self, kind: str, message: Any) -> Any:
        """The answer to a message. :param kind: name of the message's type."""
        match kind:
            case "GetVariable" if message.key in self.variables:
                return comms.VariableResult(key=message.key, value=self.variables[message.key])
            case "GetVariable":
                return comms.ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND, detail={"key": message.key})
            case "GetVariableKeys":
                keys = sorted(key for key in self.variables if key.startswith(message.prefix))
                return comms.VariableKeysResult(keys=keys, total_entries=len(keys))
            case "PutVariable":
                self.variables[message.key] = message.value
                return None
            case "GetTICount":
                return comms.TICount(count=0)
        raise NotImplementedError(kind)
