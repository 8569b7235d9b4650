"""Files that parameters name: policies and approved plans beside the DAG, at absolute paths or in object storage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator

from airflow_provider_whitebit.operators.parameters import plain_path

# Everything else is imported when a task runs.

_EXTENSIONS = (".yaml", ".yml", ".json")


def read_file(task: BaseOperator, name: str, context: Mapping[str, Any]) -> Any:
    """Read a parameter's rendered value. The name or path of a file becomes the file's text, with templates rendered.

    :param task: the task. Relative paths are searched for beside its DAG file and in the DAG's ``template_searchpath``.
    :param name: of the parameter.
    :param context: of the task.
    :returns: the text; a value that names no file stays as it is.
    :raises WhiteBitValidationError: the file cannot be read.
    """
    value = plain_path(getattr(task, name))
    if isinstance(value, str):
        value = value.strip()
        names_file = value.lower().endswith(_EXTENSIONS) and "\n" not in value
    else:
        names_file = hasattr(value, "read_text")
    if not names_file:
        return value
    from jinja2 import TemplateNotFound

    from airflow_provider_whitebit.client.errors import WhiteBitValidationError

    dag = task.get_dag()
    environment = task.get_template_env() if dag is None else dag.get_template_env(force_sandboxed=True)
    try:
        text = _text_of(value, environment)
    except (OSError, ValueError, ImportError, TemplateNotFound) as error:
        where = f"; the DAG is in {dag.folder}" if dag is not None else ""
        raise WhiteBitValidationError(
            f"{name} is the file {str(value)[:200]!r}, which cannot be read ({type(error).__name__}){where}.",
            next_step="Write a path relative to the DAG file, an absolute path, or the URL of an object.",
        ) from error
    # Some editors put a byte order mark before the text.
    return environment.from_string(text.removeprefix("\ufeff")).render(context)


def _text_of(path: Any, environment: Any) -> str:
    if isinstance(path, str) and "://" in path:
        from airflow.sdk import ObjectStoragePath

        path = ObjectStoragePath(path)
    elif isinstance(path, str) and Path(path).is_absolute():
        path = Path(path)
    if not isinstance(path, str):
        return str(path.read_text(encoding="utf-8"))
    if environment.loader is None:
        raise FileNotFoundError(path)
    return str(environment.loader.get_source(environment, path)[0])
