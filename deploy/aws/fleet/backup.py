"""Backups: a snapshot every day in a locked vault, a copy in a second region, and a restore every week as a test."""

from __future__ import annotations

from typing import Final

from aws_cdk import CfnOutput, Duration, RemovalPolicy, aws_backup, aws_iam, aws_kms
from constructs import Construct

from deploy.aws.fleet.base import FleetStack, accept_wildcards, allow, role
from deploy.aws.fleet.data import DataStack
from deploy.aws.fleet.keys import KeysStack
from deploy.aws.fleet.network import NetworkStack
from deploy.aws.fleet.parameters import Parameters

_SNAPSHOTS: Final = "awsbackup:*"
_TESTED: Final = "awsbackup-restore-test-*"
"""The start of the name of every database that a restore test makes."""


def vault_name(parameters: Parameters) -> str:
    """The name of the vault in both regions."""
    return f"{parameters.prefix}-backups"


def _vault(scope: FleetStack, key: aws_kms.IKey, days: int) -> aws_backup.BackupVault:
    parameters = scope.parameters
    return aws_backup.BackupVault(
        scope,
        "Vault",
        backup_vault_name=vault_name(parameters),
        encryption_key=key,
        # In compliance mode: after the grace period, not even the account's owner can shorten it.
        lock_configuration=aws_backup.LockConfiguration(
            # The retention of every backup in it; both limits must differ.
            min_retention=Duration.days(days - 1),
            max_retention=Duration.days(days),
            changeable_for=Duration.days(parameters.backup.lock_grace_days),
        ),
        removal_policy=RemovalPolicy.RETAIN,
    )


