"""For other services in Python: who sent this request, without asking ubr each time, and never from before an end.

    async with Verifier("https://users.example.org", Credentials(email, password), issuer=…, audience=…) as verifier:
        token = await verifier.verify(access_token)

Needs `ubr[verifier]`. `docs/verifier.md` has the whole of it.
"""

from ubr.verifier.errors import NotFresh, Refused, VerifierError
from ubr.verifier.source import Access, Credentials
from ubr.verifier.tokens import VerifiedToken
from ubr.verifier.verifier import Verifier

__all__ = ["Access", "Credentials", "NotFresh", "Refused", "VerifiedToken", "Verifier", "VerifierError"]
