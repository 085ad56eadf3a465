//! The service manager.

use napi_derive::napi;

use tsdaemonize_core::manager::notify;

/// Tells the service manager; returns why that failed, if it did.
#[napi(catch_unwind)]
pub fn notify(address: String, state: String) -> Option<String> {
    notify::notify(&address, &state).err().map(|error| error.message)
}

/// Keeps the way to the service manager open: after a change of the root directory it could not be found.
/// Returns why that failed, if it did.
#[napi(catch_unwind)]
pub fn notify_stay_in_touch(address: String) -> Option<String> {
    notify::stay_in_touch(&address).err().map(|error| error.message)
}

/// The time of CLOCK_MONOTONIC in microseconds.
#[napi(catch_unwind)]
pub fn monotonic_usec() -> i64 {
    notify::monotonic_usec()
}
