//! macOS: what Linux does with pidfd, memfd, close_range, inotify and /proc, by the system's own means:
//! kqueue(2), an unlinked file, and libproc.
//!
//! Built and type-checked in CI; what of it was run, docs/platforms.md says.

use std::ffi::{CStr, OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, FdFlag, OFlag, fcntl, open, readlinkat};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, socket};
use nix::sys::stat::{FileStat, Mode, fstatat};

use crate::sys::FileId;

/// A kqueue(2) that can be read when the process ends, as a pidfd can.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, i32> {
    let queue = new_queue().map_err(|errno| errno as i32)?;
    let filter = libc::EVFILT_PROC;
    // SAFETY: the queue is open.
    match unsafe { change(queue.as_raw_fd(), pid as usize, filter, libc::NOTE_EXIT) } {
        0 => Ok(queue),
        _ => Err(Errno::last_raw()),
    }
}

/// kill(2), if the process that the queue is for has not ended. macOS has no signal by handle: between
/// the look and the call a process may end, and only when its parent has waited for it, and all other
/// pids were given away since, could the signal reach another.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, pid: i32, signal: i32) -> Result<(), i32> {
    let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: a valid pointer to a local; then integers.
    let result = unsafe {
        if libc::poll(&mut poll, 1, 0) != 0 {
            return Err(libc::ESRCH);
        }
        libc::kill(pid, signal)
    };
    if result == 0 { Ok(()) } else { Err(Errno::last_raw()) }
}

/// Which file this is, and its owner.
pub fn owner_of(path: &Path) -> Result<(FileId, u32), Errno> {
    nix::sys::stat::stat(path).map(|found| (FileId::from(&found), found.st_uid))
}

/// The effective user.
pub fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// A file without a name, close-on-exec, for what the daemon prints.
pub fn memfd(_name: &CStr) -> Result<OwnedFd, i32> {
    let template = std::env::temp_dir().join("tsdaemonize.XXXXXX");
    let (file, path) = nix::unistd::mkstemp(&template).map_err(|errno| errno as i32)?;
    nix::unistd::unlink(&path).map_err(|errno| errno as i32)?;
    set_flags(&file, false).map_err(|errno| errno as i32)?;
    Ok(file)
}

/// There is no such call: [`close_listed`] does it.
pub fn close_range(_first: RawFd, _last: libc::c_uint) -> Result<(), i32> {
    Err(libc::ENOSYS)
}

/// Forks a child that calls `run(what)`. Its pid; -1, with errno, where there is none.
///
/// # Safety
///
/// Async-signal-safe. `run` must not return.
pub unsafe fn fork_until_exec(
    run: extern "C" fn(*mut libc::c_void) -> libc::c_int,
    what: *mut libc::c_void,
) -> libc::pid_t {
    // SAFETY: the caller's part.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(run(what));
        }
        child
    }
}

/// Forks a child that calls `run(&what)`, and goes on beside it. Its pid; or the call that failed, and its
/// errno. The child has a copy of the memory, so that nothing has to wait until it is `gone`.
///
/// # Safety
///
/// `run` must be async-signal-safe.
pub unsafe fn fork_beside<T: Send + 'static>(
    what: T,
    _gone: std::io::PipeReader,
    run: unsafe fn(&T) -> !,
) -> Result<libc::pid_t, (&'static str, i32)> {
    // SAFETY: the caller's part.
    match unsafe { libc::fork() } {
        -1 => Err(("fork", Errno::last_raw())),
        // SAFETY: a fresh child of fork.
        0 => unsafe { run(&what) },
        child => Ok(child),
    }
}

