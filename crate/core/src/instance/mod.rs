//! The one daemon of a name, from outside: where it may be, whether it runs, its signals, its end.

mod all;
mod errors;
mod find;
pub mod places;
mod status;
mod stop;

pub use self::all::{All, all};
pub use self::find::{Daemon, Wanted};
pub use self::status::{Info, Names, status, status_with};
pub use self::stop::{Stopped, kill, reload, stop};
