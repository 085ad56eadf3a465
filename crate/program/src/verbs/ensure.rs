//! `ensure`: the pid of the daemon that runs; where none does, it is started first.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tsdaemonize_core::error::Code;
use tsdaemonize_core::instance::places;
use tsdaemonize_core::pidfile::State;

use crate::command_line::Call;
use crate::error::{FAILED, Failure};
use crate::launching::launch;
use crate::output::print;
use crate::plan::Start;

/// The pause between two looks at a start by another process.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let start = Start::read(call)?;
    match ensured(&start) {
        Ok(pid) => print(&format!("{pid}\n")).map(|()| ExitCode::SUCCESS),
        Err(failure) => Ok(ExitCode::from(failure.tell_of(&start.name))),
    }
}

fn ensured(start: &Start) -> Result<i32, Failure> {
    let deadline = Instant::now() + start.start_timeout;
    loop {
        let (state, _) = places::status(&start.places)?;
        match state {
            State::Running { pid: Some(pid) } => return Ok(pid),
            State::Running { pid: None } | State::Starting { .. } => {}
            State::Stopped { .. } => match launch(start, false) {
                Ok((pid, _)) => return Ok(pid),
                // Another one was faster: it is waited for.
                Err(failure) if failure.code == Some(Code::AlreadyRunning) => {}
                Err(failure) => return Err(failure),
            },
        }
        if Instant::now() >= deadline {
            let (name, limit) = (&start.name, start.start_timeout.as_millis());
            let message = format!(
                "The daemon '{name}', which another process is starting, was not ready within {limit} ms"
            );
            return Err(Failure::new(FAILED, message));
        }
        std::thread::sleep(LOOK);
    }
}