/// sigaction(2) with SIG_DFL or SIG_IGN. Async-signal-safe.
pub fn set_disposition(signal: libc::c_int, to: libc::sighandler_t) {
    // SAFETY: zero is a value of the structure; signals that cannot be set are refused.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = to;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

/// So many descriptors are asked for at a time: what a child of fork has on its stack.
const LISTED: usize = 1024;

/// Closes every descriptor but the sorted ones given, by the list that proc_pidinfo gives
/// (sys/proc_info.h): a system call and nothing else. 0, or -1 with errno.
///
/// # Safety
///
/// Only in a child of fork: the descriptors have no owner there. Async-signal-safe.
pub unsafe fn close_listed(sorted: &[RawFd]) -> libc::c_int {
    // SAFETY: plain integers, for which zero is a value; the call writes no more than it is told.
    unsafe {
        let mut list: [libc::proc_fdinfo; LISTED] = std::mem::zeroed();
        loop {
            let size = std::mem::size_of_val(&list) as libc::c_int;
            let (me, what) = (libc::getpid(), libc::PROC_PIDLISTFDS);
            let got = libc::proc_pidinfo(me, what, 0, list.as_mut_ptr().cast(), size);
            if got <= 0 {
                return -1;
            }
            let count = got as usize / std::mem::size_of::<libc::proc_fdinfo>();
            let mut closed = 0;
            for entry in list.iter().take(count) {
                if !sorted.contains(&entry.proc_fd) && libc::close(entry.proc_fd) == 0 {
                    closed += 1;
                }
            }
            // A full list is perhaps not all; where nothing was closed, nothing more will be.
            if count < LISTED || closed == 0 {
                return 0;
            }
        }
    }
}

/// Whether the calling thread is the one that the process began with.
pub fn is_main_thread() -> bool {
    // SAFETY: takes nothing and returns an integer.
    unsafe { libc::pthread_main_np() == 1 }
}

/// environ(7): null-terminated, or null.
pub fn environment() -> *mut *mut libc::c_char {
    // SAFETY: the address of the C library's own variable, which is read, not written.
    unsafe { *libc::_NSGetEnviron() }
}

/// The address of this thread's errno; async-signal-safe.
pub fn errno_location() -> *mut libc::c_int {
    // SAFETY: it is always valid.
    unsafe { libc::__error() }
}

/// There is no such call: until the daemon's own code runs, only the guardian ends a start;
/// [`keep_dying_with_parent`] does it from then on.
pub fn die_with_parent() -> libc::c_int {
    0
}

/// The daemon is ready, and the guardian's end is none of its business.
static OUTLIVES: AtomicBool = AtomicBool::new(false);

/// Takes back [`keep_dying_with_parent`].
pub fn outlive_parent() {
    OUTLIVES.store(true, Ordering::SeqCst);
}

/// A thread that kills this process when its parent ends before [`outlive_parent`].
pub fn keep_dying_with_parent() {
    let parent = nix::unistd::getppid().as_raw();
    let watch = move || {
        if let Ok(end) = pidfd_open(parent) {
            let mut poll = libc::pollfd { fd: end.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: a valid pointer to a local.
            while unsafe { libc::poll(&mut poll, 1, -1) } < 0 {}
        }
        if !OUTLIVES.load(Ordering::SeqCst) {
            // SAFETY: takes integers; it is this very process.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
    };
    let _ = crate::thread::spawn("parent", watch);
}

/// Waits until there is something to read, `child` ends, or so many milliseconds have passed; whether
/// there is. A descriptor of -1 has nothing to read: then it looks after ten.
///
/// # Safety
///
/// The descriptor must be open. kqueue(2) and kevent(2) are system calls and nothing else, and so can be
/// made where signal-safety matters.
pub unsafe fn wait_for_word_or_end(fd: RawFd, child: libc::pid_t, millis: i64) -> bool {
    // SAFETY: valid pointers to locals.
    unsafe {
        let queue = libc::kqueue();
        if queue < 0 || change(queue, fd as usize, libc::EVFILT_READ, 0) != 0 {
            libc::close(queue);
            let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            return libc::poll(&mut poll, 1, millis.min(10) as libc::c_int) > 0;
        }
        // One that has ended already cannot be watched; its caller looks first, and so need not wait.
        let is_over = change(queue, child as usize, libc::EVFILT_PROC, libc::NOTE_EXIT) != 0;
        let millis = if is_over { 0 } else { millis };
        let time = libc::timespec {
            tv_sec: (millis / 1000) as libc::time_t,
            tv_nsec: ((millis % 1000) * 1_000_000) as libc::c_long,
        };
        let mut events: [libc::kevent; 2] = std::mem::zeroed();
        let count = libc::kevent(queue, std::ptr::null(), 0, events.as_mut_ptr(), 2, &time);
        libc::close(queue);
        let got = usize::try_from(count).unwrap_or(0);
        events.iter().take(got).any(|event| event.filter == libc::EVFILT_READ)
    }
}

/// fcntl(2) with F_OFD_SETLK.
pub fn ofd_set_lock(file: &std::fs::File, lock: &libc::flock) -> Result<i32, Errno> {
    // SAFETY: the lock is valid for the call, which only reads it.
    Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, lock) })
}

/// fcntl(2) with F_OFD_GETLK.
pub fn ofd_get_lock(file: &std::fs::File, lock: &mut libc::flock) -> Result<i32, Errno> {
    // SAFETY: the lock is valid for the call, which writes it.
    Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, lock) })
}

/// dup2(2), then close-on-exec: there is no call for both.
pub fn replace(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: takes integers; the caller owns both descriptors.
    unsafe {
        super::again(|| Errno::result(libc::dup2(from, to)))?;
        Errno::result(libc::fcntl(to, libc::F_SETFD, libc::FD_CLOEXEC)).map(drop)
    }
}

/// How a directory is opened only to be named in further calls: to be searched (`O_SEARCH`).
pub const TO_NAME: OFlag = OFlag::from_bits_retain(libc::O_SEARCH);

