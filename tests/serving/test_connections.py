"""Customers who leave, queues that fill, and a server that stops while it draws."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from openai import InternalServerError

from serving import session
from serving.settings import EngineSettings

if TYPE_CHECKING:
    from tests.serving.conftest import CuedPipeline, Running, Serve


def ask(server: Running, **fields: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/images/generations", json={"prompt": "a", **fields}, timeout=30)


def metric(server: Running, line: str) -> float:
    page = httpx.get(f"{server.url}/metrics").text
    return next((float(row.split()[-1]) for row in page.splitlines() if row.startswith(line)), 0.0)


def test_leaving_a_stream_frees_the_network_within_a_step(
    serve: Serve, cued: CuedPipeline, wait_until: Callable[..., bool]
) -> None:
    with serve(cued) as server:
        fields = {"prompt": "a", "stream": True, "partial_images": 3, "num_inference_steps": 40}
        cued.give(12)
        with httpx.stream("POST", f"{server.url}/v1/images/generations", json=fields, timeout=30) as response:
            first = next(line for line in response.iter_lines() if line.startswith("data: "))
            assert json.loads(first[6:])["partial_image_index"] == 0
            assert wait_until(lambda: len(cued.steps) == 12)
        assert wait_until(lambda: metric(server, 'atelier_requests_total{route="/v1/images/generations"') == 1)
        cued.give(1)  # the step that the engine was already in
        assert wait_until(lambda: metric(server, 'atelier_jobs_total{outcome="cancelled"}') == 1)
        cued.give(30)
        assert cued.ended == ["a"] and len(cued.steps) <= 13


def test_leaving_without_a_stream_frees_the_network_too(
    serve: Serve, cued: CuedPipeline, wait_until: Callable[..., bool]
) -> None:
    with serve(cued) as server:
        with httpx.Client(timeout=0.5) as client, pytest.raises(httpx.ReadTimeout):
            client.post(f"{server.url}/v1/images/generations", json={"prompt": "a"})
        assert cued.steps == []
        assert wait_until(lambda: metric(server, 'atelier_requests_total{route="/v1/images/generations"') == 1)
        cued.give(1)
        assert wait_until(lambda: metric(server, 'atelier_jobs_total{outcome="cancelled"}') == 1)
        assert len(cued.steps) <= 1


def test_previews_of_two_customers_interleave(serve: Serve, cued: CuedPipeline, wait_until: Any) -> None:
    order: list[str] = []

    def watch(server: Running, prompt: str) -> None:
        fields = {"prompt": prompt, "stream": True, "partial_images": 3, "num_inference_steps": 8}
        with httpx.stream("POST", f"{server.url}/v1/images/generations", json=fields, timeout=30) as response:
            order.extend(prompt for line in response.iter_lines() if line.startswith("data: "))

    with serve(cued) as server:
        threads = [threading.Thread(target=watch, args=(server, prompt)) for prompt in ("a", "b")]
        cued.give(1)
        threads[0].start()
        assert wait_until(lambda: len(cued.steps) == 1)
        threads[1].start()
        assert wait_until(lambda: metric(server, "atelier_jobs_waiting") == 1)
        cued.give(15)
        for thread in threads:
            thread.join(30)
    assert sorted(order) == ["a"] * 4 + ["b"] * 4
    turns = "".join(name for name, _ in cued.steps)
    assert turns == "aaa" + "ba" * 5 + "bbb", "they take turns once the second has come in"


def test_a_silent_stream_is_kept_alive(serve: Serve, cued: CuedPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "KEEPALIVE_SECONDS", 0.05)
    with serve(cued) as server:
        fields = {"prompt": "a", "stream": True, "num_inference_steps": 1}
        with httpx.stream("POST", f"{server.url}/v1/images/generations", json=fields, timeout=30) as response:
            lines = response.iter_lines()
            assert next(lines) == ": still drawing"
            cued.give(1)
            assert any(line == "event: image_generation.completed" for line in lines)


def test_a_full_queue_is_503_with_a_time_to_come_back(
    serve: Serve, cued: CuedPipeline, wait_until: Callable[..., bool]
) -> None:
    with serve(cued, engine=EngineSettings(running_limit=1, waiting_limit=1)) as server:
        threads = [threading.Thread(target=ask, args=(server,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        gauges = ("atelier_jobs_in_flight", "atelier_jobs_waiting")
        assert wait_until(lambda: [metric(server, gauge) for gauge in gauges] == [1, 1])
        answer = ask(server)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["error"]["code"] == "queue_full"
        with pytest.raises(InternalServerError, match="queue is full"):
            server.client.images.generate(prompt="a", stream=True)
        cued.give(32)
        for thread in threads:
            thread.join(30)
        cued.give(16)
        assert ask(server).status_code == 200


def test_a_fault_of_ours_tells_no_secret(serve: Serve, cued: CuedPipeline, caplog: pytest.LogCaptureFixture) -> None:
    with serve(cued) as server:
        cued.give(100)
        answer = ask(server, prompt="explode")
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "server_error"
        assert "secret" not in answer.text and "Traceback" not in answer.text
        streamed = ask(server, prompt="explode", stream=True)
        assert streamed.text.startswith("event: error\ndata: ") and "secret" not in streamed.text
        assert ask(server).status_code == 200
    assert "the secret inside" in caplog.text, "the log has what the customer is not told"


def test_stopping_lets_requests_under_way_finish(serve: Serve, cued: CuedPipeline, wait_until: Any) -> None:
    answers: list[httpx.Response] = []
    with serve(cued) as server:
        thread = threading.Thread(target=lambda: answers.append(ask(server)))
        thread.start()
        cued.give(1)
        assert wait_until(lambda: len(cued.steps) == 1)
        cued.give(15)
    thread.join(30)
    assert [answer.status_code for answer in answers] == [200]


def test_stopping_gives_up_on_what_takes_too_long(serve: Serve, cued: CuedPipeline, wait_until: Any) -> None:
    failures: list[Exception | int] = []

    def wait(server: Running) -> None:
        try:
            failures.append(ask(server, num_inference_steps=100).status_code)
        except httpx.HTTPError as error:
            failures.append(error)

    with serve(cued, shutdown_seconds=1) as server:
        thread = threading.Thread(target=wait, args=(server,))
        thread.start()
        cued.give(1)
        assert wait_until(lambda: len(cued.steps) == 1)
        release = threading.Timer(3, cued.give, args=(1,))
        release.start()
    thread.join(30)
    release.join()
    assert failures and failures != [200]


def test_health_and_readiness(serve: Serve, cued: CuedPipeline) -> None:
    with serve(cued) as server:
        assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
        ready = httpx.get(f"{server.url}/readyz")
        assert ready.status_code == 200 and ready.json()["models"] == ["atelier"]
        assert ready.headers["x-request-id"].startswith("req_")
        stopping = threading.Thread(target=server.studio.engine.stop)
        stopping.start()
        stopping.join(10)
        assert httpx.get(f"{server.url}/readyz").status_code == 503
        refused = ask(server)
        assert refused.status_code == 503 and refused.json()["error"]["code"] == "shutting_down"


def test_figures_are_counted(serve: Serve, cued: CuedPipeline, wait_until: Any) -> None:
    with serve(cued) as server:
        cued.give(16)
        ask(server, n=2)
        httpx.get(f"{server.url}/no/such/{'x' * 50}")
        assert metric(server, "atelier_step_seconds_count") == 16
        assert metric(server, "atelier_queue_wait_seconds_count") == 1
        assert metric(server, 'atelier_pictures_total{model="atelier",task="text_to_image"}') == 2
        assert metric(server, 'atelier_requests_total{route="unknown",status="404"}') == 1
        assert wait_until(lambda: metric(server, "atelier_jobs_in_flight") == 0)
