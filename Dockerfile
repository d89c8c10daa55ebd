# The image of ubr; docs/docker.md says how to run it.
# Tags say which version this is, and the build sees no git.
ARG VERSION=0.0.0.dev0

# The base may be any image of a Debian with Python 3.11 or newer as python3, its modules venv and ensurepip included. The
# digest is that of the index of all platforms. Dependabot reads this line, and would not see an ARG.
FROM python:3.13-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285 AS base

FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# pip and what builds the wheel live in an environment of their own; the one that is shipped never had them.
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/ubr
COPY requirements requirements
# A pip.conf, to go by a mirror say, can be lent to the build: --secret id=pip.conf,src=pip.conf
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    tools/bin/python3 -m pip install --quiet --require-hashes --no-deps -r requirements/build.txt && \
    tools/bin/python3 -m pip --python /opt/ubr/bin/python3 install --quiet --require-hashes --no-deps --no-compile \
        -r requirements/run.txt
COPY . .
ARG VERSION
# Compiled once here, modules and templates, for a file system that cannot be written to. Unchecked: no file will ever
# be newer.
RUN SETUPTOOLS_SCM_PRETEND_VERSION="${VERSION}" tools/bin/python3 -m pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir dist . && \
    tools/bin/python3 -m pip --python /opt/ubr/bin/python3 install --quiet --no-deps --no-index --no-compile \
        dist/*.whl && \
    /opt/ubr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/ubr/lib && \
    /opt/ubr/bin/python3 -m ubr.entrypoints.http.pages.rendering

# For the target `backup`.
FROM build AS build-backup
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    tools/bin/python3 -m pip --python /opt/ubr/bin/python3 install --quiet --require-hashes --no-deps --no-compile \
        -r requirements/backup.txt && \
    /opt/ubr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/ubr/lib

FROM base AS service
ARG VERSION
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ubr" \
      org.opencontainers.image.description="A self-hosted user, role and session backend" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# What installs other things is of no use to what runs here. Some base images come without compiled modules, and each
# start would compile them again on a read-only file system. The user has a name, for libraries that look it up. Another
# user works too, in group 0, as platforms with users of their own choice start it.
RUN if python3 -c 'import pip' 2>/dev/null; then \
        python3 -m pip uninstall --quiet --yes --root-user-action=ignore --break-system-packages pip; \
    fi && \
    python3 -c 'import ensurepip, os, shutil; shutil.rmtree(os.path.dirname(ensurepip.__file__))' && \
    python3 -m compileall -q -x '/(test|tests|idlelib|lib2to3|tkinter|turtledemo|dist-packages|site-packages)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" && \
    echo 'ubr:x:65532:65532:ubr:/var/lib/ubr:/usr/sbin/nologin' >> /etc/passwd && \
    echo 'ubr:x:65532:' >> /etc/group && \
    install -d -o 65532 -g 0 -m 0770 /var/lib/ubr
COPY --from=build /opt/ubr /opt/ubr
ENV PATH=/opt/ubr/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    UBR_HOST=0.0.0.0 \
    UBR_PORT=8000
USER 65532:65532
# The only place that is written to: the embedded database and its key are made here.
WORKDIR /var/lib/ubr
VOLUME /var/lib/ubr
EXPOSE 8000
STOPSIGNAL SIGTERM
# http.client, because urllib would ask a proxy where one is set.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python3", "-I", "-c", "import http.client, os, sys; host = os.environ['UBR_HOST']; host = {'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host); connection = http.client.HTTPConnection(host, int(os.environ['UBR_PORT']), timeout=4); connection.request('GET', '/health/live'); sys.exit(connection.getresponse().status != 200)"]
ENTRYPOINT ["ubr"]
CMD ["serve"]

# --target backup: the same, with the programs that `ubr backup` needs for PostgreSQL, of this version and older ones, and
# the library for object storages.
FROM service AS backup
ARG POSTGRES_MAJOR=17
USER 0:0
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends "postgresql-client-${POSTGRES_MAJOR}" && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log && \
    install -d -o 65532 -g 0 -m 0770 /var/backups/ubr
COPY --from=build-backup /opt/ubr /opt/ubr
USER 65532:65532
ENV UBR_BACKUP_DIR=/var/backups/ubr
VOLUME /var/backups/ubr
HEALTHCHECK NONE
CMD ["backup", "create"]

# The image itself is the last stage, so that a build without --target makes it.
FROM service
