"""Decodes the text of a policy or a scenario, JSON or YAML, without losing digits or guessing types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

import yaml

from airflow_provider_whitebit.client.errors import shown
from airflow_provider_whitebit.treasury.fields import UnquotedNumber, wrong

_T = TypeVar("_T")


def decode(text: str, of: str = "policy") -> Any:
    """Decode JSON or YAML. Numbers with a fraction or an exponent become :class:`.UnquotedNumber`.

    :param of: what the text is, in a word.
    :raises WhiteBitValidationError: the text is neither, or a mapping has a name twice.
    """
    try:
        return json.loads(
            text, parse_float=UnquotedNumber, parse_constant=UnquotedNumber, object_pairs_hook=_without_duplicates
        )
    except _Ambiguous as error:
        raise wrong(of, str(error)) from None
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except _Ambiguous as error:
        raise wrong(of, str(error)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = "" if where is None else f" (line {where.line + 1})"
        problem = getattr(error, "problem", None) or type(error).__name__
        raise wrong(of, f"is not valid JSON or YAML{line}: {problem}") from None


class _Ambiguous(ValueError):
    """A mapping has a name that programs read differently."""


class _StrictLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML brings no types
    """Reads YAML with the few plain types of its version 1.2.

    PyYAML follows version 1.1, which reads the ticker ``ON`` as true, ``010`` as eight and ``1:30`` as ninety.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Read a mapping. PyYAML itself would silently take the last of two equal names."""
        return _without_duplicates(self.construct_pairs(node, deep=True))


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    # Templates render a missing value as None.
    ("null", r"~|null|Null|NULL|None|", "~nN"),
    ("int", r"0|-?[1-9][0-9]{0,60}", "-0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _StrictLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z", re.ASCII), [*_first, ""]
    )
_StrictLoader.add_constructor(
    "tag:yaml.org,2002:float", lambda loader, node: UnquotedNumber(loader.construct_scalar(node))
)


def _without_duplicates(pairs: Iterable[tuple[Any, _T]]) -> dict[Any, _T]:
    found: dict[Any, _T] = {}
    for name, value in pairs:
        if isinstance(name, list | dict):
            raise _Ambiguous(f"{shown(name)} cannot be a name")
        if name in found:
            raise _Ambiguous(f"{shown(name)} appears twice in the same mapping")
        found[name] = value
    return found
