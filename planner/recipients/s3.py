"""`s3://bucket/key`: Amazon S3 and stores that speak its protocol, by boto3, streamed.

A connection that breaks in the middle is taken up where it broke, if the object is still the same.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, cast

from planner.errors import SourceChanged, SourceError, SourceUnavailable
from schemas.campaign import SourceFingerprint

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SCHEME = "s3://"
RESUMES = 5


class S3Store:
    """An object of a bucket. Credentials and region are boto3's: environment, profile, instance role."""

    def __init__(self, uri: str, endpoint: str | None = None) -> None:
        """`endpoint`: where the store answers when it is not Amazon's. Raises `SourceError`."""
        self.name = uri
        self._bucket, _, self._key = uri.removeprefix(SCHEME).partition("/")
        if not self._bucket or not self._key:
            raise SourceError(f"{uri} names no object; write s3://bucket/key")
        self._endpoint = endpoint
        self._client: S3Client | None = None

    def fingerprint(self) -> SourceFingerprint:
        """Size and entity tag."""
        try:
            head = self._s3().head_object(Bucket=self._bucket, Key=self._key)
        except Exception as e:  # noqa: BLE001 - boto3's errors share no base; each is told by name
            _refuse(self.name, e)
        return SourceFingerprint(kind="s3", size=head["ContentLength"], changed=head["ETag"])

    def open(self) -> BinaryIO:
        """The object's bytes, streamed."""
        tag = self.fingerprint().changed
        return cast("BinaryIO", io.BufferedReader(_Body(self, tag), buffer_size=256 * 1024))

    def get(self, tag: str, start: int) -> Any:
        """The object's body from byte `start` on, when its entity tag is still `tag`."""
        extra: dict[str, Any] = {"Range": f"bytes={start}-"} if start else {}
        try:
            return self._s3().get_object(Bucket=self._bucket, Key=self._key, IfMatch=tag, **extra)["Body"]
        except Exception as e:  # noqa: BLE001 - as above
            _refuse(self.name, e)

    def _s3(self) -> S3Client:
        if self._client is None:
            import boto3
            from botocore.config import Config

            config = Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3, "mode": "standard"})
            try:
                self._client = boto3.Session().client("s3", endpoint_url=self._endpoint, config=config)
            except Exception as e:  # noqa: BLE001 - as above
                _refuse(self.name, e)
        return self._client


class _Body(io.RawIOBase):
    def __init__(self, store: S3Store, tag: str) -> None:
        self._store = store
        self._tag = tag
        self._at = 0
        self._body = store.get(tag, 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        for resumes in range(RESUMES + 1):
            try:
                data = self._body.read(len(buffer))
            except Exception as e:  # urllib3's and botocore's errors share no base
                if resumes == RESUMES:
                    raise SourceUnavailable(f"{self._store.name} broke off at byte {self._at}: {e}") from e
                self._body.close()
                self._body = self._store.get(self._tag, self._at)
                continue
            buffer[: len(data)] = data
            self._at += len(data)
            return len(data)
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()


def _refuse(uri: str, error: Exception) -> NoReturn:
    if isinstance(error, SourceError):
        raise error
    response: dict[str, Any] = getattr(error, "response", None) or {}
    code = str(response.get("Error", {}).get("Code", ""))
    if code in {"404", "NoSuchKey"}:
        raise SourceError(f"{uri}: the bucket has no such object; check the key") from error
    if code == "NoSuchBucket":
        raise SourceError(f"{uri}: there is no such bucket, or not in this region; check its name") from error
    if code in {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}:
        raise SourceError(f"{uri}: access is denied ({code}); let the planner's credentials s3:GetObject") from error
    if code in {"412", "PreconditionFailed"}:
        raise SourceChanged(f"{uri} changed while it was planned; send the campaign under a new id") from error
    if type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoRegionError"}:
        raise SourceError(
            f"{uri}: {error}; set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION"
        ) from error
    if code and not code.startswith("5") and code not in {"SlowDown", "InternalError", "ServiceUnavailable"}:
        raise SourceError(f"{uri}: the store refuses ({code}): {error}") from error
    raise SourceUnavailable(f"{uri}: the store does not answer: {error}") from error
