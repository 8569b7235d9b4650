"""What can go wrong with a call or a move. The classes differ by what a caller can do.

Errors carry facts; :func:`render` turns them into text, one fact per line. No fact comes from a request, so no error
holds a secret, a signature or a signed header.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

FieldErrors = Mapping[str, Sequence[str]]

#: Longest text of the exchange that an error quotes, in characters.
LONGEST_QUOTE = 300
#: Most fields and texts of a refusal that an error keeps.
_MOST_FIELDS = 10
_CONTAINERS = (list, tuple, dict, set, frozenset)


class WhiteBitError(Exception):
    """Something between this package and the exchange failed.

    :param message: what happened, in one sentence.
    :param path: API path of the call, for example ``/api/v4/main-account/smart-flex/plans``.
    :param status: HTTP status of the answer; ``None`` if there was none.
    :param code: the exchange's error number. The same number means different things on different calls.
    :param said: the exchange's own message. It is shortened and cleaned of control characters.
    :param errors: the exchange's messages by field. They are shortened and cleaned too.
    :param money_moved: ``False`` if money certainly did not move, ``None`` if that is not known, ``True`` if the task
        moved money before this error.
    :param next_step: what a person should do next, or the steps in order; by default what the class says.
    :param completed_moves: receipts, as plain JSON, of the moves that the task made before this error.
    """

    #: What a person should do next, unless the error itself knows better. The meaning of a refusal replaces it.
    advice: str | tuple[str, ...] = ""
    #: Whether the same call can succeed later without a change.
    retryable: ClassVar[bool] = False
    #: What the text says if the task has moved no money.
    _unmoved: str = "No money moved."
    #: Who said what ``said`` and ``errors`` quote.
    speaker: ClassVar[str] = "exchange"
    #: What a refusal means, for programs: the names of docs/errors.md, "Refusals"; empty for other errors.
    meaning: str = ""
    #: Seconds that the answer asks to wait (``Retry-After``); 0 if it does not.
    retry_after: int = 0

    def __init__(
        self,
        message: str,
        *,
        path: str = "",
        status: int | None = None,
        code: int | None = None,
        said: str = "",
        errors: FieldErrors | None = None,
        money_moved: bool | None = False,
        next_step: str | Sequence[str] | None = None,
        completed_moves: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self.message = message
        self.path = path
        self.status = status
        self.code = code
        self.said = clean(said)
        self.errors = _clean_fields(errors or {})
        self.money_moved = money_moved
        self.next_step = self.advice if next_step is None else next_step
        #: Receipts, as plain JSON, of the moves that this task made before the error. They are not repeated.
        self.completed_moves: tuple[Mapping[str, Any], ...] = ()
        self.add_completed(completed_moves)
        #: Where Airflow keeps the journal of the move; empty outside a task.
        self.journal_entry = ""
        super().__init__(message)

    def add_completed(self, receipts: Iterable[Mapping[str, Any]]) -> None:
        """Record the moves that the task made before this error, each once.

        :param receipts: as plain JSON.
        """
        for receipt in receipts:
            if receipt not in self.completed_moves:
                self.completed_moves = (*self.completed_moves, receipt)
        if self.completed_moves and self.money_moved is False:
            self.money_moved = True

    def __str__(self) -> str:
        return render(self)


class WhiteBitConfigurationError(WhiteBitError):
    """The connection is incomplete or wrong; nothing was sent."""

    advice = "Correct the Airflow connection. Then clear the task."


class WhiteBitValidationError(WhiteBitError):
    """A parameter is wrong: found by this package before sending, or by the exchange (HTTP 400)."""

    advice: str | tuple[str, ...] = "Correct the parameter. Then clear the task."


class WhiteBitAlreadyMovedError(WhiteBitValidationError):
    """The task has already moved its money, with other parameters than it has now."""

    advice = (
        "To move money again, start a new dag run. To get the old receipt, restore the task's parameters and clear the "
        "task."
    )

    def __init__(self, message: str, *, money_moved: bool | None = True, **facts: Any) -> None:
        super().__init__(message, money_moved=money_moved, **facts)


class WhiteBitLimitError(WhiteBitValidationError):
    """A limit of the connection forbids the move.

    The limits are ``read_only``, ``max_move``, ``allowed_tickers``, ``max_per_day`` and ``max_moves_per_hour``.
    """

    advice: str | tuple[str, ...] = "Ask the administrator who set this limit on the connection."


class WhiteBitStoppedError(WhiteBitLimitError):
    """People have stopped all moves of all connections. The message says who, when and why."""

    advice = (
        "Ask the person who stopped them. When moves may go on: airflow whitebit resume --reason '...'",
        "Clear the task.",
    )


class WhiteBitRefusedError(WhiteBitError):
    """The exchange understood the call and refused it by one of its rules (HTTP 422)."""

    advice = "Check what the exchange names: the plan, the investment or the balance. Then clear the task."


class WhiteBitPlanError(WhiteBitRefusedError):
    """Some moves of a plan were refused; the others were made."""

    advice = "Clear the task. It keeps the moves that were made and plans again from the current holdings."


class WhiteBitPlanOutdatedError(WhiteBitError):
    """A planned move would break what its plan promises, because something else moved its asset. It was not sent."""

    advice = "Run the task again: it makes a new plan."
    retryable = True


class WhiteBitNotEnoughBalanceError(WhiteBitRefusedError):
    """The balance does not cover the amount.

    ``available`` and ``required`` are the exchange's own figures, if it gave them.
    """

    advice = "Fund the balance, or lower the amount. Then clear the task."

    @property
    def available(self) -> Decimal | None:
        return self._figures()[0]

    @property
    def required(self) -> Decimal | None:
        return self._figures()[1]

    def _figures(self) -> tuple[Decimal | None, Decimal | None]:
        for texts in self.errors.values():
            for text in texts:
                if found := SHORTAGE.search(text):
                    return Decimal(found["available"]), Decimal(found["required"])
        return None, None


class WhiteBitDiscrepancyError(WhiteBitError):
    """The exchange's records do not add up. The message says what does not, and by how much."""

    advice = (
        "Clear the task. Records can be late: the same statement may add up now.",
        "If it still does not add up, compare the records with the exchange's own pages.",
    )
    # Another program or a person may have: then the records do not add up either.
    _unmoved = "This task moved no money."


