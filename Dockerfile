# One image for the web server and, with another command, for `scim worker` and Celery.
# BASE is Debian 12 with Python 3.11 or later as `python3`, of any architecture.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# Debian packages the headers of Python separately; the default BASE contains them.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libldap-dev libsasl2-dev \
        $(python3 -c 'import os, sysconfig as s; os.path.exists(s.get_path("include") + "/Python.h") or print("python3-dev")')
WORKDIR /src
COPY requirements/build.txt requirements/image.txt requirements/
# Only packages with a known hash are installed. The environment of the server has no pip.
RUN python3 -m venv /build \
    && /build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && /build/bin/pip wheel --no-cache-dir --no-build-isolation --require-hashes -w /wheels -r requirements/image.txt \
    && python3 -m venv --without-pip /opt/scim \
    && /build/bin/pip --python /opt/scim/bin/python install --no-index --no-deps /wheels/*
COPY setup.cfg pyproject.toml README.md LICENSE wsgi.py ./
COPY app app
COPY schema schema
COPY scim_filter scim_filter
COPY storage storage
COPY set_delivery set_delivery
COPY telemetry telemetry
RUN /build/bin/pip wheel --no-deps --no-build-isolation -w /dist . \
    && /build/bin/pip --python /opt/scim/bin/python install --no-index --no-deps /dist/*

FROM ${BASE}
# The folder of the data belongs to group 0, so that any user id of that group can write there.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libldap-2.5-0 libsasl2-2 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/* \
    && useradd --uid 10001 --gid 0 --home-dir /var/lib/scim --no-create-home --shell /usr/sbin/nologin scim \
    && install -d -o 10001 -g 0 -m 770 /var/lib/scim
COPY --from=build /opt/scim /opt/scim
# The image contains the compiled modules; a running server writes nothing but its data.
ENV PATH=/opt/scim/bin:$PATH HOME=/var/lib/scim PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    PORT=8000 HOST=0.0.0.0 WORKERS=2 THREADS=4
ARG VERSION="" REVISION="" SOURCE=""
LABEL org.opencontainers.image.title="scim-gateway" \
      org.opencontainers.image.description="SCIM 2.0 service provider and provisioning gateway" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
USER 10001:0
WORKDIR /var/lib/scim
VOLUME /var/lib/scim
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
    ["python3", "-c", "import http.client, os; host = (os.environ.get('HOST') or '0.0.0.0').strip('[]'); web = http.client.HTTPConnection('127.0.0.1' if host in ('0.0.0.0', '::') else host, int(os.environ.get('PORT') or 8000), timeout=4); web.request('GET', '/health'); raise SystemExit(web.getresponse().status != 200)"]
CMD ["scim", "serve"]
