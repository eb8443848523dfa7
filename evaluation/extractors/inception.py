"""The Inception-v3 of FID: TensorFlow's weights of 2015-12-05, as pytorch-fid and torch-fidelity publish them.

It is not torchvision's Inception: average pools leave their padding out, and the last block pools by maximum.
Szegedy et al. 2016; Heusel et al. 2017.  Shapes: values [B,3,299,299] in -1..1, features [B,2048].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluation.errors import EvaluationError
from evaluation.extractors.network import NetworkExtractor
from evaluation.extractors.preprocessing import Preprocessing
from evaluation.extractors.protocol import INCEPTION_FID
from evaluation.extractors.weights import first_line, weights_sha256

INPUT_PX = 299
CLASSES = 1008
# pt_inception-2015-12-05-6726825d.pth, and inception-2015-12-05.pt (TorchScript), of the same weights.
STATE_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SCRIPT_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
PUBLISHED = frozenset({STATE_SHA256, SCRIPT_SHA256})


def family_of(digest: str, declared: str) -> str:
    """Return ``inception-fid`` for the published files, else what the user declares."""
    return INCEPTION_FID if digest in PUBLISHED else declared


def inception(
    path: str | Path,
    *,
    sha256: str | None = None,
    declared_fid: bool = False,
    resize: str = "bicubic-antialias",
    device: str = "cpu",
) -> NetworkExtractor:
    """Load FID's Inception from a state dict; its features are those before the classifier.

    Args:
        sha256: refuse any other file.
        declared_fid: you vouch that the weights are those of FID, though the file is not a published one.
        resize: ``bicubic-antialias`` as clean-fid, ``tf1-bilinear`` as torch-fidelity and torchmetrics,
            ``bilinear`` as pytorch-fid.

    Raises EvaluationError when the file is missing, another one, or holds no such weights.
    """
    file = Path(path)
    digest = weights_sha256([file], sha256)
    return NetworkExtractor(
        _loaded(file).to(torch.device(device), memory_format=torch.channels_last),  # type: ignore[call-overload]
        name="inception-v3",
        family=family_of(digest, INCEPTION_FID if declared_fid else "other"),
        digest=digest,
        preprocessing=Preprocessing(input_px=INPUT_PX, resize=resize, normalisation="inception"),
        device=device,
    )


def _loaded(file: Path) -> nn.Module:
    network = FidInception()
    try:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # a wrong file fails in torch, zipfile or pickle, each with an error of its own
        raise EvaluationError(f"{file} does not hold weights of FID's Inception: {first_line(error)}") from error
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class Conv:
    """One convolution of a block; ``height`` × ``width`` of the kernel, padded to keep the size unless it strides."""

    name: str
    channels: int
    height: int = 1
    width: int = 1
    stride: int = 1


Branch = tuple[Conv | tuple[Conv, Conv], ...]  # one after the other; two at the end of a branch stand side by side


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, channels: int, spec: Conv, *, padded: bool = True) -> None:
        super().__init__()
        kernel = (spec.height, spec.width)
        padding = (spec.height // 2, spec.width // 2) if padded and spec.stride == 1 else (0, 0)
        self.conv = nn.Conv2d(channels, spec.channels, kernel, spec.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(spec.channels, eps=0.001)

    def forward(self, values: Tensor) -> Tensor:
        """Return [B,channels,h,w]."""
        return functional.relu(self.bn(self.conv(values)), inplace=True)


class Block(nn.Module):
    """Branches over one input, joined by channel, and a pool behind them: ``average``, ``maximum`` or ``halving``."""

    def __init__(self, channels: int, branches: tuple[Branch, ...], pool: str, pool_channels: int = 0) -> None:
        super().__init__()
        self._branches = branches
        self._pool = pool
        for branch in branches:
            width = channels
            for stage in branch:
                convs = stage if isinstance(stage, tuple) else (stage,)
                for spec in convs:
                    self.add_module(spec.name, ConvNorm(width, spec))
                width = sum(spec.channels for spec in convs)
        if pool_channels:
            self.branch_pool = ConvNorm(channels, Conv("branch_pool", pool_channels))

    def forward(self, values: Tensor) -> Tensor:
        """Return [B,sum of the branches' channels,h,w]."""
        outputs = [self._along(branch, values) for branch in self._branches]
        return torch.cat([*outputs, self._pooled(values)], dim=1)

    def _along(self, branch: Branch, values: Tensor) -> Tensor:
        for stage in branch:
            convs = stage if isinstance(stage, tuple) else (stage,)
            values = torch.cat([self.get_submodule(spec.name)(values) for spec in convs], dim=1)
        return values

    def _pooled(self, values: Tensor) -> Tensor:
        if self._pool == "halving":
            return functional.max_pool2d(values, 3, stride=2)
        if self._pool == "maximum":
            return self.branch_pool(functional.max_pool2d(values, 3, stride=1, padding=1))  # type: ignore[no-any-return]
        average = functional.avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)
        return self.branch_pool(average)  # type: ignore[no-any-return]


