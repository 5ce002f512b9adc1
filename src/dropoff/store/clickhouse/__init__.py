"""The store in ClickHouse, for many writers and more than one machine: `clickhouse-connect`, over HTTP or in-process.

There are no transactions, so nothing here needs one:

* Events are only ever added. One that lost to another with its id is named in `superseded`; what counts is a view.
* A conversation with all its messages, turns, meetings and deals is ONE row, and so is an hour of the rollups with all
  its cells: a row is replaced whole, by one of a higher version, or not at all. The tables that readers see unfold it.
* Whatever must not be missed is written before what depends on it, so that a batch that is repeated repairs it.

See docs/adr/0008.
"""

from dropoff.query import NO_TEST_RULES, TestTraffic
from dropoff.store.clickhouse.place import Place, connect, told
from dropoff.store.clickhouse.store import ClickHouseStore

__all__ = ["ClickHouseStore", "Place", "open_store"]


def open_store(
    url: str, *, password: str | None = None, ca: str | None = None, test: TestTraffic = NO_TEST_RULES
) -> ClickHouseStore:
    """The store at `clickhouse://user@host:8123/database`, `clickhouses://…` (TLS) or `chdb:///directory`.

    `?cluster=NAME` lays the tables out over a cluster; `?database=NAME` names the database of an in-process store.
    `ca` is a file of certificates to trust. What does not exist yet is created. Raises `InvalidInput` for another URL,
    `Unavailable` where nobody answers or lets us in.
    """
    place = Place.parse(url)
    with told(place.shown):
        return ClickHouseStore(connect(place, password, ca), test, place.cluster)
