"""What the mail decides: forgotten passwords, verified e-mails, changes of e-mail and their undoing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from tests.support.people import OTHER_PASSWORD, PASSWORD, THIRD_PASSWORD, Member, World, new_world, token_in
from ubr.application.accounts.create_admin import CreateAdminCommand
from ubr.application.accounts.create_user import CreateUserCommand
from ubr.application.accounts.delete_user import DeleteUserCommand
from ubr.application.accounts.register_user import RegisterUserCommand
from ubr.application.accounts.request_email_change import RequestEmailChangeCommand
from ubr.application.accounts.request_password_reset import RequestPasswordResetCommand
from ubr.application.accounts.resend_verification import ResendVerificationCommand
from ubr.application.accounts.reset_password import ResetPasswordCommand
from ubr.application.accounts.undo_email_change import UndoEmailChangeCommand
from ubr.application.accounts.update_user import UpdateUserCommand, UserChanges
from ubr.application.accounts.verify_email import VerifyEmailCommand
from ubr.application.kernel.origin import Origin, calling_from
from ubr.application.kernel.representations import UserResult
from ubr.application.mail.list_mail import ListMailCommand
from ubr.application.mail.retry_mail import RetryMailCommand
from ubr.application.operations.acknowledge_restore import AcknowledgeRestoreCommand
from ubr.application.roles.update_role import RoleChanges, UpdateRoleCommand
from ubr.bootstrap import open_environment
from ubr.domain.accounts.user import UserStatus
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import (
    EmailTaken,
    Forbidden,
    Invalid,
    InvalidCredentials,
    InvalidLink,
    NotFound,
    RateLimited,
    WeakPassword,
    WrongPassword,
)
from ubr.settings import Limit, LoginRateLimit, Settings
from ubr.testing import TINY_HASHING, MovableClock

OWNER, OTHER, THIRD = "owner@example.org", "other@example.org", "third@example.org"
UNKNOWN = "ubr_link_" + "A" * 43
MINUTE = timedelta(minutes=1)


def register(world: World, email: str = OWNER, name: str | None = None) -> Awaitable[UserResult | None]:
    """By a stranger, as the service is set."""
    return world.ubr.register_user(RegisterUserCommand(email=email, password=PASSWORD, full_name=name))


async def forgot(world: World, email: str = OWNER) -> None:
    await world.ubr.request_password_reset(RequestPasswordResetCommand(email=email))


async def reset(world: World, token: str, password: str = OTHER_PASSWORD) -> None:
    await world.ubr.reset_password(ResetPasswordCommand(token=token, new_password=password))


async def verify(world: World, token: str, password: str | None = PASSWORD) -> None:
    command = VerifyEmailCommand(token=token)
    await world.ubr.verify_email(command if password is None else VerifyEmailCommand(token=token, password=password))


async def resend(world: World, email: str = OWNER) -> None:
    await world.ubr.resend_verification(ResendVerificationCommand(email=email))


async def ask_change(world: World, member: Member, email: str = OTHER, password: str = PASSWORD) -> None:
    command = RequestEmailChangeCommand(email=email, current_password=password)
    await world.ubr.request_email_change(command, actor=member.actor)


async def undo(world: World, token: str) -> None:
    await world.ubr.undo_email_change(UndoEmailChangeCommand(token=token))


async def verified(world: World, email: str = OWNER) -> Member:
    """Somebody logged in whose e-mail is verified."""
    await register(world, email)
    await verify(world, await world.link(email))
    return await world.logged_in(email)


async def kinds(world: World) -> list[tuple[str, str]]:
    """To whom mails went since the last time, and their subjects' beginnings."""
    return [(mail.to, mail.subject) for mail in await world.mails()]


@pytest.fixture
async def by_mail() -> AsyncIterator[World]:
    """Where registration is `verified`."""
    async with new_world(registration="verified") as made:
        yield made


# --- a forgotten password --------------------------------------------------------------------------------------------


