"""What a refusal means: one table of how it is recognised, its error class, its sentence and what to do next.

``answers.py`` looks here, and decides from status and fields alone whether a refusal proves that nothing ran. A text
that no row knows is not guessed at: its row depends on the status only, and the error quotes the text.
Vendor pages: Authentication, Errors, Rate limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_whitebit.client.errors import (
    WhiteBitAuthenticationError,
    WhiteBitBlockedError,
    WhiteBitError,
    WhiteBitNonceError,
    WhiteBitNotEnoughBalanceError,
    WhiteBitPermissionError,
    WhiteBitRateLimitError,
    WhiteBitRefusedError,
    WhiteBitUnavailableError,
    WhiteBitValidationError,
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """One kind of refusal.

    :param name: for programs, as ``error.meaning``.
    :param error: its class, which decides whether a retry can help.
    :param sentence: what happened.
    :param next_step: what a person should do; empty: what the class says.
    :param texts: whole messages of the exchange. With a 4xx they prove that nothing ran, even without a ``code``.
    :param pattern: found in other messages and in texts by field, in lower case. It proves nothing by itself.
    """

    name: str
    error: type[WhiteBitError]
    sentence: str
    next_step: str | tuple[str, ...] = ""
    texts: tuple[str, ...] = ()
    pattern: str = ""

    def fits(self, text: str) -> bool:
        """Whether the pattern is in a text that :func:`folded` returned."""
        return bool(self.pattern) and re.search(self.pattern, text) is not None

    @property
    def retryable(self) -> bool:
        """Whether the same call can succeed later without a change."""
        return self.error.retryable


_OFF = r"(?:disabled|inactive|deactivated|expired|not (?:active|enabled))"
_NOT_ALLOWED = (
    r"(?:not (?:allowed|permitted|trusted|authorized|in|on)\b|forbidden|denied|restricted|blocked|white-?list)"
)
_NOT_OFFERED = r"\bnot (?:permitted|allowed|available|supported)\b"
_PLACE = r"(?:region|country|jurisdiction|location)"

RATE_LIMIT = Meaning(
    "rate_limit",
    WhiteBitRateLimitError,
    "The exchange's rate limit refused the call.",
    pattern=r"too many attempts|\brate.?limit|\b(?:due to|because of|after) too many requests\b",
)
BLOCKED = Meaning(
    "blocked",
    WhiteBitBlockedError,
    "A gateway in front of the exchange blocked the call.",
    pattern=r"attention required|just a moment|access denied|ha(?:ve|s) been blocked|request blocked|banned your"
    r"|checking your browser|enable javascript and cookies|captcha|incapsula",
)
LEGAL = Meaning(
    "legal",
    WhiteBitRefusedError,
    "The exchange does not offer this to the account, for legal reasons.",
    "Ask the exchange which assets and products the account's country allows. Change the task accordingly, then clear "
    "it.",
    pattern=r"\blegal reasons?\b",
)
REGION = Meaning(
    "region",
    WhiteBitPermissionError,
    "The exchange does not serve this region.",
    (
        "Check that the connection's region is the account's: global (whitebit.com) or EU (whitebit.eu).",
        "Check in which country this machine's calls leave: a VPN or proxy counts.",
        "Clear the task.",
    ),
    pattern=rf"\b(?:your|this) {_PLACE}\b|\brestricted {_PLACE}\b|\b{_PLACE} is (?:restricted|not )",
)
MAINTENANCE = Meaning(
    "maintenance",
    WhiteBitUnavailableError,
    "The exchange is in maintenance.",
    "Run the task again after the maintenance. The exchange's status page says when it ends.",
    pattern=r"\bmaintenance\b",
)

KEY_LACKS_RIGHT = Meaning(
    "key_lacks_right",
    WhiteBitPermissionError,
    "The key lacks the right for this call: lending needs the Trade permission.",
    "Give the key this right in the exchange's API settings. Then clear the task.",
    texts=("This API Key is not authorized to perform this action.",),
    pattern=r"^this api key is not authorized to perform this action",
)

#: The first row whose text or pattern fits counts: whole texts first.
MEANINGS: tuple[Meaning, ...] = (
    Meaning(
        "payload",
        WhiteBitAuthenticationError,
        "The exchange did not receive the call as this package signed it.",
        (
            "Check what can change requests on their way: the connection's host, a proxy or a relay.",
            "Clear the task.",
        ),
        texts=("Payload not provided.", "Invalid payload", "Invalid payload.", "Request not provided."),
        pattern=r"^(?:payload not provided|invalid payload|request not provided)",
    ),
    Meaning(
        "signature",
        WhiteBitAuthenticationError,
        "The exchange did not accept the key or the signature.",
        (
            "Check the connection: login (API key), password (API secret), host and region.",
            "Check at the exchange that the key still exists.",
            "Clear the task.",
        ),
        texts=("Unauthorized request.",),
        pattern=r"^unauthorized request",
    ),
    Meaning(
        "key_or_address",
        WhiteBitAuthenticationError,
        "The key is disabled, or it does not allow this machine's IP address.",
        (
            "Enable the key in the exchange's API settings. The exchange disables a key after 14 days without use.",
            "Check there that the key allows this machine's IP address.",
            "Clear the task.",
        ),
        texts=("This action is unauthorized. Enable your key in API settings",),
        pattern=r"^this action is unauthorized",
    ),
    Meaning(
        "key_disabled",
        WhiteBitAuthenticationError,
        "The key is disabled.",
        (
            "Enable the key in the exchange's API settings. The exchange disables a key after 14 days without use.",
            "Clear the task.",
        ),
        pattern=rf"\b(?:api[- ]?)?key\b.*\b{_OFF}\b|\b{_OFF} (?:api[- ]?)?key\b",
    ),
    # An address that called too often can be blocked for a while.
    RATE_LIMIT,
    Meaning(
        "ip_address",
        WhiteBitAuthenticationError,
        "The key does not allow this machine's IP address.",
        (
            "Add this machine's IP address, or its proxy's, to the key's list in the exchange's API settings.",
            "Clear the task.",
        ),
        pattern=rf"\bip\b.*{_NOT_ALLOWED}|{_NOT_ALLOWED}.*\bip\b",
    ),
    Meaning(
        "nonce_window",
        WhiteBitNonceError,
        "The nonce is more than five seconds away from the exchange's clock.",
        "Run the task again. If this lasts, check this machine's clock (NTP).",
        texts=(
            "Your nonce is more than 5 seconds lesser than the current nonce",
            "Your nonce is more than 5 seconds greater than the current nonce",
        ),
        pattern=r"^your nonce is more than",
    ),
    Meaning(
        "nonce_missing",
        WhiteBitNonceError,
        "The exchange did not find a usable nonce in the call.",
        "Run the task again. If this lasts, check what can change requests on their way: a proxy or a relay.",
        texts=("Nonce not provided.", "Invalid nonceWindow."),
        pattern=r"^(?:nonce not provided|invalid noncewindow)",
    ),
    Meaning(
        "nonce_used",
        WhiteBitNonceError,
        "The nonce was used before, or is not larger than the last one.",
        "Run the task again. If this lasts, check what else uses the same key, and this machine's clock (NTP).",
        texts=("Too many requests.",),
        pattern=r"^too many requests",
    ),
    KEY_LACKS_RIGHT,
    Meaning(
        "account_lacks_permission",
        WhiteBitPermissionError,
        "The account may not use this endpoint: lending (Flex and Fixed) needs the vendor's B2B partner permission.",
        "Ask the vendor's institutional services for this permission. Then clear the task.",
        texts=("You don't have permission to use this endpoint. Please contact support for more details",),
        pattern=r"^you don't have permission to use this endpoint\W+please contact support",
    ),
    Meaning(
        "endpoint_not_enabled",
        WhiteBitPermissionError,
        "The key may not use this endpoint.",
        "Allow the key to use this endpoint in the exchange's API settings. Then clear the task.",
        texts=("You don't have permission to use this endpoint.",),
        pattern=r"^you don't have permission to use this endpoint",
    ),
    MAINTENANCE,
    LEGAL,
    REGION,
    Meaning(
        "sub_account",
        WhiteBitRefusedError,
        "The exchange does not allow this for a sub-account.",
        "Use a connection with a key of the main account. Then clear the task.",
        pattern=rf"{_NOT_OFFERED}.*\bsub-? ?accounts?\b|\bsub-? ?accounts?\b.*{_NOT_OFFERED}",
    ),
    Meaning(
        "account_frozen",
        WhiteBitPermissionError,
        "The exchange has frozen or restricted the account.",
        "Ask the exchange's support to release the account. Then clear the task.",
        pattern=r"\baccount\b.*\b(?:frozen|blocked|suspended|locked|restricted|deactivated|disabled|banned)\b"
        r"|\b(?:frozen|blocked|suspended|locked|restricted|deactivated) account\b",
    ),
    Meaning(
        "account_not_verified",
        WhiteBitPermissionError,
        "The exchange requires the account to be verified first.",
        "Verify the account at the exchange. Then clear the task.",
        pattern=r"\baccount must be verified\b|\bnot verified\b|\bverify your\b|\bverification (?:is )?required\b"
        r"|\bkyc\b",
    ),
    Meaning(
        "limit_exceeded",
        WhiteBitRefusedError,
        "The amount exceeds the account's current limit at the exchange.",
        "Lower the amount, or wait until the exchange allows more. Then clear the task.",
        pattern=r"\b(?:current|account|daily|weekly|monthly) limit (?:is |was |has been )?(?:exceeded|reached)\b",
    ),
)
#: The exchange's own whole messages.
TEXTS = {text: meaning for meaning in MEANINGS for text in meaning.texts}

SHORT_OF_BALANCE = Meaning("short_of_balance", WhiteBitNotEnoughBalanceError, "The balance does not cover the amount.")
PARAMETER = Meaning("parameter", WhiteBitValidationError, "The exchange refused a parameter.")
RULE = Meaning("rule", WhiteBitRefusedError, "The exchange refused the call by its rules.")
#: Refusals in unknown words, by status.
UNKNOWN = {
    status: Meaning(
        "unknown",
        error,
        "The exchange refused the call for a reason that this package does not know.",
        "Act on the exchange's words. If they do not help, ask its support. Then clear the task.",
    )
    for status, error in {
        400: WhiteBitValidationError,
        401: WhiteBitAuthenticationError,
        403: WhiteBitPermissionError,
        404: WhiteBitValidationError,
        413: WhiteBitValidationError,
        422: WhiteBitRefusedError,
    }.items()
}
SERVER_FAULT = Meaning("server_fault", WhiteBitUnavailableError, "The exchange sent a server error.")
REDIRECTED = Meaning(
    "redirected",
    WhiteBitUnavailableError,
    "The call was redirected, which this package does not follow: another host must not get the key.",
    "Check the connection's host and region, and this machine's proxy. Then clear the task.",
)
NOT_JSON = Meaning("not_json", WhiteBitUnavailableError, "The exchange sent a body that is not JSON.")
EMPTY = Meaning("empty", WhiteBitUnavailableError, "The exchange sent an empty body.")
UNCLEAR = Meaning("unclear", WhiteBitUnavailableError, "The exchange sent neither a success nor a refusal.")


def folded(text: str) -> str:
    """The beginning of a text as patterns expect it: lower case, single spaces, straight apostrophes."""
    return " ".join(text[:2_000].split()).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def known(texts: list[str], among: tuple[Meaning, ...] = MEANINGS) -> Meaning | None:
    """The first meaning whose pattern is in one of these texts.

    :param texts: of an answer.
    :param among: the meanings to look at.
    """
    plain = [folded(text) for text in texts]
    return next((meaning for meaning in among for text in plain if meaning.fits(text)), None)
