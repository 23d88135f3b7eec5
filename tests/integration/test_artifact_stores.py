"""All stores of artifacts, in all databases."""

from __future__ import annotations

import fsspec
import pytest
from artifact_benches import SQLAlchemyArtifacts, artifact_bench
from fix_stores import COVERING, DATABASES, sqlalchemy_urls
from selection import sample

from opencode_sessions.files.storage import FsspecStorage
from opencode_sessions.testing.conformance import ArtifactStoreConformance


class TestEveryArtifactStore(ArtifactStoreConformance):
    """The suite, over all the stores of ours."""

    @pytest.fixture(params=sample(["memory", *DATABASES], "memory", *COVERING))
    def bench(self, request, tmp_path):
        bench = artifact_bench(request.getfixturevalue, tmp_path / "bytes", *request.param.split("-"))
        yield bench
        bench.close()


class TestBytesInAFileSystemOfFsspec(ArtifactStoreConformance):
    """The suite, with the bytes in one that is in memory; and in a bucket of S3's, served by moto."""

    @pytest.fixture(params=sample(["memory", "s3"]))
    def bench(self, request, tmp_path):
        files = request.getfixturevalue("s3") if request.param == "s3" else fsspec.filesystem("memory")
        url = sqlalchemy_urls(request.getfixturevalue, "sqlite")[0]
        bench = SQLAlchemyArtifacts(url, None, FsspecStorage(files, f"/agents/{tmp_path.name}"))
        yield bench
        bench.close()
