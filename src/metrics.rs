//! A channel's figures as metrics of the facade `metrics`: feature `metrics`.

use metrics::{counter, gauge};

use crate::channel::Stats;

impl Stats {
    /// Records the figures with the recorder that the program has installed, under the label `channel`.
    ///
    /// To be called as often as they are to be seen: sending and receiving cost nothing more. Counters:
    /// `sysv_channel_sent_values`, `_sent_bytes`, `_received_values`, `_received_bytes`, `_sender_parks`,
    /// `_sender_wakeups`, `_receiver_parks`, `_receiver_wakeups`, all since the channel was created. Gauges:
    /// `sysv_channel_waiting_values`, `_queued_messages`, `_senders`, `_receivers`, `_users`.
    ///
    /// ```
    /// let channel = sysv_channel::Channel::<u64>::private()?;
    /// channel.stats()?.record_metrics("orders");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record_metrics(&self, channel: &str) {
        let label = [("channel", channel.to_owned())];
        counter!("sysv_channel_sent_values", &label).absolute(self.sent_values);
        counter!("sysv_channel_sent_bytes", &label).absolute(self.sent_bytes);
        counter!("sysv_channel_received_values", &label).absolute(self.received_values);
        counter!("sysv_channel_received_bytes", &label).absolute(self.received_bytes);
        counter!("sysv_channel_sender_parks", &label).absolute(self.sender_parks);
        counter!("sysv_channel_sender_wakeups", &label).absolute(self.sender_wakeups);
        counter!("sysv_channel_receiver_parks", &label).absolute(self.receiver_parks);
        counter!("sysv_channel_receiver_wakeups", &label).absolute(self.receiver_wakeups);
        gauge!("sysv_channel_waiting_values", &label).set(self.waiting as f64);
        gauge!("sysv_channel_queued_messages", &label).set(self.queued as f64);
        gauge!("sysv_channel_senders", &label).set(self.senders as f64);
        gauge!("sysv_channel_receivers", &label).set(self.receivers as f64);
        gauge!("sysv_channel_users", &label).set(self.users as f64);
    }
}
