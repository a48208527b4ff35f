# Image for `serve`, `worker` and `migrate`. The container's command selects the process. The image needs no root user
# and has no compiler.

# Set PYTHON_IMAGE to python@sha256:… to build from a fixed base image.
ARG PYTHON_IMAGE=python:3.11-slim

FROM $PYTHON_IMAGE AS build
WORKDIR /src
COPY requirements requirements
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/build.lock
COPY pyproject.toml README.md ./
COPY synckairos synckairos
COPY clients/python clients/python
COPY migrations migrations
COPY docs docs
# image.lock has the version and the hashes of each dependency. The image has no optional dependencies (embedded stores,
# tools) and no build tools.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /opt/wheel . ./clients/python \
 && python -m venv /opt/synckairos \
 && /opt/synckairos/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes \
    -r requirements/image.lock \
 && /opt/synckairos/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-index /opt/wheel/*.whl \
 && /opt/synckairos/bin/pip uninstall --yes --quiet pip setuptools

FROM $PYTHON_IMAGE
# Directory for the archives of finished sessions. Mount a volume here, or set SYNCKAIROS_ARCHIVE_URL to s3://….
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin synckairos \
 && install --directory --owner synckairos /var/lib/synckairos
COPY --from=build /opt/synckairos /opt/synckairos
ENV PATH=/opt/synckairos/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SYNCKAIROS_ARCHIVE_URL=/var/lib/synckairos/archive
USER synckairos
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '3000') + '/health', timeout=2)"]
ENTRYPOINT ["synckairos"]
CMD ["serve"]
