//! Foreign programs: those that know nothing of this package, and take no hand-over.

pub mod exec_stage;
mod output;
mod ready;
pub mod refused;

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};
use tsdaemonize_core::error::Result as CoreResult;
use tsdaemonize_core::start::arguments::{Executable, c_string};
use tsdaemonize_core::start::{Plan, Supervision};

use self::exec_stage::Stage;
use self::output::Outputs;
use self::ready::{Progress, Ways};
use crate::error::Failure;
use crate::failed::{self, Printed};
use crate::launching::{Interrupts, begin, c_strings, millis, own_executable, variables};
use crate::plan::{STOP_TIMEOUT, Start};

/// The umask of a daemon, as the library's.
const UMASK: u32 = 0o022;

/// Starts a foreign program, beside which a supervisor stays. Returns the program's pid, and what it printed.
pub fn start(start: &Start, interrupts: &mut Interrupts) -> Result<(i32, Printed), Failure> {
    let mut outputs = Outputs::open(start)?;
    let started = launch(start, interrupts, &mut outputs);
    if started.is_err() {
        outputs.remove_made();
    }
    started
}

fn launch(
    start: &Start,
    interrupts: &mut Interrupts,
    outputs: &mut Outputs,
) -> Result<(i32, Printed), Failure> {
    let mut ways = Ways::open(start.ready)?;
    let stage = stage(start, outputs);
    let (argv, hello) = stage.hand_on();
    let mut env = start.env.clone();
    env.extend(ways.variables().into_iter().map(|(name, value)| (name.into(), value.into())));
    let own = own_executable()?;
    let launched = begin(&start.places, || {
        let keep = outputs.numbers().into_iter().chain([ways.writer()]).flatten();
        Ok(Plan {
            executable: Executable {
                file: own.clone(),
                argv: c_strings(argv.clone())?,
                env: c_strings(variables(&env))?,
            },
            cwd: None,
            places: start.places.clone(),
            keep_fds: keep.collect(),
            timeout: start.start_timeout,
            nameless: false,
            hello: hello.to_string(),
            state: None,
            supervision: Some(supervision(start, outputs, own.clone())?),
        })
    })?;
    outputs.given_away();
    ways.given_away();
    let session = launched.session();
    let outcome = launched.wait_for(&mut Progress::new(ways, outputs, interrupts, session));
    outputs.take_in();
    failed::outcome(start, outcome, outputs.printed())
}

fn stage(start: &Start, outputs: &Outputs) -> Stage {
    Stage {
        file: start.file.clone(),
        argv: start.argv.clone(),
        cwd: Some(start.cwd.clone().unwrap_or_else(|| "/".into())),
        umask: Some(start.umask.unwrap_or(UMASK)),
        name: start.name.clone(),
        user: start.user.clone(),
        group: start.group.clone(),
        outputs: outputs.numbers(),
        made: outputs.made(),
        ..Stage::default()
    }
}

fn supervision(start: &Start, outputs: &Outputs, executable: CString) -> CoreResult<Supervision> {
    let [stdout, stderr] = outputs.shown();
    let place = start.places.first().map(|candidate| &candidate.place);
    let plan = json!({
        "version": 1,
        "name": start.name,
        "dir": place.map(|place| place.dir.to_string_lossy()),
        "private": place.is_some_and(|place| place.private),
        "kind": "foreign",
        "stopTimeout": millis(start.stop_timeout.unwrap_or(STOP_TIMEOUT)),
        "stdout": stdout,
        "stderr": stderr,
        "program": start.program(),
        "pipes": outputs.piped(),
        "again": again(),
    });
    Ok(Supervision {
        executable,
        name: c_string(start.name.clone().into_bytes())?,
        plan: plan.to_string().into_bytes(),
        extra: outputs.for_supervisor()?,
        foreign: true,
    })
}

/// How this start was asked for, to do it once more: each byte is a character, since these strings need not be text.
fn again() -> Value {
    let bytes =
        |text: &OsStr| -> String { text.as_bytes().iter().copied().map(char::from).collect() };
    let arguments = std::env::args_os().skip(1).map(|argument| bytes(&argument));
    let cwd = std::env::current_dir().map_or_else(|_| "/".into(), |dir| bytes(dir.as_os_str()));
    let env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let env = variables(&env).into_iter().map(|variable| bytes(&variable));
    json!({ "arguments": arguments.collect::<Vec<_>>(), "cwd": cwd, "env": env.collect::<Vec<_>>() })
}
