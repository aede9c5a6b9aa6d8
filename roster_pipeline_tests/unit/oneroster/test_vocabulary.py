import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.oneroster import vocabulary


@pytest.mark.parametrize(
    "text, name",
    [
        ("student", "student"),
        (" Student ", "student"),
        ("TEACHER", "teacher"),
        ("administrator", "site_administrator"),
        ("siteAdministrator", "site_administrator"),
        ("districtAdministrator", "district_administrator"),
        ("district_administrator", "district_administrator"),
        ("systemAdministrator", "system_administrator"),
        ("counselor", "counselor"),
        ("ext:aide", "aide"),
        ("ext:primaryGuardian", "ext:primaryguardian"),
        ("Volunteer", "volunteer"),
        ("", ""),
    ],
)
def test_roles_of_both_versions_have_one_name(text, name):
    assert vocabulary.role(text) == name
    assert vocabulary.role(name) == name


def test_only_oneroster_s_roles_are_known():
    assert vocabulary.is_known_role(vocabulary.role("districtAdministrator"))
    assert not vocabulary.is_known_role(vocabulary.role("volunteer"))
    assert not vocabulary.is_known_role("")


@pytest.mark.parametrize(
    "name, family",
    [
        ("guardian", "guardian"),
        ("parent", "parent"),
        ("relative", "relative"),
        ("ext:primaryguardian", "guardian"),
        ("ext:parent2", "parent"),
        ("ext:parentliaison", ""),
        ("student", ""),
        ("grandparent", ""),
        ("", ""),
    ],
)
def test_family_roles_are_told_from_those_of_staff(name, family):
    assert vocabulary.family(name) == family
    assert vocabulary.is_family(name) is bool(family)


@pytest.mark.parametrize("status", ["tobedeleted", "toBeDeleted", "INACTIVE", " inactive "])
def test_deleted_in_any_case_is_deleted(status):
    assert vocabulary.is_deleted(status)


@pytest.mark.parametrize("status", ["active", "", "Active", "deleted soon"])
def test_whatever_else_stands_there_is_not_deleted(status):
    assert not vocabulary.is_deleted(status)


@pytest.mark.parametrize(
    "text, value",
    [
        ("true", True), ("TRUE", True), ("1", True), ("Yes", True), (" true ", True),
        ("false", False), ("False", False), ("0", False), ("no", False),
        ("", None), ("maybe", None), ("2", None),
    ],
)  # fmt: skip
def test_truth_is_read_as_servers_write_it(text, value):
    assert vocabulary.boolean(text) is value


@pytest.mark.parametrize(
    "text, day",
    [
        ("2026-11-21", "2026-11-21"),
        (" 2026-11-21 ", "2026-11-21"),
        ("2018-09-01 00:00", "2018-09-01"),
        ("2012-04-23T18:25:43.511Z", "2012-04-23"),
        ("2024-02-29", "2024-02-29"),
    ],
)
def test_a_date_is_its_first_ten_characters(text, day):
    assert vocabulary.date(text) == day
    assert not vocabulary.is_unreadable_date(text)


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29",
        "21/11/2026",
        "2026-11-2",
        "20261121",
        "2026-11-211",
        "0000-01-01",
        "soon",
        "２０２６-11-21",
    ],
)
def test_what_is_no_date_of_the_calendar_is_unreadable(text):
    assert vocabulary.date(text) == ""
    assert vocabulary.is_unreadable_date(text)


@pytest.mark.parametrize("text", ["", "   "])
def test_a_missing_date_is_not_an_unreadable_one(text):
    assert vocabulary.date(text) == ""
    assert not vocabulary.is_unreadable_date(text)


@pytest.mark.parametrize(
    "value",
    [
        "*****", "*", "xxxxx", "XXX", "xxx-xxx", "####", "•••", "*** ***", "j***n", "***@school.example",
        "xxxxx@xxxx.xxx", "REDACTED", "[redacted]", "Masked", "<masked>", "[DataGuard]", "data guard",
        "hidden", "HIDDEN", "[Hidden]", "redacted@school.example", "[email protected]", "withheld",
    ],
)  # fmt: skip
def test_masks_are_recognised(value):
    assert vocabulary.is_masked(value)


@pytest.mark.parametrize(
    "value",
    [
        "", "Xi", "Xxavier", "Xx", "Ax", "Max", "Foxxx", "Hidden", "Anthony", "O'Neil", "Null", "NA", "-",
        "—", "Redacre", "xi@school.example", "hiddensee@school.example", "x.x@school.example", "J.", "李",
        "N/A",
    ],
)  # fmt: skip
def test_people_are_not_taken_for_masks(value):
    assert not vocabulary.is_masked(value)


_LETTERS = st.sampled_from(
    ["", "", "", " ", "_", "-", ".", "\t", "\x1f", "\u2003", "é", "*", "#", "•", "[", ")", "@"]
)


@st.composite
def _almost_masked(draw: st.DrawFn) -> str:
    """A mask, with something before, between and after its letters."""
    word = draw(st.sampled_from(["redacted", "masked", "emailprotected", "hidden", "xxx", "***", "##"]))
    letters = [draw(st.sampled_from([one, one.upper(), "\u212a" if one == "k" else one])) for one in word]
    filled = "".join(one + draw(_LETTERS) for one in letters)
    return draw(_LETTERS) + filled + draw(st.sampled_from(["", "@school.example", " school", "\n"]))


@given(st.one_of(st.text(), _almost_masked()))
def test_whatever_is_masked_may_be(value: str) -> None:
    may_be = pc.match_substring_regex(pa.array([value]), vocabulary.MAY_BE_MASKED)[0].as_py()
    assert may_be or not vocabulary.is_masked(value)


@pytest.mark.parametrize("value", ["", "Max", "Zoë", "李", "Ünal", "O'Neil", "a.b-c@school.example", "Xx"])
def test_hardly_anybody_may_be_masked(value: str) -> None:
    assert pc.match_substring_regex(pa.array([value]), vocabulary.MAY_BE_MASKED)[0].as_py() is False


@given(st.text())
def test_any_text_has_an_answer(text):
    assert vocabulary.role(vocabulary.role(text)) == vocabulary.role(text)
    assert vocabulary.date(text) == "" or vocabulary.date(vocabulary.date(text)) == vocabulary.date(text)
    assert vocabulary.boolean(text) in (True, False, None)
    assert isinstance(vocabulary.is_masked(text), bool)
    assert isinstance(vocabulary.is_family(text), bool)
