//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use sysv_channel::{Name, Owner, Tag};

#[cfg(feature = "zenoh")]
use crate::bridge::args::BridgeCommand;
use crate::target;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER_HELP: &str = "\
A NAME is the name that the programs use. 0x and up to eight hex digits are a System V key, as `list` shows it \
for what has no name. ftok:PATH:PROJECT is the key that C programs get from ftok(3). name:TEXT is the name TEXT, \
whatever it looks like.

Exit codes:
  0    done; also where the reader of the output has gone
  1    failed
  2    wrong arguments, or a value that the channel does not carry
  3    there is no such channel, server or queue, or it was removed
  4    nothing was there, or nothing came in time
  5    refused: in use, holds values, another user's, another type
  129, 130, 143
       ended by SIGHUP, SIGINT or SIGTERM; nothing was lost. A second signal ends it at once, as a kill does

An error is one line on standard error, which says what to do.";

/// Looks at the channels of sysv-channel, and sends and receives their values.
///
/// Programs that use sysv-channel exchange typed values through channels, which have a name. This tool lists the
/// channels, shows who uses them and what waits, and finds out what limits stand in the way.
#[derive(Debug, Parser)]
#[command(name = "sysv-channel", version, styles = STYLES, after_long_help = AFTER_HELP)]
#[command(max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    #[arg(help = "When to use colours: auto (on a terminal), always or never")]
    pub(crate) color: Color,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(ListArguments),
    Show(ShowArguments),
    Schema(SchemaArguments),
    Top(TopArguments),
    Recv(RecvArguments),
    Send(SendArguments),
    Call(CallArguments),
    Peek(PeekArguments),
    Tap(TapArguments),
    Rm(RmArguments),
    Sweep(SweepArguments),
    Doctor(DoctorArguments),
    #[command(subcommand)]
    Queue(QueueCommand),
    #[cfg(feature = "zenoh")]
    #[command(subcommand)]
    Bridge(BridgeCommand),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

/// Lists channels, servers, mailboxes and message queues
///
/// All that stands in this ipc namespace is listed, that of other users too: channels by name, then those without
/// one, what cannot be read and why, and at the end the message queues that belong to no channel. Of a queue
/// the kernel knows the processes that last received and sent.
///
/// Nothing is locked, taken or written, so no user of a channel notices.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Print one JSON object a line, with all that is known
    #[arg(long)]
    pub(crate) json: bool,
}

/// Shows all that is known of one channel
///
/// What it carries and how it was made, who uses it and who sleeps, what waits and what went through it so far.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The channel's name or key
    #[arg(value_parser = target::name)]
    pub(crate) name: Name,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the shape of a channel's values
///
/// The line has the names and types of all fields, in the notation of sysv-channel's schemas. It ends in an
/// ellipsis where the channel's header had no room for all of it.
#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// The channel's name or key
    #[arg(value_parser = target::name)]
    pub(crate) name: Name,
}

/// Watches all channels, in a terminal
///
/// Each line is a channel: what goes in and out a second, how full it is, how many values wait, and which of its
/// processes sleep. Below stand the receivers and senders of the chosen one, and before them the links of this user's
/// bridges, if the tool was built with them and some run.
///
/// Keys: q, Escape or Ctrl-C leaves, the arrows or j and k choose, s changes the order, p pauses.
#[derive(Debug, Args)]
pub(crate) struct TopArguments {
    /// Seconds between two looks, from 0.1 to 3600
    #[arg(long, short = 'd', value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,
}

/// Receives a channel's values and prints each as a line of JSON
///
/// It takes the receiver's place, and so the values from others. It ends when the senders have come and gone and
/// nothing is left; values that waited before are printed in any case.
///
/// Nothing is lost: a value is taken off the channel when its line was written. So where the reader of the output
/// goes, where the disk is full, or where a signal comes, it stays for the next receiver; what a pipe held unread goes
/// with its reader. A value is printed twice only if this command is killed between the two, by SIGKILL or by a second
/// signal, which does not wait. While the output's reader does not read, nothing is received, and the senders wait as
/// soon as the channel is full.
#[derive(Debug, Args)]
pub(crate) struct RecvArguments {
    /// The channel's name or key
    #[arg(value_parser = target::name)]
    pub(crate) name: Name,

    /// Receive so many values, then end
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Wait on when the senders have gone, for others
    #[arg(long, short)]
    pub(crate) follow: bool,

    /// End if nothing comes for so long; 0 takes what is there
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,

    /// Receive only values with this tag, of a channel with a queue
    #[arg(long, value_name = "N", value_parser = tag)]
    pub(crate) tag: Option<Tag>,

