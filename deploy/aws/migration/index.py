"""Runs the migration task before the service changes, and waits for it. CloudFormation calls it."""

import json
import time
import urllib.request

import boto3

PAUSE = 5
MARGIN = 60


def handler(event, context):
    """Answer CloudFormation in every case: without an answer it waits for an hour."""
    status, reason = "SUCCESS", ""
    try:
        if event["RequestType"] != "Delete":
            reason = migrate(event, context, boto3.client("ecs"), boto3.client("cloudformation"))
    except Exception as error:
        status, reason = "FAILED", str(error)
    print(json.dumps({"status": status, "reason": reason}))
    answer(event, status, reason)


def migrate(event, context, ecs, cloudformation):
    stack = cloudformation.describe_stacks(StackName=event["StackId"])["Stacks"][0]
    if "ROLLBACK" in stack["StackStatus"]:
        # The earlier version must not migrate a schema that is newer than itself. It works on the newer schema.
        return "nothing to do: the stack goes back"
    given = event["ResourceProperties"]
    started = ecs.run_task(
        cluster=given["Cluster"],
        taskDefinition=given["TaskDefinition"],
        launchType="FARGATE",
        count=1,
        startedBy="migration",
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": given["Subnets"],
                "securityGroups": [given["SecurityGroup"]],
                "assignPublicIp": "DISABLED",
            }
        },
    )
    if started.get("failures") or not started["tasks"]:
        raise RuntimeError(f"the migration task did not start: {started.get('failures')}")
    arn = started["tasks"][0]["taskArn"]
    while context.get_remaining_time_in_millis() > MARGIN * 1000:
        task = ecs.describe_tasks(cluster=given["Cluster"], tasks=[arn])["tasks"][0]
        if task["lastStatus"] == "STOPPED":
            codes = [container.get("exitCode") for container in task["containers"]]
            if codes == [0]:
                return f"{arn} migrated the schema"
            raise RuntimeError(f"{arn} failed, see its log: {codes} {task.get('stoppedReason', '')}")
        time.sleep(PAUSE)
    raise RuntimeError(f"{arn} still runs; deploy again when it has stopped")


def answer(event, status, reason):
    body = {
        "Status": status,
        "Reason": reason[:1000] or status,
        "PhysicalResourceId": "migration",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    request = urllib.request.Request(event["ResponseURL"], data=json.dumps(body).encode(), method="PUT")
    request.add_header("Content-Type", "")
    urllib.request.urlopen(request, timeout=30).close()
