//! `run`: a program in the foreground, with this process beside it, which as PID 1 is the init of a container.

mod beside;
mod child;
mod runner;

use std::process::ExitCode;

use serde_json::json;
use tsdaemonize_core::error::{Code, Error};
use tsdaemonize_core::instance::places;
use tsdaemonize_core::output::log_file;
use tsdaemonize_core::pidfile::PidFile;
use tsdaemonize_core::process::lock_holder::Process;
use tsdaemonize_core::sys::Signals;

use crate::command_line::Call;
use crate::error::{Failure, USAGE};
use crate::foreign::exec_stage::Stage;
use crate::launching::{self, millis};
use crate::output;
use crate::plan::{Output, Ready, STOP_TIMEOUT, Start};
use crate::time::iso;
use runner::Runner;

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let start = Start::read(call)?;
    // From here on no signal ends this process, or is lost: those that come early reach the program later.
    let signals = Signals::block_all().map_err(Error::from)?;
    match start.ready {
        Ready::HandOver => with_library(&start, signals),
        _ => any(start, signals),
    }
}

/// Runs a program that knows nothing of us: this process holds its pidfile, as its supervisor would.
fn any(start: Start, signals: Signals) -> Result<ExitCode, Failure> {
    runner::keep_children();
    let mut stage = stage(&start, &signals)?;
    let files = open_outputs(&start, &mut stage)?;
    let pidfile = lock(&start)?;
    let begun =
        pidfile.as_ref().map_or(Ok(()), |held| held.write(own_pid())).map_err(Failure::from);
    let begun = begun.and_then(|()| child::spawn(stage));
    drop(files);
    let ready = begun.and_then(|program| {
        if let Some(held) = &pidfile {
            // A hint, without which the program runs all the same.
            let _ = held.write_state(&state(&start, program));
            held.ready()?;
        }
        Ok(program)
    });
    let program = match ready {
        Ok(program) => program,
        Err(failure) => {
            remove(pidfile);
            return Err(failure);
        }
    };
    beside::let_go();
    let mut runner = Runner::new(signals, program, start.stop_timeout);
    let status = runner.stay();
    remove(pidfile);
    Ok(exit_status(status))
}

/// Runs a script whose Daemon is attached to this process's place: Node takes that place. But as PID 1 this process stays:
/// Node would not wait for orphans that it does not know.
fn with_library(start: &Start, signals: Signals) -> Result<ExitCode, Failure> {
    let mut stage =
        Stage { user: None, group: None, cwd: None, umask: None, ..stage(start, &signals)? };
    // As `receiveRun` in ts/process/handover.ts takes them; a child stands in for this process.
    let options = launching::options(start).to_string();
    let of_run = [("TSDAEMONIZE_RUN", own_pid().to_string()), ("TSDAEMONIZE_RUN_OPTIONS", options)];
    stage.env.extend(of_run.map(|(name, value)| (name.into(), value.into())));
    if own_pid() != 1 {
        return Err(stage.enter().into());
    }
    runner::keep_children();
    let program = child::spawn(stage)?;
    beside::let_go();
    let mut runner = Runner::new(signals, program, None);
    Ok(exit_status(runner.stay()))
}

/// What the state file says.
fn state(start: &Start, program: i32) -> String {
    let [stdout, stderr] = start.outputs.each_ref().map(|to| to.as_ref().map(Output::shown));
    json!({
        "version": 1,
        "pid": program,
        "startedAt": iso(started_at(program)),
        "name": start.name,
        "program": start.program(),
        "stdout": stdout,
        "stderr": stderr,
        "stopTimeout": millis(start.stop_timeout.unwrap_or(STOP_TIMEOUT)),
        "supervisor": own_pid(),
        "restarts": 0,
        "lastExit": null,
        "attached": true,
    })
    .to_string()
}

/// When the program was started, in milliseconds since the epoch.
fn started_at(program: i32) -> f64 {
    let seen = Process::open(program).and_then(|process| process.seen().ok());
    seen.and_then(|seen| seen.started_at()).unwrap_or_default()
}

/// Removes the pidfile, if there is one.
fn remove(pidfile: Option<PidFile>) {
    if let Some(held) = pidfile {
        held.remove();
    }
}

fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// What the child is to be.
fn stage(start: &Start, signals: &Signals) -> Result<Stage, Failure> {
    Ok(Stage {
        file: start.file.clone(),
        argv: start.argv.clone(),
        env: start.env.clone(),
        cwd: start.cwd.clone(),
        umask: start.umask,
        name: start.name.clone(),
        user: start.user.clone(),
        group: start.group.clone(),
        mask: signals.mask_before(),
        ..Stage::default()
    })
}

/// Locks the pidfile, and says that this process is the supervisor. Where the pidfile cannot be kept and nobody has asked
/// for one, the program runs all the same.
fn lock(start: &Start) -> Result<Option<PidFile>, Failure> {
    let acquire = || match places::acquire(&start.places) {
        Err(error)
            if error.code == Code::AlreadyRunning && places::await_release(&start.places)? =>
        {
            places::acquire(&start.places)
        }
        acquired => acquired,
    };
    let held = acquire().and_then(|held| {
        let Some(mut held) = held else { return Ok(None) };
        match held.supervise() {
            Ok(()) => Ok(Some(held)),
            Err(error) => {
                held.remove();
                Err(error)
            }
        }
    });
    match held {
        Err(error) if may_go_without(start, &error) => {
            output::tell(&format!("{}: {}. Going on without", start.name, error.message));
            Ok(None)
        }
        held => Ok(held?),
    }
}

/// Whether an error of the pidfile is no reason not to run. A container may have no directory for it that is safe.
fn may_go_without(start: &Start, error: &Error) -> bool {
    let is_place = match error.code {
        Code::PidFile => error.syscall != Some("flock"),
        Code::UnsafePidFile => own_pid() == 1,
        _ => false,
    };
    is_place && start.pid_file_path.is_none()
}

/// Opens the files that the program's outputs go to; what is not named stays as it is.
fn open_outputs(start: &Start, stage: &mut Stage) -> Result<Vec<std::os::fd::OwnedFd>, Failure> {
    use std::os::fd::AsRawFd;
    let mut files = Vec::new();
    for (index, output) in start.outputs.iter().enumerate() {
        match output {
            None => {}
            Some(Output::Syslog) => {
                return Err(Failure::new(
                    USAGE,
                    "`run` leaves the outputs of a program without the library to whoever has started it, or to files: \
                     `syslog` is for `start`. Pipe it to logger(1), or leave the option out",
                ));
            }
            Some(Output::File(path)) => {
                let (file, made) = log_file::open(path)?;
                stage.outputs[index] = Some(file.as_raw_fd());
                if made {
                    stage.made.push(file.as_raw_fd());
                }
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// The status with which a shell tells how a program has ended.
fn exit_status(status: i32) -> ExitCode {
    let code = if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
