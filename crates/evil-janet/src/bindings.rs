//! The types, constants and functions of `janet.h` that janetrs and kqnet use.
//!
//! They are written by hand, and compared with the installed header by the C compiler at build time: build/check.rs reads this
//! file, which therefore keeps to a plain form: `pub type`, `pub const`, `pub struct`, `pub union`, `pub fn` and
//! `pub static`, with `#[cfg(NAME)]` for what only some Janets have. The constants of a C enum are named ENUM_CONSTANT.
//! A name of the form `Type_field` stands for the type of that field, which has no name in C; it comes before the type.
//! Of a struct that check.rs names in `MAY_BE_LONGER` only the first fields are here. Rust sees it behind pointers only.

use core::ffi::{c_char, c_int, c_longlong, c_uint, c_void};

// Values: one of three layouts. Rust looks into none of them.

#[cfg(nanbox_64)]
#[repr(C)]
#[derive(Clone, Copy)]
pub union Janet {
    pub u64: u64,
    pub i64: i64,
    pub number: f64,
    pub pointer: *mut c_void,
}

#[cfg(nanbox_32)]
#[repr(C)]
#[derive(Clone, Copy)]
pub union Janet {
    pub number: f64,
    pub u64: u64,
}

#[cfg(no_nanbox)]
#[repr(C)]
#[derive(Clone, Copy)]
pub union Janet_as {
    pub u64: u64,
    pub number: f64,
    pub integer: i32,
    pub pointer: *mut c_void,
    pub cpointer: *const c_void,
}

#[cfg(no_nanbox)]
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Janet {
    pub as_: Janet_as,
    pub type_: JanetType,
}

pub type JanetType = c_uint;
pub const JanetType_JANET_NUMBER: JanetType = 0;
pub const JanetType_JANET_NIL: JanetType = 1;
pub const JanetType_JANET_BOOLEAN: JanetType = 2;
pub const JanetType_JANET_FIBER: JanetType = 3;
pub const JanetType_JANET_STRING: JanetType = 4;
pub const JanetType_JANET_SYMBOL: JanetType = 5;
pub const JanetType_JANET_KEYWORD: JanetType = 6;
pub const JanetType_JANET_ARRAY: JanetType = 7;
pub const JanetType_JANET_TUPLE: JanetType = 8;
pub const JanetType_JANET_TABLE: JanetType = 9;
pub const JanetType_JANET_STRUCT: JanetType = 10;
pub const JanetType_JANET_BUFFER: JanetType = 11;
pub const JanetType_JANET_FUNCTION: JanetType = 12;
pub const JanetType_JANET_CFUNCTION: JanetType = 13;
pub const JanetType_JANET_ABSTRACT: JanetType = 14;
pub const JanetType_JANET_POINTER: JanetType = 15;

pub type JanetString = *const u8;
pub type JanetSymbol = *const u8;
pub type JanetKeyword = *const u8;
pub type JanetTuple = *const Janet;
pub type JanetStruct = *const JanetKV;
pub type JanetAbstract = *mut c_void;
pub type JanetCFunction = Option<unsafe extern "C-unwind" fn(argc: i32, argv: *mut Janet) -> Janet>;

// What values point to.

pub type JanetAtomicInt = i32;

