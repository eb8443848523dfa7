"""Networks by file or by transformers' folder: loaded as they are, known by digest, refused when they are wrong."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from evaluation.errors import EvaluationError
from evaluation.extractors import inception as inception_module
from evaluation.extractors.hub import from_hub
from evaluation.extractors.inception import FidInception, inception
from evaluation.extractors.network import NetworkExtractor
from evaluation.extractors.onnx import onnx
from evaluation.extractors.preprocessing import Preprocessing, tensorflow1_bilinear
from evaluation.extractors.protocol import Extractor, extractor_identity
from evaluation.extractors.torchscript import torchscript

# The first six features and the mean of torch-fidelity 0.4.0's FeatureExtractorInceptionV3 ('2048') with the weights
# of ``_filled`` on the picture of ``_noise(1, (64, 48))``: pip download --no-deps torch-fidelity, load_state_dict.
FIDELITY_FIRST = [0.12513676285743713, 0.3230971693992615, 0.6454282999038696]
FIDELITY_FIRST += [0.057083871215581894, 0.5210143327713013, 0.5342191457748413]


def _noise(count: int, size: tuple[int, int] = (32, 32), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, *size), generator=generator, dtype=torch.uint8)


def _filled(network: nn.Module) -> nn.Module:
    """Give every weight numbers that follow from its place among the sorted names."""
    for place, (name, tensor) in enumerate(sorted(network.state_dict().items())):
        generator = torch.Generator().manual_seed(place)
        if not tensor.is_floating_point():
            continue
        if name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif tensor.ndim > 1:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * (2 / tensor[0].numel()) ** 0.5)
        else:
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
    return network.eval()


def _small(out: int = 5) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, out, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def _scripted(network: nn.Module, file: Path, px: int = 16) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(network, torch.rand(2, 3, px, px)).save(str(file))
    return file


# --- preprocessing


def test_resizing_agrees_with_pillow() -> None:
    picture = _noise(1, (50, 50))
    pillow = Image.fromarray(picture[0].permute(1, 2, 0).numpy())
    for resize, filter_ in (
        ("bicubic-antialias", Image.Resampling.BICUBIC),
        ("bilinear-antialias", Image.Resampling.BILINEAR),
    ):
        ours = Preprocessing(input_px=24, resize=resize, normalisation="bytes")(picture)[0]
        theirs = torch.tensor(list(pillow.resize((24, 24), filter_).tobytes())).view(24, 24, 3).permute(2, 0, 1)
        assert float((ours - theirs).abs().max()) <= 2  # Pillow rounds to bytes, twice


def test_tensorflows_resizing_takes_the_pixels_that_its_formula_names() -> None:
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    row = tensorflow1_bilinear(ramp, 8)[0, 0, 0]
    assert row.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]  # y_in = y_out / 2, and no pixel beyond the last


@pytest.mark.parametrize(
    ("settings", "identity"),
    [
        ({"input_px": 224}, "224px-bicubic-antialias-imagenet"),
        ({"input_px": 224, "resize_px": 256, "normalisation": "clip"}, "256to224px-bicubic-antialias-clip"),
        ({"input_px": 299, "resize": "none", "normalisation": "bytes"}, "own-size-bytes"),
        (
            {"input_px": 64, "normalisation": [[0, 0, 0], [1, 1, 0.5]]},
            "64px-bicubic-antialias-mean0,0,0-std1,1,0.5",
        ),
    ],
)
def test_the_identity_tells_size_resampling_and_normalisation(settings: dict[str, Any], identity: str) -> None:
    assert Preprocessing(**settings).identity == identity


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"input_px": 4}, "input_px 4 must lie in 8 to 4096"),
        ({"input_px": 64, "resize": "lanczos"}, "resize 'lanczos' is none of"),
        ({"input_px": 64, "resize_px": 32}, "resize_px 32 must not be less"),
        ({"input_px": 64, "normalisation": "zero"}, "normalisation 'zero' is none of"),
        ({"input_px": 64, "normalisation": [[0, 0, 0], [1, 1, 0]]}, "above 0"),
        ({"input_px": 64, "normalisation": [[0, 0], [1, 1]]}, "mean of R, G, B"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(EvaluationError, match=told):
        Preprocessing(**settings)


# --- Inception


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(_filled(FidInception()).state_dict(), file)
    return file


def test_inception_agrees_with_torch_fidelity(inception_file: Path) -> None:
    extractor = inception(inception_file, resize="tf1-bilinear")
    generator = torch.Generator().manual_seed(0)
    picture = torch.randint(0, 256, (2, 3, 64, 48), generator=generator, dtype=torch.uint8)
    features = extractor(picture)
    assert features.shape == (2, 2048) and extractor.dimensions == 2048
    torch.testing.assert_close(features[0, :6], torch.tensor(FIDELITY_FIRST), rtol=1e-5, atol=1e-6)
    assert float(features.mean()) == pytest.approx(0.375689297914505, rel=1e-5)


def test_only_the_published_inception_or_a_declared_one_is_fids(
    inception_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception_module, "NetworkExtractor", lambda _network, **told: told)
    digest = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    monkeypatch.setattr(inception_module, "_loaded", lambda _file: nn.Identity())
    told: Callable[..., Any] = inception
    assert told(inception_file)["family"] == "other"
    assert told(inception_file, declared_fid=True)["family"] == "inception-fid"
    monkeypatch.setattr(inception_module, "PUBLISHED", frozenset({digest}))
    assert told(inception_file)["family"] == "inception-fid"


def test_other_weights_are_no_inception(tmp_path: Path) -> None:
    torch.save(_small().state_dict(), tmp_path / "other.pth")
    with pytest.raises(EvaluationError, match="does not hold weights of FID's Inception") as caught:
        inception(tmp_path / "other.pth")
    assert "\n" not in str(caught.value)


# --- TorchScript and ONNX


@pytest.fixture(scope="module")
def script_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _scripted(_small(), tmp_path_factory.mktemp("script") / "copies.pt")


def test_a_torchscript_file_gives_what_its_network_gives(script_file: Path) -> None:
    extractor: Extractor = torchscript(script_file, input_px=16, normalisation="unit", family="sscd")
    pictures = _noise(3, (16, 16))
    torch.testing.assert_close(extractor(pictures), _small()(pictures / 255))
    digest = hashlib.sha256(script_file.read_bytes()).hexdigest()
    assert extractor_identity(extractor) == f"copies@{digest[:12]}/16px-bicubic-antialias-unit"
    assert (extractor.family, extractor.dimensions) == ("sscd", 5)


def test_a_wrong_digest_is_refused(script_file: Path) -> None:
    with pytest.raises(EvaluationError, match=f"has sha256 .*, {'0' * 64} is expected: it is another file"):
        torchscript(script_file, input_px=16, sha256="0" * 64)
    with pytest.raises(EvaluationError, match="must be 64 hexadecimal digits"):
        torchscript(script_file, input_px=16, sha256="abc")
    digest = hashlib.sha256(script_file.read_bytes()).hexdigest()
    assert torchscript(script_file, input_px=16, sha256=digest.upper()).digest == digest


class _Shapes(nn.Module):
    """Gives what is no [B,D] of finite floats."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, values: Tensor) -> Any:
        flat = values.mean(dim=(2, 3))
        wrong = {
            "maps": values,
            "pair": (flat, flat),
            "whole numbers": flat.long(),
            "one row": flat[:1],
            "nan": flat / 0 * 0,
        }
        return wrong[self.kind]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("maps", r"gives torch.float32 \[2, 3, 16, 16\] for 2 pictures, floats \[2, D\] are right"),
        ("pair", "gives tuple, one tensor"),
        ("whole numbers", "gives torch.int64"),
        ("one row", r"gives torch.float32 \[1, 3\] for 2 pictures"),
        ("nan", "gives values that are not numbers"),
    ],
)
def test_networks_that_give_no_features_are_refused_at_once(kind: str, told: str) -> None:
    with pytest.raises(EvaluationError, match=told) as caught:
        NetworkExtractor(
            _Shapes(kind),
            name="wrong",
            family="other",
            digest="0" * 64,
            preprocessing=Preprocessing(input_px=16, normalisation="unit"),
            device="cpu",
        )
    assert "\n" not in str(caught.value)