async def test_a_forgotten_password_is_replaced(world: World) -> None:
    member = await verified(world)
    await world.acts()
    await forgot(world, "Owner@Example.org")
    assert await world.acts() == [], "nothing is known of it yet"
    token = await world.link(OWNER)
    await reset(world, token)
    assert [entry.action for entry in await world.acts()] == [
        "link.issued", "user.password_reset", "session.revoked"
    ]  # fmt: skip
    assert not await world.alive(member.tokens)
    with pytest.raises(InvalidCredentials):
        await world.log_in(OWNER)
    await world.log_in(OWNER, OTHER_PASSWORD)
    with pytest.raises(InvalidLink):
        await reset(world, token, THIRD_PASSWORD)


@pytest.mark.parametrize("who", ["unknown", "disabled", "deleted"])
async def test_users_who_cannot_log_in_get_no_mail(world: World, who: str) -> None:
    member = await verified(world)
    if who == "disabled":
        await world.set_status(member.id, UserStatus.DISABLED)
    if who == "deleted":
        await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)
    await world.acts()
    await forgot(world, "nobody@example.org" if who == "unknown" else OWNER)
    assert await world.mails() == []
    assert await world.acts() == []
    assert (await world.ubr.list_mail(ListMailCommand(), actor=SYSTEM)).items == [], "and nothing is kept of it"


async def test_mail_goes_to_the_stored_address(world: World) -> None:
    await register(world, "Owner@example.org")
    await world.mails()
    await forgot(world, "OWNER@EXAMPLE.ORG")
    assert [mail.to for mail in await world.mails()] == ["Owner@example.org"]


async def test_a_link_is_good_for_half_an_hour(world: World) -> None:
    await verified(world)
    await forgot(world)
    token = await world.link()
    world.clock.move(minutes=29, seconds=59)
    await reset(world, token)
    await forgot(world)
    token = await world.link()
    world.clock.move(minutes=30)
    with pytest.raises(InvalidLink):
        await reset(world, token, THIRD_PASSWORD)


async def test_a_newer_link_makes_the_older_worthless(world: World) -> None:
    await verified(world)
    await forgot(world)
    older = await world.link()
    await forgot(world)
    newer = await world.link()
    with pytest.raises(InvalidLink):
        await reset(world, older)
    await reset(world, newer)


@pytest.mark.parametrize("password", ["short", OWNER, "password" * 2])
async def test_a_weak_password_leaves_the_link_good(world: World, password: str) -> None:
    await verified(world)
    await forgot(world)
    token = await world.link()
    with pytest.raises(WeakPassword) as failure:
        await reset(world, token, password)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/new_password"]
    await reset(world, token)


def change_password_by_system(world: World, member: Member) -> Awaitable[object]:
    command = CreateAdminCommand(email=member.email, password=THIRD_PASSWORD, take_over=True)
    return world.ubr.create_admin(command, actor=SYSTEM)


def new_email(world: World, member: Member) -> Awaitable[object]:
    command = UpdateUserCommand(user_id=member.id, changes=UserChanges(email=THIRD))
    return world.ubr.update_user(command, actor=SYSTEM)


async def off_and_on(world: World, member: Member) -> None:
    await world.set_status(member.id, UserStatus.DISABLED)
    await world.set_status(member.id, UserStatus.ACTIVE)


def delete(world: World, member: Member) -> Awaitable[object]:
    return world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)


def restore(world: World, member: Member) -> Awaitable[object]:
    return world.ubr.acknowledge_restore(AcknowledgeRestoreCommand(), actor=SYSTEM)


@pytest.mark.parametrize("act", [change_password_by_system, new_email, off_and_on, delete, restore])
async def test_links_end_with_what_they_rest_on(
    world: World, act: Callable[[World, Member], Awaitable[object]]
) -> None:
    member = await verified(world)
    await forgot(world)
    token = await world.link()
    await act(world, member)
    with pytest.raises(InvalidLink):
        await reset(world, token)


@pytest.mark.parametrize("token", ["", "x", UNKNOWN, UNKNOWN + "A", "ubr_rt_" + "A" * 43, UNKNOWN[:-1] + "B"])
async def test_every_invalid_link_gets_the_same_error(world: World, token: str) -> None:
    for act in (reset(world, token), verify(world, token), undo(world, token)):
        with pytest.raises(InvalidLink) as failure:
            await act
        assert [(flaw.pointer, flaw.detail) for flaw in failure.value.flaws] == [
            ("/token", "is not a valid link token, or has expired")
        ]


