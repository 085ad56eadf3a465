# Runs in namespaces of its own, as their root: makes a root file system usable, and runs Node in it.
# usage: inside.sh ROOT APP NODE [QEMU]
set -e
root=$1 app=$2 node=$3 qemu=$4

if [ -n "$qemu" ]; then
  # Of this user namespace alone (Linux 6.7). F: the emulator is opened now, and need not be in the root.
  mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
  magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  printf '%s' ":aarch64:M::$magic:$mask:$qemu:F" > /proc/sys/fs/binfmt_misc/register
fi

mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero random urandom; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir "$root/run/run"
ln -sfn ../run "$root/var/run" 2> /dev/null || :
mount --bind "$app" "$root/app"
# Not by exec: a process that is PID 1 is a container's, and an orphan needs one that waits for it.
cd "$root"
chroot=$(command -v chroot || echo /usr/sbin/chroot)
env -i PATH=/usr/bin HOME=/ TZ=UTC RUN=/run "$chroot" "$root" "$node" /app/life.mjs
exit $?
