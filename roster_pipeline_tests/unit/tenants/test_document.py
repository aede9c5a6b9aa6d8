"""Tenant documents: what they mean, and what each bad one is told."""

# ruff: noqa: E501 - the tables of bad documents have one case a line

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from roster_pipeline.codes import CATALOGUE
from roster_pipeline.tenants.document import (
    Directory,
    LimitTo,
    Merge,
    Provider,
    Tenant,
    as_document,
    parse,
    read_file,
)
from roster_pipeline.tenants.refusals import DocumentRefused

FILE = Path("/tenants/riverbend.yaml")

EXAMPLE = """\
tenant: riverbend                       # lower-case letters, digits and hyphens
region: US                              # US, AU, NZ or UK
time_zone: America/Chicago              # optional
providers:
  - name: sis
    kind: powerschool
    endpoint_url: https://sis.powerschool.com/api/
    token_url: https://sis.powerschool.com/api/ims/oneroster/v1p1/token
    client_id: env:RIVERBEND_SIS_ID
    client_secret: env:RIVERBEND_SIS_SECRET
    respect_enrolment_date: true
    respect_academic_sessions: true
    merge: {priority: 100, key: email}
    exclude_schools: ["Riverbend Annexe"]
  - name: launchpad
    kind: classlink
    endpoint_url: https://riverbend-vn-v2.oneroster.com/
    client_id: env:RIVERBEND_CL_KEY
    client_secret: file:/run/secrets/riverbend-cl
    sync_parent_data: true
    relationship_type: guardian
    merge: {priority: 50, key: email_without_domain, attach_to_existing_users_only: true}
  - name: annexe-files
    kind: oneroster_csv
    path: exports/annexe.zip            # a zip or a folder; relative to the document
    merge: {priority: 10}
directories:
  - name: logins
    kind: csv
    path: exports/logins.csv
"""

CSV: dict[str, Any] = {"name": "sis", "kind": "oneroster_csv", "path": "sis"}
POWERSCHOOL: dict[str, Any] = {
    "name": "sis",
    "kind": "powerschool",
    "endpoint_url": "https://sis.powerschool.com/api/",
    "token_url": "https://sis.powerschool.com/api/token",
    "client_id": "env:CASE_ID",
    "client_secret": "env:CASE_SECRET",
}
CLASSLINK = {key: value for key, value in POWERSCHOOL.items() if key != "token_url"} | {"kind": "classlink"}
ONEROSTER = CLASSLINK | {"kind": "oneroster"}


def document(*providers: dict[str, Any], **settings: Any) -> str:
    entries = [dict(entry) for entry in providers or (CSV,)]
    return yaml.safe_dump(
        {"tenant": "riverbend", "region": "US", **settings, "providers": entries}, sort_keys=False
    )


def refusal(text: str) -> DocumentRefused:
    with pytest.raises(DocumentRefused) as caught:
        parse(text, file=FILE)
    return caught.value


# ------------------------------------------------------------------------------------- what is read


def test_the_example_of_the_product_page_is_read_whole():
    tenant = parse(EXAMPLE, file=FILE)
    sis, launchpad, annexe = tenant.providers
    assert (tenant.tenant, tenant.region, tenant.time_zone) == ("riverbend", "US", "America/Chicago")
    assert sis.respect_enrolment_date
    assert sis.exclude_schools == ("Riverbend Annexe",)
    assert launchpad.merge == Merge(
        priority=50, key="email_without_domain", attach_to_existing_users_only=True
    )
    assert (launchpad.relationship_type, launchpad.host) == ("guardian", "riverbend-vn-v2.oneroster.com")
    assert (annexe.path, annexe.host) == ("/tenants/exports/annexe.zip", None)
    assert tenant.directories == (Directory(name="logins", kind="csv", path="/tenants/exports/logins.csv"),)


def test_defaults_are_those_of_the_product_page():
    tenant = parse(document(), file=FILE)
    (provider,) = tenant.providers
    assert (tenant.between_sessions_days, tenant.grace_days, tenant.time_zone) == (120, 7, None)
    assert provider.sync_classroom_data
    assert not any(
        (
            provider.respect_enrolment_date,
            provider.respect_academic_sessions,
            provider.sync_parent_data,
            provider.compatibility_mode,
            provider.share_classes,
        )
    )
    assert (provider.merge.key, provider.end_dates, provider.excluded_rosters) == (
        "email",
        "inclusive",
        "keep",
    )
    assert provider.limit_to == LimitTo()


