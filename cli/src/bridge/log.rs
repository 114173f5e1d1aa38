//! What a bridge tells to `tracing`, where `RUST_LOG` asks for it: on standard error.

use std::time::Duration;
use std::{env, fmt, io};

use anstream::{AutoStream, ColorChoice};
use tracing::field::{Empty, display};
use tracing::{Span, debug, debug_span};
use tracing_subscriber::EnvFilter;

use super::link::Figures;

/// The target of all that the bridge tells. What the library and zenoh tell has their names.
pub(super) const TARGET: &str = "sysv_channel_cli";

/// Has all that `RUST_LOG` names written to standard error. (Zenoh's own function for that writes to standard output.)
pub(super) fn begin() {
    let Some(wanted) = env::var_os("RUST_LOG").filter(|wanted| !wanted.is_empty()) else { return };
    let filter = match EnvFilter::builder().parse(wanted.to_string_lossy()) {
        Ok(filter) => filter,
        Err(error) => {
            let wanted = wanted.display();
            crate::note(&format!(
                "nothing is logged, since RUST_LOG={wanted} is not understood: {error}"
            ));
            return;
        }
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(AutoStream::choice(&io::stderr()) != ColorChoice::Never)
        // Of a standard error that cannot be written it would complain there.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .finish();
    // No other one was set.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// What a subscriber sees all that happens to a call in, at either end of its link.
pub(super) fn call_span(link: &Figures, call: u64, left: Option<Duration>, stream: bool) -> Span {
    let left_ms = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    debug_span!(target: TARGET, parent: &link.span, "call", call, left_ms, stream, outcome = Empty)
}

/// The call has come to its end.
pub(super) fn call_ends(call: &Span, outcome: &dyn fmt::Display) {
    call.record("outcome", display(outcome));
    debug!(target: TARGET, parent: call, "ends");
}
