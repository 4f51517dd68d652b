#!/bin/sh
# enter.sh ROOT USER GROUP COMMAND...: runs COMMAND in the root file system ROOT as a container with a read-only root and
# without rights would; to be started as process 1 of namespaces of its own (unshare --mount --pid --fork). Its whole
# environment stands before the command, as NAME=VALUE for env.
set -eu
root=$1 user=$2 group=$3
shift 3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do
  : >"$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,ro "$root/dev"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user:$group" --groups= "$root" /usr/bin/env -i "$@"
