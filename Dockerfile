# The commands of tradepipe: docker run --rm tradepipe sink --help

FROM python:3.13-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1

RUN python -m venv /opt/tradepipe
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheel . \
    && /opt/tradepipe/bin/pip install /wheel/*.whl


FROM python:3.13-slim-bookworm

LABEL org.opencontainers.image.title="tradepipe" \
      org.opencontainers.image.description="Trades from Kafka to PostgreSQL as Avro, each version of each trade exactly once" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/tradepipe /opt/tradepipe

# PYTHONUNBUFFERED: a pipe's buffer would hold back lines that somebody waits for in `docker logs`.
ENV PATH=/opt/tradepipe/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

# A number, so that Kubernetes can see that it is not root; nobody's home, and nothing the user may write to.
USER 10001:10001
WORKDIR /tmp

STOPSIGNAL SIGTERM
ENTRYPOINT ["tradepipe"]
CMD ["--help"]