@pytest.mark.parametrize(
    "merge, expected",
    [
        ({}, False),
        ({"key": "email_without_domain"}, True),
        ({"key": "email_without_domain", "check_names": False}, False),
        ({"check_names": True}, True),
    ],
)
def test_names_are_checked_by_default_only_where_the_key_leaves_the_domain_out(merge, expected):
    (provider,) = parse(document(CSV | {"merge": merge}), file=FILE).providers
    assert provider.merge.checks_names is expected


def test_the_strongest_provider_has_the_largest_priority_whatever_the_order():
    weak, strong = CSV | {"merge": {"priority": 10}}, CSV | {"name": "cl", "merge": {"priority": 90}}
    tenant = parse(document(weak, strong), file=FILE)
    assert [provider.name for provider in tenant.strongest_first] == ["cl", "sis"]


def test_blanks_around_texts_are_trimmed():
    provider = CSV | {"name": " sis ", "exclude_schools": ["  North School "]}
    (found,) = parse(document(provider), file=FILE).providers
    assert (found.name, found.exclude_schools) == ("sis", ("North School",))


def test_administrator_of_oneroster_1_1_means_site_administrator():
    (provider,) = parse(
        document(CSV | {"limit_to": {"roles": ["administrator", "student"]}}), file=FILE
    ).providers
    assert provider.limit_to.roles == ("site_administrator", "student")


def test_anchors_and_aliases_are_read():
    text = (
        "tenant: t\nregion: UK\nproviders:\n"
        "- {name: a, kind: oneroster_csv, path: a, exclude_schools: &x [N], merge: {priority: 1}}\n"
        "- {name: b, kind: oneroster_csv, path: b, exclude_schools: *x, merge: {priority: 2}}\n"
    )
    assert [provider.exclude_schools for provider in parse(text, file=FILE).providers] == [("N",), ("N",)]


def test_a_link_in_a_path_stays_a_link(tmp_path):
    (tmp_path / "2025-10-15").mkdir()
    (tmp_path / "newest").symlink_to(tmp_path / "2025-10-15")
    (provider,) = parse(document(CSV | {"path": "newest"}), file=tmp_path / "t.yaml").providers
    assert provider.path == os.fspath(tmp_path / "newest")


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:8000/",
        "http://127.0.0.1:9/x",
        "http://127.9.9.9/",
        "http://[::1]:80/",
        "https://sis.example/",
    ],
)
def test_https_and_loopback_addresses_are_accepted(address):
    (provider,) = parse(document(ONEROSTER | {"endpoint_url": address}), file=FILE).providers
    assert provider.endpoint_url == address


# ------------------------------------------------------------------------------------- what is refused


def changed(base: dict[str, Any], **options: Any) -> dict[str, Any]:
    """`base` with options changed; None takes one away."""
    return {key: value for key, value in (base | options).items() if value is not None}


