"""A stop of all moves, as people order it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

import pendulum

from airflow_provider_whitebit.client.errors import WhiteBitStoppedError, clean
from airflow_provider_whitebit.moves.documents import Document, Moment

#: The Airflow Variable that holds the stop. While it exists, whatever it holds, no move is sent.
STOP_VARIABLE = "whitebit_stop"
#: Most characters of a name and of a reason.
LONGEST_NAME, LONGEST_REASON = 200, 1_000


@dataclass(frozen=True, slots=True)
class Stop(Document):
    """Who has stopped all moves, why, and since when.

    :param by: the user; several, if others have stopped them meanwhile.
    :param reason: in the users' own words.
    :param at: since when; ``None`` if the Variable does not say.
    """

    by: str
    reason: str
    at: Moment | None

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the Variable. A text that cannot be read is a stop too.

        :param text: of the Variable.
        """
        try:
            found = cls.from_json(json.loads(text))
        except (ValueError, RecursionError):
            return cls("an unknown user", f"the Variable {STOP_VARIABLE} holds {clean(text, 100)!r}", None)
        return cls(clean(found.by, LONGEST_NAME), clean(found.reason, LONGEST_REASON), found.at)

    def to_text(self) -> str:
        """Return the text of the Variable."""
        return json.dumps(self.to_json())

    def joined_by(self, by: str, reason: str) -> Stop:
        """Return the stop after another one was ordered: it keeps its time, and names both users and both reasons."""
        users = self.by if by in self.by.split(", ") else f"{self.by}, {by}"
        reasons = self.reason if reason in self.reason.split("; ") else f"{self.reason}; {reason}"
        return Stop(clean(users, LONGEST_NAME), clean(reasons, LONGEST_REASON), self.at)

    @property
    def in_words(self) -> str:
        """Since when, by whom and why."""
        since = "" if self.at is None else f" since {pendulum.instance(self.at).in_tz('UTC'):YYYY-MM-DD HH:mm:ss} UTC"
        return f"{since} by {self.by}: {self.reason}".strip()

    def error(self) -> WhiteBitStoppedError:
        """Return the error of a move that the stop forbids."""
        return WhiteBitStoppedError(f"All moves are stopped {self.in_words}")
