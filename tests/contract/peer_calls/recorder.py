"""What a peer's own interpreter reports: the calls that the peer has, and what became of those that were made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

#: Paths of lending, balances, transfers, sub-accounts and the exchange's state.
RELEVANT = re.compile(
    r"/(main-account/(smart|balance|transfer|history)|sub-account/|(\w+-)?account/balance"
    r"|public/((time|ping|assets|platform/status)$|ticker))"
)


class Recorder:
    """Makes calls and keeps their answers, or their errors as text.

    :param calls: path of each call that the peer has, by the call's name; those that are not relevant are dropped.
    :param plain: turns an answer into JSON.
    """

    def __init__(self, calls: dict[str, str], plain: Callable[[Any], Any] = lambda answer: answer) -> None:
        self.calls = {name: path for name, path in calls.items() if RELEVANT.search(path)}
        self._plain = plain
        self.made: set[str] = set()
        self.answers: dict[str, Any] = {}
        self.errors: dict[str, str] = {}

    def keep(self, label: str, name: str, call: Callable[[], Any]) -> Any:
        """Make a call.

        :param label: under which its answer or error is kept.
        :param name: of the call.
        :returns: its answer as JSON, ``None`` if it failed.
        """
        self.made.add(name)
        try:
            self.answers[label] = self._plain(call())
        except Exception as error:
            text = " ".join(str(error).split())
            self.errors[label] = f"{type(error).__name__}: {text}"
        return self.answers.get(label)

    def report(self) -> None:
        """Print everything as JSON."""
        report = {
            "calls": self.calls,
            "made": sorted(self.made),
            "answers": self.answers,
            "errors": self.errors,
        }
        print(json.dumps(report, default=str))
