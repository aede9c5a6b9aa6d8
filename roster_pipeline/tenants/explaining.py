"""What is wrong with a document of the operator's, in words: types, keys that are not there, and where.

For tenant documents and for whatever else operators write in YAML. What a document's keys are is said by
`Keys`; rules between keys are for whoever has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from roster_pipeline.tenants.lines import Written
from roster_pipeline.tenants.refusals import DocumentRefused, Place, Problem, near, or_list, shown

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a kind of document.

    Attributes:
        models: Where each model stands ("" at the top) and the model, for keys that were written elsewhere.
        model_at: The model at a place.
        instead: What to write for a key.
        secret: Keys whose values are never shown.
        addresses: Keys whose values may hold a secret, and are not shown either.
    """

    models: tuple[tuple[str, type[BaseModel]], ...]
    model_at: Callable[[Place], type[BaseModel]]
    instead: Mapping[str, str]
    secret: frozenset[str]
    addresses: frozenset[str]


def contents(file: Path, what: str) -> str | Problem:
    """The text of a document of this kind, or why there is none."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) <= _LARGEST:
            return content.decode("utf-8-sig")
        fault = f"is larger than any {what}; give the YAML file"
    except OSError as error:
        fault = f"could not be read: {error.strerror or 'no reason is told'}; give the path of a YAML file"
    except UnicodeDecodeError:
        fault = "is not UTF-8 text; save it as UTF-8"
    return Problem("RS-CFG-09", (), fault)


_LARGEST: Final = 1_000_000  # bytes


def validated(written: Written, model: type[Model], keys: Keys) -> tuple[Model | None, list[Problem]]:
    """The document, or None, and what is wrong with its types and keys."""
    try:
        made = model.model_validate_json(json.dumps(written.values))
    except ValidationError as error:
        faults = [
            (tuple(fault["loc"]), fault) for fault in error.errors(include_url=False, include_context=True)
        ]
        wrong = [
            problem
            for place, fault in faults
            if place not in written.unread and (problem := _explained(place, dict(fault), written, keys))
        ]
        places = {place for place, _ in faults}
        return None, wrong + _odd_numbers(written, places, keys)
    return made, _odd_numbers(written, set(), keys)


def _odd_numbers(written: Written, told: set[Place], keys: Keys) -> list[Problem]:
    return [
        Problem(
            "RS-CFG-02",
            place,
            f"{written.words[place]} is another number to YAML; write it in decimal digits",
        )
        for place in written.odd_numbers - told
        if not keys.secret.intersection(place)
    ]


def _explained(place: Place, fault: dict[str, Any], written: Written, keys: Keys) -> Problem | None:
    """One of pydantic's errors in our words; None where others tell it already."""
    key = place[-1] if place else ""
    field = next((part for part in reversed(place) if isinstance(part, str)), "")
    kind: str = fault["type"]
    if kind == "extra_forbidden":
        return Problem("RS-CFG-01", place, _unknown_key(place, keys))
    if kind == "missing":
        return Problem("RS-CFG-05", place, f"is required; {keys.instead.get(str(key), 'write it')}")
    value = fault["input"]
    if keys.secret.intersection(place):  # whatever it is, it is not shown
        return Problem("RS-CFG-03", place, "is not a reference in one line; write env:NAME or file:/path")
    if kind == "too_short" and value:  # entries that are wrong themselves were not counted
        return None
    return Problem(
        "RS-CFG-02", place, _wrong_value(place, field, kind, value, fault.get("ctx", {}), written, keys)
    )


def _wrong_value(
    place: Place, field: str, kind: str, value: Any, context: dict[str, Any], written: Written, keys: Keys
) -> str:
    word = written.words.get(place, "")
    told = "has" if field in keys.addresses else _shown(value, word)
    if value is None:
        return f"is empty; {_wanted(kind, field, context, keys)}, or leave the key out"
    if kind == "literal_error":
        offered = _offered(context)
        if not isinstance(value, str) and word in offered:
            return f'{word} is not text to YAML; write it in quotes: "{word}"'
        likely = near(value, offered) if isinstance(value, str) and len(offered) > 4 else []
        return f"{told} is not offered; write {or_list(likely or offered)}"
    if kind == "string_type" and not isinstance(value, (list, dict)):
        hint = f' or, as many servers have it, "0{word}"' if field == "grades" and len(word) == 1 else ""
        what = "true or false" if isinstance(value, bool) else "a number"
        return f'{word} is {what} to YAML, not text; write it in quotes: "{word}"{hint}'
    if kind == "tuple_type":
        example = (
            f'write a list: {field}: ["{word}"]'
            if word and isinstance(value, str)
            else _wanted(kind, field, context, keys)
        )
        return f"{told} is not a list; {example}"
    if kind == "string_pattern_mismatch":
        return "holds a line end or a control character; write plain text in one line"
    return f"{told} is not valid here; {_wanted(kind, field, context, keys)}"


