"""The server speaks each flavour over real HTTP: authentication, paging, headers, rows, refusals."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest

from roster_pipeline.sandbox.flavours import FLAVOURS
from roster_pipeline.sandbox.generator import District
from roster_pipeline.sandbox.server import application, serve
from roster_pipeline.sandbox.source import for_version, load, without_guardians
from roster_pipeline_tests.unit.sandbox.conftest import KEY, SECRET, Start, signed

COLLECTIONS = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
CERTIFICATE = Path(__file__).parents[2] / "certificate"
every_flavour = pytest.mark.parametrize("flavour", sorted(FLAVOURS))
every_full_flavour = pytest.mark.parametrize("flavour", sorted(FLAVOURS.keys() - {"minimum"}))


@every_full_flavour
def test_every_row_is_served_once_page_by_page(start: Start, district: District, flavour: str) -> None:
    client = start(flavour, page_cap=90)
    due = for_version(district.tables, FLAVOURS[flavour].version)
    if flavour == "powerschool":
        due = without_guardians(due)
    for collection in COLLECTIONS:
        found: list[str] = []
        while True:
            answer = client.get(collection, limit=1000, offset=len(found), sort="sourcedId", orderBy="asc")
            page = answer.json()[collection]
            assert answer.headers["x-total-count"] == str(len(due[collection]))
            if not page:
                break
            assert len(page) <= 90
            found += [row["sourcedId"] for row in page]
        assert found == sorted(row["sourcedId"] for row in due[collection])


@every_flavour
def test_without_credentials_nothing_is_served(start: Start, flavour: str) -> None:
    client = start(flavour)
    for header in ("", "Bearer made-up", signed("http://elsewhere.example/users")):
        answer = client.http.get(f"{client.serving.base_url}/users", headers={"authorization": header})
        assert answer.status_code == 401
        minor = answer.json()["imsx_CodeMinor"]["imsx_codeMinorField"][0]
        assert minor["imsx_codeMinorFieldValue"] == "unauthorisedrequest"


@pytest.mark.parametrize("flavour", ["classlink", "oneroster-1.1"])
@pytest.mark.parametrize("method", ["HMAC-SHA256", "HMAC-SHA1"])
def test_signed_requests_are_answered_once(start: Start, flavour: str, method: str) -> None:
    client = start(flavour)
    url = f"{client.serving.base_url}/users?limit=2&filter=familyName%3D%27de%20la%20Cruz%27"
    header = signed(url, method=method)
    assert client.http.get(url, headers={"authorization": header}).status_code == 200
    again = client.http.get(url, headers={"authorization": header})
    assert again.status_code == 401
    assert "nonce" in again.json()["imsx_description"]


@pytest.mark.parametrize("flavour", ["powerschool", "oneroster-1.2"])
def test_a_signature_does_not_open_a_server_that_wants_tokens(start: Start, flavour: str) -> None:
    client = start(flavour)
    url = f"{client.serving.base_url}/users"
    assert client.http.get(url, headers={"authorization": signed(url)}).status_code == 401


def test_a_server_may_accept_one_signature_method_only(start: Start) -> None:
    client = start("classlink", signature_methods=("HMAC-SHA1",))
    url = f"{client.serving.base_url}/orgs"
    statuses = [
        client.http.get(url, headers={"authorization": signed(url, method=method)}).status_code
        for method in ("HMAC-SHA256", "HMAC-SHA1")
    ]
    assert statuses == [401, 200]


def test_tokens_expire(start: Start) -> None:
    now = [1000.0]
    client = start("powerschool", clock=lambda: now[0], token_seconds=60)
    assert client.get("orgs").status_code == 200
    now[0] += 61
    assert client.get("orgs").status_code == 401
    client.fetch_token()
    assert client.get("orgs").status_code == 200


def test_a_1_2_server_gives_no_token_without_a_scope(start: Start) -> None:
    client = start("oneroster-1.2")
    assert client.fetch_token(scope="nothing").json()["error"] == "invalid_scope"
    assert client.fetch_token().json()["scope"].endswith("v1p2/scope/roster-core.readonly")


@pytest.mark.parametrize("flavour", ["powerschool", "oneroster-1.2"])
def test_demographics_are_behind_a_scope_of_their_own(start: Start, flavour: str) -> None:
    client = start(flavour)
    assert client.get("demographics").status_code == 403
    client.fetch_token(scope="roster-demographics.readonly")
    assert client.rows("demographics", limit=1)[0]["birthDate"]
    assert client.get("users").status_code == 403


def test_signed_requests_read_demographics_only_where_the_app_may(start: Start) -> None:
    assert start("classlink").get("demographics").status_code == 403
    assert start("classlink", demographics=True).rows("demographics", limit=1)


# ---------------------------------------------------------------- headers and paging


def test_each_flavour_has_its_own_headers(start: Start) -> None:
    def names(flavour: str) -> set[str]:
        headers = start(flavour).get("classes", limit=5).headers
        return set(headers) & {"x-total-count", "x-count", "x-perm-rev", "link"}

    assert names("powerschool") == {"x-total-count"}
    assert names("classlink") == {"x-total-count", "x-count", "x-perm-rev"}
    assert names("oneroster-1.1") == {"x-total-count", "link"}
    assert names("oneroster-1.2") == {"x-total-count", "link"}


def test_links_lead_through_all_pages(start: Start) -> None:
    client = start("oneroster-1.2", page_cap=40)
    answer = client.get("classes", limit=100, filter="status='active'")
    total, found = int(answer.headers["x-total-count"]), []
    while True:
        found += [row["sourcedId"] for row in answer.json()["classes"]]
        if "next" not in answer.links:
            break
        url = answer.links["next"]["url"]
        assert url.startswith(
            f"{client.serving.base_url}/classes?filter=status%3D%27active%27&limit=40&offset="
        )
        answer = client.http.get(url, headers={"authorization": f"Bearer {client.token}"})
    assert len(found) == len(set(found)) == total
    assert "prev" in answer.links
    assert answer.links["last"]["url"] == url


def test_the_default_page_has_a_hundred_rows_and_the_cap_is_silent(start: Start) -> None:
    client = start("powerschool", page_cap=120)
    assert len(client.rows("enrollments")) == 100
    assert len(client.rows("enrollments", limit=5000)) == 120
    assert client.rows("enrollments", offset=10**8) == []


def test_class_links_revision_moves_with_the_data(start: Start, district: District) -> None:
    client = start("classlink")
    before = client.get("orgs").headers["x-perm-rev"]
    assert client.get("users").headers["x-perm-rev"] == before
    client.sandbox.replace(district.tables)
    assert client.get("orgs").headers["x-perm-rev"] != before


def test_the_rows_served_can_be_changed_over_night(start: Start, district: District) -> None:
    client = start("powerschool")
    client.sandbox.replace({**district.tables, "classes": district.tables["classes"][:3]})
    answer = client.get("classes")
    assert (len(answer.json()["classes"]), answer.headers["x-total-count"]) == (3, "3")


# ---------------------------------------------------------------- rows


def test_a_1_1_user_has_a_role_and_orgs(start: Start) -> None:
    client = start("oneroster-1.1")
    student = client.rows("students", "users", limit=1)[0]
    assert student["role"] == "student"
    assert "roles" not in student
    (org,) = student["orgs"]
    assert org == {
        "href": f"{client.serving.base_url}/orgs/{org['sourcedId']}",
        "sourcedId": org["sourcedId"],
        "type": "org",
    }
    bearer = {"authorization": f"Bearer {client.token}"}
    assert client.http.get(org["href"], headers=bearer).json()["org"]["type"] == "school"
    assert (student["status"], student["enabledUser"]) == ("active", "true")
    assert student["dateLastModified"].endswith("Z")
    assert "middleName" not in student


def test_a_1_2_user_has_roles_and_no_orgs() -> None:
    source = {
        "users": [
            {
                "sourcedId": "u",
                "givenName": "Ana",
                "familyName": "Null",
                "roles": [
                    ["teacher", "n", "2026-08-01", "2027-06-01"],
                    ["parent", "n", "", ""],
                    ["aide", "s", "", ""],
                ],
            }
        ]
    }
    app = application(source, "oneroster-1.2", client_id=KEY, client_secret=SECRET)
    with serve(app) as serving, httpx.Client() as http:
        scope = "https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly"
        assert serving.token_url
        token = http.post(
            serving.token_url, data={"grant_type": "client_credentials", "scope": scope}, auth=(KEY, SECRET)
        ).json()["access_token"]
        user = http.get(f"{serving.base_url}/users/u", headers={"authorization": f"Bearer {token}"}).json()[
            "user"
        ]
    assert [(role["roleType"], role["role"], role["org"]["sourcedId"]) for role in user["roles"]] == [
        ("primary", "teacher", "n"),
        ("secondary", "parent", "n"),
        ("primary", "aide", "s"),
    ]
    assert (user["roles"][0]["beginDate"], user["roles"][0]["endDate"]) == ("2026-08-01", "2027-06-01")
    assert user["primaryOrg"]["sourcedId"] == "n"
    assert not {"role", "orgs"} & set(user)


def test_what_nobody_may_keep_is_served(start: Start) -> None:
    users = start("classlink").rows("users", limit=1000)
    assert any("password" in user for user in users)
    assert all("metadata" in user for user in users)


def test_powerschool_hands_out_no_guardians(start: Start) -> None:
    users = start("powerschool").rows("users", limit=1000)
    assert {user["role"] for user in users} == {"student", "teacher", "administrator"}
    assert not any("agents" in user for user in users)
    assert "guardian" in {user["role"] for user in start("classlink").rows("users", limit=1000)}


def test_ids_can_be_padded_with_blanks_everywhere(start: Start) -> None:
    row = start("powerschool", padded_ids=True).rows("enrollments", limit=1)[0]
    for text in (row["sourcedId"], row["user"]["sourcedId"], row["class"]["sourcedId"]):
        assert text == f" {text.strip()} "


def test_values_off_the_specification_are_served_as_they_stand(start: Start) -> None:
    row = {
        "sourcedId": "u", "enabledUser": 1, "agents": None, "grades": "09", "email": None, "userIds": "",
        "roles": [["student", "n", "", ""]], "orgs": [{"sourcedId": "n"}], "shoeSize": 9,
    }  # fmt: skip
    (user,) = start("classlink", {"users": [row]}).rows("users")
    expected = {"enabledUser": 1, "agents": None, "grades": "09", "email": None, "orgs": [{"sourcedId": "n"}]}
    assert expected.items() <= user.items()
    assert user["shoeSize"] == 9
    assert "userIds" not in user


# ---------------------------------------------------------------- endpoints and refusals


def test_partial_collections_have_the_wrapper_of_the_whole(start: Start, district: District) -> None:
    client = start("classlink")
    assert {row["type"] for row in client.rows("schools", "orgs")} == {"school"}
    assert client.rows("terms", "academicSessions") == []
    assert {row["role"] for row in client.rows("teachers", "users", limit=1000)} == {"teacher"}
    students = client.get("students", limit=1)
    assert students.headers["x-total-count"] == "150"


@pytest.mark.parametrize("name, one", [("orgs", "org"), ("classes", "class"), ("enrollments", "enrollment")])
def test_single_objects_are_found_by_their_id(start: Start, district: District, name: str, one: str) -> None:
    client = start("oneroster-1.2")
    source_id = district.tables[name][-1]["sourcedId"]
    assert client.get(f"{name}/{source_id}").json()[one]["sourcedId"] == source_id
    assert client.get(f"{name}/{source_id}", fields="status").json() == {one: {"status": "active"}}
    missing = client.get(f"{name}/nobody")
    assert missing.status_code == 404
    assert "unknownobject" in missing.text


def test_an_id_may_hold_anything(start: Start) -> None:
    client = start("classlink", {"orgs": [{"sourcedId": "a/b ü", "name": "N", "type": "school"}]})
    assert client.get("orgs/a%2Fb%20%C3%BC").json()["org"]["name"] == "N"


def test_a_school_is_not_found_among_the_districts(start: Start) -> None:
    client = start("classlink")
    assert client.get("orgs/o0100").status_code == 200
    assert client.get("schools/o0100").status_code == 404


def test_fields_select_members(start: Start) -> None:
    client = start("classlink")
    for row in client.rows("users", fields="sourcedId,role", limit=50, offset=10):
        assert set(row) == {"sourcedId", "role"}


@pytest.mark.parametrize("flavour, minor", [("classlink", "invalid_data"), ("oneroster-1.2", "invaliddata")])
def test_refusals_come_as_the_envelope_of_the_version(start: Start, flavour: str, minor: str) -> None:
    client = start(flavour)
    answer = client.get("users", limit="x")
    envelope = answer.json()
    assert answer.status_code == 400
    assert (envelope["imsx_codeMajor"], envelope["imsx_severity"]) == ("failure", "error")
    assert envelope["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"] == minor
    assert ("imsx_messageRefIdentifier" in envelope) == (flavour == "classlink")
    assert "invalid_filter_field" in client.get("users", filter="shoeSize='9'").text


def test_unknown_endpoints_are_not_there(start: Start) -> None:
    client = start("classlink")
    assert client.get("guardians").status_code == 404
    assert client.http.get(f"{client.serving.root_url}/").status_code == 404


# ---------------------------------------------------------------- running


def test_a_foreign_certificate_fails_and_a_trusted_one_does_not(district: District) -> None:
    app = application(district.tables, "powerschool", client_id=KEY, client_secret=SECRET)
    with serve(app, certificate=(CERTIFICATE / "certificate.pem", CERTIFICATE / "key.pem")) as serving:
        assert serving.token_url
        assert serving.token_url.startswith("https://127.0.0.1:")
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.post(serving.token_url)
        trusting = ssl.create_default_context(cafile=str(CERTIFICATE / "certificate.pem"))
        assert httpx.post(serving.token_url, verify=trusting).status_code == 401


def test_https_requests_can_be_signed(district: District) -> None:
    app = application(district.tables, "classlink", client_id=KEY, client_secret=SECRET)
    with serve(app, certificate=(CERTIFICATE / "certificate.pem", CERTIFICATE / "key.pem")) as serving:
        trusting = ssl.create_default_context(cafile=str(CERTIFICATE / "certificate.pem"))
        url = f"{serving.base_url}/orgs"
        assert httpx.get(url, headers={"authorization": signed(url)}, verify=trusting).status_code == 200


def test_when_it_has_stopped_nobody_listens(district: District) -> None:
    with serve(application(district.tables, "classlink", client_id=KEY, client_secret=SECRET)) as serving:
        url = f"{serving.base_url}/orgs"
        assert httpx.get(url).status_code == 401
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_what_was_asked_is_told_without_credentials(start: Start) -> None:
    client = start("powerschool")
    client.get("classes", limit=1, offset=2)
    token, classes = client.sandbox.asked
    assert (token.endpoint, token.status, dict(token.query)) == ("token", 200, {})
    assert (classes.endpoint, classes.status) == ("classes", 200)
    assert classes.query == {"limit": "1", "offset": "2"}
    assert classes.at >= token.at
    assert SECRET not in repr(client.sandbox.asked) + repr(client.serving)
    assert client.sandbox.most_at_once == 1


@every_full_flavour
def test_the_merge_labs_district_has_its_counts_in_every_flavour(
    start: Start, shared_data: Path, flavour: str
) -> None:
    client = start(flavour, load(shared_data / "merge-labs-district" / "district-large.zip"))
    totals = {
        path: int(client.get(path, limit=1).headers["x-total-count"])
        for path in ("schools", "classes", "students", "teachers", "users", "enrollments")
    }
    assert totals == {
        "schools": 20, "classes": 1470, "students": 4225, "teachers": 195, "users": 4441,
        "enrollments": 31_045,
    }  # fmt: skip
