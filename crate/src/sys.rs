//! What each system does in its own way, under the same names: Linux, and macOS.

#[cfg(target_os = "linux")]
mod clone;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod macos;

#[cfg(target_os = "linux")]
pub use clone::*;
#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(not(target_os = "linux"))]
pub use macos::*;

/// Makes a system call, again for as long as a signal interrupts it (EINTR in signal(7)). A file server
/// can give that error at any call on a file.
pub fn again<T>(
    mut call: impl FnMut() -> Result<T, nix::errno::Errno>,
) -> Result<T, nix::errno::Errno> {
    loop {
        match call() {
            Err(nix::errno::Errno::EINTR) => {}
            result => return result,
        }
    }
}
