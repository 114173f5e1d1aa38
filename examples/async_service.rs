//! A service under tokio that waits for two channels and a TCP socket in one `select!`.
//!
//! ```sh
//! cargo run --release --features async --example async_service
//! ```
//!
//! Sensors and commands come through channels from other processes, played here by this program again;
//! who asks over TCP gets the sum so far. Everything is counted, so it fails if a value is lost.

use std::error::Error;
use std::io::{Read, Write};
use std::process::{Child, Command};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use sysv_channel::Channel;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[derive(Serialize, Deserialize)]
struct Reading {
    sensor: u32,
    value: u64,
}

#[derive(Serialize, Deserialize)]
enum Order {
    /// Takes off the sum.
    Take(u64),
    Stop,
}

/// How much each process sends.
const SENSORS: u32 = 2;
const READINGS: u64 = 5000;
const ORDERS: u64 = 500;
const QUESTIONS: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, name] if role == "sensor" => sense(name),
        [role, name] if role == "operator" => operate(name),
        _ => serve(),
    }
}

fn sense(name: &str) -> Result<(), Box<dyn Error>> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let tx = Channel::<Reading>::open(name)?.sender()?;
    for value in 0..READINGS {
        tx.send(&Reading { sensor: std::process::id(), value })?;
    }
    Ok(())
}

fn operate(name: &str) -> Result<(), Box<dyn Error>> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let tx = Channel::<Order>::open(name)?.sender()?;
    for _ in 0..ORDERS {
        tx.send(&Order::Take(1))?;
    }
    tx.send(&Order::Stop)?;
    Ok(())
}

/// Starts this program again, in another role.
fn start(role: &str, name: &str) -> Result<Child, Box<dyn Error>> {
    Ok(Command::new(std::env::current_exe()?).args([role, name]).spawn()?)
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), Box<dyn Error>> {
    let names = ["readings", "orders"].map(|what| format!("{what} {}", std::process::id()));
    // Sensors come and go: the receiver stays.
    let readings = Channel::<Reading>::options().stays_open().create(&*names[0])?;
    let orders = Channel::<Order>::create(&*names[1])?;
    let (mut readings, mut orders) = (readings.receiver()?, orders.receiver()?);
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;

    let mut processes = vec![start("operator", &names[1])?];
    for _ in 0..SENSORS {
        processes.push(start("sensor", &names[0])?);
    }
    let asking = std::thread::spawn(move || -> std::io::Result<()> {
        for _ in 0..QUESTIONS {
            let mut sum = [0; 8];
            std::net::TcpStream::connect(address)?.read_exact(&mut sum)?;
            std::io::stdout().write_all(b".")?;
        }
        Ok(())
    });

    let (mut sum, mut came, mut taken, mut asked, mut stopped) = (0_u64, 0, 0, 0, false);
    while came < u64::from(SENSORS) * READINGS || asked < QUESTIONS || !stopped {
        tokio::select! {
            reading = readings.recv_async() => {
                let Reading { sensor, value } = reading?;
                assert!(sensor > 0);
                sum += value;
                came += 1;
            }
            order = orders.recv_async(), if !stopped => match order? {
                Order::Take(less) => taken += less,
                Order::Stop => stopped = true,
            },
            connection = socket.accept() => {
                connection?.0.write_all(&(sum - taken.min(sum)).to_le_bytes()).await?;
                asked += 1;
            }
        }
    }

    for mut process in processes {
        if !process.wait()?.success() {
            return Err("a process failed".into());
        }
    }
    asking.join().map_err(|_| "the asking thread panicked")??;
    assert_eq!(sum, u64::from(SENSORS) * READINGS * (READINGS - 1) / 2);
    assert_eq!(taken, ORDERS);
    println!("\n{came} readings, {taken} orders and {asked} questions in one task");
    Ok(())
}
