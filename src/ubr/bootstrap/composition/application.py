"""Builds the application, and the use cases in a transaction of the host."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from ubr.application.app import Application, HostedUseCases
from ubr.application.audit.denials import CountedDenials
from ubr.application.revocation.hosted import HostedPropagation
from ubr.bootstrap.composition.accounts import account_use_cases
from ubr.bootstrap.composition.audit import audit_use_cases
from ubr.bootstrap.composition.keys import key_use_cases
from ubr.bootstrap.composition.machines import machine_use_cases
from ubr.bootstrap.composition.mail import mail_use_cases
from ubr.bootstrap.composition.operations import operation_use_cases
from ubr.bootstrap.composition.revocation import revocation_use_cases
from ubr.bootstrap.composition.roles import role_use_cases
from ubr.bootstrap.composition.sessions import session_use_cases
from ubr.bootstrap.ports import Ports
from ubr.bootstrap.services import Services


def application(ports: Ports, services: Services) -> Application:
    """Every use case."""
    return Application.of(
        accounts=account_use_cases(ports, services),
        sessions=session_use_cases(ports, services),
        roles=role_use_cases(ports, services),
        machines=machine_use_cases(ports, services),
        mail=mail_use_cases(ports, services),
        audit=audit_use_cases(ports, services),
        keys=key_use_cases(ports, services),
        revocation=revocation_use_cases(ports, services),
        operations=operation_use_cases(ports, services),
        within=partial(within, ports, services),
    )


def within(ports: Ports, services: Services, connection: object) -> HostedUseCases:
    """Use cases in a transaction of the host. Errors: `WrongConnection`."""
    host = ports.hosting.within(connection)
    unit_of_work = HostedPropagation(host.unit_of_work, services.barrier)
    hosted = replace(
        services,
        unit_of_work=unit_of_work,
        idempotency=replace(services.idempotency, unit_of_work=unit_of_work),
    )
    if host.rate_limit_store is not None:
        # A connection of ubr would wait for the host's transaction.
        hosted = replace(
            hosted,
            rate_limiter=replace(services.rate_limiter, rate_limit_store=host.rate_limit_store),
            denials=CountedDenials(services.denial_recorder),
        )
    return HostedUseCases.of(
        accounts=account_use_cases(ports, hosted),
        sessions=session_use_cases(ports, hosted),
        roles=role_use_cases(ports, hosted),
        committed=unit_of_work.committed,
    )
