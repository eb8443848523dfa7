"""The packaged extractor is the network it says it is, and its features are remembered."""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from torch import Tensor

from atelier import AtelierError
from evaluation.drawings import picture_files
from evaluation.errors import EvaluationError, TooFewPicturesError
from evaluation.extractors.efficientnet import EfficientNetLite0
from evaluation.extractors.feeding import CPU_BATCH, Halving, fed, read_in_processes
from evaluation.extractors.pictures import PicturesInMemory, PicturesOnDisk, opened, picture_digest
from evaluation.extractors.protocol import extractor_identity
from evaluation.extractors.store import FeatureStore
from evaluation.studio import Studio

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
    family = "other"
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        self.seen += len(pictures_B3HW)
        return pictures_B3HW.float().mean(dim=(2, 3))


class _Broken(_Counting):
    """Gives no number once it has looked at twenty pictures."""

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        features = super().__call__(pictures_B3HW)
        return features if self.seen <= 20 else features / 0 * 0


class _Small(_Counting):
    """A device that holds three pictures."""

    def __call__(self, pictures_B3HW: Tensor) -> Tensor:
        if len(pictures_B3HW) > 3:
            raise torch.OutOfMemoryError("of a device that is full")
        return super().__call__(pictures_B3HW)


def test_each_picture_is_extracted_once(tmp_path: Path) -> None:
    extractor, pictures = _Counting(), _pictures(40)
    first = FeatureStore(extractor, tmp_path)(torch.cat([pictures, pictures[:7]]))
    again = FeatureStore(extractor, tmp_path)(pictures.flip(0))
    assert extractor.seen == 40
    assert torch.equal(first[:40], again.flip(0)) and torch.equal(first[40:], first[:7])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 7))
@settings(max_examples=20, deadline=None)
def test_progress_adds_up_whatever_is_known(places: list[int], known: int) -> None:
    pictures = _pictures(10, px=4)
    with tempfile.TemporaryDirectory() as folder:
        FeatureStore(_Counting(), Path(folder))(pictures[:known])
        told: list[int] = []
        features = FeatureStore(_Counting(), Path(folder))(pictures[places], told.append)
    assert sum(told) == len(places) and min(told) > 0
    assert torch.equal(features, pictures[places].float().mean(dim=(2, 3)))


def test_a_pack_cut_short_is_made_anew(tmp_path: Path) -> None:
    extractor, pictures = _Counting(), _pictures(3)
    first = FeatureStore(extractor, tmp_path)(pictures)
    (pack,) = tmp_path.rglob("*.safetensors")
    pack.write_bytes(pack.read_bytes()[:20])
    assert torch.equal(FeatureStore(extractor, tmp_path)(pictures), first)
    assert extractor.seen == 6


