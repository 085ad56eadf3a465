//! Linux: the system calls that neither `nix` nor an old C library has, and what only it has.
//!
//! All by raw number: the symbols `close_range`, `memfd_create`, `pidfd_*` and `statx` would need a glibc
//! newer than 2.17. Each returns the errno of its failure.

mod clone;

pub use self::clone::*;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, socket};
use nix::sys::stat::{FileStat, Mode, fstat};

use crate::sys::FileId;

/// pidfd_open(2): a handle on a process that stays on it when the pid is reused.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, i32> {
    // SAFETY: takes two integers; the result is a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(fd)
}

/// pidfd_send_signal(2). The pid is not needed here.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, _pid: i32, signal: i32) -> Result<(), i32> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null `info` asks for what kill(2) sends.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    if result == 0 { Ok(()) } else { Err(Errno::last_raw()) }
}

/// memfd_create(2), close-on-exec: a file without a name, for what the daemon prints.
pub fn memfd(name: &std::ffi::CStr) -> Result<OwnedFd, i32> {
    memfd_with(name, libc::MFD_CLOEXEC)
}

/// The same, for a file that is sealed before it is given away (fcntl(2), F_ADD_SEALS).
pub fn sealable_memfd(name: &std::ffi::CStr) -> Result<OwnedFd, i32> {
    memfd_with(name, libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)
}

fn memfd_with(name: &std::ffi::CStr, flags: libc::c_uint) -> Result<OwnedFd, i32> {
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) };
    owned(fd)
}

/// close_range(2) over `first..=last`. Async-signal-safe.
pub fn close_range(first: RawFd, last: libc::c_uint) -> Result<(), i32> {
    // SAFETY: takes integers only. What it closes is the caller's responsibility: it runs in a
    // child of fork, where no Rust value owns a descriptor any more.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 { Ok(()) } else { Err(Errno::last_raw()) }
}

/// statx(2): device and inode of a file, as the kernel knows them without asking a file server.
pub fn statx_unsynced(path: &Path) -> Result<(u64, u64), Errno> {
    let (identity, _) = statx(path, libc::AT_STATX_DONT_SYNC, libc::STATX_INO)?;
    Ok((identity.dev, identity.ino))
}

/// Which file this is, and its owner, by the kernel's word: under fakeroot(1) the C library says that
/// all files are root's.
pub fn owner_of(path: &Path) -> Result<(FileId, u32), Errno> {
    match statx(path, 0, libc::STATX_INO | libc::STATX_UID) {
        // Linux before 4.11, or an old container profile.
        Err(Errno::ENOSYS | Errno::EPERM) => {
            nix::sys::stat::stat(path).map(|found| (FileId::from(&found), found.st_uid))
        }
        found => found,
    }
}

fn statx(path: &Path, flags: libc::c_int, mask: libc::c_uint) -> Result<(FileId, u32), Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the path is NUL-terminated; zero is a value of `struct statx`, which the call fills in.
    let (result, found) = unsafe {
        let mut found: libc::statx = std::mem::zeroed();
        let (path, at) = (path.as_ptr(), libc::AT_FDCWD);
        (libc::syscall(libc::SYS_statx, at, path, flags, mask, &raw mut found), found)
    };
    Errno::result(result)?;
    let dev = nix::sys::stat::makedev(found.stx_dev_major.into(), found.stx_dev_minor.into());
    Ok((FileId { dev, ino: found.stx_ino }, found.stx_uid))
}

/// The effective user by the kernel's word: under fakeroot(1) the C library says 0.
pub fn effective_uid() -> u32 {
    let mut ids: [libc::uid_t; 3] = [0; 3];
    let [real, effective, saved] = &mut ids;
    // SAFETY: three pointers to ids, which the call fills in; it cannot fail.
    unsafe {
        libc::syscall(libc::SYS_getresuid, &raw mut *real, &raw mut *effective, &raw mut *saved)
    };
    ids[1]
}

/// Whether the calling thread is the one that the process began with: its id is the pid.
pub fn is_main_thread() -> bool {
    nix::unistd::gettid() == nix::unistd::getpid()
}

/// environ(7): null-terminated, or null.
pub fn environment() -> *mut *mut libc::c_char {
    unsafe extern "C" {
        static environ: *mut *mut libc::c_char;
    }
    // SAFETY: the C library's own variable; read, not written.
    unsafe { environ }
}

/// The address of this thread's errno; async-signal-safe.
pub fn errno_location() -> *mut libc::c_int {
    // SAFETY: it is always valid.
    unsafe { libc::__errno_location() }
}

/// Asks for SIGKILL when the parent, or the thread of it that forked, ends (PR_SET_PDEATHSIG(2const)).
/// Async-signal-safe; 0, or -1 with errno.
pub fn die_with_parent() -> libc::c_int {
    // SAFETY: takes integers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }
}