    /// Show no progress on standard error
    #[arg(long, short)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) owner: OwnerArgument,
}

/// Sends JSON values to a channel
///
/// Without a VALUE, or with -, each line of standard input is one. A value must be of the channel's type, as `schema`
/// prints it, in the form that serde_json gives that type; else the line says which part is not, and nothing of it is
/// sent. A full channel makes the command wait, and with it the program that writes to the pipe.
#[derive(Debug, Args)]
pub(crate) struct SendArguments {
    /// The channel's name or key
    #[arg(value_parser = target::name)]
    pub(crate) name: Name,

    /// The value as JSON, or - for the lines of standard input
    #[arg(default_value = "-", hide_default_value = true, allow_hyphen_values = true)]
    pub(crate) value: String,

    /// Send with this tag
    #[arg(long, value_name = "N", default_value = "1", value_parser = tag, conflicts_with = "timeout")]
    pub(crate) tag: Tag,

    /// Give up if there is no room for so long; 0 does not wait
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,

    /// Show no progress on standard error
    #[arg(long, short)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) owner: OwnerArgument,
}

/// Calls a server and prints its reply as a line of JSON
#[derive(Debug, Args)]
pub(crate) struct CallArguments {
    /// The server's name or key
    #[arg(value_parser = target::name)]
    pub(crate) name: Name,

    /// The request as JSON
    #[arg(allow_hyphen_values = true)]
    pub(crate) request: String,

    /// Print the parts of a reply that comes in parts, as they come; without a deadline
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) stream: bool,

    /// Give up if the reply has not come after so long
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) owner: OwnerArgument,
}

/// Prints the values that wait in a channel, and leaves them there
///
/// Each is a line of JSON, as `recv` would print it; of a server the requests that wait, of a mailbox the messages.
/// No user of the channel is disturbed, and no place is taken. What moves in this moment may be missed.
#[derive(Debug, Args)]
pub(crate) struct PeekArguments {
    /// The channel's name or key
    #[arg(value_parser = target::name)]
    pub(crate) name: Name,

    /// Print so many values at most, the oldest first
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// Watches what goes through a channel, a server or a mailbox
///
/// First come the values that wait, then those that are sent, each with the process that sent it, its tag and its
/// length. No value is taken, and no sender or receiver waits for this command, so what goes by too fast is missed:
/// standard error says how many at the end. It ends when the channel is removed.
#[derive(Debug, Args)]
pub(crate) struct TapArguments {
    /// The channel's name or key
    #[arg(value_parser = target::name)]
    pub(crate) name: Name,

    /// Print one JSON object a line: lane, tag, bytes, and value, or hex digits where it cannot be decoded
    #[arg(long)]
    pub(crate) json: bool,

    /// Watch so many values, then end
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// Removes channels, servers' channels, mailboxes or message queues
///
/// What is in use or holds values is not removed unless --force is given: then its users are told that it is
/// gone, and the values that wait are lost.
#[derive(Debug, Args)]
pub(crate) struct RmArguments {
    /// The names or keys
    #[arg(value_name = "NAME", required = true, value_parser = target::name)]
    pub(crate) names: Vec<Name>,

    /// Remove it also if it is in use or holds values, which are lost
    #[arg(long, short)]
    pub(crate) force: bool,
}

/// Removes what crashed programs left behind
///
/// Removed are this user's channels that are not in use, not durable and hold no value. Objects of other users and
/// of other programs are never touched.
#[derive(Debug, Args)]
pub(crate) struct SweepArguments {
    /// Only print what would be removed
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,

    /// Also remove channels that are durable or hold values, if they are not in use
    #[arg(long)]
    pub(crate) all: bool,
}

/// Checks limits, the kernel and namespaces, and says what to change
///
/// Each limit of System V IPC stands there with its use; where it is nearly reached, the line says which sysctl
/// raises it. Other checks tell whether the kernel honours SEM_UNDO, in which ipc and pid namespace this is,
/// whether systemd removes this user's channels at logout, and whether crashes left something behind.
///
/// The exit code is 1 if something keeps channels from working, and 0 otherwise.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Sends to, receives from and shows bare message queues, those of C programs too
///
/// A bare queue says nothing of what its messages are: they are shown as text, hex digits, JSON or their length.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    Send(QueueSendArguments),
    Recv(QueueRecvArguments),
    Show(QueueShowArguments),
}

/// Puts messages on a queue
///
/// Without a MESSAGE, or with -, each line of standard input is one, without its line end. A full queue makes the
/// command wait.
#[derive(Debug, Args)]
pub(crate) struct QueueSendArguments {
    /// The queue's name or key
    #[arg(value_parser = target::name)]
    pub(crate) name: Name,

