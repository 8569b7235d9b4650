"""Identifiers of the sandbox's default plans and sub-accounts, named by what is special about each."""

from __future__ import annotations


class Flex:
    USDT = "8f2e9d3c-1a4b-4c2d-9e5f-6a7b8c9d0e1f"
    USDT_LARGE = "1c9a4f60-2b3d-4e5f-8a7b-9c0d1e2f3a4b"
    PAUSED = "2d0b5a71-3c4e-4f60-9b8c-0d1e2f3a4b5c"
    UNAVAILABLE = "3e1c6b82-4d5f-4071-ac9d-1e2f3a4b5c6d"
    PRIVATE = "4f2d7c93-5e60-4182-bdae-2f3a4b5c6d7e"
    CAPPED = "502e8da4-6f71-4293-8ebf-3a4b5c6d7e8f"
    MIN_WITHDRAW = "613f9eb5-7082-43a4-9fc0-4b5c6d7e8f90"
    BTC = "7e1d8c2b-9a3b-4b1c-8d4e-5a6b7c8d9e0f"
    ETH = "724fafc6-8193-44b5-a0d1-5c6d7e8f90a1"


class Fixed:
    TEN_DAYS = "0a61d2f9-b4c6-47e8-93a4-8f90a1b2c3d4"
    SEVERAL = "1b72e30a-c5d7-48f9-a4b5-90a1b2c3d4e5"
    FEW_COINS = "2c83f41b-d6e8-490a-b5c6-a1b2c3d4e5f6"
    NO_COINS = "3d94052c-e7f9-4a1b-86d7-b2c3d4e5f607"
    INACTIVE = "4ea5163d-f80a-4b2c-97e8-c3d4e5f60718"
    PAUSED = "5fb6274e-091b-4c3d-a8f9-d4e5f6071829"
    DISABLED = "60c7385f-1a2c-4d4e-b90a-e5f60718293a"
    SPECIAL = "71d84960-2b3d-4e5f-8a1b-f60718293a4b"
    LITTLE_INTEREST = "82e95a71-3c4e-4f60-9b2c-0718293a4b5c"
    OTHER_TICKER = "93fa6b82-4d5f-4071-ac3d-18293a4b5c6d"


class SubAccounts:
    TRADING = "a4b7c8d9-0e1f-4a2b-8c3d-4e5f60718293"
    RESERVE = "b5c8d9e0-1f2a-4b3c-9d4e-5f60718293a4"
    UNCONFIRMED = "c6d9e0f1-2a3b-4c4d-8e5f-60718293a4b5"
