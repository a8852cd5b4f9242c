"""Personal data and secrets in a text: e-mail addresses, telephone numbers, keys and IBANs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

#: Letters that no address has before or after it.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@(?:[a-z\d](?:[a-z\d-]*[a-z\d])?\.)+[a-z]{2,}(?![\w-])", re.IGNORECASE)
#: Domains that belong to nobody (RFC 2606 and RFC 6761).
_NOBODYS = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost)$", re.IGNORECASE)
#: A number with its country's code, or one of North America with its area's. A bare row of digits may be anything.
_PHONE = re.compile(
    r"(?<![\w+.-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,4}"
    r"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4})(?![\w-])"
)
#: What every telephone number and every IBAN has. Most texts have none, and looking for this is fast.
_DIGITS = re.compile(r"\d\d")
#: Digits of a number by E.164: 15 at most, and fewer than 8 are none abroad.
_PHONE_DIGITS = range(8, 16)
#: Numbers of North America that are kept for fiction: 555-0100 to 555-0199.
_FICTION = re.compile(r"55501\d\d$")
#: How the keys of well-known services begin, as their documentation says, and the heading of a private key.
_API_KEY = re.compile(
    r"(?<![\w-])(?:sk-(?:proj-|ant-)?[\w-]{20,}|gh[pousr]_[A-Za-z\d]{36,}|github_pat_\w{22,}|glpat-[\w-]{20,}"
    r"|hf_[A-Za-z]{30,}|xox[abprs]-[\w-]{10,}|(?:AKIA|ASIA)[A-Z\d]{16}(?![A-Z\d])|AIza[\w-]{35}"
    r"|[sr]k_live_[A-Za-z\d]{20,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
    r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
)
_IBAN = re.compile(r"(?<![A-Z\d])[A-Z]{2}\d{2}(?: ?[A-Z\d]{4}){2,7}(?: ?[A-Z\d]{1,3})?(?![A-Za-z\d])")
#: Lengths of an IBAN (ISO 13616): Norway's is the shortest.
_IBAN_LENGTHS = range(15, 35)


def emails(text: str) -> Iterator[str]:
    """E-mail addresses, but for those in domains that are kept for examples."""
    for found in _EMAIL.finditer(text) if "@" in text else ():
        if not _NOBODYS.search(found[0].rpartition("@")[2]):
            yield found[0]


def phones(text: str) -> Iterator[str]:
    """Telephone numbers with a country's or an area's code, but for those that are kept for fiction."""
    for found in _PHONE.finditer(text) if _DIGITS.search(text) else ():
        digits = re.sub(r"\D", "", found[0])
        if len(digits) in _PHONE_DIGITS and not _FICTION.search(digits):
            yield found[0]


def api_keys(text: str) -> Iterator[str]:
    """Keys of well-known services, and private keys."""
    for found in _API_KEY.finditer(text):
        yield found[0]


def ibans(text: str) -> Iterator[str]:
    """International bank account numbers whose checksum is right."""
    for found in _IBAN.finditer(text) if _DIGITS.search(text) else ():
        if is_iban(found[0].replace(" ", "")):
            yield found[0]


def is_iban(text: str) -> bool:
    """Whether the checksum of an IBAN without blanks is right (ISO 7064, MOD 97-10).

    The first four characters go to the end, a letter becomes two digits, A being 10, and the whole number leaves 1.

    >>> is_iban("GB82WEST12345698765432"), is_iban("GB82WEST12345698765433")
    (True, False)
    """
    if len(text) not in _IBAN_LENGTHS:
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def masked(text: str) -> str:
    """The beginning of something that must not be shown as a whole.

    >>> masked("jane.doe@mail.net"), masked("12")
    ('jane…', '…')
    """
    return f"{text[: min(4, len(text) // 4)]}…"


def scrubbed(text: str) -> str:
    """A text with the beginning alone of every key and every piece of personal data in it.

    >>> scrubbed("Mail to jane.doe@mail.net!")
    'Mail to jane…!'
    """
    for find in KINDS.values():
        for found in sorted(set(find(text)), key=len, reverse=True):
            text = text.replace(found, masked(found))
    return text


#: What finds each kind, by the key of its threshold.
KINDS: dict[str, Callable[[str], Iterator[str]]] = {
    "api_keys": api_keys,
    "ibans": ibans,
    "emails": emails,
    "phones": phones,
}
