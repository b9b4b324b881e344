//! `ssmx forward`: local ports that lead to a node, or through it to other hosts.

mod events;
pub(super) mod spec;
mod tunnels;

use std::ffi::OsString;
use std::time::Duration;

use super::ecs;
use super::global::Global;
use super::liveness::Liveness;
use super::report::{self, Failure};
use super::{port_document, target};
use crate::aws::Aws;
use crate::session::forward::aim::Aim;
use crate::session::forward::bind::{Bind, Host};
use crate::session::forward::descriptors;
use crate::session::forward::listener::Listener;
use crate::session::forward::route::Settings;
use crate::terminal;

use events::{Destination, Label, Teller};
use spec::Forward;
use tunnels::{Bound, Leads, Tunnels};

macro_rules! examples {
    () => {
        "Examples:\n  \
        ssmx forward i-… -L 5432                          port 5432 here is port 5432 of the node\n  \
        ssmx forward i-… -L 15432:db.internal:5432        a host that the node can reach\n  \
        ssmx forward i-… -L 0:db:5432 -- sh -c 'psql -h localhost -p $SSMX_PORT'\n  \
        ssmx forward i-… -D 1080                          any host: SOCKS5 and HTTP CONNECT\n  \
        ssmx forward --service web -L 8080:80             a task of ECS, by --cluster and --service"
    };
}

/// `ssmx forward`
#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "ssmx forward [OPTIONS] TARGET -L [BIND:]LPORT:[HOST:]RPORT … [-D [BIND:]PORT] \
    [-- COMMAND …]",
    after_help = concat!(examples!(), "\n\n\
    `ssmx forward --help` tells the rest: what COMMAND gets, timeouts, how to try it without AWS."),
    after_long_help = concat!(examples!(), "\n\n\
    The exit status is COMMAND's; without one, 128 + n by the signal that ended it, or 255 if a \
    session was over with --no-restart. COMMAND gets SSMX_PORT and SSMX_PORT_1, SSMX_PORT_2 … (of each -L), SSMX_SOCKET_1 … (for Unix \
    sockets) and SSMX_SOCKS_PORT (of -D). Local ports are open to this machine alone, unless BIND \
    says otherwise (* is all addresses; without BIND, SSM_PLUGIN_LOCAL_HOST counts).\n\n\
    To see all of it without AWS, with this machine as the node:\n  \
    ssmx loopback -- sh -c 'ssmx forward $SSMX_LOOPBACK_TARGET -L 2222:22 -D 1080'")
)]
pub struct Args {
    /// Node: id, name, tag:KEY=VALUE, asg:NAME, IP address, DNS name, or ecs:CLUSTER_TASK_RUNTIME;
    /// at a terminal there is a list to pick one from
    #[arg(value_name = "TARGET", conflicts_with_all = ["cluster", "service", "task"])]
    target: Option<String>,
    /// The same
    #[arg(
        long = "target",
        value_name = "TARGET",
        conflicts_with_all = ["target", "cluster", "service", "task"],
        hide = true
    )]
    target_option: Option<String>,
    #[command(flatten)]
    container: ecs::Wanted,
    /// Lead a local port (0: any free one) or Unix socket (/PATH) to a port of the node, or of a
    /// HOST as the node knows it; may be repeated
    #[arg(short = 'L', long = "local", value_name = "[BIND:]LPORT:[HOST:]RPORT")]
    local: Vec<String>,
    /// Be a proxy (SOCKS5, HTTP CONNECT) on a local port, whose clients go through the node; may be
    /// repeated
    #[arg(short = 'D', long = "dynamic", value_name = "[BIND:]PORT")]
    dynamic: Vec<String>,
    /// Tell what happens on stdout, an object a line: ready, connect, reconnect, exit …
    #[arg(long, conflicts_with = "command")]
    json: bool,
    #[command(flatten)]
    manners: Manners,
    /// Run this once all is ready; its end is the end
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How tunnels behave.
#[derive(Clone, Debug, clap::Args)]
pub struct Manners {
    /// Start no session before the first connection
    #[arg(long, overrides_with = "no_lazy")]
    lazy: bool,
    /// Start sessions at once (the default)
    #[arg(long, overrides_with = "lazy", hide = true)]
    no_lazy: bool,
    #[command(flatten)]
    restart: Restart,
    /// Why; goes into the history of the sessions
    #[arg(long)]
    reason: Option<String>,
    /// Seconds that a connection which reads nothing may keep others waiting; 0 for ever
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        hide_short_help = true
    )]
    slow_reader_timeout: u32,
    /// Seconds after which -D ends a session that nobody uses; 0 for never
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        hide_short_help = true
    )]
    idle_timeout: u32,
    #[command(flatten)]
    liveness: Liveness,
}

