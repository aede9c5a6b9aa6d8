"""The users about whom there is nothing to decide: most of them, on most nights.

A user is plain who shares nothing with anybody by which two rows may be one person, waits with no school,
and is either new or has the one live link of a published person and the very values of last time. What
becomes of such a user follows from these words alone, so it is found for all of them at once, by columns.
Everybody else goes through the steps of `identities`, which give plain users the same when they are asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from roster_pipeline.rosters import columns, rows
from roster_pipeline.rosters.current import FIELDS, Current
from roster_pipeline.rosters.source import Published, Source, Tonight, new_id


@dataclass(slots=True)
class Plain:
    """The plain users and who they are.

    Attributes:
        people: person_id, the fields, roles, enabled and schools of each, as `identities.PEOPLE_COLUMNS`
            but for the fate.
        links: provider_id, source_id, person_id, linked_by and seen of each.
        outcomes: Of each, as `identities.OUTCOME_COLUMNS`.
        users: Whether a row of `current.users` is one of them.
        linked: Whether a row of `published.person_sources` is the link of one of them.
        owners: Whether a row of `published.people` is one of them.
        filled: (provider_id, field) → how many of them have a value in it.
        known: provider_id → how many of them were known before.
    """

    people: pd.DataFrame
    links: pd.DataFrame
    outcomes: pd.DataFrame
    users: np.ndarray
    linked: np.ndarray
    owners: np.ndarray
    filled: Counter[tuple[int, str]] = field(default_factory=Counter)
    known: Counter[int] = field(default_factory=Counter)


def find_plain(
    sources: Sequence[Source],
    addresses: Iterable[str],
    current: Current,
    waiting: set[str],
    published: Published,
    tonight: Tonight,
) -> Plain:
    """Who is plain tonight.

    Args:
        sources: Tonight's providers.
        addresses: The e-mail addresses of the directories' people, one a row.
        current: Tonight's users.
        waiting: The school_ids of which something may have to stay as it is; "" for those of no school.
        published: The roster as it is.
        tonight: What is the same for every rule.
    """
    users, people, links = current.users, published.people, published.person_sources
    kept = rows.where(users, (users["reason"] == "").to_numpy(dtype=bool))
    texts = _said(kept)
    link_of = rows.places_in(links, kept)
    person_of = rows.places(people["person_id"], links["person_id"])
    linked = link_of >= 0
    same = linked.copy()
    same[linked] = np.asarray(
        texts[linked].array == links["seen"].iloc[link_of[linked]].array, dtype=bool
    )  # and so the values are those of last time
    owner = -1 - np.arange(len(kept))
    found_of = person_of[link_of[linked]]
    owner[linked] = np.where(found_of >= 0, found_of, owner[linked])
    alone = _alone(people, links, person_of)
    alike = same.copy()
    alike[same] = alone[link_of[same]]
    changed = linked & ~same
    remembered = _remembered(links, link_of[same], link_of[changed], kept[changed])
    named = pd.concat([people["email"], pd.Series(list(addresses), dtype="str")])
    shares = _shares(kept, owner, remembered, person_of, named)
    plain = (alike | (~linked & _may_be_new(kept, sources))) & ~shares & _is_free(kept, sources, waiting)
    found, text, link = rows.where(kept, plain), texts[plain], link_of[plain]
    mask = np.zeros(len(users), dtype=bool)
    mask[np.flatnonzero((users["reason"] == "").to_numpy())[plain]] = True
    of_links, of_people = np.zeros(len(links), dtype=bool), np.zeros(len(people), dtype=bool)
    of_links[link[link >= 0]] = True
    of_people[person_of[of_links]] = True
    old = links.iloc[link[link >= 0]]
    return Plain(
        **_results(found, text, link, old, tonight),
        users=mask,
        linked=of_links,
        owners=of_people,
        filled=_filled(found),
        known=Counter({int(who): int(n) for who, n in old["provider_id"].value_counts().items()}),
    )


def seen_text(values: Mapping[str, str], roles: str, enabled: str) -> str:
    """What is remembered of a user's row: the values that it has, its roles (a JSON text), and `enabled`."""
    seen: dict[str, object] = {name: value for name, value in values.items() if value}
    seen |= {"roles": orjson.Fragment(roles or "[]"), "enabled": enabled}
    return orjson.dumps(seen, option=orjson.OPT_SORT_KEYS).decode()


