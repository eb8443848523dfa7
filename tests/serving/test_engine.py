"""Turns, limits and ends of requests in the engine, with painters that only count."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine import Drawn, Engine, Event, Failed, Preview, preview_steps
from serving.errors import EngineStopped, QueueFull
from serving.metrics import Metrics
from serving.settings import EngineSettings
from synthesis.request import PictureRequest

if TYPE_CHECKING:
    from tests.serving.conftest import CuedPipeline


def request(prompt: str, steps: int = 4) -> PictureRequest:
    return PictureRequest(prompts=(prompt,), seeds=(0,), num_inference_steps=steps)


class Counting:
    """Draws nothing and notes whose step it was."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int]] = []

    def stream(self, request: PictureRequest) -> Iterator[Any]:
        num_steps = request.num_inference_steps or 0
        for step in range(1, num_steps + 1):
            self.steps.append((request.prompts[0], step))
            yield SimpleNamespace(
                step=step,
                num_steps=num_steps,
                final=step == num_steps,
                pictures=list,
            )


def until_end(events: queue.Queue[Event]) -> list[Event]:
    seen: list[Event] = []
    while not seen or isinstance(seen[-1], Preview):
        seen.append(events.get(timeout=20))
    return seen


@pytest.fixture
def make_engine() -> Iterator[Callable[..., Engine]]:
    engines: list[Engine] = []

    def make(**settings: int) -> Engine:
        engines.append(Engine(EngineSettings(**settings), Metrics()))
        return engines[-1]

    yield make
    for engine in engines:
        engine.stop()


def test_requests_take_turns_step_by_step(make_engine: Callable[..., Engine], cued: CuedPipeline) -> None:
    engine = make_engine()
    sinks: list[queue.Queue[Event]] = [queue.Queue() for _ in range(3)]
    for name, sink in zip("abc", sinks, strict=True):
        engine.submit(cued, request(name, steps=3), sink=sink.put)
    cued.give(9)
    engine.start()
    for sink in sinks:
        assert isinstance(until_end(sink)[-1], Drawn)
    assert [name for name, _ in cued.steps] == list("abcabcabc")


def test_previews_come_in_order(make_engine: Callable[..., Engine], cued: CuedPipeline) -> None:
    engine, events = make_engine(), queue.Queue[Event]()
    engine.start()
    engine.submit(cued, request("a", steps=8), sink=events.put, preview_count=3)
    cued.give(8)
    seen = until_end(events)
    assert [(event.index, event.step) for event in seen if isinstance(event, Preview)] == [(0, 2), (1, 4), (2, 6)]
    assert isinstance(seen[-1], Drawn) and len(seen) == 4


def test_a_cancelled_request_takes_at_most_one_step_more(
    make_engine: Callable[..., Engine], cued: CuedPipeline, wait_until: Callable[..., bool]
) -> None:
    engine, events = make_engine(), queue.Queue[Event]()
    engine.start()
    job = engine.submit(cued, request("a", steps=100), sink=events.put)
    cued.give(2)
    assert wait_until(lambda: len(cued.steps) == 2)
    job.cancel()
    cued.give(100)
    assert wait_until(lambda: cued.ended == ["a"])
    assert len(cued.steps) <= 3
    engine.submit(cued, request("b", steps=2), sink=events.put)
    assert isinstance(until_end(events)[-1], Drawn), "the next request is drawn as if nothing had been"


def test_a_failure_stays_with_its_request(make_engine: Callable[..., Engine], cued: CuedPipeline) -> None:
    engine, bad, good = make_engine(), queue.Queue[Event](), queue.Queue[Event]()
    cued.give(10)
    engine.submit(cued, request("explode"), sink=bad.put)
    engine.submit(cued, request("a"), sink=good.put)
    engine.start()
    assert isinstance(until_end(bad)[-1], Failed)
    assert isinstance(until_end(good)[-1], Drawn)


