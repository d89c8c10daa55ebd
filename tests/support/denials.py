"""Recording of denials in any units of work, for use cases that are composed by hand."""

from __future__ import annotations

from ubr.adapters.security.system import utc_now
from ubr.application.audit.denials import DenialRecorder
from ubr.application.ports.unit_of_work import UnitOfWork


def denials_in(unit_of_work: UnitOfWork) -> DenialRecorder:
    return DenialRecorder(unit_of_work, utc_now)
