//! Rust values that Janet's collector owns: making them, finding them in arguments, and dropping them.
//!
//! The invariant that all users of this file rely on: Janet collects only while its own code runs, and no native function
//! of this module runs Janet code. So a value that was reachable when a native function or a callback began stays alive
//! until it returns.
//!
//! A type that is changed after it was made is kept in a `RefCell`, so that there are never two mutable references to a
//! value: borrowing it a second time is a panic, which src/boundary.rs turns into a Janet error.

use std::ffi::c_void;

use janetrs::Janet;
use janetrs::lowlevel as c;

use crate::abstract_type::AbstractType;
use crate::boundary::catch_panic;
use crate::value::describe;

/// A type whose values are abstract values of Janet.
///
/// # Safety
/// Only values of this type are made with the Janet type that it names, and the `gc` function of that Janet type, if it
/// has one, is [`drop_collected`] for this type.
pub unsafe trait Collected: Sized + 'static {
    /// The Janet type of the values.
    fn janet_type() -> &'static AbstractType;
}

/// Moves a value into Janet's memory. It is collected unless it is returned to Janet or kept reachable.
pub fn make<T: Collected>(value: T) -> *mut T {
    // SAFETY: janet_abstract returns memory of the requested size that is aligned for any type, and it is filled before
    // anything can look at it.
    unsafe {
        let address: *mut T = c::janet_abstract(&raw const T::janet_type().0, size_of::<T>()).cast();
        address.write(value);
        address
    }
}

/// Moves a value into memory that the VMs of several threads may share.
pub fn make_shared<T: Collected + Sync>(value: T) -> *mut T {
    // SAFETY: the memory is like that of `make`, and the type may be used from several threads at once.
    unsafe {
        let address: *mut T = c::janet_abstract_threaded(&raw const T::janet_type().0, size_of::<T>()).cast();
        address.write(value);
        address
    }
}

/// The Janet value for one that was made by [`make`] or [`make_shared`].
pub fn wrap<T: Collected>(address: *mut T) -> Janet {
    // SAFETY: wrapping only copies the address.
    unsafe { c::janet_wrap_abstract(address.cast()) }.into()
}

/// The value of type `T` in a Janet value, or `None` if the Janet value is something else.
pub fn of<T: Collected>(value: &Janet) -> Option<&T> {
    // SAFETY: the type is checked, so that this is a `T` ([`Collected`]). It stays alive until the native function returns
    // (the invariant of this file), and no mutable reference to it exists outside of a `RefCell`.
    unsafe { c::janet_checkabstract((*value).into(), &raw const T::janet_type().0).cast::<T>().as_ref() }
}

/// Like [`of`], for an argument of a native function.
///
/// # Errors
/// Returns an error that says what the argument is, if it is not what was `expected`.
pub fn expect<'a, T: Collected>(value: &'a Janet, expected: &str) -> Result<&'a T, String> {
    of(value).ok_or_else(|| format!("expected {expected}, got {}", describe(*value)))
}

/// Like [`expect`], for the first argument.
pub fn first<'a, T: Collected>(args: &'a [Janet], expected: &str) -> Result<&'a T, String> {
    match args.first() {
        Some(value) => expect(value, expected),
        None => Err(format!("expected {expected}, got nothing")),
    }
}

/// Marks a value for the collector.
///
/// # Safety
/// The value is alive, and the collector is asking for what is reachable.
pub unsafe fn mark<T: Collected>(address: *const T) {
    // SAFETY: the caller promises both.
    unsafe { c::janet_mark(c::janet_wrap_abstract(address.cast_mut().cast())) };
}

/// Drops a value of type `T` that nothing refers to any more. This is the `gc` function of the Janet types.
pub unsafe extern "C-unwind" fn drop_collected<T: Collected>(data: *mut c_void, _size: usize) -> i32 {
    catch_panic("collecting a value", || {
        // SAFETY: Janet passes the memory that `make` or `make_shared` filled, and does so once.
        unsafe { data.cast::<T>().drop_in_place() }
    });
    0
}