class WhiteBitAuthenticationError(WhiteBitError):
    """The exchange does not accept the key or the signature."""

    advice = (
        "Check the connection: login (API key), password (API secret), host and region.",
        "Check at the exchange that the key is enabled and allows this machine's IP address. The exchange "
        "disables a key after 14 days without use.",
        "Clear the task.",
    )


class WhiteBitNonceError(WhiteBitError):
    """The nonce was used before or is outside the five-second window: the call was refused before it ran."""

    advice = "Run the task again. If this lasts, check this machine's clock (NTP) and what else uses the same key."
    retryable = True

    @property
    def outside_window(self) -> bool:
        """Whether the nonce was too far from the exchange's clock, rather than used before."""
        return "your nonce is more than" in self.said.lower()


class WhiteBitPermissionError(WhiteBitError):
    """The key is valid, but it or its account may not do this."""

    advice = "Act on the exchange's words: they name what the key or the account lacks. Then clear the task."


class WhiteBitBlockedError(WhiteBitError):
    """A gateway in front of the exchange blocked the call. That says nothing about a move that was sent."""

    advice = (
        "Check from which IP address this machine calls, and through which proxy or VPN.",
        "If it is the right one, ask the exchange's support to let it through.",
        "Clear the task.",
    )
    speaker = "gateway"


class WhiteBitRateLimitError(WhiteBitError):
    """Too many calls in ten seconds; the call was refused before it ran."""

    advice = "Run the task again. If this lasts, spread the calls out, for example with an Airflow pool."
    retryable = True


class WhiteBitUnavailableError(WhiteBitError):
    """No usable answer: the connection failed, timed out or was cut, or the answer was 5xx or not JSON."""

    advice = "Run the task again later. If this lasts, see the exchange's status page."
    retryable = True


