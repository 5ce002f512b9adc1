"""Self-hosted analytics for sales bots.

`dropoff.Client`, `dropoff.configure` and `dropoff.track_event` are the SDK. They are imported when first used: a bot
that imports `dropoff` does not wait for a database engine.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dropoff.client import Client, configure, flush, track_event

    __version__: str

__all__ = ["Client", "__version__", "configure", "flush", "track_event"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in __all__:
        from dropoff import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("dropoff")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "0+unknown"
