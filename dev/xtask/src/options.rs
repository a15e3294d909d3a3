//! Options that several commands share.

use kqnet_hosts::{Host, KERNELS, Result};
use lexopt::{Arg, Parser, ValueExt};

/// The options that [`HostOptions`] takes, as messages list them.
pub const HOST_OPTIONS: &str = "--janet, --loop, --kernel, --no-nanbox, --asan, --arm64";

/// `--janet V --loop L --kernel K --no-nanbox --asan --arm64`.
#[derive(Default)]
pub struct HostOptions(Host);

impl HostOptions {
    /// Reads the options of a command that takes no others.
    pub fn parse(mut args: Parser) -> Result<Host> {
        let mut options = HostOptions::default();
        while let Some(arg) = args.next().map_err(|e| e.to_string())? {
            let given = given(&arg);
            if !options.take(&given, &mut args)? {
                return Err(refuse(&given, HOST_OPTIONS));
            }
        }
        options.finish()
    }

    /// Takes an option, `given` as it was written, and reads its value. Returns false if it is not one of these
    /// options.
    pub fn take(&mut self, given: &str, args: &mut Parser) -> Result<bool> {
        let HostOptions(host) = self;
        match given {
            "--janet" => host.version = Host::version_named(&text(args)?)?,
            "--loop" => host.event_loop = Host::loop_named(&text(args)?)?,
            "--kernel" => host.kernel = Some(Host::kernel_named(&text(args)?)?),
            "--no-nanbox" => host.nanbox = false,
            "--asan" => host.asan = true,
            "--arm64" => host.arm64 = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The host that the options choose.
    pub fn finish(self) -> Result<Host> {
        let HostOptions(mut host) = self;
        if host.event_loop.is_emulated() {
            host.kernel = host.kernel.or(Some(KERNELS[0]));
        } else if host.kernel.is_some() {
            return Err("--kernel goes with the emulated loop only: --loop kqueue on Linux".to_owned());
        }
        host.check()?;
        Ok(host)
    }
}

/// Reads the value of the option that was just read.
pub fn text(args: &mut Parser) -> Result<String> {
    args.value().and_then(|value| value.string()).map_err(|e| e.to_string())
}

/// Reads the value of the option that was just read: a whole number of at least `least`.
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

/// The error for an argument that a command does not take.
pub fn unknown(arg: &Arg, allowed: &str) -> String {
    refuse(&given(arg), allowed)
}

/// The same error, for an argument as it was written.
pub fn refuse(given: &str, allowed: &str) -> String {
    format!("{given} is not understood here; allowed: {allowed}")
}

/// An argument as it was written.
pub fn given(arg: &Arg) -> String {
    match arg {
        Arg::Long(name) => format!("--{name}"),
        Arg::Short(letter) => format!("-{letter}"),
        Arg::Value(value) => value.to_string_lossy().into_owned(),
    }
}