def changed_meanwhile(what: str, times: int) -> WhiteBitUnavailableError:
    """Return the error of a report whose subject changed each time it was read.

    :param what: begins the sentence.
    :param times: how often it was read.
    """
    error = WhiteBitUnavailableError(
        f"{what} changed each of the {times} times that they were read, so nothing could be made of them.",
        next_step="Run the task again when no moves are on their way.",
    )
    error._unmoved = WhiteBitDiscrepancyError._unmoved
    return error


class WhiteBitMaintenanceError(WhiteBitUnavailableError):
    """No usable answer, because the exchange is in maintenance: its platform status says so."""

    meaning = "maintenance"

    advice = "Run the task again after the maintenance. The exchange's status page says when it ends."


class WhiteBitJournalError(WhiteBitError):
    """The journal could not be read or written. Nothing is sent before it is written to the journal."""

    advice = "Run the task again when Airflow answers."
    retryable = True

    def __init__(self, message: str, *, money_moved: bool | None = None, **facts: Any) -> None:
        super().__init__(message, money_moved=money_moved, **facts)


class WhiteBitInDoubtError(WhiteBitError):
    """Money may have moved, and the exchange's records do not show whether it did. Nothing more was sent.

    Raised only after the records were read. A person has to compare them.

    :param message: what is in doubt, and what the records show.
    :param intent_id: id of the move in doubt.
    :param facts: further facts, as for every error; ``next_step`` holds the steps for a person
        (``moves/doubts.py``).
    """

    advice = "Clear the task. It reads the exchange's records again before it sends anything."

    def __init__(self, message: str, *, intent_id: str = "", **facts: Any) -> None:
        self.intent_id = intent_id
        super().__init__(message, **{**facts, "money_moved": None})


class WhiteBitResolutionError(WhiteBitError):
    """An answer about a move in doubt was not accepted. Nothing was changed, and nothing was sent."""

    advice = "Look at the move again: airflow whitebit doubts list, then show."

    def __init__(self, message: str, *, money_moved: bool | None = None, **facts: Any) -> None:
        super().__init__(message, money_moved=money_moved, **facts)


#: Errors that no retry can change: a person has to act first.
PERMANENT_ERRORS = (
    WhiteBitConfigurationError,
    WhiteBitValidationError,
    WhiteBitRefusedError,
    WhiteBitAuthenticationError,
    WhiteBitPermissionError,
    WhiteBitBlockedError,
    WhiteBitInDoubtError,
)

#: Errors that a later retry can change.
TRANSIENT_ERRORS = (WhiteBitUnavailableError, WhiteBitRateLimitError, WhiteBitNonceError)


_RECONCILES = (
    "Run the task again. It reads the exchange's records before it sends anything, so the move is not made twice."
)
_RECONCILES_CLEARED = (
    "The cleared task reads the exchange's records before it sends anything, so the move is not made twice."
)


def render(error: WhiteBitError) -> str:
    """The text of an error, one fact per line: what happened, whether money moved, earlier moves, the next step."""
    lines = error.message.splitlines()
    if words := quoted(error):
        lines.append(f"The {error.speaker} said: {words}")
    if error.path:
        status = "" if error.status is None else f", HTTP {error.status}"
        code = "" if error.code is None else f", code {error.code}"
        lines.append(f"Call: {error.path}{status}{code}")
    if error.money_moved is None:
        lines.append("Whether money moved is not known.")
    elif not error.money_moved and not error.completed_moves:
        lines.append(error._unmoved)
    if error.completed_moves:
        lines.append(f"Already moved by this task: {'; '.join(map(describe_receipt, error.completed_moves))}.")
    elif error.money_moved:
        lines.append("Money moved before this error.")
    if error.journal_entry:
        lines.append(f"Journal of this move: {error.journal_entry}")
    return "\n".join([*map(printable, lines), *_next_steps(error)])


