//! What processes listen on: their sockets, by the kernel's lists of all sockets.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::readlinkat;

use super::procfs;
use crate::sys::{Listener, errno_of};

/// The listening sockets of a network namespace, by their inode numbers.
type Table = HashMap<u64, Listener>;

/// The sockets that somebody listens on, of each network namespace that was asked for.
#[derive(Debug, Default)]
pub struct Listeners(HashMap<PathBuf, Table>);

impl Listeners {
    /// What these processes, which belong together, listen on: each once, and sorted.
    pub fn of(&mut self, pids: &[i32]) -> Result<Vec<Listener>, Errno> {
        let mut found = Vec::new();
        for pid in pids {
            match self.of_one(*pid) {
                Ok(listeners) => found.extend(listeners),
                // It has ended.
                Err(Errno::ENOENT | Errno::ESRCH) => {}
                Err(errno) => return Err(errno),
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn of_one(&mut self, pid: i32) -> Result<Vec<Listener>, Errno> {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let failed = |error| errno_of(&error);
        let namespace = fs::read_link(dir.join("ns/net")).map_err(failed)?;
        let table = self.0.entry(namespace).or_insert_with(|| table_of(&dir.join("net")));
        if table.is_empty() {
            return Ok(Vec::new());
        }
        let fds = File::open(dir.join("fd")).map_err(failed)?;
        let names = fs::read_dir(dir.join("fd")).map_err(failed)?.flatten();
        let inodes = names.filter_map(|entry| {
            let link = readlinkat(fds.as_fd(), entry.file_name().as_os_str()).ok()?;
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        });
        Ok(inodes.filter_map(|inode: u64| table.get(&inode).cloned()).collect())
    }
}

/// The TCP ports at which these processes listen, sorted, each once. A process that cannot be seen is left out.
pub fn listening(pids: &[i32]) -> Result<Vec<u16>, Errno> {
    let mut listeners = Listeners::default();
    let mut ports = Vec::new();
    for pid in pids {
        for listener in listeners.of_one(*pid).unwrap_or_default() {
            ports.extend(match listener {
                Listener::Tcp(_, port) => Some(port),
                _ => None,
            });
        }
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

fn table_of(net: &Path) -> Table {
    let mut table = Table::new();
    // First all that listen, then all that are connected, of which there may be many (proc_net_tcp.rst of Linux).
    for (file, udp) in [("tcp", false), ("tcp6", false), ("udp", true), ("udp6", true)] {
        for line in lines(&net.join(file)).skip(1) {
            match internet(&line, udp) {
                Some((inode, listener)) => {
                    table.insert(inode, listener);
                }
                None if udp => {}
                None => break,
            }
        }
    }
    table.extend(lines(&net.join("unix")).skip(1).filter_map(|line| unix(&line)));
    table
}

fn lines(path: &Path) -> impl Iterator<Item = Vec<u8>> + use<> {
    let file = File::open(path).ok();
    file.into_iter()
        .flat_map(|file| BufReader::with_capacity(1 << 16, file).split(b'\n').map_while(Result::ok))
}

/// A line of /proc/net/tcp and its like: the inode number and the address of a socket that listens, or, of UDP, that is
/// connected to nobody.
fn internet(line: &[u8], udp: bool) -> Option<(u64, Listener)> {
    /// TCP_LISTEN and TCP_CLOSE of include/net/tcp_states.h.
    const LISTENING: [&[u8]; 2] = [b"0A", b"07"];
    let words: Vec<&[u8]> = procfs::words(line).collect();
    if *words.get(3)? != LISTENING[usize::from(udp)] {
        return None;
    }
    let (address, port) = std::str::from_utf8(words.get(1)?).ok()?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let inode = procfs::number(words.get(9)?)?;
    let address = ip(address)?;
    Some((inode, if udp { Listener::Udp(address, port) } else { Listener::Tcp(address, port) }))
}

/// The kernel prints each four bytes as the number that they are on this machine.
fn ip(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for at in (0..hex.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// A line of /proc/net/unix: the inode number and the path of a socket that accepts connections, or that takes datagrams.
fn unix(line: &[u8]) -> Option<(u64, Listener)> {
    /// __SO_ACCEPTCON of include/uapi/linux/net.h.
    const ACCEPTS: u32 = 1 << 16;
    let mut parts = line.splitn(7, |byte| *byte == b' ').filter(|part| !part.is_empty());
    let flags = hex(parts.nth(3)?)?;
    let kind = hex(parts.next()?)?;
    // Before a short inode number there are more spaces: the rest is not split.
    let rest = parts.nth(1)?;
    let rest = rest.trim_ascii_start();
    let (inode, path) = rest.split_at(rest.iter().position(|byte| *byte == b' ')?);
    let takes = flags & ACCEPTS != 0 || kind == libc::SOCK_DGRAM as u32;
    let path = path.get(1..).filter(|path| takes && !path.is_empty())?;
    Some((procfs::number(inode)?, Listener::Unix(path.to_vec())))
}

fn hex(word: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_process_listens_from_the_moment_on_in_which_it_does() {
        let me = [nix::unistd::getpid().as_raw()];
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::Tcp(address.ip(), address.port());
        assert!(listening(&me).unwrap().contains(&address.port()));
        assert!(Listeners::default().of(&me).unwrap().contains(&listener));
        drop(socket);
        assert!(!listening(&me).unwrap().contains(&address.port()));
        assert!(!Listeners::default().of(&me).unwrap().contains(&listener));
    }

    #[test]
    fn a_line_of_a_listening_socket_has_its_address_and_inode() {
        let rest = "00000000:00000000 00:00000000 00000000  1000        0";
        let v4 = format!(
            "   0: {:08X}:1F90 00000000:0000 0A {rest} 777 1 0",
            u32::from_ne_bytes([127, 0, 0, 1])
        );
        let expected = Listener::Tcp(Ipv4Addr::LOCALHOST.into(), 8080);
        assert_eq!(internet(v4.as_bytes(), false), Some((777, expected)));
        assert_eq!(internet(v4.as_bytes(), true), None);
        let any = "00000000000000000000000000000000";
        let v6 = format!("  12: {any}:0035 {any}:0000 07 {rest} 778 2 0");
        let expected = Listener::Udp(Ipv6Addr::UNSPECIFIED.into(), 53);
        assert_eq!(internet(v6.as_bytes(), true), Some((778, expected)));
        assert_eq!(internet(v6.replace(" 07 ", " 01 ").as_bytes(), true), None);
        for line in [
            "",
            "  sl  local_address",
            "0: 1:1 2:2 0A",
            "0: XX:1 0 0A 0 0 0 0 0 1",
            "0: 000000001:1 0 0A 0 0 0 0 0 1",
        ] {
            assert_eq!(internet(line.as_bytes(), false), None, "{line}");
        }
    }

    #[test]
    fn a_line_of_a_unix_socket_has_its_path_and_inode() {
        let path = |line: &str| unix(line.as_bytes()).map(|(inode, l)| (inode, format!("{l:?}")));
        let found = |inode, path: &str| Some((inode, format!("{:?}", Listener::Unix(path.into()))));
        let line = "0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a b.sock";
        assert_eq!(path(line), found(12345, "/run/a b.sock"));
        assert_eq!(path(&line.replace(" 12345", "    45")), found(45, "/run/a b.sock"));
        assert_eq!(path(&line.replace("/run/a b.sock", "@abstract")), found(12345, "@abstract"));
        assert_eq!(
            path(&line.replace("00010000 0001", "00000000 0002")),
            found(12345, "/run/a b.sock")
        );
        assert_eq!(path(&line.replace("00010000", "00000000")), None, "it is connected");
        assert_eq!(path("0000000000000000: 00000002 00000000 00010000 0001 01 12345"), None);
        assert_eq!(path("Num       RefCount Protocol Flags    Type St Inode Path"), None);
        assert_eq!(path(""), None);
    }
}
