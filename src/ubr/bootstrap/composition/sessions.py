"""Builds the use cases of sessions."""

from __future__ import annotations

from ubr.application.app import SessionUseCases
from ubr.application.sessions.authenticate import Authenticate
from ubr.application.sessions.issue_access_token import IssueAccessToken
from ubr.application.sessions.list_sessions import ListSessions
from ubr.application.sessions.log_in import LogIn
from ubr.application.sessions.log_in_browser import LogInBrowser
from ubr.application.sessions.log_out import LogOut
from ubr.application.sessions.refresh_session import RefreshSession
from ubr.application.sessions.revoke_other_sessions import RevokeOtherSessions
from ubr.application.sessions.revoke_session import RevokeSession
from ubr.application.sessions.revoke_user_sessions import RevokeUserSessions
from ubr.bootstrap.ports import Ports
from ubr.bootstrap.services import Services


def session_use_cases(ports: Ports, services: Services) -> SessionUseCases:
    return SessionUseCases(
        log_in=LogIn(
            unit_of_work=services.unit_of_work,
            passwords=services.passwords,
            keys=services.keys,
            mint=ports.security.refresh_tokens,
            issuer=services.issuer,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            denials=services.denials,
            hooks=ports.hooks,
        ),
        refresh_session=RefreshSession(
            unit_of_work=services.unit_of_work,
            rate_limiter=services.rate_limiter,
            keys=services.keys,
            mint=ports.security.refresh_tokens,
            issuer=services.issuer,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
        log_in_browser=LogInBrowser(
            unit_of_work=services.unit_of_work,
            passwords=services.passwords,
            authenticate=services.authenticate_cookie,
            sessions=services.browser_sessions,
            denials=services.denials,
            hooks=ports.hooks,
            user_fields=ports.user_fields,
        ),
        issue_access_token=IssueAccessToken(
            unit_of_work=services.unit_of_work,
            authenticate=services.authenticate_cookie,
            rate_limiter=services.rate_limiter,
            keys=services.keys,
            issuer=services.issuer,
            denials=services.denials,
        ),
        log_out=LogOut(unit_of_work=services.unit_of_work, denials=services.denials),
        authenticate=Authenticate(
            authorize=services.authorize,
            access_tokens=ports.security.access_tokens,
            keys=services.keys,
            clock=ports.clock,
        ),
        authenticate_cookie=services.authenticate_cookie,
        list_sessions=ListSessions(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            clock=ports.clock,
            pager=services.pager,
            denials=services.denials,
        ),
        revoke_session=RevokeSession(unit_of_work=services.unit_of_work, denials=services.denials),
        revoke_other_sessions=RevokeOtherSessions(unit_of_work=services.unit_of_work, denials=services.denials),
        revoke_user_sessions=RevokeUserSessions(unit_of_work=services.unit_of_work, denials=services.denials),
    )
