//! Options that several commands share.

use kqnet_hosts::{Host, KERNELS, Result};
use lexopt::{Arg, Parser, ValueExt};

/// `--janet V --loop L --kernel K --no-nanbox --asan`.
pub struct HostOptions {
    /// The interpreter they choose.
    pub host: Host,
}

impl HostOptions {
    /// Reads the options of a command that has no others.
    pub fn parse(mut args: Parser) -> Result<Self> {
        let mut host = Host::default();
        while let Some(arg) = args.next().map_err(|e| e.to_string())? {
            match arg {
                Arg::Long("janet") => host.version = Host::version_named(&text(&mut args)?)?,
                Arg::Long("loop") => host.event_loop = Host::loop_named(&text(&mut args)?)?,
                Arg::Long("kernel") => host.kernel = Some(Host::kernel_named(&text(&mut args)?)?),
                Arg::Long("no-nanbox") => host.nanbox = false,
                Arg::Long("asan") => host.asan = true,
                other => return Err(unknown(&other, "--janet, --loop, --kernel, --no-nanbox, --asan")),
            }
        }
        if host.event_loop.is_emulated() {
            host.kernel = host.kernel.or(Some(KERNELS[0]));
        } else if host.kernel.is_some() {
            return Err("--kernel goes with the emulated loop only: --loop kqueue on Linux".to_owned());
        }
        Ok(HostOptions { host })
    }
}

/// The value of the option just read.
pub fn text(args: &mut Parser) -> Result<String> {
    args.value().and_then(|value| value.string()).map_err(|e| e.to_string())
}

/// The value of the option just read, a whole number of at least `least`.
pub fn number<T>(args: &mut Parser, option: &str, least: T) -> Result<T>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let value = text(args)?;
    match value.parse() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("{option} takes a whole number from {least} up, not {value}")),
    }
}

/// What to say of an argument that a command does not take.
pub fn unknown(arg: &Arg, allowed: &str) -> String {
    let given = match arg {
        Arg::Long(name) => format!("--{name}"),
        Arg::Short(letter) => format!("-{letter}"),
        Arg::Value(value) => value.to_string_lossy().into_owned(),
    };
    format!("{given} is not understood here; allowed: {allowed}")
}