def test_a_wrong_size_is_told_in_one_line(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    file = _scripted(network, tmp_path / "fixed.pt")
    with pytest.raises(EvaluationError, match=r"fixed fails on pictures \[2, 3, 32, 32\]: ") as caught:
        torchscript(file, input_px=32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [torchscript, onnx])
def test_wrong_and_missing_files_get_one_line(load: Callable[..., Extractor], tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"no weights at .*none: pass extractor\.path=FILE"):
        load(tmp_path / "none", input_px=16)
    (tmp_path / "wrong").write_bytes(b"no weights" * 100)
    with pytest.raises(EvaluationError, match="file that loads") as caught:
        load(tmp_path / "wrong", input_px=16)
    assert "\n" not in str(caught.value)


def _onnx_mean(file: Path, batch: int | None) -> Path:
    """Write the graph ``mean over height and width`` by hand: ONNX is protobuf, and this one is short."""

    def field(number: int, content: bytes | int) -> bytes:
        if isinstance(content, int):
            return _varint(number << 3) + _varint(content)
        return _varint(number << 3 | 2) + _varint(len(content)) + content

    def value(name: str, sides: tuple[int | str, ...]) -> bytes:
        dims = b"".join(field(1, field(1, s) if isinstance(s, int) else field(2, s.encode())) for s in sides)
        return field(1, name.encode()) + field(2, field(1, field(1, 1) + field(2, dims)))

    axes = field(1, b"axes") + field(8, 2) + field(8, 3) + field(20, 7)
    keep = field(1, b"keepdims") + field(3, 0) + field(20, 2)
    node = field(1, b"x") + field(2, b"y") + field(4, b"ReduceMean") + field(5, axes) + field(5, keep)
    rows: int | str = batch or "batch"
    graph = (
        field(1, node) + field(2, b"g") + field(11, value("x", (rows, 3, 16, 16))) + field(12, value("y", (rows, 3)))
    )
    file.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 13)))
    return file


