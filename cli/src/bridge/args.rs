//! The arguments of `bridge`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sysv_channel::Name;
use zenoh::key_expr::OwnedKeyExpr;

use crate::args::OwnerArgument;
use crate::target;

/// Carries values and calls between machines, over zenoh
///
/// Programs keep their channels, types and names; a bridge on each machine carries what they send. `out` here and `in`
/// there, at the same key, are one link: a value counts as received here when it stands in the channel there, so that
/// nothing is lost or doubled when a bridge is killed or the network is cut. Links go on by themselves as soon as they
/// can, for ever; a signal ends them between two values.
///
/// Nothing is carried but what is named, to and from the addresses that are named: nothing is searched for in the
/// network. One side listens, the other connects: `--listen tcp/0.0.0.0:7447` there, `--connect tcp/HOST:7447` here.
/// Certificates, access control and routers are for zenoh's own configuration file.
#[derive(Debug, Subcommand)]
pub(crate) enum BridgeCommand {
    Out(OutArguments),
    In(InArguments),
    Serve(ServeArguments),
    Call(CallArguments),
    Run(RunArguments),
    Status(StatusArguments),
}

/// Takes the values of a channel to where `bridge in` has the same key
///
/// It takes the receiver's place. The channel may be made, removed and made anew meanwhile. While the channel there is
/// full, or no bridge is there, values wait here, and with them their senders as soon as this channel is full.
#[derive(Debug, Args)]
pub(crate) struct OutArguments {
    #[command(flatten)]
    pub(crate) link: LinkArguments,

    #[command(flatten)]
    pub(crate) session: SessionArguments,
}

/// Puts the values from `bridge out` with the same key into a channel
///
/// Both channels must carry the same type and codec: else the first difference is told at both ends. The channel may be
/// made, removed and made anew meanwhile. It remembers what the link has put as long as it exists, so it is best durable.
#[derive(Debug, Args)]
pub(crate) struct InArguments {
    #[command(flatten)]
    pub(crate) link: LinkArguments,

    /// Make the channel if it is not there: durable, of the type that the far one has
    #[arg(long)]
    pub(crate) create: bool,

    #[command(flatten)]
    pub(crate) session: SessionArguments,
}

/// Binds a server here, whose calls go to the server where `bridge call` has the same key
///
/// It is bound as long as the server there is, with the same types and sizes, so that clients here see no difference: one
/// that is away is waited for until the deadline. Deadlines, cancelling and streams of replies go all the way, and an error
/// says whether the server there may have had the request.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    pub(crate) link: LinkArguments,

    #[command(flatten)]
    pub(crate) session: SessionArguments,
}

/// Calls the server here for clients where `bridge serve` has the same key
///
/// It is a client of the server, with up to sixteen places there. The server may come and go. Up to sixteen `bridge serve`
/// can have the key, each with up to 1,024 calls at a time.
#[derive(Debug, Args)]
pub(crate) struct CallArguments {
    #[command(flatten)]
    pub(crate) link: LinkArguments,

    #[command(flatten)]
    pub(crate) session: SessionArguments,
}

/// Runs the links of a file, in one process
///
/// The file is TOML. `connect` and `listen` are lists of addresses, `config` is zenoh's configuration file; each of
/// [[out]], [[in]], [[serve]] and [[call]] is a link with `name` and `key`, `owner` where it is not `mine`, and `create` of
/// [[in]]. A link that cannot go on says why, and the others go on.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) session: SessionArguments,
}

/// Shows the links of this user's bridges on this machine
///
/// Each line is a link: what it does, how much went through it and is under way, and how long a message takes there
/// and back. The bridges are asked by sockets in $XDG_RUNTIME_DIR/sysv-channel, or /tmp/sysv-channel-UID where that is
/// not set.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LinkArguments {
    /// The channel's or server's name or key
    #[arg(value_parser = target::name)]
    pub(crate) name: Name,

    /// The link's key in zenoh, the same at both ends
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub(crate) key: OwnedKeyExpr,

    #[command(flatten)]
    pub(crate) owner: OwnerArgument,
}

#[derive(Debug, Args)]
pub(crate) struct SessionArguments {
    /// Connect to this address, and again whenever it can be reached, as tcp/HOST:7447, tls/HOST:7447, quic/HOST:7447
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub(crate) connect: Vec<String>,

    /// Listen at this address, as tcp/0.0.0.0:7447
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub(crate) listen: Vec<String>,

    /// Zenoh's configuration file (JSON5 or YAML), for certificates, access control, routers
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Reads a key: words between slashes, none of them a wildcard.
pub(crate) fn key(text: &str) -> Result<OwnedKeyExpr, String> {
    let advice = "a key is words between slashes, as shop/orders, without *, $, ?, # and @";
    if text.contains(['*', '$', '?', '#', '@']) {
        return Err(advice.to_owned());
    }
    if text.len() > LONGEST_KEY {
        return Err(format!("a key has at most {LONGEST_KEY} bytes"));
    }
    OwnedKeyExpr::new(text).map_err(|_| advice.to_owned())
}

const LONGEST_KEY: usize = 1024;

/// Reads an address, whose protocol this program has.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let advice = "an address is PROTOCOL/HOST:PORT with tcp, tls or quic, as tcp/192.0.2.1:7447";
    let endpoint: zenoh::config::EndPoint = text.parse().map_err(|_| advice.to_owned())?;
    if !matches!(endpoint.protocol().as_str(), "tcp" | "tls" | "quic") {
        return Err(advice.to_owned());
    }
    let (host, port) = endpoint.address().as_str().rsplit_once(':').ok_or(advice)?;
    match port.parse::<u16>() {
        Ok(0) => {
            let why = "port 0 is any port, which the other side could not know";
            Err(format!("{why}; name one, as tcp/0.0.0.0:7447"))
        }
        Ok(_) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err(advice.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_addresses_are_checked() {
        assert!(key("shop/orders").is_ok());
        for bad in ["", "/shop", "shop/", "a//b", "a/*", "a/**", "a/$*", "a?b", "a#b", "@/x"] {
            assert!(key(bad).is_err(), "{bad}");
        }
        assert!(key(&"k".repeat(1025)).is_err());
        for good in ["tcp/127.0.0.1:7447", "tls/host:1", "quic/[::1]:7447"] {
            assert!(address(good).is_ok(), "{good}");
        }
        let bad = ["", "7447", "tcp", "127.0.0.1:7447", "udp/127.0.0.1:7447", "tcp/[::1]:0"];
        let worse = ["tcp/host", "tcp/host:", "tcp/:4444", "tcp/host: 4444", "tcp/host:99999"];
        for bad in bad.into_iter().chain(worse) {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
