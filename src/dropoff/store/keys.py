"""The 64-bit keys by which rows are found."""

import hashlib
from collections.abc import Iterable


def key_of(conversation_id: str) -> int:
    """The key of a conversation."""
    return hashes(["c" + conversation_id])[0]


def hashes(texts: Iterable[str]) -> list[int]:
    """64 bits of BLAKE2b: stable between versions and machines, unlike an engine's own hash."""
    return [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in texts]
