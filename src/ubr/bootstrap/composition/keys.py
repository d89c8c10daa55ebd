"""Builds the use cases of signing keys."""

from __future__ import annotations

from ubr.application.app import KeyUseCases
from ubr.application.keys.get_public_keys import GetPublicKeys
from ubr.application.keys.list_signing_keys import ListSigningKeys
from ubr.application.keys.revoke_signing_key import RevokeSigningKey
from ubr.application.keys.rewrap_signing_keys import RewrapSigningKeys
from ubr.application.keys.rotate_signing_key import RotateSigningKey
from ubr.bootstrap.ports import Ports
from ubr.bootstrap.services import Services


def key_use_cases(ports: Ports, services: Services) -> KeyUseCases:
    return KeyUseCases(
        list_signing_keys=ListSigningKeys(
            authorize=services.authorize, unit_of_work=services.unit_of_work, denials=services.denials
        ),
        rotate_signing_key=RotateSigningKey(
            unit_of_work=services.unit_of_work, access_tokens=ports.security.access_tokens, denials=services.denials
        ),
        revoke_signing_key=RevokeSigningKey(
            unit_of_work=services.unit_of_work, access_tokens=ports.security.access_tokens, denials=services.denials
        ),
        rewrap_signing_keys=RewrapSigningKeys(
            hasher=ports.security.hasher,
            machine_keys=ports.security.machine_keys,
            unit_of_work=services.unit_of_work,
            access_tokens=ports.security.access_tokens,
            log_signing=ports.security.log_signing,
            denials=services.denials,
        ),
        get_public_keys=GetPublicKeys(
            access_tokens=ports.security.access_tokens, keys=services.keys, clock=ports.clock
        ),
    )
