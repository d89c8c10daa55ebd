"""An account gives way only if nobody has a claim to it."""

from __future__ import annotations

from tests.support.people import PASSWORD, World
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.accounts.verify_email import VerifyEmailCommand
from ubr.domain.actor import SYSTEM

STRANGER, PERSON = "stranger@example.net", "person@example.org"


async def stranger_wants(world: World, email: str) -> list[str]:
    """The tokens of the links that a stranger's request for this e-mail brings to it."""
    await world.ubr.register_user(RegisterUserCommand(email=STRANGER, password=PASSWORD))
    await world.ubr.verify_email(VerifyEmailCommand(token=await world.link(STRANGER), password=PASSWORD))
    member = await world.logged_in(STRANGER)
    await world.mails()
    command = RequestEmailChangeCommand(email=email, current_password=PASSWORD)
    await world.ubr.request_email_change(command, actor=member.actor)
    return [mail.text.partition("#token=")[2].split()[0] for mail in await world.mails() if "#token=" in mail.text]


async def test_an_account_that_an_operator_made_with_a_password_does_not_give_way(world: World) -> None:
    made = await world.ubr.create_user(CreateUserCommand(email=PERSON, password=PASSWORD), actor=SYSTEM)
    await world.mails()
    for token in await stranger_wants(world, PERSON):
        await world.ubr.verify_email(VerifyEmailCommand(token=token))
    assert (await world.seen(made.id)).email == PERSON


async def test_an_account_whose_e_mail_an_operator_changed_does_not_give_way(world: World) -> None:
    """The operator may have mistyped it. Its owner proved another mailbox long ago."""
    await world.ubr.register_user(RegisterUserCommand(email="old@example.org", password=PASSWORD))
    await world.ubr.verify_email(VerifyEmailCommand(token=await world.link("old@example.org"), password=PASSWORD))
    owner = await world.logged_in("old@example.org")
    world.clock.move(days=400)
    change = UpdateUserCommand(user_id=owner.id, changes=UserChanges(email=PERSON))
    await world.ubr.update_user(change, actor=SYSTEM)
    await world.mails()
    for token in await stranger_wants(world, PERSON):
        await world.ubr.verify_email(VerifyEmailCommand(token=token))
    assert (await world.seen(owner.id)).email == PERSON
