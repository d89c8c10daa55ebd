"""The registry of the image. It is a stack of its own, because the service needs an image in it to start."""

from __future__ import annotations

from aws_cdk import CfnOutput, RemovalPolicy, aws_ecr
from constructs import Construct

from deploy.aws.fleet.base import FleetStack
from deploy.aws.fleet.keys import KeysStack
from deploy.aws.fleet.parameters import Parameters


class ImagesStack(FleetStack):
    def __init__(self, scope: Construct, parameters: Parameters, keys: KeysStack) -> None:
        super().__init__(scope, "images", parameters, "The registry of the image of ubr")
        self.repository = aws_ecr.Repository(
            self,
            "Repository",
            repository_name=self.prefix,
            image_scan_on_push=True,
            image_tag_mutability=aws_ecr.TagMutability.IMMUTABLE,
            encryption=aws_ecr.RepositoryEncryption.KMS,
            encryption_key=keys.data,
            lifecycle_rules=[
                # Old versions are the way back, so only the very old ones go.
                aws_ecr.LifecycleRule(description="Keep 50 versions", max_image_count=50),
            ],
            removal_policy=RemovalPolicy.RETAIN,
        )
        CfnOutput(self, "RepositoryUri", value=self.repository.repository_uri)