def _wanted(kind: str, field: str, context: dict[str, Any], keys: Keys) -> str:
    match kind:
        case "bool_type":
            return "write true or false, without quotes"
        case "int_type" | "int_from_float":
            return "write a whole number, without quotes"
        case "float_type":
            return "write a number like 0.2, without quotes"
        case "greater_than_equal":
            return f"write a number of at least {context['ge']:g}"
        case "less_than_equal":
            return f"write a number of at most {context['le']:g}"
        case "tuple_type":
            return "write a list, each entry on a line of its own after a hyphen"
        case "too_short":
            return keys.instead.get(field, "write at least one entry")
        case "string_too_long":
            return f"write at most {context['max_length']} characters"
        case "literal_error":
            return f"write {or_list(_offered(context))}"
        case "model_type" | "model_attributes_type":
            return "write keys and values, each on a line of its own, indented"
        case _:
            return keys.instead.get(field, "write text that is not empty")


def _offered(context: dict[str, Any]) -> list[str]:
    """The words that a literal allows: pydantic tells them as `'a', 'b' or 'c'`."""
    return str(context["expected"]).split("'")[1::2]


def _shown(value: Any, word: str) -> str:
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    return f'"{word}"' if isinstance(value, str) else word


def _unknown_key(place: Place, keys: Keys) -> str:
    """What to write for a key that is not there; its value is never shown, it may be a secret."""
    key = str(place[-1])
    if key == "<<":
        return "is YAML's merging of mappings, which is not read here; write the keys out"
    here = list(keys.model_at(place[:-1]).model_fields)
    elsewhere = [
        f"{prefix}.{key}" if prefix else f"{key} at the document's top level"
        for prefix, model in keys.models
        if key in model.model_fields
    ]
    if elsewhere:
        return f"is not a key here; write it as {or_list(elsewhere)}"
    if likely := near(key, here):
        return f"is not a key here; did you mean {or_list(likely)}?"
    return f"is not a key here; there are {', '.join(here)}"


# ---------------------------------------------------------------------------------- refusing


def refused(file: Path, written: Written, found: Iterable[Problem]) -> DocumentRefused:
    """The refusal of a document for these problems, at least one, each with its line and field."""
    told = {
        (written.line(problem.place), _field(problem.place, written.values), problem) for problem in found
    }
    ordered = sorted(told, key=lambda one: (one[0], one[1], one[2].text))
    lines = [
        (problem.code, f"{file}:{line}: {field}{': ' if field else ''}{problem.text}")
        for line, field, problem in ordered[:_MOST_TOLD]
    ]
    if len(ordered) > _MOST_TOLD:
        line, _, problem = ordered[_MOST_TOLD]
        more = len(ordered) - _MOST_TOLD
        lines.append((problem.code, f"{file}:{line}: {more} more problems follow; correct these first"))
    return DocumentRefused(lines)


_MOST_TOLD: Final = 100


def _field(place: Place, values: Any) -> str:
    """`providers[sis].merge.key`: an entry by its name, or its number from 1 where it has none."""
    return "".join(_steps(place, values)).removeprefix(".")


def _steps(place: Place, value: Any) -> Iterator[str]:
    for part in place:
        if isinstance(part, str):
            value = value.get(part) if isinstance(value, dict) else None
            yield f".{shown(part)}"
        else:
            value = value[part] if isinstance(value, list) and part < len(value) else None
            name = value.get("name") if isinstance(value, dict) else None
            yield f"[{shown(name)}]" if isinstance(name, str) and name else f"[{part + 1}]"
