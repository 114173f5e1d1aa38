//! iceoryx2 request and response: values of fixed size, which are not encoded.
//!
//! It has no call that sleeps for a request or a reply, so where others sleep both sides look and
//! yield. The symbol is eight bytes in place of a string; bulk is written in place and copied out.

use std::hint::{black_box, spin_loop};
use std::thread;

use iceoryx2::pending_response::PendingResponse;
use iceoryx2::port::client::Client as Port;
use iceoryx2::port::server::Server;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::PortFactory as _;
use iceoryx2::service::port_factory::request_response::PortFactory;

use super::peer::{self, Peer, STOP, Work, not_connected};
use crate::Failure;
use crate::shared_files::{Files, Kind, node};
use crate::values::{Order, Wait};

pub struct Iceoryx;

#[derive(Debug, Clone, Copy, ZeroCopySend)]
#[repr(C)]
pub struct Fixed {
    id: u64,
    ts: u64,
    price: f64,
    qty: u32,
    symbol: [u8; 8],
}

pub enum Ports {
    Orders(Port<Kind, Fixed, (), Fixed, ()>),
    Bulk(Port<Kind, u64, (), [u8], ()>),
}

pub struct Connected {
    ports: Ports,
    wait: Wait,
    /// Kept for as long as the ports.
    _node: Node<Kind>,
    _files: Option<Files>,
}

type Orders = PortFactory<Kind, Fixed, (), Fixed, ()>;
type Bulk = PortFactory<Kind, u64, (), [u8], ()>;

const CLIENTS: usize = 64;
/// The longest reply.
const BULK: usize = 1 << 20;

fn orders(node: &Node<Kind>) -> Result<Orders, Failure> {
    let service = node.service_builder(&"orders".try_into()?).request_response::<Fixed, Fixed>();
    Ok(service.max_clients(CLIENTS).max_nodes(CLIENTS + 1).max_servers(1).open_or_create()?)
}

fn bulk(node: &Node<Kind>) -> Result<Bulk, Failure> {
    let service = node.service_builder(&"bulk".try_into()?).request_response::<u64, [u8]>();
    Ok(service.max_clients(1).max_nodes(2).max_servers(1).open_or_create()?)
}

fn pause(wait: Wait) {
    match wait {
        Wait::Spin => spin_loop(),
        Wait::Block => thread::yield_now(),
    }
}

impl Peer for Iceoryx {
    const NAME: &'static str = "iceoryx2";
    const BLOCKS: bool = false;
    type Meeting = Files;
    type Client = Connected;

    fn meet(_: usize) -> Result<(Files, String), Failure> {
        Files::make()
    }

    fn serve(address: &str, work: Work, wait: Wait) -> Result<(), Failure> {
        let node = node(address)?;
        match work {
            Work::Orders => {
                let service = orders(&node)?;
                let server: Server<Kind, Fixed, (), Fixed, ()> =
                    service.server_builder().create()?;
                loop {
                    while let Some(request) = server.receive()? {
                        request.send_copy(*request)?;
                        if request.id == STOP {
                            return Ok(());
                        }
                    }
                    pause(wait);
                }
            }
            Work::Bulk => {
                let service = bulk(&node)?;
                let server = service.server_builder().initial_max_slice_len(BULK).create()?;
                loop {
                    while let Some(request) = server.receive()? {
                        let len = *request;
                        let reply = request.loan_slice_uninit(if len == STOP {
                            0
                        } else {
                            len as usize
                        })?;
                        reply.write_from_fn(|_| 7).send()?;
                        if len == STOP {
                            return Ok(());
                        }
                    }
                    pause(wait);
                }
            }
        }
    }

    fn connect(
        files: Files,
        address: &str,
        work: Work,
        wait: Wait,
        clients: usize,
    ) -> Result<Vec<Connected>, Failure> {
        let mut connected = Vec::new();
        for _ in 0..clients {
            let node = node(address)?;
            let ports = match work {
                Work::Orders => {
                    let service = orders(&node)?;
                    while service.dynamic_config().number_of_servers() == 0 {
                        thread::yield_now();
                    }
                    Ports::Orders(service.client_builder().create()?)
                }
                Work::Bulk => {
                    let service = bulk(&node)?;
                    while service.dynamic_config().number_of_servers() == 0 {
                        thread::yield_now();
                    }
                    Ports::Bulk(service.client_builder().create()?)
                }
            };
            connected.push(Connected { ports, wait, _node: node, _files: None });
        }
        if let Some(last) = connected.last_mut() {
            last._files = Some(files);
        }
        Ok(connected)
    }
}

impl peer::Client for Connected {
    fn call(&mut self, order: &Order) -> Result<u64, Failure> {
        let Ports::Orders(port) = &self.ports else { return not_connected() };
        let mut symbol = [0; 8];
        symbol.copy_from_slice(order.symbol.as_bytes());
        let Order { id, ts, price, qty, .. } = *order;
        let pending: PendingResponse<Kind, Fixed, (), Fixed, ()> =
            port.send_copy(Fixed { id, ts, price, qty, symbol })?;
        loop {
            if let Some(reply) = pending.receive()? {
                return Ok(black_box(*reply).id);
            }
            pause(self.wait);
        }
    }

    fn fetch(&mut self, len: u64) -> Result<u64, Failure> {
        let Ports::Bulk(port) = &self.ports else { return not_connected() };
        let pending = port.send_copy(len)?;
        loop {
            if let Some(reply) = pending.receive()? {
                return Ok(black_box(reply.payload().to_vec()).len() as u64);
            }
            pause(self.wait);
        }
    }
}
