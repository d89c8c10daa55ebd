"""Builds the use cases of operators."""

from __future__ import annotations

from ubr.application.app import OperationUseCases
from ubr.application.operations.acknowledge_restore import AcknowledgeRestore
from ubr.application.operations.check_health import CheckHealth
from ubr.application.operations.initialize import Initialize
from ubr.application.operations.inspect_installation import InspectInstallation
from ubr.bootstrap.ports import Ports
from ubr.bootstrap.services import Services


def operation_use_cases(ports: Ports, services: Services) -> OperationUseCases:
    return OperationUseCases(
        acknowledge_restore=AcknowledgeRestore(
            unit_of_work=services.unit_of_work,
            access_tokens=ports.security.access_tokens,
            signing=ports.security.log_signing,
            sequencer=services.sequencer,
            session_cache=services.session_cache,
            denials=services.denials,
        ),
        check_health=CheckHealth(ports.store),
        initialize=Initialize(
            hasher=ports.security.hasher,
            unit_of_work=services.unit_of_work,
            access_tokens=ports.security.access_tokens,
            keys=services.keys,
            log_signing=ports.security.log_signing,
        ),
        inspect_installation=InspectInstallation(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            access_tokens=ports.security.access_tokens,
            log_signing=ports.security.log_signing,
            hasher=ports.security.hasher,
            new_id=ports.new_id,
            denials=services.denials,
            user_fields=ports.user_fields,
        ),
    )
