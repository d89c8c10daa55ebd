"""The service: the cluster, the tasks, the balancer with its firewall, and the migration before each roll-out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aws_cdk import (
    CfnOutput,
    CustomResource,
    Duration,
    aws_applicationautoscaling,
    aws_certificatemanager,
    aws_cloudwatch,
    aws_ecs,
    aws_elasticloadbalancingv2,
    aws_iam,
    aws_kms,
    aws_lambda,
    aws_route53,
    aws_route53_targets,
    aws_secretsmanager,
    aws_wafv2,
)
from constructs import Construct

from deploy.aws.fleet import firewall, task
from deploy.aws.fleet.access import AccessStack
from deploy.aws.fleet.base import FleetStack, accept, allow, log_group
from deploy.aws.fleet.data import DataStack
from deploy.aws.fleet.images import ImagesStack
from deploy.aws.fleet.keys import KeysStack
from deploy.aws.fleet.metrics import NAMESPACE, dimensions
from deploy.aws.fleet.network import HTTP_PORT, HTTPS_PORT, PUBLIC, SERVICE, SERVICE_PORT, NetworkStack
from deploy.aws.fleet.parameters import (
    FINISH_SECONDS,
    GRACE_SECONDS,
    HEALTH_INTERVAL_SECONDS,
    HEALTHY_AFTER,
    IDLE_SECONDS,
    UNHEALTHY_AFTER,
    Parameters,
)
from ubr.entrypoints.http.metrics.registry import HASHES_WAITING

CONTAINER: Final = "ubr"
_USER: Final = "65532:65532"
_MIGRATOR: Final = Path(__file__).parents[1] / "migration" / "index.py"


class ServiceStack(FleetStack):
    def __init__(
        self,
        scope: Construct,
        parameters: Parameters,
        version: str,
        *,
        keys: KeysStack,
        network: NetworkStack,
        images: ImagesStack,
        data: DataStack,
        access: AccessStack,
    ) -> None:
        super().__init__(scope, "service", parameters, "The service of ubr")
        self._version, self._network, self._access = version, network, access
        self._image = aws_ecs.ContainerImage.from_ecr_repository(images.repository, version)
        self._addresses = task.Addresses(
            database_url=data.database_url,
            owner_url=data.owner_url,
            redis_url=data.redis_url,
            secret_key=data.secret_key.secret_arn,
            admin=data.admin.secret_arn,
            owner=data.owner_secret_arn,
        )
        self.cluster = self._cluster()
        self.checkpoint_task = self._task("checkpoint", access.execution, access.checkpoint, keys.logs, self._audit())
        migration = self._migration(keys.logs)
        self.balancer, self.targets = self._balancer()
        self.service = self._service(keys.logs)
        self.service.node.add_dependency(migration)
        self.firewall = self._firewall(keys.logs)
        self._scaling()
        CfnOutput(self, "Address", value=f"https://{parameters.names.domain}")
        CfnOutput(self, "ClusterName", value=self.cluster.cluster_name)
        CfnOutput(self, "ServiceName", value=self.service.service_name)

    def _cluster(self) -> aws_ecs.Cluster:
        return aws_ecs.Cluster(
            self,
            "Cluster",
            cluster_name=self._access.cluster_name,
            vpc=self._network.vpc,
            container_insights_v2=aws_ecs.ContainerInsights.ENABLED,
        )

    def _audit(self) -> list[str]:
        return ["audit", "checkpoint", "--output", f"s3://{self._access.checkpoint_bucket}/checkpoint.txt"]

    def _task(
        self,
        name: str,
        execution: aws_iam.Role,
        role: aws_iam.Role,
        key: aws_kms.IKey,
        command: list[str],
        *,
        owner: bool = False,
        serving: bool = False,
    ) -> aws_ecs.FargateTaskDefinition:
        given = self.parameters.service
        values = task.plain(self.parameters, self._addresses)
        secrets = task.secret(self.parameters, self._addresses)
        if owner:
            more, more_secrets = task.of_owner(self._addresses)
            values, secrets = values | more, secrets | more_secrets
        definition = aws_ecs.FargateTaskDefinition(
            self,
            f"{name.title()}Task",
            family=f"{self.prefix}-{name}",
            cpu=given.cpu,
            memory_limit_mib=given.memory,
            # These never change: each has exactly the statements in the stack of access.
            execution_role=execution.without_policy_updates(),
            task_role=role.without_policy_updates(),
        )
        definition.add_container(
            CONTAINER,
            container_name=CONTAINER,
            image=self._image,
            command=command,
            environment=values,
            secrets={variable: self._secret(f"{name}{variable}", value) for variable, value in secrets.items()},
            essential=True,
            user=_USER,
            privileged=False,
            readonly_root_filesystem=True,
            linux_parameters=self._without_capabilities(name),
            logging=aws_ecs.LogDrivers.aws_logs(
                log_group=log_group(self, f"{name.title()}Logs", f"/{self.prefix}/{name}", key), stream_prefix=name
            ),
            health_check=self._live() if serving else None,
            port_mappings=[aws_ecs.PortMapping(container_port=SERVICE_PORT)] if serving else None,
            stop_timeout=Duration.seconds(self.parameters.stop_seconds),
        )
        accept(
            definition,
            "Its variables are names and addresses. Every secret is a reference to Secrets Manager.",
            "AwsSolutions-ECS2",
        )
        return definition

    def _secret(self, id: str, value: task.SecretValue) -> aws_ecs.Secret:
        secret = aws_secretsmanager.Secret.from_secret_complete_arn(self, id, value.arn)
        return aws_ecs.Secret.from_secrets_manager(secret, value.key or None)

    def _without_capabilities(self, name: str) -> aws_ecs.LinuxParameters:
        parameters = aws_ecs.LinuxParameters(self, f"{name.title()}Linux")
        parameters.drop_capabilities(aws_ecs.Capability.ALL)
        return parameters

    @staticmethod
    def _live() -> aws_ecs.HealthCheck:
        return aws_ecs.HealthCheck(
            command=["CMD", "python3", "-I", "-c", task.HEALTH_CHECK],
            interval=Duration.seconds(15),
            timeout=Duration.seconds(5),
            retries=3,
            start_period=Duration.seconds(30),
        )

    def _migration(self, key: aws_kms.IKey) -> CustomResource:
        """Runs `ubr migrate` as the owner of the tables. If it fails, the service does not change."""
        definition = self._task(
            "migration",
            self._access.migration_execution,
            self._access.migration,
            key,
            ["migrate"],
            owner=True,
        )
        name = f"{self.prefix}-migrator"
        logs = log_group(self, "MigratorLogs", f"/aws/lambda/{name}", key)
        function = aws_lambda.Function(
            self,
            "Migrator",
            function_name=name,
            description="Runs the migration task of ubr before the service changes",
            runtime=aws_lambda.Runtime.PYTHON_3_14,
            architecture=aws_lambda.Architecture.ARM_64,
            handler="index.handler",
            code=aws_lambda.Code.from_inline(_MIGRATOR.read_text(encoding="utf-8")),
            role=self._access.migrator.without_policy_updates(),
            timeout=Duration.minutes(15),
            memory_size=256,
            log_group=logs,
        )
        accept(
            function,
            "It calls only interfaces of AWS, once in each deployment, and CloudFormation gets every failure.",
            "NIST.800.53.R5-LambdaInsideVPC",
            "NIST.800.53.R5-LambdaDLQ",
            "NIST.800.53.R5-LambdaConcurrency",
        )
        # The function skips a roll-back of this stack, and of no other.
        state = aws_iam.ManagedPolicy(
            self,
            "MigratorReadsState",
            managed_policy_name=f"{name}-reads-state",
            roles=[self._access.migrator],
            statements=[allow("cloudformation:DescribeStacks", on=[self.stack_id])],
        )
        migration = CustomResource(
            self,
            "Migration",
            service_token=function.function_arn,
            resource_type="Custom::Migration",
            service_timeout=Duration.minutes(15),
            properties={
                "Cluster": self.cluster.cluster_name,
                "TaskDefinition": definition.task_definition_arn,
                "Subnets": self._network.vpc.select_subnets(subnet_group_name="service").subnet_ids,
                "SecurityGroup": self._network.service.security_group_id,
                "Version": self._version,
            },
        )
        migration.node.add_dependency(state)
        return migration

    def _balancer(
        self,
    ) -> tuple[aws_elasticloadbalancingv2.ApplicationLoadBalancer, aws_elasticloadbalancingv2.ApplicationTargetGroup]:
        names = self.parameters.names
        zone = aws_route53.HostedZone.from_hosted_zone_attributes(
            self, "Zone", hosted_zone_id=names.hosted_zone_id, zone_name=names.hosted_zone
        )
        certificate = aws_certificatemanager.Certificate(
            self,
            "Certificate",
            domain_name=names.domain,
            validation=aws_certificatemanager.CertificateValidation.from_dns(zone),
        )
        balancer = aws_elasticloadbalancingv2.ApplicationLoadBalancer(
            self,
            "Balancer",
            load_balancer_name=self.prefix,
            vpc=self._network.vpc,
            vpc_subnets=PUBLIC,
            security_group=self._network.balancer,
            internet_facing=True,
            deletion_protection=True,
            drop_invalid_header_fields=True,
            desync_mitigation_mode=aws_elasticloadbalancingv2.DesyncMitigationMode.STRICTEST,
            idle_timeout=Duration.seconds(IDLE_SECONDS),
            # Without the firewall, the limits of ubr still hold.
            waf_fail_open=True,
        )
        balancer.log_access_logs(self._network.access_logs, "balancer")
        targets = aws_elasticloadbalancingv2.ApplicationTargetGroup(
            self,
            "Targets",
            target_group_name=self.prefix,
            vpc=self._network.vpc,
            port=SERVICE_PORT,
            protocol=aws_elasticloadbalancingv2.ApplicationProtocol.HTTP,
            target_type=aws_elasticloadbalancingv2.TargetType.IP,
            # The balancer waits for running requests as long as ubr does.
            deregistration_delay=Duration.seconds(FINISH_SECONDS),
            load_balancing_algorithm_type=(
                aws_elasticloadbalancingv2.TargetGroupLoadBalancingAlgorithmType.LEAST_OUTSTANDING_REQUESTS
            ),
            health_check=aws_elasticloadbalancingv2.HealthCheck(
                path="/health/ready",
                healthy_http_codes="200",
                interval=Duration.seconds(HEALTH_INTERVAL_SECONDS),
                timeout=Duration.seconds(HEALTH_INTERVAL_SECONDS - 1),
                healthy_threshold_count=HEALTHY_AFTER,
                unhealthy_threshold_count=UNHEALTHY_AFTER,
            ),
        )
        balancer.add_listener(
            "Https",
            port=HTTPS_PORT,
            protocol=aws_elasticloadbalancingv2.ApplicationProtocol.HTTPS,
            certificates=[certificate],
            ssl_policy=aws_elasticloadbalancingv2.SslPolicy.TLS13_12_RES_PQ,
            open=False,
            default_target_groups=[targets],
        )
        redirect = balancer.add_listener(
            "Http",
            port=HTTP_PORT,
            protocol=aws_elasticloadbalancingv2.ApplicationProtocol.HTTP,
            open=False,
            default_action=aws_elasticloadbalancingv2.ListenerAction.redirect(
                protocol="HTTPS", port=str(HTTPS_PORT), permanent=True
            ),
        )
        accept(
            redirect,
            "It answers every request with the address of HTTPS.",
            "NIST.800.53.R5-ELBv2ACMCertificateRequired",
        )
        aws_route53.ARecord(
            self,
            "Name",
            zone=zone,
            record_name=names.domain,
            target=aws_route53.RecordTarget.from_alias(aws_route53_targets.LoadBalancerTarget(balancer)),
        )
        return balancer, targets

    def _service(self, key: aws_kms.IKey) -> aws_ecs.FargateService:
        given = self.parameters.service
        definition = self._task("service", self._access.execution, self._access.task, key, ["serve"], serving=True)
        service = aws_ecs.FargateService(
            self,
            "Service",
            service_name=self.prefix,
            cluster=self.cluster,
            task_definition=definition,
            desired_count=given.instances,
            # Each new instance serves before an old one stops.
            min_healthy_percent=100,
            max_healthy_percent=200,
            circuit_breaker=aws_ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
            health_check_grace_period=Duration.seconds(GRACE_SECONDS),
            assign_public_ip=False,
            vpc_subnets=SERVICE,
            security_groups=[self._network.service],
            enable_execute_command=False,
            enable_ecs_managed_tags=True,
            propagate_tags=aws_ecs.PropagatedTagSource.SERVICE,
            availability_zone_rebalancing=aws_ecs.AvailabilityZoneRebalancing.ENABLED,
        )
        service.attach_to_application_target_group(self.targets)
        return service

    def _scaling(self) -> None:
        given = self.parameters.service
        scaling = self.service.auto_scale_task_count(min_capacity=given.instances, max_capacity=given.max_instances)
        scaling.scale_on_cpu_utilization(
            "Cpu",
            policy_name=f"{self.prefix}-cpu",
            target_utilization_percent=given.cpu_target,
            scale_in_cooldown=Duration.minutes(5),
            scale_out_cooldown=Duration.minutes(1),
        )
        # Passwords may wait while the CPU is below its target: hashing takes one processor of several at most.
        scaling.scale_on_metric(
            "Hashes",
            metric=aws_cloudwatch.Metric(
                namespace=NAMESPACE,
                metric_name=HASHES_WAITING.name,
                dimensions_map=dimensions(self.parameters),
                statistic="Average",
                period=Duration.minutes(1),
            ),
            scaling_steps=[
                aws_applicationautoscaling.ScalingInterval(lower=given.waiting_hashes_target, change=1),
                aws_applicationautoscaling.ScalingInterval(lower=4 * given.waiting_hashes_target, change=2),
                aws_applicationautoscaling.ScalingInterval(upper=0, change=0),
            ],
            adjustment_type=aws_applicationautoscaling.AdjustmentType.CHANGE_IN_CAPACITY,
            cooldown=Duration.minutes(2),
        )

    def _firewall(self, key: aws_kms.IKey) -> aws_wafv2.CfnWebACL:
        web = firewall.web_acl(self, "REGIONAL", firewall.rules_of_service())
        aws_wafv2.CfnWebACLAssociation(
            self, "FirewallOfBalancer", resource_arn=self.balancer.load_balancer_arn, web_acl_arn=web.attr_arn
        )
        firewall.logged(self, web, log_group(self, "FirewallLogs", f"aws-waf-logs-{self.prefix}", key))
        return web
