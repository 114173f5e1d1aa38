//! How fast values go over the bridge, beside bare zenoh's put and subscribe and a TCP socket with bincode, over
//! loopback: `cargo bench -p sysv-channel-cli --features zenoh --bench values`, of channels without a queue, or of those
//! with one with `-- mixed`.
//!
//! All take turns, each with its sender in a process of its own. Every receiver has the value as bytes of its own.

mod parties;

use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use parties::{Program, bridge, host, median, session};
use sysv_channel::codec::Bytes;
use sysv_channel::{Channel, DefaultCodec, Options};
use zenoh::Wait;
use zenoh::qos::CongestionControl;

const ROUNDS: usize = 7;
const VALUES: usize = 4000;
const LEN: usize = 64 << 10;
const TRIPS: usize = 1000;
const SHORT: usize = 100;

fn options() -> Options<Bytes, DefaultCodec> {
    Channel::<Bytes>::options().durable()
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["channel", name] => {
            let tx = options().open(name).unwrap().sender().unwrap();
            when_told(|value| tx.send(value).unwrap());
        }
        ["zenoh", address] => {
            let session = session("connect", address);
            let publisher = session.declare_publisher("values");
            let publisher = publisher.congestion_control(CongestionControl::Block).wait().unwrap();
            when_told(|value| publisher.put(value.to_vec()).wait().unwrap());
        }
        ["tcp", address] => {
            let mut stream =
                BufWriter::with_capacity(1 << 18, TcpStream::connect(address).unwrap());
            let config = bincode::config::legacy();
            when_told(|value| {
                let bytes = bincode::serde::encode_to_vec(value, config).unwrap();
                stream.write_all(&(bytes.len() as u32).to_le_bytes()).unwrap();
                stream.write_all(&bytes).unwrap();
                // As soon as the other side can have it.
                stream.flush().unwrap();
            });
        }
        ["channel echo", there, back] => {
            let rx = options().open(there).unwrap().receiver().unwrap();
            let tx = options().open(back).unwrap().sender().unwrap();
            println!("ready");
            rx.iter().for_each(|value| tx.send(&value.unwrap()).unwrap());
        }
        ["zenoh echo", address] => {
            let session = session("connect", address);
            let pong = session.declare_publisher("pong").express(true).wait().unwrap();
            let ping = session.declare_subscriber("ping");
            let _ping = ping.callback(move |it| pong.put(it.payload().clone()).wait().unwrap());
            let _ping = _ping.wait().unwrap();
            println!("ready");
            std::thread::park();
        }
        ["mixed"] => measure(options()),
        _ => measure(options().inline_limit(0)),
    }
}

/// Sends so many values whenever it is told to.
fn when_told(mut send: impl FnMut(&Bytes)) {
    println!("ready");
    let value = Bytes::from(vec![7; LEN]);
    for line in std::io::stdin().lines() {
        line.unwrap();
        (0..VALUES).for_each(|_| send(&value));
    }
}

/// How many GB/s come from a sender.
fn rate(sender: &mut Program, mut receive: impl FnMut() -> usize) -> f64 {
    let began = Instant::now();
    sender.go();
    let bytes: usize = (0..VALUES).map(|_| receive()).sum();
    assert_eq!(bytes, VALUES * LEN);
    bytes as f64 / began.elapsed().as_secs_f64() / 1e9
}

fn measure(options: Options<Bytes, DefaultCodec>) {
    let host = host();
    let address = |port: u16| format!("tcp/{host}:{port}");
    let name = |what: &str| format!("bench values {what} {}", process::id());
    let names = ["here", "there", "there back", "here back"].map(name);
    let [here, there, there_back, here_back] = &names;
    let channels = names.each_ref().map(|name| options.create(&**name).unwrap());

    // One process on each side has both links.
    let file = |side: &str, out: &str, into: &str, keys: [&str; 2]| {
        let path = env::temp_dir().join(format!("bench-values-{side}-{}.toml", process::id()));
        let link = |kind, name: &str, key| format!("[[{kind}]]\nname = {name:?}\nkey = {key:?}\n");
        let text = link("out", out, keys[0]) + &link("in", into, keys[1]);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let near = file("near", here, here_back, ["bench/go", "bench/back"]);
    let far = file("far", there_back, there, ["bench/back", "bench/go"]);
    let _far = bridge(&["run", &far, "--listen", &address(20_001)]);
    let _near = bridge(&["run", &near, "--connect", &address(20_001)]);

    let listener = TcpListener::bind((&*host, 20_002)).unwrap();
    let mut tcp = Program::of_this(&["tcp", &format!("{host}:20002")]);
    let mut stream = BufReader::with_capacity(1 << 18, listener.accept().unwrap().0);
    let session = session("listen", &address(20_003));
    let values = session.declare_subscriber("values").wait().unwrap();
    let pong = session.declare_subscriber("pong").wait().unwrap();
    let ping = session.declare_publisher("ping").express(true).wait().unwrap();
    let mut zenoh = Program::of_this(&["zenoh", &address(20_003)]);
    let _zenoh_echo = Program::of_this(&["zenoh echo", &address(20_003)]);

    println!("{VALUES} values of {LEN} bytes, GB/s");
    println!("{:>12} {:>12} {:>12} {:>12}", "bridge", "zenoh", "TCP", "to zenoh");
    {
        let rx = channels[1].receiver().unwrap();
        let mut sender = Program::of_this(&["channel", here]);
        for _ in 0..ROUNDS {
            let bridge = rate(&mut sender, || rx.recv().unwrap().len());
            let bare = rate(&mut zenoh, || {
                let value = values.recv().unwrap().payload().to_bytes().into_owned();
                value.len()
            });
            let tcp = rate(&mut tcp, || {
                let mut len = [0; 4];
                stream.read_exact(&mut len).unwrap();
                let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
                stream.read_exact(&mut bytes).unwrap();
                let config = bincode::config::legacy();
                let (value, _) =
                    bincode::serde::decode_from_slice::<Bytes, _>(&bytes, config).unwrap();
                value.len()
            });
            println!("{bridge:12.2} {bare:12.2} {tcp:12.2} {:12.2}", bridge / bare);
        }
    }

    println!("medians of {TRIPS} round trips of {SHORT} bytes, in microseconds");
    println!("{:>12} {:>12} {:>12}", "bridge", "zenoh", "more");
    let _echo = Program::of_this(&["channel echo", there, there_back]);
    let (tx, rx) = (channels[0].sender().unwrap(), channels[3].receiver().unwrap());
    let short = Bytes::from(vec![7; SHORT]);
    for _ in 0..ROUNDS {
        let bridge = median(TRIPS, || {
            tx.send(&short).unwrap();
            assert_eq!(rx.recv_timeout(Duration::from_secs(60)).unwrap().len(), SHORT);
        });
        let bare = median(TRIPS, || {
            ping.put(short.to_vec()).wait().unwrap();
            assert_eq!(pong.recv().unwrap().payload().len(), SHORT);
        });
        println!("{bridge:12.1} {bare:12.1} {:12.1}", bridge - bare);
    }
    for path in [near, far] {
        let _ = fs::remove_file(path);
    }
    for name in &names {
        let _ = Channel::<Bytes>::unlink(&**name);
    }
}
