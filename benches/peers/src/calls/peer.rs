//! What a peer is to the benchmark.

use crate::Failure;
use crate::values::{Order, Wait};

/// The id of an order, and the length of bulk, that end the server once they are answered.
pub const STOP: u64 = u64::MAX;

/// What a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Answers an order with one.
    Orders,
    /// Answers a length with so many bytes.
    Bulk,
}

/// A way of calling another process.
pub trait Peer {
    const NAME: &'static str;
    /// Whether it can sleep for a request and for a reply; one that cannot looks and yields.
    const BLOCKS: bool = true;
    /// What the side of the clients holds before the server is started.
    type Meeting;
    type Client: Client + Send;

    /// Prepares a place for so many clients to meet; its address is told to the server.
    fn meet(clients: usize) -> Result<(Self::Meeting, String), Failure>;

    /// Serves, in a process of its own, until it was asked with [`STOP`] and the clients are gone.
    fn serve(address: &str, work: Work, wait: Wait) -> Result<(), Failure>;

    /// Connects so many clients to the server that was started.
    fn connect(
        meeting: Self::Meeting,
        address: &str,
        work: Work,
        wait: Wait,
        clients: usize,
    ) -> Result<Vec<Self::Client>, Failure>;
}

/// One client of a peer's server.
pub trait Client {
    /// Asks with an order; says which id came back, after all of the reply was decoded.
    fn call(&mut self, order: &Order) -> Result<u64, Failure>;

    /// Asks for so many bytes; says how many came, after they were all in memory of this process.
    fn fetch(&mut self, len: u64) -> Result<u64, Failure>;
}

/// What was asked for by a client that was connected for other work.
pub fn not_connected<T>() -> Result<T, Failure> {
    Err("this client was connected for other work".into())
}
