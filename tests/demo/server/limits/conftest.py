"""A small page behind the limits, which the tests set; and requests to it as a browser sends them."""

import json
import secrets
import socket
import time
from dataclasses import replace

import gradio as gr
import httpx
import pytest

from demo import api
from demo.server import gradio_patches
from demo.server.limits import stack
from demo.server.limits.files import TempFiles
from demo.server.limits.held import HeldValues
from demo.server.limits.identity import SERVER_HEADER, Signer
from demo.server.limits.queue_limits import limit_queue
from demo.server.limits.settings import Limits

TIMEOUT = 30


class PublicPage:
    """A page with an upload and a value in memory; `url` ends with a slash."""

    def __init__(self, limits: Limits):
        self.limits, self.held, self.files, signer = limits, HeldValues(limits), TempFiles(limits), Signer()
        gradio_patches.use_upload_folder(str(self.files.folder))
        gradio_patches.delete_failed_uploads()
        with gr.Blocks(analytics_enabled=False) as page:
            image, text, face = gr.File(), gr.Textbox(), self.held.component("sample face")
            page.load(lambda: "opened", None, text)
            gr.Button().click(lambda text: [text], text, face, api_name="keep")
            gr.Button().click(lambda face: face[0], face, text, api_name="show")
            gr.Button().click(lambda path: path.rsplit("/", 1)[1], image, text, api_name="name")
            self.held.attach(page)
            api.guard(page)
        gradio_patches.keep_requests(page)
        page.queue(max_size=64, api_open=False)
        limit_queue(page, limits, self.files.has_room)
        self.page = page

        def lifespan(_):
            from contextlib import asynccontextmanager

            @asynccontextmanager
            async def started():
                gradio_patches.name_mcp_requests(page, {SERVER_HEADER: signer.sign("server")})
                self.files.start(lambda: gradio_patches.kept_files(page), self.held.drop_old)
                yield

            return started()

        middleware = stack.middleware(limits, signer, [], self.files.has_room)
        _, self.url, _ = page.launch(
            prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", mcp_server=True, max_file_size=2**20,
            app_kwargs={"middleware": middleware, "lifespan": lifespan},
        )  # fmt: skip

    def close(self) -> None:
        self.page.close()
        self.files.close()

    def visitor(self, address: str = "") -> httpx.Client:
        """Return a client that has opened the page, and has its cookie."""
        headers = {"X-Forwarded-For": address} if address else {}
        web = httpx.Client(base_url=self.url, timeout=TIMEOUT, headers=headers)
        web.get("config").raise_for_status()
        return web

    def event(self, web: httpx.Client, name: str, *data: object, session: str = "") -> dict:
        """Send an event of the page; return its output, or the response that rejects it as {"detail": ...}."""
        number = next(k for k, fn in self.page.fns.items() if fn.api_name == name)
        session = session or secrets.token_hex(6)
        joined = web.post("gradio_api/queue/join", json={"data": data, "fn_index": number, "session_hash": session})
        if joined.status_code != 200:
            return joined.json()
        with web.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    return message["output"]
        raise AssertionError("The page closed the connection without an answer.")


@pytest.fixture(scope="module")
def open_page(tmp_path_factory):
    """Returns a page with the limits that are given as named arguments."""
    pages = []
    context = pytest.MonkeyPatch()

    def opened(**limits) -> PublicPage:
        context.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("temporary")))
        pages.append(PublicPage(replace(Limits(trusted_proxies=1), **limits)))
        return pages[-1]

    yield opened
    for page in pages:
        page.close()
    context.undo()


def send_raw(url: str, head: str, body, most: int) -> tuple[int, bytes]:
    """Send a request with the parts of `body` until the server answers or `most` bytes are sent.

    Returns the number of bytes sent and the response.
    """
    host = httpx.URL(url)
    sent, answer = 0, b""
    with socket.create_connection((host.host, host.port), TIMEOUT) as connection:
        connection.sendall(f"{head}\r\nHost: {host.host}\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n".encode())
        for part in body:
            if sent >= most:
                break
            try:
                connection.sendall(part)
            except OSError:  # the server has answered and closed the connection
                break
            sent += len(part)
            connection.setblocking(False)
            try:
                answer = connection.recv(65536)
            except BlockingIOError:
                answer = b""
            finally:
                connection.settimeout(TIMEOUT)
            if answer:
                break
        end = time.monotonic() + TIMEOUT
        while b"\r\n\r\n" not in answer and time.monotonic() < end:
            try:
                part = connection.recv(65536)
            except OSError:
                break
            if not part:
                break
            answer += part
    return sent, answer
