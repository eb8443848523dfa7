from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.artifacts import digest_folder, read_card, write_card
from registry.errors import ArtifactError, LockError
from registry.files import hold_lock, replace_file

MakeModel = Callable[..., Path]
CARD = {"kind": "backbone", "name": "base"}


def test_a_written_card_is_read_back(tmp_path: Path) -> None:
    write_card(tmp_path, CARD | {"licence": "Apache-2.0", "obligations": ["naïve ✓"]})
    assert read_card(tmp_path) == CARD | {"licence": "Apache-2.0", "obligations": ["naïve ✓"]}


def test_digest_is_the_documented_one(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/two").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    pairs = [("a", b"1"), ("b/two", b"2")]
    text = "".join(f"{name}\0{hashlib.sha256(content).hexdigest()}\n" for name, content in pairs)
    assert digest_folder(tmp_path) == hashlib.sha256(text.encode()).hexdigest()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.dictionaries(st.sampled_from("abcdef"), st.binary(max_size=8), min_size=1), changed=st.binary())
def test_digest_changes_with_any_file_and_with_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes], changed: bytes
) -> None:
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    for name, content in contents.items():
        (one / name).write_bytes(content)
    for name, content in reversed(contents.items()):
        (two / name).write_bytes(content)
    assert digest_folder(one) == digest_folder(two)
    name = min(contents)
    (two / name).write_bytes(changed)
    assert (digest_folder(one) == digest_folder(two)) == (changed == contents[name])


def test_folders_that_are_no_artifacts_are_refused(tmp_path: Path, make_backbone: MakeModel) -> None:
    with pytest.raises(ArtifactError, match="no model folder at"):
        read_card(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"has no atelier\.json"):
        read_card(tmp_path)
    folder = make_backbone()
    (folder / "transformer/optimizer.PT").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"holds transformer/optimizer\.PT.*safetensors"):
        read_card(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "must hold one JSON object"),
        ('{"kind": "painting"}', "one of backbone, adapter"),
        ('{"kind": "backbone"}', "lacks its name"),
        ('{"kind": "adapter", "name": "x", "base": {}}', r"base\.digest"),
        ('{"kind": "adapter", "name": "x", "base": "y"}', r"base\.digest"),
    ],
)
def test_cards_that_say_too_little_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "atelier.json").write_text(text)
    with pytest.raises(ArtifactError, match=message) as error:
        read_card(tmp_path)
    assert "\n" not in str(error.value)


def test_a_bad_card_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        write_card(tmp_path, {"kind": "adapter", "name": "x"})
    with pytest.raises(ValueError, match="JSON"):
        write_card(tmp_path, CARD | {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "card.json"
    replace_file(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("card.json", b"old")]


def test_a_lock_is_exclusive_and_says_what_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    told = pytest.raises(LockError, match="lock has been locked by another process")
    with hold_lock(path), told, hold_lock(path, deadline_seconds=0.1):
        pass
    with hold_lock(path, deadline_seconds=0):
        assert path.exists()