BAD_PROVIDERS: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "unknown key": (changed(CSV, respect_enrollment_date=True), "RS-CFG-01", ["respect_enrollment_date", "mean respect_enrolment_date"]),
    "singular key": (changed(CSV, end_date="exclusive"), "RS-CFG-01", ["end_date:", "mean end_dates"]),
    "key of merge": (changed(CSV, priority=5), "RS-CFG-01", ["providers[sis].priority", "providers[…].merge.priority"]),
    "key of the tenant": (changed(CSV, grace_days=5), "RS-CFG-01", ["grace_days at the document's top level"]),
    "list for a switch": (changed(CSV, respect_enrolment_date=[1, 2]), "RS-CFG-02", ["respect_enrolment_date", "true or false"]),
    "text for a switch": (changed(CSV, share_classes="yes"), "RS-CFG-02", ['"yes"', "write true or false, without quotes"]),
    "number for a switch": (changed(CSV, share_classes=1), "RS-CFG-02", ["share_classes", "true or false"]),
    "text for a number": (changed(CSV, merge={"priority": "high"}), "RS-CFG-02", ["merge.priority", "whole number"]),
    "fraction": (changed(CSV, merge={"priority": 1.5}), "RS-CFG-02", ["merge.priority", "whole number"]),
    "switch for a number": (changed(CSV, merge={"priority": True}), "RS-CFG-02", ["merge.priority", "whole number"]),
    "negative number": (changed(CSV, merge={"priority": -1}), "RS-CFG-02", ["at least 0"]),
    "page of nothing": (changed(ONEROSTER, page_size=0), "RS-CFG-02", ["page_size", "at least 1"]),
    "too many at once": (changed(ONEROSTER, concurrency=17), "RS-CFG-02", ["concurrency", "at most 16"]),
    "text for a list": (changed(CSV, exclude_schools="North"), "RS-CFG-02", ['exclude_schools: ["North"]']),
    "blank in a list": (changed(CSV, exclude_schools=["North", " "]), "RS-CFG-02", ["exclude_schools[2]"]),
    "list for a mapping": (changed(CSV, merge=[1]), "RS-CFG-02", ["merge", "keys and values"]),
    "grade as a number": (changed(CSV, limit_to={"grades": [9]}), "RS-CFG-02", ["limit_to.grades[1]", '"9"', '"09"']),
    "version as a number": (changed(ONEROSTER, version=1.1), "RS-CFG-02", ["version", 'write it in quotes: "1.1"']),
    "version of the future": (changed(ONEROSTER, version="2.0"), "RS-CFG-02", ["2.0", "1.1 or 1.2"]),
    "unknown kind": (changed(CSV, kind="oneroster-csv"), "RS-CFG-02", ["kind", "classlink, oneroster or oneroster_csv"]),
    "unknown merge key": (changed(CSV, merge={"key": "username"}), "RS-CFG-02", ["username", "email or email_without_domain"]),
    "unknown role": (changed(CSV, limit_to={"roles": ["pupil"]}), "RS-CFG-02", ["limit_to.roles[1]", "pupil", "student"]),
    "role in capitals": (changed(CSV, limit_to={"roles": ["Student"]}), "RS-CFG-02", ["Student", "write student"]),
    "unknown relationship": (changed(CSV, sync_parent_data=True, relationship_type="uncle"), "RS-CFG-02", ["relationship_type", "uncle"]),
    "no name": (changed(CSV, name=None), "RS-CFG-05", ["providers[1].name", "is required"]),
    "empty name": (changed(CSV, name=" "), "RS-CFG-02", ["providers[1].name"]),
    "name of two lines": (changed(CSV, name="a\nb"), "RS-CFG-02", ["name", "one line"]),
    "no kind": (changed(CSV, kind=None), "RS-CFG-05", ["kind", "powerschool, classlink"]),
    "path is an address": (changed(CSV, path="https://x.example/a.zip"), "RS-CFG-02", ["path", "local"]),
    "csv without path": (changed(CSV, path=None), "RS-CFG-05", ["path", "is required"]),
    "csv with an address": (changed(CSV, endpoint_url="https://x.example/"), "RS-CFG-11", ["endpoint_url", "oneroster_csv"]),
    "csv with a secret": (changed(CSV, client_secret="env:X"), "RS-CFG-11", ["client_secret"]),
    "csv with a version": (changed(CSV, version="1.1"), "RS-CFG-11", ["version", "manifest.csv"]),
    "csv with pages": (changed(CSV, page_size=100), "RS-CFG-11", ["page_size"]),
    "csv with deltas": (changed(CSV, full_every_days=7), "RS-CFG-11", ["full_every_days", "read whole every time"]),
    "deltas in compatibility mode": (
        changed(ONEROSTER, full_every_days=7, compatibility_mode=True), "RS-CFG-11", ["full_every_days", "filters"]
    ),
    "never in full": (changed(ONEROSTER, full_every_days=31), "RS-CFG-02", ["full_every_days", "at most 30"]),
    "rest with a path": (changed(CLASSLINK, path="x"), "RS-CFG-11", ["path", "classlink"]),
    "empty secret": (changed(CLASSLINK, client_secret=" "), "RS-CFG-03", ["client_secret", "is empty", "env:NAME"]),
    "secret in a file of two lines": (changed(CLASSLINK, client_secret="file:/a\nb"), "RS-CFG-03", ["client_secret", "one line"]),
    "no address": (changed(CLASSLINK, endpoint_url=None), "RS-CFG-05", ["endpoint_url"]),
    "no client id": (changed(ONEROSTER, client_id=None), "RS-CFG-05", ["client_id", "env:NAME"]),
    "no client secret": (changed(ONEROSTER, client_secret=None), "RS-CFG-05", ["client_secret", "env:NAME"]),
    "powerschool without token address": (changed(POWERSCHOOL, token_url=None), "RS-CFG-05", ["token_url", "powerschool"]),
    "powerschool with a signature": (changed(POWERSCHOOL, signature_method="HMAC-SHA1"), "RS-CFG-11", ["signature_method"]),
    "classlink with token address": (changed(CLASSLINK, token_url="https://x.example/token"), "RS-CFG-11", ["token_url", "OAuth 1.0a"]),
    "classlink with scope": (changed(CLASSLINK, scope="x"), "RS-CFG-11", ["scope"]),
    "signature beside token address": (
        changed(ONEROSTER, token_url="https://x.example/token", signature_method="HMAC-SHA1"), "RS-CFG-11", ["signature_method"]),
    "scope without token address": (changed(ONEROSTER, scope="x"), "RS-CFG-11", ["scope", "token_url"]),
    "guardians of powerschool": (changed(POWERSCHOOL, sync_parent_data=True, relationship_type="guardian"), "RS-CFG-11", ["sync_parent_data"]),
    "relationship at powerschool": (changed(POWERSCHOOL, relationship_type="guardian"), "RS-CFG-11", ["relationship_type"]),
    "guardians of no type": (changed(CSV, sync_parent_data=True), "RS-CFG-05", ["relationship_type", "parent, relative or guardian"]),
    "plain http": (changed(ONEROSTER, endpoint_url="http://sis.school.example/"), "RS-CFG-06", ["endpoint_url", "https://"]),
    "http to another machine": (changed(ONEROSTER, endpoint_url="http://127.0.0.1.example/"), "RS-CFG-06", ["endpoint_url"]),
    "http to a private network": (changed(ONEROSTER, endpoint_url="http://10.0.0.1/"), "RS-CFG-06", ["endpoint_url"]),
    "plain http token": (changed(POWERSCHOOL, token_url="http://sis.school.example/t"), "RS-CFG-06", ["token_url"]),
    "no scheme": (changed(ONEROSTER, endpoint_url="sis.school.example/api"), "RS-CFG-06", ["endpoint_url", "complete"]),
    "other scheme": (changed(ONEROSTER, endpoint_url="ftp://sis.school.example/"), "RS-CFG-06", ["endpoint_url"]),
    "no host": (changed(ONEROSTER, endpoint_url="https:///api"), "RS-CFG-06", ["endpoint_url"]),
    "bad port": (changed(ONEROSTER, endpoint_url="https://x.example:99999/"), "RS-CFG-06", ["endpoint_url"]),
    "blank in an address": (changed(ONEROSTER, endpoint_url="https://x.example/a b"), "RS-CFG-06", ["endpoint_url"]),
    "backslash in an address": (changed(ONEROSTER, endpoint_url="http://localhost\\x.example/"), "RS-CFG-06", ["endpoint_url"]),
    "query in an address": (changed(ONEROSTER, endpoint_url="https://x.example/?limit=1"), "RS-CFG-06", ["endpoint_url"]),
}  # fmt: skip


