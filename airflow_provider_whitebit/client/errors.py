"""What can go wrong with a call, named by what a caller can do about it.

Every error knows three things beside its text: ``money_moved`` (``False``: certainly not, ``None``: not known,
``True``: other moves of the task were made before), ``code`` and ``errors`` as the exchange sent them. None of them
ever holds a secret, a signature or a signed header: they are made from answers and parameters, never from requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

FieldErrors = Mapping[str, Sequence[str]]


class WhiteBitError(Exception):
    """Something between this package and the exchange did not work.

    :param message: what happened, in one or two sentences.
    :param path: API path of the call, for example ``/api/v4/main-account/smart-flex/plans``.
    :param status: HTTP status of the answer, ``None`` where there was no answer.
    :param code: the exchange's own error number. The same number means different things on different calls.
    :param errors: the exchange's messages by field.
    :param money_moved: ``False`` where money certainly did not move, ``None`` where that is not known, ``True`` where
        other moves were made before this went wrong.
    """

    #: What a person should do next; subclasses say it for their case.
    advice = ""

    def __init__(
        self,
        message: str,
        *,
        path: str = "",
        status: int | None = None,
        code: int | None = None,
        errors: FieldErrors | None = None,
        money_moved: bool | None = False,
    ) -> None:
        self.message = message
        self.path = path
        self.status = status
        self.code = code
        self.errors: dict[str, list[str]] = {field: list(texts) for field, texts in (errors or {}).items()}
        self.money_moved = money_moved
        self.made_before = ""
        super().__init__(message)

    def after(self, made: str) -> None:
        """Tell of moves that stand although this went wrong after them.

        :param made: those moves, in words.
        """
        self.made_before = made
        if self.money_moved is False:
            self.money_moved = True
        on = "Run the task again: it knows what it has made and goes on from there."
        # What is to be corrected stays true; that nothing was sent does not.
        self.advice = on if "othing was sent" in self.advice else f"{self.advice} {on}".strip()

    def __str__(self) -> str:
        parts = [self.message]
        details = "; ".join(f"{field}: {', '.join(texts)}" for field, texts in self.errors.items())
        if details:
            parts.append(f"Details: {details}.")
        if self.path:
            answered = f"HTTP {self.status}" if self.status is not None else "no answer"
            code = f", code {self.code}" if self.code is not None else ""
            parts.append(f"(call {self.path}: {answered}{code})")
        if self.made_before:
            parts.append(f"Made before this happened, and it stands: {self.made_before}.")
        if self.money_moved is False:
            parts.append("No money moved.")
        elif self.money_moved is None:
            parts.append("Whether money moved is not known.")
        if self.advice:
            parts.append(self.advice)
        return " ".join(parts)


class WhiteBitConfigurationError(WhiteBitError):
    """The connection is incomplete or wrong; nothing was sent."""

    advice = "Correct the Airflow connection and run the task again."


class WhiteBitValidationError(WhiteBitError):
    """A parameter is wrong: found by this package before sending, or by the exchange (HTTP 400)."""

    advice = "Correct the parameter; the same call can never succeed."


class WhiteBitLimitError(WhiteBitValidationError):
    """The connection's own limits (``read_only``, ``max_move``, ``allowed_tickers``) forbid the move."""

    advice = "An administrator set this limit on the connection; nothing was sent."


class WhiteBitRefusedError(WhiteBitError):
    """The exchange understood the call and refused it by one of its rules (HTTP 422)."""

    advice = "Look at the plan, the investment and the balance: the same call succeeds only after they change."


class WhiteBitNotEnoughBalanceError(WhiteBitRefusedError):
    """The balance does not cover the amount.

    ``available`` and ``required`` are the exchange's own figures where it gave them.
    """

    advice = "Fund the balance that the exchange names or ask for less."

    @property
    def available(self) -> Decimal | None:
        return self._figures()[0]

    @property
    def required(self) -> Decimal | None:
        return self._figures()[1]

    def _figures(self) -> tuple[Decimal | None, Decimal | None]:
        for texts in self.errors.values():
            for text in texts:
                if found := _AVAILABLE.search(text):
                    return Decimal(found["available"]), Decimal(found["required"])
        return None, None


class WhiteBitDiscrepancyError(WhiteBitError):
    """The exchange's records do not add up. The message says what does not, and by how much."""

    advice = (
        "Compare the records with the exchange's own pages. Records can be late: made again, a statement of the same "
        "period may add up."
    )


class WhiteBitAuthenticationError(WhiteBitError):
    """The exchange does not accept the key or the signature."""

    advice = (
        "Check login (API key) and password (API secret) of the connection, that the key is enabled, that this "
        "machine's IP address is allowed, and that host and region are those of the account. Keys switch "
        "themselves off after 14 days without use."
    )


class WhiteBitNonceError(WhiteBitError):
    """The nonce was used before or lies outside the five-second window: the call was refused before it ran."""

    advice = "Check this machine's clock (NTP) and whether other programs share the key."

    @property
    def outside_window(self) -> bool:
        """Whether the nonce was too far from the exchange's clock, in place of being used before."""
        return "your nonce is more than" in self.message.lower()


class WhiteBitPermissionError(WhiteBitError):
    """The key is good but may not use this endpoint."""

    advice = (
        "Lending must be enabled for the account: fixed plans always need the vendor's B2B partner permission; for "
        "Flex the vendor's pages disagree (Trade permission of the key, or B2B as well). Ask the vendor's "
        "institutional services for access."
    )


