//! The stage between the fork and a foreign program: it takes the hand-over as Node does, gives this process its
//! directory, umask, user and outputs, and executes the program in its own place.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};
use serde_json::{Value, json};
use tsdaemonize_core::error::reason;
use tsdaemonize_core::privileges::{self, Confinement, Identity, Whom};
use tsdaemonize_core::start::hand_over;
use tsdaemonize_core::sys::{self, Mask};

use super::refused::{CANNOT_EXECUTE, Refused};

/// The first argument of a process in this stage.
pub const STAGE: &str = "--exec-stage";

/// Variables of systemd's, and ours, that name the process for which others are meant.
const NAMES_A_PROCESS: [&str; 4] =
    ["LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID", "TSDAEMONIZE_RUN"];

/// What a process is to be when it executes its program.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The program's file.
    pub file: PathBuf,
    /// Its arguments, its own name first.
    pub argv: Vec<OsString>,
    /// Its environment.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory; `None`: that of this process.
    pub cwd: Option<PathBuf>,
    /// Its file mode creation mask; `None`: that of this process.
    pub umask: Option<u32>,
    /// The daemon's name, which stands in for user and group.
    pub name: String,
    /// As whom it runs; where both are `None`, as the same user.
    pub user: Option<String>,
    /// The same for its group.
    pub group: Option<String>,
    /// What becomes its standard output and standard error.
    pub outputs: [Option<RawFd>; 2],
    /// Those of the outputs that are files which were made for it: they become its user's.
    pub made: Vec<RawFd>,
    /// The parent with which it ends, should that be killed.
    pub parent: Option<i32>,
    /// The signals that are blocked in it.
    pub mask: Mask,
    /// The process in whose place it runs: what a service manager says to that one, it says to the program.
    pub instead_of: Option<i32>,
}

impl Stage {
    /// The command line of the process that is to enter this stage by [`run`], and what its hand-over says. Paths,
    /// arguments and variables need not be text, so they do not travel as JSON.
    pub fn hand_on(&self) -> (Vec<OsString>, Value) {
        let cwd = self.cwd.clone().unwrap_or_default();
        let head = ["tsdaemonize".into(), STAGE.into(), self.file.clone().into(), cwd.into()];
        let argv = head.into_iter().chain(self.argv.iter().cloned()).collect();
        let Self { umask, name, user, group, outputs, made, .. } = self;
        let hello = json!({
            "umask": umask, "name": name, "user": user, "group": group, "outputs": outputs, "made": made,
        });
        (argv, hello)
    }

    /// What such a process was given.
    fn received(mut argv: impl Iterator<Item = OsString>, hello: &str) -> Option<Self> {
        let hello: Value = serde_json::from_str(hello).ok()?;
        let file = argv.next()?.into();
        let cwd = argv.next().filter(|cwd| !cwd.is_empty()).map(PathBuf::from);
        let text = |key: &str| hello[key].as_str().map(str::to_owned);
        let fd = |value: &Value| value.as_i64().and_then(|fd| RawFd::try_from(fd).ok());
        Some(Self {
            file,
            argv: argv.collect(),
            env: std::env::vars_os().collect(),
            cwd,
            umask: hello["umask"].as_u64().and_then(|mask| u32::try_from(mask).ok()),
            name: text("name")?,
            user: text("user"),
            group: text("group"),
            outputs: [fd(&hello["outputs"][0]), fd(&hello["outputs"][1])],
            made: hello["made"].as_array()?.iter().filter_map(fd).collect(),
            parent: Some(nix::unistd::getppid().as_raw()),
            mask: Mask::NONE,
            instead_of: None,
        })
    }

    /// Makes this process all that, and executes the program. Returns only where that failed; much of this process
    /// has changed then, so that it must end.
    pub fn enter(mut self) -> Refused {
        match self.prepare() {
            Ok(()) => self.execute(),
            Err(refused) => refused,
        }
    }

    fn prepare(&mut self) -> Result<(), Refused> {
        if let Some(cwd) = &self.cwd {
            nix::unistd::chdir(cwd.as_path()).map_err(|errno| {
                let (cwd, why) = (cwd.display(), reason(errno as i32));
                Refused::before(format!("Cannot use the working directory '{cwd}': {why}, chdir"))
            })?;
        }
        if let Some(mask) = self.umask {
            // SAFETY: takes an integer, and cannot fail.
            unsafe { libc::umask(mask as libc::mode_t) };
        }
        if let Some(pid) = self.instead_of {
            self.stand_in_for(pid);
        }
        if self.user.is_some() || self.group.is_some() {
            self.drop()?;
        }
        Ok(())
    }

    /// Has the variables that name the other process name this one: the manager's descriptors (sd_listen_fds(3)) and its
    /// watchdog (sd_watchdog_enabled(3)) are for the program.
    fn stand_in_for(&mut self, pid: i32) {
        // The other one's pidfd by its number, which newer versions give beside LISTEN_PID.
        self.env.retain(|(name, _)| name != "LISTEN_PIDFDID");
        let (other, own) = (pid.to_string(), std::process::id().to_string());
        for (name, value) in &mut self.env {
            if NAMES_A_PROCESS.iter().any(|known| name == known) && *value == *other {
                *value = OsString::from(&own);
            }
        }
    }

