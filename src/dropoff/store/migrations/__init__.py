"""Numbered scripts that bring a store to the newest schema: those of the embedded one here, others in a folder each."""

from importlib import resources

from dropoff.errors import NewerSchema


def scripts(folder: str = "") -> list[str]:
    """All scripts of an engine in the order of their numbers, which are 1, 2, …"""
    place = resources.files(__name__).joinpath(folder)
    return [f.read_text() for f in sorted(place.iterdir(), key=lambda f: f.name) if f.name.endswith(".sql")]


def later(scripts: list[str], version: int) -> list[tuple[int, str]]:
    """Those behind a version, each with its number; raises `NewerSchema` for a version that is none of theirs."""
    if version > len(scripts):
        known = f"this Dropoff knows {len(scripts)}"
        raise NewerSchema(f"the data has schema {version}, {known}: use the Dropoff that wrote it, or newer")
    return list(enumerate(scripts, 1))[version:]
