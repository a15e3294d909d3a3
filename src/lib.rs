//! The native half of kqnet: Janet's C API on one side, the crates on the other.
//!
//! [`functions`] holds what Janet calls, [`vm`] the event queue of a Janet VM and what happens when it is ready,
//! [`listener`] what is known of a listening stream, [`http`] HTTP connections, [`files`] the folders and files that
//! they serve, and [`deadlines`] their timeouts, [`stream`] how descriptors become streams, [`fork`] what belongs to
//! which process, and [`boundary`] what crosses from C and back. The public face is in `janet/kqnet`.

mod abstract_type;
mod boundary;
mod buffer;
mod deadlines;
mod files;
mod fork;
mod functions;
mod http;
mod listener;
mod message;
mod stream;
mod value;
mod vm;

use janetrs::lowlevel as c;

unsafe extern "C-unwind" {
    fn kqnet_register(env: *mut c::JanetTable);
    fn kqnet_build_config() -> c::JanetBuildConfig;
}

/// Says which Janet this module was built for; a host of another refuses to load it.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _janet_mod_config() -> c::JanetBuildConfig {
    // SAFETY: it takes nothing and gives numbers.
    unsafe { kqnet_build_config() }
}

/// Puts the functions into a module's environment.
///
/// # Safety
/// Janet calls it with a live table, on a thread with an initialized VM.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _janet_init(env: *mut c::JanetTable) {
    fork::watch();
    stream::resolve_methods();
    // SAFETY: `env` is what Janet gave us. It may raise, and no frame above has anything to drop.
    unsafe { kqnet_register(env) }
}

/// The same for an executable that has the module linked into it. Such a program may have several native modules, so
/// this name is the module's own. `_native.meta.janet` tells it to jpm and janet-pm (bundle/archive.janet).
///
/// # Safety
/// As for [`_janet_init`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn janet_module_entry_kqnet_native(env: *mut c::JanetTable) {
    // SAFETY: the caller promises what `_janet_init` needs.
    unsafe { _janet_init(env) }
}
