"""Frames of paths as a store gives them, for tests of what is made of them."""

import polars as pl


def units(paths, groups, kept=None, contacts=None):
    """A conversation for each path; nothing is cut off, and each has a contact of its own, unless said otherwise."""
    return pl.DataFrame(
        {
            "id": [f"c{i:06}" for i in range(len(paths))],
            "contact_id": contacts or [None] * len(paths),
            "group": groups,
            "path": paths,
            "kept": kept or [None] * len(paths),
        },
        {"id": pl.String, "contact_id": pl.String, "group": pl.Int64, "path": pl.List(pl.String), "kept": pl.Int64},
    )
