"""For other Python services: identifies the user of a request without a call to ubr, and never from data older than an
end.

    async with Verifier("https://users.example.org", ServiceKey(key), issuer=…, audience=…) as verifier:
        token = await verifier.verify(access_token)

Takes `ubr[verifier]`. By itself it is the package `ubr-verifier`, imported as `ubr_verifier`. See `docs/verifier.md`.
"""

from ubr.extras import require

require("verifier")

from ubr.verifier.errors import NotFresh, PermissionsOmitted, Refused, VerifierError  # noqa: E402
from ubr.verifier.source import Access, Credentials, ServiceKey  # noqa: E402
from ubr.verifier.tokens import VerifiedToken  # noqa: E402
from ubr.verifier.verifier import Verifier  # noqa: E402

__all__ = [
    "Access",
    "Credentials",
    "NotFresh",
    "PermissionsOmitted",
    "Refused",
    "ServiceKey",
    "VerifiedToken",
    "Verifier",
    "VerifierError",
]
