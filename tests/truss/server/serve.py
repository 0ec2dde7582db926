# mypy: ignore-errors
# ruff: noqa
"""Start the real model server of the installed `truss` package, without Docker.

usage: python serve.py TRUSS_DIR BUILD_DIR PORT [development]

truss itself lays out the image's build folder; that folder's `server` part is
what the container would run. The servers hard-code host 0.0.0.0, so the one
thing changed here is that their uvicorn config is given 127.0.0.1 instead.

With `development`, truss's control server (the proxy that fronts every
development deployment) listens on PORT and starts the model server on PORT+1.
"""

import os
import pathlib
import shutil
import sys

LOOPBACK = """
import uvicorn
real = uvicorn.Config
def loopback(*args, **kwargs):
    kwargs["host"] = "127.0.0.1"
    return real(*args, **kwargs)
uvicorn.Config = loopback
"""


def lay_out(truss_dir, build):
    from truss.truss_handle.build import load

    if build.exists():
        shutil.rmtree(build)
    load(str(truss_dir)).docker_build_setup(build_dir=build)
    app = build / "server"  # as in the image: server files, config, model side by side
    shutil.copy(build / "config.yaml", app / "config.yaml")
    shutil.copytree(build / "model", app / "model", dirs_exist_ok=True)
    start = app / "start_loopback.py"
    start.write_text(
        LOOPBACK
        + (
            "import os\nfrom truss_server import TrussServer\n"
            "TrussServer(int(os.environ['INFERENCE_SERVER_PORT']), 'config.yaml').start()\n"
        )
    )
    return app, start


def main():
    truss_dir, build, port = sys.argv[1:4]
    build, truss_dir, port = pathlib.Path(build).resolve(), pathlib.Path(truss_dir).resolve(), int(port)
    development = sys.argv[4:] == ["development"]
    app, start = lay_out(truss_dir, build)

    os.environ["HOME"] = str(build)  # the server keeps a crash marker file there
    os.environ["INFERENCE_SERVER_PORT"] = str(port + 1 if development else port)
    os.chdir(app)
    if not development:
        os.execv(sys.executable, [sys.executable, str(start)])

    import truss

    templates = pathlib.Path(truss.__file__).parent / "templates"
    sys.path[:0] = [str(templates / "control" / "control"), str(templates)]
    import uvicorn
    from application import create_app

    control = create_app(
        {
            "inference_server_home": str(app),
            "inference_server_process_args": [sys.executable, str(start)],
            "control_server_host": "127.0.0.1",
            "control_server_port": port,
            "inference_server_port": port + 1,
        }
    )
    uvicorn.Server(uvicorn.Config(control, host="127.0.0.1", port=port, http="h11", loop="uvloop")).run()


main()
