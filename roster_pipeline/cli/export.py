"""`roster-pipeline export`: a published roster as a OneRoster package."""

from __future__ import annotations

import os
from pathlib import Path

import click

from roster_pipeline.codes import CodedError


@click.command()
@click.argument("tenant", metavar="T")
@click.option(
    "--format",
    "form",
    type=click.Choice(["oneroster-1.2"]),
    default="oneroster-1.2",
    show_default=True,
    help="What is written: OneRoster 1.2 CSV, bulk.",
)
@click.option(
    "--out", "path", required=True, metavar="FILE.zip", type=click.Path(path_type=Path, dir_okay=False),
    help="The file; one that is there is replaced when the new one is whole.",
)  # fmt: skip
def export(tenant: str, form: str, path: Path) -> None:
    """Write the published roster of the tenant T as OneRoster CSV."""
    from roster_pipeline.store.export import export as write
    from roster_pipeline.store.home import Home
    from roster_pipeline.tenants import registry

    if path.suffix != ".zip":
        raise click.BadParameter("The package is a zip: write a name that ends in .zip.", param_hint="--out")
    database = Home.find(os.environ).stores().database
    try:
        with database.connect() as connection:
            if not registry.published(connection, tenant).get("schools"):
                registry.get(connection, tenant)  # an unknown tenant has a code of its own
                raise CodedError("RS-RUN-09", f"No roster of {tenant} is published.")
        try:
            with database.connect() as connection:
                counts = write(connection, tenant, path)
        except OSError as error:
            raise click.BadParameter(
                f"{path} cannot be written: {error.strerror}.", param_hint="--out"
            ) from None
    finally:
        database.dispose()
    files = {name: count for name, count in counts.items() if not name.startswith("left_out_")}
    click.echo(f"{path}: " + ", ".join(f"{count:,} {name}" for name, count in files.items()), err=True)
    for name, count in counts.items():
        if name not in files:
            what = name.removeprefix("left_out_")
            click.echo(
                f"  left out: {count:,} {what} that refer to something that is not published", err=True
            )
