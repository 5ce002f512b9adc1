"""Somebody's own SQL: what of it may run."""

from collections.abc import Sequence

from dropoff.errors import InvalidInput

_HARMLESS_TABLES = frozenset(("numbers", "zeros", "generate_series", "generateSeries", "values"))
_HARMFUL = ("file", "dict", "joinGet", "catboost", "sleep", "getServer", "getMerge", "filesystem", "executable")
"""Functions that begin so look outside of the database, or do nothing but take time."""


def check_harmless(text: str, tree: Sequence[str]) -> None:
    """Refuse what is not a SELECT over our own tables. `tree` is the statement as the engine has parsed it."""
    if not tree[0].startswith("SelectWithUnionQuery"):
        raise InvalidInput("query", text, "one SELECT")
    above = ""
    for line in tree:
        word, _, rest = line.strip().partition(" ")
        name = rest.partition(" (")[0]
        if word == "Set" or line.startswith(" Literal"):  # SETTINGS; INTO OUTFILE
            raise InvalidInput("query", text, "a SELECT without SETTINGS and INTO OUTFILE")
        if word == "Function" and above == "TableExpression" and name not in _HARMLESS_TABLES:
            raise InvalidInput("query", text, f"a SELECT from tables, not from {name}()")
        if word == "Function" and name.startswith(_HARMFUL):
            raise InvalidInput("query", text, f"a SELECT without {name}()")
        if (word == "TableIdentifier" and "." in name) or name.lower().startswith(("system.", "information_schema.")):
            raise InvalidInput("query", text, f"a SELECT from the tables of Dropoff, not from {name}")
        above = word
