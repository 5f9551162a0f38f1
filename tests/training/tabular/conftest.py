"""What every test of a training shares."""

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the process of a training: linear algebra on one thread, which is faster here too."""
    with threadpool_limits(1, "blas"):
        yield
