"""External labels are read only where they are certain; the queries of a split are each other's complement."""

import pytest

from pipeline.sources.prometheus.external_labels import Query, external_labels, queries
from pipeline.sources.prometheus.selectors import Matcher

HEAD = "global:\n  scrape_interval: 1m\n  external_labels:\n"
TAIL = "scrape_configs: []\n"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["cluster: prod-eu"], {"cluster": "prod-eu"}),
        (["prometheus: monitoring/k8s", "prometheus_replica: prometheus-k8s-0"],
         {"prometheus": "monitoring/k8s", "prometheus_replica": "prometheus-k8s-0"}),
        (['replica: "1"', "cluster: 'prod: x'", '"yes": "yes"'], {"replica": "1", "cluster": "prod: x", "yes": "yes"}),
        (["a: 'it''s'", "b: ünï→", 'c: "tab\\t"', "d: so so"], {"a": "it's", "b": "ünï→", "c": "tab\t", "d": "so so"}),
        (['a: ""'], {"a": ""}),
        (["a: |-", "  two", "  lines"], None),
        (["a: 'long", "  folded'"], None),
        (["a: long", "  folded"], None),
        (["a: '"], None), (['a: "\\x41"'], None), (["a: &anchor"], None), (["a: # nothing"], None), (["a:"], None),
        (["a: b # comment"], None), (["a: b: c"], None), (["a: 'x' y'"], None), (["a: !!str 1"], None),
        (['a: "\\ud800"'], None), (['"\\ud800": a'], None), (["a: \ud800"], None), (["a: 'x\udfff'"], None),
    ],
)  # fmt: skip
def test_labels_are_read_from_the_printed_config_or_not_at_all(
    lines: list[str], expected: dict[str, str] | None
) -> None:
    assert external_labels(HEAD + "".join(f"    {line}\n" for line in lines) + TAIL) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("global:\n  scrape_interval: 1m\n" + TAIL, {}),
        ("global:\n  external_labels: {}\n", None),
        ("# not a Prometheus\n", None),
        ("", None),
        ("global:\nother:\n  external_labels_too: 1\n", None),
    ],
)
def test_a_config_without_them_is_told_from_one_that_is_not_understood(
    config: str, expected: dict[str, str] | None
) -> None:
    assert external_labels(config) == expected


def test_labels_that_no_series_has_by_itself_are_taken_off_everywhere() -> None:
    assert queries({"a": "1", "b": "2"}, frozenset()) == [Query((), {"a": "1", "b": "2"})]
    assert queries({}, frozenset()) == [Query((), {})]


def test_a_label_that_series_have_too_is_taken_off_only_where_they_lack_it() -> None:
    assert queries({"a": "1", "b": "2"}, frozenset({"b"})) == [
        Query((Matcher("b", "=", ""),), {"a": "1", "b": "2"}),
        Query((Matcher("b", "!=", ""),), {"a": "1"}),
    ]
    split = queries({"a": "1", "b": "2"}, frozenset({"a", "b"}))
    assert [set(query.added) for query in split] == [{"a", "b"}, {"a"}, {"b"}, set()]
    assert len({query.matchers for query in split}) == 4
