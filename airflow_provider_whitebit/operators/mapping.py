"""Mapped operators: check their values when the DAG file is parsed, as those of single operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow.sdk.definitions.mappedoperator import MappedOperator, OperatorPartial

from airflow_provider_whitebit.operators.parameters import checking_mapped

#: Most values that are checked, so that parsing a DAG file stays fast.
_MOST = 1_000


class CheckedPartial(OperatorPartial):
    """What :meth:`.WhiteBitOperator.partial` returns."""

    __slots__ = ()

    def expand(self, **mapped_kwargs: Any) -> MappedOperator:
        """Map over lists, dictionaries or XComs.

        :raises WhiteBitValidationError: a value is a float.
        :raises ValueError: as a single operator.
        :raises TypeError: as a single operator, for example because a parameter is missing.
        """
        self._check(_values_of(mapped_kwargs))
        return super().expand(**mapped_kwargs)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> MappedOperator:
        """Map over a list of keyword arguments, or an XCom that is one. For what it raises see :meth:`expand`."""
        if isinstance(kwargs, list | tuple):
            self._check(dict(entry) for entry in kwargs if isinstance(entry, Mapping))
        return super().expand_kwargs(kwargs, strict=strict)

    def _check(self, mapped: Iterator[dict[str, Any]]) -> None:
        # An error here comes instead of Airflow's warning that the task was never mapped.
        self._expand_called = True
        single = {name: value for name, value in self.kwargs.items() if name not in ("dag", "task_group")}
        with checking_mapped():
            for _, values in zip(range(_MOST), mapped, strict=False):
                self.operator_class(**{**single, **values}, _airflow_from_mapped=True)


def _values_of(mapped: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each value of each argument, together with the first values of the others."""
    lists = {
        # An XCom is passed as it is: its values are not known.
        name: list(value.items())
        if isinstance(value, Mapping)
        else value
        if isinstance(value, list | tuple)
        else [value]
        for name, value in mapped.items()
    }
    first = {name: values[0] for name, values in lists.items() if values}
    if len(first) == len(lists):
        yield from ({**first, name: value} for name, values in lists.items() for value in values)
