"""Builds the use cases of accounts."""

from __future__ import annotations

from ubr.application.accounts.change_password import ChangePassword
from ubr.application.accounts.create_admin import CreateAdmin
from ubr.application.accounts.create_user import CreateUser
from ubr.application.accounts.delete_user import DeleteUser
from ubr.application.accounts.erase_user import EraseUser
from ubr.application.accounts.explain_login import ExplainLogin
from ubr.application.accounts.export_user import ExportUser
from ubr.application.accounts.get_me import GetMe
from ubr.application.accounts.get_user import GetUser
from ubr.application.accounts.get_user_by_email import GetUserByEmail
from ubr.application.accounts.index_user_fields import IndexUserFields
from ubr.application.accounts.list_users import ListUsers
from ubr.application.accounts.register_user import RegisterUser
from ubr.application.accounts.request_email_change import RequestEmailChange
from ubr.application.accounts.request_password_reset import RequestPasswordReset
from ubr.application.accounts.resend_verification import ResendVerification
from ubr.application.accounts.reset_password import ResetPassword
from ubr.application.accounts.undo_email_change import UndoEmailChange
from ubr.application.accounts.unlock_user import UnlockUser
from ubr.application.accounts.update_user import UpdateUser
from ubr.application.accounts.verify_email import VerifyEmail
from ubr.application.app import AccountUseCases
from ubr.bootstrap.ports import Ports
from ubr.bootstrap.services import Services


def account_use_cases(ports: Ports, services: Services) -> AccountUseCases:
    return AccountUseCases(
        register_user=RegisterUser(
            unit_of_work=services.unit_of_work,
            hasher=ports.security.hasher,
            passwords=services.passwords,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            new_id=ports.new_id,
            mail_queue=services.mail_queue,
            rate_limiter=services.rate_limiter,
            policy=ports.decisions.policy,
            idempotency=services.idempotency,
            denials=services.denials,
            hooks=ports.hooks,
            user_fields=ports.user_fields,
        ),
        change_password=ChangePassword(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            passwords=services.passwords,
            hasher=ports.security.hasher,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            browser_sessions=services.browser_sessions,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
        request_password_reset=RequestPasswordReset(
            unit_of_work=services.unit_of_work,
            mail_queue=services.mail_queue,
            rate_limiter=services.rate_limiter,
            denials=services.denials,
        ),
        reset_password=ResetPassword(
            unit_of_work=services.unit_of_work,
            tokens=ports.security.link_tokens,
            rate_limiter=services.rate_limiter,
            hasher=ports.security.hasher,
            passwords=services.passwords,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            policy=ports.decisions.policy,
            denials=services.denials,
            user_fields=ports.user_fields,
        ),
        request_email_change=RequestEmailChange(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            passwords=services.passwords,
            rate_limiter=services.rate_limiter,
            mail_queue=services.mail_queue,
            denials=services.denials,
        ),
        verify_email=VerifyEmail(
            unit_of_work=services.unit_of_work,
            tokens=ports.security.link_tokens,
            rate_limiter=services.rate_limiter,
            hasher=ports.security.hasher,
            passwords=services.passwords,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            new_id=ports.new_id,
            mail_queue=services.mail_queue,
            policy=ports.decisions.policy,
            denials=services.denials,
            user_fields=ports.user_fields,
        ),
        resend_verification=ResendVerification(
            unit_of_work=services.unit_of_work,
            mail_queue=services.mail_queue,
            rate_limiter=services.rate_limiter,
            denials=services.denials,
        ),
        undo_email_change=UndoEmailChange(
            unit_of_work=services.unit_of_work,
            tokens=ports.security.link_tokens,
            rate_limiter=services.rate_limiter,
            mail_queue=services.mail_queue,
            denials=services.denials,
        ),
        get_me=GetMe(
            authorize=services.authorize,
            clock=ports.clock,
            denials=services.denials,
            user_fields=ports.user_fields,
        ),
        get_user=GetUser(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            clock=ports.clock,
            denials=services.denials,
            user_fields=ports.user_fields,
        ),
        get_user_by_email=GetUserByEmail(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            denials=services.denials,
            user_fields=ports.user_fields,
        ),
        list_users=ListUsers(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
            user_fields=ports.user_fields,
        ),
        create_user=CreateUser(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            hasher=ports.security.hasher,
            passwords=services.passwords,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            new_id=ports.new_id,
            mail_queue=services.mail_queue,
            policy=ports.decisions.policy,
            idempotency=services.idempotency,
            denials=services.denials,
            hooks=ports.hooks,
            user_fields=ports.user_fields,
        ),
        update_user=UpdateUser(
            unit_of_work=services.unit_of_work,
            passwords=services.passwords,
            rate_limiter=services.rate_limiter,
            mail_queue=services.mail_queue,
            denials=services.denials,
            hooks=ports.hooks,
            user_fields=ports.user_fields,
        ),
        delete_user=DeleteUser(
            unit_of_work=services.unit_of_work,
            denials=services.denials,
            hooks=ports.hooks,
            user_fields=ports.user_fields,
        ),
        erase_user=EraseUser(unit_of_work=services.unit_of_work, denials=services.denials),
        unlock_user=UnlockUser(
            unit_of_work=services.unit_of_work, locks=services.account_locks, denials=services.denials
        ),
        explain_login=ExplainLogin(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            locks=services.account_locks,
            hasher=ports.security.hasher,
            policy=ports.decisions.policy,
            denials=services.denials,
            user_fields=ports.user_fields,
        ),
        export_user=ExportUser(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            clock=ports.clock,
            locks=services.account_locks,
            rate_limiter=services.rate_limiter,
            feed=ports.feed,
            denials=services.denials,
            user_fields=ports.user_fields,
        ),
        create_admin=CreateAdmin(
            unit_of_work=services.unit_of_work,
            hasher=ports.security.hasher,
            passwords=services.passwords,
            is_common=ports.security.is_common,
            is_guessable=ports.security.is_guessable,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            denials=services.denials,
            user_fields=ports.user_fields,
        ),
        index_user_fields=IndexUserFields(
            unit_of_work=services.unit_of_work, denials=services.denials, user_fields=ports.user_fields
        ),
    )