@pytest.mark.parametrize("provider, code, words", BAD_PROVIDERS.values(), ids=BAD_PROVIDERS)
def test_a_bad_provider_is_refused_with_its_field_and_what_to_write(provider, code, words):
    error = refusal(document(provider))
    assert error.lines[0][0] == code, error.message
    assert len(error.lines) == 1, error.message
    assert error.message.startswith(f"{FILE}:")
    for word in words:
        assert word in error.message


BAD_TENANTS: dict[str, tuple[str, str, list[str]]] = {
    "unknown key": (document(time_zome="UTC"), "RS-CFG-01", ["time_zome", "mean time_zone"]),
    "unknown region": (document(region="EU"), "RS-CFG-02", ["region", "EU", "US, AU, NZ or UK"]),
    "region that YAML takes for a switch": (document().replace("US", "NO"), "RS-CFG-02", ["region", "NO"]),
    "no region": (document().replace("region: US\n", ""), "RS-CFG-05", ["region", "is required"]),
    "capitals in the name": (document(tenant="River Bend"), "RS-CFG-02", ["tenant", "write for example river-bend"]),
    "hyphen first": (document(tenant="-x"), "RS-CFG-02", ["tenant"]),
    "64 letters": (document(tenant="x" * 64), "RS-CFG-02", ["tenant"]),
    "name is a number": (document(tenant=12), "RS-CFG-02", ["tenant", 'in quotes: "12"']),
    "unknown zone": (document(time_zone="america/chicago"), "RS-CFG-02", ["time_zone", "America/Chicago"]),
    "zone of this machine": (document(time_zone="localtime"), "RS-CFG-02", ["time_zone"]),
    "zone that leads out": (document(time_zone="../../etc/passwd"), "RS-CFG-02", ["time_zone"]),
    "zone that is a folder": (document(time_zone="America"), "RS-CFG-02", ["time_zone"]),
    "negative days": (document(grace_days=-1), "RS-CFG-02", ["grace_days", "at least 0"]),
    "more days than dates have": (document(between_sessions_days=10**9), "RS-CFG-02", ["between_sessions_days"]),
    "share above all": (document(safeguards={"share": 1.2}), "RS-CFG-02", ["safeguards.share", "at most 1"]),
    "unknown safeguard": (document(safeguards={"limit": 3}), "RS-CFG-01", ["safeguards.limit", "rows, small, share"]),
    "unknown reason": (document(keeps_back=["no_pupils"]), "RS-CFG-02", ["keeps_back[1]", "no_students"]),
    "misspelt reason": (
        document(keeps_back=["masked", "class_without_teachers"]), "RS-CFG-02", ["keeps_back[2]", "classes_without_teachers"]),
    "no provider": ("tenant: t\nregion: US\nproviders: []\n", "RS-CFG-02", ["providers", "at least one provider"]),
    "no providers key": ("tenant: t\nregion: US\n", "RS-CFG-05", ["providers"]),
    "two of one name": (document(CSV | {"merge": {"priority": 1}}, CSV | {"merge": {"priority": 2}}), "RS-CFG-04", ["name", '"sis"']),
    "provider and directory of one name": (
        document(directories=[{"name": "sis", "kind": "csv", "path": "x.csv"}]), "RS-CFG-04", ["directories[sis].name"]),
    "directory without a path": (document(directories=[{"name": "ad", "kind": "csv"}]), "RS-CFG-05", ["directories[ad].path"]),
    "directory with a switch": (
        document(directories=[{"name": "ad", "kind": "csv", "path": "x.csv", "share_classes": True}]),
        "RS-CFG-01", ["directories[ad].share_classes", "providers[…].share_classes"]),
    "equal priorities": (
        document(CSV | {"merge": {"priority": 50}}, CSV | {"name": "cl", "merge": {"priority": 50}}), "RS-CFG-04", ["cl", "priority", "50"]),
    "no priority among several": (document(CSV | {"merge": {"priority": 50}}, CSV | {"name": "cl"}), "RS-CFG-05", ["providers[cl].merge.priority"]),
    "empty priority among several": (
        document(CSV | {"merge": {"priority": 50}}, CSV | {"name": "cl", "merge": {"priority": None}}), "RS-CFG-05", ["providers[cl].merge.priority"]),
    "present and retired": (document(retired=["sis"]), "RS-CFG-11", ["sis", "retired"]),
    "renamed and retired": (document(CSV | {"was": "old"}, retired=["old"]), "RS-CFG-11", ["was", "old", "retired"]),
    "renamed from one that is there": (
        document(CSV | {"merge": {"priority": 1}}, CSV | {"name": "cl", "was": "sis", "merge": {"priority": 2}}), "RS-CFG-11", ["providers[cl].was"]),
    "two renamed from one": (
        document(CSV | {"was": "x", "merge": {"priority": 1}}, CSV | {"name": "cl", "was": "x", "merge": {"priority": 2}}),
        "RS-CFG-11", ["providers[cl].was"]),
    "key twice": ("tenant: t\nregion: US\nregion: UK\nproviders:\n- {name: a, kind: oneroster_csv, path: a}\n", "RS-CFG-11", ["first on line 2"]),
    "date for a text": (document().replace("name: sis", "name: 2025-10-15"), "RS-CFG-02", ["name", "date", "quotes"]),
    "yaml tag": (document().replace("name: sis", "name: !secret sis"), "RS-CFG-02", ["name", "tag"]),
    "tag that lies": (document(grace_days=1).replace("grace_days: 1", "grace_days: !!int x"), "RS-CFG-02", ["grace_days"]),
    "octal number": (document(grace_days=1).replace("grace_days: 1", "grace_days: 010"), "RS-CFG-02", ["grace_days", "010"]),
    "empty setting": (document(grace_days=None), "RS-CFG-02", ["grace_days", "is empty", "leave the key out"]),
    "merge key of yaml": (document().replace("kind:", "<<: {share_classes: true}\n  kind:"), "RS-CFG-01", ["<<", "write the keys out"]),
    "a list": ("- tenant: t\n", "RS-CFG-02", ["a list"]),
    "a word": ("tenant\n", "RS-CFG-02", ["tenant"]),
    "a number": ("0x10\n", "RS-CFG-02", ["not valid here", "keys and values"]),
    "nothing": ("", "RS-CFG-09", ["empty"]),
    "nothing but a tilde": ("~\n", "RS-CFG-09", ["empty"]),
    "not yaml": ("tenant: [a\nregion: US\n", "RS-CFG-09", [":2:"]),
    "two documents": ("tenant: a\n---\ntenant: b\n", "RS-CFG-09", ["single document"]),
    "a control character": ("tenant: a\x00\n", "RS-CFG-09", ["characters"]),
    "deep brackets": ("a: " + "[" * 100_000, "RS-CFG-09", ["nested"]),
    "an alias of itself": ("&a [*a]", "RS-CFG-09", ["aliases"]),
    "aliases of aliases": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)),
        "RS-CFG-09", ["aliases"]),
}  # fmt: skip


