from __future__ import annotations

from functools import partial

import msgspec
from msgspec.structs import replace

from ubr.application.access.authorization import authority
from ubr.application.kernel.command import Command
from ubr.application.kernel.denials import denials_recorded
from ubr.application.kernel.representations import SigningKeyResult, signing_key_result
from ubr.application.kernel.retry import retry_on_conflict
from ubr.application.kernel.secret_check import in_use, require_one_open
from ubr.application.ports.audit import DenialLog
from ubr.application.ports.keys import AccessTokens
from ubr.application.ports.unit_of_work import EndingUnitOfWork, Transaction
from ubr.domain.actor import Actor, System
from ubr.domain.errors import SigningKeyNotFound
from ubr.domain.events import SigningKeyCreated, SigningKeyRevoked
from ubr.domain.keys.signing_key import SigningKey, scheduled, signer
from ubr.domain.revocation.changes import Change
from ubr.domain.roles.permissions import EVERYTHING


class RevokeSigningKeyCommand(Command, frozen=True, kw_only=True):
    """`lost_secret` confirms that the secret which encrypted the keys in use is lost, and that a new one is used."""

    kid: str
    lost_secret: bool = False


class RevokeSigningKey(msgspec.Struct, frozen=True):
    """Revoke a signing key, as after a leak: once this returns, no worker accepts its tokens.

    - Requires `*`, and of a user a login within the last 10 minutes.
    - Sessions continue: clients with a token of that key get a new one by refreshing.
    - If it was the signing key, the published key signs at once; if there is none, a new key does.
    - If it was the published key, the current one continues to sign.
    - Repeating it changes nothing.
    - Refused if no secret decrypts a key in use, unless `lost_secret` is set.
    """

    unit_of_work: EndingUnitOfWork
    access_tokens: AccessTokens
    denials: DenialLog

    @denials_recorded
    @retry_on_conflict
    async def __call__(self, command: RevokeSigningKeyCommand, /, *, actor: Actor | System) -> SigningKeyResult:
        """The key that signs from now on.

        Errors: `SigningKeyNotFound`, `SecretMismatch`, `ReauthenticationRequired`.
        """
        async with self.unit_of_work.ending(Change("key", command.kid), actor=actor) as tx:
            who = await authority(tx, actor)
            who.require(EVERYTHING)
            who.require_recent_login(tx.now)
            keys = {key.kid: key for key in await tx.signing_keys.all_to_change()}
            key = keys.get(command.kid)
            if key is None:
                raise SigningKeyNotFound(f"Signing key {command.kid} not found")
            if not command.lost_secret:
                used = in_use(keys.values(), tx.now)
                require_one_open(*(partial(self.access_tokens.check, one) for one in used))
            if not key.revoked:
                keys[key.kid] = self.access_tokens.revoke(key, tx.now)
                await tx.signing_keys.save(keys[key.kid])
                tx.record(SigningKeyRevoked(kid=key.kid))
            signing = await self._signing(tx, keys)
        return signing_key_result(signing, tx.now)

    async def _signing(self, tx: Transaction, keys: dict[str, SigningKey]) -> SigningKey:
        """The key that signs now; it is made, or brought forward, if there is none."""
        found = signer(keys.values(), tx.now)
        if found is None:
            found = self.access_tokens.generate(tx.now)
            tx.record(SigningKeyCreated(kid=found.kid))
            await tx.signing_keys.add(found)
        elif found.signs_from > tx.now:
            found = replace(found, signs_from=tx.now)
            await tx.signing_keys.save(found)
        keys[found.kid] = found
        for key in scheduled(keys.values(), tx.now):
            keys[key.kid] = key
            await tx.signing_keys.save(key)
        return keys[found.kid]
