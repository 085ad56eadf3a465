//! What libproc tells of processes (sys/proc_info.h).

use nix::errno::Errno;

/// What libproc tells of a process; `None` where there is none, or where it is not ours to see.
pub fn process(pid: i32) -> Option<(libc::proc_bsdinfo, libc::proc_taskinfo)> {
    // SAFETY: plain integers, for which zero is a value; the calls write no more than they are told.
    unsafe {
        let mut process: libc::proc_bsdinfo = std::mem::zeroed();
        let mut task: libc::proc_taskinfo = std::mem::zeroed();
        let size = std::mem::size_of_val(&process) as libc::c_int;
        let what = libc::PROC_PIDTBSDINFO;
        if libc::proc_pidinfo(pid, what, 0, (&raw mut process).cast(), size) != size {
            return None;
        }
        // This fails for another user's process and for a zombie: the zeros stay.
        let size = std::mem::size_of_val(&task) as libc::c_int;
        libc::proc_pidinfo(pid, libc::PROC_PIDTASKINFO, 0, (&raw mut task).cast(), size);
        Some((process, task))
    }
}

/// The numbers of all processes.
pub fn pids() -> Vec<i32> {
    // SAFETY: the call writes no more than it is told.
    unsafe {
        let count = libc::proc_listallpids(std::ptr::null_mut(), 0).max(0) as usize;
        let mut pids = vec![0; count + 64];
        let size = std::mem::size_of_val(pids.as_slice()) as libc::c_int;
        let got = libc::proc_listallpids(pids.as_mut_ptr().cast(), size).max(0) as usize;
        pids.truncate(got);
        pids
    }
}

/// The numbers of a process's children.
pub fn children(parent: i32) -> Vec<i32> {
    const MOST: usize = 1024;
    let mut pids = vec![0; MOST];
    // SAFETY: the call writes no more than it is told.
    let got = unsafe {
        let size = std::mem::size_of_val(pids.as_slice()) as libc::c_int;
        libc::proc_listchildpids(parent, pids.as_mut_ptr().cast(), size)
    };
    pids.truncate(usize::try_from(got).unwrap_or(0));
    pids
}

/// `struct vnode_fdinfo` of sys/proc_info.h.
#[repr(C)]
struct VnodeFd {
    open_flags: u32,
    _status: u32,
    _offset: libc::off_t,
    _kind: i32,
    _guard_flags: u32,
    vnode: libc::vnode_info,
}

/// PROC_PIDFDVNODEINFO and FWRITE of sys/proc_info.h and sys/fcntl.h.
const VNODE: libc::c_int = 1;

const FWRITE: u32 = 2;

/// Whether a process has this very file open for writing.
pub fn has_open_for_writing(pid: i32, dev: u64, ino: u64) -> Result<bool, Errno> {
    let one = std::mem::size_of::<libc::proc_fdinfo>();
    let mut list: Vec<libc::proc_fdinfo> = Vec::new();
    loop {
        let room = list.capacity().max(256) * 2;
        list.reserve(room);
        let (what, size) = (libc::PROC_PIDLISTFDS, (room * one) as libc::c_int);
        // SAFETY: there is room for what the call writes, which are plain integers.
        unsafe {
            let got = libc::proc_pidinfo(pid, what, 0, list.as_mut_ptr().cast(), size);
            if got <= 0 {
                return Err(Errno::last());
            }
            list.set_len(got as usize / one);
        }
        if list.len() < room {
            break;
        }
        list.clear();
    }
    let is_it = |fd: i32| {
        // SAFETY: plain integers, for which zero is a value; the call writes no more than it is told.
        unsafe {
            let mut found: VnodeFd = std::mem::zeroed();
            let size = std::mem::size_of_val(&found) as libc::c_int;
            let got = libc::proc_pidfdinfo(pid, fd, VNODE, (&raw mut found).cast(), size);
            let stat = found.vnode.vi_stat;
            let is_same = u64::from(stat.vst_dev) == dev & 0xffff_ffff && stat.vst_ino == ino;
            got == size && found.open_flags & FWRITE != 0 && is_same
        }
    };
    let is_file = |entry: &&libc::proc_fdinfo| entry.proc_fdtype == libc::PROX_FDTYPE_VNODE as u32;
    Ok(list.iter().filter(is_file).any(|entry| is_it(entry.proc_fd)))
}
