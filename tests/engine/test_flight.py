import threading

import pytest

from streamqa.engine.flight import Flight


class Gates:
    """Work that goes on when its gate is opened; counts what runs at once."""

    def __init__(self, count: int) -> None:
        self.gates = [threading.Event() for _ in range(count)]
        self.started = [threading.Event() for _ in range(count)]
        self.woken = threading.Semaphore(0)
        self.inside, self.most, self.lock = 0, 0, threading.Lock()

    def work(self, batch: int) -> str:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.started[batch].set()
        assert self.gates[batch].wait(10)
        with self.lock:
            self.inside -= 1
        return f"done {batch}"

    def flight(self, width: int) -> Flight[int, str]:
        return Flight(self.work, width, self.woken.release)


def test_batches_are_read_in_the_order_they_were_handed_over() -> None:
    gates = Gates(3)
    flight = gates.flight(3)
    for batch in range(3):
        assert not flight.full
        flight.hand_over(batch)
    assert flight.full
    assert all(started.wait(10) for started in gates.started)
    gates.gates[2].set()
    gates.gates[1].set()
    assert gates.woken.acquire(timeout=10)
    assert gates.woken.acquire(timeout=10)
    assert flight.landed(0) == []
    assert flight.flying == 3
    gates.gates[0].set()
    assert flight.landed(10) == [(0, "done 0"), (1, "done 1"), (2, "done 2")]
    assert (flight.flying, gates.most) == (0, 3)
    flight.close()


def test_no_more_than_the_width_are_inside() -> None:
    gates = Gates(3)
    flight = gates.flight(2)
    flight.hand_over(0)
    flight.hand_over(1)
    with pytest.raises(RuntimeError, match="2 batches"):
        flight.hand_over(2)
    gates.gates[0].set()
    assert flight.landed(10) == [(0, "done 0")]
    flight.hand_over(2)
    for gate in gates.gates:
        gate.set()
    found: list[int] = []
    while flight.flying:
        found += [batch for batch, _ in flight.landed(10)]
    assert found == [1, 2]
    assert gates.most <= 2
    flight.close()
    with pytest.raises(RuntimeError, match="closed"):
        flight.hand_over(0)


def test_with_width_one_the_caller_works_itself() -> None:
    threads: list[int] = []
    woken: list[bool] = []
    flight = Flight(
        lambda batch: threads.append(threading.get_ident()) or batch, 1, lambda: woken.append(True)
    )
    flight.hand_over(7)
    assert flight.full
    assert flight.landed(0) == [(7, 7)]
    assert threads == [threading.get_ident()]
    assert woken == []
    assert flight.landed(0) == []


@pytest.mark.parametrize("width", [1, 2])
def test_what_the_work_raises_is_raised_where_it_is_read(width: int) -> None:
    def work(batch: int) -> int:
        return 1 // batch

    flight = Flight(work, width, lambda: None)
    flight.hand_over(0)
    with pytest.raises(ZeroDivisionError):
        flight.landed(10)
    flight.hand_over(1)
    assert flight.landed(10) == [(1, 1)]
    flight.close()


def test_what_is_abandoned_does_not_come_back() -> None:
    gates = Gates(2)
    flight = gates.flight(2)
    flight.hand_over(0)
    flight.hand_over(1)
    assert flight.landed(0.01) == []
    assert flight.abandon() == [0, 1]
    for gate in gates.gates:
        gate.set()
    assert gates.woken.acquire(timeout=10)
    assert flight.landed(0) == []
    flight.close()


def test_a_flight_has_room_for_one() -> None:
    with pytest.raises(ValueError, match="width"):
        Flight(lambda batch: batch, 0, lambda: None)