    fn drop(&mut self) -> Result<(), Refused> {
        let whom = Whom {
            user: self.user.clone(),
            group: self.group.clone(),
            daemon_name: self.name.clone(),
            files: self.made.clone(),
        };
        let dropped = privileges::drop(Some(&whom), &Confinement::default(), &|enter| enter())
            .map_err(|error| Refused { lacks_right: true, ..Refused::before(error.message) })?;
        for warning in &dropped.warnings {
            eprintln!("{}: {warning}", self.name);
        }
        if let Some(identity) = dropped.identity {
            self.belong_to(&identity);
        }
        Ok(())
    }

    /// The variables that name a user, as login(1) sets them.
    fn belong_to(&mut self, identity: &Identity) {
        let Identity { user, home, shell, .. } = identity;
        let has_entry = home.is_some();
        let home = home.as_deref().unwrap_or(Path::new("/")).as_os_str().to_owned();
        let user = has_entry.then(|| OsString::from(user));
        let shell = shell.as_deref().map(|shell| shell.as_os_str().to_owned());
        let own =
            [("HOME", Some(home)), ("USER", user.clone()), ("LOGNAME", user), ("SHELL", shell)];
        self.env.retain(|(name, _)| own.iter().all(|(own, _)| name != own));
        let set = own.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        self.env.extend(set);
    }

    fn execute(self) -> Refused {
        let strings = |strings: Vec<OsString>| {
            let nul = |_| Refused::before("An argument or a variable has a NUL byte");
            let c_string = |text: OsString| CString::new(text.into_vec()).map_err(nul);
            strings.into_iter().map(c_string).collect::<Result<Vec<_>, _>>()
        };
        let env = self.env.iter().map(|(name, value)| {
            [name.as_os_str(), OsStr::new("="), value].into_iter().collect::<OsString>()
        });
        let prepared = strings(vec![self.file.clone().into()]).and_then(|mut file| {
            Ok((file.pop().unwrap_or_default(), strings(self.argv)?, strings(env.collect())?))
        });
        let (file, argv, env) = match prepared {
            Ok(prepared) => prepared,
            Err(refused) => return refused,
        };
        if let Some(parent) = self.parent {
            die_with(parent);
        }
        if let Err((call, errno)) = set_up(self.outputs, self.mask) {
            return Refused::before(format!(
                "Cannot set up a process: {}, {call}",
                reason(errno as i32)
            ));
        }
        let Err(errno) = nix::unistd::execve(&file, &argv, &env);
        Refused::by_execve(Path::new(OsStr::from_bytes(file.as_bytes())), errno as i32)
    }
}

/// Has this process end with its parent, which was asked for before, and which the kernel has forgotten with the change of
/// ids (PR_SET_PDEATHSIG(2const)). Meanwhile the parent may have ended: a start leaves no process.
fn die_with(parent: i32) {
    sys::keep_dying_with_parent();
    if nix::unistd::getppid().as_raw() != parent {
        // SAFETY: takes integers only.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

/// What comes last: the outputs, and signals as every program may expect them. Rust's std has set SIGPIPE to be ignored,
/// and this process may have blocked any.
fn set_up(outputs: [Option<RawFd>; 2], mask: Mask) -> Result<(), (&'static str, Errno)> {
    for (output, number) in outputs.into_iter().zip([1, 2]) {
        // SAFETY: takes integers; both descriptors are this process's own, and no value of Rust owns them.
        let dup2 = |fd| Errno::result(unsafe { libc::dup2(fd, number) });
        output.map(dup2).transpose().map_err(|errno| ("dup2", errno))?;
    }
    for output in outputs.into_iter().flatten().filter(|fd| *fd > 2) {
        // SAFETY: as above. Where both outputs are one, the second call fails, and nothing happens.
        unsafe { libc::close(output) };
    }
    // SAFETY: sets a default, no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map_err(|errno| ("sigaction", errno))?;
    mask.set().map(drop).map_err(|errno| ("sigprocmask", errno))
}

/// A process in this stage: its arguments are those of [`Stage::hand_on`].
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(hand_over) = hand_over::take() else {
        eprintln!("tsdaemonize: {STAGE} is for `tsdaemonize start` alone");
        return ExitCode::from(CANNOT_EXECUTE);
    };
    let refused = match Stage::received(arguments, &hand_over.hello) {
        Some(stage) => stage.enter(),
        None => Refused::before(
            "The hand-over is not understood: are there two versions of tsdaemonize?",
        ),
    };
    let Refused { status, message, lacks_right } = refused;
    hand_over.fail(&json!({ "message": message, "lacksRight": lacks_right }).to_string());
    ExitCode::from(status)
}
