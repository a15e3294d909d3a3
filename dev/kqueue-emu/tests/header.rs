//! The C header says what the library does: compiled by the system's C compiler and linked with the shared library.

use std::path::{Path, PathBuf};
use std::process::Command;

use kqueue_emu::kevent::*;

const PROGRAM: &str = r#"
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/event.h>

#define SHOW(value) printf(#value " %lld\n", (long long) (value))

int main(void) {
    SHOW(sizeof(struct kevent));
    SHOW(offsetof(struct kevent, ident));
    SHOW(offsetof(struct kevent, filter));
    SHOW(offsetof(struct kevent, flags));
    SHOW(offsetof(struct kevent, fflags));
    SHOW(offsetof(struct kevent, data));
    SHOW(offsetof(struct kevent, udata));
    SHOW(EVFILT_READ); SHOW(EVFILT_WRITE); SHOW(EVFILT_TIMER); SHOW(EVFILT_USER);
    SHOW(EV_ADD); SHOW(EV_DELETE); SHOW(EV_ENABLE); SHOW(EV_DISABLE); SHOW(EV_ONESHOT); SHOW(EV_CLEAR);
    SHOW(EV_RECEIPT); SHOW(EV_DISPATCH); SHOW(EV_SYSFLAGS); SHOW(EV_ERROR); SHOW(EV_EOF);
    SHOW(NOTE_SECONDS); SHOW(NOTE_USECONDS); SHOW(NOTE_NSECONDS); SHOW(NOTE_TRIGGER);
    SHOW(NOTE_FFNOP); SHOW(NOTE_FFAND); SHOW(NOTE_FFOR); SHOW(NOTE_FFCOPY);
    SHOW(NOTE_FFCTRLMASK); SHOW(NOTE_FFLAGSMASK);

    int pipes[2], kq = kqueue();
    char name[] = "udata";
    struct kevent event;
    struct timespec now = {0, 0};
    if (kq < 0 || pipe(pipes)) return 1;
    EV_SET(&event, pipes[0], EVFILT_READ, EV_ADD | EV_ENABLE | EV_CLEAR, 0, 0, name);
    if (kevent(kq, &event, 1, NULL, 0, NULL)) return 2;
    if (kevent(kq, NULL, 0, &event, 1, &now)) return 3;
    if (write(pipes[1], "abc", 3) != 3) return 4;
    if (kevent(kq, NULL, 0, &event, 1, NULL) != 1) return 5;
    if (event.ident != (uintptr_t) pipes[0] || event.data != 3 || strcmp(event.udata, name)) return 6;
    /* The program's close() is the library's. */
    int copy = dup(pipes[0]);
    if (close(pipes[0]) || write(pipes[1], "d", 1) != 1) return 7;
    if (kevent(kq, NULL, 0, &event, 1, &now)) return 8;
    return close(kq) || close(copy) || kevent(kq, NULL, 0, &event, 1, &now) != -1;
}
"#;

/// The folder that the shared library of this build is in: that of the test program itself.
fn library_folder() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

#[test]
fn c_program_sees_the_same_layout_and_values_and_works() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (folder.join("header.c"), folder.join("header"));
    std::fs::write(&source, PROGRAM).unwrap();
    let library = library_folder();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let compiled = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Werror", "-o"])
        .args([&program, &source])
        .arg("-I")
        .arg(&include)
        .arg("-L")
        .arg(&library)
        .arg("-lkqueue_emu")
        .status()
        .unwrap();
    assert!(compiled.success());
    let output = Command::new(&program).env("LD_LIBRARY_PATH", &library).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let mut expected = format!("sizeof(struct kevent) {}\n", size_of::<Kevent>());
    let offsets = [
        ("ident", std::mem::offset_of!(Kevent, ident)),
        ("filter", std::mem::offset_of!(Kevent, filter)),
        ("flags", std::mem::offset_of!(Kevent, flags)),
        ("fflags", std::mem::offset_of!(Kevent, fflags)),
        ("data", std::mem::offset_of!(Kevent, data)),
        ("udata", std::mem::offset_of!(Kevent, udata)),
    ];
    for (field, offset) in offsets {
        expected += &format!("offsetof(struct kevent, {field}) {offset}\n");
    }
    macro_rules! values {
        ($($name:ident)*) => {
            $(expected += &format!("{} {}\n", stringify!($name), i64::from($name));)*
        };
    }
    values!(
        EVFILT_READ EVFILT_WRITE EVFILT_TIMER EVFILT_USER
        EV_ADD EV_DELETE EV_ENABLE EV_DISABLE EV_ONESHOT EV_CLEAR EV_RECEIPT EV_DISPATCH EV_SYSFLAGS EV_ERROR EV_EOF
        NOTE_SECONDS NOTE_USECONDS NOTE_NSECONDS NOTE_TRIGGER
        NOTE_FFNOP NOTE_FFAND NOTE_FFOR NOTE_FFCOPY NOTE_FFCTRLMASK NOTE_FFLAGSMASK
    );
    assert_eq!(shown, expected);
}
