"""A stand-in of the Hub on 127.0.0.1: datasets with commits, conflicts, squashed histories and failures."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

REPO = "me/votes"


def blob_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """The dataset REPO: revisions are dicts of path -> bytes, the newest last. Usable as a context manager."""

    def __init__(self):
        self.revisions, self.private, self.exists = [{}], True, False
        self.commits = 0  # also after squashing
        self.failing = None  # HTTP status of every request
        self.before_commit = None  # called once before the next commit
        self._lock = threading.RLock()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def send(self, content, status=200, **headers):
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Length": len(data), **headers}.items():
                    self.send_header(name.replace("_", "-"), str(value))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def handle_request(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if hub.failing:
                    return self.send({"error": "the stand-in fails"}, hub.failing)
                with hub._lock:
                    hub._answer(self, urlsplit(unquote(self.path)).path, body)

            do_GET = do_POST = do_HEAD = handle_request

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @property
    def sha(self):
        return f"{self.commits:040x}"

    @property
    def files(self):
        """The newest files: path -> text."""
        return {path: data.decode() for path, data in self.revisions[-1].items()}

    @property
    def history(self):
        """The text of all revisions."""
        return "".join(data.decode() for files in self.revisions for data in files.values())

    def events(self):
        """The events of all files."""
        return [json.loads(line) for path, text in self.files.items() if "/events-" in path for line in text.splitlines()]

    def _answer(self, to, path, body):
        if path == "/api/repos/create":
            self.exists = True
            return to.send({"url": f"{self.url}/datasets/{REPO}", "id": REPO})
        if path == "/api/whoami-v2":
            return to.send({"name": "me", "type": "user"})
        if path.startswith(f"/datasets/{REPO}/resolve/"):
            data = self.revisions[-1].get(path.split("/resolve/")[1].split("/", 1)[1])
            if data is None:
                return to.send({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
            return to.send(data, X_Repo_Commit=self.sha, ETag=f'"{blob_id(data)}"', X_Linked_Size=len(data))
        action = path.removeprefix(f"/api/datasets/{REPO}")
        if action == "":
            return to.send({"id": REPO, "private": self.private, "sha": self.sha})
        if action.startswith("/revision/"):
            return to.send({"id": REPO, "private": self.private, "sha": self.sha})
        if action.startswith("/tree/"):
            folder = "".join(action.removeprefix("/tree/").partition("/")[2:])
            found = [
                {"type": "file", "path": name, "size": len(data), "oid": blob_id(data)}
                for name, data in self.revisions[-1].items()
                if name.startswith(f"{folder}/")
            ]
            return to.send(found) if found else to.send({"error": "no such folder"}, 404, X_Error_Code="EntryNotFound")
        if action.startswith("/preupload/"):
            asked = json.loads(body)["files"]
            return to.send({"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in asked]})
        if action.startswith("/commit/"):
            return self._commit(to, [json.loads(line) for line in body.splitlines() if line])
        if action.startswith("/super-squash/"):
            self.revisions = self.revisions[-1:]
            self.commits += 1
            return to.send(b"")
        return to.send({"error": f"the stand-in has no {path}"}, 404)

    def _commit(self, to, lines):
        if self.before_commit:
            act, self.before_commit = self.before_commit, None
            act()
        parent = next(line["value"].get("parentCommit") for line in lines if line["key"] == "header")
        if parent not in (None, self.sha):
            return to.send({"error": "the parent is not the newest commit"}, 412)
        files = dict(self.revisions[-1])
        for line in lines:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        self.put(files)
        return to.send({"commitUrl": f"{self.url}/datasets/{REPO}/commit/{self.sha}", "commitOid": self.sha, "success": True})

    def put(self, files):
        """Add a revision."""
        self.revisions.append(files)
        self.commits += 1
