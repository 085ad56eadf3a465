//! ptrace(2) and waitpid(2), as far as they are used here. Not those of nix, which know no real-time
//! signal: the C library uses two of them itself.

use std::io;

use libc::{c_int, c_long, c_uint, c_void, pid_t};

/// A process or thread that has stopped, or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It has ended, with this wait status.
    Ended(c_int),
    /// It enters or leaves a system call.
    Call,
    /// It is in one of the PTRACE_EVENT_* stops.
    Event(c_int),
    /// It is in a group stop (SIGSTOP and its like).
    Group,
    /// This signal is about to be delivered.
    Signal(c_int),
}

/// What a stop at a system call shows.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    /// The thread enters a call with this number and these arguments.
    Entry(u64, [u64; 6]),
    /// The thread leaves a call, or is in none.
    Exit,
}

const OPTIONS: c_int = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC;

fn request(what: c_uint, tid: pid_t, address: usize, data: usize) -> io::Result<c_long> {
    // SAFETY: every request made here takes integers, or pointers to values of the caller's that
    // outlive the call.
    let result = unsafe { libc::ptrace(what, tid, address as *mut c_void, data as *mut c_void) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Attaches without a stop, also to whatever the process forks and clones.
pub fn seize(tid: pid_t) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, tid, 0, OPTIONS as usize).map(drop)
}

/// Stops a thread that was seized.
pub fn interrupt(tid: pid_t) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0).map(drop)
}

/// Lets a thread run on to the next entry or exit of a system call, with `signal` delivered. A thread that is gone
/// meanwhile is no error.
pub fn go_on(tid: pid_t, signal: c_int) {
    let _ = request(libc::PTRACE_SYSCALL as c_uint, tid, 0, signal as usize);
}

/// Leaves a thread in its group stop.
pub fn listen(tid: pid_t) {
    let _ = request(libc::PTRACE_LISTEN, tid, 0, 0);
}

/// What the thread is about to call.
pub fn call(tid: pid_t) -> io::Result<Call> {
    // SAFETY: plain integers, for which zero is a value; the kernel writes at most the size given.
    unsafe {
        let mut info: libc::ptrace_syscall_info = std::mem::zeroed();
        let size = std::mem::size_of_val(&info);
        request(libc::PTRACE_GET_SYSCALL_INFO, tid, size, (&raw mut info) as usize)?;
        Ok(match info.op {
            // PTRACE_SYSCALL_INFO_ENTRY
            1 => Call::Entry(info.u.entry.nr, info.u.entry.args),
            _ => Call::Exit,
        })
    }
}

fn change_registers(
    tid: pid_t,
    change: impl FnOnce(&mut libc::user_regs_struct),
) -> io::Result<()> {
    // SAFETY: plain integers, for which zero is a value; filled in by the kernel before use.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETREGS as c_uint, tid, 0, (&raw mut registers) as usize)?;
    change(&mut registers);
    request(libc::PTRACE_SETREGS as c_uint, tid, 0, (&raw mut registers) as usize).map(drop)
}

/// Sees to it, at the entry of a call, that the kernel does not execute it.
pub fn skip(tid: pid_t) -> io::Result<()> {
    change_registers(tid, |r| r.orig_rax = u64::MAX)
}

/// Lets a call fail, at its exit.
pub fn fail(tid: pid_t, errno: c_int) -> io::Result<()> {
    change_registers(tid, |r| r.rax = (-i64::from(errno)) as u64)
}

/// The next stop of any thread; `None` where there is none left, or, unless `blocking`, none now.
pub fn wait(blocking: bool) -> Option<(pid_t, Stop)> {
    let flags = libc::__WALL | if blocking { 0 } else { libc::WNOHANG };
    let mut status = 0;
    let tid = loop {
        // SAFETY: writes the status.
        let tid = unsafe { libc::waitpid(-1, &mut status, flags) };
        if tid >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break tid;
        }
    };
    if tid <= 0 {
        return None;
    }
    if !libc::WIFSTOPPED(status) {
        return Some((tid, Stop::Ended(status)));
    }
    let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
    let stop = match (signal, event) {
        (_, 0) if signal == libc::SIGTRAP | 0x80 => Stop::Call,
        (_, 0) => Stop::Signal(signal),
        (
            libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU,
            libc::PTRACE_EVENT_STOP,
        ) => Stop::Group,
        _ => Stop::Event(event),
    };
    Some((tid, stop))
}

/// Bytes of a thread's memory; fewer, or none, where they cannot be read.
pub fn memory(tid: pid_t, address: u64, length: usize) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut buffer = vec![0; length];
    let file = std::fs::File::open(format!("/proc/{tid}/mem"));
    let read = file.and_then(|f| f.read_at(&mut buffer, address)).unwrap_or(0);
    buffer.truncate(read);
    buffer
}
