"""How much memory this process has held."""

import re
from pathlib import Path


def peak_bytes() -> int:
    """The most at once. `getrusage` would give the peak of the process it was forked from, if that is higher."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0
