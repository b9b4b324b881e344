//! This machine: programs that others need.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::super::PLUGIN_NAME;
use super::check::Check;

/// How long a program may take to tell its version.
const LIMIT: Duration = Duration::from_secs(3);

/// All checks of this machine.
pub async fn checks() -> Vec<Check> {
    let (plugin, ssh) = tokio::join!(plugin(), ssh());
    let version = env!("CARGO_PKG_VERSION");
    let place = env::current_exe().unwrap_or_default();
    let own = Check::ok(
        "local.version",
        format!("ssmx {version} ({})", place.display()),
    )
    .detail("Version", version);
    vec![own, plugin, ssh]
}

/// The plugin that the AWS CLI would take.
async fn plugin() -> Check {
    const ID: &str = "local.plugin";
    let Some(path) = find(PLUGIN_NAME) else {
        return Check::skipped(
            ID,
            format!("no {PLUGIN_NAME} on PATH (only the AWS CLI needs it)"),
        )
        .fix("for `aws ssm start-session` and `aws ecs execute-command`: ssmx install-plugin");
    };
    let real = |path: &Path| path.canonicalize().ok();
    let is_ours = env::current_exe()
        .is_ok_and(|program| real(&program).is_some() && real(&program) == real(&path));
    let shown = path.display();
    let check = if is_ours {
        Check::ok(ID, format!("`aws` runs ssmx as its plugin ({shown})"))
    } else {
        let version = first_line(Command::new(&path).arg("--version")).await;
        let version = version.unwrap_or_else(|| "of unknown version".to_owned());
        Check::ok(
            ID,
            format!("`aws` runs another plugin, {version} ({shown})"),
        )
        .detail("Version", version)
    };
    check
        .detail("Path", path.to_string_lossy())
        .detail("IsSsmx", is_ours)
}

async fn ssh() -> Check {
    const ID: &str = "local.ssh";
    let Some(path) = find("ssh") else {
        return Check::skipped(ID, "no ssh on PATH (only `ssmx ssh` needs it)")
            .fix("install OpenSSH's client (openssh-client, openssh-clients, or the optional feature of Windows)");
    };
    let version = first_line(Command::new(&path).arg("-V")).await;
    match version {
        Some(version) => {
            Check::ok(ID, format!("{version} ({})", path.display())).detail("Version", version)
        }
        None => Check::warning(ID, format!("{} does not tell its version", path.display())),
    }
    .detail("Path", path.to_string_lossy())
}

/// A program on PATH.
fn find(name: &str) -> Option<PathBuf> {
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(&name))
        .find(|file| file.is_file())
}

/// The first line that a program prints, wherever it does.
async fn first_line(command: &mut Command) -> Option<String> {
    let child = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(LIMIT, child).await.ok()?.ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(80).collect())
}
