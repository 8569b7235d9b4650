"""Read the parameters of operators and sensors: checks when a DAG file is parsed, one reading of rendered values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import PurePath
from typing import Any, Self

# Everything else is imported when it is needed: this module is imported with every DAG file.

#: Parameters that protect money, of which ``None`` from an XCom is refused.
_SAFEGUARDS = ("idempotency_key", "approved_plan", "days", "assigned_users")

_CHECKING_MAPPED = ContextVar("whitebit_checking_mapped", default=False)


@contextmanager
def checking_mapped() -> Iterator[None]:
    """Let operators that are created inside check mapped values, as those of single ones."""
    token = _CHECKING_MAPPED.set(True)
    try:
        yield
    finally:
        _CHECKING_MAPPED.reset(token)


def checks_values(operator: object) -> bool:
    """Whether an operator that is being created has its values from a DAG file: a mapped task gets them when it runs.

    :param operator: after Airflow's own ``__init__``.
    """
    return _CHECKING_MAPPED.get() or not getattr(operator, "_BaseOperator__from_mapped", False)


class KnowsMapped:
    """Base of operators with parameters that protect money: what is given must not be left out unnoticed."""

    _mapped_arguments: frozenset[str]

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Map the operator. What the DAG file writes as ``None`` is left out, as for a single task."""
        given = {name: value for name, value in kwargs.items() if value is not None or name not in _SAFEGUARDS}
        return super().partial(**given)  # type: ignore[misc]

    def __new__(cls, **arguments: Any) -> Self:
        made = super().__new__(cls)
        # A mapped task gets what an XCom holds. None for a key or an approval is not the same as leaving it out.
        names = arguments if "_airflow_from_mapped" in arguments else ()
        object.__setattr__(made, "_mapped_arguments", frozenset(names))
        return made

    def _is_given(self, name: str, value: Any) -> bool:
        """Whether a parameter is given: then its template or XCom must not render nothing."""
        return value is not None or name in self._mapped_arguments


def at_most_one(**given: Any) -> None:
    """Check parameters that exclude each other. What a template or an XCom gives, perhaps nothing, is read later.

    :param given: the parameters by name.
    :raises ValueError: more than one is given.
    """
    literal = [value for value in given.values() if isinstance(value, str | int) and value != ""]
    if sum("{{" not in str(value) and "{%" not in str(value) for value in literal) > 1:
        raise ValueError(f"give only one of {', '.join(given)}")


def refuse_floats(values: Mapping[str, Any]) -> None:
    """Refuse floats that a DAG file contains, also those inside of mappings and lists.

    :param values: the parameters by name.
    :raises WhiteBitValidationError: names the parameter and shows the right spelling.
    """
    for name, value in values.items():
        if isinstance(value, float):
            from airflow_provider_whitebit.moves.parsing import read_limit

            read_limit(name, value)
        elif isinstance(value, Mapping):
            refuse_floats({f"{name}.{inner}": entry for inner, entry in value.items()})
        elif isinstance(value, list | tuple):
            refuse_floats({f"{name}[{index}]": entry for index, entry in enumerate(value)})


def plain_path(value: Any) -> Any:
    """Return a ``pathlib`` path as text, so that Airflow renders templates in it. Other values stay."""
    is_pathlib = isinstance(value, PurePath) and not hasattr(value, "storage_options")
    return str(value) if is_pathlib else value


def read_rendered(value: Any) -> Any:
    """Read a value as templates and XComs give it.

    With ``render_template_as_native_obj`` the text ``"100.50"`` arrives as a float. A float of at most 15 significant
    digits has only one decimal spelling of that length, so it is read as that. Other floats stay and are refused.

    :returns: ``None`` for a parameter that is not given; amounts and paths as text; other values as they are.
    """
    from airflow_provider_whitebit.moves.parsing import given

    return given(plain_path(_as_written(value)))


def _as_written(value: Any) -> Any:
    from airflow_provider_whitebit.moves.parsing import spelled

    if isinstance(value, Mapping):
        return {name: _as_written(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_as_written(entry) for entry in value]
    return (spelled(value, most_digits=15) or value) if isinstance(value, float) else value