@pytest.mark.parametrize("text, code, words", BAD_TENANTS.values(), ids=BAD_TENANTS)
def test_a_bad_document_is_refused_with_its_field_and_what_to_write(text, code, words):
    error = refusal(text)
    assert code in {line[0] for line in error.lines}, error.message
    for word in words:
        assert word in error.message


def test_every_problem_is_told_at_once_each_on_its_line():
    text = """\
tenant: riverbend
region: EU
providers:
  - name: sis
    kind: oneroster_csv
    path: sis
    respect_enrollment_date: true
    merge:
      priority: 50
  - name: cl
    kind: classlink
    endpoint_url: http://x.example/
    client_id: written-out
    merge:
      key: username
      priority: 50
"""
    lines = [line.split(": ")[:2] for line in refusal(text).message.splitlines()]
    assert [(place.removeprefix(f"{FILE}:"), field) for place, field in lines] == [
        ("2", "region"),
        ("7", "providers[sis].respect_enrollment_date"),
        ("10", "providers[cl].client_secret"),
        ("12", "providers[cl].endpoint_url"),
        ("13", "providers[cl].client_id"),
        ("15", "providers[cl].merge.key"),
        ("16", "providers[cl].merge.priority"),
    ]


def test_the_code_of_each_problem_is_in_the_catalogue():
    for text, _, _ in BAD_TENANTS.values():
        assert {code for code, _ in refusal(text).lines} <= set(CATALOGUE)