def test_a_full_queue_refuses_until_there_is_room(make_engine: Callable[..., Engine], cued: CuedPipeline) -> None:
    engine = make_engine(running_limit=1, waiting_limit=1)
    sinks: list[queue.Queue[Event]] = [queue.Queue() for _ in range(3)]
    for sink in sinks[:2]:
        job = engine.submit(cued, request("a"), sink=sink.put)
    with pytest.raises(QueueFull) as caught:
        engine.submit(cued, request("a"), sink=sinks[2].put)
    assert caught.value.retry_seconds >= 1
    job.cancel()
    engine.submit(cued, request("b"), sink=sinks[2].put)
    cued.give(20)
    engine.start()
    assert isinstance(until_end(sinks[2])[-1], Drawn)
    assert [name for name, _ in cued.steps] == list("aaaabbbb")


def test_stopping_tells_everyone_and_takes_nothing_more(make_engine: Callable[..., Engine], cued: CuedPipeline) -> None:
    engine, sinks = make_engine(running_limit=1), [queue.Queue[Event](), queue.Queue[Event]()]
    engine.start()
    for sink in sinks:
        engine.submit(cued, request("a", steps=50), sink=sink.put)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    cued.give(50)
    stopping.join(20)
    for sink in sinks:
        last = until_end(sink)[-1]
        assert isinstance(last, Failed) and isinstance(last.error, EngineStopped)
    with pytest.raises(EngineStopped):
        engine.submit(cued, request("b"), sink=sinks[0].put)
    with pytest.raises(EngineStopped):
        engine.call(lambda: None)


def test_calls_run_between_steps_in_the_engines_thread(make_engine: Callable[..., Engine], cued: CuedPipeline) -> None:
    engine, events = make_engine(), queue.Queue[Event]()
    engine.start()
    engine.submit(cued, request("a"), sink=events.put)
    named = engine.call(lambda: threading.current_thread().name)
    cued.give(4)
    assert named.result(20) == "atelier-engine"
    failing = engine.call(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        failing.result(20)
    assert isinstance(until_end(events)[-1], Drawn)


def test_a_listener_whose_loop_has_closed_is_dropped(
    make_engine: Callable[..., Engine], cued: CuedPipeline, wait_until: Callable[..., bool]
) -> None:
    def closed(_: Event) -> None:
        raise RuntimeError("Event loop is closed")

    engine = make_engine()
    engine.start()
    engine.submit(cued, request("a", steps=8), sink=closed, preview_count=3)
    cued.give(8)
    assert wait_until(lambda: cued.ended == ["a"])
    assert len(cued.steps) <= 3


@given(count=st.integers(0, 3), num_steps=st.integers(1, 200))
def test_previews_lie_before_the_last_step_and_rise(count: int, num_steps: int) -> None:
    steps = preview_steps(count, num_steps)
    assert steps == sorted(set(steps))
    assert all(1 <= step < num_steps for step in steps)
    assert len(steps) == count or num_steps <= 2 * count


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    running_limit=st.integers(1, 4),
)
def test_nobody_waits_for_more_than_one_step_of_each_other(lengths: list[int], running_limit: int) -> None:
    """Between two steps of one request every other running request takes at most one."""
    painter = Counting()
    engine = Engine(EngineSettings(running_limit=running_limit), Metrics())
    events = queue.Queue[Event]()
    for place, steps in enumerate(lengths):
        engine.submit(painter, request(str(place), steps), sink=events.put)
    engine.start()
    for _ in lengths:
        assert isinstance(events.get(timeout=20), Drawn)
    engine.stop()
    assert len(painter.steps) == sum(lengths)
    for place, steps in enumerate(lengths):
        turns = [turn for turn, (name, _) in enumerate(painter.steps) if name == str(place)]
        assert [step for name, step in painter.steps if name == str(place)] == list(range(1, steps + 1))
        assert all(later - earlier <= running_limit for earlier, later in pairwise(turns))
