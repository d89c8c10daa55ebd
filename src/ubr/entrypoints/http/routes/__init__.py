"""The controllers, by theme. Each reads a request, calls one use case and hands its result on."""

from ubr.entrypoints.http.routes.auth import Auth
from ubr.entrypoints.http.routes.documents import Documents
from ubr.entrypoints.http.routes.health import Health
from ubr.entrypoints.http.routes.logs import Logs
from ubr.entrypoints.http.routes.machines import MachineLogin, Machines
from ubr.entrypoints.http.routes.metrics import Metrics
from ubr.entrypoints.http.routes.problems import Problems
from ubr.entrypoints.http.routes.revocations import Revocations
from ubr.entrypoints.http.routes.roles import Roles
from ubr.entrypoints.http.routes.sessions import Sessions
from ubr.entrypoints.http.routes.users import Users

CONTROLLERS = (
    Auth,
    MachineLogin,
    Sessions,
    Revocations,
    Users,
    Roles,
    Machines,
    Logs,
    Health,
    Metrics,
    Documents,
    Problems,
)

__all__ = ["CONTROLLERS"]
