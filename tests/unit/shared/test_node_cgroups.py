"""Which control groups the node of ``make cluster-test`` makes, by what the machine has mounted."""

from pathlib import Path

import pytest

from node.cgroups import mounted
from node.errors import NodeError

CONTROLLERS = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n" + "".join(
    f"{name}\t1\t1\t1\n" for name in ("cpuset", "cpu", "cpuacct", "memory", "pids")
)


def line(path, kind, options):
    return f"cgroup {path} {kind} rw,nosuid,relatime{options} 0 0\n"


FIRST = "".join(
    line(f"/sys/fs/cgroup/{name}", "cgroup", f",{name}") for name in ("cpu,cpuacct", "cpuset", "memory", "pids")
)
NAMED = line("/sys/fs/cgroup/systemd", "cgroup", ",xattr,name=systemd")
SECOND = line("/sys/fs/cgroup", "cgroup2", ",nsdelegate")


def test_of_version_1_every_hierarchy_is_mounted_again_with_its_controllers_alone():
    assert mounted(f"proc /proc proc rw 0 0\n{FIRST}{NAMED}", CONTROLLERS) == [
        (Path("/sys/fs/cgroup/cpu,cpuacct"), "cpu,cpuacct"),
        (Path("/sys/fs/cgroup/cpuset"), "cpuset"),
        (Path("/sys/fs/cgroup/memory"), "memory"),
        (Path("/sys/fs/cgroup/pids"), "pids"),
        (Path("/sys/fs/cgroup/systemd"), "none,name=systemd"),
    ]


def test_version_2_is_one_hierarchy_without_options():
    assert mounted(SECOND, CONTROLLERS) == [(Path("/sys/fs/cgroup"), "")]


def test_version_2_beside_version_1_has_no_controllers_and_is_left_out():
    beside = line("/sys/fs/cgroup/unified", "cgroup2", "")
    assert mounted(FIRST + beside, CONTROLLERS) == mounted(FIRST, CONTROLLERS)


def test_a_machine_without_a_needed_controller_is_refused():
    with pytest.raises(NodeError, match=r"no control groups for cpu, cpuset, memory, pids"):
        mounted(NAMED, CONTROLLERS)