/// Whose a symbolic link is, and what it says; of one and the same link.
pub fn read_link(dir: &OwnedFd, name: &OsStr) -> Result<(FileStat, OsString), Errno> {
    let stat = || super::again(|| fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW));
    loop {
        let before = stat()?;
        let target = super::again(|| readlinkat(dir, name))?;
        let after = stat()?;
        if (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino) {
            return Ok((after, target));
        }
    }
}

/// There is no proc(5).
pub fn is_proc(_dir: &OwnedFd) -> bool {
    false
}

/// Whether a user id is root's.
pub fn is_root(uid: u32) -> bool {
    uid == 0
}

/// To a socket whose other end is gone: an error. Node ignores SIGPIPE.
pub const NO_SIGNAL: MsgFlags = MsgFlags::empty();

/// A socket of the UNIX domain, close-on-exec.
pub fn unix_socket(kind: SockType, nonblocking: bool) -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::Unix, kind, SockFlag::empty(), None)?;
    set_flags(&socket, nonblocking)?;
    Ok(socket)
}

fn set_flags(file: &OwnedFd, nonblocking: bool) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    if nonblocking {
        fcntl(file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok(())
}

/// TCP_RXT_CONNDROPTIME of netinet/tcp.h: for so many seconds what was sent is sent again.
const RETRANSMIT_LIMIT: libc::c_int = 0x80;
/// SO_NWRITE of sys/socket.h: bytes in the send queue.
const SEND_QUEUE: libc::c_int = 0x1024;

/// For so many milliseconds a host may acknowledge nothing.
pub fn set_user_timeout(socket: &OwnedFd, limit: libc::c_uint) -> Result<(), Errno> {
    let seconds = limit.div_ceil(1000) as libc::c_int;
    // SAFETY: the option takes an int, whose address and size are given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            RETRANSMIT_LIMIT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

/// Bytes that the other host has not acknowledged.
pub fn unacknowledged(socket: &OwnedFd) -> u64 {
    let mut bytes: libc::c_int = 0;
    let mut size = size_of_val(&bytes) as libc::socklen_t;
    // SAFETY: the option is an int, whose address and size are given.
    let result = unsafe {
        let (fd, to) = (socket.as_raw_fd(), (&raw mut bytes).cast());
        libc::getsockopt(fd, libc::SOL_SOCKET, SEND_QUEUE, to, &mut size)
    };
    if result == 0 { bytes.max(0) as u64 } else { 0 }
}

/// Wakes a thread that polls; a pair of sockets.
#[derive(Debug)]
pub struct Wake(UnixStream, UnixStream);

impl Wake {
    /// A new one.
    pub fn new() -> std::io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self(reader, writer))
    }

    /// To poll; and, its number, to write 8 bytes to in a signal handler.
    pub fn descriptors(&self) -> (BorrowedFd<'_>, RawFd) {
        (self.0.as_fd(), self.1.as_raw_fd())
    }

    /// It has woken.
    pub fn clear(&self) {
        let mut bytes = [0u8; 256];
        while matches!((&self.0).read(&mut bytes), Ok(256)) {}
    }
}

/// Tells when a file is removed, renamed, written to or changed in its attributes; EVFILT_VNODE of kqueue(2).
#[derive(Debug)]
pub struct Watch {
    queue: OwnedFd,
    file: Option<OwnedFd>,
}

impl Watch {
    /// One that watches nothing yet; `None` where it cannot be had.
    pub fn new() -> Option<Self> {
        Some(Self { queue: new_queue().ok()?, file: None })
    }

    /// To poll.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// Whether it watches a file.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// What it told has been seen.
    pub fn clear(&self) {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: valid pointers to locals.
        unsafe {
            let mut event: libc::kevent = std::mem::zeroed();
            let queue = self.queue.as_raw_fd();
            while libc::kevent(queue, std::ptr::null(), 0, &mut event, 1, &now) > 0 {}
        }
    }

    /// Watches this file, and the one before no more: closed, it leaves the queue. By the path: a second
    /// descriptor of the one that is open would keep its lock.
    pub fn set_file(&mut self, _file: BorrowedFd<'_>, path: &Path) {
        let flags = OFlag::from_bits_retain(libc::O_EVTONLY) | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        self.file = super::again(|| open(path, flags, Mode::empty())).ok();
        let what = libc::NOTE_DELETE | libc::NOTE_RENAME | libc::NOTE_ATTRIB | libc::NOTE_WRITE;
        let watched = self.file.as_ref().is_some_and(|file| {
            let (queue, file) = (self.queue.as_raw_fd(), file.as_raw_fd());
            // SAFETY: both are open.
            unsafe { change(queue, file as usize, libc::EVFILT_VNODE, what) == 0 }
        });
        if !watched {
            self.file = None;
        }
    }
}

