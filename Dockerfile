# The operator's image, in two stages: the first installs what the locks name, the second only gets a copy.
# docs/image.md says how it is built, from which bases, and how to verify it.

# Any image with Python >= 3.11 as python3. Give it with its digest: python:3.12-slim@sha256:…
ARG BASE=docker.io/library/python:3.12-slim
# Has pip besides, and the same Python at the same path. By default the same image.
ARG BUILDER=${BASE}

FROM ${BUILDER} AS build
# The date of everything inside that has one, so that equal sources make equal files.
ARG SOURCE_DATE_EPOCH=0
ENV PYTHONHASHSEED=0 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

COPY requirements-build.lock requirements-run.lock ./
# Whole wheels with the hashes of the locks, and no pip in what is kept.
RUN python3 -m venv --without-pip /opt/build \
 && python3 -m venv --without-pip /opt/hookline \
 && python3 -m pip --python /opt/build/bin/python install --quiet --only-binary :all: --no-compile \
      --require-hashes -r requirements-build.lock \
 && python3 -m pip --python /opt/hookline/bin/python install --quiet --only-binary :all: --no-compile \
      --require-hashes -r requirements-run.lock --report installed.json

COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY hack/image/sbom.py ./
# Files compiled here are used as they are: their sources get another date, and the root file system is read-only.
RUN /opt/build/bin/python -m hatchling build -t wheel -d dist \
 && python3 -m pip --python /opt/hookline/bin/python install --quiet --no-compile --no-deps --no-index dist/*.whl \
 && /opt/hookline/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/hookline/lib \
 && mkdir -p /image/opt /image/usr/share/sbom /data \
 && /opt/hookline/bin/python sbom.py installed.json > /image/usr/share/sbom/hookline.cdx.json \
 && mv /opt/hookline /image/opt/

FROM ${BASE}
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="hookline" \
      org.opencontainers.image.description="A Kubernetes operator that delivers signed webhooks when objects change." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/ /
COPY --from=build --chown=65532:65532 /data /var/lib/hookline
ENV PATH=/opt/hookline/bin:/usr/local/bin:/usr/bin:/bin \
    HOOKLINE_DATA_DIR=/var/lib/hookline \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["hookline"]
