"""Pages that are as the standard has them are read quickly, and as the way that takes any page reads them."""

from __future__ import annotations

import json
from typing import Any, Final

import httpx
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from roster_pipeline.oneroster.client import Answer
from roster_pipeline.oneroster.collections import COLLECTIONS, COLUMNS
from roster_pipeline.oneroster.paging import Listing
from roster_pipeline.oneroster.regular import Regular
from roster_pipeline.oneroster.wire import SHAPES, SIGN, SourceError
from roster_pipeline_tests.examining import given_client
from roster_pipeline_tests.unit.oneroster.server import district, ref

CLIENT: Final = given_client()
HEADERS: Final = httpx.Headers({"Content-Type": "application/json", "X-Total-Count": "7"})
ROWS: Final = {version: district(3, version=version) for version in ("1.1", "1.2")}


def dumped(value: Any) -> str:
    """JSON; lists of pairs are objects, which may have a name twice."""
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{dumped(one)}" for key, one in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dumped, value)) + "]"
    return json.dumps(value)


class Pairs(list):
    """An object's members."""


def read(listing: Listing, body: bytes) -> tuple[Any, ...]:
    """What comes of a page: everything that there is, or the code and what is told."""
    CLIENT.answer = Answer(200, HEADERS, body)
    try:
        page = listing.page(0, 100)
    except SourceError as error:
        return error.code, error.message, error.status
    columns = page.table.to_pydict()
    return page.rows, page.ids, columns, str(page.table.schema), page.total, page.left_out, page.table.nbytes


def both(collection: str, endpoint: str, *bodies: bytes, compatible: bool = False) -> list[bool]:
    """Reads pages one after the other in both ways, which must not differ; whether each was read quickly."""
    quick, thorough = (
        Listing(CLIENT, collection, endpoint, compatible=compatible) for _ in ("quick", "thorough")
    )
    thorough._regular = None
    regular = []
    for body in bodies:
        assert read(quick, body) == read(thorough, body)
        quick._regular = quick._regular and Regular(collection, endpoint, 500_000)
        assert quick._regular is not None
        regular.append(quick._regular.read(body.removeprefix(b"\xef\xbb\xbf")) is not None)
    return regular


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("collection", COLLECTIONS)
def test_pages_of_the_standard_are_read_the_quick_way(collection: str, version: str) -> None:
    rows = ROWS[version][collection]
    documents: list[dict[str, Any]] = [{collection: rows}, {collection: []}, {"links": [], collection: rows}]
    for document in documents:
        assert both(collection, collection, json.dumps(document).encode()) == [True]


