"""The data: PostgreSQL, Redis and the secrets.

The service connects to both with tokens of IAM, so that a rotated password stops no instance. Only the migration task
uses a password: that of the owner of the tables, which RDS makes and rotates. Each run of the task reads it afresh.
"""

from __future__ import annotations

import json
from typing import Final

from aws_cdk import (
    CfnOutput,
    Duration,
    RemovalPolicy,
    aws_ec2,
    aws_elasticache,
    aws_iam,
    aws_rds,
    aws_secretsmanager,
)
from constructs import Construct

from deploy.aws.fleet.base import FleetStack, accept, log_group
from deploy.aws.fleet.keys import KeysStack
from deploy.aws.fleet.network import CACHE_PORT, DATA, DATABASE_PORT, NetworkStack
from deploy.aws.fleet.parameters import Parameters
from deploy.aws.fleet.rights import REDIS_RIGHTS

DATABASE: Final = "ubr"
OWNER: Final = "ubr_owner"
"""The role that owns the tables."""
SERVICE_ROLE: Final = "ubr_service"
"""The role of the service. `ubr migrate` creates it, and IAM authenticates it."""

_LOGS: Final = ("postgresql", "upgrade")


class DataStack(FleetStack):
    def __init__(self, scope: Construct, parameters: Parameters, keys: KeysStack, network: NetworkStack) -> None:
        super().__init__(scope, "data", parameters, "The databases and secrets of ubr")
        # The roles of backups name these too.
        self.subnet_group_name = self.prefix
        self.parameter_group_name = f"{self.prefix}-postgres18"
        self.database = self._database(keys, network)
        self.cache_user = f"{self.prefix}-service"
        self.cache = self._cache(keys, network)
        self.secret_key = self._secret(
            keys,
            "SecretKey",
            "secret-key",
            "UBR_SECRET_KEY: encrypts the signing keys of ubr",
            aws_secretsmanager.SecretStringGenerator(password_length=64, exclude_punctuation=True),
        )
        self.admin = self._secret(
            keys,
            "Admin",
            "admin",
            "The first administrator of ubr",
            aws_secretsmanager.SecretStringGenerator(
                secret_string_template=json.dumps({"email": parameters.people.admin_email}),
                generate_string_key="password",
                password_length=32,
                exclude_punctuation=True,
            ),
        )
        CfnOutput(self, "DatabaseAddress", value=self.database.db_instance_endpoint_address)
        CfnOutput(self, "CacheAddress", value=self.cache.attr_primary_end_point_address)
        CfnOutput(self, "AdminSecret", value=self.admin.secret_name)
        CfnOutput(self, "SecretKeySecret", value=self.secret_key.secret_name)
        CfnOutput(self, "OwnerSecret", value=self.owner_secret_arn)

    @property
    def owner_secret_arn(self) -> str:
        """The secret that RDS makes and rotates, with the keys `username` and `password`."""
        instance = self.database.node.default_child
        arn: str = instance.attr_master_user_secret_secret_arn
        return arn

    @property
    def service_database_arn(self) -> str:
        """What IAM lets the service do: connect as its role."""
        return self.arn_of("rds-db", f"dbuser:{self.database.instance_resource_id}/{SERVICE_ROLE}")

    @property
    def database_url(self) -> str:
        """The database as the role of the service."""
        return f"{self._url(SERVICE_ROLE)}&auth=aws-iam"

    @property
    def owner_url(self) -> str:
        """The database as the owner, without the password."""
        return self._url(OWNER)

    def _url(self, role: str) -> str:
        host = self.database.db_instance_endpoint_address
        tls = "sslmode=verify-full&sslrootcert=/etc/ubr/rds-ca.pem"
        return f"postgresql://{role}@{host}:{DATABASE_PORT}/{DATABASE}?{tls}"

    @property
    def redis_url(self) -> str:
        host = self.cache.attr_primary_end_point_address
        return f"rediss://{self.cache_user}@{host}:{CACHE_PORT}/0?auth=aws-iam&cache={self.prefix}"

    def _database(self, keys: KeysStack, network: NetworkStack) -> aws_rds.DatabaseInstance:
        given = self.parameters.database
        engine = aws_rds.DatabaseInstanceEngine.postgres(version=aws_rds.PostgresEngineVersion.VER_18_3)
        group = aws_rds.ParameterGroup(
            self,
            "DatabaseParameters",
            engine=engine,
            name=self.parameter_group_name,
            description="PostgreSQL for ubr",
            parameters={
                "rds.force_ssl": "1",
                "log_connections": "1",
                "log_disconnections": "1",
                "log_min_duration_statement": "1000",
                "log_statement": "ddl",
            },
        )
        monitoring = aws_iam.Role(
            self,
            "Monitoring",
            role_name=f"{self.prefix}-database-monitoring",
            assumed_by=aws_iam.ServicePrincipal("monitoring.rds.amazonaws.com"),
            managed_policies=[
                aws_iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonRDSEnhancedMonitoringRole")
            ],
        )
        accept(
            monitoring,
            "The policy of AWS allows exactly what the agent of RDS does: write to the log group RDSOSMetrics.",
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole]",
        )
        # Without these, RDS would make them, without encryption.
        logs = [
            log_group(self, f"Database{kind.title()}Logs", f"/aws/rds/instance/{self.prefix}/{kind}", keys.logs)
            for kind in _LOGS
        ]
        subnets = aws_rds.SubnetGroup(
            self,
            "DatabaseSubnets",
            subnet_group_name=self.subnet_group_name,
            description="PostgreSQL of ubr",
            vpc=network.vpc,
            vpc_subnets=DATA,
        )
        database = aws_rds.DatabaseInstance(
            self,
            "Database",
            instance_identifier=self.prefix,
            engine=engine,
            instance_type=aws_ec2.InstanceType(given.instance),
            vpc=network.vpc,
            subnet_group=subnets,
            security_groups=[network.database],
            multi_az=True,
            publicly_accessible=False,
            database_name=DATABASE,
            port=DATABASE_PORT,
            credentials=aws_rds.Credentials.from_username(OWNER, encryption_key=keys.data),
            manage_master_user_password=True,
            iam_authentication=True,
            storage_type=aws_rds.StorageType.GP3,
            allocated_storage=given.storage_gib,
            max_allocated_storage=given.max_storage_gib,
            storage_encrypted=True,
            storage_encryption_key=keys.data,
            ca_certificate=aws_rds.CaCertificate.RDS_CA_RSA2048_G1,
            parameter_group=group,
            backup_retention=Duration.days(given.retention_days),
            preferred_backup_window="01:00-02:00",
            preferred_maintenance_window="Sun:03:00-Sun:04:00",
            copy_tags_to_snapshot=True,
            delete_automated_backups=False,
            deletion_protection=True,
            removal_policy=RemovalPolicy.SNAPSHOT,
            auto_minor_version_upgrade=True,
            enable_performance_insights=True,
            performance_insight_encryption_key=keys.data,
            monitoring_interval=Duration.seconds(60),
            monitoring_role=monitoring,
            cloudwatch_logs_exports=list(_LOGS),
        )
        database.node.add_dependency(*logs)
        accept(
            database,
            "Security groups let only the tasks connect, so that another port would hide nothing.",
            "AwsSolutions-RDS11",
        )
        accept(
            database,
            "It is in the plan of the stack of backups, which the rule does not see from here.",
            "NIST.800.53.R5-RDSInBackupPlan",
        )
        return database

    def _cache(self, keys: KeysStack, network: NetworkStack) -> aws_elasticache.CfnReplicationGroup:
        given = self.parameters.cache
        subnets = aws_elasticache.CfnSubnetGroup(
            self,
            "CacheSubnets",
            cache_subnet_group_name=self.prefix,
            description="Redis of ubr",
            subnet_ids=network.vpc.select_subnets(subnet_group_name="data").subnet_ids,
        )
        user = aws_elasticache.CfnUser(
            self,
            "CacheUser",
            engine="valkey",
            # IAM requires that both are the same.
            user_id=self.cache_user,
            user_name=self.cache_user,
            authentication_mode={"Type": "iam"},
            access_string=f"on {REDIS_RIGHTS}",
        )
        users = aws_elasticache.CfnUserGroup(
            self, "CacheUsers", engine="valkey", user_group_id=self.prefix, user_ids=[user.ref]
        )
        parameters = aws_elasticache.CfnParameterGroup(
            self,
            "CacheParameters",
            cache_parameter_group_family="valkey8",
            description="Valkey for ubr",
            # An evicted counter would give a client more attempts.
            properties={"maxmemory-policy": "noeviction"},
        )
        slow = log_group(self, "CacheLogs", f"/{self.prefix}/cache", keys.logs)
        cache = aws_elasticache.CfnReplicationGroup(
            self,
            "Cache",
            replication_group_id=self.prefix,
            replication_group_description="Redis of ubr",
            engine="valkey",
            engine_version="8.1",
            cache_node_type=given.node,
            # One shard: ubr refuses a cluster.
            cluster_mode="disabled",
            num_cache_clusters=given.replicas + 1,
            automatic_failover_enabled=True,
            multi_az_enabled=True,
            cache_subnet_group_name=subnets.ref,
            cache_parameter_group_name=parameters.ref,
            security_group_ids=[network.cache.security_group_id],
            port=CACHE_PORT,
            at_rest_encryption_enabled=True,
            kms_key_id=keys.data.key_arn,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            user_group_ids=[users.ref],
            # Redis keeps nothing that ubr cannot lose. A snapshot shows its state after an incident.
            snapshot_retention_limit=15,
            snapshot_window="04:00-05:00",
            preferred_maintenance_window="sun:05:00-sun:06:00",
            auto_minor_version_upgrade=True,
            log_delivery_configurations=[
                aws_elasticache.CfnReplicationGroup.LogDeliveryConfigurationRequestProperty(
                    destination_type="cloudwatch-logs",
                    destination_details=aws_elasticache.CfnReplicationGroup.DestinationDetailsProperty(
                        cloud_watch_logs_details=aws_elasticache.CfnReplicationGroup.CloudWatchLogsDestinationDetailsProperty(
                            log_group=slow.log_group_name
                        )
                    ),
                    log_format="json",
                    log_type="slow-log",
                )
            ],
        )
        cache.add_resource_dependency(subnets)
        accept(
            cache,
            "Security groups let only the tasks connect, so that another port would hide nothing.",
            "AwsSolutions-AEC5",
        )
        accept(
            cache,
            "A user group authenticates the service by IAM. The rule knows only the password of older versions.",
            "AwsSolutions-AEC6",
        )
        return cache

    def _secret(
        self,
        keys: KeysStack,
        id: str,
        name: str,
        description: str,
        generated: aws_secretsmanager.SecretStringGenerator,
    ) -> aws_secretsmanager.Secret:
        secret = aws_secretsmanager.Secret(
            self,
            id,
            secret_name=f"{self.prefix}/{name}",
            description=description,
            encryption_key=keys.data,
            generate_secret_string=generated,
            removal_policy=RemovalPolicy.RETAIN,
        )
        accept(
            secret,
            "It cannot change by itself: data is encrypted with the first, and a person changes the second after the "
            "first login. The guide describes the rotation.",
            "AwsSolutions-SMG4",
            "NIST.800.53.R5-SecretsManagerRotationEnabled",
        )
        return secret
