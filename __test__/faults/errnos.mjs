// Which errors each system call can plausibly fail with: those that its man page names, and that a
// full, read-only or broken disk, used-up limits, missing rights or an interruption bring about.
// What is not listed cannot fail with valid arguments (rt_sigaction, getpid, umask, ...): there the
// process is killed, and nothing else.

import { constants } from 'node:os'

const FD = ['EMFILE', 'ENFILE', 'ENOMEM']
const PATH = ['EACCES', 'ENOMEM', 'EIO']
const CHANGE = ['EACCES', 'EROFS', 'ENOSPC', 'EIO', 'ENOMEM']

const TABLE = {
  access: PATH,
  bind: ['EACCES', 'EROFS', 'ENOMEM'],
  brk: ['ENOMEM'],
  chdir: PATH,
  clock_nanosleep: ['EINTR'],
  clone: ['EAGAIN', 'ENOMEM'],
  clone3: ['EAGAIN', 'ENOMEM'],
  // Executed all the same: Linux closes the descriptor even where it reports an error.
  close: ['EIO', 'EINTR', 'ENOSPC'],
  close_range: ['EMFILE', 'ENOMEM'],
  connect: ['EACCES', 'EAGAIN', 'EINTR'],
  dup: ['EMFILE'],
  dup2: ['EINTR'],
  dup3: ['EINTR'],
  epoll_create1: FD,
  epoll_ctl: ['ENOMEM', 'ENOSPC'],
  epoll_pwait: ['EINTR'],
  epoll_wait: ['EINTR'],
  eventfd2: FD,
  execve: ['EACCES', 'EAGAIN', 'EIO', 'EMFILE', 'ENFILE', 'ENOMEM'],
  fchmod: ['EIO', 'EROFS', 'ENOMEM'],
  flock: ['EAGAIN', 'EINTR', 'ENOMEM'],
  fork: ['EAGAIN', 'ENOMEM'],
  fstat: ['EIO', 'ENOMEM'],
  ftruncate: ['EIO', 'EINTR', 'EROFS', 'ENOSPC'],
  // The C library aborts the process at any other.
  futex: ['EINTR', 'EAGAIN'],
  getcwd: ['EACCES', 'ENOMEM'],
  getdents64: ['EIO', 'ENOMEM', 'EACCES'],
  getrandom: ['EINTR', 'EAGAIN'],
  getsockname: ['ENOMEM'],
  getsockopt: ['ENOMEM'],
  inotify_add_watch: ['EACCES', 'ENOMEM', 'ENOSPC'],
  inotify_init1: FD,
  io_uring_setup: FD,
  io_uring_enter: ['EAGAIN', 'EINTR'],
  ioctl: ['EIO', 'ENOMEM'],
  kcmp: ['EPERM'],
  kill: ['EPERM'],
  lseek: ['EIO'],
  madvise: ['EAGAIN', 'ENOMEM'],
  memfd_create: FD,
  mmap: ['EAGAIN', 'EACCES', 'ENFILE', 'ENOMEM'],
  mprotect: ['EACCES', 'ENOMEM'],
  mremap: ['EAGAIN', 'ENOMEM'],
  munmap: ['ENOMEM'],
  newfstatat: PATH,
  pidfd_open: FD,
  pidfd_send_signal: ['EPERM'],
  pipe2: ['EMFILE', 'ENFILE'],
  poll: ['EINTR', 'ENOMEM'],
  ppoll: ['EINTR', 'ENOMEM'],
  pread64: ['EIO', 'EINTR', 'EAGAIN'],
  pwrite64: ['ENOSPC', 'EIO', 'EINTR', 'EAGAIN'],
  read: ['EIO', 'EINTR', 'EAGAIN'],
  readlink: PATH,
  readv: ['EIO', 'EINTR', 'EAGAIN'],
  recvfrom: ['EAGAIN', 'EINTR', 'ENOMEM'],
  recvmsg: ['EAGAIN', 'EINTR', 'ENOMEM'],
  rename: CHANGE,
  sendmsg: ['EAGAIN', 'EINTR', 'ENOMEM', 'EPIPE'],
  sendto: ['EAGAIN', 'EINTR', 'ENOMEM', 'EPIPE'],
  setgroups: ['EPERM', 'ENOMEM'],
  setresgid: ['EPERM', 'EAGAIN', 'ENOMEM'],
  setresuid: ['EPERM', 'EAGAIN', 'ENOMEM'],
  // A security module's refusal.
  setpgid: ['EACCES', 'EPERM'],
  setsid: ['EPERM'],
  setsockopt: ['ENOMEM'],
  shutdown: ['ENOMEM'],
  sigaltstack: ['ENOMEM'],
  socket: ['EACCES', ...FD],
  socketpair: FD,
  statx: PATH,
  unlink: CHANGE,
  unlinkat: CHANGE,
  wait4: ['EINTR'],
  waitid: ['EINTR'],
  write: ['ENOSPC', 'EIO', 'EINTR', 'EAGAIN'],
  writev: ['ENOSPC', 'EIO', 'EINTR', 'EAGAIN'],
}

const O_WRITE = 0x3
const O_CREAT = 0x40
const F_DUPFD = [0, 1030]
const F_OFD_SETLK = 37
const F_OFD_GETLK = 36
/** Neither has a disk behind it, or a remote end: such a read can be interrupted, or find nothing. */
const IN_MEMORY = /^(?:anon_inode:|pipe:|\/memfd:)/

/** The names of the errors for one call, as the tracer lists it. */
export function plausible({ call, args, path }) {
  const [, second, third] = args
  if (call === 'openat' || call === 'open') {
    const flags = call === 'openat' ? third : second
    const errors = ['EACCES', 'EINTR', 'EIO', ...FD]
    if (flags & O_WRITE) errors.push('EROFS')
    if (flags & O_CREAT) errors.push('ENOSPC')
    return errors
  }
  if (call === 'fcntl') {
    if (F_DUPFD.includes(second)) return ['EMFILE']
    if (second === F_OFD_SETLK) return ['EAGAIN', 'EACCES', 'EINTR', 'ENOMEM']
    if (second === F_OFD_GETLK) return ['ENOMEM']
    // F_SETFD, F_GETFL and their like fail for a closed descriptor only.
    return []
  }
  if (IN_MEMORY.test(path)) {
    if (call === 'read') return ['EINTR', 'EAGAIN']
    // A full pipe; an eventfd is never full here.
    if (call === 'write') return path.startsWith('pipe:') ? ['EINTR', 'EAGAIN'] : []
    if (call === 'close') return []
  }
  return TABLE[call] ?? []
}

export function errnoOf(name) {
  return constants.errno[name]
}
