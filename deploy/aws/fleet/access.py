"""The roles, each with exactly the statements that it needs, and the way in for workflows of GitHub.

A statement names every action and every resource. `WILDCARDS` lists the exceptions with their reasons; a test holds
that there are no others.
"""

from __future__ import annotations

from typing import Final

from aws_cdk import CfnOutput, aws_iam
from constructs import Construct

from deploy.aws.fleet.base import FleetStack, accept_wildcards, allow, audit_bucket_name, role
from deploy.aws.fleet.data import DataStack
from deploy.aws.fleet.images import ImagesStack
from deploy.aws.fleet.keys import KeysStack
from deploy.aws.fleet.parameters import Parameters

WILDCARDS: Final = {
    r"\*": "ecr:GetAuthorizationToken alone: the token is for the registry of the account, and has no resource.",
    r"arn:aws:logs:[a-z0-9-]+:[0-9]{12}:log-group:[^*]+:log-stream:\*": (
        "Streams have random names; the group is named."
    ),
    r"arn:aws:ecs:[a-z0-9-]+:[0-9]{12}:(task-definition/[^*]+:\*|task/[^*]+/\*)": (
        "Revisions and tasks get new numbers; the family or the cluster is named."
    ),
    r"arn:aws:rds:[a-z0-9-]+:[0-9]{12}:(snapshot:awsbackup:\*|db:awsbackup-restore-test-\*)": (
        "AWS Backup gives random names to snapshots and tested databases, after this prefix."
    ),
    r"key policy": "The policy of a key means this key by `*`, and the topic's, the bucket's and the vault's likewise.",
}
"""The kinds of resources with a wildcard, as regular expressions, and the reason for each. There are no others."""

_GITHUB: Final = "token.actions.githubusercontent.com"


