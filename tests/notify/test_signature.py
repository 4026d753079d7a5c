import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.signature import sign, verify


def test_a_known_signature() -> None:
    # printf '%s' '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
    assert sign("secret", 1_700_000_000, b'{"a":1}') == (
        "sha256=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
    )


@given(st.text(), st.integers(0, 2**40), st.binary())
def test_what_was_signed_is_verified(secret: str, at: int, body: bytes) -> None:
    signature = sign(secret, at, body)
    assert verify(secret, str(at), signature, body, now=at)
    assert not verify(secret + "x", str(at), signature, body, now=at)
    assert not verify(secret, str(at + 1), signature, body, now=at)
    assert not verify(secret, str(at), signature, body + b" ", now=at)


@pytest.mark.parametrize("timestamp", ["", "x", "-5", "1e3", "\u0661", "1700000301", "1699999699"])
def test_time_stamps_that_are_not_accepted(timestamp: str) -> None:
    at = int(timestamp) if timestamp.isascii() and timestamp.isdigit() else 0
    assert not verify("s", timestamp, sign("s", at, b""), b"", now=1_700_000_000)


def test_a_signature_of_other_characters_is_refused() -> None:
    assert not verify("s", "5", "sha256=é", b"", now=5)