/// Takes that back. In the main thread: the signal is a thread's own.
pub fn outlive_parent() {
    // SAFETY: takes integers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0) };
}

/// Asks again what [`die_with_parent`] asked for, which the kernel forgets at the exec of a program with file
/// capabilities, and where a security module changes ids there. In the main thread: it is a thread's own.
pub fn keep_dying_with_parent() {
    die_with_parent();
}

/// Waits until there is something to read, `child` ends, or so many milliseconds have passed; whether
/// there is. A descriptor of -1 has nothing to read. For a process in which all signals are blocked and
/// SIGCHLD has a handler.
///
/// # Safety
///
/// Async-signal-safe; the descriptor must be open.
pub unsafe fn wait_for_word_or_end(fd: RawFd, _child: libc::pid_t, millis: i64) -> bool {
    let time = libc::timespec {
        tv_sec: (millis / 1000) as libc::time_t,
        tv_nsec: ((millis % 1000) * 1_000_000) as libc::c_long,
    };
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: valid pointers to locals. SIGCHLD gets through for the length of the call (ppoll(2)).
    unsafe {
        let mut but_sigchld: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut but_sigchld);
        libc::sigdelset(&mut but_sigchld, libc::SIGCHLD);
        libc::ppoll(&mut poll, 1, &time, &but_sigchld) > 0
    }
}

/// `struct sigaction` as the kernel has it on 64-bit machines. The C library does not let its own signals be
/// touched, and its structure is another one.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Action {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

impl Action {
    const DEFAULT: Self = Self { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };

    /// rt_sigaction(2): puts `new` in place, if given, and returns what was there. Async-signal-safe.
    pub fn exchange(signal: libc::c_int, new: Option<&Self>) -> std::io::Result<Self> {
        let mut old = Self::DEFAULT;
        let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: rt_sigaction(2) reads `new`, if given, and writes `old`; both
        // are the kernel's structure, whose set of signals has 8 bytes.
        let result =
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, &raw mut old, 8_usize) };
        if result == 0 { Ok(old) } else { Err(std::io::Error::last_os_error()) }
    }
}

/// SIG_DFL or SIG_IGN for a signal. Async-signal-safe. Not by the C library's sigaction, which for SIGABRT takes
/// a lock, and in a child that shares the memory of its parent, that one's: a child that is killed would keep it.
pub fn set_disposition(signal: libc::c_int, to: libc::sighandler_t) {
    // Those that cannot be set are refused.
    let _ = Action::exchange(signal, Some(&Action { handler: to, ..Action::DEFAULT }));
}

/// Closes every descriptor but the sorted ones given, by the list in /proc/self/fd, read without
/// opendir(3), which allocates. 0, or -1 with errno.
///
/// # Safety
///
/// Only in a child of fork: the descriptors have no owner there. Async-signal-safe.
pub unsafe fn close_listed(sorted: &[RawFd]) -> libc::c_int {
    // SAFETY: async-signal-safe calls; the records that getdents64 wrote lie within `buffer`.
    unsafe {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let dir = crate::signal_safe::repeat(|| libc::open(c"/proc/self/fd".as_ptr(), flags));
        if dir < 0 {
            return -1;
        }
        let mut buffer = [0u8; 4096];
        loop {
            let read = libc::syscall(libc::SYS_getdents64, dir, buffer.as_mut_ptr(), buffer.len());
            if read <= 0 {
                libc::close(dir);
                return if read == 0 { 0 } else { -1 };
            }
            let mut at = 0usize;
            while at + 19 < read as usize {
                let size = u16::from_ne_bytes([buffer[at + 16], buffer[at + 17]]) as usize;
                let mut fd: RawFd = 0;
                let mut next = at + 19;
                while next < buffer.len() && buffer[next].is_ascii_digit() {
                    fd = fd * 10 + RawFd::from(buffer[next] - b'0');
                    next += 1;
                }
                if next > at + 19 && fd != dir && !sorted.contains(&fd) {
                    libc::close(fd);
                }
                if size == 0 {
                    break;
                }
                at += size;
            }
        }
    }
}

/// fcntl(2) with F_OFD_SETLK.
pub fn ofd_set_lock(file: &std::fs::File, lock: &libc::flock) -> Result<i32, Errno> {
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_OFD_SETLK(lock))
}

/// fcntl(2) with F_OFD_GETLK.
pub fn ofd_get_lock(file: &std::fs::File, lock: &mut libc::flock) -> Result<i32, Errno> {
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_OFD_GETLK(lock))
}

