//! The program as a child of this process.

use std::io::{Read, Write};
use std::process::exit;

use tsdaemonize_core::error::{Code, Error};
use tsdaemonize_core::sys::{again, errno_of};

use crate::error::Failure;
use crate::foreign::exec_stage::Stage;

/// Forks a child that becomes the program, and waits until it has. Returns its pid, or why it could not.
pub fn spawn(stage: Stage) -> Result<i32, Failure> {
    let own = nix::unistd::getpid().as_raw();
    let (mut reader, writer) =
        std::io::pipe().map_err(|error| failed("pipe", errno_of(&error) as i32))?;
    // SAFETY: this process has one thread, so that the child may do whatever this process may.
    let program = match unsafe { libc::fork() } {
        0 => {
            drop(reader);
            let stage = Stage { parent: Some(own), instead_of: Some(own), ..stage };
            tell(writer, stage.enter().into())
        }
        -1 => return Err(failed("fork", errno_of(&std::io::Error::last_os_error()) as i32).into()),
        program => program,
    };
    drop(writer);
    let mut told = Vec::new();
    // The pipe is closed by the execve, or by the end of the child, which its status tells of.
    let _ = reader.read_to_end(&mut told);
    let Some((status, message)) = told.split_first() else { return Ok(program) };
    let _ = again(|| nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(program), None));
    Err(Failure::new(*status, String::from_utf8_lossy(message)))
}

/// Tells the parent why there is no program.
fn tell(mut to: impl Write, failure: Failure) -> ! {
    let told = [&[failure.status], failure.message.as_bytes()].concat();
    let _ = to.write_all(&told);
    exit(i32::from(failure.status))
}

fn failed(call: &'static str, errno: i32) -> Error {
    Error::os(Code::StartFailed, "Cannot start the program", call, errno)
}