async def test_a_link_is_good_for_nothing_else(world: World) -> None:
    member = await verified(world)
    await forgot(world)
    to_reset = await world.link()
    await ask_change(world, member)
    [to_change] = [token_in(mail) for mail in await world.mails() if mail.to == OTHER]
    for act in (verify(world, to_reset), verify(world, to_reset, None), undo(world, to_reset)):
        with pytest.raises(InvalidLink):
            await act
    for act in (reset(world, to_change), undo(world, to_change)):
        with pytest.raises(InvalidLink):
            await act
    await reset(world, to_reset)


async def test_one_of_many_redemptions_of_one_link_succeeds(world: World) -> None:
    await verified(world)
    await forgot(world)
    token = await world.link()
    done = await asyncio.gather(*(reset(world, token) for _ in range(20)), return_exceptions=True)
    assert [outcome for outcome in done if not isinstance(outcome, InvalidLink)] == [None]


async def test_the_log_says_who_asked(world: World) -> None:
    await verified(world)
    await world.acts()
    with calling_from(Origin(ip="192.0.2.7", request_id="asked", request_id_given=True)):
        await forgot(world)
    await world.mails()
    [entry] = await world.acts()
    assert (entry.ip, entry.request_id, entry.data) == ("192.0.2.7", "asked", {"kind": "password_reset"})


# --- an account in open registration, and its real owner -------------------------------------------------------------


async def test_a_registrant_verifies_with_the_password(world: World) -> None:
    await register(world, name="Somebody")
    member = await world.logged_in(OWNER)
    token = await world.link(OWNER)
    assert not (await world.seen(member.id)).email_verified
    await world.acts()
    await verify(world, token)
    assert [entry.action for entry in await world.acts()] == ["user.email_verified"]
    user = await world.seen(member.id)
    assert (user.email_verified, user.full_name) == (True, "Somebody")
    assert await world.alive(member.tokens)
    with pytest.raises(InvalidLink):
        await verify(world, token)


async def test_without_a_password_nothing_is_verified_and_nothing_lost(world: World) -> None:
    await register(world)
    token = await world.link()
    with pytest.raises(Invalid) as failure:
        await verify(world, token, None)
    assert [(flaw.pointer, flaw.detail) for flaw in failure.value.flaws] == [("/password", "is required")]
    await verify(world, token)


async def verify_with_another(world: World) -> None:
    await resend(world)
    await verify(world, await world.link(OWNER), OTHER_PASSWORD)


async def reset_it(world: World) -> None:
    await forgot(world)
    await reset(world, await world.link(OWNER))


@pytest.mark.parametrize("claim", [verify_with_another, reset_it])
async def test_the_owner_of_an_e_mail_keeps_nothing_of_who_registered_with_it(
    world: World, claim: Callable[[World], Awaitable[None]]
) -> None:
    await register(world, name="Stranger")
    stranger = await world.logged_in(OWNER)
    await world.mails()
    await ask_change(world, stranger)  # a way back in, were it to last
    [to_change] = [token_in(mail) for mail in await world.mails() if mail.to == OTHER]
    await world.acts()
    await claim(world)
    actions = [entry.action for entry in await world.acts()]
    assert {"user.claimed", "user.password_reset", "session.revoked"} <= {*actions}
    assert not await world.alive(stranger.tokens)
    with pytest.raises(InvalidCredentials):
        await world.log_in(OWNER)
    owner = await world.logged_in(OWNER, OTHER_PASSWORD)
    user = await world.seen(owner.id)
    assert (user.full_name, user.email_verified) == (None, True)
    with pytest.raises(InvalidLink):
        await verify(world, to_change, None)


async def test_a_password_that_is_not_the_one_has_to_be_a_good_one(world: World) -> None:
    await register(world)
    token = await world.link()
    with pytest.raises(WeakPassword):
        await verify(world, token, "short")
    await verify(world, token)


async def test_a_verified_e_mail_is_not_verified_again(world: World) -> None:
    await verified(world)
    await resend(world)
    assert await world.mails() == []


async def test_a_name_nobody_vouches_for_is_not_mailed(world: World) -> None:
    await register(world, name="Buy now at https://spam.example")
    await forgot(world)
    for mail in await world.mails():
        assert "spam" not in mail.text + mail.html + mail.subject


# --- registration by mail --------------------------------------------------------------------------------------------


