"""What a store promises about one-time links."""

import secrets
from datetime import datetime, timedelta

import pytest

from tests.contracts.kit import HOUR, NOON, email, new_user, put, race, seen
from tests.support.values import replace
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.one_time_link import UNDO_LIFETIME, LinkKind, OneTimeLink
from ubr.domain.accounts.user import User
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import UserNotFound
from ubr.domain.ids import SessionId, TokenDigest

pytestmark = pytest.mark.anyio

TICK = timedelta(microseconds=1)


def new_link(
    user: User | None = None, kind: LinkKind = LinkKind.PASSWORD_RESET, to: str | None = None, *, made: int = 0
) -> OneTimeLink:
    return OneTimeLink(
        digest=TokenDigest(secrets.token_bytes(32)),
        kind=kind,
        email=email(to or "nobody") if to or user is None else user.email,
        user_id=None if user is None else user.id,
        full_name="Somebody" if user is None else None,
        session_id=None if user is None else SessionId(user.id),
        created_at=NOON + made * TICK,
        expires_at=NOON + HOUR,
    )


async def add(uow: UnitOfWork, *links: OneTimeLink) -> None:
    async with uow.begin(SYSTEM) as tx:
        for link in links:
            await tx.links.add(link)
        await tx.commit()


async def there(uow: UnitOfWork, *links: OneTimeLink) -> list[bool]:
    async with uow.read() as tx:
        return [await tx.links.get(link.digest) is not None for link in links]


@pytest.fixture
async def user(uow: UnitOfWork) -> User:
    user = new_user()
    await put(uow, user)
    return user


async def test_links_to_an_e_mail_without_a_user_are_deleted_and_no_others(uow: UnitOfWork, user: User) -> None:
    registration = LinkKind.REGISTRATION
    gone, other = new_link(to="somebody", kind=registration), new_link(to="another", kind=registration)
    own = new_link(user, to="somebody")
    await add(uow, gone, other, own)
    async with uow.begin(SYSTEM) as tx:
        await tx.links.forget_unowned(email("SomeBody"))
        await tx.commit()
    assert await there(uow, gone, other, own) == [False, True, True]


async def test_a_link_comes_back_as_it_was(uow: UnitOfWork, user: User) -> None:
    links = [new_link(user), new_link(to="somebody", kind=LinkKind.REGISTRATION)]
    await add(uow, *links)
    for link in links:
        for unit in (uow.begin(SYSTEM), uow.read()):
            async with unit as tx:
                assert await tx.links.get(link.digest) == link
    unknown = TokenDigest(secrets.token_bytes(32))
    assert await seen(uow, lambda tx: tx.links.get(unknown)) is None


async def test_a_link_is_redeemed_once(uow: UnitOfWork, user: User) -> None:
    await add(uow, link := new_link(user))
    async with uow.begin(SYSTEM) as tx:
        assert await tx.links.redeem(link.digest, NOON) == link
        assert await tx.links.redeem(link.digest, NOON) is None
        await tx.commit()
    assert await there(uow, link) == [False]


async def test_a_link_that_was_redeemed_in_vain_is_good(uow: UnitOfWork, user: User) -> None:
    await add(uow, link := new_link(user))
    async with uow.begin(SYSTEM) as tx:
        assert await tx.links.redeem(link.digest, NOON) == link
    async with uow.begin(SYSTEM) as tx:
        assert await tx.links.redeem(link.digest, NOON) == link


async def test_a_link_is_good_until_its_end(uow: UnitOfWork, user: User) -> None:
    await add(uow, link := new_link(user))
    async with uow.begin(SYSTEM) as tx:
        assert await tx.links.redeem(link.digest, link.expires_at) is None
        assert await tx.links.redeem(link.digest, link.expires_at - TICK) == link


async def test_one_of_many_concurrent_redemptions_succeeds(uow: UnitOfWork, user: User) -> None:
    await add(uow, link := new_link(user))

    async def redeem() -> OneTimeLink | None:
        async with uow.begin(None) as tx:
            found = await tx.links.redeem(link.digest, NOON)
            await tx.commit()
            return found

    done = await race(redeem() for _ in range(8))
    assert sorted(outcome is None for outcome in done) == [False] + [True] * 7


@pytest.mark.parametrize("kind", [kind for kind in LinkKind if kind is not LinkKind.EMAIL_UNDO])
async def test_a_newer_one_of_its_kind_takes_the_place_of_the_older(
    uow: UnitOfWork, user: User, kind: LinkKind
) -> None:
    another = new_user()
    await put(uow, another)
    of_kind = next(other for other in LinkKind if other is not kind)
    kept = [new_link(another, kind), new_link(user, of_kind), new_link(kind=kind, to="nobody")]
    older = new_link(user, kind)
    await add(uow, *kept, older)
    await add(uow, newer := new_link(user, kind))
    assert await there(uow, older, newer, *kept) == [False, True, True, True, True]


