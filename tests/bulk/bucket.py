"""A storage like S3's, in memory: fsspec's buffered files, and folders that a process remembers as it saw them.

``fsspec.implementations.memory`` gives Python's own files and remembers nothing, so that it hides what goes wrong on
S3, Google's and Azure's storage.
"""

from __future__ import annotations

from itertools import count
from uuid import uuid4

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

try:
    from airflow.sdk.io import attach
except ImportError:  # Airflow 2.11
    from airflow.io.store import attach

from airflow_provider_truto._compat import object_storage_path


class Bucket:
    """The objects, by their names. ``before_read`` is called with a name and a range."""

    def __init__(self):
        self.objects = {}
        self.before_read = lambda name, start, end: None
        self._etags = count()

    def put(self, name, data):
        self.objects[name] = (data, f"etag-{next(self._etags)}")

    def view(self):
        """The bucket as one worker sees it."""
        conn_id = f"c{uuid4().hex}"
        attach("s3", conn_id=conn_id, fs=BucketFileSystem(self))
        return object_storage_path(f"s3://{conn_id}@data/")


class BucketFileSystem(AbstractFileSystem):
    protocol = "s3"
    cachable = False

    def __init__(self, bucket=None, **options):
        super().__init__(**options)
        self.bucket = bucket

    def ls(self, path, detail=True, **_options):
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = self._listed(path)
        if not (found := self.dircache[path]):
            raise FileNotFoundError(path)
        return found if detail else [entry["name"] for entry in found]

    def _listed(self, path):
        entries = {}
        folder = f"{path}/" if path else ""
        for name, (data, etag) in self.bucket.objects.items():
            if name == path:
                entries[name] = {"name": name, "size": len(data), "type": "file", "ETag": etag}
            elif name.startswith(folder):
                first, slash, _ = name.removeprefix(folder).partition("/")
                entry = {"name": f"{folder}{first}", "size": 0, "type": "directory"}
                if not slash:
                    entry |= {"size": len(data), "type": "file", "ETag": etag}
                entries[entry["name"]] = entry
        return list(entries.values())

    def invalidate_cache(self, path=None):
        if path is None:
            self.dircache.clear()
            return
        path = self._strip_protocol(path)
        while path:
            self.dircache.pop(path, None)
            path = self._parent(path)

    def mkdir(self, path, create_parents=True, **_options):
        pass

    def makedirs(self, path, exist_ok=False):
        pass

    def _rm(self, path):
        del self.bucket.objects[self._strip_protocol(path)]
        self.invalidate_cache(path)

    def cp_file(self, path1, path2, **_options):
        self.bucket.put(self._strip_protocol(path2), self.bucket.objects[self._strip_protocol(path1)][0])
        self.invalidate_cache(path2)

    def _open(self, path, mode="rb", block_size=None, **options):
        return BucketFile(self, path, mode, block_size or "default", **options)


class BucketFile(AbstractBufferedFile):
    def _fetch_range(self, start, end):
        self.fs.bucket.before_read(self.path, start, end)
        data, etag = self.fs.bucket.objects[self.path]
        if etag != self.details["ETag"]:
            raise OSError("the object was changed since it was opened")  # as s3fs does by If-Match
        return data[start:end]

    def _initiate_upload(self):
        self.parts = b""

    def _upload_chunk(self, final=False):
        self.parts += self.buffer.getvalue()
        if final:
            if "x" in self.mode and self.path in self.fs.bucket.objects:
                raise FileExistsError(self.path)
            self.fs.bucket.put(self.path, self.parts)
        return True