    /// The message, or - for the lines of standard input
    #[arg(default_value = "-", hide_default_value = true, allow_hyphen_values = true)]
    pub(crate) message: String,

    /// The messages' type (mtype), from 1
    #[arg(long, value_name = "N", default_value = "1", value_parser = tag)]
    pub(crate) tag: Tag,

    /// Read messages as hex digits
    #[arg(long)]
    pub(crate) hex: bool,

    /// Create the queue if there is none, with mode 0600
    #[arg(long)]
    pub(crate) create: bool,

    /// Give up if there is no room for so long; 0 does not wait
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,

    #[command(flatten)]
    pub(crate) owner: OwnerArgument,
}

/// Takes messages off a queue and prints each on a line
///
/// One message is taken, and waited for, unless --count or --follow asks for more. A message that was taken is
/// gone from the queue: `queue show` looks without taking. Before each one the command looks whether its output still has
/// a reader. One that cannot be written then, since its reader goes in that very moment or the disk is full, is put back at
/// the queue's end; where that fails, standard error has it. A kill in that moment loses it, as a second signal does.
#[derive(Debug, Args)]
pub(crate) struct QueueRecvArguments {
    /// The queue's name or key
    #[arg(value_parser = target::name)]
    pub(crate) name: Name,

    /// Take so many messages
    #[arg(long, short = 'n', value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: u64,

    /// Take messages until a signal or the reader of the output ends it
    #[arg(long, short, conflicts_with = "count")]
    pub(crate) follow: bool,

    /// Give up if none comes for so long; 0 does not wait
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,

    /// Take only messages of this type (mtype)
    #[arg(long, value_name = "N", value_parser = tag, group = "selection")]
    pub(crate) tag: Option<Tag>,

    /// Take those of the lowest type first, up to this one
    #[arg(long, value_name = "N", value_parser = tag, group = "selection")]
    pub(crate) up_to: Option<Tag>,

    /// Take messages of all types but this one
    #[arg(long, value_name = "N", value_parser = tag, group = "selection")]
    pub(crate) except: Option<Tag>,

    #[command(flatten)]
    pub(crate) format: FormatArgument,

    #[command(flatten)]
    pub(crate) owner: OwnerArgument,
}

/// Shows a queue and its messages, and takes none
#[derive(Debug, Args)]
pub(crate) struct QueueShowArguments {
    /// The queue's name or key
    #[arg(value_parser = target::name)]
    pub(crate) name: Name,

    /// Show so many messages at most, the oldest first
    #[arg(long, short = 'n', value_name = "N", default_value = "10")]
    pub(crate) count: usize,

    /// Print one JSON object for the queue, then one for each message
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) format: FormatArgument,

    #[command(flatten)]
    pub(crate) owner: OwnerArgument,
}

#[derive(Debug, Args)]
pub(crate) struct FormatArgument {
    /// How to print a message
    #[arg(long = "as", value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

/// How a message is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// As text, where what is no text is escaped
    Text,
    /// As hex digits
    Hex,
    /// Its length in bytes
    Length,
    /// A JSON object with type, length and text, or hex digits where it is no text
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct OwnerArgument {
    /// Whose objects to use: mine, any, or mine and those of this user id
    #[arg(long, value_name = "WHOSE", hide_short_help = true, default_value = "mine", value_parser = owner)]
    pub(crate) owner: Owner,
}

/// Prints the completions for a shell
///
/// For bash: sysv-channel completions bash > ~/.local/share/bash-completion/completions/sysv-channel
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    pub(crate) shell: Shell,
}

/// Prints the man page, or writes those of all commands
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Write one page for each command into this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
}

fn tag(text: &str) -> Result<Tag, String> {
    let number: Option<i64> = text.parse().ok();
    number.and_then(Tag::new).ok_or_else(|| format!("a type is a number from 1 to {}", i64::MAX))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "a number of seconds is wanted, as 0, 2.5 or 60".to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    let between = Duration::from_millis(100)..=Duration::from_secs(3600);
    seconds(text)
        .ok()
        .filter(|interval| between.contains(interval))
        .ok_or_else(|| "a number of seconds from 0.1 to 3600 is wanted".to_owned())
}

pub(crate) fn owner(text: &str) -> Result<Owner, String> {
    match text {
        "mine" => Ok(Owner::Myself),
        "any" => Ok(Owner::Anyone),
        uid => match uid.parse() {
            Ok(uid) => Ok(Owner::User(uid)),
            Err(_) => Err("mine, any or the number of a user is wanted".to_owned()),
        },
    }
}