def role_records(roles: Iterable[Sequence[str]]) -> str:
    """A person's roles as they are published: a JSON array of objects, each once and in order."""
    held = sorted({(role, school) for role, school in roles})
    return _json([{"role": role, "school_id": school or None} for role, school in held])


def role_names(roles: Iterable[Sequence[str]]) -> str:
    """The names of the roles, a JSON array, each once and in order."""
    return _json(sorted({role for role, _ in roles}))


# ------------------------------------------------------------------------------ what makes a user plain


_TEXT: Final = partial(pa.scalar, type=pa.large_string())


def _said(kept: pd.DataFrame) -> pd.Series:
    """`seen_text` of each row, put together by columns."""
    parts = []
    for name in sorted([*FIELDS, "roles", "enabled"]):
        if name == "roles":
            values = columns.as_text(rows.mapped(kept[name], lambda text: text or "[]"))
        else:
            values = columns.as_text(kept[name])
            escaped = np.array(pc.match_substring_regex(values, r'[\x00-\x1f"\\]'), dtype=bool)
            if escaped.any():
                inside = rows.mapped(kept[name][escaped], lambda text: _json(text)[1:-1])
                values = pc.replace_with_mask(values, pa.array(escaped), columns.as_text(inside))
            if name != "enabled":
                values = pc.if_else(pc.equal(values, ""), None, values)
            values = _joined('"', values, '"')
        parts.append(_joined(f'"{name}":', values))
    texts = pc.binary_join_element_wise(*parts, _TEXT(","), null_handling="skip")
    parts.clear()  # each is as long as the users are many
    return pd.Series(pd.array(_joined("{", texts, "}"), dtype="str"), index=kept.index)


def _joined(*parts: Any) -> Any:
    """Texts and columns of texts, one after the other; nothing where one of them is nothing."""
    told = (_TEXT(part) if isinstance(part, str) else part for part in parts)
    return pc.binary_join_element_wise(*told, _TEXT(""))


def _alone(people: pd.DataFrame, links: pd.DataFrame, person_of: np.ndarray) -> np.ndarray:
    """Whether a link is live and the only one, ever, of somebody published who never was anybody else."""
    if not len(links):
        return np.zeros(0, dtype=bool)
    often = np.bincount(person_of[person_of >= 0], minlength=len(people))
    merged = set(people["merged_into"].unique().tolist()) - {""}
    usual = (
        (often == 1)
        & (people["removed"] != "true").to_numpy(dtype=bool)
        & (people["inactive_since"] == "").to_numpy(dtype=bool)
        & (people["merged_into"] == "").to_numpy(dtype=bool)
    )
    if merged:
        usual &= ~rows.among(people["person_id"], merged).to_numpy()
    has_person = person_of >= 0
    out: np.ndarray = (links["removed"] != "true").to_numpy(dtype=bool) & has_person
    out[has_person] &= usual[person_of[has_person]]
    return out


def _may_be_new(kept: pd.DataFrame, sources: Sequence[Source]) -> np.ndarray:
    """Whether nobody waits for a stronger provider before a user of this one is somebody new."""
    never = [source.strength for source in sources if not source.ever_complete]
    free = {source.provider_id for source in sources if not never or source.strength <= min(never)}
    may_be: np.ndarray = kept["provider_id"].isin(free).to_numpy()
    return may_be


def _is_free(kept: pd.DataFrame, sources: Sequence[Source], waiting: set[str]) -> np.ndarray:
    """Whether a user speaks for themselves: at no school that waits, of no family, and not only to attach."""
    attach = {one.provider_id for one in sources if one.options.merge.attach_to_existing_users_only}
    free: np.ndarray = ~kept["provider_id"].isin(attach).to_numpy()
    free &= rows.mapped(
        kept["schools"], lambda text: "" if waiting.isdisjoint(rows.parse_list(text) or [""]) else "waits"
    ).eq("").to_numpy(dtype=bool)  # fmt: skip
    free &= (kept["family"] != "true").to_numpy(dtype=bool) & (kept["agents"] == "").to_numpy(dtype=bool)
    named = kept.loc[kept["agents"] != "", ["provider_id", "agents"]]
    if len(named):
        mentioned = {
            (who, agent)
            for who, text in rows.keys(named, "provider_id", "agents")
            for agent in rows.parse_list(text)
        }
        free &= np.fromiter(
            (key not in mentioned for key in rows.keys(kept, "provider_id", "source_id")), bool, len(kept)
        )
    return free


