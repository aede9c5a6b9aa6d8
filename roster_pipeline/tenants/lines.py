"""YAML as plain values, together with the line on which each of them stands.

What YAML says, and what of it a tenant document may use; what the values mean is for `rules` and
`document`. YAML's own error texts quote the file, which may hold a pasted secret: they are not
passed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, cast

import yaml

from roster_pipeline.tenants.refusals import Place, Problem, shown

# The C parser builds its tree by recursion and dies of a few thousand brackets: depth is looked
# at first. No real document is deeper than five.
_DEEPEST: Final = 20
_MOST_VALUES: Final = 50_000  # aliases of aliases grow without bound
_PLAIN_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?")
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG: Final = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Written:
    """A document as written: `values` (mappings, lists, text, numbers, booleans, None), and where."""

    values: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    words: dict[Place, str] = field(default_factory=dict)
    """Each scalar as it stands in the file (`007` for the number 7), as messages may show it."""
    odd_numbers: set[Place] = field(default_factory=set)
    """Numbers that YAML reads in another way than people do: octal, hexadecimal, `1:30`, `1_000`."""
    unread: set[Place] = field(default_factory=set)
    """Places whose value has a problem already and is left out of `values`."""
    problems: list[Problem] = field(default_factory=list)

    def line(self, place: Place) -> int:
        """The line of a place, or that of the nearest thing around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_yaml(text: str) -> Written:
    """What `text` holds. Faults of the YAML itself are among `problems`, at most one of its syntax."""
    written = Written()
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                _syntax(written, _line(event.start_mark), "lists and mappings are nested too deeply")
                return written
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        # Quoted in YAML's texts are pieces of the file; single signs are harmless and useful.
        told = " ".join(part for part in (error.context, error.problem) if part) or "it is not YAML"
        what = re.sub(r"""(['"]).{2,}?\1""", "…", told, flags=re.DOTALL)
        _syntax(written, _line(error.problem_mark or error.context_mark), what)
        return written
    except yaml.YAMLError:
        _syntax(written, 0, "it holds characters that YAML does not allow")
        return written
    if root is None:
        _syntax(written, 0, "it is empty")
        return written
    try:
        value = _Walk(written).value(root, ())
        written.values = None if value is _UNREAD else value
    except _UnboundedError as error:
        _syntax(written, error.line, "it holds too many values, or its aliases grow without bound")
    return written


def _line(mark: Any) -> int:
    return mark.line if mark else 0


def _syntax(written: Written, line: int, what: str) -> None:
    written.lines[()] = line + 1
    written.problems.append(
        Problem(
            "RS-CFG-09",
            (),
            f"this is not a YAML document that can be read: {what}; correct it here or just above",
        )
    )


class _UnboundedError(Exception):
    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


class _Unread:
    """Stands for a value that has a problem already."""


_UNREAD: Final = _Unread()


class _Walk:
    def __init__(self, written: Written) -> None:
        self.written = written
        self.count = 0
        self.constructor = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node, place: Place) -> Any:
        self.written.lines.setdefault(place, node.start_mark.line + 1)
        self.count += 1
        if self.count > _MOST_VALUES or len(place) > _DEEPEST:  # an alias may contain itself
            raise _UnboundedError(node.start_mark.line)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            values = [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
            return _UNREAD if any(value is _UNREAD for value in values) else values
        return self.scalar(cast("yaml.ScalarNode", node), place)  # there is no fourth kind

    def mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, child in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.written.lines[(*place, "?")] = line
                self.refuse((*place, "?"), "a key is a list or a mapping; write a plain word")
                continue
            name = key.value.strip()
            inner = (*place, name)
            if name in first:
                # Its line replaces the first one's: this is where the reader must look.
                self.written.lines[inner] = line
                text = f"is written twice, first on line {first[name]}; keep one of them"
                self.written.problems.append(Problem("RS-CFG-11", inner, text))
                continue
            first[name] = line
            self.written.lines[inner] = line
            value = self.value(child, inner)
            if value is not _UNREAD:
                found[name] = value
            else:
                self.written.unread.add(inner)
        return found

    def scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        word: str = node.value.strip()
        self.written.words[place] = shown(word)
        try:
            return self.typed(node, word, place)
        except (ValueError, KeyError):  # `!!int abc`, or thousands of digits
            return self.refuse(place, "is not what its YAML tag says; write it plainly, texts in quotes")

    def typed(self, node: yaml.ScalarNode, word: str, place: Place) -> Any:
        match node.tag.removeprefix(_TAG):
            case "str" if any("\ud800" <= sign <= "\udfff" for sign in word):
                return self.refuse(place, "holds half a character; write the text anew")
            case "str":
                return word
            case "null":
                return None
            case "bool":
                return self.constructor.construct_yaml_bool(node)
            case "int" if _PLAIN_NUMBER.fullmatch(word):
                return int(word)
            case "int":
                self.written.odd_numbers.add(place)
                return self.constructor.construct_yaml_int(node)
            case "float" if _PLAIN_NUMBER.fullmatch(word):
                return float(word)
            case "float":
                return self.refuse(place, "is not a plain number; write one like 0.2, or quote a text")
            case "timestamp":
                return self.refuse(place, "is a date to YAML; write it in quotes")
            case _:
                return self.refuse(place, "has a YAML tag that is not used here; write plain text, in quotes")

    def refuse(self, place: Place, text: str) -> _Unread:
        self.written.problems.append(Problem("RS-CFG-02", place, text))
        self.written.unread.add(place)
        return _UNREAD
