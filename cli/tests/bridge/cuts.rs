//! A network that is cut and comes back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sysv_channel::Channel;

use crate::pair::{Pair, address};

/// What lies between two bridges: it hands on bytes, until it is cut.
pub(crate) struct Network {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    streams: Vec<TcpStream>,
    is_cut: bool,
}

impl Network {
    /// Listens at the one address, and connects to the other.
    pub(crate) fn between(here: &str, there: &str) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let listener = TcpListener::bind(&here["tcp/".len()..]).unwrap();
        let (far, seen) = (there["tcp/".len()..].to_owned(), state.clone());
        thread::spawn(move || {
            for near in listener.incoming() {
                let mut state = seen.lock().unwrap();
                let Ok(near) = near else { continue };
                let Ok(far) = TcpStream::connect(&far) else { continue };
                if state.is_cut {
                    continue;
                }
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || hand_on(from, to));
                }
                state.streams.extend([near, far]);
            }
        });
        Network { state }
    }

    pub(crate) fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_cut = true;
        for stream in state.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn restore(&self) {
        self.state.lock().unwrap().is_cut = false;
    }
}

/// Until either side has gone.
fn hand_on(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        match from.read(&mut bytes)? {
            0 => return to.shutdown(Shutdown::Both),
            len => to.write_all(&bytes[..len])?,
        }
    }
}

#[test]
fn a_network_that_is_cut_loses_and_doubles_nothing() {
    let pair = Pair::new("bridge cuts");
    let [here, there] = pair.make(&Channel::<(u64, Vec<u8>)>::options().durable());
    let near = address("tcp");
    let network = Network::between(&near, &pair.address);
    let _inlet = pair.inlet();
    let _outlet = pair.bridge(&["out", pair.here.name(), "--key", &pair.key, "--connect", &near]);
    const VALUES: u64 = 20_000;
    const CUTS: u64 = 10;
    let tx = here.sender().unwrap();
    let sending = thread::spawn(move || {
        for number in 0..VALUES {
            tx.send(&(number, vec![0; (number * 31 % 3000) as usize])).unwrap();
        }
    });
    let rx = there.receiver().unwrap();
    for number in 0..VALUES {
        assert_eq!(rx.recv().unwrap().0, number);
        if number % (VALUES / CUTS) == 1000 {
            network.cut();
            network.restore();
        }
    }
    assert!(rx.try_recv().is_err());
    sending.join().unwrap();
}