def test_what_was_done_before_a_break_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.extractors.store.CPU_PACK", 8)
    pictures = _pictures(64)
    with pytest.raises(EvaluationError, match="no finite features"):
        FeatureStore(_Broken(), tmp_path)(pictures)
    extractor = _Counting()
    FeatureStore(extractor, tmp_path)(pictures)
    assert 20 <= extractor.seen < 64  # packs written before the break were not made again
    assert not list(tmp_path.rglob("*.partial"))


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    pictures, counts = _pictures(600, px=8), []

    def fill() -> None:
        extractor = _Counting()
        FeatureStore(extractor, tmp_path)(pictures)
        counts.append(extractor.seen)

    threads = [threading.Thread(target=fill) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 600  # a lock is the kernel's, on an open file: threads meet it as processes do
    whole = FeatureStore(_Counting(), tmp_path)(pictures)
    assert torch.equal(whole, pictures.float().mean(dim=(2, 3)))


def test_another_extractors_cache_is_not_taken(tmp_path: Path) -> None:
    one, other = _Counting(), _Counting()
    other.digest = "0" * 12 + "1" * 52  # the digits that names show are the same
    pictures = _pictures(3)
    FeatureStore(one, tmp_path)(pictures)
    FeatureStore(other, tmp_path)(pictures)
    assert other.seen == 3
    first, second = sorted(tmp_path.iterdir())
    shutil.rmtree(second)
    first.rename(second)
    with pytest.raises(AtelierError, match="was made by encoder"):
        FeatureStore(one, tmp_path)(pictures), FeatureStore(other, tmp_path)(pictures)


def test_features_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    extractor = _Broken()
    extractor.seen = 20
    with pytest.raises(EvaluationError, match="no finite features for 5 of 5 pictures"):
        FeatureStore(extractor, tmp_path)(_pictures(5))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_no_picture_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no picture to look at"):
        FeatureStore(_Counting(), tmp_path)(_pictures(0))


def test_a_panel_asks_the_studio_for_another_networks_features(tmp_path: Path) -> None:
    own, other = _Counting(), _Counting()
    other.digest = "1" * 64
    studio = Studio(own, cache=tmp_path, console=Console(file=io.StringIO()))
    column = studio.column("Made", "made", _pictures(5))
    assert torch.equal(studio.features(own, column.pictures), column.features)
    assert torch.equal(studio.features(other, PicturesInMemory(column.pictures)), column.features)
    assert (own.seen, other.seen) == (5, 5)


def test_batches_come_in_order_and_shrink_until_they_fit() -> None:
    pictures = _pictures(2 * CPU_BATCH + 5, px=4)
    expected = pictures.float().mean(dim=(2, 3))
    places = list(range(len(pictures)))[::-1]
    assert torch.equal(torch.cat(list(fed(_Counting(), PicturesInMemory(pictures), places))), expected.flip(0))
    assert torch.equal(Halving(_Small())(pictures), expected)


def test_one_picture_too_large_for_the_device_is_told() -> None:
    class Tiny(_Small):
        def __call__(self, pictures_B3HW: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("of a device that is full")

    with pytest.raises(torch.OutOfMemoryError):
        Halving(Tiny())(_pictures(4))


def test_equal_bytes_of_other_shape_have_another_digest() -> None:
    picture = _pictures(1)[0]
    assert picture_digest(picture) != picture_digest(picture.reshape(3, 32, 128))


def test_files_are_seen_on_white_in_one_size(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 40)).save(tmp_path / "empty.png")
    Image.new("RGB", (20, 10), "red").save(tmp_path / "wide.png")
    Image.new("P", (30, 30)).save(tmp_path / "palette.gif")
    files = [tmp_path / name for name in ("empty.png", "wide.png", "palette.gif")]
    batch = PicturesOnDisk(files, 16).batch([0, 1, 2])
    assert batch.shape == (3, 3, 16, 16) and batch.dtype == torch.uint8
    assert bool((batch[0] == 255).all())
    assert batch[1, :, 8, 8].tolist() == [255, 0, 0] and batch[1, :, 0, 0].tolist() == [255, 255, 255]


def test_the_same_file_at_another_size_is_another_picture(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    keys = {PicturesOnDisk([tmp_path / "a.png"], px).key(0) for px in (16, 32)}
    assert len(keys) == 2


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(EvaluationError, match=r"broken\.png is not a picture that opens: no known format: remove"):
        list(fed(_Counting(), PicturesOnDisk([tmp_path / "broken.png"], 16), [0]))


def test_processes_read_the_same_batches_in_order_and_name_a_broken_file(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(7)]
    for number, file in enumerate(files):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(file)
    pictures, parts = PicturesOnDisk(files, 8), [[6, 0], [3], [1, 2, 4]]
    for batch, part in zip(read_in_processes(pictures, parts), parts, strict=True):
        assert torch.equal(batch, pictures.batch(part))
    files[2].write_bytes(b"no picture")
    with pytest.raises(EvaluationError, match=r"^.*2\.png is not a picture that opens: no known format: remove[^\n]*$"):
        list(read_in_processes(pictures, parts))


def test_a_folder_of_pictures_is_read_by_name(tmp_path: Path) -> None:
    for number in range(20):
        Image.new("LA", (9 + number, 9)).save(tmp_path / f"{number:02}.png")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    files = picture_files(tmp_path, 16)
    assert [file.name for file in files] == [f"{number:02}.png" for number in range(16)]
    assert {opened(file).mode for file in files} == {"RGBA"}
    with pytest.raises(
        TooFewPicturesError, match=r"holds 20 pictures, 32 are measured: pass suite\.pictures=20 or less"
    ):
        picture_files(tmp_path, 32)


def test_empty_and_missing_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no folder of pictures at"):
        picture_files(tmp_path / "none", 16)
    (tmp_path / "inner").mkdir()
    with pytest.raises(TooFewPicturesError, match=r"holds no picture .*its folders are not looked into"):
        picture_files(tmp_path, 16)
