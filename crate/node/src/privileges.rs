//! Dropping privileges.

use std::path::PathBuf;

use napi::Env;
use napi_derive::napi;

use tsdaemonize_core::{daemon, privileges};

use crate::error::thrown;

/// Whom to become.
#[napi(object)]
pub struct NativeWhom {
    /// The user's name or number.
    pub user: Option<String>,
    /// The group's name or number.
    pub group: Option<String>,
    /// The daemon's name.
    pub daemon_name: String,
    /// Descriptors of files that are given to that user and group.
    pub files: Vec<i32>,
}

/// One capability.
#[napi(object)]
pub struct NativeCapability {
    /// `CAP_CHOWN` or another.
    pub name: String,
    /// Its number.
    pub bit: u32,
}

/// One limit of setrlimit(2); what is left out stays as it is.
#[napi(object)]
pub struct NativeLimit {
    /// `nofile` or another.
    pub name: String,
    /// The soft limit: a number, or Infinity.
    pub soft: Option<f64>,
    /// The hard limit: a number, or Infinity.
    pub hard: Option<f64>,
}

/// What stays within reach; a list that is left out restricts nothing.
#[napi(object)]
pub struct NativeLandlock {
    /// The paths of what can be read.
    pub read: Option<Vec<String>>,
    /// The paths of what can be written.
    pub write: Option<Vec<String>>,
    /// The paths of what can be executed.
    pub execute: Option<Vec<String>>,
    /// The TCP ports that can be listened to.
    pub bind: Option<Vec<u16>>,
    /// The TCP ports that can be connected to.
    pub connect: Option<Vec<u16>>,
    /// What the kernel lacks is a warning.
    pub best_effort: bool,
}

/// What is given up beside the ids.
#[napi(object)]
pub struct NativeConfinement {
    /// The new root directory.
    pub chroot: Option<String>,
    /// The capabilities that are kept.
    pub capabilities: Option<Vec<NativeCapability>>,
    /// Whether no_new_privs is set; where it is left out, it is set if privileges were dropped.
    pub no_new_privileges: Option<bool>,
    /// The limits that change.
    pub limits: Option<Vec<NativeLimit>>,
    /// The nice value.
    pub nice: Option<i32>,
    /// The adjustment for the out-of-memory killer.
    pub oom_score_adjust: Option<i32>,
    /// What stays within reach.
    pub landlock: Option<NativeLandlock>,
}

impl From<NativeConfinement> for privileges::Confinement {
    fn from(native: NativeConfinement) -> Self {
        // Infinity becomes the largest u64, which is "unlimited".
        let limit = |l: NativeLimit| privileges::Limit {
            name: l.name,
            soft: l.soft.map(|n| n as u64),
            hard: l.hard.map(|n| n as u64),
        };
        let capability = |c: NativeCapability| privileges::Capability { name: c.name, bit: c.bit };
        let paths = |paths: Option<Vec<String>>| {
            paths.map(|paths| paths.into_iter().map(PathBuf::from).collect())
        };
        Self {
            chroot: native.chroot.map(PathBuf::from),
            capabilities: native.capabilities.map(|c| c.into_iter().map(capability).collect()),
            no_new_privileges: native.no_new_privileges,
            limits: native.limits.into_iter().flatten().map(limit).collect(),
            nice: native.nice,
            oom_score_adjust: native.oom_score_adjust,
            landlock: native.landlock.map(|landlock| privileges::Landlock {
                read: paths(landlock.read),
                write: paths(landlock.write),
                execute: paths(landlock.execute),
                bind: landlock.bind,
                connect: landlock.connect,
                best_effort: landlock.best_effort,
            }),
        }
    }
}

/// Who the process is after its privileges were dropped.
#[napi(object)]
pub struct NativeIdentity {
    /// The user's name, or its number.
    pub user: String,
    /// The user's id.
    pub uid: u32,
    /// The group's name, or its number.
    pub group: String,
    /// The group's id.
    pub gid: u32,
    /// The supplementary groups' ids.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: Option<String>,
    /// The login shell.
    pub shell: Option<String>,
}

/// What dropping privileges has done.
#[napi(object)]
pub struct NativeDropped {
    /// Who the process is now, where it had to become someone.
    pub identity: Option<NativeIdentity>,
    /// What was done differently from what was asked.
    pub warnings: Vec<String>,
}

/// Becomes the user and the group, gives up all else that was asked for, on every thread, and proves
/// it.
#[napi(catch_unwind)]
pub fn drop_privileges(
    env: &Env,
    whom: Option<NativeWhom>,
    confinement: NativeConfinement,
) -> napi::Result<NativeDropped> {
    let whom = whom.map(|whom| privileges::Whom {
        user: whom.user,
        group: whom.group,
        daemon_name: whom.daemon_name,
        files: whom.files,
    });
    let dropped = daemon::drop_privileges(whom.as_ref(), &confinement.into());
    let dropped = dropped.map_err(|error| thrown(env, error))?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let identity = |identity: privileges::Identity| NativeIdentity {
        user: identity.user,
        uid: identity.uid,
        group: identity.group,
        gid: identity.gid,
        groups: identity.groups,
        home: identity.home.map(text),
        shell: identity.shell.map(text),
    };
    Ok(NativeDropped { identity: dropped.identity.map(identity), warnings: dropped.warnings })
}
