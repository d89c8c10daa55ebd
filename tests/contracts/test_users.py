"""What a store promises about users and their grants."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import product
from operator import attrgetter
from typing import Any
from uuid import uuid4

import pytest

from tests.contracts.kit import (
    HOUR,
    NOON,
    MovableClock,
    email,
    new_grant,
    new_role,
    new_session,
    new_token,
    new_user,
    page_of_users,
    pages,
    put,
    race,
    seen,
)
from tests.support.room import PROMPT
from tests.support.values import replace
from ubr.adapters.sql import user_search
from ubr.application.ports.accounts import ReservedEmail, UserFilter, UserSort
from ubr.application.ports.audit import LogFilter
from ubr.application.ports.paging import After, Found
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.one_time_link import EVER
from ubr.domain.accounts.passwords import PasswordHash
from ubr.domain.accounts.search import Prefix
from ubr.domain.accounts.user import User, UserStatus, UserSummary
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import EmailTaken, RoleNotFound
from ubr.domain.ids import RoleId, UserId
from ubr.domain.roles.role import ADMIN_ROLE_ID, Role, RoleName, built_in_roles

pytestmark = pytest.mark.anyio


async def test_an_empty_store_has_no_user(uow: UnitOfWork) -> None:
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.users.get(UserId(uuid4())) is None
            assert await tx.users.by_email(email("nobody")) is None
            assert await page_of_users(tx, UserFilter(), None, 10) == []


async def test_a_user_comes_back_as_they_were(uow: UnitOfWork) -> None:
    one, two = new_role(), new_role()
    full = replace(
        new_user(),
        email=Email.parse("Ægir.Ö'Neill+x@bücher.example"),
        full_name="Ægir \U0001d512'Neill \\ \"",
        status=UserStatus.DISABLED,
        email_verified=True,
        updated_at=NOON + timedelta(microseconds=1),
        security_version=7,
        version=9,
        grants={
            one.id: new_grant(one, until=NOON + HOUR, by=UserId(uuid4())),
            two.id: new_grant(two),
        },
    )
    bare = replace(new_user(), password_hash=None)
    await put(uow, one, two, full, bare)
    for unit in (uow.begin(SYSTEM), uow.read()):
        async with unit as tx:
            assert await tx.users.get(full.id) == full
            assert await tx.users.get(bare.id) == bare
            assert sorted(await page_of_users(tx, UserFilter(), None, 10), key=attrgetter("version")) == [
                bare,
                full,
            ]


async def test_a_user_is_found_by_any_spelling_of_the_email(uow: UnitOfWork) -> None:
    user = replace(new_user(), email=Email.parse("Éric@Example.COM"))
    await put(uow, user, new_user("other"))
    assert await seen(uow, lambda tx: tx.users.by_email(Email.parse("éRIC@example.com"))) == user


@pytest.mark.parametrize(("first", "second"), [("same@x.example", "same@x.example"), ("É@x.example", "é@X.example")])
async def test_an_email_belongs_to_one_user(uow: UnitOfWork, first: str, second: str) -> None:
    await put(uow, holder := replace(new_user(), email=Email.parse(first)))
    with pytest.raises(EmailTaken):
        await put(uow, replace(new_user(), email=Email.parse(second)))
    assert await seen(uow, lambda tx: page_of_users(tx, UserFilter(), None, 10)) == [holder]


async def test_a_user_cannot_take_the_email_of_another(uow: UnitOfWork) -> None:
    one, two = new_user("one"), new_user("two")
    await put(uow, one, two)
    async with uow.begin(SYSTEM) as tx:
        user = await tx.users.get(two.id)
        assert user is not None
        user.update(email=email("one"), full_name="Two", status=user.status, now=tx.now)
        with pytest.raises(EmailTaken):
            await tx.users.save(user)
    assert await seen(uow, lambda tx: tx.users.get(two.id)) == two
    assert await seen(uow, lambda tx: tx.logs.page(LogFilter(), None, 10)) == []


async def test_an_email_is_free_again_once_it_was_given_up(uow: UnitOfWork) -> None:
    user = new_user("old")
    await put(uow, user)
    async with uow.begin(SYSTEM) as tx:
        user.update(email=Email.parse("New@example.com"), full_name=None, status=user.status, now=tx.now)
        await tx.users.save(user)
        user.update(email=Email.parse("new@example.com"), full_name=None, status=user.status, now=tx.now)
        await tx.users.save(user)  # Their own, spelled another way.
        await tx.commit()
    await put(uow, heir := new_user("old"))
    async with uow.read() as tx:
        assert await tx.users.by_email(email("old")) == heir
        assert await tx.users.by_email(email("new")) == user


async def test_saving_stores_all_that_changed(uow: UnitOfWork) -> None:
    kept, moved, lost, won = (new_role() for _ in range(4))
    user = new_user(grants=[new_grant(kept), new_grant(moved), new_grant(lost, until=NOON + HOUR)])
    bystander = new_user(grants=[new_grant(kept), new_grant(moved), new_grant(lost)])
    await put(uow, kept, moved, lost, won, user, bystander)
    async with uow.begin(SYSTEM) as tx:
        changed = await tx.users.get(user.id)
        assert changed is not None
        changed.update(email=email("new"), full_name="New", status=UserStatus.DISABLED, now=NOON + HOUR)
        changed.change_password(PasswordHash("new"), now=NOON + HOUR)
        changed.email_verified = True
        changed.grant(moved.id, by=UserId(uuid4()), now=tx.now, expires_at=NOON + 2 * HOUR)
        changed.grant(won.id, by=None, now=tx.now)
        changed.ungrant(lost.id, now=tx.now)
        await tx.users.save(changed)
        assert await tx.users.get(user.id) == changed
        await tx.commit()
    assert set(changed.grants) == {kept.id, moved.id, won.id}
    async with uow.read() as tx:
        assert await tx.users.get(user.id) == changed
        assert await tx.users.get(bystander.id) == bystander


async def test_grants_may_be_saved_again_and_again_in_one_unit(uow: UnitOfWork) -> None:
    role, user = new_role(), new_user()
    await put(uow, role)
    async with uow.begin(SYSTEM) as tx:
        await tx.users.add(user)
        for _ in range(2):
            user.grant(role.id, by=None, now=tx.now)
            await tx.users.save(user)
            user.ungrant(role.id, now=tx.now)
            await tx.users.save(user)
        user.grant(role.id, by=None, now=tx.now)
        await tx.users.save(user)
        await tx.commit()
    assert await seen(uow, lambda tx: tx.users.get(user.id)) == user


async def test_a_user_read_in_an_earlier_unit_can_be_saved(uow: UnitOfWork) -> None:
    one, two = new_role(), new_role()
    user = new_user(grants=[new_grant(one)])
    await put(uow, one, two, user)
    user.ungrant(one.id, now=NOON)
    user.grant(two.id, by=None, now=NOON)
    async with uow.begin(SYSTEM) as tx:
        await tx.users.save(user)
        await tx.commit()
    assert await seen(uow, lambda tx: tx.users.get(user.id)) == user


async def test_a_role_that_does_not_exist_cannot_be_granted(uow: UnitOfWork) -> None:
    user = new_user()
    await put(uow, user)
    with pytest.raises(RoleNotFound):
        await put(uow, new_user(grants=[new_grant(RoleId(uuid4()))]))
    async with uow.begin(SYSTEM) as tx:
        user.grant(RoleId(uuid4()), by=None, now=tx.now)
        with pytest.raises(RoleNotFound):
            await tx.users.save(user)
    assert await seen(uow, lambda tx: page_of_users(tx, UserFilter(), None, 9)) == [replace(user, grants={}, version=1)]


async def test_saving_a_deleted_user_stores_and_records_nothing(uow: UnitOfWork) -> None:
    role, user = new_role(), new_user()
    await put(uow, role)
    async with uow.begin(SYSTEM) as tx:
        user.grant(role.id, by=None, now=tx.now)
        await tx.users.save(user)
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.users.get(user.id) is None
        assert await tx.logs.page(LogFilter(), None, 10) == []


async def test_removing_a_user_takes_all_that_is_theirs_along(uow: UnitOfWork) -> None:
    role = new_role()
    user, other = new_user("gone", grants=[new_grant(role)]), new_user("other", grants=[new_grant(role)])
    session, others = new_session(user), new_session(other)
    token, others_token = new_token(session), new_token(others)
    await put(uow, role, user, other, session, others, token, others_token)
    async with uow.begin(SYSTEM) as tx:
        found = await tx.users.get(user.id)
        assert found is not None
        await tx.users.remove(found)
        assert await tx.users.get(user.id) is None
        await tx.users.remove(found)  # A second time.
        await tx.commit()
    async with uow.begin(SYSTEM) as tx:
        await tx.users.remove(user)  # And in another unit.
        await tx.commit()
    async with uow.read() as tx:
        assert await tx.users.get(user.id) is None
        assert await tx.users.by_email(user.email) is None
        assert await tx.sessions.get(session.id) is None
        assert await tx.refresh_tokens.get(token.digest) is None
        assert await tx.principals.get(session.id) is None
        assert await page_of_users(tx, UserFilter(role=role.name), None, 10) == [other]
        assert await tx.sessions.get(others.id) == others
        assert await tx.refresh_tokens.get(others_token.digest) == others_token
    await put(uow, new_user("gone"))


# Pages

SORTS: list[tuple[UserSort, Callable[[User], object], bool]] = [
    ("created_at", lambda user: (user.created_at, user.id), False),
    ("-created_at", lambda user: (user.created_at, user.id), True),
    ("email", lambda user: user.email.key, False),
    ("-email", lambda user: user.email.key, True),
]


def behind(sort: UserSort, user: User | None) -> After[str] | None:
    if user is None:
        return None
    key = user.email.key if sort.endswith("email") else user.created_at
    return After(key, user.id)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize(("sort", "key", "down"), SORTS, ids=[sort[0] for sort in SORTS])
async def test_pages_hold_everybody_once_and_in_order(
    uow: UnitOfWork, sort: UserSort, key: Callable[[User], object], down: bool, limit: int
) -> None:
    role = new_role()
    # Ten users, five of one moment, and addresses that sort by their bytes and not by any language.
    moments = [
        NOON - HOUR,
        NOON,
        NOON,
        NOON,
        NOON,
        NOON,
        NOON + HOUR,
        NOON + HOUR,
        NOON + timedelta(microseconds=1),
        NOON,
    ]
    names = ["a-b", "a.b", "ab", "a_b", "zeta", "émile", "éric", "ωmega", "10", "9"]
    users = [new_user(name, created=moment) for name, moment in zip(names, moments, strict=True)]
    for user in users[::2]:
        user.grants = {role.id: new_grant(role)}
    await put(uow, role, *users)

    def page(last: User | None) -> Awaitable[list[User]]:
        which = UserFilter(sort=sort)
        return seen(uow, lambda tx: page_of_users(tx, which, behind(sort, last), limit))

    expected = sorted(users, key=key, reverse=down)  # type: ignore[arg-type]
    assert await pages(page) == expected
    assert await page(None) == expected[:limit]


@pytest.mark.parametrize("sort", [sort[0] for sort in SORTS])
async def test_a_page_goes_on_behind_somebody_who_is_gone(uow: UnitOfWork, sort: UserSort) -> None:
    users = [new_user(f"u{number}") for number in range(5)]
    await put(uow, *users)
    async with uow.begin(SYSTEM) as tx:
        before = await page_of_users(tx, UserFilter(sort=sort), None, 5)
        await tx.users.remove(before[2])
        rest = await page_of_users(tx, UserFilter(sort=sort), behind(sort, before[2]), 5)
    assert rest == before[3:]


async def test_a_user_that_was_read_before_is_read_again(uow: UnitOfWork) -> None:
    role, other = new_role(), new_role()
    before = replace(new_user("before", grants=[new_grant(role)]), password_hash=PasswordHash("one"))
    await put(uow, role, other, before)
    async with uow.begin(SYSTEM) as tx:
        again = await tx.users.again(before)
        assert again == before
        again.grant(other.id, by=None, now=tx.now)
        await tx.users.save(again)
        await tx.commit()
    async with uow.begin(SYSTEM) as tx:
        granted = await tx.users.again(before)
        assert granted == await tx.users.get(before.id)
        assert granted is not None
        assert granted.grants.keys() == {role.id, other.id}
        # The next one raises no version.
        assert await tx.users.rebind(before.id, PasswordHash("one"), PasswordHash("two"))
        await tx.commit()
    async with uow.begin(SYSTEM) as tx:
        rebound = await tx.users.again(granted)
        assert rebound == replace(granted, password_hash=PasswordHash("two"))
        await tx.users.remove(rebound)
        await tx.commit()
    async with uow.begin(SYSTEM) as tx:
        assert await tx.users.again(rebound) is None


async def test_a_user_that_is_read_again_waits_for_a_change_under_way(uow: UnitOfWork) -> None:
    before = new_user("before")
    await put(uow, before)

    async def rename(number: int) -> None:
        async with uow.begin(SYSTEM) as tx:
            user = await tx.users.again(before)
            assert user is not None
            await asyncio.sleep(0)
            name = f"{user.full_name or ''}{number}"
            user.update(email=user.email, full_name=name, status=user.status, now=tx.now)
            await tx.users.save(user)
            await tx.commit()

    assert await race(rename(number) for number in range(8)) == [None] * 8
    after = await seen(uow, lambda tx: tx.users.get(before.id))
    assert after is not None
    assert sorted(after.full_name or "") == list("01234567")


async def test_a_page_shows_the_names_of_the_roles_in_force(uow: UnitOfWork, clock: MovableClock) -> None:
    zeta, alpha, ended, removed = (new_role(name) for name in ("zeta", "alpha", "ended", "removed"))
    later = NOON + timedelta(microseconds=1)
    holder = replace(
        new_user(
            "Holder",
            grants=[new_grant(zeta), new_grant(alpha, until=later), new_grant(ended, until=NOON)],
            created=NOON,
        ),
        full_name="Ada Lovelace",
        email_verified=True,
    )
    holder.grants[removed.id] = new_grant(removed)
    other = new_user("other", status=UserStatus.DISABLED, created=later)
    await put(uow, zeta, alpha, ended, removed, holder, other)
    async with uow.begin(SYSTEM) as tx:
        role = await tx.roles.get(removed.id)
        assert role is not None
        await tx.roles.remove(role)
        await tx.commit()

    expected: Found[UserSummary, Any] = Found([holder.summary(["alpha", "zeta"]), other.summary([])])
    assert await seen(uow, lambda tx: tx.users.search(UserFilter(), None, 10)) == expected
    async with uow.peek() as peek:
        assert await peek.users.search(UserFilter(), None, 10) == expected
    clock.move(later - NOON)
    after_all: Found[UserSummary, Any] = Found([holder.summary(["zeta"]), other.summary([])])
    assert await seen(uow, lambda tx: tx.users.search(UserFilter(), None, 10)) == after_all


async def test_a_page_can_be_of_one_status(uow: UnitOfWork) -> None:
    on, off = new_user(), new_user(status=UserStatus.DISABLED)
    await put(uow, on, off)
    async with uow.read() as tx:
        assert await page_of_users(tx, UserFilter(status=UserStatus.ACTIVE), None, 10) == [on]
        assert await page_of_users(tx, UserFilter(status=UserStatus.DISABLED), None, 10) == [off]


async def test_a_page_can_be_of_those_who_hold_a_role_now(uow: UnitOfWork, clock: MovableClock) -> None:
    role, other = new_role("wanted"), new_role("other")
    for_good = new_user("a", grants=[new_grant(role), new_grant(other)])
    for_now = new_user("b", grants=[new_grant(role, until=NOON + timedelta(microseconds=1))])
    no_more = new_user("c", grants=[new_grant(role, until=NOON)])
    never = new_user("d", grants=[new_grant(other)])
    off = new_user("e", grants=[new_grant(role)], status=UserStatus.DISABLED)
    await put(uow, role, other, for_good, for_now, no_more, never, off)
    async with uow.read() as tx:
        which = UserFilter(role=role.name, sort="email")
        assert await page_of_users(tx, which, None, 10) == [for_good, for_now, off]
        assert await page_of_users(tx, which, behind("email", for_good), 1) == [for_now]
        assert await page_of_users(tx, replace(which, status=UserStatus.ACTIVE), None, 10) == [for_good, for_now]
        assert await page_of_users(tx, replace(which, role=RoleName("unknown")), None, 10) == []
    clock.move(-HOUR)
    assert await seen(uow, lambda tx: page_of_users(tx, which, None, 10)) == [for_good, for_now, no_more, off]


# Beginning like this


def named(name: str, full_name: str | None = None, *, created: datetime = NOON) -> User:
    return replace(new_user(name, created=created), full_name=full_name)


async def found(uow: UnitOfWork, q: str) -> set[str]:
    which = UserFilter(prefix=Prefix.parse(q))
    listed = await seen(uow, lambda tx: tx.users.search(which, None, 100))
    return {user.email.key.partition("@")[0] for user in listed.items}


async def searched(uow: UnitOfWork, which: UserFilter, limit: int) -> list[UserId]:
    """The ids of all users that a search finds, page by page. It may stop early, and then goes on where it stopped."""
    ids: list[UserId] = []
    after: After[datetime] | After[str] | None = None
    for _ in range(100):

        def search(after: Any = after) -> Awaitable[Found[UserSummary, Any]]:
            return seen(uow, lambda tx: tx.users.search(which, after, limit))

        page = await search()
        ids += [user.id for user in page.items]
        if len(page.items) == limit:
            last = page.items[-1]
            after = After(last.email.key, last.id) if which.sort.endswith("email") else After(last.created_at, last.id)
        elif (after := page.reached) is None:
            return ids
    raise AssertionError("The search does not end")


async def test_users_are_found_by_how_their_email_or_name_begins(uow: UnitOfWork) -> None:
    await put(uow, named("ada", "Grace Hopper"), named("grace", "Ada Lovelace"), named("adam"), named("x", "An Ada"))
    assert await found(uow, "ada") == {"ada", "adam", "grace"}
    assert await found(uow, "ADA ") == {"ada", "adam", "grace"}
    assert await found(uow, "ada l") == {"grace"}
    assert await found(uow, "ada@example.com") == {"ada"}
    assert await found(uow, "a") == {"ada", "adam", "grace", "x"}
    assert await found(uow, "lovelace") == set()


async def test_every_character_stands_for_itself(uow: UnitOfWork) -> None:
    chars = ["%", "_", "*", "?", "'", "\\", "\u0301", "\U0010fffd"]
    await put(uow, named("x1", "axb"), named("x2", "ab"))
    await put(uow, *(named(f"in{at}", f"a{char}b") for at, char in enumerate(chars)))
    await put(uow, *(named(f"at{at}", f"{char}a") for at, char in enumerate(chars)))
    for at, char in enumerate(chars):
        assert await found(uow, f"A{char}") == {f"in{at}"}
        assert await found(uow, f"{char}") == {f"at{at}"}


async def test_a_name_is_found_in_any_of_its_forms(uow: UnitOfWork) -> None:
    await put(
        uow, named("one", "STRA\u1e9eE"), named("two", "\ufb01nal"), named("three", "\u00c9mile"), named("4", "ΣΑΣ")
    )
    assert await found(uow, "strasse") == await found(uow, "Straße") == {"one"}
    assert await found(uow, "fin") == await found(uow, "\ufb01N") == {"two"}
    assert await found(uow, "e\u0301m") == await found(uow, "Ém") == {"three"}
    assert await found(uow, "Emile") == set()
    assert await found(uow, "σας") == {"4"}


async def test_an_email_is_found_by_either_form_of_its_domain(uow: UnitOfWork) -> None:
    await put(uow, replace(new_user(), email=Email.parse("one@bücher.example")))
    for q in ("one@bücher.example", "ONE@BÜCHER.EXAMPLE", "one@xn--bch", "one@"):
        assert await found(uow, q) == {"one"}


async def test_the_last_user_in_an_order_is_found(uow: UnitOfWork) -> None:
    ends = ["z", "\ud7ff", "\U0010ffff", "z\U0010ffff", "\ud7ff\U0010ffff"]
    names = [end + rest for end in ends for rest in ("", "a", "\U0010ffff")] + ["\ue000", "{", "y"]
    await put(uow, *(named(f"u{at}", name) for at, name in enumerate(names)))
    for end in [*ends, "\U0010ffff\U0010ffff"]:
        assert await found(uow, end) == {f"u{at}" for at, name in enumerate(names) if name.startswith(end)}


async def test_a_name_is_found_by_what_it_is_now(uow: UnitOfWork) -> None:
    user = named("one", "Before")
    await put(uow, user)
    for full_name in ("After", None):
        async with uow.begin(SYSTEM) as tx:
            user.update(email=user.email, full_name=full_name, status=user.status, now=tx.now)
            await tx.users.save(user)
            await tx.commit()
        assert await found(uow, "before") == set()
        assert await found(uow, "after") == ({"one"} if full_name else set())


async def test_a_name_that_grows_when_it_is_folded_is_kept_and_found(uow: UnitOfWork) -> None:
    long = "".join(chr(0x12000 + at * 7 % 900) for at in range(100)) + "\ufdfa" * 100
    await put(uow, named("one", long), named("two", long[:99]))
    assert await found(uow, long) == {"one"}
    assert await found(uow, long[:90]) == {"one", "two"}


async def test_both_plans_of_a_search_give_the_same_pages(uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch) -> None:
    role, users = new_role("wanted"), []
    for number in range(24):
        name = f"{'a' if number % 2 else 'b'}{(number * 7) % 24:02}"
        user = named(name, "Aa" if number % 3 == 0 else None, created=NOON + timedelta(seconds=number // 5))
        user.status = UserStatus.DISABLED if number % 7 == 3 else UserStatus.ACTIVE
        if number > 14:
            user.grants = {role.id: new_grant(role)}
        users.append(user)
    await put(uow, role, *users)
    prefix = Prefix.parse("A")
    of_both = UserFilter(prefix=prefix, role=role.name, status=UserStatus.ACTIVE)
    expected: list[tuple[UserFilter, list[User]]] = [
        (UserFilter(prefix=prefix), [u for u in users if prefix.begins(u.email, u.full_name)]),
        (UserFilter(role=role.name), [u for u in users if u.grants]),
        (of_both, [u for u in users if u.active and u.grants and prefix.begins(u.email, u.full_name)]),
    ]
    # All that is found is few; or some are, and the order is scanned, whether that is enough or not.
    for few, ahead in ((1_000, 5_000), (3, 5_000), (3, 6)):
        monkeypatch.setattr(user_search, "MAX_SORTED", few)
        monkeypatch.setattr(user_search, "MAX_SCANNED", ahead)
        for (which, fitting), (sort, key, down) in product(expected, SORTS):
            wanted = sorted(fitting, key=key, reverse=down)  # type: ignore[arg-type]
            assert await searched(uow, replace(which, sort=sort), 7) == [user.id for user in wanted]


async def test_a_search_that_stops_early_goes_on_where_it_stopped(
    uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More match than are sorted, all of them at one end of the order, behind more than one page looks at."""
    monkeypatch.setattr(user_search, "MAX_SORTED", 3)
    monkeypatch.setattr(user_search, "MAX_SCANNED", 6)
    users = [named(f"{'a' if number > 19 else 'b'}{number:02}", None) for number in range(30)]
    for number, user in enumerate(users):
        user.created_at = NOON + timedelta(seconds=number // 2)
    await put(uow, *users)
    prefix = Prefix.parse("a")
    wanted = [user for user in users if prefix.begins(user.email, user.full_name)]
    for sort, key, down in SORTS:
        found = await searched(uow, UserFilter(prefix=prefix, sort=sort), 4)
        assert found == [user.id for user in sorted(wanted, key=key, reverse=down)]  # type: ignore[arg-type]


# Grants that have ended


async def test_grants_that_ended_are_forgotten_and_nothing_else(uow: UnitOfWork) -> None:
    roles = [new_role() for _ in range(4)]
    before, at, later, lasting = roles
    user = new_user(grants=[new_grant(before, until=NOON - HOUR), new_grant(at, until=NOON), new_grant(lasting)])
    other = new_user(grants=[new_grant(before, until=NOON - HOUR), new_grant(later, until=NOON + HOUR)])
    await put(uow, *roles, user, other)
    for expected in (1, 1, 0):
        async with uow.begin(SYSTEM) as tx:
            assert await tx.users.forget_grants(NOON, 1) == expected
            await tx.commit()
    async with uow.read() as tx:
        kept, others = await tx.users.get(user.id), await tx.users.get(other.id)
        assert (kept, others) == (
            replace(user, grants={at.id: new_grant(at, until=NOON), lasting.id: new_grant(lasting)}),
            replace(other, grants={later.id: new_grant(later, until=NOON + HOUR)}),
        )
        assert await tx.logs.page(LogFilter(), None, 10) == []


async def test_a_grant_that_is_given_again_is_never_forgotten(uow: UnitOfWork) -> None:
    role = new_role()
    users = [new_user(grants=[new_grant(role, until=NOON - HOUR)]) for _ in range(8)]
    await put(uow, role, *users)

    async def give(user_id: UserId) -> None:
        async with uow.begin(SYSTEM) as tx:
            user = await tx.users.get(user_id)
            assert user is not None
            await asyncio.sleep(0)
            user.grant(role.id, by=None, now=tx.now)
            await tx.users.save(user)
            await asyncio.sleep(0)
            await tx.commit()

    async def forget() -> None:
        async with uow.begin(SYSTEM) as tx:
            await tx.users.forget_grants(NOON, 3)
            await tx.commit()

    doings = [doing for user in users for doing in (give(user.id), forget())]
    assert await race(doings) == [None] * 16
    held = await seen(uow, lambda tx: page_of_users(tx, UserFilter(role=role.name), None, 30))
    assert len(held) == 8


async def test_a_page_does_not_wait(uow: UnitOfWork) -> None:
    user = new_user()
    await put(uow, user)
    async with uow.begin(SYSTEM) as tx:
        assert await tx.users.get(user.id) == user
        async with asyncio.timeout(PROMPT):
            assert await seen(uow, lambda other: page_of_users(other, UserFilter(), None, 10)) == [user]


# Someone stays


@pytest.fixture
async def admin_role(uow: UnitOfWork) -> Role:
    admin, user = built_in_roles(NOON)
    await put(uow, admin, user)
    return admin


async def test_another_admin_stays_who_is_active_and_admin_for_good(uow: UnitOfWork, admin_role: Role) -> None:
    me = new_user(grants=[new_grant(admin_role)])
    await put(
        uow,
        me,
        new_user(),
        new_user(grants=[new_grant(admin_role)], status=UserStatus.DISABLED),
        new_user(grants=[new_grant(admin_role, until=NOON + 1000 * HOUR)]),
    )
    async with uow.begin(SYSTEM) as tx:
        assert not await tx.users.another_admin_stays(me.id)
        assert await tx.users.another_admin_stays(UserId(uuid4()))
    await put(uow, other := new_user(grants=[new_grant(ADMIN_ROLE_ID)]))
    async with uow.begin(SYSTEM) as tx:
        assert await tx.users.another_admin_stays(me.id)
        assert await tx.users.another_admin_stays(other.id)
        await tx.users.remove(other)
        assert not await tx.users.another_admin_stays(me.id)


async def test_an_empty_store_has_no_other_administrator(uow: UnitOfWork) -> None:
    async with uow.begin(SYSTEM) as tx:
        assert not await tx.users.another_admin_stays(UserId(uuid4()))


@pytest.mark.parametrize("way", ["remove", "disable", "ungrant"])
async def test_admins_who_remove_one_another_leave_one(uow: UnitOfWork, admin_role: Role, way: str) -> None:
    admins = [new_user(grants=[new_grant(admin_role)]) for _ in range(8)]
    await put(uow, *admins)

    async def leave(user_id: UserId) -> bool:
        async with uow.begin(SYSTEM) as tx:
            user = await tx.users.get(user_id)
            assert user is not None
            await asyncio.sleep(0)
            if not await tx.users.another_admin_stays(user_id):
                return False
            await asyncio.sleep(0)
            if way == "remove":
                await tx.users.remove(user)
            elif way == "disable":
                user.update(email=user.email, full_name=None, status=UserStatus.DISABLED, now=tx.now)
                await tx.users.save(user)
            else:
                user.ungrant(ADMIN_ROLE_ID, now=tx.now)
                await tx.users.save(user)
            await tx.commit()
            return True

    outcomes = await race(leave(admin.id) for admin in admins)
    assert sorted(map(str, outcomes)) == ["False", *["True"] * 7]
    found = await seen(uow, lambda tx: page_of_users(tx, UserFilter(), None, 10))
    assert sum(user.lasting_admin for user in found) == 1


# Many at once


async def test_one_of_many_new_users_gets_the_email(uow: UnitOfWork) -> None:
    outcomes = await race(put(uow, new_user("wanted")) for _ in range(20))
    assert sorted(map(repr, outcomes)) == sorted(["None", *[repr(EmailTaken())] * 19])
    assert len(await seen(uow, lambda tx: page_of_users(tx, UserFilter(), None, 30))) == 1


async def test_one_of_many_changes_to_one_email_succeeds(uow: UnitOfWork) -> None:
    users = [new_user() for _ in range(10)]
    await put(uow, *users)

    async def change(user_id: UserId) -> None:
        async with uow.begin(SYSTEM) as tx:
            user = await tx.users.get(user_id)
            assert user is not None
            user.update(email=email("wanted"), full_name=None, status=user.status, now=tx.now)
            await tx.users.save(user)
            await tx.commit()

    outcomes = await race(change(user.id) for user in users)
    assert sorted(map(repr, outcomes)) == sorted(["None", *[repr(EmailTaken())] * 9])
    assert await seen(uow, lambda tx: tx.users.by_email(email("wanted"))) is not None


async def test_grants_given_at_once_are_all_kept(uow: UnitOfWork) -> None:
    roles, user = [new_role() for _ in range(12)], new_user()
    await put(uow, *roles, user)

    async def grant(role_id: RoleId) -> None:
        async with uow.begin(SYSTEM) as tx:
            found = await tx.users.get(user.id)
            assert found is not None
            await asyncio.sleep(0)
            found.grant(role_id, by=None, now=tx.now)
            await tx.users.save(found)
            await tx.commit()

    assert await race(grant(role.id) for role in roles) == [None] * 12
    found = await seen(uow, lambda tx: tx.users.get(user.id))
    assert found is not None
    assert set(found.grants) == {role.id for role in roles}
    assert found.version == 13


async def test_a_user_is_removed_once(uow: UnitOfWork) -> None:
    user = new_user()
    await put(uow, user)

    async def remove() -> bool:
        async with uow.begin(SYSTEM) as tx:
            found = await tx.users.get(user.id)
            if found is None:
                return False
            found.delete()
            await tx.users.remove(found)
            await tx.commit()
            return True

    assert sorted(map(str, await race(remove() for _ in range(8)))) == [*["False"] * 7, "True"]
    assert len(await seen(uow, lambda tx: tx.logs.page(LogFilter(action="user.deleted"), None, 10))) == 1


# --- e-mails that are kept -------------------------------------------------------------------------------------------


async def test_a_reservation_names_its_user_until_it_ends(uow: UnitOfWork, clock: MovableClock) -> None:
    owner = new_user("new")
    kept, until = email("kept"), clock() + HOUR
    await put(uow, owner)
    async with uow.begin(SYSTEM) as tx:
        await tx.users.reserve(kept, owner.id, until)
        await tx.commit()

    async def reserved(name: str, now: datetime) -> ReservedEmail | None:
        return await seen(uow, lambda tx: tx.users.reserved(email(name), now))

    assert await reserved("KEPT", until - timedelta(microseconds=1)) == ReservedEmail(owner.id, until)
    assert await reserved("kept", until) is None
    assert await reserved("new", clock()) is None
    async with uow.begin(SYSTEM) as tx:
        await tx.users.release(owner.id, EVER)
        await tx.commit()
    assert await reserved("kept", clock()) is None


async def test_a_reserved_e_mail_cannot_be_taken(uow: UnitOfWork, clock: MovableClock) -> None:
    owner, other = new_user("owner"), new_user("other")
    await put(uow, owner, other)
    kept = email("kept")
    async with uow.begin(SYSTEM) as tx:
        await tx.users.reserve(kept, owner.id, clock() + HOUR)
        await tx.users.reserve(kept, owner.id, clock() + 2 * HOUR)
        await tx.commit()

    async def take(who: User) -> None:
        async with uow.begin(SYSTEM) as tx:
            user = await tx.users.get(who.id)
            if user is None:
                await tx.users.add(who)
            else:
                user.email = kept
                await tx.users.save(user)
            # not committed: each tries it alone

    clock.move(2 * HOUR - timedelta(microseconds=1))
    for who in (other, new_user("kept")):
        with pytest.raises(EmailTaken):
            await take(who)
    await take(owner)
    clock.move(timedelta(microseconds=1))
    for who in (other, new_user("kept"), owner):
        await take(who)


async def test_a_user_lets_go_of_what_was_kept(uow: UnitOfWork, clock: MovableClock) -> None:
    owner = new_user("owner")
    await put(uow, owner)
    for act in ("release", "remove", "forget"):
        async with uow.begin(SYSTEM) as tx:
            if await tx.users.get(owner.id) is None:
                await tx.users.add(owner)
            await tx.users.reserve(email("kept"), owner.id, clock() + HOUR)
            await tx.commit()
        with pytest.raises(EmailTaken):
            await put(uow, new_user("kept"))
        async with uow.begin(SYSTEM) as tx:
            if act == "release":
                await tx.users.release(owner.id, clock() + 2 * HOUR)  # not that one
                await tx.users.release(owner.id, clock() + HOUR)
            elif act == "remove":
                await tx.users.remove(owner)
            else:
                assert await tx.users.forget_reservations(clock() + HOUR, 10) == 0
                assert await tx.users.forget_reservations(clock() + 2 * HOUR, 10) == 1
            await tx.commit()
        async with uow.begin(SYSTEM) as tx:
            await tx.users.add(new_user("kept"))


async def test_an_e_mail_is_not_taken_while_it_is_given_up(uow: UnitOfWork, clock: MovableClock) -> None:
    """Whoever waits for the one who has it must see that it is kept, though it was not when they began."""
    owner = new_user("kept")
    await put(uow, owner)
    given_up = asyncio.Event()

    async def give_up() -> None:
        async with uow.begin(SYSTEM) as tx:
            user = await tx.users.get(owner.id)
            assert user is not None
            old, user.email = user.email, email("new")
            await tx.users.save(user)
            await tx.users.reserve(old, user.id, clock() + HOUR)
            given_up.set()
            await asyncio.sleep(0.05)  # the other one comes to wait: in the database, where nobody can tell
            await tx.commit()

    async def take() -> None:
        await given_up.wait()
        async with uow.begin(SYSTEM) as tx:
            await tx.users.add(new_user("kept"))
            await tx.commit()

    done = await asyncio.gather(give_up(), take(), return_exceptions=True)
    assert done[0] is None
    assert isinstance(done[1], EmailTaken)


# --- hashes ----------------------------------------------------------------------------------------------------------


async def test_hashes_come_page_by_page_in_the_order_of_ids(uow: UnitOfWork) -> None:
    members = sorted([new_user() for _ in range(5)], key=attrgetter("id"))
    bare = replace(new_user(), password_hash=None)
    await put(uow, *members, bare)
    async with uow.read() as tx:
        first = await tx.users.hashes(None, 3)
        second = await tx.users.hashes(first[-1][0], 3)
        assert await tx.users.hashes(second[-1][0], 3) == []
    assert first + second == [(member.id, member.password_hash) for member in members]


async def test_hashes_are_looked_for_among_the_first_users_alone(uow: UnitOfWork) -> None:
    some = sorted([new_user() for _ in range(5)], key=attrgetter("id"))
    some = [replace(user, password_hash=None) if place in {0, 2} else user for place, user in enumerate(some)]
    await put(uow, *some)
    expected = [(user.id, user.password_hash) for user in some if user.password_hash is not None]
    async with uow.read() as tx:
        assert await tx.users.hashes(None, 9, among=1) == []
        assert await tx.users.hashes(None, 9, among=3) == expected[:1]
        assert await tx.users.hashes(None, 1, among=5) == expected[:1]
        assert await tx.users.hashes(some[0].id, 9, among=3) == expected[:2]
        assert await tx.users.hashes(None, 9, among=9) == expected


async def test_a_hash_is_replaced_only_if_it_is_still_the_one_that_was_read(uow: UnitOfWork) -> None:
    member, new = new_user(), PasswordHash("another hash")
    await put(uow, member)
    before = await seen(uow, lambda tx: tx.users.get(member.id))
    assert before is not None
    assert before.password_hash is not None
    async with uow.begin(SYSTEM) as tx:
        assert await tx.users.rebind(member.id, before.password_hash, new)
        assert not await tx.users.rebind(member.id, before.password_hash, PasswordHash("a third"))
        assert not await tx.users.rebind(UserId(uuid4()), before.password_hash, new)
        await tx.commit()
    assert await seen(uow, lambda tx: tx.users.get(member.id)) == replace(before, password_hash=new)
