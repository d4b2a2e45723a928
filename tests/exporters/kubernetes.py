"""As much of a Kubernetes API as an exporter asks for: the pods of its node, listed once and then watched for ever."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Pod:
    """A ready pod of one container."""

    namespace: str
    name: str
    container: str
    container_id: str

    def told(self) -> dict[str, object]:
        """As the API tells it."""
        return {
            "metadata": {"namespace": self.namespace, "name": self.name, "uid": f"uid-{self.name}"},
            "status": {
                "conditions": [{"type": "ContainersReady", "status": "True"}],
                "containerStatuses": [{"name": self.container, "containerID": f"containerd://{self.container_id}"}],
            },
        }


@contextmanager
def api(pods: Sequence[Pod]) -> Iterator[str]:
    """Serves these pods; gives the address."""
    told = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}}
    body = json.dumps(told | {"items": [pod.told() for pod in pods]}).encode()
    over = threading.Event()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            watched = "true" in parse_qs(asked.query).get("watch", [])
            known = asked.path == "/api/v1/pods"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            if known and not watched:
                self.wfile.write(body)
            elif known:
                self.wfile.flush()
                over.wait()  # nothing happens to these pods

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the name is not ours
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, name="kubernetes")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def kubeconfig(address: str) -> str:
    """A file that leads to that address; JSON is YAML."""
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "made",
        "clusters": [{"name": "made", "cluster": {"server": address}}],
        "contexts": [{"name": "made", "context": {"cluster": "made", "user": ""}}],
    })  # fmt: skip
