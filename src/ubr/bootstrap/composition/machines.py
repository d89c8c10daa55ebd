"""Builds the use cases of machines."""

from __future__ import annotations

from ubr.application.app import MachineUseCases
from ubr.application.machines.create_machine import CreateMachine
from ubr.application.machines.create_machine_key import CreateMachineKey
from ubr.application.machines.delete_machine import DeleteMachine
from ubr.application.machines.get_machine import GetMachine
from ubr.application.machines.list_machine_keys import ListMachineKeys
from ubr.application.machines.list_machines import ListMachines
from ubr.application.machines.log_in_machine import LogInMachine
from ubr.application.machines.revoke_machine_key import RevokeMachineKey
from ubr.application.machines.rotate_machine_key import RotateMachineKey
from ubr.application.machines.update_machine import UpdateMachine
from ubr.bootstrap.ports import Ports
from ubr.bootstrap.services import Services


def machine_use_cases(ports: Ports, services: Services) -> MachineUseCases:
    return MachineUseCases(
        create_machine=CreateMachine(unit_of_work=services.unit_of_work, new_id=ports.new_id, denials=services.denials),
        get_machine=GetMachine(
            authorize=services.authorize, unit_of_work=services.unit_of_work, denials=services.denials
        ),
        list_machines=ListMachines(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
        ),
        update_machine=UpdateMachine(unit_of_work=services.unit_of_work, denials=services.denials),
        delete_machine=DeleteMachine(unit_of_work=services.unit_of_work, denials=services.denials),
        create_machine_key=CreateMachineKey(
            unit_of_work=services.unit_of_work,
            mint=ports.security.machine_keys,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
        list_machine_keys=ListMachineKeys(
            authorize=services.authorize,
            unit_of_work=services.unit_of_work,
            pager=services.pager,
            denials=services.denials,
        ),
        rotate_machine_key=RotateMachineKey(
            unit_of_work=services.unit_of_work,
            mint=ports.security.machine_keys,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
        revoke_machine_key=RevokeMachineKey(unit_of_work=services.unit_of_work, denials=services.denials),
        log_in_machine=LogInMachine(
            unit_of_work=services.unit_of_work,
            rate_limiter=services.rate_limiter,
            keys=services.keys,
            mint=ports.security.machine_keys,
            issuer=services.issuer,
            new_id=ports.new_id,
            policy=ports.decisions.policy,
            denials=services.denials,
        ),
    )