# ------------------------------------------------------------------------------ what two rows may share


def _shares(
    kept: pd.DataFrame, owner: np.ndarray, remembered: pd.DataFrame, person_of: np.ndarray, emails: pd.Series
) -> np.ndarray:
    """Whether a user has anything by which another row, link or person could be the same.

    Args:
        kept: Tonight's users.
        owner: Who each of them is: the place of a published person, or a number of their own.
        remembered: What links say that no row of tonight does; `link` is the link's place.
        person_of: The place of each link's person; -1 where there is none.
        emails: Of the published people, in their order, and after them of others.
    """
    links = remembered["link"].to_numpy(dtype="int64")
    whose = np.where(person_of[links] >= 0, person_of[links], len(emails) + links)
    both = pd.concat([kept[_TOLD], remembered[_TOLD]], ignore_index=True)
    both["owner"] = np.concatenate([owner, whose])
    # What a person has in common with their own row needs no second look.
    is_other = np.ones(len(emails), dtype=bool)
    has_person = np.flatnonzero(owner >= 0)
    theirs = owner[has_person]
    is_other[theirs] = columns.differ(emails.iloc[theirs], kept["email"].iloc[has_person])
    others = pd.DataFrame({"email": emails.array[is_other], "owner": np.flatnonzero(is_other)})
    shared = np.zeros(len(both), dtype=bool)
    for claims, names in (
        (_bare(pd.concat([both[["email", "owner"]], others], ignore_index=True)), ["email"]),
        (both, ["master", "provider_id"]),
        (both, ["identifier", "provider_id", "given_name", "family_name"]),
        (_entries(both), ["user_ids", "provider_id", "given_name", "family_name"]),
    ):
        places = _of_several(claims, names)
        shared[places[places < len(both)]] = True
    return shared[: len(kept)]


_TOLD: Final = ["provider_id", "email", "master", "identifier", "user_ids", "given_name", "family_name"]


def _of_several(claims: pd.DataFrame, names: list[str]) -> np.ndarray:
    """The labels of the rows that have a value in the first of these columns, and all of them in common with
    a row of another owner.
    """
    for some in (names[:1], names):  # the first one alone tells most apart
        claims = rows.where(claims, (claims[names[0]] != "").to_numpy(dtype=bool))
        # As many numbers as there are values: where several columns have many, they are astronomical.
        number, met = pd.factorize(rows.numbered(claims, *some))
        owner = claims["owner"].to_numpy()
        one = np.zeros(len(met), dtype="int64")
        one[number] = owner
        several = np.zeros(len(one), dtype=bool)
        several[number[owner != one[number]]] = True
        claims = rows.where(claims, several[number])
    places: np.ndarray = claims.index.to_numpy()
    return places


def _bare(claims: pd.DataFrame) -> pd.DataFrame:
    """With the addresses as the merge key that leaves the domain out: one for all providers. Whole addresses
    that are the same have the same first part.
    """
    whole = columns.as_text(claims["email"])
    first = pc.list_element(pc.split_pattern(whole, "@", max_splits=1, reverse=True), 0)
    keys = pc.if_else(pc.equal(first, ""), whole, first)
    return claims.assign(email=pd.array(keys, dtype="str"))


def _entries(claims: pd.DataFrame) -> pd.DataFrame:
    """With one of the userIds each, as a JSON text; the labels of the rows stay."""
    texts = columns.as_text(claims["user_ids"])
    # Without escapes, equal texts are equal entries: most need not be parsed.
    is_one = np.array(pc.match_substring_regex(texts, r'^(\[\["[^"\\]*","[^"\\]*"\]\])?$'), dtype=bool)
    several = claims[~is_one]
    told = several["user_ids"].map(lambda text: [rows.as_list([entry]) for entry in rows.parse_list(text)])
    return pd.concat([rows.where(claims, is_one), several.assign(user_ids=told).explode("user_ids")])


