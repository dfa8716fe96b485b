#!/bin/bash
# Boots a systemd that has nothing but the units in FILES/units, in namespaces of its
# own (pid, mount, uts, ipc, cgroup): what it mounts, removes and sets nobody else sees.
# It shares the network. FILES/usr, FILES/etc lie over the host's.
set -euo pipefail
files=$1
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
cp -a "$files" /run/files
# It would clean up /tmp and set sysctls, and the host's are not its own.
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for d in usr etc var; do
  mkdir -p /run/over/$d/{upper,work} /run/files/$d
  mount -t overlay -o "lowerdir=/run/files/$d:/$d,upperdir=/run/over/$d/upper,workdir=/run/over/$d/work" overlay /$d
done
mount -o remount,bind,ro /
for d in /usr/lib/systemd/system /usr/lib/systemd/system-generators /etc/systemd/system; do
  mkdir -p $d
  mount -t tmpfs -o mode=755 tmpfs $d
done
for target in default sysinit basic sockets shutdown network-online multi-user; do
  printf '[Unit]\nDefaultDependencies=no\n' > /usr/lib/systemd/system/$target.target
done
install -m 644 /run/files/units/* /etc/systemd/system/
# There is no journal either.
mkdir /etc/systemd/system/runnel.service.d
printf '[Service]\nStandardOutput=append:/run/agent.log\nStandardError=inherit\n' > /etc/systemd/system/runnel.service.d/log.conf
export container=other
exec /lib/systemd/systemd --system --unit=default.target --log-target=console --show-status=no