#[repr(C)]
#[derive(Clone, Copy)]
pub union JanetGCObject_data {
    pub next: *mut JanetGCObject,
    pub refcount: JanetAtomicInt,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetGCObject {
    pub flags: i32,
    pub data: JanetGCObject_data,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetKV {
    pub key: Janet,
    pub value: Janet,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetArray {
    pub gc: JanetGCObject,
    pub count: i32,
    pub capacity: i32,
    pub data: *mut Janet,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetBuffer {
    pub gc: JanetGCObject,
    pub count: i32,
    pub capacity: i32,
    pub data: *mut u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetTable {
    pub gc: JanetGCObject,
    pub count: i32,
    pub capacity: i32,
    pub deleted: i32,
    pub data: *mut JanetKV,
    pub proto: *mut JanetTable,
}

#[repr(C)]
pub struct JanetStringHead {
    pub gc: JanetGCObject,
    pub length: i32,
    pub hash: i32,
    pub data: [u8; 0],
}

#[repr(C)]
pub struct JanetTupleHead {
    pub gc: JanetGCObject,
    pub length: i32,
    pub hash: i32,
    pub sm_line: i32,
    pub sm_column: i32,
    pub data: [Janet; 0],
}

#[repr(C)]
pub struct JanetStructHead {
    pub gc: JanetGCObject,
    pub length: i32,
    pub hash: i32,
    pub capacity: i32,
    pub proto: *const JanetKV,
    pub data: [JanetKV; 0],
}

#[repr(C)]
pub struct JanetAbstractHead {
    pub gc: JanetGCObject,
    pub type_: *const JanetAbstractType,
    pub size: usize,
    pub data: [c_longlong; 0],
}

#[repr(C)]
pub struct JanetFunction {
    pub gc: JanetGCObject,
    pub def: *mut JanetFuncDef,
}

#[repr(C)]
pub struct JanetFuncDef {
    pub gc: JanetGCObject,
    pub environments: *mut i32,
    pub constants: *mut Janet,
    pub defs: *mut *mut JanetFuncDef,
    pub bytecode: *mut u32,
    pub closure_bitset: *mut u32,
    pub sourcemap: *mut JanetSourceMapping,
    pub source: JanetString,
    pub name: JanetString,
    pub symbolmap: *mut JanetSymbolMap,
    pub flags: i32,
    pub slotcount: i32,
    pub arity: i32,
    pub min_arity: i32,
    pub max_arity: i32,
}

#[repr(C)]
pub struct JanetSourceMapping {
    _opaque: [u8; 0],
}

#[repr(C)]
pub struct JanetSymbolMap {
    _opaque: [u8; 0],
}

// Fibers and the event loop.

#[repr(C)]
pub struct JanetFiber {
    pub gc: JanetGCObject,
    pub flags: i32,
    pub frame: i32,
    pub stackstart: i32,
    pub stacktop: i32,
    pub capacity: i32,
    pub maxstack: i32,
    pub env: *mut JanetTable,
    pub data: *mut Janet,
    pub child: *mut JanetFiber,
    pub last_value: Janet,
    pub sched_id: u32,
    pub ev_callback: JanetEVCallback,
    pub ev_stream: *mut JanetStream,
    pub ev_state: *mut c_void,
    pub supervisor_channel: *mut c_void,
}

pub type JanetFiberStatus = c_uint;
pub const JanetFiberStatus_JANET_STATUS_DEAD: JanetFiberStatus = 0;
pub const JanetFiberStatus_JANET_STATUS_ERROR: JanetFiberStatus = 1;
pub const JanetFiberStatus_JANET_STATUS_DEBUG: JanetFiberStatus = 2;
pub const JanetFiberStatus_JANET_STATUS_PENDING: JanetFiberStatus = 3;
pub const JanetFiberStatus_JANET_STATUS_USER0: JanetFiberStatus = 4;
pub const JanetFiberStatus_JANET_STATUS_USER1: JanetFiberStatus = 5;
pub const JanetFiberStatus_JANET_STATUS_USER2: JanetFiberStatus = 6;
pub const JanetFiberStatus_JANET_STATUS_USER3: JanetFiberStatus = 7;
pub const JanetFiberStatus_JANET_STATUS_USER4: JanetFiberStatus = 8;
pub const JanetFiberStatus_JANET_STATUS_USER5: JanetFiberStatus = 9;
pub const JanetFiberStatus_JANET_STATUS_USER6: JanetFiberStatus = 10;
pub const JanetFiberStatus_JANET_STATUS_USER7: JanetFiberStatus = 11;
pub const JanetFiberStatus_JANET_STATUS_USER8: JanetFiberStatus = 12;
pub const JanetFiberStatus_JANET_STATUS_USER9: JanetFiberStatus = 13;
pub const JanetFiberStatus_JANET_STATUS_NEW: JanetFiberStatus = 14;
pub const JanetFiberStatus_JANET_STATUS_ALIVE: JanetFiberStatus = 15;

pub type JanetSignal = c_uint;
pub const JanetSignal_JANET_SIGNAL_OK: JanetSignal = 0;
pub const JanetSignal_JANET_SIGNAL_ERROR: JanetSignal = 1;
pub const JanetSignal_JANET_SIGNAL_DEBUG: JanetSignal = 2;
pub const JanetSignal_JANET_SIGNAL_YIELD: JanetSignal = 3;
pub const JanetSignal_JANET_SIGNAL_USER0: JanetSignal = 4;
pub const JanetSignal_JANET_SIGNAL_USER1: JanetSignal = 5;
pub const JanetSignal_JANET_SIGNAL_USER2: JanetSignal = 6;
pub const JanetSignal_JANET_SIGNAL_USER3: JanetSignal = 7;
pub const JanetSignal_JANET_SIGNAL_USER4: JanetSignal = 8;
pub const JanetSignal_JANET_SIGNAL_USER5: JanetSignal = 9;
pub const JanetSignal_JANET_SIGNAL_USER6: JanetSignal = 10;
pub const JanetSignal_JANET_SIGNAL_USER7: JanetSignal = 11;
pub const JanetSignal_JANET_SIGNAL_USER8: JanetSignal = 12;
pub const JanetSignal_JANET_SIGNAL_USER9: JanetSignal = 13;

pub type JanetHandle = c_int;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetStream {
    pub handle: JanetHandle,
    pub flags: u32,
    pub index: u32,
    pub read_fiber: *mut JanetFiber,
    pub write_fiber: *mut JanetFiber,
    pub methods: *const c_void,
}

pub const JANET_STREAM_CLOSED: u32 = 0x1;
pub const JANET_STREAM_SOCKET: u32 = 0x2;
pub const JANET_STREAM_READABLE: u32 = 0x200;
pub const JANET_STREAM_WRITABLE: u32 = 0x400;
pub const JANET_STREAM_ACCEPTABLE: u32 = 0x800;
pub const JANET_STREAM_UDPSERVER: u32 = 0x1000;

pub type JanetEVCallback = Option<unsafe extern "C-unwind" fn(fiber: *mut JanetFiber, event: JanetAsyncEvent)>;

pub type JanetAsyncEvent = c_uint;
pub const JanetAsyncEvent_JANET_ASYNC_EVENT_MARK: JanetAsyncEvent = 1;
pub const JanetAsyncEvent_JANET_ASYNC_EVENT_DEINIT: JanetAsyncEvent = 2;
pub const JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE: JanetAsyncEvent = 3;
pub const JanetAsyncEvent_JANET_ASYNC_EVENT_ERR: JanetAsyncEvent = 4;
pub const JanetAsyncEvent_JANET_ASYNC_EVENT_HUP: JanetAsyncEvent = 5;
pub const JanetAsyncEvent_JANET_ASYNC_EVENT_READ: JanetAsyncEvent = 6;
pub const JanetAsyncEvent_JANET_ASYNC_EVENT_WRITE: JanetAsyncEvent = 7;

pub type JanetAsyncMode = c_uint;
pub const JanetAsyncMode_JANET_ASYNC_LISTEN_READ: JanetAsyncMode = 1;
pub const JanetAsyncMode_JANET_ASYNC_LISTEN_WRITE: JanetAsyncMode = 2;

// Abstract types and functions of modules.

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetAbstractType {
    pub name: *const c_char,
    pub gc: Option<unsafe extern "C-unwind" fn(data: *mut c_void, len: usize) -> c_int>,
    pub gcmark: Option<unsafe extern "C-unwind" fn(data: *mut c_void, len: usize) -> c_int>,
    pub get: Option<unsafe extern "C-unwind" fn(data: *mut c_void, key: Janet, out: *mut Janet) -> c_int>,
    pub put: Option<unsafe extern "C-unwind" fn(data: *mut c_void, key: Janet, value: Janet)>,
    pub marshal: Option<unsafe extern "C-unwind" fn(data: *mut c_void, context: *mut JanetMarshalContext)>,
    pub unmarshal: Option<unsafe extern "C-unwind" fn(context: *mut JanetMarshalContext) -> *mut c_void>,
    pub tostring: Option<unsafe extern "C-unwind" fn(data: *mut c_void, buffer: *mut JanetBuffer)>,
    pub compare: Option<unsafe extern "C-unwind" fn(left: *mut c_void, right: *mut c_void) -> c_int>,
    pub hash: Option<unsafe extern "C-unwind" fn(data: *mut c_void, len: usize) -> i32>,
    pub next: Option<unsafe extern "C-unwind" fn(data: *mut c_void, key: Janet) -> Janet>,
    pub call: Option<unsafe extern "C-unwind" fn(data: *mut c_void, argc: i32, argv: *mut Janet) -> Janet>,
    pub length: Option<unsafe extern "C-unwind" fn(data: *mut c_void, len: usize) -> usize>,
    pub bytes: Option<unsafe extern "C-unwind" fn(data: *mut c_void, len: usize) -> JanetByteView>,
    #[cfg(gcperthread)]
    pub gcperthread: Option<unsafe extern "C-unwind" fn(data: *mut c_void, len: usize) -> c_int>,
}

#[repr(C)]
pub struct JanetMarshalContext {
    _opaque: [u8; 0],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetByteView {
    pub bytes: *const u8,
    pub len: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetMethod {
    pub name: *const c_char,
    pub cfun: JanetCFunction,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetReg {
    pub name: *const c_char,
    pub cfun: JanetCFunction,
    pub documentation: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetRegExt {
    pub name: *const c_char,
    pub cfun: JanetCFunction,
    pub documentation: *const c_char,
    pub source_file: *const c_char,
    pub source_line: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetBuildConfig {
    pub major: c_uint,
    pub minor: c_uint,
    pub patch: c_uint,
    pub bits: c_uint,
}

pub type JanetBindingType = c_uint;

pub const JANET_BUFFER_FLAG_NO_REALLOC: u32 = 0x10000;

pub const JANET_SANDBOX_NET_LISTEN: u32 = 8;
pub const JANET_SANDBOX_FS_WRITE: u32 = 32;
pub const JANET_SANDBOX_SUBPROCESS: u32 = 2;
pub const JANET_SANDBOX_FS_READ: u32 = 64;
pub const JANET_SANDBOX_FS_TEMP: u32 = 1024;

// Files and random numbers.

#[repr(C)]
pub struct FILE {
    _opaque: [u8; 0],
}

/// Newer headers add a third field, and janetrs makes one with these two, in code that is not called here.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct JanetFile {
    pub file: *mut FILE,
    pub flags: i32,
}

pub const JANET_FILE_WRITE: u32 = 1;
pub const JANET_FILE_READ: u32 = 2;
pub const JANET_FILE_APPEND: u32 = 4;
pub const JANET_FILE_UPDATE: u32 = 8;
pub const JANET_FILE_NOT_CLOSEABLE: u32 = 16;
pub const JANET_FILE_CLOSED: u32 = 32;
pub const JANET_FILE_BINARY: u32 = 64;
pub const JANET_FILE_SERIALIZABLE: u32 = 128;
pub const JANET_FILE_NONIL: u32 = 512;

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct JanetRNG {
    pub a: u32,
    pub b: u32,
    pub c: u32,
    pub d: u32,
    pub counter: u32,
}

// A function that raises leaves by longjmp, and a callback may unwind.
unsafe extern "C-unwind" {
    // Values.
    pub fn janet_bytes_view(text: Janet, data: *mut *const u8, len: *mut i32) -> c_int;
    pub fn janet_checktype(x: Janet, kind: JanetType) -> c_int;
    pub fn janet_compare(x: Janet, y: Janet) -> c_int;
    pub fn janet_dictionary_view(tab: Janet, data: *mut *const JanetKV, len: *mut i32, cap: *mut i32) -> c_int;
    pub fn janet_equals(x: Janet, y: Janet) -> c_int;
    pub fn janet_get(ds: Janet, key: Janet) -> Janet;
    pub fn janet_hash(x: Janet) -> i32;
    pub fn janet_indexed_view(seq: Janet, data: *mut *const Janet, len: *mut i32) -> c_int;
    pub fn janet_truthy(x: Janet) -> c_int;
    pub fn janet_type(x: Janet) -> JanetType;
    pub fn janet_unwrap_abstract(x: Janet) -> JanetAbstract;
    pub fn janet_unwrap_array(x: Janet) -> *mut JanetArray;
    pub fn janet_unwrap_boolean(x: Janet) -> c_int;
    pub fn janet_unwrap_buffer(x: Janet) -> *mut JanetBuffer;
    pub fn janet_unwrap_cfunction(x: Janet) -> JanetCFunction;
    pub fn janet_unwrap_fiber(x: Janet) -> *mut JanetFiber;
    pub fn janet_unwrap_function(x: Janet) -> *mut JanetFunction;
    pub fn janet_unwrap_keyword(x: Janet) -> JanetKeyword;
    pub fn janet_unwrap_number(x: Janet) -> f64;
    pub fn janet_unwrap_pointer(x: Janet) -> *mut c_void;
    pub fn janet_unwrap_string(x: Janet) -> JanetString;
    pub fn janet_unwrap_struct(x: Janet) -> JanetStruct;
    pub fn janet_unwrap_symbol(x: Janet) -> JanetSymbol;
    pub fn janet_unwrap_table(x: Janet) -> *mut JanetTable;
    pub fn janet_unwrap_tuple(x: Janet) -> JanetTuple;
    pub fn janet_wrap_abstract(x: JanetAbstract) -> Janet;
    pub fn janet_wrap_array(x: *mut JanetArray) -> Janet;
    pub fn janet_wrap_boolean(x: c_int) -> Janet;
    pub fn janet_wrap_buffer(x: *mut JanetBuffer) -> Janet;
    pub fn janet_wrap_cfunction(x: JanetCFunction) -> Janet;
    pub fn janet_wrap_fiber(x: *mut JanetFiber) -> Janet;
    pub fn janet_wrap_function(x: *mut JanetFunction) -> Janet;
    pub fn janet_wrap_integer(x: i32) -> Janet;
    pub fn janet_wrap_keyword(x: JanetKeyword) -> Janet;
    pub fn janet_wrap_nil() -> Janet;
    pub fn janet_wrap_number(x: f64) -> Janet;
    pub fn janet_wrap_pointer(x: *mut c_void) -> Janet;
    pub fn janet_wrap_string(x: JanetString) -> Janet;
    pub fn janet_wrap_struct(x: JanetStruct) -> Janet;
    pub fn janet_wrap_symbol(x: JanetSymbol) -> Janet;
    pub fn janet_wrap_table(x: *mut JanetTable) -> Janet;
    pub fn janet_wrap_true() -> Janet;
    pub fn janet_wrap_tuple(x: JanetTuple) -> Janet;

    // Arrays and tuples.
    pub fn janet_array(capacity: i32) -> *mut JanetArray;
    pub fn janet_array_ensure(array: *mut JanetArray, capacity: i32, growth: i32);
    pub fn janet_array_n(elements: *const Janet, n: i32) -> *mut JanetArray;
    pub fn janet_array_peek(array: *mut JanetArray) -> Janet;
    pub fn janet_array_pop(array: *mut JanetArray) -> Janet;
    pub fn janet_array_push(array: *mut JanetArray, x: Janet);
    pub fn janet_array_setcount(array: *mut JanetArray, count: i32);
    pub fn janet_array_weak(capacity: i32) -> *mut JanetArray;
    pub fn janet_tuple_begin(length: i32) -> *mut Janet;
    pub fn janet_tuple_end(tuple: *mut Janet) -> JanetTuple;
    pub fn janet_tuple_head(tuple: JanetTuple) -> *mut JanetTupleHead;
    pub fn janet_tuple_n(values: *const Janet, n: i32) -> JanetTuple;

    // Buffers, strings and symbols.
    pub fn janet_buffer(capacity: i32) -> *mut JanetBuffer;
    pub fn janet_buffer_ensure(buffer: *mut JanetBuffer, capacity: i32, growth: i32);
    pub fn janet_buffer_extra(buffer: *mut JanetBuffer, n: i32);
    pub fn janet_buffer_push_bytes(buffer: *mut JanetBuffer, string: *const u8, len: i32);
    pub fn janet_buffer_push_cstring(buffer: *mut JanetBuffer, cstring: *const c_char);
    pub fn janet_buffer_push_string(buffer: *mut JanetBuffer, string: JanetString);
    pub fn janet_buffer_push_u16(buffer: *mut JanetBuffer, x: u16);
    pub fn janet_buffer_push_u32(buffer: *mut JanetBuffer, x: u32);
    pub fn janet_buffer_push_u64(buffer: *mut JanetBuffer, x: u64);
    pub fn janet_buffer_push_u8(buffer: *mut JanetBuffer, x: u8);
    pub fn janet_buffer_setcount(buffer: *mut JanetBuffer, count: i32);
    pub fn janet_csymbol(text: *const c_char) -> JanetSymbol;
    pub fn janet_string(buf: *const u8, len: i32) -> JanetString;
    pub fn janet_string_begin(length: i32) -> *mut u8;
    pub fn janet_string_compare(lhs: JanetString, rhs: JanetString) -> c_int;
    pub fn janet_string_end(text: *mut u8) -> JanetString;
    pub fn janet_string_equal(lhs: JanetString, rhs: JanetString) -> c_int;
    pub fn janet_string_head(s: JanetString) -> *mut JanetStringHead;
    pub fn janet_symbol(text: *const u8, len: i32) -> JanetSymbol;
    pub fn janet_symbol_gen() -> JanetSymbol;

    // Tables and structs.
    pub fn janet_struct_begin(count: i32) -> *mut JanetKV;
    pub fn janet_struct_end(st: *mut JanetKV) -> JanetStruct;
    pub fn janet_struct_find(st: JanetStruct, key: Janet) -> *const JanetKV;
    pub fn janet_struct_get(st: JanetStruct, key: Janet) -> Janet;
    pub fn janet_struct_head(st: JanetStruct) -> *mut JanetStructHead;
    pub fn janet_struct_put(st: *mut JanetKV, key: Janet, value: Janet);
    pub fn janet_table(capacity: i32) -> *mut JanetTable;
    pub fn janet_table_clear(table: *mut JanetTable);
    pub fn janet_table_clone(table: *mut JanetTable) -> *mut JanetTable;
    pub fn janet_table_find(t: *mut JanetTable, key: Janet) -> *mut JanetKV;
    pub fn janet_table_get(t: *mut JanetTable, key: Janet) -> Janet;
    pub fn janet_table_merge_table(table: *mut JanetTable, other: *mut JanetTable);
    pub fn janet_table_put(t: *mut JanetTable, key: Janet, value: Janet);
    pub fn janet_table_rawget(t: *mut JanetTable, key: Janet) -> Janet;
    pub fn janet_table_remove(t: *mut JanetTable, key: Janet) -> Janet;
    pub fn janet_table_weakk(capacity: i32) -> *mut JanetTable;
    pub fn janet_table_weakkv(capacity: i32) -> *mut JanetTable;

    // Functions and fibers.
    pub fn janet_call(fun: *mut JanetFunction, argc: i32, argv: *const Janet) -> Janet;
    pub fn janet_continue(fiber: *mut JanetFiber, value: Janet, out: *mut Janet) -> JanetSignal;
    pub fn janet_current_fiber() -> *mut JanetFiber;
    pub fn janet_fiber(callee: *mut JanetFunction, capacity: i32, argc: i32, argv: *const Janet) -> *mut JanetFiber;
    pub fn janet_fiber_can_resume(fiber: *mut JanetFiber) -> c_int;
    pub fn janet_fiber_status(fiber: *mut JanetFiber) -> JanetFiberStatus;
    pub fn janet_pcall(
        fun: *mut JanetFunction,
        argn: i32,
        argv: *const Janet,
        out: *mut Janet,
        f: *mut *mut JanetFiber,
    ) -> JanetSignal;
    pub fn janet_root_fiber() -> *mut JanetFiber;
    pub fn janet_stacktrace(fiber: *mut JanetFiber, err: Janet);
    pub fn janet_thunk_delay(x: Janet) -> *mut JanetFunction;

    // The event loop.
    pub fn janet_addtimeout(sec: f64);
    pub fn janet_async_end(fiber: *mut JanetFiber);
    pub fn janet_async_start_fiber(
        fiber: *mut JanetFiber,
        stream: *mut JanetStream,
        mode: JanetAsyncMode,
        callback: JanetEVCallback,
        state: *mut c_void,
    );
    pub fn janet_ev_dec_refcount();
    pub fn janet_ev_inc_refcount();
    pub fn janet_schedule(fiber: *mut JanetFiber, value: Janet);
    pub fn janet_schedule_signal(fiber: *mut JanetFiber, value: Janet, sig: JanetSignal);

    // Abstract types.
    pub fn janet_abstract(kind: *const JanetAbstractType, size: usize) -> JanetAbstract;
    pub fn janet_abstract_head(data: *const c_void) -> *mut JanetAbstractHead;
    pub fn janet_abstract_threaded(atype: *const JanetAbstractType, size: usize) -> *mut c_void;
    pub fn janet_checkabstract(x: Janet, at: *const JanetAbstractType) -> JanetAbstract;
    pub fn janet_get_abstract_type(key: Janet) -> *const JanetAbstractType;
    pub fn janet_register_abstract_type(at: *const JanetAbstractType);

    // Environments.
    pub fn janet_cfuns(env: *mut JanetTable, regprefix: *const c_char, cfuns: *const JanetReg);
    pub fn janet_cfuns_ext(env: *mut JanetTable, regprefix: *const c_char, cfuns: *const JanetRegExt);
    pub fn janet_cfuns_ext_prefix(env: *mut JanetTable, regprefix: *const c_char, cfuns: *const JanetRegExt);
    pub fn janet_cfuns_prefix(env: *mut JanetTable, regprefix: *const c_char, cfuns: *const JanetReg);
    pub fn janet_core_env(replacements: *mut JanetTable) -> *mut JanetTable;
    pub fn janet_def(env: *mut JanetTable, name: *const c_char, value: Janet, documentation: *const c_char);
    pub fn janet_dyn(name: *const c_char) -> Janet;
    pub fn janet_resolve(env: *mut JanetTable, sym: JanetSymbol, out: *mut Janet) -> JanetBindingType;
    pub fn janet_resolve_core(name: *const c_char) -> Janet;
    pub fn janet_setdyn(name: *const c_char, value: Janet);

    // Memory.
    pub fn janet_collect();
    pub fn janet_free(data: *mut c_void);
    pub fn janet_gclock() -> c_int;
    pub fn janet_gcpressure(s: usize);
    pub fn janet_gcroot(root: Janet);
    pub fn janet_gcunlock(handle: c_int);
    pub fn janet_gcunroot(root: Janet) -> c_int;
    pub fn janet_malloc(size: usize) -> *mut c_void;
    pub fn janet_mark(x: Janet);
    pub fn janet_scalloc(nmemb: usize, size: usize) -> *mut c_void;
    pub fn janet_sfree(mem: *mut c_void);
    pub fn janet_smalloc(size: usize) -> *mut c_void;
    pub fn janet_srealloc(mem: *mut c_void, size: usize) -> *mut c_void;

    // Files and random numbers.
    pub fn janet_default_rng() -> *mut JanetRNG;
    pub fn janet_makefile(f: *mut FILE, flags: i32) -> Janet;
    pub fn janet_rng_longseed(rng: *mut JanetRNG, bytes: *const u8, len: i32);
    pub fn janet_rng_seed(rng: *mut JanetRNG, seed: u32);
    pub fn janet_rng_u32(rng: *mut JanetRNG) -> u32;
    pub static janet_channel_type: JanetAbstractType;
    pub static janet_file_type: JanetAbstractType;
    pub static janet_rng_type: JanetAbstractType;
    pub static janet_s64_type: JanetAbstractType;
    pub static janet_stream_type: JanetAbstractType;
    pub static janet_u64_type: JanetAbstractType;
}