/// dup3(2), close-on-exec.
pub fn replace(from: RawFd, to: RawFd) -> Result<(), Errno> {
    super::again(|| {
        loop {
            // SAFETY: takes integers; the caller owns both descriptors.
            match Errno::result(unsafe { libc::dup3(from, to, libc::O_CLOEXEC) }) {
                // A race with an open(2) in another thread (dup(2)).
                Err(Errno::EBUSY) => {}
                result => return result.map(drop),
            }
        }
    })
}

/// How a file is opened only to be named in further calls.
pub const TO_NAME: OFlag = OFlag::O_PATH;

/// Whose a symbolic link is, and what it says; of one and the same link.
pub fn read_link(dir: &OwnedFd, name: &OsStr) -> Result<(FileStat, OsString), Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let link = super::again(|| openat(dir, name, flags, Mode::empty()))?;
    let stat = super::again(|| fstat(&link))?;
    Ok((stat, super::again(|| readlinkat(&link, ""))?))
}

/// Whether a directory is one of proc(5).
pub fn is_proc(dir: &OwnedFd) -> bool {
    // SAFETY: zero is a value of the structure, which the call fills in.
    unsafe {
        let mut found: libc::statfs = std::mem::zeroed();
        let kind = libc::PROC_SUPER_MAGIC;
        libc::fstatfs(dir.as_raw_fd(), &mut found) == 0 && found.f_type == kind as _
    }
}

/// Whether a user id is root's. Where root has none in this user namespace, its files are shown as those of
/// all who have none there, with the overflow id (user_namespaces(7)).
pub fn is_root(uid: u32) -> bool {
    const OVERFLOW: u32 = 65534;
    let shows_root = |map: String| {
        !map.lines().any(|line| {
            let mut range = line.split_ascii_whitespace().map(|n| n.parse().unwrap_or(0));
            let (inside, outside, length) = (range.next(), range.next(), range.next());
            let inside: u32 = inside.unwrap_or(0);
            let overflow = inside..=inside.saturating_add(length.unwrap_or(0));
            outside == Some(0) || overflow.contains(&OVERFLOW)
        })
    };
    uid == 0
        || uid == OVERFLOW && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(shows_root)
}

/// To a socket whose other end is gone: an error and no SIGPIPE.
pub const NO_SIGNAL: MsgFlags = MsgFlags::MSG_NOSIGNAL;

/// A socket of the UNIX domain, close-on-exec.
pub fn unix_socket(kind: SockType, nonblocking: bool) -> Result<OwnedFd, Errno> {
    let more = if nonblocking { SockFlag::SOCK_NONBLOCK } else { SockFlag::empty() };
    socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC | more, None)
}

/// For so many milliseconds a host may acknowledge nothing: TCP_USER_TIMEOUT (tcp(7)).
pub fn set_user_timeout(socket: &OwnedFd, limit: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: the option takes an unsigned int, whose address and size are given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_USER_TIMEOUT,
            (&raw const limit).cast(),
            size_of_val(&limit) as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

/// Bytes that the other host has not acknowledged.
pub fn unacknowledged(socket: &OwnedFd) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which TIOCOUTQ is on Linux, writes an int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    if result == 0 { bytes.max(0) as u64 } else { 0 }
}

/// Wakes a thread that polls; eventfd(2).
#[derive(Debug)]
pub struct Wake(EventFd);

impl Wake {
    /// A new one.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// To poll; and, its number, to write 8 bytes to in a signal handler.
    pub fn descriptors(&self) -> (BorrowedFd<'_>, RawFd) {
        (self.0.as_fd(), self.0.as_fd().as_raw_fd())
    }

    /// It has woken.
    pub fn clear(&self) {
        let _ = self.0.read();
    }
}

/// Tells when a file is removed, renamed, written to or changed in its attributes; inotify(7).
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
    file: Option<WatchDescriptor>,
}

impl Watch {
    /// One that watches nothing yet; `None` where it cannot be had (fs.inotify.max_user_instances).
    pub fn new() -> Option<Self> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        Some(Self { inotify: Inotify::init(flags).ok()?, file: None })
    }

    /// To poll.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Whether it watches a file.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// What it told has been seen.
    pub fn clear(&self) {
        let _ = self.inotify.read_events();
    }

    /// Watches this open file, and the one before no more. The file itself, not its directory: in a busy
    /// /run nothing else wakes the thread. By its descriptor, since the path may be out of reach; by the
    /// path where there is no /proc.
    pub fn set_file(&mut self, file: BorrowedFd<'_>, path: &Path) {
        let flags = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF;
        if let Some(old) = self.file.take() {
            let _ = self.inotify.rm_watch(old);
        }
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let watched = super::again(|| self.inotify.add_watch(link.as_str(), flags));
        let by_path = || self.inotify.add_watch(path, flags | AddWatchFlags::IN_DONT_FOLLOW);
        self.file = watched.or_else(|_| super::again(by_path)).ok();
    }
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, i32> {
    if fd < 0 {
        return Err(Errno::last_raw());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