def _varint(number: int) -> bytes:
    digits = []
    while True:
        number, low = number >> 7, number & 127
        digits.append(low | (128 if number else 0))
        if not number:
            return bytes(digits)


@pytest.mark.parametrize("batch", [None, 1])
def test_an_onnx_file_gives_what_its_graph_says(batch: int | None, tmp_path: Path) -> None:
    extractor = onnx(_onnx_mean(tmp_path / "mean.onnx", batch), input_px=16, normalisation="unit")
    pictures = _noise(3, (16, 16))
    torch.testing.assert_close(extractor(pictures), pictures.float().mean(dim=(2, 3)) / 255)
    assert extractor.name == "mean" and extractor.dimensions == 3


def test_onnx_tells_of_other_sizes_outputs_and_devices(tmp_path: Path) -> None:
    file = _onnx_mean(tmp_path / "mean.onnx", None)
    with pytest.raises(EvaluationError, match=r"mean fails on pictures \[2, 3, 24, 24\]") as caught:
        onnx(file, input_px=24)
    assert "\n" not in str(caught.value)
    with pytest.raises(EvaluationError, match=r"has the outputs y: pass extractor\.output=NAME"):
        onnx(file, input_px=16, output="z")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(EvaluationError, match="onnxruntime has no cuda here"):
            onnx(file, input_px=16, device="cuda")


# --- transformers


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return folders of tiny random networks of each family, as ``save_pretrained`` writes them."""
    import transformers as t

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = sizes | {"image_size": 16, "patch_size": 8}
    text = sizes | {"vocab_size": 50, "max_position_embeddings": 12}
    made = {
        "clip": t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)),
        "siglip": t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=vision)),
        "dinov2": t.Dinov2Model(t.Dinov2Config(**vision)),
        "vit": t.ViTModel(t.ViTConfig(**vision)),
    }
    root = tmp_path_factory.mktemp("hub")
    for name, model in made.items():
        model.save_pretrained(root / name)
    processor = {"do_center_crop": True, "size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}}
    processor |= {"resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (root / "dinov2" / "preprocessor_config.json").write_text(json.dumps(processor))
    return {name: root / name for name in made}


@pytest.mark.parametrize(
    ("family", "dimensions", "preprocessing"),
    [
        ("clip", 8, "16px-bicubic-antialias-clip"),
        ("siglip", 16, "16px-bicubic-antialias-half"),
        ("dinov2", 16, "20to16px-bilinear-antialias-half"),
    ],
)
def test_each_family_loads_from_its_folder(
    hub: dict[str, Path], family: str, dimensions: int, preprocessing: str
) -> None:
    extractor = from_hub(hub[family])
    assert (extractor.family, extractor.dimensions, extractor.preprocessing) == (family, dimensions, preprocessing)
    weights = (hub[family] / "model.safetensors").read_bytes()
    assert extractor.digest == hashlib.sha256(weights).hexdigest()
    pictures = _noise(3, (40, 40))
    features = extractor(pictures)
    assert features.shape == (3, dimensions) and bool(features.isfinite().all())
    assert not torch.allclose(features[0], features[1])
    torch.testing.assert_close(extractor(pictures[1:2]), features[1:2], rtol=1e-4, atol=1e-5)


def test_clip_gives_what_transformers_gives(hub: dict[str, Path]) -> None:
    import transformers as t

    model = t.CLIPModel.from_pretrained(hub["clip"]).eval()
    pictures = _noise(2, (16, 16))
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    with torch.inference_mode():
        pooled = model.vision_model(pixel_values=(pictures / 255 - mean) / deviation).pooler_output
        expected = functional.linear(pooled, model.visual_projection.weight)
    torch.testing.assert_close(from_hub(hub["clip"])(pictures), expected, rtol=1e-4, atol=1e-5)


def test_a_folder_of_another_family_or_none_is_refused(hub: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="is of kind vit, none of clip"):
        from_hub(hub["vit"])
    with pytest.raises(EvaluationError, match=r"has no config\.json: pass a folder that transformers saved"):
        from_hub(tmp_path)
    with pytest.raises(EvaluationError, match=r"no folder at .*: pass a folder"):
        from_hub(tmp_path / "none")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(EvaluationError, match=r"has no model\.safetensors"):
        from_hub(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(EvaluationError, match=r"config\.json is broken"):
        from_hub(tmp_path)


def test_a_spoilt_weights_file_is_told(hub: dict[str, Path], tmp_path: Path) -> None:
    for file in hub["clip"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"spoilt" * 10)
    with pytest.raises(EvaluationError, match="does not load with transformers") as caught:
        from_hub(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_name_that_the_hub_does_not_give_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EvaluationError, match="is neither a folder nor to be had from the hub"):
        from_hub("atelier-tests/not-there")