async def ask(world: World, email: str = OWNER, name: str | None = None) -> None:
    command = RegisterUserCommand(email=email, full_name=name)
    assert await world.ubr.register_user(command) is None


async def test_the_mail_makes_the_account(by_mail: World) -> None:
    await ask(by_mail, name="Somebody")
    assert await by_mail.acts() == []
    token = await by_mail.link(OWNER)
    with pytest.raises(InvalidCredentials):
        await by_mail.log_in(OWNER)
    await verify(by_mail, token)
    member = await by_mail.logged_in(OWNER)
    user = await by_mail.seen(member.id)
    assert (user.email, user.full_name, user.email_verified, user.roles) == (
        OWNER,
        None,
        True,
        ["user"],
    )  # a stranger's words do not stay
    assert [(e.action, e.actor_id) for e in await by_mail.acts() if e.action.startswith("user")] == [
        ("user.registered", member.id)
    ]
    with pytest.raises(InvalidLink):
        await verify(by_mail, token)


async def test_no_password_is_taken_before(by_mail: World) -> None:
    with pytest.raises(Invalid) as failure:
        await register(by_mail)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/password"]
    await ask(by_mail)
    token = await by_mail.link()
    for password in (None, "short"):
        with pytest.raises(Invalid) as failure:
            await verify(by_mail, token, password)
        assert [flaw.pointer for flaw in failure.value.flaws] == ["/password"]
    await verify(by_mail, token)


async def test_only_a_mail_reveals_that_an_account_exists(by_mail: World) -> None:
    await ask(by_mail)
    await verify(by_mail, await by_mail.link())
    await ask(by_mail, "OWNER@example.org", name="Somebody else")
    [mail] = await by_mail.mails()
    assert mail.to == OWNER
    assert "#token=" not in mail.text + mail.html
    assert "Somebody else" not in mail.text + mail.html


async def test_a_registration_is_sent_again(by_mail: World) -> None:
    await ask(by_mail, name="Somebody")
    older = await by_mail.link()
    by_mail.clock.move(minutes=29)
    await resend(by_mail)
    newer = await by_mail.link(OWNER)
    with pytest.raises(InvalidLink):
        await verify(by_mail, older)
    await verify(by_mail, newer)
    assert (await by_mail.seen((await by_mail.logged_in(OWNER)).id)).full_name is None
    await resend(by_mail, THIRD)
    assert await by_mail.mails() == []


async def test_a_registration_that_was_too_slow_starts_again(by_mail: World) -> None:
    await ask(by_mail)
    await by_mail.mails()
    by_mail.clock.move(minutes=30)
    await resend(by_mail)
    assert await by_mail.mails() == []
    await ask(by_mail)
    await verify(by_mail, await by_mail.link(OWNER))


async def test_an_account_that_was_made_meanwhile_stays(by_mail: World) -> None:
    await ask(by_mail)
    token = await by_mail.link()
    await by_mail.register(OWNER, OTHER_PASSWORD)
    with pytest.raises(EmailTaken):
        await verify(by_mail, token)
    await by_mail.log_in(OWNER, OTHER_PASSWORD)


# --- an account that was made for somebody ---------------------------------------------------------------------------


async def test_an_invited_user_sets_a_password(world: World) -> None:
    command = CreateUserCommand(email=OWNER, full_name="Somebody")
    made = await world.ubr.create_user(command, actor=SYSTEM)
    token = await world.link(OWNER)
    await reset(world, token)
    user = await world.seen(made.id)
    assert (user.full_name, user.email_verified) == ("Somebody", True)
    await world.log_in(OWNER, OTHER_PASSWORD)


async def test_a_user_with_a_password_gets_no_invitation(world: World) -> None:
    await world.ubr.create_user(CreateUserCommand(email=OWNER, password=PASSWORD), actor=SYSTEM)
    assert await world.mails() == []


# --- another e-mail --------------------------------------------------------------------------------------------------


async def changed(world: World, member: Member, email: str = OTHER, password: str = PASSWORD) -> str:
    """Change the e-mail; the token with which it is taken back."""
    await ask_change(world, member, email, password)
    [to_change] = [token_in(mail) for mail in await world.mails() if mail.to == email]
    await verify(world, to_change, None)
    return await world.link()


