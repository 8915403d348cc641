"""``python hack/node build`` and ``python hack/node up``: what ``make cluster-test`` starts, for people.

In: a command. Out: lines for people; with ``up`` a node until Ctrl-C, whose kubeconfig is told.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path


def _main() -> int:
    if not __package__:
        # Run as a directory, the interpreter puts the directory itself on the path; the package needs its parent.
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from controlplane import ControlPlaneError
    from image.errors import ImageError
    from node import Node, NodeError
    from node.node import DIRECTORY

    parser = argparse.ArgumentParser(prog="hack/node", description="A real Kubernetes node, in namespaces of its own.")
    parser.add_argument("command", choices=("build", "up"), help="only build what is missing; or run a node, too")
    parser.add_argument("--dir", type=Path, help="where its files and logs lie; default: .run/node")
    parser.add_argument("--archive", type=Path, help="the operator's image; default: built from the tree")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    node = Node((options.dir or DIRECTORY).resolve(), archive=options.archive)
    try:
        node.provide()
        if options.command == "up":
            with node:
                print(f"export KUBECONFIG={node.kubeconfig}\nCtrl-C ends the node.", flush=True)
                signal.pause()
    except (ControlPlaneError, ImageError, NodeError) as error:
        print(f"hack/node: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    for name, seconds in node.phases.items():
        print(f"{seconds:7.1f} s  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
