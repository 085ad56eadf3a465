//! The system calls by their names.

macro_rules! names {
    ($($constant:ident)*) => {
        /// The name of a system call; its number where it is not known here.
        pub fn name(number: u64) -> String {
            let known: &[(i64, &str)] = &[$((libc::$constant, stringify!($constant))),*];
            let found = known.iter().find(|(n, _)| *n as u64 == number);
            found.map_or_else(|| number.to_string(), |(_, name)| name["SYS_".len()..].to_owned())
        }
    };
}

names! {
    SYS_read SYS_write SYS_open SYS_close SYS_stat SYS_fstat SYS_lstat SYS_poll SYS_lseek SYS_mmap
    SYS_mprotect SYS_munmap SYS_brk SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_ioctl
    SYS_pread64 SYS_pwrite64 SYS_readv SYS_writev SYS_access SYS_pipe SYS_select SYS_sched_yield
    SYS_mremap SYS_msync SYS_madvise SYS_dup SYS_dup2 SYS_pause SYS_nanosleep SYS_getitimer
    SYS_alarm SYS_setitimer SYS_getpid SYS_sendfile SYS_socket SYS_connect SYS_accept SYS_sendto
    SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_shutdown SYS_bind SYS_listen SYS_getsockname
    SYS_getpeername SYS_socketpair SYS_setsockopt SYS_getsockopt SYS_clone SYS_fork SYS_vfork
    SYS_execve SYS_exit SYS_wait4 SYS_kcmp SYS_kill SYS_uname SYS_fcntl SYS_flock SYS_fsync SYS_fdatasync
    SYS_truncate SYS_ftruncate SYS_getdents SYS_getcwd SYS_chdir SYS_fchdir SYS_rename SYS_mkdir
    SYS_rmdir SYS_creat SYS_link SYS_unlink SYS_symlink SYS_readlink SYS_chmod SYS_fchmod SYS_chown
    SYS_fchown SYS_lchown SYS_umask SYS_gettimeofday SYS_getrlimit SYS_getrusage SYS_sysinfo
    SYS_times SYS_getuid SYS_syslog SYS_getgid SYS_setuid SYS_setgid SYS_geteuid SYS_getegid
    SYS_setpgid SYS_getppid SYS_getpgrp SYS_setsid SYS_setreuid SYS_setregid SYS_getgroups
    SYS_setgroups SYS_setresuid SYS_getresuid SYS_setresgid SYS_getresgid SYS_getpgid SYS_getsid
    SYS_capget SYS_capset SYS_rt_sigpending SYS_rt_sigtimedwait SYS_rt_sigsuspend SYS_sigaltstack
    SYS_statfs SYS_fstatfs SYS_getpriority SYS_setpriority SYS_sched_getaffinity
    SYS_sched_setaffinity SYS_sched_getparam SYS_sched_getscheduler SYS_prctl SYS_arch_prctl
    SYS_setrlimit SYS_gettid SYS_futex SYS_time SYS_epoll_create SYS_getdents64 SYS_set_tid_address
    SYS_restart_syscall SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_exit_group
    SYS_epoll_wait SYS_epoll_ctl SYS_tgkill SYS_waitid SYS_inotify_init SYS_inotify_add_watch
    SYS_inotify_rm_watch SYS_openat SYS_mkdirat SYS_newfstatat SYS_unlinkat SYS_renameat
    SYS_readlinkat SYS_fchmodat SYS_faccessat SYS_pselect6 SYS_ppoll SYS_set_robust_list
    SYS_get_robust_list SYS_utimensat SYS_epoll_pwait SYS_eventfd SYS_signalfd4 SYS_eventfd2
    SYS_epoll_create1 SYS_dup3 SYS_pipe2 SYS_inotify_init1 SYS_preadv SYS_pwritev SYS_prlimit64
    SYS_sendmmsg SYS_getcpu SYS_sched_setattr SYS_sched_getattr SYS_renameat2 SYS_seccomp
    SYS_getrandom SYS_memfd_create SYS_membarrier SYS_copy_file_range SYS_statx SYS_rseq
    SYS_pidfd_send_signal SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register SYS_pidfd_open
    SYS_clone3 SYS_close_range SYS_openat2 SYS_faccessat2 SYS_epoll_pwait2
    SYS_landlock_create_ruleset SYS_mlock SYS_munlock SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect
}

/// Which argument of a call is a path, if one is.
pub fn path_argument(name: &str) -> Option<usize> {
    match name {
        "openat" | "newfstatat" | "unlinkat" | "readlinkat" | "statx" | "faccessat" | "mkdirat"
        | "faccessat2" | "inotify_add_watch" => Some(1),
        "open" | "stat" | "lstat" | "access" | "chdir" | "rename" | "mkdir" | "unlink"
        | "readlink" | "execve" | "chmod" => Some(0),
        _ => None,
    }
}

/// Whether the first argument of a call is a descriptor.
pub fn takes_descriptor(name: &str) -> bool {
    [
        "read",
        "write",
        "readv",
        "writev",
        "pread64",
        "pwrite64",
        "close",
        "fcntl",
        "flock",
        "ioctl",
        "fchmod",
        "ftruncate",
        "getdents64",
        "sendto",
        "recvfrom",
        "lseek",
        "dup2",
        "dup3",
    ]
    .contains(&name)
}
