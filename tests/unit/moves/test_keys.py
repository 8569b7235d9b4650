"""Keys of moves: what callers write, and how it is taken apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_whitebit.moves import keys


@given(name=st.text(min_size=1), number=st.sampled_from(["", ".2", ".13"]))
def test_an_idempotency_key_is_taken_apart(name, number):
    key = f"{keys.idempotent('beef', name)}{number}"
    assert keys.split_key(key) == ("beef", name, number)
    assert keys.with_account(key, "feed") == f"{keys.idempotent('feed', name)}{number}"


@pytest.mark.parametrize("name", ["a|b", "|", "||", "a|.2"])
def test_a_key_may_contain_the_sign_that_separates_its_parts(name):
    assert keys.split_key(keys.idempotent("beef", name)) == ("beef", name, "")
    assert keys.argument_of(f"{keys.idempotent('beef', name)}.2") == f"idempotency_key={name!r} (move 2)"
