# The service in an image: an interpreter, what requirements.txt pins, our package, and the models in models/.
#
#   make image
#   docker run --read-only --volume prepared:/var/cache/onnicorn --publish 8000:8000 onnicorn
#
# BASE_IMAGE is what it runs on: glibc, libstdc++ and a `python3` of version 3.11 or newer, and nothing else.
# BUILD_IMAGE is what it is built on, the same unless told otherwise. It needs a shell, the same `python3` in the same
# place with its modules `venv` and `ensurepip` (Debian: python3-venv), and is better for `strip` (Debian: binutils).
# REQUIREMENTS=requirements-fetch.txt brings what `onnicorn fetch` needs to read from object storage.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG BUILD_IMAGE=${BASE_IMAGE}


FROM ${BUILD_IMAGE} AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

RUN python3 -m venv /opt/onnicorn
WORKDIR /source

# Before our own files: this layer changes only when a version does. Wheels only, so that no compiler is needed and no
# package runs code of its own. `--secret id=pip.conf,src=...` gives pip another index, which leaves no trace here.
ARG REQUIREMENTS=requirements.txt
COPY ${REQUIREMENTS} ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/onnicorn/bin/pip install --require-hashes --no-deps --only-binary :all: --no-compile --requirement "${REQUIREMENTS}"

# Our package, by the setuptools that are pinned too. Then what only installs things goes.
COPY pyproject.toml README.md LICENSE ./
COPY service service
RUN /opt/onnicorn/bin/pip install --no-deps --no-index --no-build-isolation --no-compile . \
    && /opt/onnicorn/bin/pip uninstall --yes --quiet setuptools pip

# What no service imports: ONNX Runtime's library for other languages (29 MB; its Python module has all of it inside)
# and its tools that train, convert and quantise (10); numpy's tests and build tools (15); sources, headers and stubs of
# compiled modules (7).
WORKDIR /opt/onnicorn/lib
RUN rm -r python3*/site-packages/onnxruntime/capi/libonnxruntime.so.* \
        python3*/site-packages/onnxruntime/transformers python3*/site-packages/onnxruntime/tools \
        python3*/site-packages/onnxruntime/quantization python3*/site-packages/onnxruntime/datasets \
        python3*/site-packages/numpy/f2py python3*/site-packages/numpy/_core/include \
    && rm -rf python3*/site-packages/numpy/distutils \
    && find . -depth -type d \( -name tests -o -name __pycache__ \) -exec rm -r {} + \
    && find . -type f \( -name '*.py[ix]' -o -name '*.p[xy][di]' -o -name '*.[cha]' -o -name '*.cpp' \) -delete

# Some wheels come with debugging information (21 MB). Those that auditwheel has rewritten are left alone.
RUN if command -v strip > /dev/null; then \
        find . -name '*.so' ! -path '*.libs/*' ! -path '*/onnxruntime/*' -exec strip --strip-debug {} +; \
    fi

# Byte code, since a file system that is read-only keeps none. It is never compared with its source again, which a copy
# to another layer may have made newer.
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/onnicorn/lib


FROM ${BASE_IMAGE}

COPY --from=build /opt/onnicorn /opt/onnicorn

# ONNX Runtime reports home unless told not to. A container is reached from outside, so it listens on all addresses.
ENV PATH="/opt/onnicorn/bin:${PATH}" \
    ORT_DISABLE_TELEMETRY=1 \
    ONNICORN_HTTP__BIND=0.0.0.0:8000 \
    ONNICORN_OPS__BIND=0.0.0.0:8002 \
    ONNICORN_REPOSITORY__PATH=/models \
    ONNICORN_CACHE__DIR=/var/cache/onnicorn

# Imports once whatever the service imports: what cannot be imported fails here, and the base's own modules, which some
# bases bring without byte code, get theirs. The cache is all that anybody may write to, whatever their number: some
# platforms give every container a user of its own.
RUN ["python3", "-c", "\
import os; \
import gunicorn.app.wsgiapp, service.asgi, service.cli.prepare, service.supervision.master, service.supervision.worker; \
os.mkdir('/var/cache/onnicorn'); \
os.chmod('/var/cache/onnicorn', 0o1777)"]

# What is served unless a volume is mounted over it.
ARG MODELS=models
COPY ${MODELS} /models

# A number, because Kubernetes cannot see that a name is not root's.
USER 65532:65532
WORKDIR /

# PREPARE=1 optimises the models into the image. Other CPUs than the builder's do not use that, and prepare again.
ARG PREPARE=0
RUN ["python3", "-c", "import os; os.environ['PREPARE'] == '1' and os.execvp('onnicorn', ['onnicorn', 'prepare'])"]

EXPOSE 8000 8002

# No HEALTHCHECK: the OCI format has none, Kubernetes asks the ops port itself, and deploy/compose.yaml has its own.
# `serve` becomes Gunicorn, which so is process 1 and gets the signals. `fetch`, `plan`, `prepare` and `key` may go in its
# place.
ENTRYPOINT ["onnicorn"]
CMD ["serve"]

# Last, because they differ in every build.
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="Onnicorn" \
      org.opencontainers.image.description="Point it at an ONNX model and get a production HTTP service." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
