"""What happens to a role that nobody holds concerns no token."""

from __future__ import annotations

from datetime import timedelta

from tests.support.people import World, new_world
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.settings import Limit, LoginRateLimit


async def changed_again_and_again(world: World, times: int) -> int:
    """The number of change records that a holder of `roles:write` causes with a role that nobody holds."""
    vandal = await world.user("roles:write", "logs:read")
    role = await world.role(name="nobodys")
    before = world.ubr.authenticate.authorize.session_cache.position
    assert before is not None
    for each in range(times):
        changes = RoleChanges(permissions=[] if each % 2 else ["logs:read"])
        await world.ubr.update_role(UpdateRoleCommand(role_id=role.id, changes=changes), actor=vandal.actor)
    cache = world.ubr.authenticate.authorize.session_cache
    await cache.poll_feed()
    assert cache.position is not None
    return cache.position.number - before.number


async def test_its_changes_are_not_told_to_verifiers_which_would_refuse_the_tokens_of_everybody() -> None:
    """121 of them also use up the refreshes of each session that has to refresh in between."""
    limit = LoginRateLimit(Limit(10, timedelta(minutes=1)), Limit(100, timedelta(minutes=1)))
    async with new_world(login_rate_limit=limit) as world:
        person = await world.user()
        await world.alive(person.tokens)
        # the members of this world are themselves told of: their roles were assigned before
        assert await changed_again_and_again(world, 6) <= 1
