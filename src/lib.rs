//! The native half of kqnet, between Janet's C API on one side and the crates on the other. The public face is in `janet/kqnet`.
//!
//! From the outside in:
//!
//! - [`functions`] is the list of the functions that Janet code calls, and has those for listeners;
//! - [`http`] has those for HTTP connections;
//! - [`files`] has those for the folders and files that an HTTP server serves;
//! - [`proxies`] tells which proxies are trusted, and where a connection comes from;
//! - [`waiter`] is the fiber that waits for connections;
//! - [`listeners`] are the listeners of a VM;
//! - [`vm`] is what a VM has once: its event queue and its tables;
//! - [`deliver`] gives an accepted connection to a handler;
//! - [`listener`] is what is known of one listener;
//! - [`deadlines`] are the timeouts of waiting fibers;
//! - [`pushes`] are the connections whose responses may be held back;
//! - [`file_responses`] has what is made once for responses with files;
//! - [`request_layouts`], [`header_tables`] and [`table_layout`] make tables by copying prepared ones, and [`spare_tables`] saves
//!   them from being allocated;
//! - [`response_heads`] are beginnings of responses that came before;
//! - [`common_strings`] and [`keys`] are strings and keywords that are made once;
//! - [`options`], [`stream`], [`buffer`] and [`collected`] read and make Janet values;
//! - [`boundary`] is how Janet calls Rust;
//! - [`value`] and [`abstract_type`] are for Janet values of every kind;
//! - [`shared`] is the memory that the workers of a supervisor share;
//! - [`fork`] tells what belongs to which process, and [`message`] writes to stderr.
//!
//! A file may use only the files that come after it in this list. The files in a folder may use one another.

mod abstract_type;
mod boundary;
mod buffer;
mod collected;
mod common_strings;
mod deadlines;
mod deliver;
mod file_responses;
mod files;
mod fork;
mod functions;
mod header_tables;
mod http;
mod keys;
mod listener;
mod listeners;
mod message;
mod options;
mod proxies;
mod pushes;
mod request_layouts;
mod response_heads;
mod shared;
mod spare_tables;
mod stream;
mod table_layout;
mod value;
mod vm;
mod waiter;

use janetrs::lowlevel as c;

unsafe extern "C-unwind" {
    fn kqnet_build_config() -> c::JanetBuildConfig;
}

/// Returns which Janet this module was built for. Another Janet refuses to load it.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _janet_mod_config() -> c::JanetBuildConfig {
    // SAFETY: it takes no arguments and returns numbers.
    unsafe { kqnet_build_config() }
}

/// Puts the functions into a module's environment.
///
/// # Safety
/// Janet calls it with a live table, on a thread with an initialized VM.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _janet_init(env: *mut c::JanetTable) {
    fork::watch(|| {
        shared::separate();
        listeners::drop_handlers();
    });
    functions::worker::begin();
    stream::methods::resolve(&functions::stream_methods());
    // SAFETY: Janet gives a live table.
    unsafe { functions::register(env) };
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
