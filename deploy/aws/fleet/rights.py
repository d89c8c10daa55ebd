"""The rights of ubr in Redis. Without AWS, so that a test of ubr can give them to a real server."""

from __future__ import annotations

from typing import Final

REDIS_RIGHTS: Final = (
    "resetkeys resetchannels ~ubr:* &ubr:* -@all "
    "+hello +auth +ping +select +eval +evalsha +get +set +del +pttl +pexpire +time +info "
    "+publish +subscribe +unsubscribe"
)
"""Keys and channels that begin with `ubr:`, and the commands that ubr and its `doctor` send."""
