#!/bin/sh
# The image of PostgreSQL runs this once, for a new database. The role of the service owns nothing.
set -eu

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<END
CREATE ROLE ubr_owner LOGIN CREATEDB PASSWORD '$(cat "${SECRETS:-/run/secrets}/owner_password")';
CREATE ROLE ubr_service LOGIN PASSWORD '$(cat "${SECRETS:-/run/secrets}/service_password")';
CREATE DATABASE ubr OWNER ubr_owner;
REVOKE ALL ON DATABASE ubr FROM PUBLIC;
GRANT CONNECT ON DATABASE ubr TO ubr_service;
END
