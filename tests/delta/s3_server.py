"""An S3 server on this machine with one empty bucket: `python -m tests.delta.s3_server PORT`.

It answers one request after the other: a conditional PUT must be asked and done in one, as the real ones do it.
"""

import logging
import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

BUCKET, KEY, SECRET, ACCOUNT = "warehouses", "tester", "s3cr3t/Of+Tests", "123456789012"


def main() -> None:
    port = int(sys.argv[1])
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    s3_backends[ACCOUNT]["aws"].create_bucket(BUCKET, "us-east-1")
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", port, application, threaded=False, request_handler=MotoRequestHandler)
    server.serve_forever()


if __name__ == "__main__":
    main()
