from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.artifacts import digest_folder, read_card, write_card
from registry.errors import ArtifactError, RegistryError
from registry.resolve import resolve_model
from registry.settings import RegistrySettings

MakeModel = Callable[..., Path]


def test_a_folder_needs_no_registry(make_adapter: MakeModel, make_backbone: MakeModel) -> None:
    model = resolve_model(make_adapter())
    assert model.digest == digest_folder(model.folder)
    assert model.base is not None
    assert model.base.folder == make_backbone()
    assert (model.name, model.version, model.base.base) == (None, None, None)


def test_versions_and_aliases_are_found(registry: RegistrySettings, make_backbone: MakeModel) -> None:
    store = registry.store
    for content in ("one", "two"):
        store.register("backbone", make_backbone(content))
    store.set_alias("backbone", "champion", 1)
    by_alias, by_number = resolve_model("models:/backbone@champion", store), resolve_model("models:/backbone/2", store)
    assert (by_alias.name, by_alias.version, by_number.version) == ("backbone", 1, 2)
    assert by_number.digest == digest_folder(make_backbone("two"))


def test_the_base_is_found_wherever_its_digest_is(
    registry: RegistrySettings, make_adapter: MakeModel, make_backbone: MakeModel
) -> None:
    store, adapter = registry.store, make_adapter()
    store.register("backbone", make_backbone())
    shutil.rmtree(make_backbone())
    found = resolve_model(adapter, store).base
    assert found is not None
    assert (found.name, found.version) == ("backbone", 1)
    for source in ("models:/backbone/1", "models:/backbone@nobody", "no/such/folder", None):
        card = read_card(adapter)
        write_card(adapter, card | {"base": card["base"] | {"source": source}})
        base = resolve_model(adapter, store).base
        assert base is not None
        assert base.name == "backbone"


def test_a_base_with_another_digest_is_refused(
    registry: RegistrySettings, make_adapter: MakeModel, make_backbone: MakeModel
) -> None:
    adapter, base = make_adapter(), make_backbone()
    (base / "transformer/weights.safetensors").write_text("others")
    with pytest.raises(ArtifactError, match=r"was made on the backbone .* is at its source .* no registered version"):
        resolve_model(adapter, registry.store)
    shutil.rmtree(base)
    with pytest.raises(ArtifactError, match="no readable model is at its source"):
        resolve_model(adapter)


def test_a_base_digest_that_is_none_is_refused(registry: RegistrySettings, make_adapter: MakeModel) -> None:
    adapter = make_adapter(base={"digest": "' OR name LIKE '%", "source": ""})
    registry.store.register("backbone", adapter.parent / "backbone-weights")
    with pytest.raises(ArtifactError, match="no registered version has that digest"):
        resolve_model(adapter, registry.store)


def test_an_adapter_is_no_base(make_adapter: MakeModel) -> None:
    one, two = make_adapter("one"), make_adapter("two")
    write_card(two, read_card(two) | {"base": {"digest": digest_folder(one), "source": str(one)}})
    with pytest.raises(ArtifactError, match="no backbone but an adapter"):
        resolve_model(two)


def test_a_registered_artifact_that_changed_is_refused(registry: RegistrySettings, make_backbone: MakeModel) -> None:
    store = registry.store
    store.register("backbone", make_backbone())
    (store.folder("backbone", 1) / "extra").write_text("x")
    with pytest.raises(ArtifactError, match="has changed since backbone version 1 was registered"):
        resolve_model("models:/backbone/1", store)
    shutil.rmtree(store.artifact_root)
    with pytest.raises(ArtifactError, match="the files of backbone version 1 are gone"):
        resolve_model("models:/backbone/1", store)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("models:/backbon@champion", "no registered model 'backbon': .* has backbone"),
        ("models:/backbone@challenger", r"has no alias 'challenger': it has champion \(version 1\)"),
        ("models:/backbone/9", "backbone has no version 9: it has 1"),
        ("models:/backbone", "write models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("models:/backbone/latest", "write models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("models:/Back bone@x", "is no model name"),
        ("backbone", "write models:/backbone@champion"),
        ("assets/nothing", "registered models are backbone"),
    ],
)
def test_what_is_not_found_is_told_with_what_there_is(
    registry: RegistrySettings, make_backbone: MakeModel, reference: str, message: str
) -> None:
    registry.store.register("backbone", make_backbone())
    registry.store.set_alias("backbone", "champion", 1)
    with pytest.raises(RegistryError, match=message) as error:
        resolve_model(reference, registry.store)
    assert "\n" not in str(error.value)


def test_models_without_a_registry_or_an_alias(registry: RegistrySettings, make_backbone: MakeModel) -> None:
    with pytest.raises(RegistryError, match="no registry was given"):
        resolve_model("models:/backbone/1")
    registry.store.register("backbone", make_backbone())
    with pytest.raises(RegistryError, match="it has none yet, and versions 1"):
        resolve_model("models:/backbone@champion", registry.store)
