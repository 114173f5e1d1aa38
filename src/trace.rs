//! What a channel tells to a subscriber of `tracing`: feature `tracing`. Without it nothing is there, no
//! argument is evaluated, and no instruction is made of it.
//!
//! Every event has the target `sysv_channel` and names the channel.

/// Tells what has happened.
macro_rules! event {
    ($level:ident, $control:expr, $($rest:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::event!(
            target: "sysv_channel",
            tracing::Level::$level,
            channel = %$control.name(),
            $($rest)*
        )
    };
}

/// Tells that a call waits, until the end of the block.
macro_rules! span {
    ($control:expr, $name:literal) => {
        #[cfg(feature = "tracing")]
        let _span = tracing::trace_span!(
            target: "sysv_channel",
            $name,
            channel = %$control.name()
        )
        .entered();
    };
}