class AccessStack(FleetStack):
    def __init__(
        self, scope: Construct, parameters: Parameters, keys: KeysStack, images: ImagesStack, data: DataStack
    ) -> None:
        super().__init__(scope, "access", parameters, "The roles of ubr")
        self._keys, self._images, self._data = keys, images, data
        self.cluster_name = self.prefix
        self.cluster_arn = self.arn_of("ecs", f"cluster/{self.prefix}")
        self.checkpoint_bucket = audit_bucket_name(parameters)
        self.execution = self._execution("Execution", "execution", "service", owner=False)
        self.migration_execution = self._execution("MigrationExecution", "migration-execution", "migration", owner=True)
        self.task = self._tasks_role("Task", "task", "The service of ubr", [])
        self.migration = self._tasks_role("Migration", "migration", "The migration task of ubr", None)
        self.checkpoint = self._tasks_role("Checkpoint", "checkpoint", "The checkpoint task of ubr", self._checkpoint())
        self.migrator = self._migrator()
        self.scheduler = self._scheduler()
        self._deployment()

    def family_arn(self, task: str) -> str:
        """Every revision of a task definition."""
        return self.arn_of("ecs", f"task-definition/{self.prefix}-{task}:*")

    def _execution(self, id: str, name: str, logs: str, *, owner: bool) -> aws_iam.Role:
        """What ECS itself does before the program starts: load the image, hand in the secrets, open the log."""
        secrets = [self._data.secret_key.secret_arn, self._data.admin.secret_arn]
        if owner:
            secrets.append(self._data.owner_secret_arn)
        if self.parameters.mail is not None:
            secrets.append(self.parameters.mail.secret)
        groups = [self.arn_of("logs", f"log-group:/{self.prefix}/{logs}:log-stream:*")]
        if not owner:
            groups.append(self.arn_of("logs", f"log-group:/{self.prefix}/checkpoint:log-stream:*"))
        made = role(
            self,
            id,
            name=f"{self.prefix}-{name}",
            principal=self._tasks(),
            description=f"What ECS does before a task starts ({name})",
            statements=[
                allow("ecr:GetAuthorizationToken", on=["*"]),
                allow(
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:GetDownloadUrlForLayer",
                    on=[self._images.repository.repository_arn],
                ),
                allow("secretsmanager:GetSecretValue", on=secrets),
                allow("kms:Decrypt", on=[self._keys.data.key_arn]),
                allow("logs:CreateLogStream", "logs:PutLogEvents", on=groups),
            ],
        )
        accept_wildcards(self.node.find_child(f"{id}Policy"), "*", *groups)
        return made

    def _tasks_role(
        self, id: str, name: str, description: str, more: list[aws_iam.PolicyStatement] | None
    ) -> aws_iam.Role:
        """A role of the program itself. `more` are its rights beside the databases; None if it uses a password."""
        connect = [
            allow("rds-db:connect", on=[self._data.service_database_arn]),
            allow(
                "elasticache:Connect",
                on=[
                    self.arn_of("elasticache", f"replicationgroup:{self.prefix}"),
                    self.arn_of("elasticache", f"user:{self._data.cache_user}"),
                ],
            ),
        ]
        if more is None:
            # The owner of the tables has a password. So the migration task needs no right at all.
            return aws_iam.Role(
                self, id, role_name=f"{self.prefix}-{name}", assumed_by=self._tasks(), description=description
            )
        return role(
            self,
            id,
            name=f"{self.prefix}-{name}",
            principal=self._tasks(),
            description=description,
            statements=[*connect, *more],
        )

    def _checkpoint(self) -> list[aws_iam.PolicyStatement]:
        place = f"arn:aws:s3:::{self.checkpoint_bucket}"
        return [
            allow("s3:GetObject", "s3:PutObject", on=[f"{place}/checkpoint.txt"]),
            # Without it, a missing object is answered like a forbidden one.
            allow("s3:ListBucket", on=[place]),
            allow("kms:Decrypt", "kms:GenerateDataKey", on=[self._keys.audit.key_arn]),
        ]

    def _tasks(self) -> aws_iam.IPrincipal:
        return aws_iam.ServicePrincipal(
            "ecs-tasks.amazonaws.com",
            conditions={"StringEquals": {"aws:SourceAccount": self.parameters.account}},
        )

    def _migrator(self) -> aws_iam.Role:
        """The function that runs the migration task before each roll-out."""
        groups = [self.arn_of("logs", f"log-group:/aws/lambda/{self.prefix}-migrator:log-stream:*")]
        made = role(
            self,
            "Migrator",
            name=f"{self.prefix}-migrator",
            principal=aws_iam.ServicePrincipal("lambda.amazonaws.com"),
            description="Runs the migration task of ubr",
            statements=[
                self._run_task("migration"),
                self._describe_tasks(),
                self._hand_on(self.migration_execution, self.migration),
                allow("logs:CreateLogStream", "logs:PutLogEvents", on=groups),
            ],
        )
        tasks = self.arn_of("ecs", f"task/{self.prefix}/*")
        accept_wildcards(self.node.find_child("MigratorPolicy"), self.family_arn("migration"), tasks, *groups)
        return made

    def _scheduler(self) -> aws_iam.Role:
        """The scheduler that runs the checkpoint task."""
        made = role(
            self,
            "Scheduler",
            name=f"{self.prefix}-scheduler",
            principal=aws_iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": self.parameters.account}},
            ),
            description="Runs the checkpoint task of ubr",
            statements=[self._run_task("checkpoint"), self._hand_on(self.execution, self.checkpoint)],
        )
        accept_wildcards(self.node.find_child("SchedulerPolicy"), self.family_arn("checkpoint"))
        return made

    def _run_task(self, task: str) -> aws_iam.PolicyStatement:
        return allow(
            "ecs:RunTask", on=[self.family_arn(task)], conditions={"ArnEquals": {"ecs:cluster": self.cluster_arn}}
        )

    def _describe_tasks(self) -> aws_iam.PolicyStatement:
        return allow(
            "ecs:DescribeTasks",
            on=[self.arn_of("ecs", f"task/{self.prefix}/*")],
            conditions={"ArnEquals": {"ecs:cluster": self.cluster_arn}},
        )

    @staticmethod
    def _hand_on(*roles: aws_iam.Role) -> aws_iam.PolicyStatement:
        return allow(
            "iam:PassRole",
            on=[each.role_arn for each in roles],
            conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        )

    def _deployment(self) -> None:
        """Workflows of one repository, in one environment of GitHub, may push images and run `cdk deploy`."""
        account = self.parameters.account
        if self.parameters.github.create_provider:
            provider = aws_iam.CfnOIDCProvider(
                self, "GitHub", url=f"https://{_GITHUB}", client_id_list=["sts.amazonaws.com"]
            )
            arn = provider.attr_arn
        else:
            arn = f"arn:aws:iam::{account}:oidc-provider/{_GITHUB}"
        subject = f"repo:{self.parameters.github.repository}:environment:{self.parameters.name}"
        regions = sorted({self.parameters.region, self.parameters.backup_region, "us-east-1"})
        deployment = role(
            self,
            "Deployment",
            name=f"{self.prefix}-deployment",
            principal=aws_iam.WebIdentityPrincipal(
                arn,
                conditions={
                    "StringEquals": {
                        f"{_GITHUB}:aud": "sts.amazonaws.com",
                        f"{_GITHUB}:sub": subject,
                    }
                },
            ),
            description="Workflows that deploy ubr",
            statements=[
                allow("ecr:GetAuthorizationToken", on=["*"]),
                allow(
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:CompleteLayerUpload",
                    "ecr:DescribeImages",
                    "ecr:InitiateLayerUpload",
                    "ecr:PutImage",
                    "ecr:UploadLayerPart",
                    on=[self._images.repository.repository_arn],
                ),
                # The roles of `cdk bootstrap`, which change stacks on behalf of the CLI.
                allow(
                    "sts:AssumeRole",
                    on=[
                        f"arn:aws:iam::{account}:role/cdk-hnb659fds-{kind}-role-{account}-{region}"
                        for region in regions
                        for kind in ("deploy", "file-publishing", "lookup")
                    ],
                ),
            ],
        )
        accept_wildcards(self.node.find_child("DeploymentPolicy"), "*")
        CfnOutput(self, "DeploymentRole", value=deployment.role_arn)
