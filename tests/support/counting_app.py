"""An app that says its name and prints each request once: `python -P counting_app.py NAME HOST PORT`.

Health checks are answered and not printed. `/hold` is printed and answered half a minute later: what is in flight when
the app is killed. Run by tests/integration/test_standby.py.
"""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, HOST, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body of an answer are two writes: a kill may come between them

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not self.headers.get("user-agent", "").startswith("hawse-health-check/"):
            print(f"{self.command} {self.path} {body.decode()}", flush=True)
        if self.path.startswith("/hold"):
            time.sleep(30)
        text = NAME.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_PUT = do_GET  # noqa: N815 - names of http.server

    def log_message(self, *_: object) -> None:
        """Nothing but requests."""


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


server = Server((HOST, PORT), Handler)
print("listening", flush=True)
server.serve_forever()
