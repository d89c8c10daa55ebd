from __future__ import annotations

from deploy.aws.tests.assemblies import Assembly, text


def test_postgresql_survives_a_zone_and_an_error(production: Assembly) -> None:
    database = production.one("AWS::RDS::DBInstance")
    assert database["MultiAZ"] is True
    assert database["BackupRetentionPeriod"] == 35
    assert database["DeletionProtection"] is True
    assert database["DeleteAutomatedBackups"] is False
    assert database["StorageType"] == "gp3"
    assert database["MaxAllocatedStorage"] > int(database["AllocatedStorage"])


def test_postgresql_is_private_and_encrypted(fleet: Assembly) -> None:
    database = fleet.one("AWS::RDS::DBInstance")
    assert database["PubliclyAccessible"] is False
    assert database["StorageEncrypted"] is True
    assert "Data" in text(database["KmsKeyId"])
    parameters = fleet.one("AWS::RDS::DBParameterGroup")
    assert parameters["Parameters"]["rds.force_ssl"] == "1"
    assert parameters["Family"] == "postgres18"


def test_the_password_of_the_owner_is_made_and_rotated_by_rds(fleet: Assembly) -> None:
    database = fleet.one("AWS::RDS::DBInstance")
    assert database["ManageMasterUserPassword"] is True
    assert "Data" in text(database["MasterUserSecret"]["KmsKeyId"])
    assert "MasterUserPassword" not in database
    assert database["MasterUsername"] == "ubr_owner"


def test_the_service_connects_by_iam(fleet: Assembly) -> None:
    assert fleet.one("AWS::RDS::DBInstance")["EnableIAMDatabaseAuthentication"] is True
    user = fleet.one("AWS::ElastiCache::User")
    assert user["AuthenticationMode"] == {"Type": "iam"}
    assert user["UserId"] == user["UserName"]
    assert "~ubr:* &ubr:* -@all" in user["AccessString"]
    for name in ("service", "checkpoint", "migration"):
        values = {
            each["Name"]: text(each["Value"]) for each in fleet.task(name)["ContainerDefinitions"][0]["Environment"]
        }
        assert values["UBR_DATABASE_URL"].startswith("postgresql://ubr_service@")
        assert "auth=aws-iam" in values["UBR_DATABASE_URL"]
        assert "sslmode=verify-full" in values["UBR_DATABASE_URL"]
        assert values["UBR_REDIS_URL"].startswith(f"rediss://{user['UserName']}@")
        assert "auth=aws-iam" in values["UBR_REDIS_URL"]


def test_postgresql_is_watched(fleet: Assembly) -> None:
    database = fleet.one("AWS::RDS::DBInstance")
    assert database["EnablePerformanceInsights"] is True
    assert "PerformanceInsightsKMSKeyId" in database
    assert database["MonitoringInterval"] == 60
    assert database["EnableCloudwatchLogsExports"] == ["postgresql", "upgrade"]


def test_redis_fails_over_and_is_encrypted(fleet: Assembly) -> None:
    cache = fleet.one("AWS::ElastiCache::ReplicationGroup")
    assert cache["AutomaticFailoverEnabled"] is True
    assert cache["MultiAZEnabled"] is True
    assert cache["NumCacheClusters"] >= 2
    assert cache["AtRestEncryptionEnabled"] is True
    assert cache["TransitEncryptionEnabled"] is True
    assert cache["TransitEncryptionMode"] == "required"
    assert cache["UserGroupIds"]
    # ubr refuses a cluster.
    assert cache["ClusterMode"] == "disabled"
    assert fleet.one("AWS::ElastiCache::ParameterGroup")["Properties"] == {"maxmemory-policy": "noeviction"}


def test_generated_secrets_are_encrypted_and_long(fleet: Assembly) -> None:
    secrets = fleet.resources("AWS::SecretsManager::Secret")
    assert {each["Name"] for each in secrets} == {f"{fleet.prefix}/secret-key", f"{fleet.prefix}/admin"}
    for each in secrets:
        assert "Data" in text(each["KmsKeyId"])
        assert each["GenerateSecretString"]["PasswordLength"] >= 32
        # A comma would make two secrets of one.
        assert each["GenerateSecretString"]["ExcludePunctuation"] is True


def test_keys_rotate(fleet: Assembly) -> None:
    keys = fleet.resources("AWS::KMS::Key")
    assert len(keys) == 6
    assert all(each["EnableKeyRotation"] is True for each in keys)


def test_stores_are_kept_when_their_stack_is_deleted(fleet: Assembly) -> None:
    kinds = {
        "AWS::RDS::DBInstance": "Snapshot",
        "AWS::SecretsManager::Secret": "Retain",
        "AWS::KMS::Key": "Retain",
        "AWS::S3::Bucket": "Retain",
        "AWS::Backup::BackupVault": "Retain",
        "AWS::ECR::Repository": "Retain",
        "AWS::Logs::LogGroup": "Retain",
    }
    for _, name, resource in fleet.every():
        if resource["Type"] in kinds:
            assert resource["DeletionPolicy"] == kinds[resource["Type"]], name
