//! What launcher and daemon say to each other on the hand-over socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::children::STEP_FAILED;

/// A longer frame is taken for nonsense.
const LONGEST: usize = 512 << 20;

/// What a frame on the hand-over socket is: a letter, a length (4 bytes), and the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Launcher to daemon: the random number and what it is to know.
    Hello,
    /// Daemon to launcher: ready, with its pid.
    Ready,
    /// Daemon to launcher: its own error.
    Failed,
    /// Child 2 to launcher: a system call failed before the exec.
    StepFailed,
    /// Launcher to daemon: go.
    Go,
}

impl Frame {
    fn letter(self) -> u8 {
        match self {
            Self::Hello => b'H',
            Self::Ready => b'R',
            Self::Failed => b'F',
            Self::StepFailed => STEP_FAILED,
            Self::Go => b'G',
        }
    }

    fn of(letter: u8) -> Option<Self> {
        [Self::Hello, Self::Ready, Self::Failed, Self::StepFailed, Self::Go]
            .into_iter()
            .find(|f| f.letter() == letter)
    }
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
