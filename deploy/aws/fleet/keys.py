"""The KMS keys. They come first, because the data, the logs and the alarms of all other stacks are encrypted."""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration, RemovalPolicy, aws_iam, aws_kms
from constructs import Construct

from deploy.aws.fleet.base import FleetStack
from deploy.aws.fleet.parameters import Parameters


class KeysStack(FleetStack):
    def __init__(self, scope: Construct, parameters: Parameters) -> None:
        super().__init__(scope, "keys", parameters, "The KMS keys of ubr")
        self.data = self._key("Data", "data", "The database, Redis, and the secrets of ubr")
        self.logs = self._key("Logs", "logs", "The log groups of ubr")
        self.alarms = self._key("Alarms", "alarms", "The topic of the alarms of ubr")
        self.audit = self._key("Audit", "audit", "The checkpoints of the audit log of ubr")
        self._for_service(
            self.logs,
            f"logs.{parameters.region}.amazonaws.com",
            "ArnLike",
            "kms:EncryptionContext:aws:logs:arn",
            self.arn_of("logs", "log-group:*"),
        )
        # Each of these publishes to the encrypted topic.
        for service in ("cloudwatch", "events", "backup"):
            self._for_service(
                self.alarms, f"{service}.amazonaws.com", "StringEquals", "aws:SourceAccount", parameters.account
            )
        CfnOutput(self, "DataKey", value=self.data.key_arn)

    def _key(self, id: str, name: str, description: str) -> aws_kms.Key:
        return aws_kms.Key(
            self,
            id,
            alias=f"alias/{self.prefix}-{name}",
            description=description,
            enable_key_rotation=True,
            pending_window=Duration.days(30),
            removal_policy=RemovalPolicy.RETAIN,
        )

    @staticmethod
    def _for_service(key: aws_kms.Key, service: str, operator: str, condition: str, value: str) -> None:
        key.add_to_resource_policy(
            aws_iam.PolicyStatement(
                principals=[aws_iam.ServicePrincipal(service)],
                actions=[
                    "kms:Decrypt",
                    "kms:DescribeKey",
                    "kms:Encrypt",
                    "kms:GenerateDataKey",
                    "kms:ReEncryptFrom",
                    "kms:ReEncryptTo",
                ],
                resources=["*"],
                conditions={operator: {condition: value}},
            )
        )
