"""What stores of tests have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def all_by(read: Callable[[str], str | None]) -> Callable[[Iterable[str]], dict[str, str]]:
    """A function that reads several texts one after the other.

    :param read: one text; ``None`` if there is none.
    """
    return lambda names: {name: text for name in names if (text := read(name)) is not None}


class OneByOne:
    """A store that reads several texts one after the other."""

    def read(self, name: str) -> str | None:
        raise NotImplementedError

    def read_all(self, names: Iterable[str]) -> dict[str, str]:
        return all_by(self.read)(names)