class WhiteBitRateLimitError(WhiteBitError):
    """Too many calls in ten seconds; the call was refused before it ran."""

    advice = "Spread the calls out: a pool in Airflow keeps many tasks under the limit."


class WhiteBitUnavailableError(WhiteBitError):
    """No usable answer: connection failed, timed out, was cut, or the exchange answered 5xx or not in JSON."""

    advice = "Usually passes by itself: try again later, and see the exchange's status page if it lasts."


class WhiteBitInDoubt(WhiteBitError):
    """Money may have moved and the exchange's records cannot tell; nothing more was sent.

    Raised only after the records were asked. A person has to look: the message says where.

    :param message: what is in doubt, what the records show, and where to look.
    :param intent_id: of the move in doubt.
    :param path: API path of the move.
    """

    def __init__(self, message: str, *, intent_id: str = "", path: str = "") -> None:
        self.intent_id = intent_id
        #: Where Airflow keeps the journal of this move and no other; empty outside a task.
        self.journal_entry = ""
        super().__init__(message, path=path, money_moved=None)

    def after(self, made: str) -> None:
        """As for any error; but to run the task again is of no use before a person has looked."""
        self.made_before = made

    def __str__(self) -> str:
        entry = (
            f" The journal entry of this move is {self.journal_entry}; leave all others." if self.journal_entry else ""
        )
        return super().__str__() + entry


#: What no repetition can change: somebody has to do something first.
FOR_GOOD = (
    WhiteBitConfigurationError,
    WhiteBitValidationError,
    WhiteBitRefusedError,
    WhiteBitAuthenticationError,
    WhiteBitPermissionError,
    WhiteBitInDoubt,
)

#: What usually passes by itself.
PASSING = (WhiteBitUnavailableError, WhiteBitRateLimitError, WhiteBitNonceError)

_AVAILABLE = re.compile(r"[Aa]vailable (?P<available>\d+(?:\.\d+)?)(?: <|, in amount:) (?P<required>\d+(?:\.\d+)?)")

_AUTHENTICATION = (
    "payload not provided",
    "invalid payload",
    "unauthorized request",
    "request not provided",
    "this action is unauthorized",
)
_NONCE = ("too many requests", "your nonce is more than", "nonce not provided", "invalid noncewindow")
_PERMISSION = "you don't have permission to use this endpoint"
_THROTTLED = "too many attempts"


def error_from_answer(path: str, status: int, answer: object) -> WhiteBitError | None:
    """Name what an answer of the exchange refuses, or ``None`` where it refuses nothing it can be held to.

    Authentication refusals are told by their message, because the exchange sends them with several statuses
    (vendor page: Authentication). ``None`` means that the answer is no error object; whether it is a success
    the caller must judge by its contents.

    :param path: API path of the call.
    :param status: HTTP status.
    :param answer: the decoded JSON body.
    """
    if not isinstance(answer, Mapping) or not isinstance(answer.get("message"), str):
        return None
    message: str = answer["message"]
    raw_code = answer.get("code")
    code = raw_code if isinstance(raw_code, int) else None
    errors = _field_errors(answer.get("errors"))
    kind = _kind(message.strip().lower(), status, code, errors)
    if kind is None:
        return None
    return kind(_SENTENCE[kind].format(message=message), path=path, status=status, code=code, errors=errors)


def _kind(text: str, status: int, code: int | None, errors: FieldErrors) -> type[WhiteBitError] | None:
    if status == 429 or text.startswith(_THROTTLED):
        return WhiteBitRateLimitError
    if text.startswith(_NONCE):
        return WhiteBitNonceError
    if text.startswith(_AUTHENTICATION):
        return WhiteBitAuthenticationError
    if text.startswith(_PERMISSION):
        return WhiteBitPermissionError
    if status in (400, 404, 413):
        return WhiteBitValidationError
    if status == 401:
        return WhiteBitAuthenticationError
    if status == 403:
        return WhiteBitPermissionError
    if status == 422:
        # Code 4 of invest is the shortage of balance; elsewhere the number means something else, the text does not.
        short = any(_AVAILABLE.search(part) for parts in errors.values() for part in parts)
        return WhiteBitNotEnoughBalanceError if short else WhiteBitRefusedError
    return None


def _field_errors(raw: object) -> dict[str, list[str]]:
    if not isinstance(raw, Mapping):
        return {}
    return {
        str(field): [str(text) for text in texts] if isinstance(texts, list | tuple) else [str(texts)]
        for field, texts in raw.items()
    }


_SENTENCE: dict[type[WhiteBitError], str] = {
    WhiteBitRateLimitError: "The exchange's rate limit refused the call ({message!r}).",
    WhiteBitNonceError: "The exchange refused the nonce ({message!r}).",
    WhiteBitAuthenticationError: "The exchange did not accept the key or the signature ({message!r}).",
    WhiteBitPermissionError: "The key may not use this endpoint ({message!r}).",
    WhiteBitValidationError: "The exchange found a parameter wrong ({message!r}).",
    WhiteBitRefusedError: "The exchange refused the call by its rules ({message!r}).",
    WhiteBitNotEnoughBalanceError: "The balance does not cover the amount ({message!r}).",
}


def error_class(name: str) -> type[WhiteBitError] | None:
    """The error of this name, for errors that were written down; ``None`` where there is none."""
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, WhiteBitError) else None
