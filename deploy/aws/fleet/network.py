"""The network: a VPC over three zones without a way out, its endpoints, and the security groups with every rule.

Only the balancer has a public address. Tasks and databases are in subnets without a route to the internet: images,
secrets, logs and mail go through endpoints.
"""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration, RemovalPolicy, aws_ec2, aws_iam, aws_s3
from constructs import Construct

from deploy.aws.fleet.base import FleetStack, accept, accept_wildcards, allow, audit_bucket_name, log_group, role
from deploy.aws.fleet.keys import KeysStack
from deploy.aws.fleet.parameters import Parameters

HTTP_PORT = 80
HTTPS_PORT = 443
SERVICE_PORT = 8000
DATABASE_PORT = 5432
CACHE_PORT = 6379
MAIL_PORT = 587

PUBLIC = aws_ec2.SubnetSelection(subnet_group_name="public")
SERVICE = aws_ec2.SubnetSelection(subnet_group_name="service")
DATA = aws_ec2.SubnetSelection(subnet_group_name="data")


class NetworkStack(FleetStack):
    def __init__(self, scope: Construct, parameters: Parameters, keys: KeysStack) -> None:
        super().__init__(scope, "network", parameters, "The network of ubr")
        self.vpc = self._vpc(keys)
        self.balancer = self._group("Balancer", "Balancer")
        self.service = self._group("Service", "Tasks")
        self.database = self._group("Database", "PostgreSQL")
        self.cache = self._group("Cache", "Redis")
        self.endpoints = self._group("Endpoints", "Endpoints of AWS")
        self._rules()
        self._endpoints()
        self.access_logs = self._access_logs()
        CfnOutput(
            self, "ServiceSubnets", value=",".join(self.vpc.select_subnets(subnet_group_name="service").subnet_ids)
        )
        CfnOutput(self, "ServiceGroup", value=self.service.security_group_id)

    def _vpc(self, keys: KeysStack) -> aws_ec2.Vpc:
        vpc = aws_ec2.Vpc(
            self,
            "Vpc",
            vpc_name=self.prefix,
            ip_addresses=aws_ec2.IpAddresses.cidr(self.parameters.network.cidr),
            availability_zones=list(self.parameters.zones),
            nat_gateways=0,
            # Closing it takes a custom resource with rights on every group. Nothing uses it.
            restrict_default_security_group=False,
            subnet_configuration=[
                aws_ec2.SubnetConfiguration(
                    name="public", subnet_type=aws_ec2.SubnetType.PUBLIC, cidr_mask=24, map_public_ip_on_launch=False
                ),
                aws_ec2.SubnetConfiguration(
                    name="service", subnet_type=aws_ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=22
                ),
                aws_ec2.SubnetConfiguration(name="data", subnet_type=aws_ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24),
            ],
            gateway_endpoints={
                "S3": aws_ec2.GatewayVpcEndpointOptions(
                    service=aws_ec2.GatewayVpcEndpointAwsService.S3, subnets=[SERVICE]
                )
            },
        )
        logs = log_group(self, "FlowLogs", f"/{self.prefix}/flows", keys.logs)
        streams = self.arn_of("logs", f"log-group:/{self.prefix}/flows:log-stream:*")
        writer = role(
            self,
            "FlowLogWriter",
            name=f"{self.prefix}-flow-logs",
            principal=aws_iam.ServicePrincipal(
                "vpc-flow-logs.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": self.parameters.account}},
            ),
            description="Writes the flow logs of ubr",
            statements=[
                allow("logs:CreateLogStream", "logs:PutLogEvents", on=[streams]),
                allow("logs:DescribeLogStreams", on=[self.arn_of("logs", f"log-group:/{self.prefix}/flows")]),
            ],
        )
        accept_wildcards(self.node.find_child("FlowLogWriterPolicy"), streams)
        aws_ec2.FlowLog(
            self,
            "FlowLog",
            resource_type=aws_ec2.FlowLogResourceType.from_vpc(vpc),
            destination=aws_ec2.FlowLogDestination.to_cloud_watch_logs(logs, writer.without_policy_updates()),
            max_aggregation_interval=aws_ec2.FlowLogMaxAggregationInterval.TEN_MINUTES,
        )
        accept(
            vpc,
            "The route leads from the balancer's subnets to the internet: the service is public.",
            "NIST.800.53.R5-VPCNoUnrestrictedRouteToIGW",
        )
        accept(
            vpc,
            "Nothing uses the default security group, and no rule names it.",
            "NIST.800.53.R5-VPCDefaultSecurityGroupClosed",
        )
        return vpc

    def _group(self, id: str, description: str) -> aws_ec2.SecurityGroup:
        return aws_ec2.SecurityGroup(
            self,
            id,
            vpc=self.vpc,
            security_group_name=f"{self.prefix}-{id.lower()}",
            description=f"ubr: {description}",
            allow_all_outbound=False,
        )

    def _rules(self) -> None:
        anyone = aws_ec2.Peer.any_ipv4()
        for port, meaning in ((HTTPS_PORT, "Clients"), (HTTP_PORT, "Clients, sent on to HTTPS")):
            self.balancer.add_ingress_rule(anyone, aws_ec2.Port.tcp(port), meaning)
        accept(
            self.balancer,
            "The balancer is public: clients come from everywhere. Port 80 only answers with the address of HTTPS.",
            "AwsSolutions-EC23",
            "NIST.800.53.R5-EC2RestrictedCommonPorts",
            "NIST.800.53.R5-EC2RestrictedSSH",
        )
        self._between(self.balancer, self.service, SERVICE_PORT, "Requests")
        self._between(self.service, self.database, DATABASE_PORT, "Queries")
        self._between(self.service, self.cache, CACHE_PORT, "Notifications and counters")
        self._between(self.service, self.endpoints, HTTPS_PORT, "Images, secrets and logs")
        if self.parameters.mail is not None:
            self._between(self.service, self.endpoints, MAIL_PORT, "Mail")
        self.service.add_egress_rule(
            aws_ec2.Peer.prefix_list(self.parameters.network.s3_prefix_list),
            aws_ec2.Port.tcp(HTTPS_PORT),
            "Layers of images, and checkpoints, in S3",
        )

    @staticmethod
    def _between(source: aws_ec2.SecurityGroup, target: aws_ec2.SecurityGroup, port: int, description: str) -> None:
        target.add_ingress_rule(source, aws_ec2.Port.tcp(port), description)
        source.add_egress_rule(target, aws_ec2.Port.tcp(port), description)

    def _endpoints(self) -> None:
        of = aws_ec2.InterfaceVpcEndpointAwsService
        services = {
            "EcrApi": of.ECR,
            "EcrDocker": of.ECR_DOCKER,
            "Logs": of.CLOUDWATCH_LOGS,
            "Secrets": of.SECRETS_MANAGER,
        }
        if self.parameters.mail is not None:
            services["Mail"] = of.EMAIL_SMTP
        zones = list(self.parameters.zones[: self.parameters.network.endpoint_zones])
        for id, service in services.items():
            aws_ec2.InterfaceVpcEndpoint(
                self,
                f"{id}Endpoint",
                vpc=self.vpc,
                service=service,
                subnets=aws_ec2.SubnetSelection(subnet_group_name="service", availability_zones=zones),
                security_groups=[self.endpoints],
                private_dns_enabled=True,
                open=False,
            )

    def _access_logs(self) -> aws_s3.Bucket:
        bucket = aws_s3.Bucket(
            self,
            "AccessLogs",
            bucket_name=f"{self.prefix}-access-logs-{self.parameters.account}",
            encryption=aws_s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            versioned=True,
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=aws_s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[
                aws_s3.LifecycleRule(
                    expiration=Duration.days(self.parameters.logs.retention_days),
                    noncurrent_version_expiration=Duration.days(7),
                )
            ],
            removal_policy=RemovalPolicy.RETAIN,
        )
        # The bucket of checkpoints logs its readers here. It comes later, so its name is known, and not its resource.
        source = f"arn:aws:s3:::{audit_bucket_name(self.parameters)}"
        bucket.add_to_resource_policy(
            aws_iam.PolicyStatement(
                principals=[aws_iam.ServicePrincipal("logging.s3.amazonaws.com")],
                actions=["s3:PutObject"],
                resources=[bucket.arn_for_objects("checkpoints/*")],
                conditions={
                    "StringEquals": {"aws:SourceAccount": self.parameters.account},
                    "ArnEquals": {"aws:SourceArn": source},
                },
            )
        )
        accept(
            bucket, "These are the access logs themselves.", "AwsSolutions-S1", "NIST.800.53.R5-S3BucketLoggingEnabled"
        )
        accept(
            bucket,
            "The balancer writes its access logs only with keys of S3 itself (SSE-S3).",
            "NIST.800.53.R5-S3DefaultEncryptionKMS",
        )
        accept(
            bucket,
            "Access logs are for investigations in their region, and end with their retention.",
            "NIST.800.53.R5-S3BucketReplicationEnabled",
        )
        return bucket
