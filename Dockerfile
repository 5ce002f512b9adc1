# Dropoff in one image, for every role. What is installed is what requirements.lock pins, by hash.

FROM node:20-slim AS pages
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY vite.config.ts tsconfig.json ./
COPY src/dropoff/dashboard/web src/dropoff/dashboard/web
RUN npx vite build

FROM python:3.11-slim AS package
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock ./
COPY deploy/subset.py deploy/runtime.txt deploy/build.txt deploy/
RUN python deploy/subset.py requirements.lock deploy/build.txt > build.lock \
 && python deploy/subset.py requirements.lock deploy/runtime.txt > runtime.lock \
 && python -m venv /builder && /builder/bin/pip install --require-hashes -r build.lock \
 && python -m venv /opt/dropoff && /opt/dropoff/bin/pip install --require-hashes -r runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY --from=pages /build/src/dropoff/dashboard/static src/dropoff/dashboard/static
RUN /builder/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/dropoff/bin/pip install --no-deps --no-index dist/dropoff-*.whl

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin dropoff \
 && install -d -m 0700 -o dropoff -g dropoff /data
COPY --from=package /opt/dropoff /opt/dropoff
ENV PATH=/opt/dropoff/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    DROPOFF_DATA=/data DROPOFF_HOST=0.0.0.0 DROPOFF_PORT=8787
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8787/healthz', timeout=4)"]
ENTRYPOINT ["dropoff"]
CMD ["serve"]
