"""The packaged extractor is the network it says it is, and its features are remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.extractors import EfficientNetLite0, extractor_identity
from evaluation.features import FeatureStore, picture_digest

DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@pytest.fixture(scope="module")
def extractor() -> EfficientNetLite0:
    return EfficientNetLite0()


def _pictures(count: int, seed: int = 0, px: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, px, px), generator=generator, dtype=torch.uint8)


def test_the_packaged_weights_are_the_ones_that_figures_name(extractor: EfficientNetLite0) -> None:
    assert extractor.digest == DIGEST
    assert extractor_identity(extractor) == "efficientnet-lite0@579344248a93/224px-bicubic-antialias"


def test_features_have_1280_dimensions_whatever_the_picture_size(extractor: EfficientNetLite0) -> None:
    for px in (32, 64, 300):
        features = extractor(_pictures(2, px=px))
        assert features.shape == (2, extractor.dimensions)
        assert features.dtype == torch.float32
        assert bool(features.isfinite().all())


def test_features_of_a_picture_do_not_depend_on_its_batch(extractor: EfficientNetLite0) -> None:
    pictures = _pictures(5)
    torch.testing.assert_close(extractor(pictures)[3:4], extractor(pictures[3:4]), rtol=1e-4, atol=1e-4)


def test_resizing_agrees_with_pillow(extractor: EfficientNetLite0) -> None:
    picture = _pictures(1, px=300)
    resized = Image.fromarray(picture[0].permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC)
    same = torch.tensor(list(resized.tobytes()), dtype=torch.uint8).view(224, 224, 3).permute(2, 0, 1)[None]
    # Pillow rounds and clamps to 8 bits, which noise shows most.
    cosine = torch.nn.functional.cosine_similarity(extractor(picture), extractor(same))
    assert float(cosine) > 0.99


def test_the_packaged_network_knows_a_flag_from_noise(extractor: EfficientNetLite0) -> None:
    """A loading that went wrong (a head without weights, say) gives nearly equal features for all pictures."""
    flag = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    flag[:, 0, :32] = 255
    cosine = torch.nn.functional.cosine_similarity(extractor(flag), extractor(_pictures(1)))
    assert float(cosine) < 0.8


def test_floats_are_refused(extractor: EfficientNetLite0) -> None:
    with pytest.raises(EvaluationError, match=r"takes uint8 pictures \[B,3,H,W\], got torch.float32"):
        extractor(torch.rand(1, 3, 8, 8))


def test_missing_and_wrong_weights_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no weights at"):
        EfficientNetLite0(tmp_path / "none.pth")
    (tmp_path / "wrong.pth").write_bytes(b"not weights")
    with pytest.raises(EvaluationError, match="does not hold weights") as caught:
        EfficientNetLite0(tmp_path / "wrong.pth")
    assert "\n" not in str(caught.value)


class _Counting:
    """The mean colour as features; counts the pictures it was asked for."""

    name, digest, dimensions, preprocessing = "mean", "0" * 64, 3, "none"

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        self.seen += len(pictures_B3HW)
        return pictures_B3HW.float().mean(dim=(2, 3))


class _Broken(_Counting):
    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        return super().__call__(pictures_B3HW) / 0 * 0


def test_each_picture_is_extracted_once(tmp_path: Path) -> None:
    extractor, pictures = _Counting(), _pictures(40)
    first = FeatureStore(extractor, tmp_path)(pictures)
    again = FeatureStore(extractor, tmp_path)(pictures.flip(0))
    assert extractor.seen == 40
    assert torch.equal(first, again.flip(0))


def test_a_cache_file_cut_short_is_made_anew(tmp_path: Path) -> None:
    extractor, pictures = _Counting(), _pictures(3)
    store = FeatureStore(extractor, tmp_path)
    first = store(pictures)
    (file,) = tmp_path.rglob(f"{picture_digest(pictures[1])}.npy")
    file.write_bytes(file.read_bytes()[:20])
    assert torch.equal(store(pictures), first)
    assert extractor.seen == 4


def test_features_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no finite features for 5 of 5 pictures"):
        FeatureStore(_Broken(), tmp_path)(_pictures(5))
    assert not list(tmp_path.rglob("*.npy"))


def test_equal_bytes_of_other_shape_have_another_digest() -> None:
    picture = _pictures(1)[0]
    assert picture_digest(picture) != picture_digest(picture.reshape(3, 32, 128))
