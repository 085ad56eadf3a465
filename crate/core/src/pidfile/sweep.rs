//! The removal of what a daemon has left that was killed.

use nix::fcntl::OFlag;
use nix::sys::stat::fstat;

use super::checks::{Asker, check_file};
use super::directory::Directory;
use super::held::PidFile;
use super::locks::{HELD, SWEEPING, take};
use super::place::Place;
use super::state_file::remove_state;
use crate::sys::again;

/// Removes a file that nobody holds, and the state file, if that can be done. A start that comes at the same moment
/// waits for it and is not disturbed. `was_held`: a daemon that was found there has held the file.
pub fn sweep(place: &Place, was_held: bool) {
    let path = place.path();
    let Ok(Some(dir)) = Directory::open(place, Asker::Anyone) else { return };
    let file = match dir.open_existing(&place.file_name(), OFlag::O_RDWR) {
        Ok(Some(file)) => file,
        // A start that came in between would only lose the hint that the state file is.
        Ok(None) => return remove_state(&dir, place),
        Err(_) => return,
    };
    let Ok(found) = again(|| fstat(&file)) else { return };
    let asker = if was_held { Asker::OfHeld } else { Asker::Anyone };
    if check_file(&path, &found, asker, dir.owner()).is_err() {
        return;
    }
    let stale = PidFile::of(file, place);
    let take = |at| take(&stale.file, at).unwrap_or(false);
    if take(SWEEPING) && take(HELD) {
        stale.remove();
    }
}
