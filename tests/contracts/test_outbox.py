"""What a store promises about letters that wait."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from tests.contracts.kit import HOUR, NOON, email, new_user, pages, put, race, seen
from tests.support.values import replace
from ubr.application.ports.mail import MailBacklog
from ubr.application.ports.paging import After
from ubr.application.ports.unit_of_work import UnitOfWork
from ubr.domain.accounts.email import Email
from ubr.domain.accounts.user import User
from ubr.domain.actor import SYSTEM
from ubr.domain.errors import UserNotFound
from ubr.domain.ids import SessionId
from ubr.domain.mail.kinds import LINK_MAILS, MailKind
from ubr.domain.mail.queued_mail import QueuedMail

pytestmark = pytest.mark.anyio

TICK = timedelta(microseconds=1)


def new_letter(to: str = "somebody", *, user: User | None = None, due: timedelta = timedelta(0)) -> QueuedMail:
    return QueuedMail(
        id=uuid4(),
        kind=MailKind.EMAIL_CHANGE,
        email=email(to),
        user_id=None if user is None else user.id,
        full_name="Somebody",
        new_email="new@example.com",
        session_id=SessionId(uuid4()),
        ip="2001:db8::1",
        request_id="one",
        request_id_given=True,
        created_at=NOON + due,
        next_try_at=NOON + due,
    )


async def add(uow: UnitOfWork, *queued_mails: QueuedMail) -> None:
    async with uow.begin(SYSTEM) as tx:
        for queued in queued_mails:
            await tx.outbox.add(queued)
        await tx.commit()


async def claim(uow: UnitOfWork, limit: int = 10) -> list[QueuedMail]:
    async with uow.begin(SYSTEM) as tx:
        queued_mails = await tx.outbox.claim(NOON, NOON + HOUR, limit)
        await tx.commit()
        return queued_mails


def ids(queued_mails: Iterable[QueuedMail]) -> list[object]:
    return [queued.id for queued in queued_mails]


async def listed(uow: UnitOfWork, *, dead: bool | None = None) -> list[QueuedMail]:
    return await seen(uow, lambda tx: tx.outbox.page(None, 100, dead=dead))


async def test_a_letter_comes_back_as_it_was(uow: UnitOfWork) -> None:
    user = new_user()
    await put(uow, user)
    queued_mails = [
        new_letter(user=user),
        replace(new_letter("other", due=TICK), full_name=None, ip=None, session_id=None),
    ]
    await add(uow, *queued_mails)
    async with uow.read() as tx:
        assert [await tx.outbox.get(queued.id) for queued in queued_mails] == queued_mails
    assert await seen(uow, lambda tx: tx.outbox.get(uuid4())) is None
    assert await listed(uow) == queued_mails


async def test_due_mails_are_claimed_for_a_time(uow: UnitOfWork) -> None:
    later, last, first, dead = (
        new_letter(due=TICK), new_letter(), new_letter(due=-HOUR), replace(new_letter(due=-HOUR), dead=True)
    )  # fmt: skip
    assert not await seen(uow, lambda tx: tx.outbox.due(NOON))
    await add(uow, later, last, first, dead)
    assert await seen(uow, lambda tx: tx.outbox.due(NOON))
    assert ids(await claim(uow, 1)) == [first.id]
    [claimed] = await claim(uow)
    assert claimed == replace(last, next_try_at=NOON + HOUR)
    assert await claim(uow) == []
    assert not await seen(uow, lambda tx: tx.outbox.due(NOON))
    async with uow.begin(SYSTEM) as tx:
        again = await tx.outbox.claim(NOON + HOUR, NOON + 2 * HOUR, 10)
        assert {*ids(again)} == {first.id, last.id, later.id}


async def test_mails_to_other_domains_are_claimed_without_some(uow: UnitOfWork) -> None:
    domains = ["example.com", "mail.example.com", "examplescom.example", "example.org"]
    mails = [replace(new_letter(due=n * -HOUR), email=Email.parse(f"ada@{domain}")) for n, domain in enumerate(domains)]
    await add(uow, *mails)

    async def claimed(*without: str) -> set[object]:
        async with uow.begin(SYSTEM) as tx:  # not committed
            found = await tx.outbox.claim(NOON, NOON + HOUR, 10, without=without)
            assert await tx.outbox.due(NOON, without=domains) is False
            return set(ids(found))

    assert await claimed() == set(ids(mails))
    assert await claimed("example.com") == set(ids(mails[1:]))
    assert await claimed("example.com", "example.org") == set(ids(mails[1:3]))
    assert await claimed(*domains) == set()
    assert await seen(uow, lambda tx: tx.outbox.due(NOON, without=domains[:3]))
    assert not await seen(uow, lambda tx: tx.outbox.due(NOON, without=domains))


async def test_the_backlog_counts_the_due_and_the_dead_mails(uow: UnitOfWork) -> None:
    async with uow.read() as tx:
        assert await tx.outbox.backlog(NOON) == MailBacklog(due=0, dead=0, oldest=None)
    dead = replace(new_letter("dead", due=-2 * HOUR), dead=True)
    await add(uow, new_letter("later", due=TICK), new_letter("due"), new_letter("older", due=-HOUR), dead)
    async with uow.read() as tx:
        backlog = await tx.outbox.backlog(NOON)
    assert backlog == MailBacklog(due=2, dead=1, oldest=NOON - HOUR)
    assert (backlog.age(NOON), backlog.age(NOON - 2 * HOUR)) == (HOUR, timedelta(0))
    await claim(uow)
    async with uow.read() as tx:
        assert await tx.outbox.backlog(NOON) == MailBacklog(due=0, dead=1, oldest=None), "a claimed one is not due"


async def test_a_claim_that_comes_to_nothing_takes_nothing(uow: UnitOfWork) -> None:
    await add(uow, queued := new_letter())
    async with uow.begin(SYSTEM) as tx:
        assert ids(await tx.outbox.claim(NOON, NOON + HOUR, 1)) == [queued.id]
    assert ids(await claim(uow)) == [queued.id]


async def test_no_letter_is_claimed_twice(uow: UnitOfWork) -> None:
    queued_mails = [new_letter(f"n{n}") for n in range(20)]
    await add(uow, *queued_mails)
    done = await race(claim(uow, 3) for _ in range(8))
    found = [id for claimed in done if isinstance(claimed, list) for id in ids(claimed)]
    assert len(found) == len(set(found))
    rest = ids(await claim(uow, 100))
    assert {*found, *rest} == set(ids(queued_mails))


async def test_a_new_state_is_stored_and_a_letter_removed(uow: UnitOfWork) -> None:
    await add(uow, queued := new_letter(), other := new_letter("other", due=TICK))
    failed = queued.failed("the server answered 451", for_good=True, now=NOON)
    gone = new_letter()
    async with uow.begin(SYSTEM) as tx:
        assert await tx.outbox.save(failed, was=queued)
        assert not await tx.outbox.save(gone, was=gone)
        await tx.commit()
    assert (await listed(uow), await listed(uow, dead=True), await listed(uow, dead=False)) == (
        [failed, other],
        [failed],
        [other],
    )
    for _ in range(2):
        async with uow.begin(SYSTEM) as tx:
            await tx.outbox.remove(failed)
            await tx.commit()
    assert await listed(uow) == [other]


async def test_a_caller_without_its_claim_changes_nothing(uow: UnitOfWork) -> None:
    await add(uow, queued := new_letter())
    [claimed] = await claim(uow)
    async with uow.begin(SYSTEM) as tx:
        assert not await tx.outbox.save(queued.again(NOON), was=queued)
        await tx.outbox.remove(queued)
        await tx.commit()
    assert await listed(uow) == [claimed]


@pytest.mark.parametrize("since", [None, NOON, NOON + TICK])
async def test_queued_mails_end_with_the_links_that_they_would_bring(uow: UnitOfWork, since: datetime | None) -> None:
    user, another = new_user(), new_user()
    await put(uow, user, another)
    about = [replace(new_letter(user=user), kind=kind) for kind in LINK_MAILS]
    by_email = [replace(new_letter(), kind=kind, email=user.email) for kind in LINK_MAILS]
    undo = replace(new_letter(user=user), kind=MailKind.EMAIL_CHANGED)
    notice = replace(new_letter(user=user), kind=MailKind.EMAIL_CHANGE_ASKED)
    kept = [notice, new_letter(user=another), new_letter()]
    await add(uow, *about, *by_email, undo, *kept)
    async with uow.begin(SYSTEM) as tx:
        await tx.outbox.forget_links(user.id, user.email, changed_since=since)
        await tx.commit()
    left = {queued.id for queued in await listed(uow)}
    assert left == {*(queued.id for queued in kept), *(() if since == NOON else (undo.id,))}


async def test_letters_are_paged_oldest_first(uow: UnitOfWork) -> None:
    queued_mails = [new_letter(due=n // 2 * TICK) for n in range(6)]
    await add(uow, *reversed(queued_mails))
    queued_mails.sort(key=lambda queued: (queued.created_at, queued.id))

    async def page(last: QueuedMail | None) -> list[QueuedMail]:
        after = None if last is None else After(last.created_at, last.id)
        return await seen(uow, lambda tx: tx.outbox.page(after, 2))

    found = await pages(page)
    assert found == queued_mails


async def test_letters_go_with_their_user_or_their_e_mail(uow: UnitOfWork) -> None:
    user = new_user()
    await put(uow, user)
    own, other = new_letter(user=user), new_letter("other")
    await add(uow, own, other, new_letter("other"))
    async with uow.begin(SYSTEM) as tx:
        await tx.users.remove(user)
        await tx.commit()
    assert len(await listed(uow)) == 2
    async with uow.begin(SYSTEM) as tx:
        await tx.outbox.forget_email(other.email, user.id)
        await tx.commit()
    assert await listed(uow) == []
    with pytest.raises(UserNotFound):
        await add(uow, new_letter(user=user))


async def test_letters_are_forgotten_in_batches(uow: UnitOfWork) -> None:
    await add(uow, *(new_letter(due=-n * HOUR) for n in range(1, 4)), late := new_letter())
    counts = []
    for _ in range(3):
        async with uow.begin(SYSTEM) as tx:
            counts.append(await tx.outbox.forget(NOON, 2))
            await tx.commit()
    assert counts == [2, 1, 0]
    assert await listed(uow) == [late]
    async with uow.begin(SYSTEM) as tx:
        assert (await tx.outbox.forget_all(5), await tx.outbox.forget_all(5)) == (1, 0)
