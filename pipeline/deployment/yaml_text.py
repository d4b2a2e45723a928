"""Objects written as YAML that people read: keys in their order, text of several lines as a block."""

from collections.abc import Iterable
from typing import Any

import yaml

WIDTH = 120


class _Dumper(yaml.SafeDumper):
    """No anchors, blocks for lines."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 # as the base has it
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def to_yaml(documents: Iterable[Any]) -> str:
    """One stream of documents."""
    written = (yaml.dump(one, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH) for one in documents)
    return "---\n".join(written)
