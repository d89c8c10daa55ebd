"""Builds the use cases of the audit log."""

from __future__ import annotations

from ubr.application.app import AuditUseCases
from ubr.application.audit.compare_checkpoint import CompareCheckpoint
from ubr.application.audit.export_log import ExportLog
from ubr.application.audit.get_activity import GetActivity
from ubr.application.audit.get_checkpoint import GetCheckpoint
from ubr.application.audit.list_log_keys import ListLogKeys
from ubr.application.audit.list_logs import ListLogs
from ubr.application.audit.prove_log_entry import ProveLogEntry
from ubr.application.audit.prune_log import PruneLog
from ubr.application.audit.read_events import ReadEvents
from ubr.application.audit.rotate_log_key import RotateLogKey
from ubr.application.audit.verify_log import VerifyLog
from ubr.bootstrap.ports import Ports
from ubr.bootstrap.services import Services


def audit_use_cases(ports: Ports, services: Services) -> AuditUseCases:
    return AuditUseCases(
        list_logs=ListLogs(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
        ),
        read_events=ReadEvents(
            unit_of_work=services.unit_of_work, sequencer=services.sequencer, denials=services.denials
        ),
        get_activity=GetActivity(
            authorize=services.authorize, unit_of_work=services.unit_of_work, denials=services.denials
        ),
        get_checkpoint=GetCheckpoint(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            sequencer=services.sequencer,
            denials=services.denials,
        ),
        prove_log_entry=ProveLogEntry(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            sequencer=services.sequencer,
            denials=services.denials,
        ),
        compare_checkpoint=CompareCheckpoint(
            unit_of_work=services.unit_of_work,
            sequencer=services.sequencer,
            signing=ports.security.log_signing,
            denials=services.denials,
        ),
        verify_log=VerifyLog(
            unit_of_work=services.unit_of_work, verify=ports.security.log_signing.verify, denials=services.denials
        ),
        export_log=ExportLog(
            unit_of_work=services.unit_of_work, sequencer=services.sequencer, denials=services.denials
        ),
        prune_log=PruneLog(unit_of_work=services.unit_of_work, clock=ports.clock, denials=services.denials),
        list_log_keys=ListLogKeys(
            authorize=services.authorize, unit_of_work=services.unit_of_work, denials=services.denials
        ),
        rotate_log_key=RotateLogKey(
            unit_of_work=services.unit_of_work,
            signing=ports.security.log_signing,
            sequencer=services.sequencer,
            denials=services.denials,
        ),
    )
