"""The checkpoints of the audit log, in a bucket where no one can delete or replace them, and the task that writes them.

A checkpoint shows a later truncation or change of the log, also by someone who controls the database. So it is kept
where the database and the service cannot reach back: the bucket locks each version for years (Object Lock, compliance).
"""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration, RemovalPolicy, aws_s3, aws_scheduler
from constructs import Construct

from deploy.aws.fleet.access import AccessStack
from deploy.aws.fleet.base import FleetStack, accept
from deploy.aws.fleet.keys import KeysStack
from deploy.aws.fleet.network import NetworkStack
from deploy.aws.fleet.parameters import Parameters
from deploy.aws.fleet.service import ServiceStack


class AuditStack(FleetStack):
    def __init__(
        self,
        scope: Construct,
        parameters: Parameters,
        *,
        keys: KeysStack,
        network: NetworkStack,
        access: AccessStack,
        service: ServiceStack,
    ) -> None:
        super().__init__(scope, "audit", parameters, "The checkpoints of the audit log of ubr")
        self.bucket = self._bucket(keys, network, access)
        self._schedule(network, access, service)
        CfnOutput(self, "Checkpoint", value=f"s3://{self.bucket.bucket_name}/checkpoint.txt")

    def _bucket(self, keys: KeysStack, network: NetworkStack, access: AccessStack) -> aws_s3.Bucket:
        years = self.parameters.audit.lock_years
        bucket = aws_s3.Bucket(
            self,
            "Checkpoints",
            bucket_name=access.checkpoint_bucket,
            encryption=aws_s3.BucketEncryption.KMS,
            encryption_key=keys.audit,
            bucket_key_enabled=True,
            enforce_ssl=True,
            versioned=True,
            object_lock_enabled=True,
            object_lock_default_retention=aws_s3.ObjectLockRetention.compliance(Duration.days(365 * years)),
            # An earlier checkpoint goes once nothing locks it.
            lifecycle_rules=[aws_s3.LifecycleRule(noncurrent_version_expiration=Duration.days(365 * years + 30))],
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=aws_s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            server_access_logs_bucket=aws_s3.Bucket.from_bucket_name(
                self, "AccessLogs", network.access_logs.bucket_name
            ),
            server_access_logs_prefix="checkpoints/",
            removal_policy=RemovalPolicy.RETAIN,
        )
        accept(
            bucket,
            "A checkpoint is small and public by nature. Each one replaces the need for the earlier ones, and one copy "
            "outside the account, which the guide describes, is worth more than a replica inside it.",
            "NIST.800.53.R5-S3BucketReplicationEnabled",
        )
        return bucket

    def _schedule(self, network: NetworkStack, access: AccessStack, service: ServiceStack) -> None:
        hours = self.parameters.audit.every_hours
        aws_scheduler.CfnSchedule(
            self,
            "Schedule",
            name=f"{self.prefix}-checkpoint",
            description="Writes a checkpoint of the audit log of ubr",
            schedule_expression=f"rate({hours} {'hour' if hours == 1 else 'hours'})",
            flexible_time_window=aws_scheduler.CfnSchedule.FlexibleTimeWindowProperty(
                mode="FLEXIBLE", maximum_window_in_minutes=15
            ),
            target=aws_scheduler.CfnSchedule.TargetProperty(
                arn=access.cluster_arn,
                role_arn=access.scheduler.role_arn,
                retry_policy=aws_scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_retry_attempts=3, maximum_event_age_in_seconds=3600
                ),
                ecs_parameters=aws_scheduler.CfnSchedule.EcsParametersProperty(
                    task_definition_arn=service.checkpoint_task.task_definition_arn,
                    launch_type="FARGATE",
                    task_count=1,
                    network_configuration=aws_scheduler.CfnSchedule.NetworkConfigurationProperty(
                        awsvpc_configuration=aws_scheduler.CfnSchedule.AwsVpcConfigurationProperty(
                            subnets=network.vpc.select_subnets(subnet_group_name="service").subnet_ids,
                            security_groups=[network.service.security_group_id],
                            assign_public_ip="DISABLED",
                        )
                    ),
                ),
            ),
        )
