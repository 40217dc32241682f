# syntax=docker/dockerfile:1
# One build stage, three images of the same wheel: `--target operator`, `--target exitnode`, `--target agent`; and
# `--target dns`, PowerDNS as Debian packages it, for the chart's dns.embedded.

FROM rust:1.95-slim-bookworm AS rust

FROM python:3.11-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# No version pins: the archive keeps only the newest, so a pinned build breaks some day.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ cmake make libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=rust /usr/local/cargo /usr/local/cargo
COPY --from=rust /usr/local/rustup /usr/local/rustup
ENV PATH=/usr/local/cargo/bin:$PATH CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup
WORKDIR /src
COPY requirements/ requirements/
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator/ operator/
COPY exitnode/ exitnode/
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels .

FROM python:3.11-slim-bookworm AS base
RUN useradd --uid 65532 --no-create-home --shell /usr/sbin/nologin hawse
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

FROM base AS operator
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    --mount=type=bind,source=requirements,target=/requirements \
    pip install --no-cache-dir --require-hashes -r /requirements/operator.lock \
    && pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 65532
ENTRYPOINT ["hawse-operator"]

FROM base AS exitnode
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    --mount=type=bind,source=requirements,target=/requirements \
    pip install --no-cache-dir --require-hashes -r /requirements/exitnode.lock \
    && pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 65532
ENTRYPOINT ["hawse-exitnode"]

FROM base AS agent
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    --mount=type=bind,source=requirements,target=/requirements \
    pip install --no-cache-dir --require-hashes -r /requirements/agent.lock \
    && pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 65532
ENTRYPOINT ["hawse"]

FROM debian:bookworm-slim AS dns
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends pdns-server pdns-backend-sqlite3 sqlite3 \
    && rm -rf /var/lib/apt/lists/*
USER 65532
ENTRYPOINT ["/bin/sh", "/etc/hawse-dns/config/pdns.sh"]