async def test_an_e_mail_is_changed_by_whoever_has_the_new_one(world: World) -> None:
    member = await verified(world)
    other = await world.logged_in(OWNER)
    await world.acts()
    await ask_change(world, member)
    mails = await world.mails()
    assert {mail.to for mail in mails} == {OWNER, OTHER}
    [notice] = [mail for mail in mails if mail.to == OWNER]
    assert "#token=" not in notice.text + notice.html
    assert (await world.seen(member.id)).email == OWNER
    [token] = [token_in(mail) for mail in mails if mail.to == OTHER]
    with pytest.raises(Invalid) as failure:
        await verify(world, token)
    assert [flaw.pointer for flaw in failure.value.flaws] == ["/password"]
    await verify(world, token, None)
    user = await world.seen(member.id)
    assert (user.email, user.email_verified) == (OTHER, True)
    assert (await world.alive(member.tokens), await world.alive(other.tokens)) == (True, False)
    assert [(entry.action, entry.actor_id) for entry in await world.acts()] == [
        ("user.email_change_asked", member.id),
        ("link.issued", None),
        ("user.email_changed", member.id),
        ("session.revoked", member.id),
    ]
    await world.log_in(OTHER)
    with pytest.raises(InvalidCredentials):
        await world.log_in(OWNER)


async def test_the_password_is_asked_for(world: World) -> None:
    member = await verified(world)
    with pytest.raises(WrongPassword):
        await ask_change(world, member, password=OTHER_PASSWORD)
    assert await world.mails() == []
    for email, pointer in ((OWNER, "/email"), ("OWNER@example.org", "/email"), ("nonsense", "/email")):
        with pytest.raises(Invalid) as failure:
            await ask_change(world, member, email)
        assert [flaw.pointer for flaw in failure.value.flaws] == [pointer]


async def test_that_an_e_mail_has_an_account_is_told_to_its_holder_alone(world: World) -> None:
    member = await verified(world)
    await verified(world, OTHER)
    await world.mails()
    await ask_change(world, member)
    mails = await world.mails()
    assert {mail.to for mail in mails} == {OWNER, OTHER}
    assert not any("#token=" in mail.text for mail in mails)


async def test_an_account_that_came_meanwhile_keeps_its_e_mail(world: World) -> None:
    member = await verified(world)
    await ask_change(world, member)
    token = await world.link(OTHER)
    await verified(world, OTHER)
    with pytest.raises(EmailTaken):
        await verify(world, token, None)
    assert (await world.seen(member.id)).email == OWNER


@pytest.mark.parametrize("meanwhile", [False, True])
async def test_whoever_proves_a_mailbox_gets_it_from_one_who_never_did(world: World, meanwhile: bool) -> None:
    member = await verified(world)
    if meanwhile:
        await ask_change(world, member)
    await register(world, OTHER, name="A Squatter")
    squatter = await world.logged_in(OTHER)
    await forgot(world, OTHER)
    if not meanwhile:
        await ask_change(world, member)
    [token] = [token_in(mail) for mail in await world.mails() if mail.to == OTHER and "new e-mail" in mail.subject]
    await resend(world, OTHER)
    await world.acts()
    await verify(world, token, None)
    user = await world.seen(member.id)
    assert (user.email, user.email_verified, user.full_name) == (OTHER, True, None)
    entries = await world.acts()
    assert [(entry.action, entry.actor_id, entry.target and entry.target.id) for entry in entries] == [
        ("session.revoked", member.id, str(squatter.actor.session_id)),
        ("user.deleted", member.id, str(squatter.id)),
        ("user.email_changed", member.id, str(member.id)),
    ]
    assert (await world.alive(member.tokens), await world.alive(squatter.tokens)) == (True, False)
    with pytest.raises(NotFound):
        await world.seen(squatter.id)
    assert [mail.to for mail in await world.mails()] == [OWNER], "nothing else goes to the mailbox about the squatter"
    await world.log_in(OTHER)


