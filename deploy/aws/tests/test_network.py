from __future__ import annotations

from typing import Any

from deploy.aws.tests.assemblies import Assembly, assembly, text


def test_subnets_are_in_three_zones(fleet: Assembly) -> None:
    zones: dict[str, set[str]] = {}
    for subnet in fleet.resources("AWS::EC2::Subnet"):
        kind = next(tag["Value"] for tag in subnet["Tags"] if tag["Key"] == "aws-cdk:subnet-name")
        zones.setdefault(kind, set()).add(subnet["AvailabilityZone"])
        assert subnet["MapPublicIpOnLaunch"] is False
    assert {kind: len(found) for kind, found in zones.items()} == {"public": 3, "service": 3, "data": 3}


def test_only_the_public_subnets_have_a_route_to_the_internet(fleet: Assembly) -> None:
    assert fleet.resources("AWS::EC2::NatGateway") == []
    routes = fleet.resources("AWS::EC2::Route")
    assert len(routes) == 3
    assert all("publicSubnet" in text(route["RouteTableId"]) for route in routes)


def test_traffic_is_logged(fleet: Assembly) -> None:
    log = fleet.one("AWS::EC2::FlowLog")
    assert (log["TrafficType"], log["ResourceType"]) == ("ALL", "VPC")


def test_images_secrets_and_logs_come_through_endpoints(production: Assembly, small: Assembly) -> None:
    for fleet, zones in ((production, 3), (small, 1)):
        interfaces = [
            each for each in fleet.resources("AWS::EC2::VPCEndpoint") if each["VpcEndpointType"] == "Interface"
        ]
        assert {text(each["ServiceName"]).rpartition("eu-central-1.")[2] for each in interfaces} == {
            "ecr.api",
            "ecr.dkr",
            "logs",
            "secretsmanager",
        }
        assert all(each["PrivateDnsEnabled"] and len(each["SubnetIds"]) == zones for each in interfaces)
        assert fleet.one("AWS::EC2::VPCEndpoint", VpcEndpointType="Gateway")


def test_every_rule_has_a_peer_and_both_ends_agree(fleet: Assembly) -> None:
    inward: set[tuple[str, str, int]] = set()
    outward: set[tuple[str, str, int]] = set()
    for kind, ends in (("Ingress", inward), ("Egress", outward)):
        for rule in fleet.resources(f"AWS::EC2::SecurityGroup{kind}"):
            peers = [rule[name] for name in _PEERS if name in rule]
            assert len(peers) == 1
            assert rule["FromPort"] == rule["ToPort"]
            if "CidrIp" not in rule and "DestinationPrefixListId" not in rule:
                own, peer = text(rule["GroupId"]), text(peers[0])
                ends.add((own, peer, rule["ToPort"]) if kind == "Egress" else (peer, own, rule["ToPort"]))
    assert inward == outward
    assert len(inward) == 4


_PEERS = ("CidrIp", "CidrIpv6", "SourceSecurityGroupId", "DestinationSecurityGroupId", "DestinationPrefixListId")


def test_only_the_balancer_is_open_to_everyone(fleet: Assembly) -> None:
    assert not any("CidrIp" in rule for rule in fleet.resources("AWS::EC2::SecurityGroupIngress"))
    outward = {f"{fleet.prefix}-{name}" for name in ("balancer", "service")}
    opened = {}
    for group in fleet.resources("AWS::EC2::SecurityGroup"):
        opened[group["GroupName"]] = {
            (rule["CidrIp"], rule["ToPort"]) for rule in group.get("SecurityGroupIngress", [])
        }
        # Without any rule, EC2 would add one that allows everything.
        assert all(rule["CidrIp"] == "255.255.255.255/32" for rule in group.get("SecurityGroupEgress", []))
        assert ("SecurityGroupEgress" in group) != (group["GroupName"] in outward)
    everyone = {("0.0.0.0/0", 80), ("0.0.0.0/0", 443)}
    assert {name: rules for name, rules in opened.items() if rules} == {f"{fleet.prefix}-balancer": everyone}


def test_mail_goes_through_an_endpoint(small: Assembly) -> None:
    def ports(fleet: Assembly) -> list[Any]:
        return sorted(rule["ToPort"] for rule in fleet.resources("AWS::EC2::SecurityGroupEgress"))

    mail = assembly("mail")
    assert sorted([*ports(small), 587]) == ports(mail)
    assert any("email-smtp" in text(each["ServiceName"]) for each in mail.resources("AWS::EC2::VPCEndpoint"))
