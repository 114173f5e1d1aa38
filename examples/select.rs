//! One thread that waits for two channels, an actor's mailbox and a server at once, and for the next tick.
//!
//! ```sh
//! cargo run --release --example select
//! ```
//!
//! A warehouse: lorries bring goods and shops fetch them, each through a channel from processes of its own; the
//! manager tells it when to close, and whoever asks is told the stock. Everything is counted, so it fails if
//! a value is lost.

use std::error::Error;
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use sysv_channel::actor::{Address, Mailbox};
use sysv_channel::rpc::{Client, Server};
use sysv_channel::{Channel, WaitSet};

#[derive(Serialize, Deserialize)]
struct Crates(u64);

#[derive(Serialize, Deserialize)]
enum Manage {
    CloseWhenEmpty,
}

const LORRIES: u64 = 2;
const LOADS: u64 = 3000;
const QUESTIONS: u64 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, name] if role == "lorry" => carry(name, LOADS, 2),
        [role, name] if role == "shop" => carry(name, LORRIES * LOADS, 1),
        [role, name] if role == "manager" => manage(name),
        _ => keep(),
    }
}

/// Sends so many loads of so many crates each.
fn carry(name: &str, loads: u64, crates: u64) -> Result<(), Box<dyn Error>> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let tx = Channel::<Crates>::open(name)?.sender()?;
    for _ in 0..loads {
        tx.send(&Crates(crates))?;
    }
    Ok(())
}

fn manage(name: &str) -> Result<(), Box<dyn Error>> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let stock = Client::<(), i64>::connect(format!("{name} stock"))?;
    for _ in 0..QUESTIONS {
        stock.call(&())?;
    }
    Address::<Manage>::connect(format!("{name} manager"))?.tell(&Manage::CloseWhenEmpty)?;
    Ok(())
}

/// Starts this program again, in another role.
fn start(role: &str, name: &str) -> Result<Child, Box<dyn Error>> {
    Ok(Command::new(std::env::current_exe()?).args([role, name]).spawn()?)
}

fn keep() -> Result<(), Box<dyn Error>> {
    let name = format!("warehouse {}", std::process::id());
    let [arrivals, departures] = ["arrivals", "departures"].map(|what| format!("{name} {what}"));
    let incoming = Channel::<Crates>::create(&*arrivals)?.receiver()?;
    let outgoing = Channel::<Crates>::create(&*departures)?.receiver()?;
    let manager = Mailbox::<Manage>::bind(format!("{name} manager"))?;
    let stock = Server::<(), i64>::bind(format!("{name} stock"))?;

    let mut processes = vec![start("shop", &departures)?, start("manager", &name)?];
    for _ in 0..LORRIES {
        processes.push(start("lorry", &arrivals)?);
    }

    let mut set = WaitSet::new();
    let [arrival, departure] = [set.add(&incoming), set.add(&outgoing)];
    let [told, asked] = [set.add(&manager), set.add(&stock)];
    let (mut crates, mut loads, mut questions, mut ticks) = (0_i64, 0, 0, 0);
    let (mut closing, mut open) = (false, 2);
    while !closing || open > 0 {
        let Some(ready) = set.ready_timeout(Duration::from_millis(100))? else {
            ticks += 1;
            continue;
        };
        if ready == arrival || ready == departure {
            let (from, sign) = if ready == arrival { (&incoming, 1) } else { (&outgoing, -1) };
            match from.try_recv() {
                Ok(Crates(count)) => {
                    crates += sign * i64::try_from(count)?;
                    loads += 1;
                }
                Err(error) if error.is_empty() => {}
                // All senders have come and gone.
                Err(error) if error.is_disconnected() => {
                    set.remove(ready);
                    open -= 1;
                }
                Err(error) => return Err(error.into()),
            }
        } else if ready == told {
            match manager.try_recv() {
                Ok(order) => closing = matches!(order, Some(Manage::CloseWhenEmpty) | None),
                Err(error) if error.is_empty() => {}
                Err(error) => return Err(error.into()),
            }
        } else if ready == asked {
            match stock.try_recv() {
                Ok(Some(request)) => {
                    request.into_parts().1.reply(&crates)?;
                    questions += 1;
                }
                Ok(None) => {}
                Err(error) if error.is_empty() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    for mut process in processes {
        if !process.wait()?.success() {
            return Err("a process failed".into());
        }
    }
    let expected = i64::try_from(LORRIES * LOADS)?;
    assert_eq!((crates, loads), (expected, 2 * LORRIES * LOADS));
    assert_eq!(questions, QUESTIONS);
    println!(
        "{loads} loads and {questions} questions in one thread, {crates} crates left; {ticks} ticks"
    );
    Ok(())
}
