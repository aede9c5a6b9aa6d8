"""`roster-pipeline forget`: erase a person, list the receipts, let somebody come back.

What is erased is decided in `forgetting`; here it is asked for and told. Whoever is erased is told by counts
alone; ids that tell several people apart go to stdout.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from roster_pipeline.cli.holds import user_name
from roster_pipeline.codes import CodedError

if TYPE_CHECKING:
    from roster_pipeline.forgetting import Meant
    from roster_pipeline.store.home import Stores


@click.command()
@click.argument("tenant", metavar="T")
@click.option(
    "--person", "who", metavar="WHO",
    help="An e-mail address, a sourcedId (or PROVIDER/SOURCEDID), a username, an identifier or a person id.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Erase them. Without, it is only told what would go.")
@click.option("--why", default="", metavar="TEXT", help="For the receipt, which is kept: name nobody.")
@click.option("--by", metavar="WHO", help="Who asks for it.  [default: the user's name]")
@click.option("--list", "only_list", is_flag=True, help="The receipts of what was erased.")
@click.option("--lift", metavar="RECEIPT", type=int, help="Let those of a receipt come back.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def forget(
    tenant: str, who: str | None, yes: bool, why: str, by: str | None, only_list: bool, lift: int | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Erase a person of the tenant T everywhere, for good, and keep every sync from bringing them back.

    The database, the lake and the ledger are cleaned; what stays is a receipt that names nobody.
    """
    from roster_pipeline.forgetting import SeveralFitError
    from roster_pipeline.store.home import Home

    if [who is not None, only_list, lift is not None].count(True) != 1:
        raise click.UsageError("Say one of --person WHO, --list and --lift RECEIPT.")
    stores = Home.find(os.environ).stores()
    try:
        if only_list:
            told = _receipts(stores, tenant)
        elif lift is not None:
            told = _lift(stores, tenant, lift)
        else:
            told = _erase(
                stores, tenant, who or "", confirmed=yes, why=why, by=by or user_name(), quiet=as_json
            )
    except SeveralFitError as error:
        for line in error.ids:
            click.echo(line)
        raise
    finally:
        stores.database.dispose()
    if as_json:
        click.echo(json.dumps({"tenant": tenant, **told}, ensure_ascii=False))
    else:
        for line in _lines(tenant, told):
            click.echo(line)


def _erase(
    stores: Stores, tenant: str, who: str, *, confirmed: bool, why: str, by: str, quiet: bool
) -> dict[str, Any]:
    from roster_pipeline import forgetting

    with forgetting.alone_with(stores, tenant, _now) as lease:
        completed = forgetting.finish(stores, tenant)
        try:
            meant = forgetting.find(stores, tenant, who)
        except CodedError as error:
            if error.code == "RS-IDN-10" and completed:  # that was what had been asked for
                return {"completed": completed}
            raise
        told = {
            "completed": completed,
            "ids": len(meant.human.people),
            "users": len(meant.human.users),
            "erased": {"database": dict(meant.rows), "lake": dict(meant.files)},
            "guardians_without_other_student": list(meant.alone),
        }
        if not confirmed:
            for line in () if quiet else _lines(tenant, told):
                click.echo(line)
            raise CodedError(
                "RS-CFG-10",
                f"This erases {_counts(meant)} of one person of {tenant}, and nothing brings them back. "
                "Repeat with --yes.",
            )
        receipt = forgetting.forget(stores, tenant, meant, lease, who=by, why=why, now=_now())
    return told | {"receipt": receipt}


def _lift(stores: Stores, tenant: str, receipt: int) -> dict[str, Any]:
    from roster_pipeline import forgetting
    from roster_pipeline.store import receipts

    with (
        forgetting.alone_with(stores, tenant, _now),
        stores.database.connect().execution_options(immediate=True) as connection,
        connection.begin(),
    ):
        receipts.lift(connection, tenant, receipt, _now())
    return {"lifted": receipt}


def _receipts(stores: Stores, tenant: str) -> dict[str, Any]:
    from roster_pipeline.store import receipts

    with stores.database.connect() as connection:
        return {"receipts": receipts.all_of(connection, tenant)}


def _lines(tenant: str, told: Mapping[str, Any]) -> Iterator[str]:
    if told.get("completed"):
        yield f"Receipt {', '.join(map(str, told['completed']))} of {tenant} was completed."
    if "erased" in told:
        whole = f"{_number(told['ids'], 'id')} and {_number(told['users'], 'user')}"
        yield f"One person of {tenant}, with {whole}:"
        for place, found in told["erased"].items():
            for what, count in found.items():
                yield f"  {place}  {what.replace('_', ' ')}  {count:,}"
    if alone := told.get("guardians_without_other_student"):
        yield (
            f"{_number(len(alone), 'guardian')} had no other student. They are not erased: syncs turn "
            "them inactive, and remove them after the grace. Forget them, too, if that is meant:"
        )
        yield from (f"  person {person}" for person in alone)
    if "receipt" in told:
        yield f"Erased, and no sync brings them back: receipt {told['receipt']}."
    if "lifted" in told:
        yield f"Whom receipt {told['lifted']} is about may come back: as a new person, with the next sync."
    if "receipts" in told:
        yield from _table(told["receipts"])


def _table(receipts: list[dict[str, Any]]) -> Iterator[str]:
    from roster_pipeline.cli.columns import columns

    if not receipts:
        return
    table = [
        (
            str(one["receipt"]),
            one["at"][:16].replace("T", " ") + " UTC",
            one["who"],
            f"{sum(one['erased'].get('database', {}).values()):,}",
            f"{sum(one['erased'].get('lake', {}).values()):,}",
            f"lifted {one['lifted_at'][:10]}" if one["lifted_at"]
            else "stands" if one["erased"].get("finished") else "not finished",
            one["why"] or "",
        )
        for one in receipts
    ]  # fmt: skip
    header = ("RECEIPT", "WHEN", "BY", "ROWS", "IN THE LAKE", "STATE", "WHY")
    yield from columns(header, table, numbers=(0, 3, 4))


def _counts(meant: Meant) -> str:
    rows, files = sum(meant.rows.values()), sum(meant.files.values())
    return f"{_number(rows, 'row')} of the database and {files:,} of the lake"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _now() -> datetime:
    return datetime.now(UTC)
