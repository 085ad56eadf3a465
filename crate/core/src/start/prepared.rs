//! What the launcher prepares for what runs between fork and exec ([`super::children`]), where nothing is allocated.

use std::ffi::CString;
use std::os::fd::RawFd;

use libc::c_char;

use super::shared_path::SharedPath;

/// The variables that a supervisor is given.
const VARIABLES: [&[u8]; 4] = [b"PATH=", b"TZ=", b"LANG=", b"LC_ALL="];

/// Everything that the children use, prepared before the fork. They read it, and free nothing of it.
#[derive(Debug)]
pub struct Prepared {
    /// The program.
    pub file: CString,
    /// Its arguments.
    pub argv: Strings,
    /// Its environment.
    pub env: Strings,
    /// The working directory to start in.
    pub cwd: Option<CString>,
    /// Ten bytes within a string of `env`: child 2 writes its pid there.
    pub pid_slot: *mut u8,
    /// /dev/null, which becomes standard input.
    pub null: RawFd,
    /// What becomes standard output while the daemon starts.
    pub stdout: RawFd,
    /// What becomes standard error while the daemon starts.
    pub stderr: RawFd,
    /// The daemon's end of the hand-over socket.
    pub hand_over: RawFd,
    /// The number that this end has in the daemon.
    pub hand_over_number: RawFd,
    /// The locked pidfile, or -1.
    pub lock: RawFd,
    /// The number that the locked pidfile has in the daemon.
    pub lock_number: RawFd,
    /// The guardian's end of its socket to the launcher.
    pub guardian: RawFd,
    /// The guardian holds the pidfile, which names it, and SIGTERM to it ends the start.
    pub guardian_holds: bool,
    /// Where the daemon has its pidfile, if that comes out later.
    pub shared: Option<SharedPath>,
    /// What the guardian may become when the daemon is ready.
    pub supervisor: Option<Supervisor>,
    /// What the daemon keeps, sorted ascending: 0, 1, 2, the two numbers above, and `keepFds`.
    pub keep: Vec<RawFd>,
    /// The pidfile's path.
    pub pidfile: Option<CString>,
    /// The pidfile's `st_dev`.
    pub dev: u64,
    /// The pidfile's `st_ino`.
    pub ino: u64,
    /// When the start has failed: CLOCK_MONOTONIC, in milliseconds.
    pub deadline: i64,
}

/// Strings as execve(2) takes them.
#[derive(Debug)]
pub struct Strings {
    /// The strings that the pointers lead to.
    _strings: Vec<Vec<u8>>,
    /// A pointer to each string, and NULL.
    pointers: Vec<*const c_char>,
}

impl Strings {
    /// From strings that each end with a NUL.
    pub fn new(strings: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let strings: Vec<_> = strings.into_iter().collect();
        let each = strings.iter().map(|s| s.as_ptr().cast());
        let pointers = each.chain([std::ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }

    /// The array of pointers.
    pub fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// What the execve of a supervisor takes.
#[derive(Debug)]
pub struct Supervisor {
    /// The program.
    pub file: CString,
    /// Its arguments: what ps(1) shows, its part, and the daemon's pid.
    pub argv: Strings,
    /// Its environment.
    pub env: Strings,
    /// The ten bytes of the last argument, where the guardian writes the daemon's pid.
    pub pid_slot: *mut u8,
}

impl Supervisor {
    /// `name` is the daemon's, and `env` its environment.
    pub fn new(file: CString, name: &CString, env: &[CString]) -> Self {
        let title = [b"tsdaemonize: ", name.as_bytes_with_nul()].concat();
        let mut pid = b"0000000000\0".to_vec();
        let pid_slot = pid.as_mut_ptr();
        let is_given = |bytes: &&[u8]| VARIABLES.iter().any(|name| bytes.starts_with(name));
        let env = env.iter().map(|variable| variable.as_bytes_with_nul()).filter(is_given);
        Self {
            file,
            argv: Strings::new([title, b"--supervisor\0".to_vec(), pid]),
            env: Strings::new(env.map(<[u8]>::to_vec)),
            pid_slot,
        }
    }
}
