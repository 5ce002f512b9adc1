"""What every `Control` does, whatever keeps it."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from brokers import nats_control
from dropoff.control.base import Control
from dropoff.control.sqlite import SqliteControl
from dropoff.errors import Conflict, Unavailable

ADAPTERS: dict[str, Callable[[Path], Control]] = {
    "sqlite": lambda directory: SqliteControl(directory / "control.db"),
    "nats": nats_control,
}
Open = Callable[[], Control]


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> str:
    if request.param == "nats":
        request.getfixturevalue("nats")
    return request.param


@pytest.fixture
def open_control(adapter: str, tmp_path: Path) -> Iterator[Open]:
    """Opens the same control state, as often as one likes."""
    opened: list[Control] = []

    def open_one() -> Control:
        opened.append(ADAPTERS[adapter](tmp_path))
        return opened[-1]

    yield open_one
    for control in opened:
        control.close()


@pytest.fixture
def control(open_control: Open) -> Control:
    return open_control()


def add_one(control: Control, key: str) -> None:
    """Read, modify and write until nobody came in between."""
    while True:
        found = control.get(key)
        number, version = (int(found.value), found.version) if found else (0, 0)
        try:
            control.put(key, b"%d" % (number + 1), version)
        except Conflict:
            continue
        return


def count_up(adapter: str, directory: Path, times: int, start: Barrier) -> None:
    control = ADAPTERS[adapter](directory)
    start.wait(60)
    for _ in range(times):
        add_one(control, "counter")
    control.close()


def test_what_was_put_is_got(control: Control):
    version = control.put("key/a", b"\x00value")
    assert control.get("key/a") == (b"\x00value", version)
    assert control.get("key/b") is None


def test_version_rises_with_every_put(control: Control):
    first = control.put("a", b"1")
    second = control.put("a", b"1")
    assert 0 < first < second


def test_put_with_the_present_version_replaces(control: Control):
    version = control.put("a", b"1")
    assert control.put("a", b"2", version) > version
    found = control.get("a")
    assert found
    assert found.value == b"2"


def test_put_with_version_zero_creates(control: Control):
    version = control.put("a", b"1", 0)
    with pytest.raises(Conflict, match="a: version"):
        control.put("a", b"2", 0)
    assert control.get("a") == (b"1", version)


@pytest.mark.parametrize("off", [-1, 1, 1000])
def test_put_with_another_version_changes_nothing(control: Control, off: int):
    version = control.put("a", b"1")
    with pytest.raises(Conflict):
        control.put("a", b"2", version + off)
    assert control.get("a") == (b"1", version)


def test_put_with_a_version_needs_the_key(control: Control):
    with pytest.raises(Conflict):
        control.put("a", b"2", 1)
    assert control.get("a") is None


def test_a_conflict_does_not_tell_the_value(control: Control):
    control.put("a", b"secret")
    with pytest.raises(Conflict) as caught:
        control.put("a", b"other secret", 0)
    assert "secret" not in str(caught.value)


def test_delete(control: Control):
    control.put("a", b"1")
    control.delete("a")
    control.delete("a")
    assert control.get("a") is None


def test_a_key_made_anew_is_not_taken_for_the_old_one(control: Control):
    old = control.put("a", b"1")
    control.delete("a")
    control.put("a", b"2")
    with pytest.raises(Conflict):
        control.put("a", b"3", old)


def test_list_gives_the_keys_with_the_prefix_in_order(control: Control):
    for key in ("b/2", "b/1", "a", "b", "b/_", "b/%", "c/1", "B/1", "b/\U0001f600"):
        control.put(key, key.encode())
    found = control.list("b/")
    assert list(found) == ["b/%", "b/1", "b/2", "b/_", "b/\U0001f600"]
    assert all(found[key] == control.get(key) for key in found)
    assert list(control.list("b/%")) == ["b/%"]
    assert len(control.list("")) == 9
    assert control.list("x") == {}


def test_a_list_is_whole_however_many_there_are(control: Control):
    for i in range(250):
        control.put(f"many/{i}", b"%d" % i)
    for i in range(0, 250, 2):
        control.delete(f"many/{i}")
    assert {key: entry.value for key, entry in control.list("many/").items()} == {
        f"many/{i}": b"%d" % i for i in range(1, 250, 2)
    }


@pytest.mark.long
def test_nothing_is_missing_from_any_of_many_lists(control: Control):
    control.put("key/a", b"1")
    assert all([*control.list("key/")] == ["key/a"] for _ in range(20_000))


def test_everything_survives_closing(open_control: Open):
    control = open_control()
    version = control.put("a", b"1")
    control.lease("alerts", "one", 10, now=100)
    control.close()
    again = open_control()
    assert again.get("a") == (b"1", version)
    assert not again.lease("alerts", "two", 10, now=105)


def test_two_open_ones_see_each_other(open_control: Open):
    one, two = open_control(), open_control()
    version = one.put("a", b"1")
    assert two.get("a") == (b"1", version)
    two.put("a", b"2", version)
    with pytest.raises(Conflict):
        one.put("a", b"3", version)


def test_lease_keeps_others_out_until_it_ends(control: Control):
    assert control.lease("alerts", "one", 10, now=100)
    assert not control.lease("alerts", "two", 10, now=109.9)
    assert control.lease("alerts", "two", 10, now=110)
    assert not control.lease("alerts", "one", 10, now=111)


def test_lease_is_renewed_by_its_holder(control: Control):
    assert control.lease("alerts", "one", 10, now=100)
    assert control.lease("alerts", "one", 10, now=105)
    assert not control.lease("alerts", "two", 10, now=114)
    assert control.lease("alerts", "two", 10, now=115)


def test_lease_of_no_seconds_gives_it_back(control: Control):
    control.lease("alerts", "one", 10, now=100)
    assert control.lease("alerts", "one", 0, now=101)
    assert control.lease("alerts", "two", 10, now=101)


def test_leases_of_other_names_are_free(control: Control):
    assert control.lease("alerts", "one", 10, now=100)
    assert control.lease("report", "two", 10, now=100)


def test_one_of_many_threads_gets_the_lease(open_control: Open):
    controls = [open_control(), open_control()]
    won: list[int] = []

    def take(number: int) -> None:
        if controls[number % 2].lease("alerts", f"holder {number}", 10, now=100):
            won.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_no_update_is_lost_between_threads(control: Control):
    threads = [threading.Thread(target=lambda: [add_one(control, "n") for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = control.get("n")
    assert found
    assert found.value == b"40"


def test_no_update_is_lost_between_processes(control: Control, adapter: str, tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    processes = [context.Process(target=count_up, args=(adapter, tmp_path, 25, start)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    found = control.get("counter")
    assert found
    assert found.value == b"50"


def test_after_close_it_is_unavailable(control: Control):
    control.close()
    control.close()
    with pytest.raises(Unavailable):
        control.put("a", b"1")
