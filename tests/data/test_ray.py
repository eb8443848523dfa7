"""The same parts on a cluster of two nodes: the same bytes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from data.build import BuildSettings, build_dataset
from data.dataset import Dataset
from data.errors import DataError
from data.iconify import IconifySource
from data.policy import load_policy
from data.ray_engine import RayEngine

# Ray's own threads and sockets outlive its shutdown.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")


class MakeDataset(Protocol):
    def __call__(self, out: str = ..., *, workers: int | None = ..., icons: int = ...) -> Dataset: ...


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one core each, of this machine."""
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=node)
    made.add_node(num_cpus=1, object_store_memory=80_000_000)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()  # type: ignore[no-untyped-call]


def where(task: int) -> tuple[int, str]:
    """Return the task and the node that it ran on."""
    import ray

    return task, ray.get_runtime_context().get_node_id()


@needs_ray
def test_two_nodes_give_the_same_dataset(cluster: Any, make_dataset: MakeDataset, tmp_path: Path) -> None:
    here = make_dataset("here", icons=19)
    settings = BuildSettings(name="tiny", picture_px=32, samples_per_shard=5, part_drawings=20)
    there = build_dataset(
        IconifySource(tmp_path / "packages"),
        load_policy("commercial"),
        tmp_path / "there",
        settings,
        engine=RayEngine(),
    )
    assert there.card == here.card
    for file in here.folder.iterdir():
        assert (there.folder / file.name).read_bytes() == file.read_bytes(), file.name
    done = list(RayEngine().map(where, range(12)))
    assert [task for task, _ in done] == list(range(12))
    assert len({node for _, node in done}) == 2


@needs_ray
def test_what_a_task_raises_is_told_as_it_is(cluster: Any) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(RayEngine().map(Path.read_bytes, [Path("/nowhere")]))


@needs_ray
def test_a_cluster_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"no Ray cluster at engine\.address=127\.0\.0\.1:1"):
        list(RayEngine(address="127.0.0.1:1").map(where, [1]))


def test_ray_is_asked_for_by_name_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DataError, match=r"needs Ray, which is not installed: pip install -e '\.\[ray\]'"):
        RayEngine()
