"""Who reads and retries queued mails."""

from uuid import uuid4

import pytest

from tests.support.people import World
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.mail.list_mail import ListMailCommand
from ubr.application.mail.retry_mail import RetryMailCommand
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import Forbidden, Unauthenticated


async def test_an_administrator_lists_and_retries(world: World) -> None:
    admin = await world.admin()
    await world.ubr.create_user(CreateUserCommand(email="waiting@example.org"), actor=SYSTEM)
    mails = (await world.ubr.list_mail(ListMailCommand(), actor=admin.actor)).items
    [mail] = [mail for mail in mails if mail.email == "waiting@example.org"]
    await world.acts()
    await world.ubr.retry_mail(RetryMailCommand(mail_id=mail.id), actor=admin.actor)
    [entry] = await world.acts()
    assert (entry.action, entry.actor_id) == ("mail.retried", admin.id)


async def test_others_do_not(world: World) -> None:
    manager = await world.user("users:write", "users:read", "logs:read")
    with pytest.raises(Forbidden):
        await world.ubr.list_mail(ListMailCommand(), actor=manager.actor)
    with pytest.raises(Forbidden):
        await world.ubr.retry_mail(RetryMailCommand(mail_id=uuid4()), actor=manager.actor)
    with pytest.raises(Unauthenticated):
        await world.ubr.retry_mail(RetryMailCommand(mail_id=uuid4()), actor=None)  # type: ignore[arg-type]
