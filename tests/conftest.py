"""What holds for all tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def loggers_speak() -> Iterator[None]:
    """A verb with Hydra's logging off silences every logger of the process; the next test wants to hear them."""
    yield
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(scope="session", autouse=True)
def nothing_revoked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is revoked where the tests are run has no say in them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATELIER_REVOCATIONS", str(tmp_path_factory.mktemp("revoked") / "revocations.jsonl"))
        yield
