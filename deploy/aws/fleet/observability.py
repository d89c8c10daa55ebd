"""The alarms, the topic that they go to, and the dashboard."""

from __future__ import annotations

from typing import Any

from aws_cdk import (
    CfnOutput,
    Duration,
    aws_cloudwatch,
    aws_cloudwatch_actions,
    aws_elasticloadbalancingv2,
    aws_events,
    aws_iam,
    aws_sns,
    aws_sns_subscriptions,
)
from constructs import Construct

from deploy.aws.fleet import metrics
from deploy.aws.fleet.access import AccessStack
from deploy.aws.fleet.base import FleetStack
from deploy.aws.fleet.data import DataStack
from deploy.aws.fleet.keys import KeysStack
from deploy.aws.fleet.parameters import Parameters
from deploy.aws.fleet.service import ServiceStack

_MINUTE = Duration.minutes(1)
_WIDE = 12


class ObservabilityStack(FleetStack):
    def __init__(
        self,
        scope: Construct,
        parameters: Parameters,
        *,
        keys: KeysStack,
        data: DataStack,
        access: AccessStack,
        service: ServiceStack,
    ) -> None:
        super().__init__(scope, "observability", parameters, "The alarms and the dashboard of ubr")
        self._data, self._service = data, service
        self.topic = self._topic(keys)
        self._action = aws_cloudwatch_actions.SnsAction(self.topic)
        self._alarms_of_ubr()
        self._alarms_of_balancer()
        self._alarms_of_data()
        self._events(access)
        self._dashboard()
        CfnOutput(self, "AlarmTopic", value=self.topic.topic_arn)
        CfnOutput(self, "DashboardName", value=self.prefix)

    def _topic(self, keys: KeysStack) -> aws_sns.Topic:
        topic = aws_sns.Topic(
            self, "Topic", topic_name=f"{self.prefix}-alarms", master_key=keys.alarms, enforce_ssl=True
        )
        topic.add_subscription(aws_sns_subscriptions.EmailSubscription(self.parameters.people.alarm_email))
        # `enforce_ssl` replaces the policy by which CloudWatch may publish, so it is given here.
        for service in ("cloudwatch", "events", "backup"):
            topic.add_to_resource_policy(
                aws_iam.PolicyStatement(
                    principals=[aws_iam.ServicePrincipal(f"{service}.amazonaws.com")],
                    actions=["sns:Publish"],
                    resources=[topic.topic_arn],
                    conditions={"StringEquals": {"aws:SourceAccount": self.parameters.account}},
                )
            )
        return topic

    def _alarm(
        self,
        name: str,
        meaning: str,
        metric: aws_cloudwatch.IMetric,
        threshold: float,
        *,
        minutes: int = 5,
        below: bool = False,
        missing: str = "NOT_BREACHING",
    ) -> None:
        operators = aws_cloudwatch.ComparisonOperator
        alarm = aws_cloudwatch.Alarm(
            self,
            "".join(word.title() for word in name.split("-")),
            alarm_name=f"{self.prefix}-{name}",
            alarm_description=meaning,
            metric=metric,
            threshold=threshold,
            comparison_operator=operators.LESS_THAN_THRESHOLD if below else operators.GREATER_THAN_THRESHOLD,
            evaluation_periods=minutes,
            treat_missing_data=getattr(aws_cloudwatch.TreatMissingData, missing),
        )
        alarm.add_alarm_action(self._action)
        alarm.add_ok_action(self._action)

    def _of_ubr(self, name: str, statistic: str) -> aws_cloudwatch.Metric:
        return aws_cloudwatch.Metric(
            namespace=metrics.NAMESPACE,
            metric_name=name,
            dimensions_map=metrics.dimensions(self.parameters),
            statistic=statistic,
            period=_MINUTE,
        )

    def _alarms_of_ubr(self) -> None:
        for alert in metrics.declared():
            self._alarm(
                alert.name,
                alert.metric.meaning,
                self._of_ubr(alert.metric.name, alert.statistic),
                alert.threshold,
                minutes=alert.minutes,
                below=alert.comparison == "below",
                missing="BREACHING" if alert.missing == "breaching" else "NOT_BREACHING",
            )

    def _alarms_of_balancer(self) -> None:
        balancer, targets = self._service.balancer.metrics, self._service.targets.metrics
        self._alarm(
            "server-errors",
            "Clients get answers with a status of 500 or more: see the log of the service.",
            targets.http_code_target(
                aws_elasticloadbalancingv2.HttpCodeTarget.TARGET_5XX_COUNT, period=_MINUTE, statistic="Sum"
            ),
            5,
        )
        self._alarm(
            "balancer-errors",
            "The balancer found no instance that answers.",
            balancer.http_code_elb(
                aws_elasticloadbalancingv2.HttpCodeElb.ELB_5XX_COUNT, period=_MINUTE, statistic="Sum"
            ),
            5,
        )
        self._alarm(
            "slow-answers",
            "One answer of twenty takes longer than a second.",
            targets.target_response_time(period=_MINUTE, statistic="p95"),
            1,
        )
        self._alarm(
            "instances-missing",
            "Fewer instances are healthy than the fleet has at least.",
            targets.healthy_host_count(period=_MINUTE, statistic="Minimum"),
            self.parameters.service.instances,
            below=True,
            minutes=10,
            missing="BREACHING",
        )

    def _alarms_of_data(self) -> None:
        database = self._data.database
        gibibyte = 1 << 30
        self._alarm(
            "database-cpu",
            "PostgreSQL has used 80 % of its processors for 15 minutes.",
            database.metric_cpu_utilization(period=_MINUTE),
            80,
            minutes=15,
        )
        self._alarm(
            "database-storage",
            "PostgreSQL has less than a tenth of its storage left, and RDS did not enlarge it.",
            database.metric_free_storage_space(period=_MINUTE),
            self.parameters.database.storage_gib * gibibyte / 10,
            below=True,
        )
        self._alarm(
            "database-memory",
            "PostgreSQL has less than 128 MiB of memory left.",
            database.metric_freeable_memory(period=_MINUTE),
            gibibyte / 8,
            below=True,
        )
        for name, meaning, metric, threshold in (
            ("cache-cpu", "Redis uses 80 % of its processor.", "EngineCPUUtilization", 80),
            (
                "cache-memory",
                "Redis has used 80 % of its memory; when it is full, counters are kept in the database.",
                "DatabaseMemoryUsagePercentage",
                80,
            ),
        ):
            self._alarm(
                name,
                meaning,
                aws_cloudwatch.Metric(
                    namespace="AWS/ElastiCache",
                    metric_name=metric,
                    statistic="Maximum",
                    period=_MINUTE,
                    dimensions_map={"ReplicationGroupId": self.prefix},
                ),
                threshold,
            )

    def _events(self, access: AccessStack) -> None:
        """Failures that no metric shows: tasks that ended with an error, and jobs of backups."""
        families = [f"family:{self.prefix}-{task}" for task in ("migration", "checkpoint")]
        self._event(
            "TaskFailed",
            "A migration or a checkpoint failed",
            name="task-failed",
            source="aws.ecs",
            kind="ECS Task State Change",
            detail={
                "clusterArn": [access.cluster_arn],
                "group": families,
                "lastStatus": ["STOPPED"],
                "containers": {"exitCode": [{"anything-but": [0]}]},
            },
        )
        self._event(
            "DeploymentFailed",
            "The circuit breaker stopped a deployment",
            name="deployment-failed",
            source="aws.ecs",
            kind="ECS Deployment State Change",
            detail={"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
            resources=[self._service.service.service_arn],
        )
        for kind, state in (("Backup", "state"), ("Copy", "state"), ("Restore", "status")):
            self._event(
                f"{kind}Failed",
                f"A job of AWS Backup failed ({kind.lower()})",
                name=f"{kind.lower()}-failed",
                source="aws.backup",
                kind=f"{kind} Job State Change",
                detail={state: ["ABORTED", "EXPIRED", "FAILED", "PARTIAL"]},
            )

    def _event(
        self,
        id: str,
        description: str,
        *,
        name: str,
        source: str,
        kind: str,
        detail: dict[str, Any],
        resources: list[str] | None = None,
    ) -> None:
        """A rule of EventBridge that tells the topic. The topic's own policy allows it, for this account only."""
        pattern: dict[str, Any] = {"source": [source], "detail-type": [kind], "detail": detail}
        aws_events.CfnRule(
            self,
            id,
            name=f"{self.prefix}-{name}",
            description=description,
            event_pattern=pattern if resources is None else pattern | {"resources": resources},
            targets=[aws_events.CfnRule.TargetProperty(id="topic", arn=self.topic.topic_arn)],
        )

    def _dashboard(self) -> None:
        def graph(title: str, *lines: Any) -> aws_cloudwatch.GraphWidget:
            return aws_cloudwatch.GraphWidget(title=title, left=list(lines), width=_WIDE, height=6)

        balancer, targets = self._service.balancer.metrics, self._service.targets.metrics
        rows: list[list[aws_cloudwatch.IWidget]] = [
            [
                graph("Requests", balancer.request_count(period=_MINUTE)),
                graph(
                    "Answers",
                    targets.target_response_time(statistic="p50"),
                    targets.target_response_time(statistic="p95"),
                ),
            ],
            [
                graph("Processors of the service", self._service.service.metric_cpu_utilization()),
                graph("Memory of the service", self._service.service.metric_memory_utilization()),
            ],
            [
                graph("Processors of PostgreSQL", self._data.database.metric_cpu_utilization()),
                graph("Connections of PostgreSQL", self._data.database.metric_database_connections()),
            ],
        ]
        graphs: list[aws_cloudwatch.IWidget] = [
            graph(metric.name, self._of_ubr(metric.name, statistic))
            for kind, statistic in (
                (metrics.counters(), "Sum"),
                (metrics.gauges(), "Maximum"),
                (metrics.histograms(), "p95"),
            )
            for metric in kind
        ]
        rows += [graphs[at : at + 2] for at in range(0, len(graphs), 2)]
        aws_cloudwatch.Dashboard(self, "Dashboard", dashboard_name=self.prefix, widgets=rows)
