//! Dropping privileges: who to become ([`drop`] says by which rules), becoming
//! it, what goes with it, and the proof that there is no way back.
//!
//! The order is that of every careful daemon: all that must be looked up or
//! opened comes first, while nothing has changed yet; then what only root can
//! do; then the supplementary groups, the group ids, the user ids, since each
//! step takes away the right to the one before; then the capabilities that are
//! left, no_new_privs, and Landlock, under which nothing could be proven any
//! more. The calls for ids are the C library's, which act on every thread
//! (nptl(7)); for what the C library does not do so, `sys::all_threads` does. All is
//! then read back from the kernel, thread by thread: a call that returned 0 is
//! no proof.

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
