# One image for every role: docker-compose.yml says which.
FROM python:3.13-slim
WORKDIR /app
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/build.txt -r requirements/runtime.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && useradd --create-home rampa && mkdir /data && chown rampa /data
USER rampa
ENTRYPOINT ["rampa"]
CMD ["--help"]
