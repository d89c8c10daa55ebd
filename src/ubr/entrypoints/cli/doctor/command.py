"""The command `ubr doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from ubr.entrypoints.cli.output import ExitCode, print_json

if TYPE_CHECKING:
    from ubr.entrypoints.findings import Finding

# The command imports its dependencies when it runs, so that help and usage errors are fast.
# ruff: noqa: PLC0415


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--mail-to", metavar="ADDRESS", help="Send a test mail to this e-mail.")
@click.pass_context
def doctor(context: click.Context, *, as_json: bool, mail_to: str | None) -> None:
    """Check the installation, and print one line for each subject with the remedy for each mistake.

    Checks settings, files, database, keys, audit log, Redis and mail. Changes nothing, and shows no secret; only
    --mail-to sends something. Run it as the user, in the folder and with the environment of the service.

    Exit codes: 0 no error, though perhaps warnings; 1 an error, a wrong setting included; 2 wrong usage.
    """
    from ubr.entrypoints.cli.doctor.examination import examine
    from ubr.entrypoints.findings import failed

    if mail_to is not None:
        from ubr.domain.accounts.email import Email

        mail_to = Email.parse(mail_to).address
    findings = examine(mail_to)
    if as_json:
        _print_json(findings)
    else:
        _print(findings)
    context.exit(ExitCode.FAILED if failed(findings) else ExitCode.OK)


def _print_json(findings: list[Finding]) -> None:
    from ubr.entrypoints.findings import Level, count

    errors, warnings = count(findings, Level.ERROR), count(findings, Level.WARNING)
    print_json({"errors": errors, "warnings": warnings, "findings": findings})


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    from ubr.entrypoints.findings import Level, count

    styles = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "bold red", Level.NOT_CHECKED: "dim"}
    # One finding is one line, which programs such as grep rely on: the terminal breaks it, if it is too long.
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        line = Text(f"{finding.level:<11}  ", style=styles[finding.level])
        console.print(line.append(f"{finding.subject:<14}  {finding.sentence}", style="none"))
    errors, warnings = count(findings, Level.ERROR), count(findings, Level.WARNING)
    console.print(f"Errors: {errors}. Warnings: {warnings}.")
