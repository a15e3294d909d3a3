//! macOS's proc_pidinfo(3), which dev/kqueue-emu provides in tests on Linux.
#![allow(non_camel_case_types, missing_docs)]

use std::ffi::{c_int, c_void};

pub const PROC_PIDLISTFDS: c_int = 1;
pub const PROC_PIDTASKINFO: c_int = 4;

#[derive(Clone, Debug)]
#[repr(C)]
pub struct proc_fdinfo {
    pub proc_fd: i32,
    pub proc_fdtype: u32,
}

#[repr(C)]
pub struct proc_taskinfo {
    pub sizes_and_times: [u64; 6],
    pub counts: [i32; 9],
    pub pti_threadnum: i32,
    pub more_counts: [i32; 2],
}

unsafe extern "C" {
    pub fn proc_pidinfo(pid: c_int, flavor: c_int, arg: u64, buffer: *mut c_void, buffersize: c_int) -> c_int;
}
