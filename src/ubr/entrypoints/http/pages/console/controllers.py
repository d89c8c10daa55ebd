"""The controllers of the console."""

from __future__ import annotations

from typing import Final

from ubr.entrypoints.http.pages.console.log import LogDesk
from ubr.entrypoints.http.pages.console.machines import MachinesDesk
from ubr.entrypoints.http.pages.console.operations import OperationsDesk
from ubr.entrypoints.http.pages.console.overview import OverviewDesk
from ubr.entrypoints.http.pages.console.roles import RolesDesk
from ubr.entrypoints.http.pages.console.user import UserDesk
from ubr.entrypoints.http.pages.console.users import UsersDesk

CONSOLE: Final = (OverviewDesk, UsersDesk, UserDesk, RolesDesk, MachinesDesk, LogDesk, OperationsDesk)