@pytest.mark.parametrize("trusted", ["a role", "invited", "disabled", "an administrator"])
async def test_an_account_that_an_operator_decided_about_keeps_its_e_mail(world: World, trusted: str) -> None:
    member = await verified(world)
    await ask_change(world, member)
    token = await world.link(OTHER)
    if trusted == "invited":
        await world.ubr.create_user(CreateUserCommand(email=OTHER), actor=SYSTEM)
    else:
        other = await world.register(OTHER)
        match trusted:
            case "a role":
                await world.assign(other.id, (await world.role()).name)
            case "an administrator":
                await world.assign(other.id, "admin")
            case _:
                await world.set_status(other.id, UserStatus.DISABLED)
    await world.mails()
    with pytest.raises(EmailTaken):
        await verify(world, token, None)
    await ask_change(world, member)
    assert "#token=" not in "".join(mail.text for mail in await world.mails())


async def test_an_unverified_mailbox_gets_no_notice(world: World) -> None:
    """It may belong to somebody who has never asked for anything."""
    await register(world)
    member = await world.logged_in(OWNER)
    await world.mails()
    await ask_change(world, member)
    assert [mail.to for mail in await world.mails()] == [OTHER]


async def test_changes_of_e_mail_are_counted_by_account_and_by_both_e_mails() -> None:
    async with new_world(login_rate_limit=LoginRateLimit(Limit(10, MINUTE), None)) as world:
        member, other = await verified(world), await verified(world, THIRD)
        for number in range(5):
            await ask_change(world, member, f"new{number}@example.org")
        with pytest.raises(RateLimited):
            await ask_change(world, member, "new5@example.org")
        assert len([mail for mail in await world.mails() if mail.to == OWNER]) == 5

        for _ in range(4):
            await ask_change(world, other, "new0@example.org")
        with pytest.raises(RateLimited):
            await ask_change(world, other, "new0@example.org")
        await world.mails()

        # A new account with the same e-mail does not begin anew.
        await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)
        again = await verified(world)
        with pytest.raises(RateLimited):
            await ask_change(world, again, "new6@example.org")
        assert await world.mails() == []


async def test_an_account_with_another_e_mail_does_not_begin_anew() -> None:
    async with new_world(login_rate_limit=LoginRateLimit(Limit(10, MINUTE), None)) as world:
        member = await verified(world)
        for number in range(4):
            await ask_change(world, member, f"new{number}@example.org")
        await changed(world, member)
        with pytest.raises(RateLimited):
            await ask_change(world, member, "new4@example.org")
        assert await world.mails() == []


async def test_a_change_is_taken_back_within_a_day(world: World) -> None:
    member = await verified(world)
    token = await changed(world, member)
    world.clock.move(hours=23, minutes=59)
    await forgot(world, OTHER)
    to_reset = await world.link(OTHER)
    await world.acts()
    await undo(world, token)
    user = await world.seen(member.id)
    assert (user.email, user.email_verified) == (OWNER, True)
    assert not await world.alive(member.tokens)
    assert [entry.action for entry in await world.acts()] == ["user.email_change_undone", "session.revoked"]
    for email in (OWNER, OTHER):
        with pytest.raises(InvalidCredentials):  # whoever changed it knew the password
            await world.log_in(email)
    with pytest.raises(InvalidLink):
        await reset(world, to_reset)
    with pytest.raises(InvalidLink):
        await undo(world, token)
    await reset(world, await world.link(OWNER))
    await world.log_in(OWNER, OTHER_PASSWORD)
    await register(world, OTHER)


async def test_after_a_day_it_stays(world: World) -> None:
    member = await verified(world)
    token = await changed(world, member)
    world.clock.move(days=1)
    with pytest.raises(InvalidLink):
        await undo(world, token)
    await register(world, OWNER)


async def test_for_that_day_no_other_account_can_take_the_old_e_mail(world: World) -> None:
    member = await verified(world)
    third = await verified(world, THIRD)
    await changed(world, member)
    with pytest.raises(EmailTaken):
        await register(world, OWNER)
    with pytest.raises(EmailTaken):
        await world.ubr.create_user(CreateUserCommand(email=OWNER), actor=SYSTEM)
    theirs = UpdateUserCommand(user_id=third.id, changes=UserChanges(email=OWNER))
    with pytest.raises(EmailTaken):
        await world.ubr.update_user(theirs, actor=SYSTEM)
    own = UpdateUserCommand(user_id=member.id, changes=UserChanges(email=OWNER))
    await world.ubr.update_user(own, actor=SYSTEM)


