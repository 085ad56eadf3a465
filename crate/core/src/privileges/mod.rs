//! Dropping privileges: whom to become ([`drop()`] says by which rules), what else is given up, and the proof that
//! there is no way back. Linux and macOS each do it in their own way, in `sys/linux/privileges/` and
//! `sys/macos/privileges.rs`.
//!
//! The order is that of every careful daemon: all that must be looked up or opened comes first, while nothing has
//! changed yet; then what only root can do; then the supplementary groups, the group ids and the user ids,
//! since each step takes away the right to the one before; then the capabilities that are left,
//! no_new_privs, and Landlock, under which nothing could be proven any more. The calls for ids are the C
//! library's, which act on every thread (nptl(7)); where it has no such call, `all_threads` acts on every thread.
//! All is then read back from the kernel, thread by thread: a call that returned 0 is no proof.

mod confinement;
mod drop;
pub(crate) mod errors;
pub(crate) mod files;
pub(crate) mod regain;
pub(crate) mod target;
mod whom;

pub use self::confinement::{Capability, ChangeRoot, Confinement, Landlock, Limit, UNLIMITED};
pub use self::drop::drop;
pub use self::whom::{Dropped, Identity, Whom};
