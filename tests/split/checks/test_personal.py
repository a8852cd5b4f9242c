"""Personal data and keys: what is found, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.split.checks import personal


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("emails", "Write to Jane.Doe+x@mail.firm.co.uk, please.", ["Jane.Doe+x@mail.firm.co.uk"]),
        ("emails", "me@example.org, a@b.example, root@localhost, @name, a@b", []),
        ("phones", "Call +44 20 7946 0958 or +1 (212) 736-5000.", ["+44 20 7946 0958", "+1 (212) 736-5000"]),
        ("phones", "Or (212) 736-5000, 212-736-5000.", ["(212) 736-5000", "212-736-5000"]),
        ("phones", "555-0123, (212) 555-0123, 1,234,567, 2026-11-27, 3 + 4567, 12.345.678, 192.168.100.200", []),
        ("api_keys", "key: sk-proj-abcdefghij0123456789XY.", ["sk-proj-abcdefghij0123456789XY"]),
        ("api_keys", "AKIAIOSFODNN7EXAMPLE and AKIAshort", ["AKIAIOSFODNN7EXAMPLE"]),
        ("api_keys", "-----BEGIN RSA PRIVATE KEY-----", ["-----BEGIN RSA PRIVATE KEY-----"]),
        ("api_keys", "a sk-y blue, task-oriented and desk-bound, ghp_short", []),
        # The examples of the IBAN registry (ISO 13616).
        ("ibans", "To DE89 3704 0044 0532 0130 00 today", ["DE89 3704 0044 0532 0130 00"]),
        ("ibans", "NO9386011117947, FR1420041010050500013M02606", ["NO9386011117947", "FR1420041010050500013M02606"]),
        ("ibans", "DE88 3704 0044 0532 0130 00, AB12CD34", []),
    ],
)
def test_what_is_found(kind: str, text: str, found: list[str]) -> None:
    assert list(personal.KINDS[kind](text)) == found


@pytest.mark.parametrize(
    ("check", "zeros", "right"), [("95", 9, False), ("95", 10, True), ("95", 29, True), ("95", 30, False)]
)
def test_an_iban_has_15_to_34_characters(check: str, zeros: int, right: bool) -> None:
    """Of all of these the number with the first four characters at its end leaves 1 when divided by 97."""
    assert personal.is_iban(f"XX{check}{'0' * zeros}7") is right


@pytest.mark.parametrize(
    ("text", "found"),
    [("+1 234 567", False), ("+12 345 678", True), ("+123 45678 9012345", True), ("+123 45678 90123456", False)],
)
def test_a_telephone_number_has_8_to_15_digits(text: str, found: bool) -> None:
    assert list(personal.phones(text)) == [text] * found


@given(st.integers(0, 21), st.sampled_from("0123456789"))
def test_another_digit_makes_the_checksum_wrong(place: int, digit: str) -> None:
    right = "DE89370400440532013000"
    changed = f"{right[:place]}{digit}{right[place + 1 :]}"
    if place >= 2:
        assert personal.is_iban(changed) == (changed == right)


@given(st.text(max_size=60), st.sampled_from(sorted(personal.KINDS)))
def test_any_text_can_be_searched(text: str, kind: str) -> None:
    assert all(found in text for found in personal.KINDS[kind](text))


def test_a_secret_is_never_shown_as_a_whole() -> None:
    text = "Mail +44 20 7946 0958 or a@mail.net, a@mail.network: sk-proj-abcdefghij0123456789XY, 12"
    assert personal.scrubbed(text) == "Mail +44 … or a@…, a@m…: sk-p…, 12"
    assert personal.masked("ghp_" + "x" * 36) == "ghp_…"
    assert personal.masked("abc") == "…"


def test_a_letter_of_an_iban_may_be_z() -> None:
    assert personal.is_iban("ZZ910000000000Z")


def test_of_two_secrets_the_longer_one_is_taken_out_first() -> None:
    assert personal.scrubbed("a.doe@x.net doe@x.net") == "a.… do…"