@pytest.mark.parametrize("account", [True, False])
@pytest.mark.parametrize("first", [True, False])
async def test_older_ones_that_are_kept_end_when_one_of_them_is_redeemed(
    uow: UnitOfWork, user: User, account: bool, first: bool
) -> None:
    pair = [new_link(user if account else None, to="one", made=made) for made in (1, 2)]
    others = [new_link(to="other"), new_link(user, LinkKind.VERIFICATION)]
    await add(uow, *others, pair[0])
    async with uow.begin(SYSTEM) as tx:
        await tx.links.add(pair[1], keep_older=True)
        await tx.commit()
    assert await there(uow, *pair, *others) == [True] * 4
    async with uow.begin(SYSTEM) as tx:
        redeemed = pair[0 if first else 1]
        assert await tx.links.redeem(redeemed.digest, NOON) == redeemed
        await tx.commit()
    assert await there(uow, *pair, *others) == [False, False, True, True]


async def test_a_link_that_is_redeemed_leaves_links_that_undo(uow: UnitOfWork, user: User) -> None:
    undo = [new_link(user, LinkKind.EMAIL_UNDO, to=to) for to in ("one", "other")]
    await add(uow, *undo)
    async with uow.begin(SYSTEM) as tx:
        assert await tx.links.redeem(undo[0].digest, NOON) == undo[0]
        await tx.commit()
    assert await there(uow, *undo) == [False, True]


async def test_without_an_account_that_is_so_for_the_e_mail(uow: UnitOfWork) -> None:
    older, other = new_link(to="one"), new_link(to="other")
    await add(uow, older, other)
    await add(uow, newer := replace(new_link(to="one"), email=replace(email("one"), address="ONE@example.com")))
    assert await there(uow, older, other, newer) == [False, True, True]


async def test_each_link_that_undoes_goes_back_to_another_e_mail(uow: UnitOfWork, user: User) -> None:
    links = [new_link(user, LinkKind.EMAIL_UNDO, to="one"), new_link(user, LinkKind.EMAIL_UNDO, to="other")]
    await add(uow, *links)
    assert await there(uow, *links) == [True, True]


async def test_what_is_pending_for_an_e_mail(uow: UnitOfWork, user: User) -> None:
    await add(
        uow, new_link(user, LinkKind.REGISTRATION), new_link(to="one"), new_link(to="x", kind=LinkKind.VERIFICATION)
    )
    link = new_link(to="one", kind=LinkKind.REGISTRATION)
    await add(uow, link)
    registration = LinkKind.REGISTRATION
    assert await seen(uow, lambda tx: tx.links.pending(registration, email("one"), NOON)) == link
    assert await seen(uow, lambda tx: tx.links.pending(registration, email("one"), NOON + HOUR)) is None
    assert await seen(uow, lambda tx: tx.links.pending(registration, email("other"), NOON)) is None
    assert await seen(uow, lambda tx: tx.links.pending(registration, user.email, NOON)) is None


@pytest.mark.parametrize("since", [None, NOON, NOON + TICK])
async def test_the_links_of_a_user_are_forgotten(uow: UnitOfWork, user: User, since: datetime | None) -> None:
    another = new_user()
    await put(uow, another)
    undo = replace(new_link(user, LinkKind.EMAIL_UNDO), expires_at=NOON + UNDO_LIFETIME)
    links = [new_link(user), new_link(user, LinkKind.VERIFICATION), undo]
    await add(uow, *links, others := new_link(another))
    async with uow.begin(SYSTEM) as tx:
        await tx.links.forget_of(user.id, changed_since=since)
        await tx.commit()
    assert await there(uow, *links, others) == [False, False, since != NOON, True]


async def test_links_go_with_their_user_and_belong_to_one(uow: UnitOfWork, user: User) -> None:
    await add(uow, link := new_link(user))
    async with uow.begin(SYSTEM) as tx:
        await tx.users.remove(user)
        await tx.commit()
    assert await there(uow, link) == [False]
    with pytest.raises(UserNotFound):
        await add(uow, new_link(user))


async def test_links_are_forgotten_in_batches(uow: UnitOfWork, user: User) -> None:
    early = [replace(new_link(to=f"n{n}"), expires_at=NOON - n * HOUR) for n in range(1, 4)]
    await add(uow, *early, late := new_link(user))
    counts = []
    for _ in range(3):
        async with uow.begin(SYSTEM) as tx:
            counts.append(await tx.links.forget(NOON, 2))
            await tx.commit()
    assert counts == [2, 1, 0]
    assert await there(uow, *early, late) == [False, False, False, True]
    async with uow.begin(SYSTEM) as tx:
        assert (await tx.links.forget_all(5), await tx.links.forget_all(5)) == (1, 0)
        await tx.commit()
    assert await there(uow, late) == [False]