async def test_a_thief_does_not_get_away_by_going_on(world: World) -> None:
    member = await verified(world)
    token = await changed(world, member)
    thief = await world.logged_in(OTHER)
    further = await changed(world, thief, THIRD)
    await undo(world, token)
    assert (await world.seen(member.id)).email == OWNER
    with pytest.raises(InvalidLink):
        await undo(world, further)
    await register(world, OTHER)


async def test_a_thief_cannot_take_the_way_back_from_the_owner(world: World) -> None:
    """By changing the e-mail once more, and undoing that."""
    member = await verified(world)
    token = await changed(world, member)
    world.clock.move(minutes=1)
    further = await changed(world, await world.logged_in(OTHER), THIRD)
    await undo(world, further)
    assert (await world.seen(member.id)).email == OTHER
    with pytest.raises(EmailTaken):
        await register(world, OWNER)
    await undo(world, token)
    assert (await world.seen(member.id)).email == OWNER


async def test_a_reset_that_waits_to_be_mailed_ends_with_the_reset_that_was_done(world: World) -> None:
    """The mail server was slow: a second link, asked for before the first was used, would take the account again."""
    await verified(world)
    await forgot(world, OWNER)
    token = await world.link(OWNER)
    await forgot(world, OWNER)
    await reset(world, token)
    assert [mail for mail in await world.mails() if "#token=" in mail.text] == []
    await forgot(world, OWNER)
    assert "#token=" in (await world.mails())[0].text


async def test_an_undo_hands_over_no_right_that_the_account_got_since(world: World) -> None:
    member = await verified(world)
    held, grown, given = await world.role("logs:read"), await world.role(), await world.role("users:read")
    await world.assign(member.id, held.name)
    await world.assign(member.id, grown.name)
    world.clock.move(seconds=1)
    token = await changed(world, member)
    world.clock.move(seconds=1)
    await world.assign(member.id, given.name)
    await world.assign(member.id, "admin")
    grow = UpdateRoleCommand(role_id=grown.id, changes=RoleChanges(permissions=["users:write"]))
    await world.ubr.update_role(grow, actor=SYSTEM)
    await world.admin()  # another one, so that somebody stays
    await world.acts()

    await undo(world, token)

    assert (await world.seen(member.id)).roles == sorted([held.name, "user"])
    assert [entry.action for entry in await world.acts()].count("role.unassigned") == 3


@pytest.mark.parametrize("act", ["reset", "undo", "disable"])
async def test_a_letter_on_its_way_does_not_outlive_what_ends_links(world: World, act: str) -> None:
    member = await verified(world)
    token = await changed(world, member) if act == "undo" else ""
    thief = await world.logged_in(OTHER if act == "undo" else OWNER)
    await ask_change(world, thief, THIRD)  # no mail goes out for a while
    if act == "reset":
        command = CreateAdminCommand(email=OWNER, password=OTHER_PASSWORD, take_over=True)
        await world.ubr.create_admin(command, actor=SYSTEM)
    elif act == "undo":
        await undo(world, token)
    else:
        await off_and_on(world, member)
    assert THIRD not in {mail.to for mail in await world.mails()}


async def test_an_undoing_that_waits_to_be_mailed_goes_with_the_change(world: World) -> None:
    member = await verified(world)
    token = await changed(world, member)
    thief = await world.logged_in(OTHER)
    await ask_change(world, thief, THIRD)
    to_change = await world.link(THIRD)
    world.clock.move(minutes=1)
    await verify(world, to_change, None)  # the letter to OTHER waits
    await undo(world, token)
    assert [mail.to for mail in await world.mails()] == [OWNER], "who may set another password"


async def test_an_action_of_an_operator_is_not_undone(world: World) -> None:
    member = await verified(world)
    token = await changed(world, member)
    command = CreateAdminCommand(email=OTHER, password=OTHER_PASSWORD, take_over=True)
    await world.ubr.create_admin(command, actor=SYSTEM)
    with pytest.raises(InvalidLink):
        await undo(world, token)
    await register(world, OWNER)


async def test_another_e_mail_by_an_operator_has_to_be_verified(world: World) -> None:
    member = await verified(world)
    await new_email(world, member)
    [link] = [token_in(mail) for mail in await world.mails() if mail.to == THIRD]
    await verify(world, link)
    assert (await world.seen(member.id)).email_verified
    await register(world, OWNER)