def quoted(error: WhiteBitError) -> str:
    """The exchange's own words: its message, then its messages by field; empty if it said nothing."""
    fields = [f"{field}: {', '.join(texts)}" for field, texts in error.errors.items()]
    return "; ".join([*([error.said] if error.said else []), *fields])


def _next_steps(error: WhiteBitError) -> list[str]:
    step = error.next_step
    if error.money_moved is None and step == error.advice and not isinstance(error, WhiteBitInDoubtError):
        step = _RECONCILES if error.retryable else (*_steps(step), _RECONCILES_CLEARED)
    if isinstance(step, str):
        return [f"Next step: {step}"] if step else []
    return ["Next steps:", *(f"{number}. {one}" for number, one in enumerate(step, 1))]


#: What advice says to the owner of a task.
_TO_TASKS = ("Then clear the task.", "Change the task accordingly, then clear it.", "Clear the task.")


def steps_without_task(error: WhiteBitError) -> list[str]:
    """The next steps of an error that concerns no task, for example on a page."""
    found = []
    for step in _steps(error.next_step):
        for sentence in _TO_TASKS:
            step = step.removesuffix(sentence).rstrip()
        if step:
            found.append(step)
    return found


def _steps(step: str | Sequence[str]) -> tuple[str, ...]:
    return ((step,) if step else ()) if isinstance(step, str) else tuple(step)


def in_one_line(error: WhiteBitError) -> str:
    """What happened, and the exchange's words."""
    words = quoted(error)
    return f"{error.message} ({words})" if words else error.message


def describe_receipt(receipt: Mapping[str, Any]) -> str:
    """One receipt in a few words: operation, amount, ticker, accounts and what identifies it.

    :param receipt: as plain JSON.
    """
    known = {name: clean(str(value), 80) for name, value in receipt.items() if value is not None}
    parts = [known[name] for name in ("operation", "amount", "ticker") if name in known]
    if "source" in known and "target" in known:
        parts.append(f"from {known['source']} to {known['target']}")
    for name, label in (("transaction_id", "transaction"), ("investment_id", "investment")):
        if name in known:
            return f"{' '.join(parts)} ({label} {known[name]})"
    return " ".join(parts)


def clean(text: str, limit: int = LONGEST_QUOTE) -> str:
    """A text from outside on one line, shortened, and without control characters.

    :param limit: most characters that are kept.
    """
    short = " ".join(printable(text[: 4 * limit]).split())
    return short if len(short) <= limit else f"{short[: limit - 3]}..."


def shown(raw: object) -> str:
    """A value for an error text: its repr, shortened to 60 characters, however large the value is."""
    if isinstance(raw, int) and abs(raw) >= 10**60:
        return "a whole number of more than 60 digits"
    # Python writes a list out whole that contains itself many times, and refuses one that is nested deeply.
    text = repr(raw[:100]) if type(raw) is str else _SHORT.repr(raw) if isinstance(raw, _CONTAINERS) else repr(raw)
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Short(reprlib.Repr):
    """The beginning of a container's repr."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 30
        self.maxstring = self.maxother = 100

    def repr_int(self, x: int, level: int) -> str:
        return shown(x)


_SHORT = _Short()


def printable(text: str) -> str:
    """A text with spaces instead of control characters, line separators, and what changes the writing direction."""
    return "".join(character if character.isprintable() else " " for character in text)


def _clean_fields(errors: FieldErrors) -> dict[str, list[str]]:
    return {
        clean(str(field), 60): [clean(str(text)) for text in list(texts)[:_MOST_FIELDS]]
        for field, texts in list(errors.items())[:_MOST_FIELDS]
    }


#: The exchange's words for a balance that is too small.
SHORTAGE = re.compile(r"[Aa]vailable (?P<available>\d+(?:\.\d+)?)(?: <|, in amount:) (?P<required>\d+(?:\.\d+)?)")


def error_class(name: str) -> type[WhiteBitError] | None:
    """The error class of this name, for errors read from a journal or an event; ``None`` if there is none."""
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, WhiteBitError) else None
