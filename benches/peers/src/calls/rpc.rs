//! This crate's own request and response.

use std::hint::black_box;
use std::time::Duration;

use sysv_channel::codec::Bytes;
use sysv_channel::rpc::{Client as RpcClient, ClientOptions, Server, ServerOptions};

use super::peer::{Client, Peer, STOP, Work, not_connected};
use crate::Failure;
use crate::values::{Order, Wait};

pub struct Rpc;

pub enum Connected {
    Orders(RpcClient<Order, Order>),
    Bulk(RpcClient<u64, Bytes>),
}

/// Longer than anything here takes.
const ALWAYS: Duration = Duration::from_secs(3600);

fn spin(wait: Wait) -> Duration {
    match wait {
        Wait::Spin => ALWAYS,
        Wait::Block => Duration::ZERO,
    }
}

impl Peer for Rpc {
    const NAME: &'static str = "rpc";
    type Meeting = ();
    type Client = Connected;

    fn meet(_: usize) -> Result<((), String), Failure> {
        Ok(((), crate::process::unused_name()))
    }

    fn serve(address: &str, work: Work, wait: Wait) -> Result<(), Failure> {
        let options = ServerOptions::new().spin(spin(wait));
        match work {
            Work::Orders => {
                let server: Server<Order, Order> = options.bind(address)?;
                let closer = server.closer();
                server.serve(|order| {
                    if order.id == STOP {
                        closer.close();
                    }
                    order
                })?;
            }
            Work::Bulk => {
                let server: Server<u64, Bytes> = options.bind(address)?;
                let closer = server.closer();
                server.serve(|len| {
                    if len == STOP {
                        closer.close();
                        return Bytes::default();
                    }
                    Bytes::from(vec![7; len as usize])
                })?;
            }
        }
        Ok(())
    }

    fn connect(
        (): (),
        address: &str,
        work: Work,
        wait: Wait,
        clients: usize,
    ) -> Result<Vec<Connected>, Failure> {
        let options = ClientOptions::new().spin(spin(wait)).deadline(ALWAYS);
        let connect = |_| match work {
            Work::Orders => Ok(Connected::Orders(options.connect(address)?)),
            Work::Bulk => Ok(Connected::Bulk(options.connect(address)?)),
        };
        (0..clients).map(connect).collect()
    }
}

impl Client for Connected {
    fn call(&mut self, order: &Order) -> Result<u64, Failure> {
        match self {
            Connected::Orders(client) => Ok(client.call(order)?.id),
            Connected::Bulk(_) => not_connected(),
        }
    }

    fn fetch(&mut self, len: u64) -> Result<u64, Failure> {
        match self {
            Connected::Bulk(client) => Ok(black_box(client.call(&len)?).len() as u64),
            Connected::Orders(_) => not_connected(),
        }
    }
}
