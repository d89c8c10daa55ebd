"""For programs that build on ubr: all of it in memory, with a clock that moves only on request.

    from ubr.testing import Double

    with Double(permissions=["notes:edit"]) as double:
        editor = double.a_user(permissions=["notes:edit"])
        … await double.ubr.get_user(GetUserCommand(user_id=editor.id), actor=editor.actor)

With pytest, the fixtures `ubr_double`, `ubr`, `ubr_clock`, `ubr_admin`, `a_user`, `ubr_http` and `ubr_http_sync` are
available without an import, with every plugin for asynchronous tests. `docs/testing.md` describes them.
"""

from ubr.bootstrap.double import TINY_HASHING
from ubr.testing.double import Double, DoubleUser
from ubr.testing.memory import MovableClock, delivered, in_memory, log_in

__all__ = ["TINY_HASHING", "Double", "DoubleUser", "MovableClock", "delivered", "in_memory", "log_in"]
