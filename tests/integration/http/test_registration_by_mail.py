"""Registration where the mail decides: nobody can tell from outside who has an account."""

from __future__ import annotations

from tests.integration.http.kit import PASSWORD, assert_problem, in_process, memory_settings
from tests.support.people import token_in
from ubr.testing import delivered

REGISTER, VERIFY = "/api/auth/register", "/api/auth/email/verify"


async def test_every_registration_is_answered_alike() -> None:
    async with in_process(memory_settings(registration="verified")) as service:
        assert service.ubr is not None
        client = service.client
        told = []
        for email in ("new@example.org", "new@example.org", "NEW@example.org", "other@example.org"):
            answer = await client.post(REGISTER, json={"email": email, "full_name": "New"})
            headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
            told.append((answer.status_code, answer.content, headers))
            if len(told) == 1:
                [mail] = await delivered(service.ubr)
                done = await client.post(VERIFY, json={"token": token_in(mail), "password": PASSWORD})
                assert done.status_code == 204
        assert told == [told[0]] * 4
        assert told[0][:2] == (202, b"")
        assert (await service.logged_in("new@example.org"))["user"]["email_verified"] is True


async def test_a_password_is_taken_with_the_link_alone() -> None:
    async with in_process(memory_settings(registration="verified")) as service:
        body = {"email": "new@example.org", "password": PASSWORD}
        told = assert_problem(await service.client.post(REGISTER, json=body), 400)
        assert [flaw["pointer"] for flaw in told["errors"]] == ["/password"]


async def test_tried_again_with_its_key_one_mail_goes_out() -> None:
    async with in_process(memory_settings(registration="verified")) as service:
        assert service.ubr is not None
        headers = {"idempotency-key": "once"}
        for _ in range(3):
            answer = await service.client.post(REGISTER, json={"email": "new@example.org"}, headers=headers)
            assert (answer.status_code, answer.content) == (202, b"")
        assert len(await delivered(service.ubr)) == 1
        other = await service.client.post(REGISTER, json={"email": "other@example.org"}, headers=headers)
        assert assert_problem(other, 422)["type"] == "/problems/idempotency-key-reused"
