import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def told(caplog) -> Iterator[pytest.LogCaptureFixture]:
    """What the servers' logger says, whatever a server that ran in this process has set it to."""
    logger = logging.getLogger("metseg.serve")
    before = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
    logger.level, logger.propagate = before
