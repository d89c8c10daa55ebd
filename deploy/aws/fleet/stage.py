"""All stacks of one environment, in the order in which they depend on each other."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import App, Stack, Validations
from cdk_nag import AwsSolutionsChecks, NIST80053R5Checks

from deploy.aws.fleet.access import AccessStack
from deploy.aws.fleet.audit import AuditStack
from deploy.aws.fleet.backup import BackupStack, CopyStack
from deploy.aws.fleet.data import DataStack
from deploy.aws.fleet.edge import EdgeStack
from deploy.aws.fleet.images import ImagesStack
from deploy.aws.fleet.keys import KeysStack
from deploy.aws.fleet.network import NetworkStack
from deploy.aws.fleet.observability import ObservabilityStack
from deploy.aws.fleet.parameters import Parameters
from deploy.aws.fleet.service import ServiceStack


@dataclass(frozen=True, slots=True)
class Fleet:
    stacks: tuple[Stack, ...]


def build(app: App, parameters: Parameters, version: str) -> Fleet:
    """The stacks of an environment, with this version of the image."""
    keys = KeysStack(app, parameters)
    network = NetworkStack(app, parameters, keys)
    images = ImagesStack(app, parameters, keys)
    data = DataStack(app, parameters, keys, network)
    access = AccessStack(app, parameters, keys, images, data)
    service = ServiceStack(
        app, parameters, version, keys=keys, network=network, images=images, data=data, access=access
    )
    audit = AuditStack(app, parameters, keys=keys, network=network, access=access, service=service)
    copy = CopyStack(app, parameters)
    backup = BackupStack(app, parameters, keys=keys, network=network, data=data)
    # The plan names the vault in the other region.
    backup.add_stack_dependency(copy)
    edge = EdgeStack(app, parameters)
    observability = ObservabilityStack(app, parameters, keys=keys, data=data, access=access, service=service)
    return Fleet((keys, network, images, data, access, service, audit, copy, backup, edge, observability))


def with_rules(app: App) -> None:
    """Let the synthesis fail at each finding of cdk-nag that is not accepted in the code."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), NIST80053R5Checks(app))
