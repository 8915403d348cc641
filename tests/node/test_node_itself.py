"""The node of these tests: it ends with its owner, however that ends, and leaves the machine as it was."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from node import cgroups
from support.cluster import eventually

HACK = Path(__file__).parents[2] / "hack" / "node"
SETTINGS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")


def machine():
    """What a node could change of the machine: mounts, interfaces, settings, control groups."""
    return (
        Path("/proc/self/mountinfo").read_text(),
        sorted(path.name for path in Path("/sys/class/net").iterdir()),
        [Path("/proc/sys", name).read_text() for name in SETTINGS],
    )


def processes(words):
    """The ids of all processes whose command line has these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words in path.read_text().replace("\0", " "):
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def swept(groups):
    """Do as the next node does; the kernel takes a moment to let the ended processes go."""
    cgroups.sweep()
    return not any(path.exists() for path in groups)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_node_leaves_nothing_when_its_owner_ends(node, tmp_path, number):
    before = machine()
    directory = tmp_path / "node"
    command = [sys.executable, str(HACK), "up", f"--dir={directory}", f"--archive={node.archive}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline().startswith("export KUBECONFIG=")
        groups = list(Path("/sys/fs/cgroup").glob(f"**/hookline-node-{owner.pid}"))
        assert groups
        assert len(processes(str(directory))) > 8, "the control: they are found"
        assert machine() == before
        owner.send_signal(number)
        owner.wait(60)
    eventually(lambda: not processes(str(directory)), "every process of the node has ended")
    if number == signal.SIGTERM:
        assert not any(path.exists() for path in groups)
        assert [path.name for path in directory.iterdir()] == ["logs"]
    else:
        eventually(lambda: swept(groups), "the next node removes the control groups")
    assert machine() == before
