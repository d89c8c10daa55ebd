"""For other Python services: identifies the user of a request without a call to ubr, and never from data older than an
end.

    async with Verifier("https://users.example.org", Credentials(email, password), issuer=…, audience=…) as verifier:
        token = await verifier.verify(access_token)

Needs `ubr[verifier]`. See `docs/verifier.md`.
"""

from ubr.verifier.errors import NotFresh, PermissionsOmitted, Refused, VerifierError
from ubr.verifier.source import Access, Credentials
from ubr.verifier.tokens import VerifiedToken
from ubr.verifier.verifier import Verifier

__all__ = [
    "Access",
    "Credentials",
    "NotFresh",
    "PermissionsOmitted",
    "Refused",
    "VerifiedToken",
    "Verifier",
    "VerifierError",
]