CANARY = "c4n4ry-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        document(changed(CLASSLINK, client_secret=CANARY)),
        document(changed(CLASSLINK, client_id=CANARY)),
        document(changed(CLASSLINK, client_secret=f"env:{CANARY}")),
        document(changed(CLASSLINK, client_secret=f"file:{CANARY}")),
        document(changed(CLASSLINK, client_secret=[CANARY])),
        document(changed(CLASSLINK, client_secret={"value": CANARY})),
        document(changed(CLASSLINK, client_secrets=CANARY)),
        document(changed(CLASSLINK, password=CANARY)),
        document(changed(CLASSLINK, endpoint_url=f"https://me:{CANARY}@x.example/")),
        document(changed(CLASSLINK, endpoint_url=f"http://x.example/?key={CANARY}")),
        document(changed(CLASSLINK, endpoint_url=CANARY)),
        document(CLASSLINK).replace("env:CASE_SECRET", f"*{CANARY}"),
        document(CLASSLINK).replace("env:CASE_SECRET", f"!{CANARY}"),
        document(CLASSLINK).replace("env:CASE_SECRET", f'"{CANARY}\n'),
        document(CLASSLINK).replace("env:CASE_SECRET", f"{CANARY}: x"),
        document(CLASSLINK).replace("env:CASE_SECRET", f"&{CANARY}"),
        document(CLASSLINK).replace("env:CASE_SECRET", f"%{CANARY}"),
        document(CLASSLINK).replace("env:CASE_SECRET", f"@{CANARY}"),
    ],
)
def test_a_secret_written_out_is_never_shown(text):
    error = refusal(text)
    assert CANARY not in error.message
    assert CANARY not in str(error)


