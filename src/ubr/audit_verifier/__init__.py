"""Verifies an export of the audit log without ubr: `python -m ubr.audit_verifier EXPORT`.

It needs only the standard library, `cryptography` and `msgspec`, no database and no secret, and shares only the domain
with the service.
"""

from ubr.audit_verifier.export import NotAnExport, check_export
from ubr.audit_verifier.files import read_keys, read_note
from ubr.audit_verifier.report import report
from ubr.audit_verifier.signatures import verify_signature

__all__ = ["NotAnExport", "check_export", "read_keys", "read_note", "report", "verify_signature"]
