"""What several processes tell, put together: the laws of it, and that nothing goes backwards."""

from __future__ import annotations

import json
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gatepost.metrics.figures import Figures, Snapshot
from gatepost.metrics.snapshots import Accumulator, merged
from gatepost.metrics.table import (
    HOOK_SECONDS,
    LAG,
    LONGEST_LAG,
    MEMORY,
    MESSAGES,
    OPEN_CONNECTIONS,
    STARTED,
    TABLE,
    WORKERS,
)

LISTENERS = st.sampled_from(["mx", "submission", 'a "b"'])
OUTCOMES = st.sampled_from(["accepted", "refused"])
# Whole numbers, so that sums do not depend on their order.
SECONDS = st.integers(0, 1000)


def started_at(seconds: float) -> Figures:
    return Figures(clock=lambda: seconds)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    figures = Figures(clock=lambda: draw(st.integers(1, 10**9)))
    for labels in draw(st.lists(st.tuples(LISTENERS, OUTCOMES), max_size=5)):
        figures[MESSAGES].add(*labels)
    for seconds in draw(st.lists(SECONDS, max_size=5)):
        figures[HOOK_SECONDS].observer("mail", draw(LISTENERS))(seconds)
    figures[MEMORY].set(draw(st.integers(0, 10**9)))
    figures[LONGEST_LAG].set(draw(SECONDS))
    return figures.snapshot()


# -- Laws -----------------------------------------------------------------------------------------


@given(snapshots())
def test_one_alone_is_what_it_is(one: Snapshot) -> None:
    assert merged([one]) == one
    assert merged([one, merged([])]) == merged([merged([]), one]) == one


@given(snapshots(), snapshots())
def test_the_order_is_the_same_to_it(one: Snapshot, other: Snapshot) -> None:
    assert merged([one, other]) == merged([other, one])


@given(snapshots(), snapshots(), snapshots())
def test_it_may_be_done_in_parts(one: Snapshot, other: Snapshot, third: Snapshot) -> None:
    whole = merged([one, other, third])
    assert merged([merged([one, other]), third]) == whole
    assert merged([one, merged([other, third])]) == whole


@given(st.lists(snapshots(), max_size=4))
def test_it_takes_nothing_from_anybody(several: list[Snapshot]) -> None:
    before = json.dumps(several)
    whole = merged(several)
    for values in whole.values():
        for numbers in values.values():
            numbers[0] += 1
    assert json.dumps(several) == before


def test_each_figure_is_joined_as_the_table_says() -> None:
    one, other = started_at(200.0), started_at(100.0)
    for figures, open_connections, lag in ((one, 5, 0.5), (other, 7, 0.25)):
        figures[MESSAGES].add("mx", "accepted")
        figures[OPEN_CONNECTIONS].set(open_connections)
        figures[LONGEST_LAG].set(lag)
        figures[LAG].observer()(lag)
    other[MESSAGES].add("mx", "refused")
    whole = merged([one.snapshot(), other.snapshot()])
    assert whole[MESSAGES.name] == {
        'listener="mx",outcome="accepted"': [2],
        'listener="mx",outcome="refused"': [1],
    }
    assert whole[OPEN_CONNECTIONS.name] == {"": [12]}
    assert whole[LONGEST_LAG.name] == {"": [0.5]}
    assert whole[STARTED.name] == {"": [100.0]}
    assert whole[WORKERS.name] == {"": [2]}
    assert whole[LAG.name][""][-1] == 0.75


def test_what_is_not_known_here_is_left_out() -> None:
    """A process that was started by another version may tell of other figures, and buckets."""
    snapshot = Figures().snapshot()
    before = json.dumps(merged([snapshot]))
    snapshot["gatepost_moods_total"] = {'mood="good"': [5]}
    snapshot[LAG.name]['kind="other"'] = [1, 2, 3]
    assert json.dumps(merged([snapshot])) == before
    del snapshot[MESSAGES.name]
    assert merged([snapshot])[MESSAGES.name] == {}


# -- Processes come and go ------------------------------------------------------------------------


def test_the_gauges_of_a_process_go_with_it_and_its_counts_stay() -> None:
    accumulator = Accumulator()
    for worker, figures in enumerate((started_at(100.0), started_at(200.0)), 1):
        figures[MESSAGES].add("mx", "accepted")
        figures[MEMORY].set(1000)
        accumulator.add(worker, figures.snapshot())
    accumulator.forget(1)
    accumulator.forget(1)
    total = accumulator.total()
    assert total[MESSAGES.name] == {'listener="mx",outcome="accepted"': [2]}
    assert total[MEMORY.name] == {"": [1000]}
    assert total[STARTED.name] == {"": [200.0]}
    accumulator.forget(2)
    assert accumulator.total()[MEMORY.name] == {}
    assert accumulator.total()[MESSAGES.name] == total[MESSAGES.name]


def test_what_a_process_tells_takes_the_place_of_what_it_told() -> None:
    accumulator, figures = Accumulator(), Figures()
    for _ in range(3):
        figures[MESSAGES].add("mx", "accepted")
        accumulator.add("one", figures.snapshot())
    assert accumulator.total()[MESSAGES.name] == {'listener="mx",outcome="accepted"': [3]}


class Comings(RuleBasedStateMachine):
    """Workers count, tell, and are replaced, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.accumulator = Accumulator()
        self.numbers = count()
        self.workers: dict[int, Figures] = {}
        self.told: dict[int, Snapshot] = {}
        self.before: Snapshot = merged([])

    @rule()
    def start(self) -> None:
        self.workers[next(self.numbers)] = Figures()

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), listener=LISTENERS, outcome=OUTCOMES, seconds=SECONDS)
    def work(self, data: st.DataObject, listener: str, outcome: str, seconds: int) -> None:
        worker = data.draw(st.sampled_from(sorted(self.workers)))
        self.workers[worker][MESSAGES].add(listener, outcome)
        self.workers[worker][HOOK_SECONDS].observer("rcpt", listener)(seconds)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def tell(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.workers)))
        snapshot = json.loads(json.dumps(self.workers[worker].snapshot()))
        self.accumulator.add(worker, snapshot)
        self.told[worker] = snapshot

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.workers)))
        del self.workers[worker]
        self.accumulator.forget(worker)

    @invariant()
    def nothing_is_lost_and_nothing_goes_backwards(self) -> None:
        total, all_told = self.accumulator.total(), merged(self.told.values())
        for figure in TABLE:
            if figure.kind == "gauge":
                continue
            assert total[figure.name] == all_told[figure.name]
            for labels, numbers in self.before[figure.name].items():
                pairs = zip(total[figure.name][labels], numbers, strict=True)
                assert all(now >= then for now, then in pairs)
        alive = self.workers.keys() & self.told.keys()
        assert sum(total[WORKERS.name].get("", [0])) == len(alive)
        self.before = total


TestComings = Comings.TestCase
