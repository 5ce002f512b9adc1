"""Dropoff's own application without the worker: what the door costs by itself.

python -m bench.door DIR [QUEUE]
"""

import sys
from pathlib import Path

from bench.processes import serve
from dropoff.control.access import Access
from dropoff.project.settings import load
from dropoff.server.app import web
from dropoff.server.engine import Engine, Jobs

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        engine = Engine(load(data=folder, queue=sys.argv[2], role="ingest"), Jobs(door=True))
    else:
        engine = Engine(load(data=folder))  # not entered: its worker does not run
    serve(web(engine, Access(engine.control, "nobody")), folder)
