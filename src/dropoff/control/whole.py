"""Text that can be kept."""

import msgspec

from dropoff.errors import InvalidInput


def check_whole(**named: object) -> None:
    """Refuse the first of these that cannot be kept: JSON lets half a character through. Raises `InvalidInput`."""
    for name, value in named.items():
        try:
            msgspec.json.encode(value)
        except UnicodeEncodeError:
            raise InvalidInput(name, value, "text of whole characters, without lone surrogates") from None
