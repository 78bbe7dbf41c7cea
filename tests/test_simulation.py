"""The simulation: what queueing theory knows comes out, and the same seed gives the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("simpy")

from benchmarks.simulation import costs as costs_module
from benchmarks.simulation import tables
from benchmarks.simulation.capacity import fleets, machine
from benchmarks.simulation.costs import Costs, Request, Rules, Servers, Sizes, Step, Work
from benchmarks.simulation.scenario import Outcome, Scenario
from benchmarks.simulation.site import simulate, work_off
from benchmarks.simulation.validation import Compared

#: Servers that take no time at all.
NOTHING = Servers(hop=0, flush=0, publish=0, deliver=0, send=0, pool=0)
RULES = Rules(gather=10_000, busy_gather=100_000, many=4, still_many=20, pack=20, budget=1_000_000)
NO_STEP = Step(round_trips=0, commits=0)
REQUEST = Request(generator=50, web=600, database=200, is_packed=True)
WORK = Work(
    child=1500, database=500, message_child=1000, message_database=300, main=200, runs=1,
    plan=Step(round_trips=6, commits=1), inline=Step(round_trips=6, commits=2),
    alone=Step(round_trips=8, commits=3),
)  # fmt: skip
SERVERS = Servers(hop=40, flush=400, publish=50, deliver=50, send=300, pool=200)
SIZES = Sizes(wal_received=2000, wal_handled=6000, delivery=900, run=500, attempt=300, message=600)
COSTS = Costs(
    measured_on="a machine", requests={"ours": REQUEST}, rules=RULES, servers=SERVERS,
    sizes=SIZES, work={"one receiver": WORK, "five receivers": replace(WORK, runs=5, child=6000)},
)  # fmt: skip
MILLI = 1000


def one_server(rate: float, shape: float | None) -> Outcome:
    """Requests that cost a millisecond at the database, on one core."""
    scenario = Scenario(
        rules=RULES, servers=NOTHING, cores=1, request=Request(generator=0, web=0, database=MILLI),
        processes=1, threads=10_000, rate=rate, shape=shape, warm_up=1, seconds=40,
    )  # fmt: skip
    return simulate(scenario)


def mean(times: Any) -> float:
    return sum(times) / len(times)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_waiting_in_one_line_is_as_queueing_theory_has_it(load: float) -> None:
    exponential = one_server(load * 1000, shape=1)
    constant = one_server(load * 1000, shape=None)

    assert mean(exponential.answer_times) == pytest.approx(0.001 / (1 - load), rel=0.05)
    waits = 0.001 * load / (2 * (1 - load))
    assert mean(constant.answer_times) == pytest.approx(0.001 + waits, rel=0.03)
    assert exponential.busy["cores"] == pytest.approx(load, rel=0.03)


@pytest.mark.parametrize("connections", [1, 2, 8])
def test_a_closed_loop_keeps_its_bounds(connections: int) -> None:
    """N / (Z + S) with few, and what the busiest part takes with many."""
    scenario = Scenario(
        rules=RULES, servers=replace(NOTHING, hop=1500), cores=1, shape=None,
        connections=connections, processes=1, threads=100,
        request=Request(generator=0, web=0, database=MILLI),
    )  # fmt: skip
    # Two hops for each request: to the web process and to the database.
    bound = min(connections / 0.004, 1000)

    assert simulate(scenario).answered == pytest.approx(bound, rel=0.02)


def test_the_seed_decides() -> None:
    scenario = Scenario(rules=RULES, servers=SERVERS, request=REQUEST, work=WORK, seconds=0.5)

    assert simulate(scenario) == simulate(scenario)
    assert simulate(scenario) != simulate(replace(scenario, seed=8))


def test_a_process_uses_one_core_whatever_its_threads() -> None:
    many = Scenario(
        rules=RULES, servers=NOTHING, cores=16, threads=8, processes=1, connections=64,
        request=Request(generator=0, web=MILLI, database=0),
    )  # fmt: skip

    assert simulate(many).answered == pytest.approx(1000, rel=0.03)
    assert simulate(many).limit == "web processes"
    assert simulate(replace(many, processes=3)).answered == pytest.approx(3000, rel=0.03)


def test_commits_that_come_together_share_the_disk() -> None:
    slow = Scenario(
        rules=RULES, servers=replace(NOTHING, flush=5 * MILLI), cores=16, shape=None,
        threads=16, processes=1, request=Request(generator=0, web=0, database=10), connections=1,
    )  # fmt: skip

    assert simulate(slow).answered == pytest.approx(200, rel=0.02)
    # Who comes while the disk is busy waits for the next turn, so not more than all of them.
    assert 1400 < simulate(replace(slow, connections=16)).answered <= 16 * 200


def test_the_more_comes_in_the_more_goes_into_a_message() -> None:
    quiet = Scenario(rules=RULES, servers=SERVERS, cores=4, request=REQUEST, rate=5, seconds=20)

    assert simulate(quiet).messages == pytest.approx(1, abs=0.05)
    assert simulate(replace(quiet, rate=2000, seconds=2)).messages < 0.15


def test_a_view_that_publishes_sends_a_message_for_each() -> None:
    request = replace(REQUEST, is_packed=False, messages=1)

    assert simulate(
        Scenario(rules=RULES, servers=SERVERS, request=request)
    ).messages == pytest.approx(1, rel=0.01)


def test_one_child_does_one_thing_after_the_other() -> None:
    work = Work(
        child=MILLI, database=500, message_child=0, message_database=0, main=200, runs=0,
        plan=Step(round_trips=5, commits=2), inline=NO_STEP, alone=NO_STEP,
    )  # fmt: skip
    alone = Scenario(
        rules=RULES, servers=replace(NOTHING, flush=250, hop=100, pool=100), cores=8, shape=None,
        work=work, children=1, waiting=500,
    )  # fmt: skip
    # Its own and the database's CPU, 5 + 1 hops, 2 commits; half of the main process is ahead.
    takes = (1000 + 500 + 600 + 500 + 100) * 1e-6

    assert work_off(alone) == pytest.approx(1 / takes, rel=0.02)
    assert work_off(replace(alone, children=4)) == pytest.approx(4 / takes, rel=0.1)


def test_quick_receivers_run_where_their_delivery_is_planned() -> None:
    one = Scenario(
        rules=RULES, servers=SERVERS, cores=4, request=REQUEST, work=WORK, until_handled=True,
        connections=400, processes=4, children=8, warm_up=3,
    )  # fmt: skip
    slow = replace(RULES, budget=0)

    inline, handed_on = simulate(one), simulate(replace(one, rules=slow))
    five = simulate(replace(one, rules=slow, work=replace(WORK, runs=5)))

    assert inline.handled == pytest.approx(inline.answered, rel=0.1)
    assert inline.messages < 1
    assert handed_on.messages > 1
    assert five.messages > 5
    assert inline.handled > handed_on.handled > five.handled


def test_what_takes_too_long_is_handed_on() -> None:
    """20 deliveries of 200 ms each: after a second a message is sent for each that is left."""
    work = replace(WORK, child=200 * MILLI, database=0, plan=NO_STEP)
    one = Scenario(
        rules=RULES, servers=NOTHING, cores=8, shape=None, work=work, children=1, waiting=20,
        warm_up=1e-9, seconds=5,
    )  # fmt: skip

    outcome = simulate(one)

    assert outcome.messages == 15
    assert len(outcome.handled_times) == 20


def test_a_child_learns_one_receiver_with_each_message() -> None:
    learning = Scenario(
        rules=RULES, servers=NOTHING, cores=8, work=replace(WORK, runs=2), children=1, waiting=200,
        warm_up=1e-9, seconds=5, has_learned=False,
    )  # fmt: skip

    # All but one of the first 20 deliveries' 40 runs; half of the next ones', but for one.
    assert simulate(learning).messages == 39 + 19
    assert simulate(replace(learning, has_learned=True)).messages == 0


def test_nothing_is_lost_between_web_and_workers() -> None:
    calm = Scenario(
        rules=RULES,
        servers=SERVERS,
        cores=16,
        request=REQUEST,
        work=WORK,
        rate=1000,
        children=16,
        seconds=2,
    )
    outcome = simulate(calm)

    assert outcome.messages < 1.5  # packed, and one for the receiver
    assert outcome.handled == pytest.approx(outcome.answered, rel=0.03)


def test_a_generator_elsewhere_is_no_limit() -> None:
    slow = Scenario(
        rules=RULES, servers=NOTHING, cores=16, processes=16, connections=100,
        request=replace(REQUEST, generator=10_000),
    )  # fmt: skip

    assert simulate(slow).limit == "generator"
    assert simulate(replace(slow, generator_here=False)).answered > 10_000


def test_any_worker_takes_what_another_sent() -> None:
    several = Scenario(
        rules=RULES, servers=SERVERS, cores=8, work=WORK, workers=3, children=2, waiting=600
    )

    assert work_off(several) > 1.5 * work_off(replace(several, workers=1))


def test_what_others_compute_slows_everything_down() -> None:
    alone = Scenario(rules=RULES, servers=NOTHING, request=REQUEST)

    halved = simulate(replace(alone, slowdown=2.0)).answered
    assert halved == pytest.approx(simulate(alone).answered / 2, rel=0.05)


def test_cores_that_take_a_moment_to_wake_answer_less() -> None:
    awake = Scenario(rules=RULES, servers=NOTHING, request=REQUEST)
    slow = replace(awake, servers=replace(NOTHING, waking=0.2))

    assert simulate(slow).answered == pytest.approx(simulate(awake).answered * 0.8, rel=0.05)


def test_more_cores_take_more_until_something_else_ends_it() -> None:
    small, large = machine(COSTS, 1), machine(COSTS, 3)

    assert small.limit == "cores"
    assert large.handled == pytest.approx(3 * small.handled, rel=0.15)
    assert small.handled_by_five < small.handled < small.received


def test_a_fleet_grows_with_its_rate_and_says_what_ends_a_database() -> None:
    thousand, million = fleets(COSTS, (1000, 1_000_000))
    [logging] = fleets(replace(COSTS, sizes=replace(SIZES, wal_handled=600_000)), (1000,))

    assert million.web == pytest.approx(1000 * (615 * 1e-6 * 1000 / 8), abs=1)
    assert (million.limit, logging.limit) == ("CPU", "log")
    assert logging.databases == 7  # 602 MB a second
    assert million.per_day == pytest.approx(1000 * thousand.per_day)
    assert thousand.queues == 1


def test_what_is_too_far_off_does_not_hold() -> None:
    close = Compared(name="V", measured=1000, simulated=1199, others=0)

    assert close.holds
    assert not replace(close, simulated=1201).holds
    assert not replace(close, simulated=799).holds


def test_costs_are_read_as_they_were_written(tmp_path: Path) -> None:
    COSTS.save(tmp_path / "costs.json")

    assert costs_module.load(tmp_path / "costs.json") == COSTS


def test_the_page_has_the_tables_that_the_command_prints() -> None:
    page = tables.PAGE.read_text()

    assert tables.inserted(page, tables.tables(costs_module.load())) == page
