"""One cluster for all tests with Ray, which they share: it takes half a minute to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pools.nodes import Nodes

# These nodes have no credentials for buckets.
_NO_ACCESS = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray")
    with Nodes(**_NO_ACCESS) as found:
        yield found


@pytest.fixture
def joined(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """The cluster, which RAY_ADDRESS names."""
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    return nodes