def _remembered(
    links: pd.DataFrame, said: np.ndarray, changed: np.ndarray, kept: pd.DataFrame
) -> pd.DataFrame:
    """What links remember, with the columns of `_TOLD` and the link's place.

    Args:
        links: All of them.
        said: The places of those that say what a row of tonight says: they are left out.
        changed: The places of those whose row says something else tonight.
        kept: That row of each of them. Where it says nothing, what was there before may stay: then
            the row is a mixture of both.
    """
    names = ("email", "identifier", "given_name", "family_name")
    others = np.ones(len(links), dtype=bool)
    others[said] = False
    places = np.flatnonzero(others)
    now = dict(zip(changed.tolist(), rows.keys(kept, "provider_id", "user_ids", *names), strict=True))
    told: list[tuple[int | str, ...]] = []
    for place, (who, text) in zip(
        places.tolist(), rows.keys(links.iloc[places], "provider_id", "seen"), strict=True
    ):
        seen = orjson.loads(text or b"{}")
        before = [seen.get(name, "") for name in names]
        _, user_ids, *values = now.get(place, (who, ""))
        told.append((who, place, user_ids, *before))
        if values:
            told.append(
                (who, place, user_ids, *(new or old for new, old in zip(values, before, strict=True)))
            )
    frame = pd.DataFrame(told, columns=["provider_id", "link", "user_ids", *names])
    # Also where nothing is told: an empty column of objects would make objects of those above it.
    types = {"provider_id": "int64", "link": "int64", **dict.fromkeys(("user_ids", *names), "str")}
    return frame.astype(types).assign(master="")


# ------------------------------------------------------------------------------ what becomes of them


def _results(
    found: pd.DataFrame, text: pd.Series, link: np.ndarray, old: pd.DataFrame, tonight: Tonight
) -> dict[str, pd.DataFrame]:
    """People, links and outcomes of these users; `old` are the links of those with a place in `link`."""
    known = link >= 0
    person = _filled_in(
        known,
        old["person_id"].tolist(),
        [
            new_id(tonight.tenant, who, "person", user, tonight.sync_id)
            for who, user in rows.keys(found[~known], "provider_id", "source_id")
        ],
    )
    linked_by = _filled_in(known, old["linked_by"].tolist(), ["created"] * int((~known).sum()))
    without = ["nobody_matches" if email else "no_key" for email in found["email"][~known].tolist()]
    who = found[["provider_id", "source_id"]].reset_index(drop=True)
    roles = found["roles"].reset_index(drop=True)
    people = pd.DataFrame(
        {
            "person_id": person,
            **{name: found[name].array for name in FIELDS},
            "roles": rows.mapped(roles, lambda text: role_records(rows.parse_list(text))),
            "enabled": rows.mapped(found["enabled"], lambda text: text or "true").array,
            "schools": rows.mapped(
                found["schools"], lambda text: rows.as_list(sorted(set(rows.parse_list(text))))
            ).array,
        }
    )
    links = who.assign(person_id=person, linked_by=linked_by, seen=text.array)
    outcomes = who.assign(
        outcome=_either(known, "matched", "created"),
        reason=_either(known, "link", "new"),
        one_with=who["source_id"],
        person_id=person,
        roles=rows.mapped(roles, lambda text: role_names(rows.parse_list(text))),
        why=_filled_in(known, old["linked_by"].tolist(), without),
        candidates=_either(known, "", ""),
    )
    return {"people": people, "links": links, "outcomes": outcomes}


def _filled_in(known: np.ndarray, old: list[str], new: list[str]) -> pd.api.extensions.ExtensionArray:
    """The values of those who are known and of the others, each at their place."""
    places = np.empty(len(known), dtype="int64")
    places[known], places[~known] = np.arange(len(old)), np.arange(len(old), len(old) + len(new))
    return pd.array(old + new, dtype="str").take(places)


def _either(known: np.ndarray, one: str, other: str) -> pd.api.extensions.ExtensionArray:
    return pd.array([other, one], dtype="str").take(known.astype("int64"))


def _filled(found: pd.DataFrame) -> Counter[tuple[int, str]]:
    out: Counter[tuple[int, str]] = Counter()
    for name in FIELDS:
        for who, count in found.loc[found[name] != "", "provider_id"].value_counts().items():
            out[int(who), name] = int(count)
    return out


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
