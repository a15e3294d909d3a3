//! Sets the cfg `kqueue` where the queue is kqueue: on the systems that have it, and in tests on its emulation.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(kqueue)");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let has_kqueue = matches!(os.as_str(), "macos" | "ios" | "freebsd" | "netbsd" | "openbsd" | "dragonfly");
    if has_kqueue || std::env::var_os("CARGO_FEATURE_EMULATED_KQUEUE").is_some() {
        println!("cargo::rustc-cfg=kqueue");
    }
}