/// Whether a session that is over is followed by another.
#[derive(Clone, Debug, clap::Args)]
pub struct Restart {
    /// End with the first session that is over, instead of starting another when it is needed
    #[arg(long, overrides_with = "restart")]
    no_restart: bool,
    /// Start another session when it is needed (the default)
    #[arg(long, overrides_with = "no_restart", hide = true)]
    restart: bool,
}

impl Restart {
    /// Whether it is; the option goes before the setting of its opposite.
    pub fn is_wanted(&self) -> bool {
        self.restart || !self.no_restart
    }
}

impl Manners {
    fn lazy(&self) -> bool {
        self.lazy && !self.no_lazy
    }

    fn restart(&self) -> bool {
        self.restart.is_wanted()
    }
}

/// The tunnels of one target.
pub struct Wish {
    /// The options that lead to it.
    pub global: Global,
    /// The node, as the user calls it; empty if it is to be picked.
    pub target: String,
    /// The container, instead of a node.
    pub container: ecs::Wanted,
    /// Why; instead of the reason that the options give.
    pub reason: Option<String>,
    /// What `-L` takes.
    pub local: Vec<String>,
    /// What `-D` takes.
    pub dynamic: Vec<String>,
}

impl Wish {
    fn target(&self) -> Option<&str> {
        Some(self.target.as_str()).filter(|target| !target.is_empty())
    }
}

/// Runs the subcommand; the exit status.
pub async fn run(global: &Global, args: Args) -> anyhow::Result<u8> {
    let target = args.target.or(args.target_option).unwrap_or_default();
    let container = global.settings().container(&target);
    let wish = Wish {
        global: global.clone(),
        target: match container {
            Some(_) => String::new(),
            None => global.settings().target(&target).to_owned(),
        },
        container: container.unwrap_or(args.container),
        reason: None,
        local: args.local,
        dynamic: args.dynamic,
    };
    bring_up(&[wish], &args.manners, args.json, &args.command).await
}

/// Brings all tunnels up, and stays or runs `command`; the exit status. `json`: tell programs what
/// happens.
pub async fn bring_up(
    wishes: &[Wish],
    manners: &Manners,
    json: bool,
    command: &[OsString],
) -> anyhow::Result<u8> {
    descriptors::raise();
    let (result, teller) = match start(wishes, manners, json).await {
        Ok(tunnels) => tunnels.run(command).await,
        Err(error) => (Err(error), Some(Teller::new(Vec::new(), json))),
    };
    if let Some(teller) = teller {
        let (status, reason) = match &result {
            Ok(status) => (*status, None),
            Err(error) => (report::status(error), Some(format!("{error:#}"))),
        };
        teller.exit(status, reason.as_deref()).await;
    }
    result
}

/// Listens on all ports; then, and only then, has sessions started.
async fn start(wishes: &[Wish], manners: &Manners, json: bool) -> anyhow::Result<Tunnels> {
    let mut listening = Vec::new();
    for (number, wish) in wishes.iter().enumerate() {
        if !wish.container.is_given() {
            target::check(wish.target(), "give the node's id (i-…) or name")?;
        }
        for (bind, text, forward) in plan(wish)? {
            let listener = Listener::bind(&bind).await;
            let listener = listener.map_err(port_document::failure)?;
            listening.push((number, listener, text, forward));
        }
    }
    for (_, listener, ..) in &listening {
        if listener.is_exposed() {
            terminal::notice(&listener.place().warning());
        }
    }
    let mut accesses = Accesses::default();
    let mut bound = Vec::new();
    let mut listening = listening.into_iter().peekable();
    for (number, wish) in wishes.iter().enumerate() {
        let aws = accesses.of(wish, manners.lazy()).await?;
        let (node, aim) = match wish.container.is_given() {
            true => wish.container.aim(&aws).await?,
            false => wish.global.aim(&aws, wish.target()).await?,
        };
        if let Some(aim) = aim.as_ref().filter(|_| manners.lazy()) {
            // It may be long before anybody connects.
            aim.doubt().await;
        }
        let place = Node { aws, id: node, aim };
        while let Some((_, listener, text, forward)) = listening.next_if(|one| one.0 == number) {
            bound.push(lead(wish, manners, &place, listener, text, forward));
        }
    }
    Tunnels::start(bound, manners.lazy(), json)
}

/// The node that is meant.
struct Node {
    aws: Aws,
    id: String,
    /// Tells whether it is another later.
    aim: Option<Aim>,
}

/// Access to AWS with each set of options: those who want the same share it, so that nobody is
/// asked for anything twice.
#[derive(Default)]
struct Accesses(Vec<(Vec<OsString>, Aws)>);

