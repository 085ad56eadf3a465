//! The pidfile: one daemon of a name, and the truth about whether it runs.
//!
//! Running means locked: `locks` says by which locks. A start takes them (`acquire`) and the daemon keeps them
//! (`held`), and puts the file back where somebody removes it (`put_back`). Anyone may look at it (`look`). Beside it
//! lies what is known of the daemon otherwise (`state_file`).

mod acquire;
mod checks;
mod directory;
mod errors;
mod held;
mod holder;
mod keepers;
mod locks;
mod look;
mod mark;
pub mod patience;
mod place;
mod put_back;
mod state_file;
mod sweep;
mod turn;
mod whereabouts;

pub use self::held::PidFile;
pub use self::holder::{await_release, busy_at};
pub use self::keepers::{Doubt, Keepers, recognise};
pub use self::locks::{HELD, take_all_quietly};
pub use self::look::{Look, State, look, parse_pid};
pub use self::place::{LONGEST_NAME, Place, is_name};
pub use self::state_file::{is_about, name_of_state_file, read_state, state_path};
pub use self::sweep::sweep;
