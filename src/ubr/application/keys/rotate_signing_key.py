from __future__ import annotations

from functools import partial

import msgspec

from ubr.application.access.authorization import authority
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.representations import SigningKeyResult, signing_key_result
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.kernel.secret_check import in_use, require_one_open
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.unit_of_work import EndingUnitOfWork
from ubr.domain.actor import Actor, System
from ubr.domain.events import SigningKeyCreated, SigningKeyRotated
from ubr.domain.keys.signing_key import NOTICE, scheduled
from ubr.domain.revocation.changes import KEYS_CHANGED
from ubr.domain.roles.permissions import EVERYTHING


class RotateSigningKey(msgspec.Struct, frozen=True):
    """Replace the signing key with a new one of the configured algorithm.

    - Requires `*`, and of a user a login within the last 10 minutes.
    - The new key is published at once, and signs once no cached list of keys can lack it.
    - The current key is published and accepted until its last token has expired.
    - Refused if no secret decrypts a key in use.
    - While a published key of that algorithm is not yet signing, no other is created: two concurrent rotations
      return the same key.
    """

    unit_of_work: EndingUnitOfWork
    access_tokens: AccessTokens
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, *, actor: Actor | System) -> SigningKeyResult:
        """The key that will sign. Errors: `ReauthenticationRequired`; `SecretMismatch`."""
        async with self.unit_of_work.ending(KEYS_CHANGED, actor=actor) as tx:
            who = await authority(tx, actor)
            who.require(EVERYTHING)
            who.require_recent_login(tx.now)
            keys = await tx.signing_keys.all_to_change()
            require_one_open(*(partial(self.access_tokens.check, key) for key in in_use(keys, tx.now)))
            new = self.access_tokens.generate(tx.now, signs_from=tx.now + NOTICE)
            waiting = [key for key in keys if key.state_at(tx.now) == "published" and key.algorithm == new.algorithm]
            if waiting:
                return signing_key_result(waiting[0], tx.now)
            await tx.signing_keys.add(new)
            tx.record(SigningKeyCreated(kid=new.kid))
            for key in scheduled([*keys, new], tx.now):
                await tx.signing_keys.save(key)
                tx.record(SigningKeyRotated(kid=key.kid, successor=new.kid))
        return signing_key_result(new, tx.now)
