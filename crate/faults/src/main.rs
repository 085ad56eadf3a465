//! Runs a start or a stop under ptrace(2), and at one system call of one process either kills that
//! process or makes the call fail; then lets go, so that all of them run on by themselves.
//!
//! ```text
//! faults --out FILE --dir RUN [--first ROLE] [--at POINT (--kill | --errno N)] -- PROGRAM ARGS...
//! faults --out FILE --dir RUN [--at POINT ...] --pid PID
//! ```
//!
//! Without `--at`, FILE gets one line for each system call: role, phase, thread, its name, call,
//! which of these it is, arguments, path. A POINT is the first five without the name:
//! `daemon/ready/0/openat/3`. Standard output gets one line of JSON in the end: whether the point was
//! reached, and how the first process ended.

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod calls;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod ptrace;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod roles;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod run;

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
fn main() -> std::process::ExitCode {
    eprintln!("Only Linux on x86-64 with the GNU C library.");
    std::process::ExitCode::from(77)
}
