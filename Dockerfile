# One image for every role: docker-compose.yml says which.
FROM python:3.13-slim
WORKDIR /app
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/build.txt -r requirements/runtime.txt
COPY . .
# What is done for each message is compiled (setup.py); the compiler does not stay.
RUN apt-get update -q && apt-get install -y -q --no-install-recommends gcc libc6-dev \
 && python -m venv --system-site-packages /compile \
 && /compile/bin/pip install --no-cache-dir --require-hashes -r requirements/dev.txt \
 && WITH_MYPYC=1 /compile/bin/pip wheel -q --no-deps --no-build-isolation -w /compile/wheel . \
 && pip install --no-cache-dir --no-deps /compile/wheel/*.whl \
 && rm -rf /compile build && apt-get purge -y -q --auto-remove gcc libc6-dev && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home rampa && mkdir /data && chown rampa /data
USER rampa
ENTRYPOINT ["rampa"]
CMD ["--help"]
