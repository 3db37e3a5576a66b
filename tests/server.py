"""Files served on this machine."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves the files in `served` on this machine; sends `limit` bytes at most, then cuts. Knows byte ranges."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = self.server.served.get(self.path)
            asked = self.headers['Range']
            self.server.ranges.append(asked)
            if content is None:
                return self.send_error(404)
            first = int(asked.removeprefix('bytes=').rstrip('-')) if asked and self.server.knows_ranges else 0
            if first >= len(content):
                return self.send_error(416)
            self.send_response(206 if first else 200)
            if first:
                self.send_header('Content-Range', f'bytes {first}-{len(content) - 1}/{len(content)}')
            self.send_header('Content-Length', str(len(content) - first))
            self.end_headers()
            self.wfile.write(content[first:][: self.server.limit])

        def log_message(self, *_):
            pass

    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.chdir(tmp_path)
    httpd = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    httpd.served, httpd.ranges, httpd.limit, httpd.knows_ranges = {}, [], None, True
    thread = threading.Thread(target=httpd.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join(5)
    httpd.server_close()
