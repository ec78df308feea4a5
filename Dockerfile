# The commands of tradepipe. `docker compose build tradepipe` builds it as tradepipe:local:
# docker run --rm tradepipe:local sink --help
#
# To pin the base image by digest, append the Digest that `docker buildx imagetools inspect python:3.13-slim-bookworm`
# prints: python:3.13-slim-bookworm@sha256:…, in both places.

# The compiled core, for the stable ABI of Python: it needs no Python to be built.
FROM rust:1-slim-bookworm AS native

ENV PYO3_BUILD_EXTENSION_MODULE=1 \
    PYO3_NO_PYTHON=1

WORKDIR /build

COPY native native
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked --manifest-path native/Cargo.toml


FROM python:3.13-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /build

# The dependencies first: this layer is built again only if the lock files change. `make lock` writes them. pip stays outside
# the environment, so that the final image has none.
COPY requirements requirements
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/tradepipe \
    && pip --python /opt/tradepipe/bin/python install --require-hashes --requirement requirements/image.txt \
    && pip install --require-hashes --requirement requirements/build.txt

COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && pip --python /opt/tradepipe/bin/python install --no-cache-dir --no-deps --no-index /wheel/*.whl

COPY --from=native /build/native/target/release/lib_native.so /native/_native.abi3.so
RUN cp /native/_native.abi3.so "$(/opt/tradepipe/bin/python -c 'import tradepipe; print(tradepipe.__path__[0])')"


FROM python:3.13-slim-bookworm

LABEL org.opencontainers.image.title="tradepipe" \
      org.opencontainers.image.description="Trades from Kafka to PostgreSQL as Avro, each version of each trade exactly once" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/tradepipe /opt/tradepipe

# PYTHONUNBUFFERED: otherwise a pipe's buffer would hold back lines of `docker logs`.
ENV PATH=/opt/tradepipe/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

# By number, so that Kubernetes can see that it is not root; a user without a home, who can write nowhere.
USER 10001:10001
WORKDIR /tmp

STOPSIGNAL SIGTERM
ENTRYPOINT ["tradepipe"]
CMD ["--help"]
