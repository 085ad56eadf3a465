//! System calls on every thread. Capabilities, no_new_privs and Landlock
//! belong to a thread, and a thread can only set its own; Node has a dozen.
//!
//! It is done as the C library does it for setuid(2) (nptl(7)): each thread is
//! sent a signal whose handler makes the calls. The signal is the one that the C
//! library keeps for that purpose, since it is the only one that no program can
//! block through sigprocmask(3): Node's debugger thread, and our own, block all
//! others. The C library's handler is put back afterwards.
//!
//! One thread comes after the other. The handler makes system calls, stores a
//! number and writes to an eventfd; all of that is async-signal-safe.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use libc::{c_int, c_long};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::threads::Tasks;
use crate::error::{Code, Error, Result};
use crate::privileges::errors::{failed, refused};
use crate::sys::{Action, errno_location};

/// SIGSETXID of glibc, SIGSYNCCALL of musl.
const SIGNAL: c_int = if cfg!(target_env = "musl") { 34 } else { 33 };

/// How long one thread may take to answer. A thread that does not is stopped, or
/// stuck in the kernel, or blocks the signal by a raw system call.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many milliseconds pass before it is looked whether the thread has ended.
const LOOK: u16 = 50;

/// One system call.
#[derive(Debug)]
pub struct Call {
    /// Its name, for an error.
    pub name: &'static str,
    /// What it is for, as the end of a sentence that begins with "Cannot".
    pub purpose: String,
    pub number: c_long,
    pub arguments: [usize; 5],
    pub expected: Expected,
}

/// How a call must end.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// It returns this result.
    Result(c_long),
    /// It fails with this errno.
    Errno(i32),
}

/// Calls, with the memory that they point to.
#[derive(Debug, Default)]
pub struct Order {
    calls: Vec<Call>,
    memory: Vec<Box<[u32]>>,
}

impl Order {
    pub fn call(&mut self, call: Call) {
        self.calls.push(call);
    }

    /// Memory that lives as long as the order.
    pub fn memory(&mut self, words: &[u32]) -> usize {
        let mut words: Box<[u32]> = words.into();
        let address = words.as_mut_ptr() as usize;
        self.memory.push(words);
        address
    }

    /// Makes the calls on this thread, up to the first that does not end as it
    /// must. Fails with the index of that call and its errno, or 0 where there is
    /// none. Async-signal-safe.
    fn carry_out(&self) -> std::result::Result<(), (u32, i32)> {
        for (index, call) in (0..).zip(&self.calls) {
            let [a, b, c, d, e] = call.arguments;
            // SAFETY: whoever made the order has given the call what it takes;
            // memory that it points to lives as long as the order.
            let result = unsafe { libc::syscall(call.number, a, b, c, d, e) };
            let errno = if result == -1 { Errno::last_raw() } else { 0 };
            let fine = match call.expected {
                Expected::Result(expected) => result == expected,
                Expected::Errno(expected) => errno == expected,
            };
            if !fine {
                return Err((index, errno));
            }
        }
        Ok(())
    }

    fn failed(&self, index: u32, errno: i32, tid: u32, name: &str) -> Error {
        let Some(call) = self.calls.get(index as usize) else {
            return refused(format!("Thread {tid} ({name}) has answered nonsense."));
        };
        let what = format!("Cannot {} on thread {tid} ({name})", call.purpose);
        if errno == 0 {
            let message = format!("{what}: {} had another result than it must have.", call.name);
            return Error { syscall: Some(call.name), ..refused(message) };
        }
        let advice = "Look for a seccomp filter or a security module that forbids it.";
        Error::os(Code::Privileges, what, call.name, errno).hint(advice)
    }
}

/// The order that is being carried out.
static ORDER: AtomicPtr<Order> = AtomicPtr::new(ptr::null_mut());
/// The thread that was asked.
static ASKED: AtomicI32 = AtomicI32::new(0);
/// What it answered: 0, or in the upper half the index of the call and one, in
/// the lower half the errno.
static ANSWER: AtomicI64 = AtomicI64::new(0);
/// The eventfd that tells that it has answered.
static ANSWERED: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(_: c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid siginfo_t; errno belongs to the
    // interrupted code and is put back; the order lives until it is answered,
    // or for ever; getpid, gettid, write and the calls of an order are
    // async-signal-safe.
    unsafe {
        let errno = *errno_location();
        let ours = (*info).si_code == libc::SI_TKILL && (*info).si_pid() == libc::getpid();
        let me = libc::syscall(libc::SYS_gettid) as c_int;
        if ours && ASKED.compare_exchange(me, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            let order = ORDER.load(Ordering::SeqCst);
            let answer = match order.as_ref().map_or(Ok(()), Order::carry_out) {
                Ok(()) => 0,
                Err((index, error)) => (i64::from(index) + 1) << 32 | i64::from(error),
            };
            ANSWER.store(answer, Ordering::SeqCst);
            let one = 1_u64.to_ne_bytes();
            libc::write(ANSWERED.load(Ordering::SeqCst), one.as_ptr().cast(), one.len());
        }
        *errno_location() = errno;
    }
}

/// The way to every thread, for one drop of privileges.
pub struct AllThreads {
    tasks: Tasks,
    answered: EventFd,
    ours: Action,
}