@pytest.mark.parametrize("verify_first", [True, False])
async def test_the_old_mailbox_is_told_that_an_operator_changed_it(world: World, verify_first: bool) -> None:
    if not verify_first:
        await register(world)
    member = await (verified(world) if verify_first else world.logged_in(OWNER))
    await world.mails()
    await new_email(world, member)
    [notice] = [mail for mail in await world.mails() if mail.to == OWNER]
    assert "administrator" in notice.subject
    assert "#token=" not in notice.text + notice.html
    assert "t...@e..." in notice.text


async def test_the_notice_cannot_be_suppressed_by_whoever_changed_the_e_mail(world: World) -> None:
    """By what else an operator may do before the mail goes out."""
    member = await verified(world)
    await new_email(world, member)
    await world.set_status(member.id, UserStatus.DISABLED)
    assert [mail.to for mail in await world.mails()] == [OWNER]
    await world.set_status(member.id, UserStatus.ACTIVE)

    command = UpdateUserCommand(user_id=member.id, changes=UserChanges(email=OWNER))
    await world.ubr.update_user(command, actor=SYSTEM)
    await new_email(world, member)
    await change_password_by_system(world, await world.logged_in(THIRD))
    assert [mail.to for mail in await world.mails()] == [THIRD, OWNER]


@pytest.mark.parametrize("by", ["the user", "an operator", "the undo"])
async def test_what_waits_for_an_e_mail_goes_with_its_account(world: World, by: str) -> None:
    """A request for a mail names an e-mail, whose account is found later: it must not be another account by then."""
    member = await verified(world)
    match by:
        case "the user":
            await ask_change(world, member)
            token = await world.link(OTHER)
            await forgot(world)
            await verify(world, token, None)
        case "an operator":
            await forgot(world)
            await new_email(world, member)
        case _:
            token = await changed(world, member)
            await forgot(world, OTHER)
            await undo(world, token)
    page = await world.ubr.list_mail(ListMailCommand(), actor=SYSTEM)
    old = OTHER if by == "the undo" else OWNER
    assert not [mail for mail in page.items if (mail.email, mail.kind) == (old, "password_reset")]


async def test_a_mailbox_that_was_never_shown_to_be_theirs_gets_no_way_back(world: World) -> None:
    await register(world)
    member = await world.logged_in(OWNER)
    await world.mails()
    await ask_change(world, member)
    await verify(world, await world.link(OTHER), None)
    assert await world.mails() == []
    await register(world, OWNER)


async def test_a_deleted_user_leaves_no_mail_behind(world: World) -> None:
    member = await verified(world)
    await changed(world, member)
    await forgot(world, OTHER)
    await world.ubr.delete_user(DeleteUserCommand(user_id=member.id), actor=SYSTEM)
    assert (await world.ubr.list_mail(ListMailCommand(), actor=SYSTEM)).items == []
    assert await world.mails() == []
    await register(world, OWNER)
    await register(world, OTHER)


async def test_only_the_service_delivers_mails(world: World) -> None:
    id = UUID(int=7)
    admin = await world.admin()
    with pytest.raises(Forbidden):
        await world.ubr.deliver_mail(actor=admin.actor)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await world.ubr.retry_mail(RetryMailCommand(mail_id=id), actor=SYSTEM)


async def test_what_is_of_no_more_use_is_taken_away() -> None:
    clock = MovableClock()
    async with open_environment(Settings.memory(**TINY_HASHING), clock=clock) as environment:
        world, janitor = World(environment.application, clock), environment.janitor
        member = await verified(world)
        await changed(world, member)
        await forgot(world, OTHER)
        await world.mails()
        await resend(world, THIRD)

        async def left() -> tuple[int, int]:
            async with world.ubr.reset_password.unit_of_work.begin(SYSTEM) as tx:
                return await tx.links.forget_all(9), len(await tx.outbox.page(None, 9))  # not committed

        assert await left() == (2, 1)
        await janitor()
        assert await left() == (2, 1)
        clock.move(minutes=31)
        await janitor()
        assert await left() == (1, 1), "the one that undoes is good for a day"
        clock.move(days=1)
        await janitor()
        assert await left() == (0, 1)
        clock.move(days=6)
        await janitor()
        assert await left() == (0, 0)
        await register(world, OWNER)
