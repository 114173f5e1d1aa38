//! ipc-channel: one channel to the server, and one back to each client, which travels there first.

use ipc_channel::TryRecvError;
use ipc_channel::ipc::{
    self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender,
};
use serde::{Deserialize, Serialize};
use std::hint::black_box;

use super::peer::{Client, Peer, STOP, Work, not_connected};
use crate::Failure;
use crate::values::{Order, Wait};

pub struct IpcChannel;

#[derive(Serialize, Deserialize)]
pub enum Ask {
    /// The next client wants its answers there.
    Connect(Back),
    /// This client asks.
    Order(u32, Order),
    Bulk(u32, u64),
}

#[derive(Serialize, Deserialize)]
pub enum Back {
    Orders(IpcSender<Order>),
    /// Bytes as they are, which it has a channel of its own for.
    Bulk(IpcBytesSender),
}

enum Answers {
    Orders(IpcReceiver<Order>),
    Bulk(IpcBytesReceiver),
}

pub struct Connected {
    number: u32,
    server: IpcSender<Ask>,
    answers: Answers,
    wait: Wait,
}

/// Receives, by either way to wait.
macro_rules! receive {
    ($wait:expr, $from:expr) => {
        match $wait {
            Wait::Block => $from.recv().map_err(Failure::from),
            Wait::Spin => loop {
                match $from.try_recv() {
                    Err(TryRecvError::Empty) => std::hint::spin_loop(),
                    Err(TryRecvError::IpcError(error)) => break Err(Failure::from(error)),
                    Ok(value) => break Ok(value),
                }
            },
        }
    };
}

impl Peer for IpcChannel {
    const NAME: &'static str = "ipc-channel";
    type Meeting = IpcOneShotServer<IpcSender<Ask>>;
    type Client = Connected;

    fn meet(_: usize) -> Result<(Self::Meeting, String), Failure> {
        Ok(IpcOneShotServer::new()?)
    }

    fn serve(address: &str, _: Work, wait: Wait) -> Result<(), Failure> {
        let (to_me, asked) = ipc::channel::<Ask>()?;
        IpcSender::connect(address.to_owned())?.send(to_me)?;
        let mut clients = Vec::new();
        loop {
            match receive!(wait, asked)? {
                Ask::Connect(back) => clients.push(back),
                Ask::Order(client, order) => {
                    let stop = order.id == STOP;
                    match clients.get(client as usize) {
                        Some(Back::Orders(back)) => back.send(order)?,
                        _ => return not_connected(),
                    }
                    if stop {
                        return Ok(());
                    }
                }
                Ask::Bulk(client, len) => {
                    let bytes = vec![7; if len == STOP { 0 } else { len as usize }];
                    match clients.get(client as usize) {
                        Some(Back::Bulk(back)) => back.send(&bytes)?,
                        _ => return not_connected(),
                    }
                    if len == STOP {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn connect(
        meeting: Self::Meeting,
        _: &str,
        work: Work,
        wait: Wait,
        clients: usize,
    ) -> Result<Vec<Connected>, Failure> {
        let (_, server) = meeting.accept()?;
        let connect = |number| {
            let (back, answers) = match work {
                Work::Orders => {
                    let (back, answers) = ipc::channel()?;
                    (Back::Orders(back), Answers::Orders(answers))
                }
                Work::Bulk => {
                    let (back, answers) = ipc::bytes_channel()?;
                    (Back::Bulk(back), Answers::Bulk(answers))
                }
            };
            server.send(Ask::Connect(back))?;
            Ok(Connected { number, server: server.clone(), answers, wait })
        };
        (0..clients as u32).map(connect).collect()
    }
}

impl Client for Connected {
    fn call(&mut self, order: &Order) -> Result<u64, Failure> {
        self.server.send(Ask::Order(self.number, order.clone()))?;
        match &self.answers {
            Answers::Orders(answers) => Ok(receive!(self.wait, answers)?.id),
            Answers::Bulk(_) => not_connected(),
        }
    }

    fn fetch(&mut self, len: u64) -> Result<u64, Failure> {
        self.server.send(Ask::Bulk(self.number, len))?;
        match &self.answers {
            Answers::Bulk(answers) => Ok(black_box(receive!(self.wait, answers)?).len() as u64),
            Answers::Orders(_) => not_connected(),
        }
    }
}
