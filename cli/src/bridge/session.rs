//! The zenoh session of a bridge: it reaches the addresses that are named, and searches for nothing.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use zenoh::{Config, Session, Wait};

use crate::ending::Endings;
use crate::failure::{Code, Failure};

/// Where a session is reached and what it reaches, from the command line or a file.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) connect: Vec<String>,
    pub(crate) listen: Vec<String>,
    pub(crate) config: Option<PathBuf>,
}

/// From then on it is said that the session waits, as that of a client of zenoh does whose router is not there.
const PATIENCE: Duration = Duration::from_secs(2);

/// What holds unless zenoh's own configuration says otherwise.
fn defaults() -> [(&'static str, Value); 7] {
    [
        // Nothing is searched for.
        ("scouting/multicast/enabled", json!(false)),
        ("scouting/gossip/enabled", json!(false)),
        // An address is tried for ever, and soon again; what is carried waits meanwhile.
        ("connect/timeout_ms", json!(-1)),
        ("connect/exit_on_failure", json!(false)),
        (
            "connect/retry",
            json!({ "period_init_ms": 100, "period_max_ms": 2000, "period_increase_factor": 2.0 }),
        ),
        ("open/return_conditions/connect_scouted", json!(false)),
        ("queries_default_timeout", json!(5000)),
    ]
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> Failure {
    let what = format!("the zenoh configuration {} cannot be used", path.display());
    Failure::new(Code::Usage, format!("{what}: {}", in_a_line(why)))
}

/// What zenoh says, in a line.
fn in_a_line(text: impl std::fmt::Display) -> String {
    // Where in zenoh's own sources it was said is of no use here.
    let text = text.to_string();
    let said = text.split(" at /").next().unwrap_or_default();
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The configuration: the file's, with the addresses of the command line in place of its own.
fn configuration(addresses: &Addresses) -> Result<Config, Failure> {
    let mut config = match &addresses.config {
        None => Config::default(),
        Some(path) => Config::from_file(path).map_err(|error| unusable(path, error))?,
    };
    let mut settings = Vec::new();
    if !addresses.connect.is_empty() {
        settings.push(("connect/endpoints", json!(addresses.connect)));
    }
    let port_of_its_own = Config::default().get_json("listen/endpoints");
    if !addresses.listen.is_empty() {
        settings.push(("listen/endpoints", json!(addresses.listen)));
    } else if config.get_json("listen/endpoints").ok() == port_of_its_own.ok() {
        // Zenoh's default is a port that others find by scouting.
        settings.push(("listen/endpoints", json!([])));
    }
    let is_unset = |key: &str| config.get_json(key).map_or(true, |value| value == "null");
    settings.extend(defaults().into_iter().filter(|(key, _)| is_unset(key)));
    for (key, value) in settings {
        let set = config.insert_json5(key, &value.to_string());
        set.map_err(|error| {
            Failure::failed(format!("zenoh refuses {key} = {value}: {}", in_a_line(error)))
        })?;
    }
    let is_empty = |key| config.get_json(key).is_ok_and(|value| value == "[]");
    let searches = |key| config.get_json(key).is_ok_and(|value| value == "true");
    if is_empty("connect/endpoints")
        && is_empty("listen/endpoints")
        && !searches("scouting/multicast/enabled")
    {
        return Err(Failure::new(
            Code::Usage,
            "a bridge needs an address to reach the other one: --connect tcp/HOST:7447 here and --listen \
             tcp/0.0.0.0:7447 there, or those of zenoh's configuration by --config",
        ));
    }
    Ok(config)
}

/// The longest message that is taken from others, in bytes.
fn longest(config: &Config) -> u64 {
    let configured = config.get_json("transport/link/rx/max_message_size");
    configured.ok().and_then(|text| text.parse().ok()).unwrap_or(1 << 30)
}

/// A session, and the longest message that it takes from others.
pub(crate) struct Opened {
    pub(crate) session: Session,
    pub(crate) longest: u64,
}

/// Opens the session; `None` if the end comes before. It may take long where zenoh is a client and its router is not
/// there.
pub(crate) fn open(addresses: &Addresses, endings: &Endings) -> Result<Option<Opened>, Failure> {
    let config = configuration(addresses)?;
    let longest = longest(&config);
    let (opened, opening) = mpsc::channel();
    let ended = opened.clone();
    endings.on_end(move || {
        // The session may be open already, and no thread listen.
        let _ = ended.send(None);
    });
    thread::Builder::new().name("open".to_owned()).spawn(move || {
        let _ = opened.send(Some(zenoh::open(config).wait()));
    })?;
    let mut opened = opening.recv_timeout(PATIENCE);
    if opened.is_err() {
        crate::note("the bridge waits for zenoh to reach one of its addresses");
        opened = opening.recv().map_err(Into::into);
    }
    match opened {
        Ok(Some(Ok(session))) => Ok(Some(Opened { session, longest })),
        Ok(Some(Err(error))) => Err(Failure::failed(format!(
            "no zenoh session could be opened: {}; look at the addresses and at zenoh's configuration",
            in_a_line(error)
        ))),
        Ok(None) | Err(_) => Ok(None),
    }
}

/// Of what zenoh does not declare or send.
pub(crate) fn refused(error: zenoh::Error) -> Failure {
    Failure::failed(format!("zenoh: {}", in_a_line(error)))
}
