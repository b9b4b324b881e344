//! What an alias says, held against the options that it stands for.

use super::forward::spec::{self, Forward};
use super::report::Failure;
use crate::config::{Alias, At, File, Owner, Problem};
use crate::session::forward::bind::{Bind, Host};

/// What is wrong with the forwards of an alias.
pub(super) fn check(alias: &Alias, file: &File) -> Vec<Problem> {
    let local = alias.forwards.iter().filter_map(|(text, at)| {
        let forward = Forward::parse(text, &Host::Localhost);
        refusal(file, *at, forward.map(|forward| forward.bind))
    });
    let dynamic = alias
        .dynamic
        .iter()
        .filter_map(|(text, at)| refusal(file, *at, spec::proxy(text, &Host::Localhost)));
    local.chain(dynamic).collect()
}

fn refusal(file: &File, at: At, bind: Result<Bind, Failure>) -> Option<Problem> {
    let (what, hint) = match bind {
        Err(failure) => (failure.what, failure.hint),
        Ok(bind) if file.owner == Owner::Project && !stays_here(&bind) => (
            "a project's file must not listen elsewhere than on ports of localhost".to_owned(),
            Some("put it into your own file, which `ssmx config path` names".to_owned()),
        ),
        Ok(_) => return None,
    };
    Some(Problem {
        path: file.path.clone(),
        at: Some(at),
        what,
        hint,
    })
}

/// Whether only this machine can connect, and no file is made.
fn stays_here(bind: &Bind) -> bool {
    match bind {
        Bind::Tcp { host, .. } => match host {
            Host::Localhost => true,
            Host::Address(address) => address.is_loopback(),
            Host::Any | Host::Name(_) => false,
        },
        Bind::Unix(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(owner: Owner, forwards: &str) -> Vec<String> {
        let text = format!("[alias.x]\ntarget = \"a\"\n{forwards}");
        let file = File::parse("/c".into(), owner, &text).expect("good so far");
        let found = check(&file.aliases[0], &file);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn forwards_are_checked_where_they_stand() {
        let found = problems(
            Owner::User,
            "forwards = [\"80\", \"1:x y:2\"]\ndynamic = \"z\"",
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("/c:3:19: -L 1:x y:2: "), "{found:?}");
        assert!(found[1].starts_with("/c:4:11: -D z: "), "{found:?}");
    }

    #[test]
    fn projects_do_not_open_this_machine() {
        for (forward, is_good) in [
            ("5432", true),
            ("localhost:1:db:2", true),
            ("127.0.0.1:1:2", true),
            ("[::1]:1:2", true),
            ("*:1:2", false),
            ("0.0.0.0:1:2", false),
            ("myhost:1:db:2", false),
            ("/tmp/s:1", false),
        ] {
            let forwards = format!("forwards = \"{forward}\"");
            assert_eq!(problems(Owner::User, &forwards), [""; 0], "{forward}");
            let found = problems(Owner::Project, &forwards);
            assert_eq!(found.is_empty(), is_good, "{forward}: {found:?}");
        }
        assert_eq!(problems(Owner::Project, "dynamic = \"*:1\"").len(), 1);
    }
}
