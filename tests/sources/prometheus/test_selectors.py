"""No label value becomes syntax, and what a user writes is understood or refused, never passed on."""

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.sources.prometheus.selectors import Matcher, expression, parse_matchers, selector

NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "__name__")
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@given(st.lists(st.tuples(NAMES, st.sampled_from(["=", "!="]), VALUES), max_size=4))
def test_a_promql_parser_reads_back_every_value_we_write(conditions: list[tuple[str, str, str]]) -> None:
    read = promql_parser.parse(selector("up", *(Matcher(*condition) for condition in conditions)))
    assert isinstance(read, promql_parser.VectorSelector)
    assert read.name == "up"
    assert [(m.name, m.value) for m in read.matchers.matchers] == [(name, value) for name, _, value in conditions]


@given(st.lists(st.tuples(NAMES, st.sampled_from(["=", "!=", "=~", "!~"]), VALUES), max_size=4))
def test_what_we_write_we_also_read(conditions: list[tuple[str, str, str]]) -> None:
    matchers = tuple(Matcher(*condition) for condition in conditions)
    assert parse_matchers("{" + ",".join(str(m) for m in matchers) + "}") == matchers


@pytest.mark.parametrize(
    "value",
    ['"} or {x="', 'a"b', "a\\", 'a\\"b', "line\nbreak", "\\n", "}", "{", "#", "$selector", "'", "`", "ä→", "a\tb"],
)
def test_hostile_values_stay_one_matcher(value: str) -> None:
    read = promql_parser.parse(selector("up", Matcher("x", "=", value)))
    assert isinstance(read, promql_parser.VectorSelector)
    assert [m.value for m in read.matchers.matchers] == [value]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ()),
        (" { } ", ()),
        ('{cluster="prod-eu"}', (Matcher("cluster", "=", "prod-eu"),)),
        ('{ a != "x" , b=~"y|z" , }', (Matcher("a", "!=", "x"), Matcher("b", "=~", "y|z"))),
        (r'{a!~"x\\d+\"\n"}', (Matcher("a", "!~", 'x\\d+"\n'),)),
    ],
)
def test_a_users_selector_is_understood(text: str, expected: tuple[Matcher, ...]) -> None:
    assert parse_matchers(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "cluster", 'cluster="x"', "{cluster}", "{cluster=x}", "{cluster='x'}", '{a="b" c="d"}', '{a="b}', 'up{a="b"}',
     '{a="b"} or {c="d"}', '{a="b"}[5m]', '{a=="b"}', '{1a="b"}', '{a="b\n"}', '{,}', '{a="\\x41"}',
     '{a="\\u00e4"}', '{a=~"\\d"}'],
)  # fmt: skip
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^selector ") as caught:
        parse_matchers(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", ["", "a b", "1a", "a-b", 'a{b="c"}', "a[5m]", "a\n", "ä"])
def test_what_is_no_metric_name_is_never_written(metric: str) -> None:
    with pytest.raises(ValueError, match="not a metric name"):
        selector(metric)


@pytest.mark.parametrize(
    ("text", "filled", "bare"),
    [
        ("m{$selector}", 'm{a="x\\"y",b=~"c.*"}', "m{}"),
        ('m{l="DE",$selector}', 'm{l="DE",a="x\\"y",b=~"c.*"}', 'm{l="DE",}'),
        ('m{ $selector , l="DE"}', 'm{ a="x\\"y",b=~"c.*" , l="DE"}', 'm{  l="DE"}'),
        ("n / m{$selector} + m{$selector}", 'n / m{a="x\\"y",b=~"c.*"} + m{a="x\\"y",b=~"c.*"}', "n / m{} + m{}"),
        ('m{l="$selectors"}', 'm{l="$selectors"}', 'm{l="$selectors"}'),
        ("m", "m", "m"),
    ],
)
def test_a_users_expression_takes_the_clusters_matchers_where_it_says_so(text: str, filled: str, bare: str) -> None:
    matchers = (Matcher("a", "=", 'x"y'), Matcher("b", "=~", "c.*"))
    assert expression(text, matchers) == filled
    assert expression(text, ()) == bare
    for written in (filled, bare):
        promql_parser.parse(written)


@pytest.mark.parametrize("text", ["m$selector", "$selector", "sum($selector)", 'm{l="$selector"}'])
def test_matchers_outside_braces_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\$selector stands in braces, as in metric\{\$selector\}"):
        expression(text, ())
