"""The static files and the documentation: a private bucket behind CloudFront.

Everything is in us-east-1, because certificates and firewalls of CloudFront must be there.
"""

from __future__ import annotations

from typing import Final

from aws_cdk import (
    CfnOutput,
    Duration,
    RemovalPolicy,
    aws_certificatemanager,
    aws_cloudfront,
    aws_cloudfront_origins,
    aws_iam,
    aws_kms,
    aws_logs,
    aws_route53,
    aws_route53_targets,
    aws_s3,
)
from constructs import Construct

from deploy.aws.fleet import firewall
from deploy.aws.fleet.base import FleetStack, accept, log_group
from deploy.aws.fleet.parameters import Parameters

REGION: Final = "us-east-1"
_POLICY: Final = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class EdgeStack(FleetStack):
    def __init__(self, scope: Construct, parameters: Parameters) -> None:
        super().__init__(scope, "edge", parameters, "The static files and the documentation of ubr", region=REGION)
        self._logs = self._log_bucket()
        self.files = self._files()
        distribution = self._distribution()
        CfnOutput(self, "Address", value=f"https://{parameters.names.static_domain}")
        CfnOutput(self, "Files", value=f"s3://{self.files.bucket_name}")
        CfnOutput(self, "DistributionId", value=distribution.distribution_id)

    def _log_bucket(self) -> aws_s3.Bucket:
        bucket = aws_s3.Bucket(
            self,
            "Logs",
            bucket_name=f"{self.prefix}-edge-logs-{self.parameters.account}",
            encryption=aws_s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            versioned=True,
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            # CloudFront writes its access logs with an access control list.
            object_ownership=aws_s3.ObjectOwnership.BUCKET_OWNER_PREFERRED,
            lifecycle_rules=[
                aws_s3.LifecycleRule(
                    expiration=Duration.days(self.parameters.logs.retention_days),
                    noncurrent_version_expiration=Duration.days(7),
                )
            ],
            removal_policy=RemovalPolicy.RETAIN,
        )
        accept(
            bucket, "These are the access logs themselves.", "AwsSolutions-S1", "NIST.800.53.R5-S3BucketLoggingEnabled"
        )
        self._public_files(bucket, "They are access logs, which CloudFront writes with keys of S3 itself (SSE-S3).")
        return bucket

    def _files(self) -> aws_s3.Bucket:
        bucket = aws_s3.Bucket(
            self,
            "Content",
            bucket_name=f"{self.prefix}-static-{self.parameters.account}",
            encryption=aws_s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            versioned=True,
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=aws_s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            server_access_logs_bucket=self._logs,
            server_access_logs_prefix="static/",
            lifecycle_rules=[aws_s3.LifecycleRule(noncurrent_version_expiration=Duration.days(30))],
            removal_policy=RemovalPolicy.RETAIN,
        )
        self._public_files(bucket, "The files are public, and a checkout has them all.")
        return bucket

    @staticmethod
    def _public_files(bucket: aws_s3.Bucket, reason: str) -> None:
        accept(bucket, reason, "NIST.800.53.R5-S3DefaultEncryptionKMS", "NIST.800.53.R5-S3BucketReplicationEnabled")

    def _distribution(self) -> aws_cloudfront.Distribution:
        names = self.parameters.names
        zone = aws_route53.HostedZone.from_hosted_zone_attributes(
            self, "Zone", hosted_zone_id=names.hosted_zone_id, zone_name=names.hosted_zone
        )
        certificate = aws_certificatemanager.Certificate(
            self,
            "Certificate",
            domain_name=names.static_domain,
            validation=aws_certificatemanager.CertificateValidation.from_dns(zone),
        )
        web = firewall.web_acl(self, "CLOUDFRONT", firewall.rules_of_aws())
        firewall.logged(self, web, self._firewall_logs())
        headers = aws_cloudfront.ResponseHeadersPolicy(
            self,
            "Headers",
            response_headers_policy_name=self.prefix,
            security_headers_behavior=aws_cloudfront.ResponseSecurityHeadersBehavior(
                content_security_policy=aws_cloudfront.ResponseHeadersContentSecurityPolicy(
                    content_security_policy=_POLICY, override=True
                ),
                content_type_options=aws_cloudfront.ResponseHeadersContentTypeOptions(override=True),
                referrer_policy=aws_cloudfront.ResponseHeadersReferrerPolicy(
                    referrer_policy=aws_cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
                ),
                strict_transport_security=aws_cloudfront.ResponseHeadersStrictTransportSecurity(
                    access_control_max_age=Duration.days(365), include_subdomains=True, override=True
                ),
            ),
        )
        distribution = aws_cloudfront.Distribution(
            self,
            "Distribution",
            comment=f"The static files of {self.prefix}",
            domain_names=[names.static_domain],
            certificate=certificate,
            minimum_protocol_version=aws_cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
            http_version=aws_cloudfront.HttpVersion.HTTP2_AND_3,
            default_root_object="index.html",
            web_acl_id=web.attr_arn,
            enable_logging=True,
            log_bucket=self._logs,
            log_file_prefix="cloudfront/",
            default_behavior=aws_cloudfront.BehaviorOptions(
                origin=aws_cloudfront_origins.S3BucketOrigin.with_origin_access_control(self.files),
                viewer_protocol_policy=aws_cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                allowed_methods=aws_cloudfront.AllowedMethods.ALLOW_GET_HEAD,
                cache_policy=aws_cloudfront.CachePolicy.CACHING_OPTIMIZED,
                response_headers_policy=headers,
                compress=True,
            ),
        )
        accept(
            distribution,
            "The files are for everyone, in every country.",
            "AwsSolutions-CFR1",
        )
        aws_route53.ARecord(
            self,
            "Name",
            zone=zone,
            record_name=names.static_domain,
            target=aws_route53.RecordTarget.from_alias(aws_route53_targets.CloudFrontTarget(distribution)),
        )
        return distribution

    def _firewall_logs(self) -> aws_logs.LogGroup:
        key = aws_kms.Key(
            self,
            "LogsKey",
            alias=f"alias/{self.prefix}-edge-logs",
            description="The log groups of the edge of ubr",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN,
        )
        key.add_to_resource_policy(
            aws_iam.PolicyStatement(
                principals=[aws_iam.ServicePrincipal(f"logs.{REGION}.amazonaws.com")],
                actions=[
                    "kms:Decrypt",
                    "kms:DescribeKey",
                    "kms:Encrypt",
                    "kms:GenerateDataKey",
                    "kms:ReEncryptFrom",
                    "kms:ReEncryptTo",
                ],
                resources=["*"],
                conditions={
                    "ArnLike": {"kms:EncryptionContext:aws:logs:arn": self.arn_of("logs", "log-group:*", region=REGION)}
                },
            )
        )
        return log_group(self, "FirewallLogs", f"aws-waf-logs-{self.prefix}-edge", key)
