"""Cuts the entries of some packages out of a lock file: `python subset.py LOCK NAMES > SUBSET`.

The lock holds the tools of development, too. The names of those that an image needs stand in a file of their own;
their versions and hashes stand in the lock alone.
"""

import re
import sys
from pathlib import Path


def entries(lock: str) -> dict[str, str]:
    """What a lock file says of each package, with its hashes: several versions where they differ by Python's."""
    found: dict[str, str] = {}
    for entry in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)[1:]:
        name = re.split(r"[\[=; ]", entry)[0]
        found[name] = found.get(name, "") + entry
    return found


def names(listed: str) -> list[str]:
    """The names in a file with one on each line; `#` begins a comment."""
    return [name for line in listed.splitlines() if (name := line.partition("#")[0].strip())]


def subset(lock: str, listed: str) -> str:
    """The entries of the listed packages, as they stand in the lock. Raises `KeyError` for one that is not there."""
    there = entries(lock)
    return "".join(there[name] for name in names(listed))


if __name__ == "__main__":
    sys.stdout.write(subset(*(Path(name).read_text() for name in sys.argv[1:3])))
