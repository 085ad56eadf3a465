//! What launcher and daemon say to each other on the hand-over socket.

use std::ffi::OsStr;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, sendmsg};

use super::children::STEP_FAILED;
use crate::pidfile::Place;
use crate::sys;

/// A longer frame is taken for nonsense.
const LONGEST: usize = 512 << 20;

/// What a frame on the hand-over socket is: a letter, a length (4 bytes), and the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Launcher to daemon: the random number and what it is to know.
    Hello,
    /// Daemon to launcher: ready. See [`Ready`].
    Ready,
    /// Daemon to launcher: its own error.
    Failed,
    /// Child 2 to launcher: a system call failed before the exec.
    StepFailed,
    /// Daemon to launcher that does not know the name: where the pidfile will be. See [`place_payload`].
    Place,
    /// Launcher to daemon: it may lock that pidfile.
    Noted,
    /// Daemon to launcher: the descriptor of the locked pidfile, which comes with it.
    Lock,
    /// Launcher to daemon: go; with [`SUPERVISED`], where the pidfile is its supervisor's.
    Go,
}

impl Frame {
    fn letter(self) -> u8 {
        match self {
            Self::Hello => b'H',
            Self::Ready => b'R',
            Self::Failed => b'F',
            Self::StepFailed => STEP_FAILED,
            Self::Place => b'P',
            Self::Noted => b'A',
            Self::Lock => b'L',
            Self::Go => b'G',
        }
    }

    fn of(letter: u8) -> Option<Self> {
        use Frame::{Failed, Go, Hello, Lock, Noted, Place, Ready, StepFailed};
        [Hello, Ready, Failed, StepFailed, Place, Noted, Lock, Go]
            .into_iter()
            .find(|f| f.letter() == letter)
    }
}

/// What "go" says to a daemon that has a supervisor.
pub const SUPERVISED: &[u8] = b"supervised";

/// What "ready" says: the daemon's pid; and, each after a space, whether it asks for a supervisor (0, 1), and what its
/// state file is to say, as JSON in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The daemon's pid.
    pub pid: i32,
    /// Whether a supervisor is to stay beside it.
    pub supervise: bool,
    /// What the state file is to say, where there is to be one.
    pub state: Option<String>,
}

impl Ready {
    /// As it is sent.
    pub fn to_payload(&self) -> String {
        let Self { pid, supervise, state } = self;
        let state = state.as_ref().map_or(String::new(), |state| format!(" {state}"));
        format!("{pid} {}{state}", u8::from(*supervise))
    }

    /// As it was sent.
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        let mut words = text.splitn(3, ' ');
        let pid = words.next()?.parse().ok()?;
        let supervise = words.next()? == "1";
        Some(Self { pid, supervise, state: words.next().map(str::to_owned) })
    }
}

/// A place as bytes: whether its directory is the daemon's own (0, 1), a space, the name, a NUL, the directory.
pub fn place_payload(place: &Place) -> Vec<u8> {
    let private: &[u8] = if place.private { b"1 " } else { b"0 " };
    [private, place.name.as_bytes(), b"\0", place.dir.as_os_str().as_bytes()].concat()
}

/// The place that was sent.
pub fn place_of(payload: &[u8]) -> Option<Place> {
    let private = payload.starts_with(b"1 ");
    let rest = payload.get(2..)?;
    let (name, dir) = rest.split_at(rest.iter().position(|byte| *byte == 0)?);
    let name = std::str::from_utf8(name).ok()?.to_owned();
    let dir = OsStr::from_bytes(dir.get(1..)?).into();
    Some(Place { dir, name, private })
}

/// Sends one frame with a descriptor.
pub fn send_with(socket: &UnixStream, kind: Frame, fd: RawFd) -> nix::Result<()> {
    let frame = [kind.letter(), 0, 0, 0, 0];
    let (fds, bytes) = ([fd], [IoSlice::new(&frame)]);
    let with = [ControlMessage::ScmRights(&fds)];
    let send = || sendmsg::<()>(socket.as_raw_fd(), &bytes, &with, sys::NO_SIGNAL, None);
    sys::again(send).map(drop)
}

/// Sends one frame. A peer that is gone is an error, not SIGPIPE (std sends with MSG_NOSIGNAL).
pub fn send(mut socket: &UnixStream, kind: Frame, payload: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(payload.len() + 5);
    frame.push(kind.letter());
    frame.extend_from_slice(&length.to_ne_bytes());
    frame.extend_from_slice(payload);
    socket.write_all(&frame)
}

/// Receives one frame; an end of file is an error.
pub fn receive(socket: &mut impl Read) -> std::io::Result<(Frame, Vec<u8>)> {
    let mut head = [0u8; 5];
    socket.read_exact(&mut head)?;
    let [letter, length @ ..] = head;
    let length = u32::from_ne_bytes(length) as usize;
    let kind = Frame::of(letter).filter(|_| length <= LONGEST);
    let kind = kind.ok_or(std::io::ErrorKind::InvalidData)?;
    let mut payload = Vec::new();
    socket.take(length as u64).read_to_end(&mut payload)?;
    if payload.len() < length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok((kind, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read() {
        for state in [None, Some(String::new()), Some("{\"a b\": \" \"}".to_owned())] {
            for supervise in [false, true] {
                let ready = Ready { pid: 4711, supervise, state: state.clone() };
                assert_eq!(Ready::from_payload(ready.to_payload().as_bytes()), Some(ready));
            }
        }
        for private in [false, true] {
            let place = Place { dir: "/run/ a\n".into(), name: "é x".into(), private };
            assert_eq!(place_of(&place_payload(&place)), Some(place));
        }
        for nonsense in [&b""[..], b"1", b"x 1", b" 1", b"1\xff 1"] {
            assert_eq!(Ready::from_payload(nonsense), None);
        }
    }
}