@pytest.mark.parametrize(
    "changed",
    [
        {"enabledUser": True}, {"enabledUser": None}, {"identifier": 7}, {"phone": None, "sms": None},
        {"grades": "09"}, {"grades": [9, None, "10"]}, {"grades": 9}, {"grades": None}, {"agents": None},
        {"userIds": []}, {"sourcedId": 17}, {"sourcedId": None}, {"sourcedId": " u "},
        {"familyName": "Ñandú  "}, {"familyName": "a\nb"}, {"familyName": "x" * 5000}, {"familyName": None},
        {"email": "\x85a\x9f"}, {"metadata": {"a": [[1.5e3, -0.0, True, None, {}]]}},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_common_in_the_wild_is_read_the_quick_way_too(changed: dict[str, Any]) -> None:
    rows = [{**row, **changed} for row in ROWS["1.1"]["users"]]
    for document in ({"users": rows}, {"users": [*ROWS["1.1"]["users"], *rows]}):
        body = json.dumps(document, ensure_ascii=False).encode()
        assert both("users", "users", body, b"\xef\xbb\xbf" + body) == [True, True]


def test_a_user_of_1_2_may_have_no_roles() -> None:
    first, second, *_ = ROWS["1.2"]["users"]
    nothings: list[list[str] | None] = [[], None]
    for nothing in nothings:
        assert both("users", "users", json.dumps({"users": [first, {**second, "roles": nothing}]}).encode())[
            0
        ]


def test_success_may_be_told_beside_the_rows() -> None:
    told = {"imsx_codeMajor": "success", "imsx_severity": "status", "imsx_description": "canary"}
    besides: list[dict[str, Any]] = [
        {"statusInfoSet": [told]}, {"statusInfo": told}, {**told}, {"errors": [], "error": None}
    ]  # fmt: skip
    for beside in besides:
        document = {**beside, "enrollments": ROWS["1.1"]["enrollments"]}
        assert both("enrollments", "enrollments", json.dumps(document).encode()) == [True]


USER: Final = json.dumps(ROWS["1.1"]["users"][0])


@pytest.mark.parametrize(
    "body",
    [
        '{"users":[%s],"error":"invalid_token"}',
        '{"users":[%s],"imsx_codeMajor":"failure"}',
        '{"users":[%s],"imsx_severity":"error","imsx_CodeMinor":"server_busy"}',
        '{"errors":[{}],"users":[%s]}',
        '{"statusInfoSet":[{"imsx_codeMajor":"failure","imsx_codeMinor":"forbidden"}],"users":[%s]}',
        '{"users":[%s,7]}',
        '{"users":[%s,{}]}',
        '{"users":[%s,{"sourcedId":"o","name":"North","type":"school"}]}',
        '{"users":[%s,{"sourcedId":"c","title":"Art","courseCode":"A"}]}',
        '{"users":[%s,{"sourcedId":"u","givenName":"G"}]}',
        '{"users":null}',
        '{"users":{}}',
        '{"":[%s]}',
        '{"data":[%s]}',
        "[%s]",
        "[]",
        "{}",
        "",
        '{"users":[%s]',
        '{"users":[%s]} x',
        '{"users":[%s],"users":[]}',
        '{"users":[%s],"users":7}',
        '{"users":[],"users":[%s]}',
        '{"users":[{"sourcedId":"1","sourcedId":"2","familyName":"a","familyName":7,"role":"x","orgs":[]}]}',
        '{"users":[{"sourced\\u0049d":"1","familyName":"\\u0000a","role":"x","orgs":[]}]}',
        '{"users":[{"sourcedId":"1","familyName":"\\ud800","role":"x","orgs":[]}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","password":"\\ud800","role":"x","orgs":[]}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","password":"\\q","role":"x","orgs":[]}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","password":01,"role":"x","orgs":[]}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","password":"\n","role":"x","orgs":[]}]}',
        '{"users":[{"sourcedId":1.0,"familyName":1e3,"role":"x","orgs":[]}]}',
        '{"users":[{"sourcedId":-0,"familyName":18446744073709551615,"role":"x","orgs":[]}]}',
        '{"users":[{"sourcedId":9223372036854775807,"familyName":99999999999999999999,"role":"x","orgs":[]}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","role":null,"orgs":[]}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","role":"x","orgs":null}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","roles":[],"role":"x","orgs":[{"sourcedId":"o"}]}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","roles":[],"org":{"sourcedId":"o"}}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","roles":[{"role":"","org":{"sourcedId":null}}]}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","role":"x","orgs":[]},'
        '{"sourcedId":"2","familyName":"a","role":"y","orgs":[],"roles":[{"role":"z","org":{"sourcedId":"o"}}]}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","role":"y","orgs":[],"roles":null},'
        '{"sourcedId":"2","familyName":"a","role":"y","orgs":[],"roles":[{"role":"z","org":{"sourcedId":"o"}}]}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","roles":[{"role":"","org":{"sourcedId":null}}]},'
        '{"sourcedId":"2","familyName":"a"}]}',
        '{"users":[{"sourcedId":"1","familyName":"a","roles":[{"role":"z","org":{"sourcedId":"o"}}]},'
        '{"sourcedId":"2","familyName":"a","role":"y","orgs":[]}]}',
    ],
)
def test_what_is_odd_is_read_or_refused_alike(body: str) -> None:
    both("users", "users", body.replace("%s", USER).encode("utf-8", "surrogatepass"))


def test_a_course_without_an_org_may_have_orgs() -> None:
    course = {**ROWS["1.1"]["courses"][0], "org": None, "orgs": [ref("org", 4)]}
    assert both("courses", "courses", json.dumps({"courses": [course]}).encode()) == [False]


@pytest.mark.parametrize("wrong", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82"])
@pytest.mark.parametrize("where", ['"familyName":"%s"', '"password":"%s"', '"%s":1', '"metadata":{"%s":[]}'])
def test_what_is_not_utf_8_is_no_json_wherever_it_stands(where: str, wrong: bytes) -> None:
    row = ('{"sourcedId":"1","familyName":"a",' + where + ',"role":"x","orgs":[]}').encode()
    body = b'{"users":[' + row.replace(b"%s", wrong) + b"]}"
    assert both("users", "users", body) == [False]


def test_nesting_without_end_is_no_json() -> None:
    for depth in (900, 5_000, 200_000):
        deep = "[" * depth + "]" * depth
        body = f'{{"users":[{{"sourcedId":"1","familyName":"a","role":"x","orgs":[],"a":{deep}}}]}}'
        if depth != 900:
            both("users", "users", body.encode())


def test_a_listing_whose_pages_are_never_regular_is_not_tried_again_and_again() -> None:
    regular = Regular("users", "users", 500_000)
    plain = json.dumps({"users": ROWS["1.1"]["users"]}).encode()
    odd = json.dumps({"data": ROWS["1.1"]["users"]}).encode()
    assert [regular.read(odd), regular.read(odd)] == [None, None]
    assert regular.read(plain)
    assert [regular.read(odd), regular.read(odd), regular.read(odd), regular.read(plain)] == [None] * 4


def test_more_rows_than_a_page_may_have_are_not_taken() -> None:
    body = json.dumps({"users": ROWS["1.1"]["users"][:3]}).encode()
    assert Regular("users", "users", 3).read(body)
    assert Regular("users", "users", 2).read(body) is None


# ----------------------------------------------------------------------------------- any page, both ways

_TEXT = st.sampled_from(["", " a ", "é\u3000", "\x1f", "a\nb", "\x85", "\0", "x" * 300, "😀"]) | st.text(
    max_size=4
)
_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
)
_NAMES = st.sampled_from(["sourcedId", "href", "type", "identifier", "role", "org", "beginDate"])
_JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(st.tuples(_NAMES | _TEXT, inner), max_size=4).map(Pairs)
        | inner.map(lambda one: Pairs([("sourcedId", one)]))
        | inner.map(lambda one: [Pairs([("sourcedId", one)])])
    ),
    max_leaves=6,
)
_ALL_NAMES: Final = sorted(
    {name for columns in COLUMNS.values() for name in columns} | {"orgs", "metadata", "password"}
)


