# One image for the web server and, with another command, for what runs beside it.
FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libldap-dev libsasl2-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY setup.cfg pyproject.toml README.md wsgi.py ./
COPY app app
COPY schema schema
COPY scim_filter scim_filter
COPY storage storage
COPY set_delivery set_delivery
RUN python -m venv /opt/scim && /opt/scim/bin/pip install --no-cache-dir '.[postgresql,mysql,mongodb,ldap,irods,celery]'

FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends libldap-2.5-0 libsasl2-2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/scim --create-home scim
COPY --from=build /opt/scim /opt/scim
ENV PATH=/opt/scim/bin:$PATH PORT=8000 HOST=0.0.0.0 WORKERS=2 THREADS=4
USER scim
WORKDIR /var/lib/scim
VOLUME /var/lib/scim
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD \
    ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://localhost:{os.environ[\"PORT\"]}/health', timeout=4)"]
CMD ["scim", "serve"]