def _block_a(channels: int, pool_channels: int) -> Block:
    five = (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, 5, 5))
    double = (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3, 3), Conv("branch3x3dbl_3", 96, 3, 3))
    return Block(channels, ((Conv("branch1x1", 64),), five, double), "average", pool_channels)


def _block_b(channels: int) -> Block:
    double = (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3, 3), Conv("branch3x3dbl_3", 96, 3, 3, 2))
    return Block(channels, ((Conv("branch3x3", 384, 3, 3, 2),), double), "halving")


def _block_c(channels: int, inner: int) -> Block:
    seven = (Conv("branch7x7_1", inner), Conv("branch7x7_2", inner, 1, 7), Conv("branch7x7_3", 192, 7, 1))
    double = (
        Conv("branch7x7dbl_1", inner),
        Conv("branch7x7dbl_2", inner, 7, 1),
        Conv("branch7x7dbl_3", inner, 1, 7),
        Conv("branch7x7dbl_4", inner, 7, 1),
        Conv("branch7x7dbl_5", 192, 1, 7),
    )
    return Block(channels, ((Conv("branch1x1", 192),), seven, double), "average", 192)


def _block_d(channels: int) -> Block:
    three = (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, 3, 3, 2))
    seven = (
        Conv("branch7x7x3_1", 192),
        Conv("branch7x7x3_2", 192, 1, 7),
        Conv("branch7x7x3_3", 192, 7, 1),
        Conv("branch7x7x3_4", 192, 3, 3, 2),
    )
    return Block(channels, (three, seven), "halving")


def _block_e(channels: int, pool: str) -> Block:
    three: Branch = (
        Conv("branch3x3_1", 384),
        (Conv("branch3x3_2a", 384, 1, 3), Conv("branch3x3_2b", 384, 3, 1)),
    )
    double: Branch = (
        Conv("branch3x3dbl_1", 448),
        Conv("branch3x3dbl_2", 384, 3, 3),
        (Conv("branch3x3dbl_3a", 384, 1, 3), Conv("branch3x3dbl_3b", 384, 3, 1)),
    )
    return Block(channels, ((Conv("branch1x1", 320),), three, double), pool, 192)


class FidInception(nn.Module):
    """From values in -1..1 to the 2048 averages before the classifier; names are those of the published weights."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, Conv("", 32, 3, 3, 2))
        self.Conv2d_2a_3x3 = ConvNorm(32, Conv("", 32, 3, 3), padded=False)
        self.Conv2d_2b_3x3 = ConvNorm(32, Conv("", 64, 3, 3))
        self.Conv2d_3b_1x1 = ConvNorm(64, Conv("", 80))
        self.Conv2d_4a_3x3 = ConvNorm(80, Conv("", 192, 3, 3), padded=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _block_a(192, 32), _block_a(256, 64), _block_a(288, 64)
        self.Mixed_6a, self.Mixed_6b, self.Mixed_6c = _block_b(288), _block_c(768, 128), _block_c(768, 160)
        self.Mixed_6d, self.Mixed_6e = _block_c(768, 160), _block_c(768, 192)
        self.Mixed_7a, self.Mixed_7b = _block_d(768), _block_e(1280, "average")
        self.Mixed_7c = _block_e(2048, "maximum")
        self.fc = nn.Linear(2048, CLASSES)  # not used for features; it is part of the published file

    def forward(self, values: Tensor) -> Tensor:
        """Return [B,2048]."""
        values = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(values)))
        values = functional.max_pool2d(values, 3, stride=2)
        values = functional.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(values)), 3, stride=2)
        for block in (self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a, self.Mixed_6b, self.Mixed_6c):
            values = block(values)
        for block in (self.Mixed_6d, self.Mixed_6e, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c):
            values = block(values)
        return values.mean(dim=(2, 3))
