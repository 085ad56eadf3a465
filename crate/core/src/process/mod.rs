//! Processes as the system shows them: handles that stay on one process, who holds a lock, and what becomes of
//! children. This room knows nothing of daemons.

pub mod lock_holder;
pub mod members;
pub mod orphans;
pub mod own;
pub mod replace;
pub mod session;