@st.composite
def rows(draw: st.DrawFn, collection: str) -> list[Any]:
    """Rows of a district, of which some lack a field or have another or a strange value."""
    version = draw(st.sampled_from(["1.1", "1.2"]))
    chosen: list[Any] = [
        Pairs(row.items()) for row in draw(st.lists(st.sampled_from(ROWS[version][collection]), max_size=4))
    ]
    for _ in range(draw(st.integers(0, 3))):
        if not chosen:
            break
        place = draw(st.integers(0, len(chosen) - 1))
        row = Pairs(chosen[place])
        name = draw(st.sampled_from([*COLUMNS[collection], "role", "orgs", "org", "roles"]))
        match draw(st.sampled_from(["without", "changed", "changed", "doubled", "all", "another", "any"])):
            case "without":
                row = Pairs(pair for pair in row if pair[0] != name)
            case "changed":
                value: Any = draw(_JSON)
                row = Pairs([pair for pair in row if pair[0] != name] + [(name, value)])
            case "doubled":
                row.insert(draw(st.integers(0, len(row))), (name, draw(_JSON)))
            case "all":
                value = draw(_SCALARS | st.just(ref("org", 3)))
                chosen = [
                    Pairs([pair for pair in one if pair[0] != name] + [(name, value)]) for one in chosen
                ]
                row = chosen[place]
            case "another":
                other = draw(st.sampled_from(COLLECTIONS))
                row = Pairs(draw(st.sampled_from(ROWS[version][other])).items())
            case _:
                row = Pairs(draw(st.lists(st.tuples(st.sampled_from(_ALL_NAMES), _JSON), max_size=8)))
        chosen[place] = row
    if draw(st.integers(0, 9)) == 0:
        chosen.append(draw(_JSON))
    return chosen


@st.composite
def documents(draw: st.DrawFn, collection: str, endpoint: str) -> bytes:
    """An answer with such rows, now and then in another wrapper, beside other things or cut into."""
    wrapper = draw(st.sampled_from([collection] * 8 + [endpoint, "data", "", collection.lower()]))
    members = [(wrapper, draw(rows(collection)))]
    beside = st.sampled_from([
        "error", "errors", "statusInfoSet", "statusInfo", "imsx_codeMajor", "imsx_severity", "imsx_CodeMinor",
        "total", "links", collection, endpoint,
    ])  # fmt: skip
    told = _JSON | st.sampled_from(["failure", "success", "error", [Pairs([("imsx_codeMajor", "failure")])]])
    if draw(st.integers(0, 3)) == 0:
        members += draw(st.lists(st.tuples(beside, told), max_size=3))
    text = dumped(draw(st.permutations(members).map(Pairs)))
    if draw(st.integers(0, 9)) == 0:
        text = dumped(members[0][1])
    if draw(st.booleans()):
        text = json.dumps(
            json.loads(text), ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1))
        )
    body = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(body)))
        end = place + draw(st.integers(0, 3))
        pieces = st.sampled_from([b"", b'"', b",", b"\\", b"\xff", b"\0", b"\n", b"[", b"}", b"1"])
        body = body[:place] + draw(pieces) + body[end:]
    return draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf", b" \r\n\t"])) + body


@st.composite
def readings(draw: st.DrawFn) -> tuple[str, str, list[bytes], bool]:
    collection = draw(st.sampled_from(COLLECTIONS))
    endpoint = draw(st.sampled_from([collection, collection, "schools", "terms"]))
    bodies = draw(st.lists(documents(collection, endpoint), min_size=1, max_size=3))
    return collection, endpoint, bodies, draw(st.booleans())


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(readings())
@example(("users", "schools", [b'{"users":[],"schools":[1]}', b'{"schools":[],"users":1}'], True))
def test_both_ways_read_any_page_alike(reading: tuple[str, str, list[bytes], bool]) -> None:
    collection, endpoint, bodies, compatible = reading
    for regular in both(collection, endpoint, *bodies, compatible=compatible):
        event("quick" if regular else "thorough")


def test_every_shape_is_known_to_both() -> None:
    from roster_pipeline.oneroster.regular import _FIELDS

    assert set(SHAPES.values()) <= set(_FIELDS)
    assert all(SIGN[collection] in COLUMNS[collection] for collection in COLLECTIONS)