fn new_queue() -> Result<OwnedFd, Errno> {
    // SAFETY: takes nothing; the result is a new descriptor or -1.
    let queue = Errno::result(unsafe { libc::kqueue() })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    let queue = unsafe { OwnedFd::from_raw_fd(queue) };
    set_flags(&queue, false)?;
    Ok(queue)
}

/// Adds one event to a queue. 0, or -1 with errno.
///
/// # Safety
///
/// The queue must be open. Async-signal-safe.
unsafe fn change(queue: RawFd, ident: usize, filter: i16, what: u32) -> libc::c_int {
    let flags = libc::EV_ADD | libc::EV_CLEAR;
    let (fflags, udata) = (what, std::ptr::null_mut());
    let event = libc::kevent { ident, filter, flags, fflags, data: 0, udata };
    // SAFETY: a valid pointer to a local; no events are asked for.
    unsafe { libc::kevent(queue, &event, 1, std::ptr::null_mut(), 0, std::ptr::null()) }
}

/// What libproc tells of a process; `None` where there is none, or where it is not ours to see.
pub fn process(pid: i32) -> Option<(libc::proc_bsdinfo, libc::proc_taskinfo)> {
    // SAFETY: plain integers, for which zero is a value; the calls write no more than they are told.
    unsafe {
        let mut process: libc::proc_bsdinfo = std::mem::zeroed();
        let mut task: libc::proc_taskinfo = std::mem::zeroed();
        let size = std::mem::size_of_val(&process) as libc::c_int;
        let what = libc::PROC_PIDTBSDINFO;
        if libc::proc_pidinfo(pid, what, 0, (&raw mut process).cast(), size) != size {
            return None;
        }
        // Another user's, and a zombie's, are not told.
        let size = std::mem::size_of_val(&task) as libc::c_int;
        libc::proc_pidinfo(pid, libc::PROC_PIDTASKINFO, 0, (&raw mut task).cast(), size);
        Some((process, task))
    }
}

/// All pids.
pub fn pids() -> Vec<i32> {
    // SAFETY: the call writes no more than it is told.
    unsafe {
        let count = libc::proc_listallpids(std::ptr::null_mut(), 0).max(0) as usize;
        let mut pids = vec![0; count + 64];
        let size = std::mem::size_of_val(pids.as_slice()) as libc::c_int;
        let got = libc::proc_listallpids(pids.as_mut_ptr().cast(), size).max(0) as usize;
        pids.truncate(got);
        pids
    }
}

/// `struct vnode_fdinfo` of sys/proc_info.h.
#[repr(C)]
struct VnodeFd {
    open_flags: u32,
    _status: u32,
    _offset: libc::off_t,
    _kind: i32,
    _guard_flags: u32,
    vnode: libc::vnode_info,
}

/// PROC_PIDFDVNODEINFO and FWRITE of sys/proc_info.h and sys/fcntl.h.
const VNODE: libc::c_int = 1;
const FWRITE: u32 = 2;

/// Whether a process has this very file open for writing.
pub fn has_open_for_writing(pid: i32, dev: u64, ino: u64) -> Result<bool, Errno> {
    let one = std::mem::size_of::<libc::proc_fdinfo>();
    let mut list: Vec<libc::proc_fdinfo> = Vec::new();
    loop {
        let room = list.capacity().max(256) * 2;
        list.reserve(room);
        let (what, size) = (libc::PROC_PIDLISTFDS, (room * one) as libc::c_int);
        // SAFETY: there is room for what the call writes, which are plain integers.
        unsafe {
            let got = libc::proc_pidinfo(pid, what, 0, list.as_mut_ptr().cast(), size);
            if got <= 0 {
                return Err(Errno::last());
            }
            list.set_len(got as usize / one);
        }
        if list.len() < room {
            break;
        }
        list.clear();
    }
    let is_it = |fd: i32| {
        // SAFETY: plain integers, for which zero is a value; the call writes no more than it is told.
        unsafe {
            let mut found: VnodeFd = std::mem::zeroed();
            let size = std::mem::size_of_val(&found) as libc::c_int;
            let got = libc::proc_pidfdinfo(pid, fd, VNODE, (&raw mut found).cast(), size);
            let stat = found.vnode.vi_stat;
            let is_same = u64::from(stat.vst_dev) == dev & 0xffff_ffff && stat.vst_ino == ino;
            got == size && found.open_flags & FWRITE != 0 && is_same
        }
    };
    let is_file = |entry: &&libc::proc_fdinfo| entry.proc_fdtype == libc::PROX_FDTYPE_VNODE as u32;
    Ok(list.iter().filter(is_file).any(|entry| is_it(entry.proc_fd)))
}
