//! A relay under smol: a stream of one channel goes into the sink of another, with back-pressure all the way.
//!
//! ```sh
//! cargo run --release --features async --example async_smol
//! ```
//!
//! This program starts itself again as the source, which sends numbers, and as the drain, which takes them slowly. The
//! relay doubles them in one task, while another task asks the drain how far it is.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::process::{Child, Command};
use std::time::Duration;

use futures_core::Stream;
use futures_sink::Sink;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use sysv_channel::Channel;
use sysv_channel::rpc::{Client, Server};

type Failure = Box<dyn Error + Send + Sync>;

const NUMBERS: u64 = 20_000;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, name] if role == "source" => source(name),
        [role, name] if role == "drain" => drain(name),
        _ => relay(),
    }
}

fn source(name: &str) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let tx = Channel::<u64>::open(name)?.sender()?;
    for number in 0..NUMBERS {
        tx.send(&number)?;
    }
    Ok(())
}

/// Takes what comes, checks it, and says how far it is.
fn drain(name: &str) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut rx = Channel::<u64>::open(name)?.receiver()?;
    let mut server = Server::<(), u64>::bind(format!("{name} progress"))?;
    smol::block_on(async {
        let mut expected = 0;
        let taking = async {
            while let Ok(number) = rx.recv_async().await {
                assert_eq!(number, 2 * expected);
                expected += 1;
                if expected % 1000 == 0 {
                    smol::Timer::after(Duration::from_millis(1)).await;
                }
            }
            Ok(())
        };
        let answering = async {
            while let Some(request) = server.recv_async().await? {
                // Who asks may have its answer no more.
                let _ = request.reply(&NUMBERS);
            }
            Ok::<(), Failure>(())
        };
        smol::future::or(taking, answering).await?;
        assert_eq!(expected, NUMBERS);
        Ok(())
    })
}

/// Starts this program again, in another role.
fn start(role: &str, name: &str) -> Result<Child, Failure> {
    Ok(Command::new(std::env::current_exe()?).args([role, name]).spawn()?)
}

fn relay() -> Result<(), Failure> {
    let names = ["numbers", "doubled"].map(|what| format!("{what} {}", std::process::id()));
    let mut numbers = Channel::<u64>::create(&*names[0])?.receiver()?.into_stream();
    let mut doubled = Channel::<u64>::create(&*names[1])?.sender()?.into_sink();
    let processes = [start("drain", &names[1])?, start("source", &names[0])?];
    let mut asking = Client::<(), u64>::connect(format!("{} progress", names[1]))?;
    let relayed = smol::block_on(async {
        let relaying = smol::spawn(async move {
            let mut relayed = 0;
            while let Some(number) =
                poll_fn(|context| Pin::new(&mut numbers).poll_next(context)).await
            {
                poll_fn(|context| Pin::new(&mut doubled).poll_ready(context)).await?;
                Pin::new(&mut doubled).start_send(2 * number?)?;
                relayed += 1;
            }
            poll_fn(|context| Pin::new(&mut doubled).poll_close(context)).await?;
            Ok::<u64, Failure>(relayed)
        });
        let expected = asking.call_async(&()).await?;
        assert_eq!(expected, NUMBERS);
        drop(asking);
        relaying.await
    })?;
    for mut process in processes {
        if !process.wait()?.success() {
            return Err("a process failed".into());
        }
    }
    assert_eq!(relayed, NUMBERS);
    println!("{relayed} numbers relayed from a stream to a sink");
    Ok(())
}
