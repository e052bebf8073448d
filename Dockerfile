# The service and the dashboard, with the released networks inside.
#
#   docker build -t metseg .
#   docker run --rm -p 127.0.0.1:8000:8000 metseg
#   docker run --rm -p 127.0.0.1:8866:8866 metseg dashboard --host 0.0.0.0

FROM python:3.13-slim-trixie AS build
WORKDIR /app
RUN python3 -m venv .venv
ENV PATH=/app/.venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml README.md LICENSE ./
COPY deploy/serving.txt deploy/
# A part of the pinned packages: no TensorFlow, no JupyterLab. Nothing is compiled.
RUN python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > /tmp/pins.txt \
 && pip install --only-binary :all: --constraint /tmp/pins.txt --requirement deploy/serving.txt
COPY lib lib
COPY notebooks/dashboard.ipynb notebooks/
COPY outputs/released outputs/released
RUN pip install --no-deps --editable . && python3 -m compileall -q lib && pip uninstall --yes --quiet pip

FROM python:3.13-slim-trixie
LABEL org.opencontainers.image.title="metseg" \
      org.opencontainers.image.description="Segments brain lesions in MRI. Research use only, not a medical device." \
      org.opencontainers.image.licenses="MIT AND CC-BY-NC-SA-4.0"
COPY --from=build /app /app
WORKDIR /app
# The user has no home: what Jupyter and matplotlib write goes to /tmp, which may be the one writable place.
ENV PATH=/app/.venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000 8866
# Well is what answers, the dashboard with a refusal: this starts no kernel there.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python3", "-c", "\
import http.client; \
port = 8866 if b'dashboard' in open('/proc/1/cmdline', 'rb').read() else 8000; \
server = http.client.HTTPConnection('127.0.0.1', port, timeout=8); \
server.request('HEAD', '/health/ready'); \
exit(server.getresponse().status > 499)"]
ENTRYPOINT ["metseg"]
CMD ["serve", "--host", "0.0.0.0"]
