//! At which TCP ports processes listen: the kernel's table, and the sockets that they have open.

use std::fs;
use std::path::Path;

use nix::errno::Errno;

use super::procfs;
use crate::sys::errno_of;

/// TCP_LISTEN of net/tcp_states.h, as proc_net(5) shows it.
const LISTEN: &[u8] = b"0A";

/// The TCP ports at which these processes listen, sorted, each once. A process that cannot be seen is left out, and so
/// are those of another network namespace than that of the first.
pub fn listening(pids: &[i32]) -> Result<Vec<u16>, Errno> {
    let dirs = pids.iter().filter_map(|&pid| procfs::directory(pid).ok()).collect::<Vec<_>>();
    let Some(first) = dirs.first() else { return Ok(Vec::new()) };
    let mut sockets = Vec::new();
    for table in ["tcp", "tcp6"] {
        match fs::read(first.join("net").join(table)) {
            Ok(text) => sockets.extend(text.split(|byte| *byte == b'\n').filter_map(listener)),
            // No IPv6 here, or the process has ended.
            Err(error)
                if matches!(errno_of(&error), Errno::ENOENT | Errno::ESRCH | Errno::EINVAL) => {}
            Err(error) => return Err(errno_of(&error)),
        }
    }
    let mut ports: Vec<u16> = Vec::new();
    if !sockets.is_empty() {
        for inode in dirs.iter().flat_map(|dir| open_sockets(dir)) {
            let found = sockets.iter().filter(|(_, socket)| *socket == inode);
            ports.extend(found.map(|(port, _)| *port));
        }
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

/// The port and the inode of a line of the table, if that is of a socket that listens.
fn listener(line: &[u8]) -> Option<(u16, u64)> {
    let mut words = procfs::words(line).skip(1);
    let port = words.next()?.rsplit(|byte| *byte == b':').next()?;
    let port = u16::from_str_radix(std::str::from_utf8(port).ok()?, 16).ok()?;
    words.nth(1).filter(|state| *state == LISTEN)?;
    Some((port, procfs::number(words.nth(5)?)?))
}

/// The inodes of the sockets that a process has open.
fn open_sockets(dir: &Path) -> Vec<u64> {
    let entries = fs::read_dir(dir.join("fd")).into_iter().flatten().flatten();
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.filter_map(inode).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn only_a_line_of_a_socket_that_listens_counts() {
        let line = |state: &str| {
            format!(
                "   0: 0100007F:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 4711 1 0 100"
            )
        };
        assert_eq!(listener(line("0A").as_bytes()), Some((8080, 4711)));
        assert_eq!(listener(line("01").as_bytes()), None);
        let six =
            b"  3: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A \
                    00000000:00000000 00:00000000 00000000 0 0 9 1 0";
        assert_eq!(listener(six), Some((22, 9)));
        for line in
            ["", "  sl  local_address rem_address   st", "0: x 0A", "0: :zz 0 0A 0 0 0 0 0 1"]
        {
            assert_eq!(listener(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_process_listens_from_the_moment_on_in_which_it_does() {
        let me = [nix::unistd::getpid().as_raw()];
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(listening(&me).unwrap().contains(&port));
        drop(socket);
        assert!(!listening(&me).unwrap().contains(&port));
    }
}
