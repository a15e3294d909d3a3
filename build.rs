//! Compiles the C trampolines against the installed janet.h, and sets the cfg `kqueue` as crates/accept/build.rs does.

fn main() {
    println!("cargo::rerun-if-changed=src/trampoline.c");
    let Ok(include) = std::env::var("DEP_JANET_HEADER_INCLUDE") else {
        println!("cargo::error=crates/evil-janet did not say where janet.h is");
        return;
    };
    let compiled = cc::Build::new()
        .file("src/trampoline.c")
        .include(include)
        .warnings(true)
        .extra_warnings(false)
        .try_compile("trampoline");
    if let Err(why) = compiled {
        println!("cargo::error=src/trampoline.c does not compile: {why}");
        return;
    }
    println!("cargo::rustc-check-cfg=cfg(kqueue)");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os != "linux" || std::env::var_os("CARGO_FEATURE_EMULATED_KQUEUE").is_some() {
        println!("cargo::rustc-cfg=kqueue");
    }
    if std::env::var("CARGO_CFG_TARGET_VENDOR").as_deref() == Ok("apple") {
        // The host program has Janet's functions; macOS's linker wants to be told that this is meant.
        println!("cargo::rustc-cdylib-link-arg=-undefined");
        println!("cargo::rustc-cdylib-link-arg=dynamic_lookup");
    }
}
