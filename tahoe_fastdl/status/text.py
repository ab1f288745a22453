"""Text that others wrote, made fit to be shown: bounded, on one line, without secrets.

Escaping is left to what it is written into (JSON, templates, metrics); here goes
what no page wants: control characters, marks that turn the direction of the
text around, and anything that looks like a cap or a key.
"""

from __future__ import annotations

import re
import unicodedata

MAX_NAME = 64
MAX_TEXT = 200

_CAP = re.compile(r"(?i)\b(?:uri|pb):\S*")
_BYTES = re.compile(r"""\bb(?:'[^']*'?|"[^"]*"?)""")
# Keys and hashes are 26 base32 letters or more; storage indexes look the same, but text
# that names one for a good reason does not come this way.
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_-]{25,}")

_UNFIT = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def clean(text: str, longest: int = MAX_NAME) -> str:
    """*text* on one line, at most *longest* characters, nothing invisible in it."""
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(letter) in _UNFIT else letter
        for letter in text[: longest + 1].replace("\n", " ").replace("\t", " ")
    )
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def clean_reason(text: str, longest: int = MAX_TEXT) -> str:
    """The same for the text of an error, from which caps, keys and bytes are struck out."""
    text = text[: 8 * longest]
    for pattern in (_CAP, _BYTES, _LONG_WORD):
        text = pattern.sub("…", text)
    return clean(text, longest)