@pytest.mark.parametrize("value", ["12345678", "2020-01-01", "0x1F", "true", "1.5", "1:30"])
def test_a_secret_that_yaml_takes_for_something_else_is_refused_without_showing_it(value):
    error = refusal(document(CLASSLINK).replace("env:CASE_SECRET", value))
    assert "client_secret" in error.message
    assert value not in error.message


@given(st.text(max_size=200))
def test_whatever_is_given_is_read_or_refused_with_a_line(text):
    with pytest.raises(DocumentRefused) as caught:
        parse(text, file=FILE)
    assert caught.value.message.startswith(f"{FILE}:")


_scalar: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
)
_anything = st.recursive(
    _scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(
    st.sampled_from([*Tenant.model_fields, *Provider.model_fields, "limit_to", "safeguards"]),
    _anything,
    st.sampled_from([CSV, POWERSCHOOL, CLASSLINK, ONEROSTER]),
)
def test_any_value_at_any_key_is_read_or_refused_and_never_breaks(key, value, base):
    for text in (
        document(base | {key: value}),
        yaml.safe_dump(yaml.safe_load(document(base)) | {key: value}),
    ):
        try:
            tenant = parse(text, file=FILE)
        except DocumentRefused:
            continue
        assert parse(as_document(tenant), file=FILE) == tenant


def test_of_very_many_problems_the_first_hundred_are_told() -> None:
    error = refusal(document() + "".join(f"key{number}: x\n" for number in range(300)))
    assert len(error.lines) == 101
    assert error.lines[-1][1].endswith("200 more problems follow; correct these first")


def test_what_a_terminal_would_obey_or_could_not_show_is_not_repeated() -> None:
    error = refusal(document() + f'"\\e[2J{"x" * 500}": 1\n')
    assert error.message.isprintable()
    assert "x" * 30 in error.message
    assert "x" * 100 not in error.message


def test_a_number_beyond_any_use_is_refused() -> None:
    assert "at most" in refusal(document(safeguards={"rows": 10**30})).message


# ------------------------------------------------------------------------------------- and back


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE,
        document(),
        document(
            CSV | {"was": "old", "limit_to": {"grades": ["09", "10"], "roles": ["student"]}}, retired=["gone"]
        ),
        document(
            ONEROSTER | {"version": "1.2", "scope": "", "token_url": "https://x.example/t"}, keeps_back=[]
        ),
        document(safeguards={"share": 0.5, "rows": 10}),
    ],
)
def test_a_document_written_back_is_the_same_tenant(text):
    tenant = parse(text, file=FILE)
    assert parse(as_document(tenant), file=Path("/elsewhere/t.yaml")) == tenant
    assert Tenant.model_validate_json(tenant.model_dump_json()) == tenant


@pytest.mark.parametrize(
    "content, words",
    [(None, "No such file"), (b"\xff\xfe\x00t", "UTF-8"), (b"# " + b"x" * 1_000_001, "larger")],
    ids=["missing", "not UTF-8", "too large"],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_name(tmp_path, content, words):
    file = tmp_path / "t.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DocumentRefused, match=words) as caught:
        read_file(file)
    assert caught.value.message.startswith(f"{file}:1: ")
    assert caught.value.code == "RS-CFG-09"


def test_a_byte_order_mark_is_no_part_of_the_document(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text(document(), encoding="utf-8-sig")
    assert read_file(file).tenant.tenant == "riverbend"
