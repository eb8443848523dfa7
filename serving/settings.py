"""Settings of the server: each group refuses bad values when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.errors import ServingError

MEBIBYTE = 1024 * 1024


def _within(name: str, value: float, low: float, high: float, *, whole: bool = True) -> None:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise ServingError(f"{name}={value} must be a {'whole ' if whole else ''}number from {low} to {high}")


def _is_text(pair: tuple[object, object]) -> bool:
    return all(isinstance(part, str) for part in pair)


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How much the engine takes on.

    ``running_limit`` requests are drawn at once, taking turns step by step; ``waiting_limit`` more may wait.
    """

    running_limit: int = 4
    waiting_limit: int = 32

    def __post_init__(self) -> None:
        _within("engine.running_limit", self.running_limit, 1, 64)
        _within("engine.waiting_limit", self.waiting_limit, 0, 10_000)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may ask for and send."""

    body_bytes: int = 20 * MEBIBYTE
    picture_side_px: int = 4096
    prompt_characters: int = 1000
    steps: int = 100
    pictures: int = 10

    def __post_init__(self) -> None:
        _within("limits.body_bytes", self.body_bytes, 1024, 1024 * MEBIBYTE)
        _within("limits.picture_side_px", self.picture_side_px, 16, 16_384)
        _within("limits.prompt_characters", self.prompt_characters, 1, 32_000)
        _within("limits.steps", self.steps, 1, 1000)
        _within("limits.pictures", self.pictures, 1, 10)


@dataclass(frozen=True, kw_only=True)
class QualitySteps:
    """Denoising steps for each of OpenAI's quality words; ``auto`` means medium."""

    low: int = 8
    medium: int = 16
    high: int = 32

    def __post_init__(self) -> None:
        for name in ("low", "medium", "high"):
            _within(f"quality.{name}", getattr(self, name), 1, 1000)
        if not self.low <= self.medium <= self.high:
            raise ServingError(f"quality low={self.low} medium={self.medium} high={self.high}: steps must not fall")


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Everything ``atelier serve`` needs, read from conf/serve.yaml.

    ``model`` is the backbone: a folder or a ``models:/`` reference. ``brands`` maps a name to such a reference; None
    serves every registered ``brand-*`` with a champion.
    """

    model: str
    brands: dict[str, str] | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    device: str = "cpu"
    poll_seconds: float = 3.0
    shutdown_seconds: int = 10
    engine: EngineSettings = field(default_factory=EngineSettings)
    limits: Limits = field(default_factory=Limits)
    quality: QualitySteps = field(default_factory=QualitySteps)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str):
            raise ServingError(f"model={self.model} must be a folder or a models:/ reference")
        if not isinstance(self.brands, dict | None) or not all(map(_is_text, (self.brands or {}).items())):
            raise ServingError(f"brands={self.brands} must be null or {{NAME: MODEL, …}}")
        _within("port", self.port, 0, 65_535)
        _within("poll_seconds", self.poll_seconds, 0.05, 3600, whole=False)
        _within("shutdown_seconds", self.shutdown_seconds, 0, 3600)
