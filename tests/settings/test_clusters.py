"""Where a cluster's samples are: shards, replicas, and what cannot be meant."""

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.settings import ClusterSettings, EnergySettings


def cluster(*endpoints: dict[str, Any]) -> ClusterSettings:
    return ClusterSettings.model_validate({"name": "c", "prometheus": endpoints, "grid_zone": "DE", "pue": 1.2})


def entry(url: str, replica_of: str | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401 # any key
    return {"url": f"http://{url}", "replica_of": replica_of} | more


@pytest.mark.parametrize(
    ("endpoints", "shards"),
    [
        ([entry("a")], [["a"]]),
        ([entry("a"), entry("b")], [["a"], ["b"]]),
        ([entry("a", "x"), entry("b", "x")], [["a", "b"]]),
        (
            [entry("a", "x"), entry("b", "y"), entry("c"), entry("d", "x"), entry("e", "y")],
            [["a", "d"], ["b", "e"], ["c"]],
        ),
        ([entry("a", ""), entry("b", "")], [["a", "b"]]),
    ],
)
def test_entries_of_one_replica_of_are_replicas_and_others_are_shards(
    endpoints: list[dict[str, Any]], shards: list[list[str]]
) -> None:
    found = cluster(*endpoints).shards
    assert [[one.url.removeprefix("http://") for one in replicas] for replicas in found] == shards


@pytest.mark.parametrize("more", [{}, {"replica_of": "x"}, {"transport": "query"}])
def test_one_server_twice_is_refused(more: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="names http://a twice, with one selector: replicas and shards are"):
        cluster(entry("a"), entry("a") | more)


@pytest.mark.parametrize("more", [{"selector": '{shard="2"}'}, {"bearer_token_env": "OTHER_TENANT"}])
def test_one_address_that_shows_two_things_is_two_servers(more: dict[str, str]) -> None:
    assert len(cluster(entry("a"), entry("a") | more).shards) == 2


def test_no_server_at_all_is_refused() -> None:
    with pytest.raises(ValidationError, match="prometheus is empty: say where its samples are"):
        cluster()


def test_the_digest_knows_what_merges_replicas_and_not_where_it_is() -> None:
    energy = EnergySettings()
    plain, merging = cluster(entry("a")), cluster(entry("a", merges_replicas=True))
    assert plain.digest(energy) != merging.digest(energy)
    assert plain.digest(energy) == cluster(entry("b", "x"), entry("c", "x")).digest(energy)