impl AllThreads {
    /// Makes sure that every thread can be reached, before anything is changed:
    /// setresuid(3) would wait for ever for a thread that cannot.
    pub fn reach(tasks: Tasks) -> Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let answered =
            EventFd::from_flags(flags).map_err(|error| cannot_reach("eventfd", error))?;
        let ours = Action::of_our_handler().map_err(|error| cannot_reach("sigaction", error))?;
        let mut everywhere = Self { tasks, answered, ours };
        everywhere.command(Order::default())?;
        Ok(everywhere)
    }

    pub fn tasks(&mut self) -> &mut Tasks {
        &mut self.tasks
    }

    /// Has every thread carry out the order, this one first: threads that begin
    /// later inherit what it has changed.
    pub fn command(&mut self, order: Order) -> Result<()> {
        let me = nix::unistd::gettid().as_raw() as u32;
        order.carry_out().map_err(|(index, errno)| order.failed(index, errno, me, "this one"))?;

        let order = Box::into_raw(Box::new(order));
        // SAFETY: it was just made, and is freed by nobody but this function.
        let shared = unsafe { &*order };
        ORDER.store(order, Ordering::SeqCst);
        ANSWERED.store(self.answered.as_fd().as_raw_fd(), Ordering::SeqCst);
        let before = self.ours.install().map_err(|error| cannot_reach("rt_sigaction", error))?;
        let Self { tasks, answered, .. } = self;
        let mut late = false;
        let result = tasks.each(|tasks, tid| match tid == me {
            true => Ok(()),
            false => ask(tasks, answered, shared, tid, &mut late),
        });
        if late {
            // It may answer at any time: the order, the handler, which is not the
            // C library's, and the eventfd stay. This process is about to end.
            if let Ok(kept) = self.answered.as_fd().try_clone_to_owned() {
                ANSWERED.store(kept.into_raw_fd(), Ordering::SeqCst);
            }
            return result;
        }
        // All have answered: nobody reads the order any more.
        let restored = before.install().map_err(|error| cannot_reach("rt_sigaction", error));
        ORDER.store(ptr::null_mut(), Ordering::SeqCst);
        // SAFETY: made by `Box::into_raw` above, and `shared` is used no more.
        std::mem::drop(unsafe { Box::from_raw(order) });
        result.and(restored.map(std::mem::drop))
    }
}

fn cannot_reach(syscall: &'static str, errno: Errno) -> Error {
    let advice = match errno {
        Errno::EAGAIN => "Raise the limit `sigpending`: this user has too many signals queued.",
        _ => "Look for a seccomp filter that forbids it.",
    };
    failed(syscall, errno, "Cannot reach every thread to drop its privileges", advice)
}

/// Has one other thread carry out the order. A thread that ends meanwhile does
/// not have to.
fn ask(tasks: &Tasks, answered: &EventFd, order: &Order, tid: u32, late: &mut bool) -> Result<()> {
    ASKED.store(tid as i32, Ordering::SeqCst);
    // SAFETY: takes numbers alone; the handler is in place.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, SIGNAL) };
    match Errno::result(sent) {
        Ok(_) => {}
        Err(Errno::ESRCH) => return Ok(()),
        Err(error) => return Err(cannot_reach("tgkill", error)),
    }
    let begun = Instant::now();
    loop {
        let mut fds = [PollFd::new(answered.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, LOOK);
        if answered.read().is_ok() {
            break;
        }
        if tasks.is_gone(tid) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            *late = true;
            let name = tasks.name_of(tid);
            return Err(refused(format!(
                "Cannot drop privileges: thread {tid} ({name:?}) cannot be reached, so it would \
                 keep them. It is stopped, or blocks signal {SIGNAL}, with which the C library \
                 changes the ids of all threads. End it first, or do not block that signal."
            )));
        }
    }
    match ANSWER.load(Ordering::SeqCst) {
        0 => Ok(()),
        answer => {
            let index = (answer >> 32) as u32 - 1;
            let name = tasks.name_of(tid);
            Err(order.failed(index, answer as i32, tid, &format!("{name:?}")))
        }
    }
}

impl Action {
    /// The action for our handler as the C library gives it to the kernel, with the
    /// restorer that returns from a handler: it is set for a signal that nobody
    /// uses, and read back.
    fn of_our_handler() -> std::result::Result<Self, Errno> {
        let spare = libc::SIGRTMAX();
        // SAFETY: zero is a value of sigaction; the handler is
        // async-signal-safe; what was there is put back.
        unsafe {
            let mut ours: libc::sigaction = std::mem::zeroed();
            ours.sa_sigaction = on_signal as *const () as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
            libc::sigfillset(&mut ours.sa_mask);
            let mut before = MaybeUninit::<libc::sigaction>::uninit();
            if libc::sigaction(spare, &ours, before.as_mut_ptr()) != 0 {
                return Err(Errno::last());
            }
            let read = Self::exchange(spare, None);
            libc::sigaction(spare, before.as_ptr(), ptr::null_mut());
            read
        }
    }

    /// Puts it in place for [`SIGNAL`]; returns what was there.
    fn install(&self) -> std::result::Result<Self, Errno> {
        Self::exchange(SIGNAL, Some(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_that_has_no_name_is_told_by_its_number() {
        let (purpose, number, arguments) = ("test".to_owned(), libc::SYS_getpid, [0; 5]);
        let expected = Expected::Result(0);
        let mut order = Order::default();
        order.call(Call { name: "getpid", purpose, number, arguments, expected });
        // A seccomp filter may return any number.
        let error = order.failed(0, 1000, 1, "this one");
        assert_eq!((error.errno, error.syscall), (Some(1000), Some("getpid")));
        assert!(error.message.contains("errno 1000: "), "{}", error.message);
    }
}
