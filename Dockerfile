# Images of b3lb, see docs/images.md: the target "b3lb" holds every program on CPython, "b3lb-pypy" the jobs
# on PyPy, both with what rendering needs. `make images` builds and checks both; by hand:
#   docker build --target b3lb -t b3lb:0.1.0 .
# Secrets, both optional: "pipconf", a pip.conf for a package index of one's own, and "cabundle", certificates that it names as
# /run/secrets/cabundle. They are there while the wheels are built and leave nothing behind.
ARG PYTHON_IMAGE=docker.io/library/python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
ARG PYPY_IMAGE=docker.io/library/pypy:3.11-7.3.23-slim-trixie@sha256:c6457c405d84c8acf6d834e07b49e3cc26ebc6a9c97549ff89cd570cbc48d725

# --- b3lb itself, one wheel for both interpreters
FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /build
COPY requirements/build.txt requirements/
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf --mount=type=secret,id=cabundle \
    python3 -m venv venv \
    && venv/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY b3lb b3lb/
COPY operator operator/
COPY jobs jobs/
COPY api api/
COPY cli cli/
RUN venv/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir wheels .

# --- the environment of the CPython image; every dependency has a ready wheel, so nothing of theirs runs here
FROM ${PYTHON_IMAGE} AS environment
WORKDIR /build
COPY requirements/image.txt requirements/
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf --mount=type=secret,id=cabundle \
    python3 -m venv venv \
    && venv/bin/pip wheel --no-cache-dir --require-hashes --no-deps --only-binary :all: \
        --wheel-dir wheels -r requirements/image.txt
COPY --from=wheel /build/wheels wheels/
RUN python3 -m venv --without-pip /opt/b3lb \
    && venv/bin/pip --python /opt/b3lb/bin/python3 install --no-cache-dir --no-compile --no-index --no-deps wheels/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/b3lb/lib

# --- the environment of the PyPy image; a C compiler for what has no wheel for PyPy
FROM ${PYPY_IMAGE} AS environment-pypy
WORKDIR /build
# Debian keeps only the newest version of a package, so a pinned one would not be found tomorrow.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends cmake gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/build.txt requirements/image-pypy.txt requirements/
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf --mount=type=secret,id=cabundle \
    python3 -m venv venv \
    && venv/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && venv/bin/pip wheel --no-cache-dir --require-hashes --no-deps --no-build-isolation \
        --wheel-dir wheels -r requirements/image-pypy.txt
COPY --from=wheel /build/wheels wheels/
# Operator and front end need CPython, and nobody types commands here: what these three stand on is not in this image, so they are
# taken out of the wheel as well.
RUN python3 -m venv --without-pip /opt/b3lb \
    && venv/bin/pip --python /opt/b3lb/bin/python3 install --no-cache-dir --no-compile --no-index --no-deps wheels/*.whl \
    && rm -r /opt/b3lb/bin/b3lb-operator /opt/b3lb/lib/*/site-packages/b3lb_operator \
        /opt/b3lb/bin/b3lb-api /opt/b3lb/lib/*/site-packages/b3lb_api \
        /opt/b3lb/bin/b3lb /opt/b3lb/bin/kubectl-b3lb /opt/b3lb/lib/*/site-packages/b3lb_cli \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/b3lb/lib

# --- b3lb
FROM ${PYTHON_IMAGE} AS b3lb
# fontconfig keeps the time of each directory in its cache, to the nanosecond; layers of images keep whole seconds.
# The base image comes without byte code, and with a read-only root Python could never write it.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ffmpeg fontconfig fonts-dejavu-core fonts-liberation libcairo2 librsvg2-bin \
    && find /usr/share/fonts /usr/local/share/fonts -type d -exec touch --date=@1 {} + \
    && fc-cache --force \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/ldconfig/aux-cache \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -x '/(ensurepip|idlelib|site-packages|test|turtledemo)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && groupadd --gid 65532 b3lb \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin b3lb
COPY --from=environment /opt/b3lb /opt/b3lb
ENV PATH=/opt/b3lb/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
# The programs wait for every child they start and handle SIGTERM, so they are process 1 themselves: no init, no shell.
STOPSIGNAL SIGTERM
CMD ["b3lb-operator"]
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="b3lb" \
      org.opencontainers.image.description="Kubernetes-native load balancer for farms of BigBlueButton servers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"

# --- b3lb-pypy
FROM ${PYPY_IMAGE} AS b3lb-pypy
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ffmpeg fontconfig fonts-dejavu-core fonts-liberation libcairo2 libpq5 librsvg2-bin \
    && find /usr/share/fonts /usr/local/share/fonts -type d -exec touch --date=@1 {} + \
    && fc-cache --force \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/ldconfig/aux-cache \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -x '/(ensurepip|idlelib|site-packages|test|turtledemo)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && groupadd --gid 65532 b3lb \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin b3lb
COPY --from=environment-pypy /opt/b3lb /opt/b3lb
ENV PATH=/opt/b3lb/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
STOPSIGNAL SIGTERM
CMD ["b3lb-job", "--help"]
ARG PYPY_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="b3lb-pypy" \
      org.opencontainers.image.description="Jobs of b3lb on PyPy, with FFmpeg, cairo, librsvg and fonts" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYPY_IMAGE}"
