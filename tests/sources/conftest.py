"""A file and a mapping, written in the test; the folder of public data sets."""

import gzip
from pathlib import Path

import pytest
from reading import SHARED, Import, Result, read


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    """`imported(content, mapping, name=…)`: a file of that content, read to its end."""

    def run(content: str | bytes, mapping: str | None = None, name: str = "in.csv") -> Result:
        data = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return read(path, mapping)

    return run


@pytest.fixture
def shared() -> Path:
    """The folder of public data sets."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no data sets in {SHARED} (DROPOFF_SHARED names the folder)")
    return SHARED / "data"
