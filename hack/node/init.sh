#!/bin/bash
# The first process in the node's namespaces (mount, network, uts, ipc, pid, cgroup): makes them a machine, then waits.
# When it ends, the kernel ends every process in them, and their mounts and interfaces are gone.
#
#   init.sh STATE PACKAGES NAME ADDRESS
#
# STATE holds the node's files and `cgroups`; PACKAGES/usr, where there is one, is laid over /usr.
set -euo pipefail
state=$1 packages=$2 name=$3 address=$4
exec </dev/null

# Nothing of what follows reaches the machine's own mounts.
mount --make-rprivate /
if [ -d "$packages/usr" ]; then mount -t overlay overlay -o "lowerdir=$packages/usr:/usr" /usr; fi
mount -t proc proc /proc
mount -t sysfs sysfs /sys

if read -r kind daemons <"$state/cgroups" && [ "$kind" = cgroup2 ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  echo $$ >"/sys/fs/cgroup/$daemons/cgroup.procs"
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done
else
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  while read -r hierarchy options; do
    mkdir "/sys/fs/cgroup/$hierarchy"
    mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$hierarchy"
  done <"$state/cgroups"
fi

mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$state/lib" "$state/logs/node"
mount --bind "$state/lib" /var/lib
mount --bind "$state/logs/node" /var/log # with the logs of pods

# The kubelet wants these settings, which are the whole kernel's. It finds files that hold what it wants instead.
mkdir -p "$state/sysctl"
while read -r setting value; do
  echo "$value" >"$state/sysctl/$setting"
  mount --bind "$state/sysctl/$setting" "/proc/sys/${setting//.//}"
done <<END
vm.overcommit_memory 1
vm.panic_on_oom 0
kernel.panic 10
kernel.panic_on_oops 1
kernel.keys.root_maxkeys 1000000
kernel.keys.root_maxbytes 25000000
END
mount --make-rshared /

hostname "$name"
ip link set lo up
ip link add node0 type veth peer name node1
ip address add "$address/24" dev node0
ip link set node0 up
ip link set node1 up
# Addresses of Services need some route before they are translated. It leads nowhere: there is no way out of here.
ip route add default dev node0 src "$address"
echo 1 >/proc/sys/net/ipv4/ip_forward
# Without this, answers between two pods of one bridge would pass by the translation of Services.
if [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
  echo "the kernel has no br_netfilter: run modprobe br_netfilter" >&2
  exit 1
fi
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables

touch "$state/made"
trap 'exit 0' TERM
while :; do sleep infinity & wait $!; done # and reap whoever lost its parent, which bash does by itself
