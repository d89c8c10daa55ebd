"""The assemblies that the tests look at. Without AWS CDK, which starts node when it is imported."""

from __future__ import annotations

from typing import Any, Final

VERSION: Final = "1.2.3"

CHECKED: Final = ("production", "small")
"""The assemblies with the rules of cdk-nag."""
CHANGES: Final[dict[str, dict[str, Any]]] = {
    "version": {},
    "instances": {"service": {"instances": 3}},
    "storage": {"database": {"storage_gib": 40}},
    "retention": {"logs": {"retention_days": 90}},
    "schedule": {"audit": {"every_hours": 12}},
    "mail": {
        "mail": {
            "sender": "ubr@example.com",
            "secret": "arn:aws:secretsmanager:eu-central-1:111122223333:secret:ubr-small/mail-AbCdEf",
        }
    },
}
"""The changed parameters of the small environment, by the name of their assembly."""
