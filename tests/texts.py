"""What stores of tests have in common."""

from __future__ import annotations

from collections.abc import Iterable


class OneByOne:
    """A store that reads several texts one after the other."""

    def read(self, name: str) -> str | None:
        raise NotImplementedError

    def read_all(self, names: Iterable[str]) -> dict[str, str]:
        texts = {name: self.read(name) for name in names}
        return {name: text for name, text in texts.items() if text is not None}
