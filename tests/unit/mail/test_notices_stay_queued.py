"""A notice reaches the old mailbox, whoever has that e-mail meanwhile."""

from __future__ import annotations

from tests.support.people import PASSWORD, World
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges

OWNER = "owner@example.org"


async def test_the_old_mailbox_is_told_although_an_account_with_its_e_mail_came_and_went(world: World) -> None:
    owner = await world.user(email=OWNER)
    operator = await world.user("users:write")
    await world.mails()
    change = UpdateUserCommand(user_id=owner.id, changes=UserChanges(email="thief@example.net"))
    await world.ubr.update_user(change, actor=operator.actor)
    # Before the next round of the outbox, or while the mail server is down:
    await world.ubr.register_user(RegisterUserCommand(email=OWNER, password=PASSWORD))
    passing = await world.logged_in(OWNER)
    await world.ubr.delete_user(DeleteUserCommand(user_id=passing.id), actor=passing.actor)
    assert OWNER in [mail.to for mail in await world.mails()]