class CopyStack(FleetStack):
    """The vault in the second region."""

    def __init__(self, scope: Construct, parameters: Parameters) -> None:
        super().__init__(
            scope, "backup-copy", parameters, "The copies of the backups of ubr", region=parameters.backup_region
        )
        key = aws_kms.Key(
            self,
            "Key",
            alias=f"alias/{self.prefix}-backup-copy",
            description="The copies of the backups of ubr",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        self.key_arn = key.key_arn
        _vault(self, key, parameters.backup.copy_days)
        CfnOutput(self, "VaultName", value=vault_name(parameters))


class BackupStack(FleetStack):
    def __init__(
        self, scope: Construct, parameters: Parameters, *, keys: KeysStack, network: NetworkStack, data: DataStack
    ) -> None:
        super().__init__(scope, "backup", parameters, "The backups of ubr")
        self._keys, self._data = keys, data
        self._source = self.arn_of("rds", f"db:{self.prefix}")
        self._copy_vault = self.arn_of(
            "backup", f"backup-vault:{vault_name(parameters)}", region=parameters.backup_region
        )
        self.vault = _vault(self, keys.data, parameters.backup.daily_days)
        backup = self._backup_role()
        self._plan(backup)
        if parameters.backup.restore_test:
            self._restore_test(self._restore_role(), network)
        CfnOutput(self, "VaultName", value=self.vault.backup_vault_name)

    def _plan(self, backup: aws_iam.Role) -> None:
        given = self.parameters.backup
        plan = aws_backup.CfnBackupPlan(
            self,
            "Plan",
            backup_plan=aws_backup.CfnBackupPlan.BackupPlanResourceTypeProperty(
                backup_plan_name=self.prefix,
                backup_plan_rule=[
                    aws_backup.CfnBackupPlan.BackupRuleResourceTypeProperty(
                        rule_name="daily",
                        target_backup_vault=self.vault.backup_vault_name,
                        schedule_expression="cron(0 2 * * ? *)",
                        start_window_minutes=60,
                        completion_window_minutes=480,
                        lifecycle=aws_backup.CfnBackupPlan.LifecycleResourceTypeProperty(
                            delete_after_days=given.daily_days
                        ),
                        copy_actions=[
                            aws_backup.CfnBackupPlan.CopyActionResourceTypeProperty(
                                destination_backup_vault_arn=self._copy_vault,
                                lifecycle=aws_backup.CfnBackupPlan.LifecycleResourceTypeProperty(
                                    delete_after_days=given.copy_days
                                ),
                            )
                        ],
                    )
                ],
            ),
        )
        aws_backup.CfnBackupSelection(
            self,
            "Selection",
            backup_plan_id=plan.attr_backup_plan_id,
            backup_selection=aws_backup.CfnBackupSelection.BackupSelectionResourceTypeProperty(
                selection_name="database",
                iam_role_arn=backup.role_arn,
                resources=[self._data.database.instance_arn],
            ),
        )

    def _restore_test(self, restore: aws_iam.Role, network: NetworkStack) -> None:
        name = self.prefix.replace("-", "_")
        plan = aws_backup.CfnRestoreTestingPlan(
            self,
            "RestoreTest",
            restore_testing_plan_name=f"{name}_restore_test",
            schedule_expression="cron(0 6 ? * SUN *)",
            start_window_hours=4,
            recovery_point_selection=aws_backup.CfnRestoreTestingPlan.RestoreTestingRecoveryPointSelectionProperty(
                algorithm="LATEST_WITHIN_WINDOW",
                include_vaults=[self.vault.backup_vault_arn],
                recovery_point_types=["SNAPSHOT"],
                selection_window_days=3,
            ),
        )
        selection = aws_backup.CfnRestoreTestingSelection(
            self,
            "RestoreTestSelection",
            restore_testing_plan_name=plan.restore_testing_plan_name,
            restore_testing_selection_name=f"{name}_database",
            protected_resource_type="RDS",
            protected_resource_arns=[self._data.database.instance_arn],
            iam_role_arn=restore.role_arn,
            validation_window_hours=4,
            restore_metadata_overrides={
                "dbSubnetGroupName": self._data.subnet_group_name,
                "vpcSecurityGroupIds": f'["{network.database.security_group_id}"]',
                "multiAz": "false",
                "publiclyAccessible": "false",
            },
        )
        selection.add_resource_dependency(plan)

    def _snapshots(self, region: str | None = None) -> str:
        return self.arn_of("rds", f"snapshot:{_SNAPSHOTS}", region=region)

    def _backup_role(self) -> aws_iam.Role:
        copies = self._snapshots(self.parameters.backup_region)
        made = role(
            self,
            "Backup",
            name=f"{self.prefix}-backup",
            principal=self._service(),
            description="Backs up the database of ubr",
            statements=[
                allow("rds:CreateDBSnapshot", on=[self._source, self._snapshots()]),
                allow("rds:DescribeDBInstances", "rds:ListTagsForResource", on=[self._source]),
                allow(
                    "rds:AddTagsToResource",
                    "rds:CopyDBSnapshot",
                    "rds:DeleteDBSnapshot",
                    "rds:DescribeDBSnapshots",
                    "rds:ListTagsForResource",
                    "rds:ModifyDBSnapshotAttribute",
                    on=[self._snapshots(), copies],
                ),
                allow("backup:DescribeBackupVault", on=[self.vault.backup_vault_arn, self._copy_vault]),
                allow("backup:CopyIntoBackupVault", on=[self._copy_vault]),
                *self._with_key(),
            ],
        )
        accept_wildcards(self.node.find_child("BackupPolicy"), self._snapshots(), copies)
        return made

    def _restore_role(self) -> aws_iam.Role:
        tested = self.arn_of("rds", f"db:{_TESTED}")
        made = role(
            self,
            "Restore",
            name=f"{self.prefix}-restore-test",
            principal=self._service(),
            description="Restores the database of ubr as a test",
            statements=[
                allow(
                    "rds:AddTagsToResource",
                    "rds:DeleteDBInstance",
                    "rds:DescribeDBInstances",
                    "rds:ListTagsForResource",
                    "rds:RestoreDBInstanceFromDBSnapshot",
                    on=[
                        tested,
                        self._snapshots(),
                        self.arn_of("rds", f"subgrp:{self._data.subnet_group_name}"),
                        self.arn_of("rds", f"pg:{self._data.parameter_group_name}"),
                    ],
                ),
                allow("rds:DescribeDBSnapshots", on=[self._snapshots()]),
                *self._with_key(),
            ],
        )
        accept_wildcards(self.node.find_child("RestorePolicy"), tested, self._snapshots())
        return made

    def _with_key(self) -> list[aws_iam.PolicyStatement]:
        key = self._keys.data.key_arn
        return [
            allow("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", on=[key]),
            allow("kms:CreateGrant", on=[key], conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}}),
        ]

    def _service(self) -> aws_iam.IPrincipal:
        return aws_iam.ServicePrincipal(
            "backup.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": self.parameters.account}}
        )