impl Accesses {
    async fn of(&mut self, wish: &Wish, lazy: bool) -> anyhow::Result<Aws> {
        let mut words = wish.global.lasting_words();
        if wish.global.wants_access() {
            // It is granted for one node each.
            words.push(wish.target.clone().into());
        }
        if let Some((_, aws)) = self.0.iter().find(|(known, _)| *known == words) {
            return Ok(aws.clone());
        }
        let aws = wish.global.aws().await?;
        if !lazy {
            // This may ask the user, who may answer with Ctrl-C.
            let what = match wish.target() {
                Some(target) => format!("cannot start a session on {target}"),
                None => "cannot start a session".to_owned(),
            };
            aws.prepare(&what).await?;
        }
        self.0.push((words, aws.clone()));
        Ok(aws)
    }
}

/// A place that accepts, with where it leads.
fn lead(
    wish: &Wish,
    manners: &Manners,
    node: &Node,
    listener: Listener,
    text: String,
    forward: Option<Forward>,
) -> Bound {
    let target = node.id.as_str();
    let seconds = |n: u32| Duration::from_secs(n.into());
    let slow_reader = manners.slow_reader_timeout;
    let idle = manners.idle_timeout;
    let reason = wish.reason.as_ref().or(manners.reason.as_ref());
    let destination = forward.as_ref().map(|forward| Destination {
        shown: match forward.destination.is_the_node() {
            true => format!("{target}:{}", forward.port),
            false => forward.destination.to_string(),
        },
        host: forward.host.clone(),
        port: forward.port,
    });
    Bound {
        label: Label {
            text,
            place: listener.place().clone(),
            destination,
        },
        listener,
        leads: match forward {
            Some(forward) => Leads::To(
                forward
                    .destination
                    .request(target, reason.map(String::as_str)),
            ),
            None => Leads::Anywhere {
                target: target.to_owned(),
                reason: reason.cloned(),
                idle: (idle > 0).then(|| seconds(idle)),
            },
        },
        settings: Settings {
            aws: node.aws.clone(),
            channel: manners.liveness.options(),
            slow_reader: (slow_reader > 0).then(|| seconds(slow_reader)),
            restart: manners.restart(),
            aim: node.aim.clone(),
        },
    }
}

/// What to listen on, as which option said, and where that leads if it is one place.
fn plan(wish: &Wish) -> Result<Vec<(Bind, String, Option<Forward>)>, Failure> {
    let default = Host::from_environment();
    let mut plan = Vec::new();
    for text in &wish.local {
        let forward = Forward::parse(text, &default)?;
        plan.push((forward.bind.clone(), text.clone(), Some(forward)));
    }
    for text in &wish.dynamic {
        plan.push((spec::proxy(text, &default)?, text.clone(), None));
    }
    if plan.is_empty() {
        return Err(Failure::usage("nothing to forward")
            .hint("give -L [BIND:]LPORT:[HOST:]RPORT, such as -L 5432, or -D [BIND:]PORT"));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn args(words: &[&str]) -> Args {
        let cli = Cli::try_parse_from(["ssmx", "forward"].iter().chain(words));
        match cli.expect("good").command {
            Command::Forward(args) => args,
            _ => panic!("another subcommand"),
        }
    }

    fn wish(args: &Args) -> Wish {
        let cli = Cli::try_parse_from(["ssmx", "forward", "i-1"]);
        Wish {
            global: cli.expect("good").global,
            target: String::new(),
            container: ecs::Wanted::default(),
            reason: None,
            local: args.local.clone(),
            dynamic: args.dynamic.clone(),
        }
    }

    #[test]
    fn options_may_be_repeated_and_stand_anywhere() {
        let args = args(&[
            "-L", "1:a:2", "i-1", "-L", "3:b:4", "-D", "1080", "--", "psql", "-L", "x",
        ]);
        assert_eq!(args.target.as_deref(), Some("i-1"));
        assert_eq!(args.local, ["1:a:2", "3:b:4"]);
        assert_eq!(args.dynamic, ["1080"]);
        assert_eq!(args.command, ["psql", "-L", "x"]);
        assert_eq!(plan(&wish(&args)).expect("good").len(), 3);
    }

    #[test]
    fn the_target_is_an_option_too() {
        let some = args(&["--target", "i-1", "-L", "1"]);
        assert_eq!(some.target_option.as_deref(), Some("i-1"));
        for words in [
            &["ssmx", "forward", "i-1", "--target", "i-2", "-L", "1"][..],
            &["ssmx", "forward", "i-1", "-L", "1", "--json", "--", "ls"],
        ] {
            assert!(Cli::try_parse_from(words).is_err(), "{words:?}");
        }
        let failure = plan(&wish(&args(&["i-1"]))).expect_err("nothing");
        assert_eq!(failure.status, report::USAGE);
    }
}
